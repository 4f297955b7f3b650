//! [`Directory`]: what the shards share: a [`Desk`] per app, and on it the app's channels, users and counts.
//!
//! It is touched when somebody comes or goes, and to see which shards hold a channel; never per delivery. HTTP GETs are
//! answered from it and ask no shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use crate::protocol::{App, AppId, Secret, SocketId, UserId};

use super::chores::Chores;
use super::desk::Desk;
use super::mailbox::{Letter, Mailbox, PassTest};
use super::shards::Shards;

/// What the shards share.
#[derive(Debug)]
pub(crate) struct Directory {
    desks: RwLock<HashMap<AppId, Arc<Desk>>>,
    /// The shards' mailboxes, by number.
    pub(super) mailboxes: Box<[Arc<Mailbox>]>,
    /// Numbers of changes. One counter that never restarts: an old notice cannot hit a channel that was left and joined again.
    numbers: AtomicU64,
    /// Open connections of all apps together.
    connections: Arc<AtomicU64>,
    /// What is to be done later.
    pub(super) chores: Chores,
    /// Secrets that were used in apps whose desks are gone, until somebody asks.
    used: Mutex<Vec<(AppId, Secret)>>,
}

/// Most secrets that are remembered for those who ask which were used.
const MOST_USED: usize = 4096;

impl Directory {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            desks: RwLock::default(),
            mailboxes: (0..shards).map(|_| Arc::default()).collect(),
            numbers: AtomicU64::new(1),
            connections: Arc::default(),
            chores: Chores::default(),
            used: Mutex::default(),
        }
    }

    /// The desk of this app. The app is taken as it is now, and in force from now on.
    pub(crate) fn desk(&self, app: &Arc<App>) -> Arc<Desk> {
        if let Some(desk) = self.desks.read().get(&app.id) {
            if desk.renew(app) {
                self.send(self.everywhere(), || Letter::Renew { desk: desk.clone() });
            }
            return desk.clone();
        }
        let mut desks = self.desks.write();
        desks
            .entry(app.id.clone())
            .or_insert_with(|| Arc::new(Desk::new(app.clone(), self.connections.clone())))
            .clone()
    }

    /// The desk of the app with this id, if there is one.
    pub(super) fn found(&self, id: &AppId) -> Option<Arc<Desk>> {
        self.desks.read().get(id).cloned()
    }

    /// The apps that there are desks of.
    pub(super) fn apps(&self) -> Vec<AppId> {
        self.desks.read().keys().cloned().collect()
    }

    /// Whatever state of an app is found next is news.
    pub(super) fn forget_revisions(&self) {
        for desk in self.desks.read().values() {
            desk.forget_revision();
        }
    }

    /// How many connections are open in all apps together.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// How many apps, and how many channels of theirs, are known here.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let desks = self.desks.read();
        (
            desks.len(),
            desks.values().map(|desk| desk.channel_count()).sum(),
        )
    }

    /// Forgets the desks that nobody sits at.
    pub(super) fn tidy(&self, now: Instant) {
        // Whoever works at a desk holds it; nobody can take one up while the map is locked.
        self.desks.write().retain(|_, desk| {
            let stays = Arc::strong_count(desk) > 1 || !desk.is_bare(now);
            if !stays {
                let mut used = self.used.lock();
                if used.len() < MOST_USED {
                    used.extend(desk.secrets_used());
                }
            }
            stays
        });
    }

    /// The secrets that were used since this was asked the last time.
    pub(super) fn take_secrets_used(&self) -> Vec<(AppId, Secret)> {
        let mut used = std::mem::take(&mut *self.used.lock());
        let desks = self.desks.read();
        used.extend(desks.values().flat_map(|desk| desk.secrets_used()));
        used
    }

    /// The next number of a change.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a letter to each of these shards.
    pub(super) fn send(&self, shards: Shards, mut letter: impl FnMut() -> Letter) {
        for shard in shards {
            self.mailboxes[shard].send(letter());
        }
    }

    /// Closes every connection of this user, wherever it is.
    pub(crate) fn terminate(&self, desk: &Arc<Desk>, user: &UserId) {
        self.send(self.everywhere(), || Letter::Terminate {
            desk: desk.clone(),
            user: user.clone(),
        });
    }

    /// Closes every connection that was given such a pass.
    pub(crate) fn terminate_where(&self, desk: &Arc<Desk>, is_it: &PassTest) {
        self.send(self.everywhere(), || Letter::TerminateWhere {
            desk: desk.clone(),
            is_it: is_it.clone(),
        });
    }

    /// Closes the connection of this name, wherever it is.
    pub(crate) fn close_socket(&self, desk: &Arc<Desk>, socket_id: SocketId) {
        self.send(self.everywhere(), || Letter::CloseSocket {
            desk: desk.clone(),
            socket_id,
        });
    }

    /// Ends the streams of those who listen in this process.
    pub(super) fn end_listening(&self) {
        let desks: Vec<_> = self.desks.read().values().cloned().collect();
        for desk in desks {
            desk.end_listening();
        }
    }

    /// All shards.
    pub(super) fn everywhere(&self) -> Shards {
        Shards::all(self.mailboxes.len())
    }
}
