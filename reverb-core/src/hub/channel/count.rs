//! Telling subscribers how many they are: a few at each change, many now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::{App, Outgoing};

use super::super::chores::Chore;
use super::super::desk::Desk;
use super::super::directory::Directory;
use super::{Channel, State};

/// When the subscribers were last told their number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    at: Instant,
    /// Whether somebody will come to tell the number again.
    is_due: bool,
}

/// With more subscribers than this, their number is told at most once in [`COUNT_INTERVAL`].
const MANY: usize = 100;
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

impl Channel {
    /// Tells the subscribers how many they are, if the app wants that: a few at each change, many now and then.
    pub(super) fn tell_count(
        self: &Arc<Self>,
        directory: &Directory,
        desk: &Arc<Desk>,
        app: &App,
        state: &mut State,
        now: Instant,
    ) {
        if !app.subscription_count || self.kind.is_presence() || self.is_of_user() {
            return;
        }
        let count = state.occupancy().connections;
        if count > MANY
            && let Some(counted) = &mut state.counted
        {
            let next = counted.at + COUNT_INTERVAL;
            if counted.is_due {
                return;
            }
            if next > now {
                counted.is_due = true;
                return directory.chores.add(
                    next,
                    Chore::Count {
                        desk: desk.clone(),
                        channel: self.clone(),
                    },
                );
            }
        }
        let is_due = state.counted.as_ref().is_some_and(|counted| counted.is_due);
        state.counted = (count > MANY || is_due).then(|| Box::new(Counted { at: now, is_due }));
        self.notify(
            directory,
            desk,
            state,
            0,
            &Outgoing::subscription_count(self.name.as_str(), count),
        );
    }

    /// The time has come to tell many subscribers their number again.
    pub(in super::super) fn tell_count_again(
        self: &Arc<Self>,
        directory: &Directory,
        desk: &Arc<Desk>,
        now: Instant,
    ) {
        let mut state = self.state.lock();
        if let Some(counted) = &mut state.counted {
            counted.is_due = false;
        }
        self.tell_count(directory, desk, &desk.app(), &mut state, now);
    }
}
