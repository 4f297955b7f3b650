//! [`Entries`]: what is remembered of the answers of an app store, and for how long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::protocol::App;

use super::{Landed, RETRY};

/// How long the hub remembers what a slow app store has said.
/// ```
/// use std::time::Duration;
/// use reverb_core::hub::AppCacheTimes;
///
/// let times = AppCacheTimes::default().fresh(Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AppCacheTimes {
    /// For so long an app is used without asking again; 5 s by default.
    pub fresh: Duration,
    /// For so long it is remembered that there is no such app; 1 s by default.
    pub absent: Duration,
    /// For so long an app is used while the store cannot answer, 10 minutes by default.
    pub stale: Duration,
}

impl Default for AppCacheTimes {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(5),
            absent: Duration::from_secs(1),
            stale: Duration::from_secs(600),
        }
    }
}

impl AppCacheTimes {
    /// Sets [`Self::fresh`].
    #[must_use]
    pub fn fresh(mut self, fresh: Duration) -> Self {
        self.fresh = fresh;
        self
    }

    /// Sets [`Self::absent`].
    #[must_use]
    pub fn absent(mut self, absent: Duration) -> Self {
        self.absent = absent;
        self
    }

    /// Sets [`Self::stale`].
    #[must_use]
    pub fn stale(mut self, stale: Duration) -> Self {
        self.stale = stale;
        self
    }
}

/// Most answers that are kept.
const MOST_KNOWN: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Entries {
    pub(super) known: HashMap<Question, Entry>,
    tidied: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    Key(Box<str>),
    Id(Box<str>),
}

#[derive(Default)]
pub(super) struct Entry {
    pub(super) said: Option<Said>,
    /// Somebody is asking: wait for this.
    pub(super) flight: Option<watch::Receiver<Option<Landed>>>,
}

impl Entry {
    pub(super) fn expire(&mut self, now: Instant) {
        // Its answer may be of the time before: nobody else waits for it, and it is not kept.
        self.flight = None;
        if let Some(said) = &mut self.said {
            said.fresh_until = now;
            said.is_outdated = true;
        }
    }
}

pub(super) struct Said {
    pub(super) app: Option<Arc<App>>,
    pub(super) fresh_until: Instant,
    pub(super) stale_until: Instant,
    /// The app has changed since, or may have.
    pub(super) is_outdated: bool,
    /// Nobody has asked for the app in this way while the store could answer, or it was changed while it was asked: good
    /// enough as the last good answer, until the app changes.
    pub(super) is_for_need: bool,
}

impl Entries {
    /// Remembers an app as the last good answer to the questions for its key and for its id, unless there is a better one.
    pub(super) fn keep_for_need(
        &mut self,
        app: &Arc<App>,
        now: Instant,
        stale_until: Instant,
        is_outdated: bool,
    ) {
        for question in [
            Question::Key(app.key.as_str().into()),
            Question::Id(app.id.as_str().into()),
        ] {
            let entry = self.known.entry(question).or_default();
            let is_worse = |said: &Said| {
                let newer = said
                    .app
                    .as_ref()
                    .is_some_and(|held| held.revision > app.revision);
                said.is_for_need && !newer
            };
            if entry.said.as_ref().is_none_or(is_worse) {
                entry.said = Some(Said {
                    app: Some(app.clone()),
                    fresh_until: now,
                    stale_until,
                    is_outdated,
                    is_for_need: true,
                });
            }
        }
    }

    /// Whether nothing more can be kept. Looks for what is too old, but not all the time.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        let is_full = self.known.len() > MOST_KNOWN;
        if is_full && self.tidied.is_none_or(|at| now > at + RETRY) {
            self.tidy(now);
            return self.known.len() > MOST_KNOWN;
        }
        is_full
    }

    pub(super) fn tidy(&mut self, now: Instant) {
        self.tidied = Some(now);
        self.known.retain(|_, entry| {
            entry.flight.is_some()
                || entry
                    .said
                    .as_ref()
                    .is_some_and(|said| said.stale_until > now)
        });
        if self.known.is_empty() {
            self.known.shrink_to_fit();
        }
    }
}
