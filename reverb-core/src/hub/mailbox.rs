//! [`Mailbox`]: what others bring a shard. Its lock is the only one that a delivery takes, and held for a swap.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hooks::{Denied, Pass};
use crate::protocol::{ChannelName, Close, Member, Outgoing, SocketId, UserId};
use crate::session::Welcome;
use crate::wire::upgrade::Knock;

use super::admit::Admitted;
use super::connection::Codec;
use super::desk::Desk;
use super::listener::Listener;
use super::publish::{Overloaded, Release};
use super::stream::Stream;

/// Most bytes of events that may wait in one mailbox, or ride in its shard's rings, before publishers are held back.
const MOST_OWED: usize = 4 << 20;

/// What others bring one shard.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    /// Bytes of events that were brought and not yet released.
    owed: AtomicUsize,
    /// Told whenever something was released while somebody waits.
    released: Notify,
}

/// Everything that came since the shard looked last, each kind in its order.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Slots whose socket can be read or written again.
    pub(super) woken: Vec<u32>,
    pub(super) newcomers: Vec<Newcomer>,
    pub(super) letters: Vec<Letter>,
    task: Option<Waker>,
    /// The shard has ended: what is brought is dropped.
    is_closed: bool,
}

/// A socket that moves in.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) stream: Stream,
    /// What was read from it already.
    pub(crate) input: Vec<u8>,
    pub(crate) entry: Entry,
}

/// What a newcomer is.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Fresh from this listener: the first bytes will tell.
    Unknown(Arc<Listener>, std::net::SocketAddr),
    /// A client whose handshake is done: it is let in, or told why not.
    Knocked(Result<Admitted, Close>, Codec),
}

/// What a shard is told or asked. The order among letters is kept.
#[derive(Debug)]
pub(crate) enum Letter {
    /// A message for everybody who sits in a channel here.
    Parcel(Parcel),
    /// A message for those here who watch a user.
    Watched {
        desk: Arc<Desk>,
        user: UserId,
        message: Outgoing,
        number: u64,
    },
    /// What a subscriber is told first, once more.
    Reminder {
        slot: Slot,
        channel: ChannelName,
        /// Seats taken later have been told something newer.
        number: u64,
        welcome: Box<Welcome>,
    },
    /// Close every connection of this user.
    Terminate { desk: Arc<Desk>, user: UserId },
    /// Close every connection that was given such a pass.
    TerminateWhere { desk: Arc<Desk>, is_it: PassTest },
    /// Close the connection of this name.
    CloseSocket {
        desk: Arc<Desk>,
        socket_id: SocketId,
    },
    /// Whether who knocked may come in.
    Answer {
        slot: Slot,
        knock: Box<Knock>,
        decided: Result<Admitted, Close>,
    },
    /// It is known whose request waits in this connection.
    LookedUp { slot: Slot },
    /// Whether a guest may be seated where it wants to be.
    Verdict {
        slot: Slot,
        ticket: u32,
        member: Option<Member>,
        verdict: Result<(), Denied>,
    },
    /// The events that a connection has published are with all their receivers, or could not be taken.
    Published {
        slot: Slot,
        result: Result<(), Overloaded>,
    },
    /// Take sockets from here.
    Listen(Arc<Listener>),
    /// The app of this desk has changed.
    Renew { desk: Arc<Desk> },
    /// Look whether the hub drains or ends.
    Ending,
}

/// Tells by its pass whether a connection is meant.
#[derive(Clone)]
pub(crate) struct PassTest(Arc<dyn Fn(&Pass) -> bool + Send + Sync>);

impl PassTest {
    pub(super) fn new(is_it: impl Fn(&Pass) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_it))
    }

    /// Whether it is. A test that panics has said no.
    pub(super) fn is_it(&self, pass: &Pass) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.0)(pass))).unwrap_or(false)
    }
}

impl fmt::Debug for PassTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassTest")
    }
}

/// A message for everybody who sits in a channel.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) desk: Arc<Desk>,
    pub(crate) channel: ChannelName,
    pub(crate) message: Outgoing,
    /// Seats taken at this number or later know it already; 0 concerns every seat.
    pub(crate) number: u64,
    pub(crate) except: Option<SocketId>,
    /// Dropped once the shard has done with it.
    pub(crate) release: Option<Arc<Release>>,
}

/// One connection, at one time: slots are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl Mailbox {
    fn post(&self, add: impl FnOnce(&mut Mail)) {
        let task = {
            let mut mail = self.mail.lock();
            if mail.is_closed {
                // Dropped with the lock released: it may have something to tell others.
                drop(mail);
                return drop(add);
            }
            add(&mut mail);
            mail.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// The shard has ended: what came and what will come is dropped, so that nobody waits for it.
    pub(super) fn close(&self) {
        let left = {
            let mut mail = self.mail.lock();
            std::mem::replace(
                &mut *mail,
                Mail {
                    is_closed: true,
                    ..Mail::default()
                },
            )
        };
        drop(left);
    }

    /// Brings a letter. Never refused: events are held back before, by [`Self::reserve`].
    pub(crate) fn send(&self, letter: Letter) {
        self.post(|mail| mail.letters.push(letter));
    }

    /// Brings a socket.
    pub(crate) fn adopt(&self, newcomer: Newcomer) {
        self.post(|mail| mail.newcomers.push(newcomer));
    }

    /// Hands over everything that came; `into` is empty, its buffers are used again.
    pub(super) fn take(&self, into: &mut Mail) {
        let mut mail = self.mail.lock();
        std::mem::swap(&mut mail.woken, &mut into.woken);
        std::mem::swap(&mut mail.newcomers, &mut into.newcomers);
        std::mem::swap(&mut mail.letters, &mut into.letters);
    }

    /// Ready when there is mail.
    pub(super) fn poll_mail(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut mail = self.mail.lock();
        if !mail.is_empty() {
            return Poll::Ready(());
        }
        if !mail
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(context.waker()))
        {
            mail.task = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.mail.lock().is_empty()
    }

    /// Whether there is room for this many bytes of events. One request larger than all there is waits for an empty box.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        fits(self.owed.load(Ordering::Acquire), bytes)
    }

    /// Makes room for this many bytes of events, if there is.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let room = |owed: usize| fits(owed, bytes).then_some(owed + bytes);
        self.owed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, room)
            .ok()?;
        Some(Charge {
            mailbox: self.clone(),
            bytes,
        })
    }

    /// Whether publishers are being held back.
    pub(super) fn is_over(&self) -> bool {
        self.owed.load(Ordering::Acquire) >= MOST_OWED
    }

    /// Adds bytes that cannot be refused any more.
    pub(super) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.owed.fetch_add(bytes, Ordering::AcqRel);
        Charge {
            mailbox: self.clone(),
            bytes,
        }
    }

    /// Resolves when something was released since the future was made.
    pub(super) fn released(&self) -> tokio::sync::futures::Notified<'_> {
        self.released.notified()
    }
}

fn fits(owed: usize, bytes: usize) -> bool {
    owed == 0 || owed + bytes <= MOST_OWED
}

impl Mail {
    pub(super) fn is_empty(&self) -> bool {
        self.woken.is_empty() && self.newcomers.is_empty() && self.letters.is_empty()
    }
}

/// Room in a mailbox, given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    mailbox: Arc<Mailbox>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.mailbox.owed.fetch_sub(self.bytes, Ordering::AcqRel);
        self.mailbox.released.notify_waiters();
    }
}

/// The waker of one socket: puts its slot on the shard's list of those worth a try.
#[derive(Debug)]
pub(super) struct SlotWaker {
    mailbox: Arc<Mailbox>,
    slot: u32,
    queued: AtomicBool,
}

impl SlotWaker {
    /// A waker for this slot. Whoever makes it tries at once; the first wake puts it on the list.
    pub(super) fn new(mailbox: Arc<Mailbox>, slot: u32) -> Arc<Self> {
        Arc::new(Self {
            mailbox,
            slot,
            queued: AtomicBool::new(false),
        })
    }

    /// The shard is about to try: what happens from now on is news.
    pub(super) fn taken(&self) {
        self.queued.swap(false, Ordering::AcqRel);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.mailbox.post(|mail| mail.woken.push(self.slot));
        }
    }
}
