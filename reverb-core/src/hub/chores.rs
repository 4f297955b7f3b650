//! [`Chores`]: what is to be done later. The first shard does them, at its tick.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::protocol::UserId;

use super::channel::Channel;
use super::desk::Desk;
use super::directory::Directory;

/// Something to be done later. Each is there at most once: what it concerns knows that it is due.
#[derive(Debug)]
pub(super) enum Chore {
    /// A cache channel's event may be too old.
    Forget {
        desk: Arc<Desk>,
        channel: Arc<Channel>,
    },
    /// Many subscribers are to be told their number again.
    Count {
        desk: Arc<Desk>,
        channel: Arc<Channel>,
    },
    /// A user went and may not have come back.
    Offline { desk: Arc<Desk>, user: UserId },
}

/// What is to be done later, soonest first.
#[derive(Debug, Default)]
pub(super) struct Chores(Mutex<BinaryHeap<Reverse<Due>>>);

#[derive(Debug)]
struct Due {
    at: Instant,
    chore: Chore,
}

impl Chores {
    pub(super) fn add(&self, at: Instant, chore: Chore) {
        self.0.lock().push(Reverse(Due { at, chore }));
    }

    fn next(&self, now: Instant) -> Option<Chore> {
        let mut heap = self.0.lock();
        heap.peek().filter(|due| due.0.at <= now)?;
        heap.pop().map(|due| due.0.chore)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Directory {
    /// Does what is due.
    pub(super) fn do_chores(&self, now: Instant) {
        // What is left over can wait for the next tick; guests cannot.
        for _ in 0..4096 {
            let Some(chore) = self.chores.next(now) else {
                return;
            };
            match chore {
                Chore::Forget { desk, channel } => channel.forget(self, &desk, now),
                Chore::Count { desk, channel } => channel.tell_count_again(self, &desk, now),
                Chore::Offline { desk, user } => super::users::is_gone(self, &desk, &user, now),
            }
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
