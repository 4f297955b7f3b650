//! [`Secret`]: what signatures are made with; [`OldSecret`]: the one before, for a while.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::app::{InvalidApp, check};

/// The secret of an app. Prints as `***`, so that it cannot reach a log by accident.
/// ```
/// let app = reverb_core::protocol::App::new("1001", "app-key", "app-secret")?;
/// assert_eq!(format!("{:?}", app.secret), "***");
/// assert_eq!(app.secret.reveal(), "app-secret");
/// # Ok::<(), reverb_core::protocol::InvalidApp>(())
/// ```
#[derive(Clone)]
pub struct Secret {
    text: Arc<str>,
    /// Keyed once; a clone of this state is a third cheaper than keying anew for every signature.
    mac: Hmac<Sha256>,
    /// Shared by all clones, and set once in a while: whoever keeps account of it takes it.
    used: Arc<AtomicBool>,
}

impl Secret {
    /// This secret.
    ///
    /// # Errors
    /// It is empty, longer than 255 bytes, or has whitespace in it.
    pub fn new(text: &str) -> Result<Self, InvalidApp> {
        check("secret", text, "")?;
        let mac = Hmac::new_from_slice(text.as_bytes()).expect("HMAC takes keys of any length");
        Ok(Self {
            text: text.into(),
            mac,
            used: Arc::default(),
        })
    }

    /// The secret itself, for those who must store or show it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The signature over these parts, one after the other.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// Whether this is the signature over these parts; takes equally long whether it is or not.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], signature: &[u8; 32]) -> bool {
        let mut mac = self.mac.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.verify_slice(signature).is_ok()
    }

    /// Whether [`App::verify`](super::App::verify) has accepted something of this secret, or of a clone of it, since it was
    /// asked the last time.
    #[must_use]
    pub fn take_used(&self) -> bool {
        self.used.load(Ordering::Relaxed) && self.used.swap(false, Ordering::Relaxed)
    }

    /// Says that it was used. Written only if that is news: many cores would else fight for the place.
    pub(super) fn mark_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The secret that an app had before, accepted for a while so that its backends can change over one after the other.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OldSecret {
    /// The secret.
    pub secret: Secret,
    /// When it is accepted no longer, in seconds since 1970.
    pub until: u64,
}

impl OldSecret {
    /// This secret, until this second since 1970.
    #[must_use]
    pub fn new(secret: Secret, until: u64) -> Self {
        Self { secret, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::App;

    #[test]
    fn a_secret_does_not_print() {
        let mut app = App::new("1", "k", "very-secret").expect("an app");
        app.rotate_secret(Secret::new("more-secret").expect("a secret"), Some(1));
        let printed = format!("{app:?}");
        assert!(!printed.contains("very-secret") && !printed.contains("more-secret"));
        assert_eq!(app.secret.reveal(), "more-secret");
    }

    #[test]
    fn what_was_accepted_is_known_of_all_clones_once() {
        let app = App::new("1", "k", "s").expect("an app");
        let clone = app.secret.clone();
        assert!(!app.verify(&[b"text"], &[0; 32], 0) && !clone.take_used());
        assert!(app.verify(&[b"text"], &clone.sign(&[b"text"]), 0));
        assert!(clone.take_used() && !app.secret.take_used());
    }
}
