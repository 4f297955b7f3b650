//! Passwords: whether one fits a hash, and new hashes, as Laravel sees them.

use bcrypt::Version;

use crate::panel::store::{PanelError, PasswordHash};

/// What bcrypt looks at; PHP ignores the rest.
const MOST: usize = 72;

/// Whether this is the password that was hashed with bcrypt, `$2y$`, `$2a$` or `$2b$`.
///
/// It takes a tenth of a second and more, on purpose: call it off the threads that carry connections. A hash of another kind
/// fits no password.
#[must_use]
pub fn fits(password: &str, hash: &str) -> bool {
    let is_bcrypt = ["$2y$", "$2a$", "$2b$"]
        .iter()
        .any(|kind| hash.starts_with(kind));
    // PHP refuses a NUL byte, at which others would stop reading.
    if !is_bcrypt || password.contains('\0') {
        return false;
    }
    bcrypt::verify(counted(password), hash).unwrap_or(false)
}

/// Fewest characters of a new password.
const LEAST: usize = 8;

/// A hash that this password fits, in so many rounds, 4 to 31: each more doubles the work.
///
/// # Errors
/// The password has fewer than eight characters or a NUL byte, or the rounds are others.
pub fn hash(password: &str, rounds: u32) -> Result<PasswordHash, PanelError> {
    let unfit = |reason: String| PanelError::unfit("password", reason);
    if password.chars().count() < LEAST {
        return Err(unfit(format!("has fewer than {LEAST} characters")));
    }
    if password.contains('\0') {
        return Err(unfit("has a NUL byte, which PHP refuses".to_owned()));
    }
    let hash = bcrypt::hash_with_result(counted(password), rounds);
    let hash = hash.map_err(|error| unfit(format!("cannot be hashed: {error}")))?;
    PasswordHash::new(&hash.format_for_version(Version::TwoY))
}

/// The bytes of it that count.
fn counted(password: &str) -> &[u8] {
    let password = password.as_bytes();
    &password[..password.len().min(MOST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the word `password`, as Laravel's factories have it.
    const HASH: &str = "$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi";

    #[test]
    fn a_password_of_laravel_fits_its_hash_and_no_other_does() {
        assert!(fits("password", HASH));
        assert!(fits("password", &HASH.replace("$2y$", "$2b$")));
        for wrong in ["Password", "password ", "password\0", ""] {
            assert!(!fits(wrong, HASH), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_hash_of_bcrypt_fits_nothing() {
        for hash in [
            "",
            "password",
            "$2y$",
            "$2y$10$short",
            "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA",
            "$2y$99$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi",
        ] {
            assert!(!fits("password", hash), "{hash}");
        }
    }

    #[test]
    fn a_new_hash_is_one_as_php_writes_it() {
        let hash = hash("correct horse", 4).expect("a hash");
        assert!(hash.reveal().starts_with("$2y$04$") && hash.reveal().len() == 60);
        assert!(fits("correct horse", hash.reveal()) && !fits("correct hors", hash.reveal()));
        let long = "ü".repeat(50);
        let hashed = super::hash(&long, 4).expect("a hash");
        assert!(fits(&long, hashed.reveal()));
        assert!(super::hash("8 letter", 4).is_ok() && super::hash("üüüüüüüü", 4).is_ok());
        for (wrong, rounds) in [
            ("7 chars", 4),
            ("üüüü", 4),
            ("12345678\0", 4),
            ("long enough", 3),
            ("long enough", 32),
        ] {
            let refused = super::hash(wrong, rounds).expect_err("refused").to_string();
            assert!(!refused.contains(wrong), "{refused}");
        }
    }

    #[test]
    fn of_a_long_password_the_first_72_bytes_count() {
        let hash = bcrypt::hash("x".repeat(72), 4).expect("a hash");
        assert!(fits(&"x".repeat(72), &hash) && fits(&"x".repeat(100), &hash));
        assert!(!fits(&"x".repeat(71), &hash));
    }
}
