//! [`Connection`]: all that one socket costs.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::protocol::UserId;
use crate::session::Session;
use crate::wire::websocket::WebSocket;

use super::directory::Quota;
use super::listener::Listener;
use super::mailbox::SlotWaker;
use super::outbox::Outbox;
use super::stream::Stream;

/// One socket and what is known of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) waker: Waker,
    pub(super) wakes: Arc<SlotWaker>,
    pub(super) role: Role,
    pub(super) outbox: Outbox,
    /// What was read and could not be handled yet.
    pub(super) tail: Vec<u8>,
    /// Since when the peer takes nothing of what waits for it; `None` while it takes everything.
    pub(super) stuck_since: Option<Instant>,
    /// Slots are used again: this tells one use from the next.
    pub(super) generation: u32,
    /// Whether a list says that something is to be written here.
    pub(super) is_listed: bool,
    /// Whether it is not read from until there is room for what it says.
    pub(super) is_held: bool,
}

/// What a connection is, in the order of its life.
#[derive(Debug)]
pub(super) enum Role {
    /// It speaks HTTP: a backend, or a client that has not yet knocked.
    Front(Box<Front>),
    /// A client that has been let in.
    Guest(Guest),
    /// It gets what is still waiting for it, and ends.
    Leaving(Leaving),
}

/// A connection that speaks HTTP.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) listener: Arc<Listener>,
    pub(super) peer: SocketAddr,
    pub(super) until: Instant,
    pub(super) stage: Stage,
}

/// What a front waits for.
#[derive(Debug)]
pub(super) enum Stage {
    /// The first byte of a request; the first of all, or another on the same connection.
    Start,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// The app store: is there such an app?
    Lookup,
    /// The shards that deliver what was published: then this is the answer.
    Delivery(Cow<'static, str>),
    /// The last answer has to be written: then the stream is hyper's.
    HandOver,
}

/// How long each may take. None is prolonged by a byte that comes meanwhile.
pub(super) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For the app store, and for shards to deliver.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the connection pools of SDKs keep theirs.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

impl Front {
    pub(super) fn enter(&mut self, stage: Stage, now: Instant) {
        let timeout = match &stage {
            Stage::Start => IDLE_TIMEOUT,
            Stage::Head => HEAD_TIMEOUT,
            Stage::Body => crate::wire::BODY_TIMEOUT,
            Stage::Lookup | Stage::Delivery(_) | Stage::HandOver => ANSWER_TIMEOUT,
        };
        self.stage = stage;
        self.until = now + timeout;
    }

    /// Whether requests are read now.
    pub(super) fn reads(&self) -> bool {
        matches!(self.stage, Stage::Start | Stage::Head | Stage::Body)
    }
}

/// A client that has been let in.
#[derive(Debug)]
pub(super) struct Guest {
    /// The number of its app on this shard.
    pub(super) app: u32,
    pub(super) session: Session,
    pub(super) socket: WebSocket,
    /// Its share of the app's connections; given back when the guest leaves.
    pub(super) _quota: Quota,
    /// Whom it watches.
    pub(super) watches: Box<[UserId]>,
}

/// A connection that ends: what waits is written, the writing side is shut, and what still comes is read and thrown
/// away. Closed with unread input, the socket would be reset, and the code in the close frame lost.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) until: Instant,
    /// How much more is read before it is dropped anyway.
    pub(super) patience: usize,
    pub(super) is_shut: bool,
    /// Whether it may still be told something.
    pub(super) hears: bool,
}

/// How long a peer may take to read what is left for it.
pub(super) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to close, once everything is written.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whoever is further behind is looked at: is it the peer, or are we just not there yet?
pub(super) const BEHIND: usize = 64 * 1024;
/// Most that waits for a peer who takes nothing.
pub(super) const MOST_WAITING: usize = 1 << 20;
/// How long a peer may take nothing while much waits for it.
pub(super) const NO_PROGRESS_TIMEOUT: Duration = Duration::from_secs(10);

impl Leaving {
    /// It has been told all it will hear.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            until: now + FAREWELL_TIMEOUT,
            patience: 256 * 1024,
            is_shut: false,
            hears: false,
        }
    }

    /// It will be told why it has to go, or that it may stay after all.
    pub(super) fn soon(now: Instant) -> Self {
        Self {
            hears: true,
            ..Self::new(now)
        }
    }
}

/// The connection in this slot, where other parts of the shard are borrowed too.
pub(super) fn at(
    connections: &mut [Option<Box<Connection>>],
    slot: u32,
) -> Option<&mut Connection> {
    connections.get_mut(slot as usize)?.as_deref_mut()
}

impl Connection {
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck_since.is_some()
    }

    pub(super) fn guest(&mut self) -> Option<&mut Guest> {
        match &mut self.role {
            Role::Guest(guest) => Some(guest),
            _ => None,
        }
    }

    pub(super) fn front(&mut self) -> Option<&mut Front> {
        match &mut self.role {
            Role::Front(front) => Some(front),
            _ => None,
        }
    }
}
