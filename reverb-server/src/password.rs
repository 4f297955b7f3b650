//! Passwords: whether one fits a hash, as Laravel sees it.

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
    let password = password.as_bytes();
    let password = &password[..password.len().min(MOST)];
    bcrypt::verify(password, hash).unwrap_or(false)
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
    fn of_a_long_password_the_first_72_bytes_count() {
        let hash = bcrypt::hash("x".repeat(72), 4).expect("a hash");
        assert!(fits(&"x".repeat(72), &hash) && fits(&"x".repeat(100), &hash));
        assert!(!fits(&"x".repeat(71), &hash));
    }
}
