//! [`Channel`]: what the shards share about one channel: who holds it, who is present, what it remembers.
//!
//! All changes happen under the channel's lock: change the members, number the change, take the snapshot, post the
//! numbered notice to every shard that holds the channel, the acting one's mailbox included. A seat remembers the number
//! of its snapshot and passes over notices up to it, so that nobody sees a member twice or never.

mod count;
mod listening;
mod memory;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::hooks::{ChannelEvent, Feed};
use crate::protocol::{App, ChannelKind, ChannelName, Member, Outgoing, UserId};
use crate::session::{Refusal, Welcome};

use super::desk::Desk;
use super::directory::Directory;
use super::mailbox::{Letter, Parcel, Slot};
use super::presence::Presence;
use super::publish::{Item, Release};
use super::shards::Shards;

use self::count::Counted;
use self::memory::Remembered;

/// What the shards share about one channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    kind: ChannelKind,
    /// Which shards hold it, and whether somebody listens in this process; changed under the lock, read by publishers
    /// without it.
    shards: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Set once the directory has forgotten the channel: who still has hold of it must look it up again.
    retired: bool,
    /// Seats that are taken, on all shards together; each shard knows its own.
    seats: u32,
    presence: Option<Box<Presence>>,
    remembered: Option<Box<Remembered>>,
    /// Whether somebody will come to forget what is remembered.
    is_due: bool,
    /// When the subscribers were last told their number, if they are many.
    counted: Option<Box<Counted>>,
    /// Those who listen in this process.
    listeners: Box<[Feed<ChannelEvent>]>,
}

/// A seat that was taken.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) channel: Arc<Channel>,
    /// Notices up to this number are in the welcome already.
    pub(super) number: u64,
    pub(super) welcome: Welcome,
}

/// What a channel counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Occupancy {
    /// Connections subscribed.
    pub(crate) connections: usize,
    /// Users present; 0 on other channels.
    pub(crate) users: usize,
}

impl Channel {
    pub(super) fn new(name: ChannelName) -> Self {
        let kind = name.kind();
        let presence = kind.is_presence().then(Default::default);
        let state = State {
            retired: false,
            seats: 0,
            presence,
            remembered: None,
            is_due: false,
            counted: None,
            listeners: Box::default(),
        };
        Self {
            name,
            kind,
            shards: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    pub(super) fn is_of_user(&self) -> bool {
        self.kind == ChannelKind::User
    }

    /// Whether its notices and events are numbered.
    pub(super) fn is_numbered(&self) -> bool {
        self.kind.is_presence() || self.kind.is_cache()
    }

    /// The shards that hold it.
    pub(super) fn shards(&self) -> Shards {
        self.held().without(Shards::LISTENERS)
    }

    fn held(&self) -> Shards {
        Shards(self.shards.load(Ordering::Acquire))
    }

    /// Whether anybody would hear an event now, in this process or on a connection.
    pub(super) fn is_heard(&self) -> bool {
        !self.held().is_empty()
    }

    /// Whether somebody listens in this process.
    pub(super) fn is_listened_to(&self) -> bool {
        !self.held().only(Shards::LISTENERS).is_empty()
    }

    pub(crate) fn is_occupied(&self) -> bool {
        !self.shards().is_empty()
    }

    /// Whether nothing keeps it: it was opened and not used.
    pub(super) fn is_bare(&self) -> bool {
        !self.is_heard() && self.state.lock().remembered.is_none()
    }

    /// Who is there, in numbers.
    pub(crate) fn occupancy(&self) -> Occupancy {
        self.state.lock().occupancy()
    }

    /// Calls `each` for every user present.
    pub(crate) fn for_each_user(&self, each: impl FnMut(&UserId)) {
        if let Some(presence) = &self.state.lock().presence {
            presence.users().for_each(each);
        }
    }

    /// Takes a seat for a connection of this shard; on a presence channel as this member.
    pub(super) fn join(
        directory: &Directory,
        desk: &Arc<Desk>,
        app: &App,
        name: &ChannelName,
        shard: usize,
        member: Option<&Member>,
        now: Instant,
    ) -> Result<Joined, Refusal> {
        loop {
            let channel = desk.open(name);
            let mut state = channel.state.lock();
            if state.retired {
                continue;
            }
            let (number, added) = match (&mut state.presence, member) {
                (Some(presence), Some(member)) => {
                    match presence.enter(member, app.limits.presence_members) {
                        Ok(is_new) => (directory.number(), is_new.then_some(member)),
                        Err(refusal) => {
                            drop(state);
                            desk.close(&channel);
                            return Err(refusal);
                        }
                    }
                }
                // Events are numbered too: what was published before is in the welcome.
                _ if channel.kind.is_cache() => (directory.number(), None),
                _ => (0, None),
            };
            let was_empty = state.seats == 0;
            state.seats += 1;
            channel
                .shards
                .fetch_or(Shards::one(shard).0, Ordering::AcqRel);
            if let Some(member) = added
                && !was_empty
            {
                channel.notify(
                    directory,
                    desk,
                    &state,
                    number,
                    &Outgoing::member_added(name.as_str(), member),
                );
            }
            if channel.is_of_user() && was_empty {
                super::users::came(directory, desk, &channel.name);
            }
            channel.tell_count(directory, desk, app, &mut state, now);
            let welcome = channel.welcome(&state, now);
            drop(state);
            return Ok(Joined {
                channel,
                number,
                welcome,
            });
        }
    }

    /// Tells a subscriber once more what it was told first. Where notices are numbered this goes by the shard's mailbox,
    /// behind what was posted before it, and so behind nothing that it contains.
    pub(super) fn remind(
        &self,
        directory: &Directory,
        shard: usize,
        slot: Slot,
        now: Instant,
    ) -> Option<Welcome> {
        let state = self.state.lock();
        let welcome = self.welcome(&state, now);
        if !self.is_numbered() {
            return Some(welcome);
        }
        let (channel, number, welcome) = (self.name.clone(), directory.number(), Box::new(welcome));
        directory.mailboxes[shard].send(Letter::Reminder {
            slot,
            channel,
            number,
            welcome,
        });
        None
    }

    fn welcome(&self, state: &State, now: Instant) -> Welcome {
        let name = self.name.as_str();
        let succeeded = match &state.presence {
            Some(presence) => presence.snapshot(name),
            None => Outgoing::subscription_succeeded(name),
        };
        let cached = self.kind.is_cache().then(|| {
            let fresh = state
                .remembered
                .as_ref()
                .filter(|remembered| remembered.until > now);
            fresh.map_or_else(
                || Outgoing::cache_miss(name),
                |remembered| remembered.message.clone(),
            )
        });
        Welcome { succeeded, cached }
    }

    /// Gives up a seat; on a presence channel that of this user. `emptied` is the shard if it was its last.
    pub(super) fn leave(
        self: &Arc<Self>,
        directory: &Directory,
        desk: &Arc<Desk>,
        user: Option<&UserId>,
        emptied: Shards,
        now: Instant,
    ) {
        let mut state = self.state.lock();
        state.seats -= 1;
        self.shards.fetch_and(!emptied.0, Ordering::AcqRel);
        if let (Some(presence), Some(user)) = (&mut state.presence, user)
            && presence.leave(user)
        {
            let message = Outgoing::member_removed(self.name.as_str(), user);
            self.notify(directory, desk, &state, directory.number(), &message);
        }
        let is_empty = !self.is_occupied();
        if is_empty && self.is_of_user() {
            super::users::left(directory, desk, &self.name, now);
        }
        self.tell_count(directory, desk, &desk.app(), &mut state, now);
        let is_done = !self.is_heard() && state.remembered.is_none();
        drop(state);
        if is_done {
            desk.close(self);
        }
    }

    /// Marks the channel as forgotten, unless somebody sits in it again or it remembers something. The directory's lock
    /// is held.
    pub(super) fn retire(&self) -> bool {
        let mut state = self.state.lock();
        let is_done = !self.is_heard() && state.remembered.is_none();
        // Two may have seen it empty; it is the one in the directory only once.
        let first = is_done && !state.retired;
        state.retired |= is_done;
        first
    }

    /// Brings a message to everybody who has sat here since before this number. The state is locked.
    fn notify(
        &self,
        directory: &Directory,
        desk: &Arc<Desk>,
        state: &State,
        number: u64,
        message: &Outgoing,
    ) {
        state.tell(message);
        directory.send(self.shards(), || {
            Letter::Parcel(self.parcel(desk, message, number))
        });
    }

    fn parcel(&self, desk: &Arc<Desk>, message: &Outgoing, number: u64) -> Parcel {
        let (desk, channel, message) = (desk.clone(), self.name.clone(), message.clone());
        Parcel {
            desk,
            channel,
            message,
            number,
            except: None,
            release: None,
        }
    }

    /// Posts an event to these shards, of those that hold the channel; a cache channel remembers it first.
    ///
    /// False if the directory has forgotten this channel meanwhile: then nothing was done, and it must be looked up again.
    pub(super) fn post(
        self: &Arc<Self>,
        directory: &Directory,
        desk: &Arc<Desk>,
        item: &Item,
        to: Shards,
        release: Option<&Arc<Release>>,
        now: Instant,
    ) -> bool {
        let post = |number: u64| {
            directory.send(self.shards().only(to), || {
                let mut parcel = self.parcel(desk, &item.message, number);
                parcel.except = item.except;
                parcel.release = release.cloned();
                Letter::Parcel(parcel)
            });
        };
        if !self.kind.is_cache() || item.is_client_event {
            post(0);
            if self.is_listened_to() {
                self.state.lock().tell(&item.message);
            }
            return true;
        }
        let mut state = self.state.lock();
        if state.retired {
            return false;
        }
        self.remember(directory, desk, &mut state, item, now);
        post(directory.number());
        state.tell(&item.message);
        let is_bare = !self.is_heard() && state.remembered.is_none();
        drop(state);
        if is_bare {
            desk.close(self);
        }
        true
    }
}

impl State {
    /// Tells those who listen in this process.
    fn tell(&self, message: &Outgoing) {
        for feed in &self.listeners {
            feed.push(ChannelEvent::new(message));
        }
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy {
            connections: self.seats as usize,
            users: self.presence.as_ref().map_or(0, |presence| presence.len()),
        }
    }
}
