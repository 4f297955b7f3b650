//! [`Apps`]: the apps that this shard has guests of, and the rings in which their deliveries wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::protocol::{App, ChannelName, UserId};

use super::desk::Desk;
use super::publish::Release;

/// The apps of one shard.
#[derive(Debug, Default)]
pub(super) struct Apps {
    apps: Vec<Option<Box<LocalApp>>>,
    free: Vec<u32>,
    /// By the address of the desk, which the app holds.
    by_desk: HashMap<usize, u32>,
    /// The apps with something in their ring, in the order of their turns.
    turns: VecDeque<u32>,
}

/// One app on this shard.
#[derive(Debug)]
pub(super) struct LocalApp {
    pub(super) app: Arc<App>,
    pub(super) desk: Arc<Desk>,
    /// The rooms by name.
    pub(super) rooms: HashMap<ChannelName, u32>,
    /// Who watches each user, and from which number on changes are news.
    pub(super) watchers: HashMap<UserId, HashMap<u32, u64>>,
    guests: usize,
    ring: VecDeque<Ride>,
}

/// What waits in a ring.
#[derive(Debug)]
pub(super) enum Ride {
    /// A socket with something to be written.
    Slot(u32),
    /// Everything before it was written.
    Release(Arc<Release>),
}

/// Up to this length a release waits in the ring for what is before it. In a longer ring that would only move the queue
/// from the publisher into the server.
const SHORT: usize = 256;

impl Apps {
    fn key(desk: &Arc<Desk>) -> usize {
        Arc::as_ptr(desk) as usize
    }

    /// The number of this app, if there are guests of it.
    pub(super) fn find(&self, desk: &Arc<Desk>) -> Option<u32> {
        self.by_desk.get(&Self::key(desk)).copied()
    }

    /// A guest came. Returns the number of its app.
    pub(super) fn enter(&mut self, desk: &Arc<Desk>) -> u32 {
        let number = self.find(desk).unwrap_or_else(|| {
            let number = self.free.pop().unwrap_or_else(|| {
                self.apps.push(None);
                self.apps.len() as u32 - 1
            });
            self.by_desk.insert(Self::key(desk), number);
            let local = LocalApp {
                app: desk.app(),
                desk: desk.clone(),
                rooms: HashMap::new(),
                watchers: HashMap::new(),
                guests: 0,
                ring: VecDeque::new(),
            };
            self.apps[number as usize] = Some(Box::new(local));
            number
        });
        self.get_mut(number).guests += 1;
        number
    }

    /// The app of this desk may have changed: what it is now holds for its guests here. Returns what it was before.
    pub(super) fn renew(&mut self, desk: &Arc<Desk>) -> Option<Arc<App>> {
        let number = self.find(desk)?;
        Some(std::mem::replace(&mut self.get_mut(number).app, desk.app()))
    }

    /// A guest left. With the last one the app is forgotten, and what waits in its ring is returned.
    pub(super) fn leave(&mut self, number: u32) -> VecDeque<Ride> {
        let local = self.get_mut(number);
        local.guests -= 1;
        if local.guests > 0 {
            return VecDeque::new();
        }
        let Some(local) = self.apps[number as usize].take() else {
            return VecDeque::new();
        };
        self.by_desk.remove(&Self::key(&local.desk));
        self.turns.retain(|turn| *turn != number);
        self.free.push(number);
        local.ring
    }

    pub(super) fn get(&self, number: u32) -> &LocalApp {
        self.apps[number as usize]
            .as_deref()
            .expect("an app is known while it has guests")
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut LocalApp {
        self.apps[number as usize]
            .as_deref_mut()
            .expect("an app is known while it has guests")
    }

    /// Puts a socket into the app's ring.
    pub(super) fn ride(&mut self, number: u32, slot: u32) {
        self.push(number, Ride::Slot(slot));
    }

    /// Lets a release follow what waits in the app's ring.
    pub(super) fn follow(&mut self, number: u32, release: Arc<Release>) {
        if (1..=SHORT).contains(&self.get(number).ring.len()) {
            self.push(number, Ride::Release(release));
        }
    }

    /// Whether the app's ring is short enough for an answer to wait in it.
    pub(super) fn is_short(&self, number: u32) -> bool {
        self.get(number).ring.len() <= SHORT
    }

    fn push(&mut self, number: u32, ride: Ride) {
        let local = self.apps[number as usize]
            .as_deref_mut()
            .expect("an app is known while it has guests");
        if local.ring.is_empty() {
            self.turns.push_back(number);
        }
        local.ring.push_back(ride);
    }

    /// The next slice: up to `length` sockets of the app whose turn it is. The app then waits for its next turn.
    pub(super) fn next_slice(
        &mut self,
        length: usize,
        slots: &mut Vec<u32>,
        releases: &mut Vec<Arc<Release>>,
    ) {
        let Some(number) = self.turns.pop_front() else {
            return;
        };
        let ring = &mut self.get_mut(number).ring;
        while slots.len() < length {
            match ring.pop_front() {
                Some(Ride::Slot(slot)) => slots.push(slot),
                Some(Ride::Release(release)) => releases.push(release),
                None => break,
            }
        }
        // Nobody should wait a slice more for what is already done.
        while let Some(Ride::Release(_)) = ring.front()
            && let Some(Ride::Release(release)) = ring.pop_front()
        {
            releases.push(release);
        }
        if !ring.is_empty() {
            self.turns.push_back(number);
        }
    }

    /// Whether nothing waits in any ring.
    pub(super) fn are_idle(&self) -> bool {
        self.turns.is_empty()
    }
}
