//! [`Secrets`]: how the secrets of apps are written into a column, and read from it.

use reverb_core::app_store::Keyring;

use crate::laravel::LaravelKeys;

/// How secrets are kept: as Laravel encrypts them, so that the PHP product can read them, or sealed by a [`Keyring`].
///
/// Reading takes all there is: what either has written, and what was never encrypted.
#[derive(Clone, Debug)]
pub enum Secrets {
    /// As Laravel does. The keyring, if there is one, opens what it has sealed before.
    Laravel(LaravelKeys, Option<Keyring>),
    /// Sealed with AES-256-GCM.
    Sealed(Keyring),
}

impl Secrets {
    /// What goes into the column.
    pub(crate) fn write(&self, app: &str, secret: &str) -> String {
        match self {
            Self::Laravel(keys, _) => keys.encrypt(secret),
            Self::Sealed(keyring) => keyring.seal(app, secret),
        }
    }

    /// The secret in the column.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) fn read(&self, app: &str, stored: &str) -> Result<String, String> {
        let (laravel, keyring) = match self {
            Self::Laravel(keys, keyring) => (Some(keys), keyring.as_ref()),
            Self::Sealed(keyring) => (None, Some(keyring)),
        };
        if Keyring::is_sealed(stored) {
            let keyring =
                keyring.ok_or("its secret was sealed with a key that is not configured here")?;
            return keyring.open(app, stored).map_err(|error| error.to_string());
        }
        match laravel {
            Some(keys) => match keys.decrypt(stored) {
                Ok(Some(secret)) => Ok(secret),
                Ok(None) => Ok(stored.to_owned()),
                Err(error) => Err(error.to_string()),
            },
            None if LaravelKeys::is_payload(stored) => {
                Err("its secret was encrypted by Laravel, but there is no APP_KEY".to_owned())
            }
            None => Ok(stored.to_owned()),
        }
    }

    /// Whether this is kept as it would be written today.
    pub(crate) fn is_current(&self, stored: &str) -> bool {
        match self {
            Self::Laravel(keys, _) => keys.is_current(stored),
            Self::Sealed(keyring) => keyring.is_current(stored),
        }
    }
}
