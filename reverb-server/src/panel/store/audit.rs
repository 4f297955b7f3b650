//! [`Entry`]: what was done, and by whom.

use std::net::IpAddr;

use super::{PanelError, check_json, check_name, cut};

/// What was done, on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewEntry {
    /// When.
    pub at: u64,
    /// The id of the user who did it, if it was one.
    pub actor_id: Option<u64>,
    /// Who did it, as people call it: a user's address, or `command line`. Its first 255 characters are kept.
    pub actor: String,
    /// From where.
    pub ip: Option<IpAddr>,
    /// What, as in `user.create`: up to 64 letters, digits, `.`, `_` and `-`.
    pub action: String,
    /// To whom or what; the first 255 characters are kept.
    pub subject: String,
    /// More of it: JSON, up to 16 KiB, without secrets; `{}` by default.
    pub details: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Larger than those of earlier ones.
    pub id: u64,
    /// What was noted.
    pub entry: NewEntry,
}

/// Bytes of details.
const LONGEST: usize = 16 * 1024;

impl NewEntry {
    /// Somebody did something to somebody.
    #[must_use]
    pub fn new(at: u64, actor: &str, action: &str, subject: &str) -> Self {
        Self {
            at,
            actor_id: None,
            actor: actor.to_owned(),
            ip: None,
            action: action.to_owned(),
            subject: subject.to_owned(),
            details: "{}".to_owned(),
        }
    }

    /// The same, fit to be kept.
    pub(super) fn checked(&self) -> Result<Self, PanelError> {
        check_name("action", &self.action)?;
        check_json("details of an entry", &self.details, LONGEST)?;
        Ok(Self {
            actor: cut(&self.actor, 255).replace('\0', " "),
            subject: cut(&self.subject, 255).replace('\0', " "),
            ..self.clone()
        })
    }
}
