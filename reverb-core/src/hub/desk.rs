//! [`Desk`]: what the shards share about one app: its state, its channels, its users, its counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::protocol::{App, AppId, ChannelName, Close, Rate, Secret};

use super::channel::Channel;
use super::users::Users;

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

impl Desk {
    pub(super) fn new(app: Arc<App>, all_connections: Arc<AtomicU64>) -> Self {
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
    pub(super) fn renew(&self, app: &Arc<App>) -> bool {
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

    /// Whatever state of the app is found next is news.
    pub(super) fn forget_revision(&self) {
        let mut app = self.app.write();
        let mut before = App::clone(&app);
        before.revision = 0;
        *app = Arc::new(before);
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
    pub(super) fn secrets_used(&self) -> impl Iterator<Item = (AppId, Secret)> + use<> {
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
    pub(super) fn open(&self, name: &ChannelName) -> Arc<Channel> {
        if let Some(channel) = self.channel(name.as_str()) {
            return channel;
        }
        let mut channels = self.channels.write();
        channels
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Channel::new(name.clone())))
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

    /// How many channels are known.
    pub(super) fn channel_count(&self) -> usize {
        self.channels.read().len()
    }

    /// Ends the streams of those who listen in this process.
    pub(super) fn end_listening(&self) {
        let channels: Vec<_> = self.channels.read().values().cloned().collect();
        for channel in channels {
            channel.end_listening();
            if channel.is_bare() {
                self.close(&channel);
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
    pub(super) fn is_bare(&self, now: Instant) -> bool {
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
