//! [`Keyring`]: secrets at rest, for stores that keep them where others may read.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use data_encoding::{BASE64, HEXLOWER};
use rand::Rng;
use sha2::{Digest, Sha256};

/// Seals the secrets of apps, with AES-256-GCM: a stored secret is of no use without the key, nor in the row of another app.
///
/// The first key seals; what an older one has sealed is still opened. So a key is replaced by putting another in front of it,
/// and left out once everything has been saved again. The nonce is random: replace a key long before it has sealed 2³²
/// secrets.
///
/// ```
/// use reverb_core::app_store::Keyring;
///
/// let key = Keyring::generate();
/// let keyring = Keyring::parse(&key)?;
/// let sealed = keyring.seal("1001", "app-secret");
/// assert!(sealed.starts_with("aes256gcm:"));
/// assert_eq!(keyring.open("1001", &sealed)?, "app-secret");
/// assert!(keyring.open("1002", &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    cipher: Box<Aes256Gcm>,
}

/// What a sealed secret begins with; then follow the key's id, a colon, and nonce and ciphertext in base64.
const SEALED: &str = "aes256gcm:";
/// What a key begins with, as in the `APP_KEY` of Laravel.
const BASE64_KEY: &str = "base64:";
const NONCE: usize = 12;

impl Keyring {
    /// Keys as text, on a line each or with commas between them: `base64:` and 32 bytes in base64. The first one seals.
    /// Lines that begin with `#` are comments.
    ///
    /// # Errors
    /// There is no key, or one is no such text.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.starts_with('#'));
        let entries = lines.flat_map(|line| line.split(',')).map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        let keys: Vec<Key> = entries
            .enumerate()
            .map(|(n, entry)| Key::parse(entry).ok_or(InvalidKey::Shape(n + 1)))
            .collect::<Result<_, _>>()?;
        match keys.is_empty() {
            true => Err(InvalidKey::None),
            false => Ok(Self { keys }),
        }
    }

    /// A new key, as text.
    #[must_use]
    pub fn generate() -> String {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        format!("{BASE64_KEY}{}", BASE64.encode(&key))
    }

    /// The secret of this app, to be stored.
    #[must_use]
    pub fn seal(&self, app: &str, secret: &str) -> String {
        let key = &self.keys[0];
        let mut sealed = vec![0; NONCE];
        rand::rng().fill_bytes(&mut sealed);
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: app.as_bytes(),
        };
        let nonce = Nonce::try_from(&sealed[..]).expect("it has the length of a nonce");
        let encrypted = key.cipher.encrypt(&nonce, payload);
        sealed.extend(encrypted.expect("a secret is far shorter than what can be encrypted"));
        format!("{SEALED}{}:{}", key.id, BASE64.encode(&sealed))
    }

    /// The secret of this app, from what was stored. What was never sealed is the secret itself, so that one can be put into
    /// a row by hand.
    ///
    /// # Errors
    /// It was sealed by a key that is not here, for another app, or has been changed.
    pub fn open(&self, app: &str, stored: &str) -> Result<String, SealedWrongly> {
        let Some(sealed) = stored.strip_prefix(SEALED) else {
            return Ok(stored.to_owned());
        };
        let (id, sealed) = sealed.split_once(':').ok_or(SealedWrongly::Broken)?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| SealedWrongly::Key {
            id: id.chars().take(16).collect(),
            known: self.ids(),
        })?;
        let sealed = BASE64.decode(sealed.as_bytes()).ok();
        let opened = sealed.and_then(|sealed| {
            let (nonce, encrypted) = sealed.split_at_checked(NONCE)?;
            let payload = Payload {
                msg: encrypted,
                aad: app.as_bytes(),
            };
            let opened = key.cipher.decrypt(&Nonce::try_from(nonce).ok()?, payload);
            String::from_utf8(opened.ok()?).ok()
        });
        opened.ok_or(SealedWrongly::Broken)
    }

    /// Whether this was sealed, by whatever key.
    #[must_use]
    pub fn is_sealed(stored: &str) -> bool {
        stored.starts_with(SEALED)
    }

    /// Whether this was sealed by the key that seals now.
    #[must_use]
    pub fn is_current(&self, stored: &str) -> bool {
        let sealed = stored.strip_prefix(SEALED);
        let id = sealed.and_then(|sealed| sealed.split_once(':'));
        id.is_some_and(|(id, _)| id == self.keys[0].id)
    }

    /// The id of the key that seals now.
    #[must_use]
    pub fn current_id(&self) -> &str {
        &self.keys[0].id
    }

    /// Whether a key with this id is among them.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// The ids of the keys, with commas between them. An id tells nothing about its key.
    #[must_use]
    pub fn ids(&self) -> String {
        let ids: Vec<&str> = self.keys.iter().map(|key| key.id.as_str()).collect();
        ids.join(", ")
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let key = BASE64
            .decode(text.strip_prefix(BASE64_KEY)?.as_bytes())
            .ok()?;
        let cipher = Aes256Gcm::new_from_slice(&key).ok()?;
        let id = HEXLOWER.encode(&Sha256::digest(&key)[..4]);
        Some(Self {
            id,
            cipher: Box::new(cipher),
        })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.ids())
    }
}

/// Why there is no keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// There is nothing.
    #[error("there is no key: one is \"base64:\" and 32 bytes in base64")]
    None,
    /// This one of them is none; it is not shown.
    #[error("key {0} is none: a key is \"base64:\" and 32 bytes in base64, 44 characters")]
    Shape(usize),
}

/// Why a secret cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedWrongly {
    /// By another key.
    #[error("its secret was sealed with the key {id}, but the keys here are {known}")]
    Key {
        /// The id of that key.
        id: String,
        /// Those of the keys at hand.
        known: String,
    },
    /// By a key that is here, but not so, or not for this app.
    #[error("its sealed secret was changed, or is that of another app")]
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        Keyring::parse(&Keyring::generate()).expect("a key")
    }

    #[test]
    fn what_is_sealed_opens_for_its_app_alone() {
        let keyring = keyring();
        let sealed = keyring.seal("1001", "s3cret-€");
        assert!(keyring.is_current(&sealed) && !sealed.contains("s3cret"));
        assert_eq!(keyring.open("1001", &sealed).as_deref(), Ok("s3cret-€"));
        assert_ne!(sealed, keyring.seal("1001", "s3cret-€"), "each time anew");
        assert_eq!(keyring.open("1002", &sealed), Err(SealedWrongly::Broken));
        assert_eq!(keyring.open("1001", "plain").as_deref(), Ok("plain"));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            let opened = keyring.open("1001", &changed);
            assert!(opened != Ok("s3cret-€".to_owned()), "{at}: {changed}");
            assert!(opened.is_err() || at < SEALED.len());
        }
        for cut in SEALED.len()..sealed.len() {
            assert!(keyring.open("1001", &sealed[..cut]).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_in_a_row_is_opened_or_refused(text in ".*", id in "[0-9a-f]{8}") {
            let keyring = keyring();
            let _ = keyring.open("1", &text);
            for stored in [format!("{SEALED}{text}"), format!("{SEALED}{id}:{text}"), format!("{SEALED}{}:{text}", keyring.ids())] {
                proptest::prop_assert!(keyring.open("1", &stored).is_err());
            }
            proptest::prop_assert_eq!(keyring.open("1", &keyring.seal("1", &text)), Ok(text));
        }
    }

    #[test]
    fn an_older_key_still_opens_and_the_first_one_seals() {
        let (old, new) = (Keyring::generate(), Keyring::generate());
        let before = Keyring::parse(&old).expect("a key");
        let both = Keyring::parse(&format!("# keys\n{new}\n\n {old} ")).expect("two keys");
        let sealed = before.seal("1", "secret");
        assert_eq!(both.open("1", &sealed).as_deref(), Ok("secret"));
        assert!(!both.is_current(&sealed));
        let sealed = both.seal("1", "secret");
        let refused = before.open("1", &sealed).expect_err("another key");
        assert!(refused.to_string().ends_with(&before.ids()), "{refused}");
        let commas = Keyring::parse(&format!("{new},{old}")).expect("two keys");
        assert_eq!(commas.ids(), both.ids());
    }

    #[test]
    fn what_is_no_key_is_not_shown() {
        assert_eq!(
            Keyring::parse("\n# none\n").expect_err("none"),
            InvalidKey::None
        );
        for text in ["s3cret", "base64:s3cret", "base64:", "base64:AAECAw=="] {
            let refused = Keyring::parse(text).expect_err("no key");
            assert_eq!(refused, InvalidKey::Shape(1));
            assert!(!refused.to_string().contains("s3cret"));
        }
        let second = format!("{},x", Keyring::generate());
        assert_eq!(
            Keyring::parse(&second).expect_err("no key"),
            InvalidKey::Shape(2)
        );
        assert!(!format!("{:?}", keyring()).contains("base64"));
    }
}
