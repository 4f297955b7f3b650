//! [`Clock`]: the only place where the time is read.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// What time it is: a monotonic one for deadlines, the wall's for signatures. A hub takes one by
/// [`HubBuilder::clock`](crate::hub::HubBuilder::clock); [`ManualClock`] shows how one is made.
pub trait Clock: Send + Sync + 'static {
    /// For deadlines; never goes back.
    fn now(&self) -> Instant;

    /// Since 1970, for signatures; may jump when somebody sets the clock.
    fn unix_time(&self) -> Duration;
}

/// The system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    fn unix_time(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// A clock that a test sets: it stands still until it is told to go on.
/// ```
/// use std::time::Duration;
/// use reverb_core::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::new(Duration::from_secs(1_700_000_000));
/// let before = clock.now();
/// clock.advance(Duration::from_secs(30));
/// assert_eq!(clock.now() - before, Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Instant,
    passed: Arc<Mutex<Duration>>,
    unix_start: Duration,
}

impl ManualClock {
    /// A clock whose wall time begins here.
    #[must_use]
    pub fn new(unix_start: Duration) -> Self {
        Self {
            start: SystemClock.now(),
            passed: Arc::default(),
            unix_start,
        }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        *self.passed.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start + *self.passed.lock()
    }

    fn unix_time(&self) -> Duration {
        self.unix_start + *self.passed.lock()
    }
}
