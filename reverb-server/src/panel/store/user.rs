//! [`User`]: who may log in to the panel.

use std::fmt;

use super::PanelError;

/// A user. All are equal; who is not active cannot log in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Given once.
    pub id: u64,
    /// For people.
    pub name: String,
    /// What the user logs in with, as it was written; upper and lower case are the same with the letters of ASCII. Mail for the user
    /// goes here, never to what somebody has typed.
    pub email: String,
    /// Since when it is known that the address is the user's. Only for people: nothing asks for it.
    pub verified_at: Option<u64>,
    /// Whether the user may log in.
    pub active: bool,
    /// What the password fits.
    pub password: PasswordHash,
    /// When the user was made; the PHP product's table may not know.
    pub created: Option<u64>,
    /// When the user was changed last.
    pub updated: Option<u64>,
}

/// A user to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewUser {
    /// 1 to 255 characters, none of them a control character; blanks around it are dropped.
    pub name: String,
    /// Up to 255 characters, as HTML's `<input type=email>` takes them.
    pub email: String,
    /// What the password fits.
    pub password: PasswordHash,
    /// Whether the user may log in; `true` by default.
    pub active: bool,
    /// Whether it is known that the address is the user's; `false` by default.
    pub verified: bool,
}

/// What shall be different with a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserChange {
    /// See [`NewUser::name`].
    pub name: Option<String>,
    /// See [`NewUser::email`].
    pub email: Option<String>,
    /// Whether the user may log in.
    pub active: Option<bool>,
    /// Whether it is known that the address is the user's.
    pub verified: Option<bool>,
}

/// The hash of a password by bcrypt, as PHP writes it. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl NewUser {
    /// An active user whose address nobody has verified.
    #[must_use]
    pub fn new(name: &str, email: &str, password: PasswordHash) -> Self {
        Self {
            name: name.to_owned(),
            email: email.to_owned(),
            password,
            active: true,
            verified: false,
        }
    }

    /// The same, fit to be kept.
    pub(super) fn checked(&self) -> Result<Self, PanelError> {
        Ok(Self {
            name: name(&self.name)?,
            email: email(&self.email)?,
            ..self.clone()
        })
    }
}

impl UserChange {
    /// Refuses what could not be kept, before anybody is asked for more.
    pub(crate) fn check(&self) -> Result<(), PanelError> {
        self.name.as_deref().map(name).transpose()?;
        self.email.as_deref().map(email).transpose()?;
        Ok(())
    }

    /// What a user is after this change at this time.
    pub(super) fn apply(&self, user: &User, now: u64) -> Result<User, PanelError> {
        let mut after = user.clone();
        if let Some(new) = &self.name {
            after.name = name(new)?;
        }
        // An address of the PHP product's that would not be taken here may stay.
        if let Some(new) = self.email.as_ref().filter(|new| new.trim() != user.email) {
            after.email = email(new)?;
        }
        after.active = self.active.unwrap_or(user.active);
        after.verified_at = match self.verified {
            Some(true) => user.verified_at.or(Some(now)),
            Some(false) => None,
            None => user.verified_at,
        };
        after.updated = Some(now);
        Ok(after)
    }
}

impl User {
    /// Whether this is the user's address. Case is ASCII's: of other letters there are such as become one of ASCII in lower case.
    pub(super) fn has(&self, email: &str) -> bool {
        self.email.eq_ignore_ascii_case(email)
    }
}

impl PasswordHash {
    /// A hash that bcrypt has made: `$2y$`, `$2a$` or `$2b$`, kept as `$2y$`, which PHP writes and the others are the same as.
    ///
    /// # Errors
    /// It is something else, such as a password.
    pub fn new(hash: &str) -> Result<Self, PanelError> {
        let rest = ["$2y$", "$2a$", "$2b$"];
        let rest = rest.iter().find_map(|kind| hash.strip_prefix(kind));
        let is_rest = |rest: &&str| rest.len() == 56 && rest.bytes().all(|b| b.is_ascii_graphic());
        match rest.filter(is_rest) {
            Some(rest) => Ok(Self(format!("$2y${rest}"))),
            None => Err(PanelError::unfit("password", "was not hashed by bcrypt")),
        }
    }

    /// What stands in a row, which may be no hash at all: no password fits it then.
    pub(super) fn stored(hash: String) -> Self {
        Self(hash)
    }

    /// As it is kept.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn name(name: &str) -> Result<String, PanelError> {
    let name = name.trim();
    let unfit = |reason| Err(PanelError::unfit("name", reason));
    match name.chars().count() {
        0 => unfit("is empty"),
        256.. => unfit("has more than 255 characters"),
        _ if name.contains(char::is_control) => unfit("has a control character"),
        _ => Ok(name.to_owned()),
    }
}

/// By HTML's rule, and not longer than the PHP product's column.
fn email(email: &str) -> Result<String, PanelError> {
    let email = email.trim();
    let is_local =
        |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_fit = email.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && local.bytes().all(is_local) && domain.split('.').all(is_label)
    });
    match is_fit && email.len() <= 255 {
        true => Ok(email.to_owned()),
        false if !email.is_ascii() => Err(PanelError::unfit(
            "e-mail address",
            format!("{email:?} is not in ASCII: write its domain as xn--…"),
        )),
        false => Err(PanelError::unfit(
            "e-mail address",
            format!("{email:?} is none, or is longer than 255 characters"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_without_blanks_around() {
        assert_eq!(name("  Ada Lovelace ").expect("a name"), "Ada Lovelace");
        assert_eq!(name(&"ü".repeat(255)).expect("a name").len(), 510);
        for wrong in ["", "  ", "a\0b", "a\nb", &"x".repeat(256)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_address_is_one_as_browsers_take_it() {
        for right in [
            "ada@example.com",
            "a.b+c@xn--bcher-kva.example",
            "root@localhost",
            "O'Hara@EXAMPLE.com",
        ] {
            assert_eq!(email(right).expect("an address"), right);
        }
        let long = format!("{}@example.com", "x".repeat(244));
        for wrong in [
            "", "ada", "@b", "a@", "a@b..c", "a@-b", "a b@c", "a@b c", "a\0@b", "a@b@", "ä@b.c",
            "a@bü.c", &long,
        ] {
            assert!(email(wrong).is_err(), "{wrong:?}");
        }
        assert!(email(&long[1..]).is_ok());
    }

    #[test]
    fn a_hash_is_kept_as_php_writes_it_and_never_printed() {
        let hash = "$2b$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi";
        let kept = PasswordHash::new(hash).expect("a hash");
        assert_eq!(kept.reveal(), hash.replace("$2b$", "$2y$"));
        assert_eq!(format!("{kept:?}"), "***");
        for wrong in [
            "",
            "password",
            "$2y$10$short",
            &hash.replace("$2b$", "$2x$"),
            &hash.replace('9', " "),
        ] {
            assert!(PasswordHash::new(wrong).is_err(), "{wrong}");
        }
    }
}
