//! [`Rate`]: how often something may happen.

use std::time::{Duration, Instant};

/// A limit of so many per second, with as many at once as fit in one second.
///
/// It keeps one point in time, up to which the allowance is used, so that it costs nothing while nothing happens.
/// ```
/// use std::time::{Duration, Instant};
/// use reverb_core::protocol::Rate;
///
/// let (mut rate, now) = (Rate::default(), Instant::now());
/// assert!((0..10).all(|_| rate.take(1, 10, now).is_ok()));
/// assert_eq!(rate.take(1, 10, now), Err(Duration::from_millis(100)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    used_until: Option<Instant>,
}

impl Rate {
    /// Whether something of the allowance is used at this time.
    #[must_use]
    pub fn is_used(&self, now: Instant) -> bool {
        self.used_until.is_some_and(|until| until > now)
    }

    /// Takes `count` out of an allowance of `per_second`; 0 lifts the limit.
    ///
    /// # Errors
    /// How long to wait until there is room again. Nothing was taken then.
    pub fn take(&mut self, count: u32, per_second: u32, now: Instant) -> Result<(), Duration> {
        if per_second == 0 || count == 0 {
            return Ok(());
        }
        let cost = Duration::from_secs(u64::from(count)) / per_second;
        let until = self.used_until.filter(|until| *until > now).unwrap_or(now) + cost;
        // One burst may be larger than a second's worth, or it could never pass; the next then waits for it.
        let over = (until - now).saturating_sub(cost.max(Duration::from_secs(1)));
        if over > Duration::ZERO {
            return Err(over);
        }
        self.used_until = Some(until);
        Ok(())
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do to begin with"
)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_pass_and_the_eleventh_waits_a_tenth_of_a_second() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        for n in 0..10 {
            assert_eq!(rate.take(1, 10, now), Ok(()), "{n}");
        }
        assert_eq!(rate.take(1, 10, now), Err(Duration::from_millis(100)));
        assert_eq!(rate.take(1, 10, now + Duration::from_millis(100)), Ok(()));
    }

    #[test]
    fn zero_lifts_the_limit() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        assert!((0..1000).all(|_| rate.take(1, 0, now).is_ok()));
    }
}
