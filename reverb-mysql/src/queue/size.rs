//! [`Size`]: about how many jobs there are, without counting them for every push.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::QueueError;

/// For so long a count is good enough.
const FRESH: Duration = Duration::from_secs(1);

/// What was counted last, and what has been done here since. What others do is seen with the next count. So is what was under
/// way during the last one, which it may have seen or not.
#[derive(Debug)]
pub(super) struct Size {
    limit: usize,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    at: Option<Instant>,
    alive: i64,
    dead: i64,
}

impl Size {
    pub(super) fn new(limit: usize) -> Self {
        let counted = Mutex::default();
        Self { limit, counted }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// What is said to who finds no room.
    pub(super) fn full(&self) -> QueueError {
        QueueError::Full { limit: self.limit }
    }

    /// Whether it is time to count. Who is told so counts, while others go on with what there is.
    pub(super) fn is_stale(&self) -> bool {
        let now = SystemClock.now();
        let mut counted = self.counted.lock();
        let is_stale = counted.at.is_none_or(|at| now - at > FRESH);
        if is_stale {
            counted.at = Some(now);
        }
        is_stale
    }

    pub(super) fn counted(&self, alive: i64, dead: i64) {
        let mut counted = self.counted.lock();
        (counted.alive, counted.dead) = (alive, dead);
    }

    /// The count that was to be made has failed, or is known to be wrong.
    pub(super) fn count_again(&self) {
        self.counted.lock().at = None;
    }

    /// Takes room for another job, if there is some.
    pub(super) fn reserve(&self) -> bool {
        let mut counted = self.counted.lock();
        let has_room = counted.alive < i64::try_from(self.limit).unwrap_or(i64::MAX);
        counted.alive += i64::from(has_room);
        has_room
    }

    /// A job is done, or has not come after all.
    pub(super) fn left(&self) {
        self.counted.lock().alive -= 1;
    }

    /// So many jobs have become dead letters.
    pub(super) fn died(&self, jobs: usize) {
        let mut counted = self.counted.lock();
        counted.alive -= jobs as i64;
        counted.dead += jobs as i64;
    }

    /// So many dead letters are gone, or jobs again.
    pub(super) fn dead_left(&self, dead: u64) {
        self.counted.lock().dead -= dead as i64;
    }

    /// Whether there are so many dead letters that it is worth the while to remove some.
    pub(super) fn has_too_many_dead(&self) -> bool {
        let most = self.limit.saturating_add(self.limit / 100);
        self.counted.lock().dead > i64::try_from(most).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_here_is_reckoned_with_before_the_next_count() {
        let size = Size::new(2);
        assert!(size.is_stale());
        assert!(!size.is_stale(), "one counts");
        size.counted(1, 0);
        assert!(size.reserve());
        assert!(!size.reserve());
        size.left();
        assert!(size.reserve());
        size.died(2);
        assert!(!size.has_too_many_dead());
        size.died(1);
        assert!(size.has_too_many_dead());
        size.dead_left(1);
        assert!(!size.has_too_many_dead());
        size.count_again();
        assert!(size.is_stale());
    }

    #[test]
    fn dead_letters_go_by_the_hundredth() {
        let size = Size::new(1000);
        size.counted(0, 1010);
        assert!(!size.has_too_many_dead());
        size.died(1);
        assert!(size.has_too_many_dead());
        let boundless = Size::new(usize::MAX);
        boundless.counted(i64::MAX - 1, i64::MAX);
        assert!(!boundless.has_too_many_dead());
    }
}
