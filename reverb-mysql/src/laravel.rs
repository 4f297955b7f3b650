//! [`LaravelKeys`]: secrets as Laravel's encrypted columns have them.
//!
//! A payload is base64 of a JSON object with `iv`, `value` and `mac`: AES-256-CBC, and over the base64 texts of the first two
//! HMAC-SHA256 with the same key. Source: Laravel 12, encryption.

use std::fmt;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The `APP_KEY` of a Laravel application and its `APP_PREVIOUS_KEYS`: the first encrypts, all of them decrypt.
///
/// ```
/// use reverb_mysql::LaravelKeys;
///
/// let keys = LaravelKeys::new("base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "")?;
/// let payload = keys.encrypt("my-custom-secret-0123456789");
/// assert!(payload.starts_with("eyJpdiI6"));
/// assert_eq!(keys.decrypt(&payload)?.as_deref(), Some("my-custom-secret-0123456789"));
/// assert_eq!(keys.decrypt("never-encrypted")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LaravelKeys {
    keys: Vec<[u8; 32]>,
}

/// In Laravel's order.
#[derive(Serialize, Deserialize)]
struct Payload {
    iv: String,
    value: String,
    mac: String,
    #[serde(default)]
    tag: String,
}

impl LaravelKeys {
    /// These keys, in the notation of `.env`: `base64:` and 32 bytes in base64, or 32 bytes as they are; the previous ones with
    /// commas between them.
    ///
    /// # Errors
    /// One of them is no such key.
    pub fn new(app_key: &str, previous: &str) -> Result<Self, InvalidLaravelKey> {
        let previous = previous.split(',').map(str::trim);
        let previous = previous
            .filter(|key| !key.is_empty())
            .map(|key| ("APP_PREVIOUS_KEYS", key));
        let all = std::iter::once(("APP_KEY", app_key.trim())).chain(previous);
        let keys = all.map(|(name, key)| parse(key).ok_or(InvalidLaravelKey { name }));
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// Encrypts a text as Laravel does.
    #[must_use]
    pub fn encrypt(&self, text: &str) -> String {
        let mut iv = [0; 16];
        rand::rng().fill_bytes(&mut iv);
        encrypt(&self.keys[0], &iv, text)
    }

    /// The text in a payload; `None` if this is none, and so the text itself.
    ///
    /// # Errors
    /// It is a payload, but was encrypted with another key, or changed since.
    pub fn decrypt(&self, stored: &str) -> Result<Option<String>, NotDecrypted> {
        let Some(payload) = payload(stored) else {
            return Ok(None);
        };
        let key = self.keys.iter().find(|key| is_signed(key, &payload));
        let key = key.ok_or(NotDecrypted)?;
        // In CBC mode there is no tag.
        if !payload.tag.is_empty() {
            return Err(NotDecrypted);
        }
        let iv = BASE64.decode(payload.iv.as_bytes()).ok();
        let value = BASE64.decode(payload.value.as_bytes()).ok();
        let (iv, value) = iv.zip(value).ok_or(NotDecrypted)?;
        let decryptor = cbc::Decryptor::<Aes256>::new_from_slices(key, &iv);
        let text = decryptor
            .map_err(|_| NotDecrypted)?
            .decrypt_padded_vec::<Pkcs7>(&value);
        let text = String::from_utf8(text.map_err(|_| NotDecrypted)?);
        text.map(Some).map_err(|_| NotDecrypted)
    }
}

impl LaravelKeys {
    /// Whether this is a payload, whoever has made it.
    pub(crate) fn is_payload(stored: &str) -> bool {
        payload(stored).is_some()
    }

    /// Whether this was encrypted with the key that encrypts now.
    pub(crate) fn is_current(&self, stored: &str) -> bool {
        payload(stored).is_some_and(|payload| is_signed(&self.keys[0], &payload))
    }
}

fn payload(stored: &str) -> Option<Payload> {
    let json = BASE64.decode(stored.trim().as_bytes()).ok()?;
    serde_json::from_slice(&json).ok()
}

fn encrypt(key: &[u8; 32], iv: &[u8; 16], text: &str) -> String {
    let encryptor = cbc::Encryptor::<Aes256>::new(key.into(), iv.into());
    let value = BASE64.encode(&encryptor.encrypt_padded_vec::<Pkcs7>(text.as_bytes()));
    let iv = BASE64.encode(iv);
    let mac = HEXLOWER.encode(&mac(key, &iv, &value).finalize().into_bytes());
    let payload = Payload {
        iv,
        value,
        mac,
        tag: String::new(),
    };
    BASE64.encode(&serde_json::to_vec(&payload).expect("texts are JSON"))
}

fn is_signed(key: &[u8; 32], payload: &Payload) -> bool {
    let expected = HEXLOWER.decode(payload.mac.as_bytes());
    expected.is_ok_and(|expected| {
        let mac = mac(key, &payload.iv, &payload.value);
        mac.verify_slice(&expected).is_ok()
    })
}

fn mac(key: &[u8; 32], iv: &str, value: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(iv.as_bytes());
    mac.update(value.as_bytes());
    mac
}

fn parse(key: &str) -> Option<[u8; 32]> {
    let bytes = match key.strip_prefix("base64:") {
        Some(encoded) => BASE64.decode(encoded.as_bytes()).ok()?,
        None => key.as_bytes().to_vec(),
    };
    bytes.try_into().ok()
}

impl fmt::Debug for LaravelKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaravelKeys({})", self.keys.len())
    }
}

/// What should be a key of Laravel, but is none. It is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} is no key of Laravel's AES-256-CBC: \"base64:\" and 32 bytes in base64, 44 characters"
)]
pub struct InvalidLaravelKey {
    /// `APP_KEY` or `APP_PREVIOUS_KEYS`.
    pub name: &'static str,
}

/// A payload that none of the keys has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its secret was encrypted with another APP_KEY, or changed since")]
pub struct NotDecrypted;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const OTHER: &str = "base64:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    const SECRET: &str = "my-custom-secret-0123456789";
    /// Made with openssl, with the bytes 0 to 15 as initialisation vector.
    const COLUMN: &str = "eyJpdiI6IkFBRUNBd1FGQmdjSUNRb0xEQTBPRHc9PSIsInZhbHVlIjoiYjlaSWo2NmtWMlN6UUd2WVBsdS9yUUgzVTVmRkVUK1VPaGwvTmZDRHUvYz0iLCJtYWMiOiJiMWNmOTdiOWFmMWYyMjYyMzZlYjg4ZjI2OWJmNTdkZjc0NDJkOWMzMmEyMmYwZDRiMDc4M2IwMWFmMWY4ODc4IiwidGFnIjoiIn0=";

    fn keys() -> LaravelKeys {
        LaravelKeys::new(KEY, "").expect("a key")
    }

    #[test]
    fn a_payload_is_as_laravel_makes_it() {
        let iv = std::array::from_fn(|n| n as u8);
        assert_eq!(encrypt(&keys().keys[0], &iv, SECRET), COLUMN);
        assert_eq!(keys().decrypt(COLUMN), Ok(Some(SECRET.to_owned())));
        for (length, stored) in [(16, 228), (32, 256), (64, 312), (255, 628)] {
            let secret = "x".repeat(length);
            let payload = keys().encrypt(&secret);
            assert_eq!(payload.len(), stored);
            assert_eq!(keys().decrypt(&payload), Ok(Some(secret)));
        }
    }

    #[test]
    fn a_previous_key_still_decrypts() {
        let both = LaravelKeys::new(OTHER, &format!(" ,{KEY}, ")).expect("keys");
        assert_eq!(both.decrypt(COLUMN), Ok(Some(SECRET.to_owned())));
        let other = LaravelKeys::new(OTHER, "").expect("a key");
        assert_eq!(other.decrypt(COLUMN), Err(NotDecrypted));
    }

    #[test]
    fn what_was_changed_is_refused_and_what_is_no_payload_is_plain() {
        let json = BASE64.decode(COLUMN.as_bytes()).expect("base64");
        let json = String::from_utf8(json).expect("JSON");
        let with = |from: &str, to: &str| BASE64.encode(json.replace(from, to).as_bytes());
        for (from, to) in [
            ("AAECAw", "AAECAx"),
            ("b9ZIj6", "b9ZIj7"),
            ("b1cf97", "b1cf98"),
            ("b1cf97", "xyzxyz"),
            (r#""tag":"""#, r#""tag":"x""#),
        ] {
            assert_eq!(keys().decrypt(&with(from, to)), Err(NotDecrypted), "{to}");
        }
        let without_tag = with(r#","tag":"""#, "");
        assert_eq!(keys().decrypt(&without_tag), Ok(Some(SECRET.to_owned())));
        for plain in [
            SECRET,
            "",
            "eyJub3RoaW5nIjoxfQ==",
            &with(r#""mac""#, r#""nac""#),
            &with(r#""iv":"AAECAwQFBgcICQoLDA0ODw==""#, r#""iv":7"#),
            &COLUMN[..COLUMN.len() - 3],
        ] {
            assert_eq!(keys().decrypt(plain), Ok(None), "{plain}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_in_a_column_is_read_or_refused(stored in ".*", json in ".*") {
            let _ = keys().decrypt(&stored);
            let _ = keys().decrypt(&BASE64.encode(json.as_bytes()));
            let payload = format!(r#"{{"iv":"{json}","value":"{json}","mac":"{stored}"}}"#);
            let _ = keys().decrypt(&BASE64.encode(payload.as_bytes()));
        }

        #[test]
        fn every_text_comes_back(text in ".*") {
            let payload = keys().encrypt(&text);
            proptest::prop_assert_eq!(keys().decrypt(&payload), Ok(Some(text)));
        }
    }

    #[test]
    fn what_is_no_key_is_named_and_not_shown() {
        for (key, previous, name) in [
            ("", "", "APP_KEY"),
            ("base64:AAEC", "", "APP_KEY"),
            ("s3cret", "", "APP_KEY"),
            (KEY, "base64:s3cret", "APP_PREVIOUS_KEYS"),
        ] {
            let refused = LaravelKeys::new(key, previous).expect_err("no key");
            assert_eq!(refused.name, name);
            assert!(!refused.to_string().contains("s3cret"));
        }
        assert!(LaravelKeys::new("0123456789abcdef0123456789abcdef", "").is_ok());
        assert!(!format!("{:?}", keys()).contains("AAEC"));
    }
}
