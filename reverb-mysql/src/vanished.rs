//! [`Vanished`]: most of the apps are gone from the table all of a sudden.
//!
//! Somebody puts a dump back, row by row perhaps, or has deleted them. What comes next tells which; but clients who are told
//! that there is no such app (4001) give up for good. So it is waited for.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use parking_lot::Mutex;
use reverb_core::clock::{Clock, SystemClock};

use crate::database::Failed;

/// For so long most of several apps may be gone before they count as removed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who has not looked for so long does not know since when they are.
const LONG: Duration = Duration::from_secs(3);
/// For so long a look holds for those who have not found an app.
const SHORT: Duration = Duration::from_millis(100);

/// Since when they are.
#[derive(Debug, Default)]
pub(crate) struct Vanished {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    looked: Option<Instant>,
}

impl Vanished {
    /// Whether more than half of several apps are gone since they were numbered, and may yet come back; once that is so, until
    /// the last one is back. Of an app that is alone, or removed here, nothing is doubted.
    pub(crate) async fn may_come_back(&self, conn: &mut Conn) -> Result<bool, Failed> {
        let sql = "SELECT COUNT(*), COUNT(*) - COUNT(a.id)
                   FROM rp_apps x LEFT JOIN reverb_apps a ON a.id = x.row_id WHERE x.removed_at IS NULL";
        let (known, gone) = conn.query_first(sql).await?.unwrap_or_default();
        Ok(self.state.lock().look(known, gone, SystemClock.now()))
    }

    /// The same for who has not found an app, of whom there may be very many: in a table that is not empty they are counted now
    /// and then only.
    pub(crate) async fn may_be_among_them(&self, conn: &mut Conn) -> Result<bool, Failed> {
        let now = SystemClock.now();
        let known = self.state.lock().known_at(now);
        if let Some(since) = known {
            let sql = "SELECT EXISTS (SELECT 1 FROM reverb_apps)";
            let has_some: Option<bool> = conn.query_first(sql).await?;
            if has_some == Some(true) {
                return Ok(since.is_some_and(|since| now - since < PATIENCE));
            }
        }
        self.may_come_back(conn).await
    }

    /// Everything is as it was.
    pub(crate) fn are_back(&self) {
        self.state.lock().since = None;
    }
}

impl State {
    fn look(&mut self, known: u64, gone: u64, now: Instant) -> bool {
        let is_late = self.looked.is_some_and(|looked| now - looked > LONG);
        self.looked = Some(now);
        let many = if self.since.is_some() { 0 } else { known / 2 };
        if known <= 1 || gone <= many {
            self.since = None;
            return false;
        }
        if is_late {
            self.since = Some(now);
        }
        let since = *self.since.get_or_insert_with(|| {
            tracing::warn!(
                gone,
                known,
                "most apps are gone from reverb_apps: they count as removed if they are not back in {} s",
                PATIENCE.as_secs()
            );
            now
        });
        now - since < PATIENCE
    }

    /// Since when they are gone, if it was looked just now.
    fn known_at(&self, now: Instant) -> Option<Option<Instant>> {
        let looked = self.looked?;
        (now - looked < SHORT).then_some(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn most_of_several_are_waited_for_until_the_last_is_back_or_ten_seconds_are_over() {
        let start = SystemClock.now();
        let mut state = State::default();
        assert!(
            !state.look(1, 1, start) && !state.look(4, 2, start),
            "too few"
        );
        assert!(state.look(4, 3, start));
        assert!(state.look(4, 1, start + SECOND), "one is not back yet");
        assert!(!state.look(4, 0, start + 2 * SECOND));
        assert!(!state.look(4, 1, start + 2 * SECOND), "that is another one");
        let again = start + 3 * SECOND;
        assert!((0..10).all(|n| state.look(4, 4, again + n * SECOND)));
        assert!(!state.look(4, 4, again + PATIENCE));
    }

    #[test]
    fn the_time_in_which_nobody_could_look_does_not_count() {
        let start = SystemClock.now();
        let mut state = State::default();
        assert!(state.look(4, 4, start));
        let back = start + 20 * SECOND;
        assert!(state.look(4, 2, back) && state.look(4, 1, back + SECOND));
    }

    #[test]
    fn a_look_holds_for_a_tenth_of_a_second() {
        let start = SystemClock.now();
        let mut state = State::default();
        assert_eq!(state.known_at(start), None);
        state.look(4, 4, start);
        assert_eq!(state.known_at(start), Some(Some(start)));
        assert_eq!(state.known_at(start + SHORT), None);
    }
}
