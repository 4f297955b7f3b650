//! [`Connection`]: all that one socket costs.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::hooks::Pass;
use crate::protocol::{ChannelName, Close, Outgoing, UserId};
use crate::session::Session;
use crate::transport::{Heard, Transport};
use crate::wire::websocket::{PING, WebSocket};

use super::desk::Quota;
use super::listener::Listener;
use super::mailbox::SlotWaker;
use super::outbox::{Frame, Outbox};
use super::stream::Stream;

/// One socket and what is known of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) waker: Waker,
    pub(super) wakes: Arc<SlotWaker>,
    pub(super) codec: Codec,
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
    /// Whether it is not read from until it has been reminded: answers keep the order of what was asked.
    pub(super) awaits_reminder: bool,
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
    /// Nothing: the app store was asked, and what it said holds for the request that is there.
    LookedUp,
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
            Stage::LookedUp | Stage::Lookup | Stage::Delivery(_) | Stage::HandOver => {
                ANSWER_TIMEOUT
            }
        };
        self.stage = stage;
        self.until = now + timeout;
    }

    /// Whether requests are read now.
    pub(super) fn reads(&self) -> bool {
        matches!(
            self.stage,
            Stage::Start | Stage::Head | Stage::Body | Stage::LookedUp
        )
    }
}

/// A client that has been let in.
#[derive(Debug)]
pub(super) struct Guest {
    /// The number of its app on this shard.
    pub(super) app: u32,
    pub(super) noise: Noise,
    pub(super) session: Session,
    /// Its share of the app's connections; given back when the guest leaves.
    pub(super) _quota: Quota,
    /// What few guests have.
    pub(super) extra: Option<Box<Extra>>,
}

/// What few guests have.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Whom it watches.
    pub(super) watches: Box<[UserId]>,
    /// What the authorizer gave it.
    pub(super) pass: Pass,
    /// The subscriptions that the authorizer thinks about.
    pub(super) pending: Vec<Pending>,
    /// What was said about one of them, and all the reading that waits behind it.
    pub(super) deferred: Option<String>,
}

/// A subscription that is being decided.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ticket: u32,
    pub(super) channel: ChannelName,
}

impl Guest {
    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Whether it waits for a decision and is not read from.
    pub(super) fn waits(&self) -> bool {
        self.extra
            .as_ref()
            .is_some_and(|extra| extra.deferred.is_some())
    }
}

/// Counts frames that say nothing: pings, pongs and empty ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noise {
    /// The five seconds that are counted, since the shard began; it may come round.
    window: u16,
    count: u16,
}

impl Noise {
    /// Most in five seconds. Honest clients send one in half a minute.
    const MOST: u16 = 1000;

    /// One more. True if that is too many.
    pub(super) fn is_too_much(&mut self, since_start: Duration) -> bool {
        let window = (since_start.as_secs() / 5) as u16;
        if window != self.window {
            (self.window, self.count) = (window, 0);
        }
        self.count += 1;
        self.count > Self::MOST
    }
}

/// What is spoken on a stream.
pub(super) enum Codec {
    /// What nearly everybody speaks, with frames that all receivers share.
    WebSocket(WebSocket),
    /// A host's own.
    Other(Box<dyn Transport>),
}

impl Codec {
    /// Reads what stands at the front of the input, as a [`Transport`] does; never more than there is.
    pub(super) fn decode<'a>(&mut self, input: &'a mut [u8], max: usize) -> (usize, Heard<'a>) {
        match self {
            Self::WebSocket(socket) => socket.decode(input, max),
            Self::Other(transport) => {
                let all = input.len();
                match transport.decode(input, max) {
                    // It would be kept for ever.
                    (_, Heard::More) if all > max.saturating_add(MORE_THAN_MAX) => {
                        (all, Heard::Fail(Close::TOO_BIG))
                    }
                    (_, Heard::More) => (0, Heard::More),
                    // It would be read for ever, or cannot be.
                    (used, _) if used == 0 || used > all => (all, Heard::Fail(Close::PROTOCOL)),
                    heard => heard,
                }
            }
        }
    }

    pub(super) fn message(&self, message: &Outgoing) -> Frame {
        match self {
            Self::WebSocket(_) => message.shared(),
            Self::Other(transport) => written(|| transport.message(message)),
        }
    }

    pub(super) fn ping(&self) -> Frame {
        match self {
            Self::WebSocket(_) => PING.as_slice().into(),
            Self::Other(transport) => written(|| transport.ping()),
        }
    }

    pub(super) fn pong(&self, payload: &[u8]) -> Frame {
        written(|| self.transport().pong(payload))
    }

    pub(super) fn close(&self, close: &Close) -> Frame {
        written(|| self.transport().close(close))
    }

    pub(super) fn close_reply(&self, code: Option<u16>) -> Frame {
        written(|| self.transport().close_reply(code))
    }

    fn transport(&self) -> &dyn Transport {
        match self {
            Self::WebSocket(socket) => socket,
            Self::Other(transport) => &**transport,
        }
    }
}

/// What a transport writes. One that panics has written nothing; it shall not take the shard's other clients with it.
fn written(write: impl FnOnce() -> Vec<u8>) -> Frame {
    catch_unwind(AssertUnwindSafe(write))
        .unwrap_or_else(|_| {
            tracing::error!("a transport panicked: what it was to write is lost");
            Vec::new()
        })
        .into()
}

impl Default for Codec {
    fn default() -> Self {
        Self::WebSocket(WebSocket::default())
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket(_) => "WebSocket",
            Self::Other(_) => "Other",
        })
    }
}

/// How much longer than its largest message the input of a transport may grow that finds nothing in it.
const MORE_THAN_MAX: usize = 64 * 1024;

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
    /// Whether what it says has to wait.
    pub(super) fn is_paused(&self) -> bool {
        self.is_held || self.awaits_reminder
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one of each per connection: whoever makes them larger shall know it.
    #[test]
    fn a_connection_stays_small() {
        assert!(size_of::<Session>() <= 80, "{}", size_of::<Session>());
        assert!(
            size_of::<Connection>() <= 288,
            "{}",
            size_of::<Connection>()
        );
    }
}
