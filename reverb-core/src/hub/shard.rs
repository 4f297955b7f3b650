//! [`Shard`]: one task that owns its connections, their sessions, the local members of channels and all buffers. Nothing
//! in it is locked.
//!
//! Its parts: `arrive` takes sockets in, `door` lets people in and answers publishes, `hear` reads, `perform` carries out what sessions wish,
//! `deliver` hands out events and writes, `leave` is the way out.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::session::Wishes;

use super::Shared;
use super::apps::Apps;
use super::arrive::{LISTENERS, Listening};
use super::connection::{Connection, Role, Stage, at};
use super::mailbox::{Letter, Mail, Mailbox, Slot};
use super::outbox::{Frame, Joiner};
use super::rooms::Rooms;

/// One task and its guests.
pub(super) struct Shard {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) mailbox: Arc<Mailbox>,
    /// What time it is in this turn.
    pub(super) now: Instant,
    /// The same by the wall's clock, in seconds since 1970.
    pub(super) unix_time: u64,
    pub(super) connections: Vec<Option<Box<Connection>>>,
    pub(super) free: Vec<u32>,
    /// Slots that were left in this turn: a list may still name them until it ends.
    pub(super) left: Vec<u32>,
    pub(super) generation: u32,
    /// Names for what an authorizer is asked.
    pub(super) tickets: u32,
    pub(super) apps: Apps,
    pub(super) rooms: Rooms,
    /// Slots whose socket may have something to read, or take something again.
    pub(super) ready: VecDeque<u32>,
    /// Slots that are written in this turn: answers, and events of small rooms.
    pub(super) answers: Vec<u32>,
    /// What has come by mail and is not read yet.
    letters: VecDeque<Letter>,
    /// How many outboxes this turn has put something into.
    pub(super) touched: usize,
    /// Slots that are not read from until the shards their events go to have room again.
    pub(super) held: Vec<u32>,
    /// When each slot's next deadline is, in ticks since `start`; early is harmless.
    pub(super) due: Vec<u32>,
    pub(super) start: Instant,
    swept: u32,
    pub(super) drain: Option<Instant>,
    pub(super) stops: bool,
    pub(super) listeners: Vec<Listening>,
    /// To which shard the next accepted socket goes.
    pub(super) next_shard: usize,
    // Buffers, one of each.
    pub(super) scratch: Vec<u8>,
    pub(super) wishes: Wishes,
    pub(super) joiner: Joiner,
    pub(super) spare: Vec<Vec<Frame>>,
    pub(super) slice: Vec<u32>,
    pub(super) behind: Vec<u32>,
}

/// The clock of deadlines: one for all connections of a shard.
const TICK: Duration = Duration::from_millis(250);
/// Every so many ticks the directory is tidied.
const TIDY: u32 = 4;
/// Most sockets that one turn reads, and most bytes.
const MOST_HEARD: usize = 64;
const MOST_BYTES: usize = 512 * 1024;
/// Outboxes that what one turn reads may put something into; the rest is read in the next, so that those who wait for an
/// answer, or for an event in a small room, do not wait for all who publish to large ones.
const MOST_HANDED_OUT: usize = 4 * 1024;
/// And what its mail may: it comes from shards that have waited for their own.
const MOST_TOUCHED: usize = 64 * 1024;
/// Sockets of the ring that one turn writes. Reading goes on between slices, so that the events that arrive meanwhile
/// share the later writes.
const SLICE: usize = 32;

/// Runs a shard until the hub is dropped or drained. If it panics, a new one takes its mailbox over.
pub(super) async fn run(shared: Arc<Shared>, index: usize) {
    loop {
        let shard = Shard::new(shared.clone(), index);
        let mut turns = Box::pin(shard.turns());
        let catch = |context: &mut Context<'_>| {
            let poll = AssertUnwindSafe(|| turns.as_mut().poll(context));
            match std::panic::catch_unwind(poll) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            }
        };
        if tokio::task::unconstrained(poll_fn(catch)).await.is_ok() {
            return shared.directory.mailboxes[index].close();
        }
        shared.metrics.panicked();
        tracing::error!(
            shard = index,
            "a shard panicked: its clients were dropped, it starts again"
        );
    }
}

impl Shard {
    fn new(shared: Arc<Shared>, index: usize) -> Self {
        let now = shared.clock.now();
        let mut shard = Self {
            index,
            mailbox: shared.directory.mailboxes[index].clone(),
            now,
            unix_time: 0,
            connections: Vec::new(),
            free: Vec::new(),
            tickets: 0,
            left: Vec::new(),
            generation: 0,
            apps: Apps::default(),
            rooms: Rooms::new(shared.directory.clone(), index),
            ready: VecDeque::new(),
            answers: Vec::new(),
            letters: VecDeque::new(),
            touched: 0,
            held: Vec::new(),
            due: Vec::new(),
            start: now,
            swept: 0,
            drain: None,
            stops: false,
            listeners: Vec::new(),
            next_shard: 0,
            scratch: vec![0; 64 * 1024],
            wishes: Wishes::default(),
            joiner: Joiner::default(),
            spare: Vec::new(),
            slice: Vec::new(),
            behind: Vec::new(),
            shared,
        };
        // The one before may have panicked before it could read this.
        shard.look_for_the_end();
        if index == 0 {
            let listeners = shard.shared.listeners.lock().clone();
            listeners
                .into_iter()
                .for_each(|listener| shard.listen(listener));
        }
        shard
    }

    /// Turn after turn, asleep while nothing is owed.
    async fn turns(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut mail = Mail::default();
        while !self.turn(&mut mail) {
            if self.owes_nothing() {
                // Woken by mail, or by the tick: the sweep has its own idea of the time.
                poll_fn(|context| {
                    let ticks = tick.poll_tick(context).is_ready();
                    if ticks {
                        Poll::Ready(())
                    } else {
                        self.mailbox.poll_mail(context)
                    }
                })
                .await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes everything in, answers, and delivers a slice. True if the shard has ended.
    fn turn(&mut self, mail: &mut Mail) -> bool {
        self.now = self.shared.clock.now();
        self.unix_time = self.shared.clock.unix_time().as_secs();
        self.mailbox.take(mail);
        mail.woken.drain(..).for_each(|slot| self.wake(slot));
        self.release_held();
        self.accept();
        mail.newcomers
            .drain(..)
            .for_each(|newcomer| self.adopt(newcomer));
        self.hear_ready();
        self.letters.extend(mail.letters.drain(..));
        self.read_letters();
        self.sweep();
        self.write_answers();
        self.write_slice(SLICE);
        self.free.append(&mut self.left);
        self.has_ended()
    }

    fn owes_nothing(&self) -> bool {
        self.ready.is_empty()
            && self.answers.is_empty()
            && self.apps.are_idle()
            && self.held.is_empty()
            && self.letters.is_empty()
            && !self
                .listeners
                .iter()
                .any(|listening| listening.is_ready && listening.rests_until.is_none())
    }

    fn wake(&mut self, slot: u32) {
        if slot >= LISTENERS {
            if let Some(listening) = self.listeners.get_mut((slot - LISTENERS) as usize) {
                listening.wakes.taken();
                listening.is_ready = true;
            }
            return;
        }
        if let Some(connection) = self.connection(slot) {
            connection.wakes.taken();
            self.ready.push_back(slot);
        }
    }

    pub(super) fn connection(&mut self, slot: u32) -> Option<&mut Connection> {
        at(&mut self.connections, slot)
    }

    /// The connection that had this slot at that time, if it still has.
    pub(super) fn same(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.connection(slot.index)
            .filter(|connection| connection.generation == slot.generation)
    }

    /// Reads the sockets that are ready; those beyond the turn's measure stay so.
    fn hear_ready(&mut self) {
        let mut bytes = 0;
        self.touched = 0;
        for _ in 0..MOST_HEARD {
            if bytes > MOST_BYTES || self.touched > MOST_HANDED_OUT {
                break;
            }
            let Some(slot) = self.ready.pop_front() else {
                break;
            };
            bytes += self.hear(slot);
        }
    }

    /// Reads on from those who were held back, once every shard has room.
    fn release_held(&mut self) {
        if self.held.is_empty()
            || self
                .shared
                .directory
                .mailboxes
                .iter()
                .any(|mailbox| mailbox.is_over())
        {
            return;
        }
        for slot in std::mem::take(&mut self.held) {
            if let Some(connection) = self.connection(slot) {
                connection.is_held = false;
                self.ready.push_back(slot);
            }
        }
    }

    /// Reads the mail, but hands out no more than one turn may.
    fn read_letters(&mut self) {
        self.touched = 0;
        while self.touched < MOST_TOUCHED
            && let Some(letter) = self.letters.pop_front()
        {
            self.read(letter);
        }
    }

    fn read(&mut self, letter: Letter) {
        match letter {
            Letter::Parcel(parcel) => self.deliver(parcel),
            Letter::Watched {
                desk,
                user,
                message,
                number,
            } => self.deliver_watched(&desk, &user, &message, number),
            Letter::Reminder {
                slot,
                channel,
                number,
                welcome,
            } => self.remind(slot, &channel, number, *welcome),
            Letter::Terminate { desk, user } => self.terminate(&desk, &user),
            Letter::TerminateWhere { desk, is_it } => self.terminate_where(&desk, &is_it),
            Letter::CloseSocket { desk, socket_id } => self.close_socket(&desk, socket_id),
            Letter::Answer {
                slot,
                knock,
                decided,
            } => {
                if self
                    .same(slot)
                    .and_then(Connection::front)
                    .is_some_and(|front| matches!(front.stage, Stage::Lookup))
                {
                    self.open(slot.index, &knock, decided);
                }
            }
            Letter::LookedUp { slot } => self.looked_up(slot),
            Letter::Verdict {
                slot,
                ticket,
                member,
                verdict,
            } => self.hear_verdict(slot, ticket, member, verdict),
            Letter::Published { slot, result } => self.published(slot, result),
            Letter::Listen(listener) => self.listen(listener),
            Letter::Renew { desk } => self.renew(&desk),
            Letter::Ending => self.look_for_the_end(),
        }
    }

    fn look_for_the_end(&mut self) {
        self.drain = self.shared.drains.get().copied();
        self.stops = self.shared.stops.load(Ordering::Acquire);
        if self.drain.is_some() {
            self.listeners.clear();
        }
    }

    /// Has deadlines kept and chores done, once a tick.
    fn sweep(&mut self) {
        let tick = self.tick(self.now);
        if tick == self.swept {
            return;
        }
        self.swept = tick;
        for slot in 0..self.due.len() {
            if self.due[slot] <= tick {
                self.due[slot] = u32::MAX;
                self.time_out(slot as u32);
            }
        }
        if self.index == 0 {
            self.shared.directory.do_chores(self.now);
            if tick.is_multiple_of(TIDY) {
                self.shared.directory.tidy(self.now);
                self.shared.apps.tidy(self.now);
            }
        }
        self.drain_some();
    }

    /// Has [`Self::time_out`] called at this time, or a little earlier if it was to be called earlier.
    pub(super) fn arm(&mut self, slot: u32, at: Instant) {
        let tick = self.tick(at).saturating_add(1);
        let due = &mut self.due[slot as usize];
        *due = (*due).min(tick);
    }

    fn tick(&self, at: Instant) -> u32 {
        let ticks = at.saturating_duration_since(self.start).as_millis() / TICK.as_millis();
        u32::try_from(ticks).unwrap_or(u32::MAX - 1)
    }

    fn has_ended(&mut self) -> bool {
        let is_empty = self.connections.len() == self.free.len();
        self.stops || (self.drain.is_some() && is_empty && self.mailbox.is_empty())
    }

    /// How many ticks are left until then, at least one.
    pub(super) fn ticks_until(&self, until: Instant) -> u32 {
        (until.saturating_duration_since(self.now).as_millis() / TICK.as_millis()).max(1) as u32
    }
}

impl Drop for Shard {
    /// Takes its guests out of what the shards share.
    fn drop(&mut self) {
        let take_out = || {
            self.rooms.clear(self.now);
            for connection in std::mem::take(&mut self.connections).into_iter().flatten() {
                if let Role::Guest(guest) = connection.role {
                    let local = self.apps.get(guest.app);
                    let watches = guest.extra.iter().flat_map(|extra| &extra.watches);
                    watches.for_each(|user| super::users::unwatch(&local.desk, user, self.index));
                    self.shared
                        .is_gone(&local.app.id, guest.session.socket_id());
                }
            }
        };
        // If it was a panic that ended the shard, what broke may break again; a second panic would end the process.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(take_out));
    }
}
