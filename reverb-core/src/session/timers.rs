//! Silence: when a client is asked whether it is there, and when it is let go.

use std::time::{Duration, Instant};

use crate::protocol::{App, Close};

use super::{Session, Wish, Wishes};

/// How long a client has to answer a ping; pusher-js gives us the same 30 s.
pub(super) const PONG_TIMEOUT: Duration = Duration::from_secs(30);

/// The shortest silence after which a client is asked; it is told whole seconds.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest: an app may say anything, and a point in time must not overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl Session {
    /// A ping or pong frame came: proof of life, no more.
    pub fn handle_alive(&mut self, now: Instant) {
        self.since = now;
        self.is_asked = false;
    }

    /// A deadline passed. Early calls are harmless.
    pub fn handle_timeout(&mut self, app: &App, now: Instant, wishes: &mut Wishes) {
        if now < self.next_timeout(app) {
            return;
        }
        if self.is_asked {
            return wishes.close(Close::NO_PONG);
        }
        (self.since, self.is_asked) = (now, true);
        wishes.0.push_back(Wish::Ping);
    }

    /// When to call [`Self::handle_timeout`], unless something is heard before.
    #[must_use]
    pub fn next_timeout(&self, app: &App) -> Instant {
        let silence = match self.is_asked {
            false => app.activity_timeout.clamp(SHORTEST, LONGEST),
            true => PONG_TIMEOUT,
        };
        self.since + silence
    }
}
