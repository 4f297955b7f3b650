//! [`Users`]: the users of one app that somebody watches, and whether they are online.
//!
//! A user is online while a connection sits in its channel, `#server-to-user-{id}`. Whoever watches registers first and
//! then reads the state, and changes are numbered, so that no change is missed or told twice. A user who goes counts as
//! there for [`GRACE`] more: a page that is loaded again is no absence.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::{ChannelName, Outgoing, UserId};

use super::chores::Chore;
use super::desk::Desk;
use super::directory::Directory;
use super::mailbox::Letter;
use super::shards::Shards;

/// How long a user may be away without being called offline.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Who of one app's users is online, and who is watched.
///
/// Its lock is taken while a channel's is held, never the other way round.
#[derive(Debug, Default)]
pub(super) struct Users {
    online: HashSet<UserId>,
    watched: HashMap<UserId, Watched>,
}

#[derive(Debug)]
struct Watched {
    /// What the watchers were told.
    is_online: bool,
    /// When the user will be called offline.
    gone_at: Option<Instant>,
    /// Watchers on each shard.
    watchers: Box<[u32]>,
}

impl Watched {
    fn shards(&self) -> Shards {
        let held = self
            .watchers
            .iter()
            .enumerate()
            .filter(|(_, watchers)| **watchers > 0);
        held.fold(Shards::default(), |all, (shard, _)| {
            all.with(Shards::one(shard))
        })
    }

    fn tell(&self, directory: &Directory, desk: &Arc<Desk>, user: &UserId) {
        let number = directory.number();
        let one = std::slice::from_ref(user);
        let message = match self.is_online {
            true => Outgoing::watchlist_events(one, &[]),
            false => Outgoing::watchlist_events(&[], one),
        };
        directory.send(self.shards(), || Letter::Watched {
            desk: desk.clone(),
            user: user.clone(),
            message: message.clone(),
            number,
        });
    }
}

impl Users {
    pub(super) fn is_empty(&self) -> bool {
        self.online.is_empty() && self.watched.is_empty()
    }
}

/// A connection of this shard watches a user from now on. Returns whether the user is online, and the number from which
/// on changes are news.
pub(super) fn watch(
    directory: &Directory,
    desk: &Desk,
    user: &UserId,
    shard: usize,
) -> (bool, u64) {
    let mut users = desk.users.lock();
    let Users { online, watched } = &mut *users;
    let watched = watched.entry(user.clone()).or_insert_with(|| Watched {
        is_online: online.contains(user),
        gone_at: None,
        watchers: vec![0; directory.mailboxes.len()].into(),
    });
    watched.watchers[shard] += 1;
    (watched.is_online, directory.number())
}

/// A connection of this shard watches a user no more.
pub(super) fn unwatch(desk: &Desk, user: &UserId, shard: usize) {
    let mut users = desk.users.lock();
    if let Some(watched) = users.watched.get_mut(user) {
        watched.watchers[shard] -= 1;
        if watched.shards().is_empty() {
            users.watched.remove(user);
        }
    }
}

fn user_of(channel: &ChannelName) -> &str {
    channel
        .as_str()
        .strip_prefix(ChannelName::USER_PREFIX)
        .expect("the channel is a user's")
}

fn user_id(channel: &ChannelName) -> UserId {
    UserId::new(user_of(channel)).expect("the user has signed in")
}

/// A user's first connection signed in.
pub(super) fn came(directory: &Directory, desk: &Arc<Desk>, channel: &ChannelName) {
    let mut users = desk.users.lock();
    users.online.insert(user_id(channel));
    let Some(watched) = users.watched.get_mut(user_of(channel)) else {
        return;
    };
    watched.gone_at = None;
    if !std::mem::replace(&mut watched.is_online, true) {
        watched.tell(directory, desk, &user_id(channel));
    }
}

/// A user's last connection went.
pub(super) fn left(directory: &Directory, desk: &Arc<Desk>, channel: &ChannelName, now: Instant) {
    let mut users = desk.users.lock();
    users.online.remove(user_of(channel));
    if users.online.is_empty() {
        users.online.shrink_to_fit();
    }
    let Some(watched) = users.watched.get_mut(user_of(channel)) else {
        return;
    };
    let at = now + GRACE;
    // Whoever goes again while already on the way out is waited for from the last time on.
    if watched.gone_at.replace(at).is_none() {
        directory.chores.add(
            at,
            Chore::Offline {
                desk: desk.clone(),
                user: user_id(channel),
            },
        );
    }
}

/// A user has been gone for a while, unless it came back.
pub(super) fn is_gone(directory: &Directory, desk: &Arc<Desk>, user: &UserId, now: Instant) {
    let mut users = desk.users.lock();
    let Some(watched) = users.watched.get_mut(user) else {
        return;
    };
    match watched.gone_at {
        Some(at) if at > now => directory.chores.add(
            at,
            Chore::Offline {
                desk: desk.clone(),
                user: user.clone(),
            },
        ),
        Some(_) => {
            watched.gone_at = None;
            watched.is_online = false;
            watched.tell(directory, desk, user);
        }
        None => {}
    }
}
