//! [`PanelStore`]: what the panel keeps, besides apps: users, sessions, settings, and what was done by whom.

mod audit;
mod mysql;
mod session;
mod sqlite;
mod user;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reverb_core::app_store::StoreError;

pub use self::audit::{Entry, NewEntry};
pub use self::mysql::{MYSQL_LEDGER, MySqlPanel};
pub use self::session::{NewSession, Session, SessionKey};
pub use self::sqlite::{SQLITE_LEDGER, SqlitePanel};
pub use self::user::{NewUser, PasswordHash, User, UserChange};

/// Where the panel keeps what is its own. All nodes that share a database share it.
///
/// Each change is made as a whole or not at all, is written through when it is answered, and nobody waits longer than some
/// seconds: after that it is [`PanelError::Store`], and it may have happened. Times are seconds since 1970, and the caller's, but
/// for [`claim`](Self::claim).
///
/// Who changes a user says what to note of it in the audit log. The change is made at the time of that entry, and both are
/// written together or not at all.
///
/// What a wrong implementation would break: who is locked out or let in. Two who take away the last two active users at once
/// must not both succeed; a session must end with its user and with its user's password; a turn must not be had twice.
#[async_trait]
pub trait PanelStore: Send + Sync {
    /// The next users behind this id, 0 for the first, in the order in which they were made.
    async fn users(&self, after: u64, most: usize) -> Result<Vec<User>, PanelError>;

    /// How many users there are.
    async fn count_users(&self) -> Result<u64, PanelError>;

    /// The user with this id.
    async fn user(&self, id: u64) -> Result<Option<User>, PanelError>;

    /// The user with this e-mail address. Upper and lower case are the same with the letters A to Z, and all else is compared to the
    /// byte: what looks alike is another address. Mail to a user must go to [`User::email`] even so, never to what was typed here.
    async fn user_by_email(&self, email: &str) -> Result<Option<User>, PanelError>;

    /// Makes a user, and notes it. Its id is given to nobody else later.
    ///
    /// # Errors
    /// [`Taken`](PanelError::Taken), [`Unfit`](PanelError::Unfit), or [`NoColumn`](PanelError::NoColumn) if it is not active.
    async fn create_user(&self, user: &NewUser, entry: &NewEntry) -> Result<User, PanelError>;

    /// Changes a user, and notes it; what is not said stays. A time of verification that is there already stays as well.
    ///
    /// # Errors
    /// [`Missing`](PanelError::Missing), [`Taken`](PanelError::Taken), [`Unfit`](PanelError::Unfit),
    /// [`LastActive`](PanelError::LastActive), or [`NoColumn`](PanelError::NoColumn).
    async fn update_user(
        &self,
        id: u64,
        change: &UserChange,
        entry: &NewEntry,
    ) -> Result<User, PanelError>;

    /// Gives a user another password, ends the user's sessions but this one, and notes it. The PHP product's "remember me" ends
    /// too.
    ///
    /// # Errors
    /// [`Missing`](PanelError::Missing), or [`Unfit`](PanelError::Unfit): the entry.
    async fn set_password(
        &self,
        id: u64,
        password: &PasswordHash,
        keep: Option<&SessionKey>,
        entry: &NewEntry,
    ) -> Result<(), PanelError>;

    /// Removes a user and the user's sessions, and notes it; returns who it was.
    ///
    /// # Errors
    /// [`Missing`](PanelError::Missing), [`LastActive`](PanelError::LastActive), or [`Unfit`](PanelError::Unfit): the entry.
    async fn remove_user(&self, id: u64, entry: &NewEntry) -> Result<User, PanelError>;

    /// Begins a session. Of a user's sessions the hundred seen last are kept.
    ///
    /// # Errors
    /// [`Missing`](PanelError::Missing), or [`Unfit`](PanelError::Unfit).
    async fn create_session(&self, session: &NewSession, now: u64) -> Result<(), PanelError>;

    /// A session, and its user as it is now, perhaps not active. There is none once the user has gone or has another password
    /// than when the session began, whoever has seen to that.
    async fn find_session(&self, key: &SessionKey) -> Result<Option<(Session, User)>, PanelError>;

    /// Says that a session was seen; `false` if there is none. The time never goes back.
    async fn touch_session(&self, key: &SessionKey, now: u64) -> Result<bool, PanelError>;

    /// Replaces the data of a session; `false` if there is none: one that has ended does not come back.
    ///
    /// # Errors
    /// [`Unfit`](PanelError::Unfit).
    async fn save_session(&self, key: &SessionKey, data: &str) -> Result<bool, PanelError>;

    /// Ends a session; `false` if there was none.
    async fn remove_session(&self, key: &SessionKey) -> Result<bool, PanelError>;

    /// Ends the sessions of a user but this one; returns how many.
    async fn remove_sessions(
        &self,
        user: u64,
        keep: Option<&SessionKey>,
    ) -> Result<u64, PanelError>;

    /// The sessions of a user that can be found, those seen last first.
    async fn sessions_of(&self, user: u64) -> Result<Vec<Session>, PanelError>;

    /// A setting.
    async fn setting(&self, name: &str) -> Result<Option<String>, PanelError>;

    /// All settings.
    async fn settings(&self) -> Result<BTreeMap<String, String>, PanelError>;

    /// Sets a setting: a name of up to 64 letters, digits, `.`, `_` and `-`, and up to 64 KiB of text.
    ///
    /// # Errors
    /// [`Unfit`](PanelError::Unfit).
    async fn set_setting(&self, name: &str, value: &str) -> Result<(), PanelError>;

    /// Forgets a setting; `false` if there was none.
    async fn unset_setting(&self, name: &str) -> Result<bool, PanelError>;

    /// Notes what was done. A later entry has a larger id.
    ///
    /// # Errors
    /// [`Unfit`](PanelError::Unfit).
    async fn note(&self, entry: &NewEntry) -> Result<(), PanelError>;

    /// What was noted, newest first, before this id.
    async fn entries(&self, before: Option<u64>, most: usize) -> Result<Vec<Entry>, PanelError>;

    /// Removes what is older than it is kept, some hundred rows at a time, between which others have their turn. What it has
    /// removed when it fails or is dropped stays removed.
    async fn sweep(&self, now: u64, keep: &Retention) -> Result<Swept, PanelError>;

    /// Whether the caller is the one who shall do this chore now. Of all nodes that ask, one is told so at first, and then one
    /// each time that so long has passed since, by the database's clock. Who is told so and does not do it leaves it undone until
    /// the next turn. A clock that was put back by more than ten seconds makes it due.
    ///
    /// # Errors
    /// [`Unfit`](PanelError::Unfit): a chore has a name as a setting has.
    async fn claim(&self, chore: &str, every: Duration) -> Result<bool, PanelError>;
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PanelError {
    /// Somebody else has this e-mail address.
    #[error("the e-mail address {0:?} is taken")]
    Taken(String),
    /// There is no such user.
    #[error("there is no such user")]
    Missing,
    /// Nobody could log in any more.
    #[error(
        "{0} is the last active user, without whom nobody could log in: activate another one first"
    )]
    LastActive(String),
    /// It cannot be kept.
    #[error("the {field} {reason}")]
    Unfit {
        /// What.
        field: &'static str,
        /// What is wrong with it, as the rest of a sentence.
        reason: String,
    },
    /// The PHP product's table is too old to say that a user is not active.
    #[error(
        "a user cannot be inactive here yet: the table users of the PHP product has no column active, which its migration of \
         October 2025 adds (php artisan migrate)"
    )]
    NoColumn,
    /// The database did not answer, or could not do it; asking again may help.
    #[error("what the panel keeps is out of reach")]
    Store(#[from] StoreError),
}

impl PanelError {
    pub(crate) fn unfit(field: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Unfit { field, reason }
    }
}

/// For how long it is kept what makes itself old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Since a session was seen last; two hours by default, as in the PHP product.
    pub sessions: Duration,
    /// Since an entry was noted; a year by default.
    pub entries: Duration,
    /// Most entries, the newest; 100,000 by default.
    pub most_entries: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            sessions: Duration::from_hours(2),
            entries: Duration::from_hours(365 * 24),
            most_entries: 100_000,
        }
    }
}

/// What was removed by a [`sweep`](PanelStore::sweep).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Sessions that nobody has used.
    pub sessions: u64,
    /// Entries of the audit log.
    pub entries: u64,
}

/// So many rows are removed in one transaction.
const SLICE: usize = 500;
/// Most sessions of a user.
const SESSIONS: usize = 100;
/// Bytes of a setting.
const LONGEST_SETTING: usize = 64 * 1024;
/// By less than so many seconds a clock that was put back is taken for one that two have read in another order.
const AHEAD: u64 = 10;

/// Settings and chores have such names.
fn check_name(field: &'static str, name: &str) -> Result<(), PanelError> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=64).contains(&name.len()) && name.bytes().all(is_fit) {
        true => Ok(()),
        false => {
            let reason = format!("{name:?} has other than 1 to 64 letters, digits, ., _ and -");
            Err(PanelError::unfit(field, reason))
        }
    }
}

fn check_setting(name: &str, value: &str) -> Result<(), PanelError> {
    check_name("setting", name)?;
    match value.len() <= LONGEST_SETTING && !value.contains('\0') {
        true => Ok(()),
        false => Err(PanelError::unfit(
            "setting",
            format!("{name} has more than 65536 bytes, or NUL among them"),
        )),
    }
}

/// JSON of up to so many bytes.
fn check_json(field: &'static str, json: &str, longest: usize) -> Result<(), PanelError> {
    if json.len() > longest {
        let reason = format!("has more than {longest} bytes");
        return Err(PanelError::unfit(field, reason));
    }
    let parsed = serde_json::from_str::<serde::de::IgnoredAny>(json);
    parsed.map_err(|error| PanelError::unfit(field, format!("is no JSON: {error}")))?;
    Ok(())
}

/// The first so many characters.
fn cut(text: &str, most: usize) -> &str {
    text.char_indices()
        .nth(most)
        .map_or(text, |(end, _)| &text[..end])
}

/// The largest number that SQL takes here.
fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
