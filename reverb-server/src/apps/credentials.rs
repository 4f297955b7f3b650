//! Credentials for new apps, as Laravel makes them.

use rand::RngExt;

/// An id of six digits: the Python SDK takes nothing else than digits.
#[must_use]
pub fn new_id() -> String {
    rand::rng().random_range(100_000..1_000_000).to_string()
}

/// A key of 20 lower-case letters and digits, 103 bits.
#[must_use]
pub fn new_key() -> String {
    random_text(20)
}

/// A secret of 32 lower-case letters and digits, 165 bits.
#[must_use]
pub fn new_secret() -> String {
    random_text(32)
}

fn random_text(length: usize) -> String {
    random_of(b"abcdefghijklmnopqrstuvwxyz0123456789", length)
}

/// So many random letters of both cases and digits, 5.95 bits each: what the management API makes its credentials of.
#[must_use]
pub fn random_alphanumerics(length: usize) -> String {
    random_of(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        length,
    )
}

fn random_of(letters: &[u8], length: usize) -> String {
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(letters[random.random_range(0..letters.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_look_as_laravel_makes_them_and_never_repeat() {
        let is_plain = |text: &str| {
            text.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        let id: u32 = new_id().parse().expect("digits");
        assert!((100_000..1_000_000).contains(&id));
        assert!(new_key().len() == 20 && is_plain(&new_key()));
        assert!(new_secret().len() == 32 && is_plain(&new_secret()));
        assert_ne!(new_secret(), new_secret());
        let mixed = random_alphanumerics(64);
        assert!(mixed.len() == 64 && mixed.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
