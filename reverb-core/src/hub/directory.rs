//! [`Directory`]: what the shards share: a [`Desk`] per app, and on it the app's channels, users and counts.
//!
//! It is touched when somebody comes or goes, and to see which shards hold a channel; never per delivery. HTTP GETs are
//! answered from it and ask no shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::protocol::{App, AppId, ChannelName, Close, Rate, Secret, SocketId, UserId};

use super::channel::Channel;
use super::chores::Chores;
use super::mailbox::{Letter, Mailbox, PassTest};
use super::users::Users;

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

/// Everything shared about one app.
#[derive(Debug)]
pub(crate) struct Desk {
    app: RwLock<Arc<App>>,
    /// The revision by which the app was removed, if it ever was.
    removed: AtomicU64,
    connections: AtomicU32,
    /// Those of all apps together.
    all_connections: Arc<AtomicU64>,
    channels: RwLock<HashMap<ChannelName, Arc<Channel>>>,
    pub(super) users: Mutex<Users>,
    /// Bytes of remembered events.
    pub(super) remembered: std::sync::atomic::AtomicUsize,
    /// When it was last logged that no more can be remembered.
    pub(super) cache_log: super::Sampled,
    publishes: Mutex<Rate>,
    reads: Mutex<Rate>,
}

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
            let mut app = desk.app.write();
            let mut before = App::clone(&app);
            before.revision = 0;
            *app = Arc::new(before);
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
            desks.values().map(|desk| desk.channels.read().len()).sum(),
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
            let channels: Vec<_> = desk.channels.read().values().cloned().collect();
            for channel in channels {
                channel.end_listening();
                if channel.is_bare() {
                    desk.close(&channel);
                }
            }
        }
    }

    /// All shards.
    pub(super) fn everywhere(&self) -> Shards {
        Shards::all(self.mailboxes.len())
    }
}

impl Desk {
    fn new(app: Arc<App>, all_connections: Arc<AtomicU64>) -> Self {
        Self {
            app: RwLock::new(app),
            removed: AtomicU64::new(u64::MAX),
            connections: AtomicU32::new(0),
            all_connections,
            channels: RwLock::default(),
            users: Mutex::default(),
            remembered: Default::default(),
            cache_log: Default::default(),
            publishes: Mutex::default(),
            reads: Mutex::default(),
        }
    }

    /// Takes the app as it is now. True if that is news; an earlier state of it, found before it was changed, is not.
    fn renew(&self, app: &Arc<App>) -> bool {
        if Arc::ptr_eq(&self.app.read(), app) {
            return false;
        }
        let mut current = self.app.write();
        let is_news = !Arc::ptr_eq(&current, app) && app.revision >= current.revision;
        if is_news {
            *current = app.clone();
        }
        is_news
    }

    /// The app is stored no longer: it is off, until it is made again.
    pub(super) fn remove(&self) -> Arc<App> {
        let mut app = App::clone(&self.app.read());
        app.active = false;
        app.revision = app.revision.saturating_add(1);
        self.removed.store(app.revision, Ordering::Release);
        Arc::new(app)
    }

    /// Why who was let in by that state of the app has to go, as it is now.
    pub(super) fn outdated(&self, admitted: &Arc<App>) -> Option<Close> {
        let app = self.app.read();
        if Arc::ptr_eq(&app, admitted) {
            None
        } else if app.active {
            (app.key != admitted.key).then_some(Close::NO_APP)
        } else if self.removed.load(Ordering::Acquire) == app.revision {
            Some(Close::NO_APP)
        } else {
            Some(Close::APP_DISABLED)
        }
    }

    pub(crate) fn app(&self) -> Arc<App> {
        self.app.read().clone()
    }

    /// Which of the app's secrets were used since this was asked the last time.
    fn secrets_used(&self) -> impl Iterator<Item = (AppId, Secret)> + use<> {
        let app = self.app();
        let old = app.old_secret.as_ref().map(|old| old.secret.clone());
        let secrets = std::iter::once(app.secret.clone()).chain(old);
        let used = secrets.filter(Secret::take_used);
        used.map(move |secret| (app.id.clone(), secret))
    }

    /// Open connections of the app.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Acquire)
    }

    /// Takes one out of the app's quota of connections, unless it is used up.
    pub(crate) fn admit(self: &Arc<Self>, max: Option<u32>) -> Option<Quota> {
        let room = |open: u32| (open < max.unwrap_or(u32::MAX)).then_some(open + 1);
        self.connections
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, room)
            .ok()?;
        self.all_connections.fetch_add(1, Ordering::AcqRel);
        Some(Quota { desk: self.clone() })
    }

    /// Takes out of the app's allowance of publishes.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn take_publishes(&self, count: usize, now: Instant) -> Result<(), Duration> {
        let per_second = self.app.read().limits.events_per_second;
        if per_second == 0 {
            Ok(())
        } else {
            self.publishes.lock().take(count as u32, per_second, now)
        }
    }

    /// Takes out of the app's allowance of reads.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn take_read(&self, now: Instant) -> Result<(), Duration> {
        let per_second = self.app.read().limits.reads_per_second;
        if per_second == 0 {
            Ok(())
        } else {
            self.reads.lock().take(1, per_second, now)
        }
    }

    /// The channel of this name, if anybody sits in it or it remembers something.
    pub(crate) fn channel(&self, name: &str) -> Option<Arc<Channel>> {
        self.channels.read().get(name).cloned()
    }

    /// The channel of this name, made if need be.
    pub(super) fn open(&self, name: &ChannelName, shards: usize) -> Arc<Channel> {
        if let Some(channel) = self.channel(name.as_str()) {
            return channel;
        }
        let mut channels = self.channels.write();
        channels
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Channel::new(name.clone(), shards)))
            .clone()
    }

    /// Forgets a channel that nobody sits in and that remembers nothing.
    pub(super) fn close(&self, channel: &Arc<Channel>) {
        let mut channels = self.channels.write();
        // Under both locks, so that nobody can join in between; who found the channel before sees that it is retired.
        if channel.retire() {
            channels.remove(&channel.name);
            if channels.is_empty() {
                channels.shrink_to_fit();
            }
        }
    }

    /// Every channel that somebody sits in; those of users are nobody's business.
    pub(crate) fn occupied(&self, prefix: &str) -> Vec<Arc<Channel>> {
        let channels = self.channels.read();
        let listed = channels
            .values()
            .filter(|channel| channel.name.as_str().starts_with(prefix));
        listed
            .filter(|channel| !channel.is_of_user() && channel.is_occupied())
            .cloned()
            .collect()
    }

    /// Whether forgetting the desk loses nothing.
    fn is_bare(&self, now: Instant) -> bool {
        let is_used = [&self.publishes, &self.reads]
            .iter()
            .any(|rate| rate.lock().is_used(now));
        !is_used
            && self.connections() == 0
            && self.channels.read().is_empty()
            && self.users.lock().is_empty()
    }
}

/// One connection's share of its app's quota, given back when dropped.
#[derive(Debug)]
pub(crate) struct Quota {
    desk: Arc<Desk>,
}

impl Quota {
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.desk.connections.fetch_sub(1, Ordering::AcqRel);
        self.desk.all_connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A set of shards; there are at most 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shards(pub(super) u64);

impl Shards {
    /// Most shards of a hub.
    pub(super) const MAX: usize = 63;

    /// Every shard there can be.
    pub(super) const ALL: Self = Self::all(Self::MAX);

    /// No shard, but those who listen in this process.
    pub(super) const LISTENERS: Self = Self(1 << 63);

    pub(super) const fn one(shard: usize) -> Self {
        Self(1 << shard)
    }

    const fn all(shards: usize) -> Self {
        Self(u64::MAX >> (64 - shards))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn only(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn contains(self, shard: usize) -> bool {
        self.0 & (1 << shard) != 0
    }
}

impl Iterator for Shards {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let shard = self.0.trailing_zeros() as usize;
        self.0 &= self.0.checked_sub(1)?;
        Some(shard)
    }
}
