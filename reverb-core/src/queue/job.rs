//! [`Job`]: what is to be done, and what becomes of it: [`Leased`] while it is worked on, a [`DeadJob`] when it has failed.

use std::fmt;
use std::str::FromStr;

/// Work to be done: a kind, by which workers choose, and whatever the worker needs to know.
///
/// It is checked here, so that a queue need not. Debug output has the length of the payload, never the payload.
/// ```
/// use reverb_core::queue::Job;
///
/// let job = Job::new("webhook", r#"{"url":"https://example.com"}"#)?.with_max_attempts(3);
/// assert_eq!((job.kind(), job.max_attempts()), ("webhook", 3));
/// # Ok::<(), reverb_core::queue::InvalidJob>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Job {
    pub(super) kind: String,
    pub(super) payload: String,
    pub(super) max_attempts: u32,
}

impl Job {
    /// Bytes that a kind may have; 1 is the least.
    pub const MAX_KIND: usize = 64;
    /// Bytes that a payload may have: 1 MiB.
    pub const MAX_PAYLOAD: usize = 1024 * 1024;
    /// How often a job is attempted by default.
    pub const MAX_ATTEMPTS: u32 = 10;

    /// A job of this kind, to be attempted ten times at most.
    ///
    /// # Errors
    /// The kind has no byte or more than 64, or the payload more than 1 MiB.
    pub fn new(kind: impl Into<String>, payload: impl Into<String>) -> Result<Self, InvalidJob> {
        let (kind, payload) = (kind.into(), payload.into());
        if kind.is_empty() || kind.len() > Self::MAX_KIND {
            return Err(InvalidJob::Kind { length: kind.len() });
        }
        if payload.len() > Self::MAX_PAYLOAD {
            return Err(InvalidJob::TooLarge {
                length: payload.len(),
            });
        }
        Ok(Self {
            kind,
            payload,
            max_attempts: Self::MAX_ATTEMPTS,
        })
    }

    /// How often it is attempted before it is a dead letter: 0 is taken for 1, and the default is 10.
    #[must_use]
    pub fn with_max_attempts(self, max_attempts: u32) -> Self {
        Self {
            max_attempts: max_attempts.max(1),
            ..self
        }
    }

    /// What kind of work it is, such as `webhook`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What the worker needs to know.
    #[must_use]
    pub fn payload(&self) -> &str {
        &self.payload
    }

    /// How often it is attempted at most.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("kind", &self.kind)
            .field("payload_bytes", &self.payload.len())
            .field("max_attempts", &self.max_attempts)
            .finish()
    }
}

/// Why something is no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJob {
    /// The kind is empty or too long.
    #[error("the kind of a job has 1 to {max} bytes, not {length}", max = Job::MAX_KIND)]
    Kind {
        /// Bytes it has.
        length: usize,
    },
    /// The payload is too large.
    #[error(
        "the payload of the job has {length} bytes, and may have {max}: keep it elsewhere, and push where it is",
        max = Job::MAX_PAYLOAD
    )]
    TooLarge {
        /// Bytes it has.
        length: usize,
    },
}

/// The number of a job in its queue: later ones have higher numbers, and none is given twice.
/// ```
/// use reverb_core::queue::JobId;
///
/// let id: JobId = "17".parse()?;
/// assert_eq!(id, JobId::new(17));
/// # Ok::<(), reverb_core::queue::InvalidJobId>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(i64);

impl JobId {
    /// The id with this number. Signed, as databases count, though no queue gives one below 1.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let invalid = || InvalidJobId(text.to_owned());
        // A sign is read by parse, but written by nobody.
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        text.parse().map(Self).map_err(|_| invalid())
    }
}

/// A text that is not the id of a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a job is a number such as 17, not {0:?}")]
pub struct InvalidJobId(String);

/// A job in the hands of a worker, until its lease runs out. Debug output has the length of the payload only.
#[derive(Clone, PartialEq, Eq)]
pub struct Leased {
    /// Which job.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: String,
    /// What the worker needs to know.
    pub payload: String,
    /// Which attempt this is; the first is 1.
    pub attempt: u32,
    /// How many there may be.
    pub max_attempts: u32,
    /// Which lease of the job this is: the queue's own business. No two leases of a job have the same one, those before
    /// it was revived included, so that the number of the attempt will not do.
    pub token: i64,
}

impl Leased {
    /// Whether this is the last attempt: the job is a dead letter if it fails.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.attempt >= self.max_attempts
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("payload_bytes", &self.payload.len())
            .field("attempt", &self.attempt)
            .field("max_attempts", &self.max_attempts)
            .field("token", &self.token)
            .finish()
    }
}

/// A dead letter: a job that has failed for good, kept for somebody to look at. Debug output has the length of the payload
/// only.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadJob {
    /// Which job.
    pub id: JobId,
    /// What kind of work it was.
    pub kind: String,
    /// What the worker needed to know.
    pub payload: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why it failed: at most a thousand characters.
    pub reason: String,
    /// When, in seconds since 1970.
    pub died_at: u64,
}

impl fmt::Debug for DeadJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadJob")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("payload_bytes", &self.payload.len())
            .field("attempts", &self.attempts)
            .field("reason", &self.reason)
            .field("died_at", &self.died_at)
            .finish()
    }
}

/// What is kept of a reason: the first thousand characters. For implementations of [`Queue`](super::Queue).
#[must_use]
pub fn cut_reason(reason: &str) -> &str {
    match reason.char_indices().nth(1000) {
        Some((end, _)) => &reason[..end],
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_refused_with_both_numbers() {
        let payload = "x".repeat(Job::MAX_PAYLOAD);
        assert!(Job::new("k".repeat(64), payload.as_str()).is_ok());
        let refused = Job::new("webhook", payload + "x").expect_err("one byte too many");
        let refused = refused.to_string();
        assert!(
            refused.contains("1048577") && refused.contains("1048576"),
            "{refused}"
        );
        // Bytes count, not characters.
        for (kind, length) in [
            (String::new(), 0),
            ("k".repeat(65), 65),
            ("é".repeat(33), 66),
        ] {
            assert_eq!(Job::new(kind, ""), Err(InvalidJob::Kind { length }));
        }
    }

    #[test]
    fn a_job_is_attempted_at_least_once() {
        let job = Job::new("mail", "").expect("a job");
        assert_eq!(job.max_attempts(), 10);
        assert_eq!(job.with_max_attempts(0).max_attempts(), 1);
    }

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        for id in [1, 17, i64::MAX].map(JobId::new) {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "-1", "+1", " 1", "1.0", "x", "9223372036854775808", "١"] {
            let refused = text.parse::<JobId>().expect_err(text);
            assert!(refused.to_string().contains("such as 17"), "{refused}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let short = "é".repeat(1000);
        assert_eq!(cut_reason(&short), short);
        assert_eq!(cut_reason(&format!("{short}!")), short);
        assert_eq!(cut_reason(""), "");
    }

    #[test]
    fn no_payload_is_printed() {
        let (kind, payload) = ("mail".to_owned(), "canary-7f3a".to_owned());
        let job = Job::new(kind.clone(), payload.clone()).expect("a job");
        let leased = Leased {
            id: JobId::new(1),
            kind: kind.clone(),
            payload: payload.clone(),
            attempt: 1,
            max_attempts: 10,
            token: 1,
        };
        let dead = DeadJob {
            id: JobId::new(1),
            kind,
            payload,
            attempts: 1,
            reason: String::new(),
            died_at: 0,
        };
        let printed = format!("{job:?} {leased:?} {dead:?}");
        assert!(!printed.contains("canary"), "{printed}");
        assert!(printed.contains("payload_bytes: 11"), "{printed}");
    }
}
