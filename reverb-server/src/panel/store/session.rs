//! [`Session`]: one browser in which a user is logged in.

use std::fmt;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::{PanelError, PasswordHash, check_json, cut};

/// What a session is kept by: a hash of the token in the browser's cookie, which is not kept anywhere. Who reads the database
/// cannot make a cookie of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey([u8; 32]);

/// A session to begin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewSession {
    /// What it is kept by.
    pub key: SessionKey,
    /// Whose it is.
    pub user: u64,
    /// Where the browser is.
    pub ip: Option<IpAddr>,
    /// What the browser calls itself; its first 255 characters are kept.
    pub user_agent: String,
    /// What the panel remembers: JSON, up to 64 KiB; `{}` by default.
    pub data: String,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// What it is kept by.
    pub key: SessionKey,
    /// Whose it is.
    pub user: u64,
    /// Where the browser was when it began.
    pub ip: Option<IpAddr>,
    /// What the browser called itself.
    pub user_agent: String,
    /// What the panel remembers: JSON.
    pub data: String,
    /// When it began.
    pub created: u64,
    /// When it was seen last.
    pub seen: u64,
}

/// Bytes of data.
const LONGEST: usize = 64 * 1024;

impl SessionKey {
    /// Of the token in a cookie.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// As it is kept.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "SessionKey({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

impl NewSession {
    /// A session without data, of a browser that says nothing.
    #[must_use]
    pub fn new(key: SessionKey, user: u64) -> Self {
        Self {
            key,
            user,
            ip: None,
            user_agent: String::new(),
            data: "{}".to_owned(),
        }
    }

    /// The same, fit to be kept.
    pub(super) fn checked(&self) -> Result<Self, PanelError> {
        check_data(&self.data)?;
        Ok(Self {
            user_agent: cut(&self.user_agent, 255).replace('\0', " "),
            ..self.clone()
        })
    }
}

pub(super) fn check_data(data: &str) -> Result<(), PanelError> {
    check_json("data of a session", data, LONGEST)
}

/// What shows that a user has the password still with which a session began, without being of use to anybody else.
pub(super) fn mark(password: &PasswordHash) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(password.reveal()).into();
    std::array::from_fn(|n| hash[n])
}
