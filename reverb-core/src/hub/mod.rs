//! [`Hub`]: all connections of all apps, in shards.
//!
//! # How a message moves
//!
//! A publisher's request is checked, and each event written out once, as a finished frame. The frame goes to every shard
//! that holds the channel; there every guest of the room gets the same bytes into its outbox, and the shard writes them
//! when it is that socket's turn. A shard is one task that owns its sockets, their sessions and all its buffers, so that
//! nothing in it is locked; what shards share is in the directory and is touched when somebody comes or goes.
//!
//! # Why it is built so
//!
//! On this path the kernel's write is the cost: 4 to 6 µs for a frame alone, and about 0.4 µs for each of sixteen that
//! share a write. So everything aims at fewer writes and at nothing else per receiver:
//!
//! - **One task per shard, none per connection.** A task with its timer and queue costs 1.5 KB a connection, a place in a
//!   shard 600 bytes, and events need no wake-up per receiver. Sockets are polled with a waker of their own, which only
//!   puts their number on the shard's list.
//! - **Answers first, then a slice of 32 deliveries, then read on.** A server that writes a whole fan-out before it reads
//!   has one event to write at a time; reading in between lets the events that arrive meanwhile share the later writes
//!   (sixteen events under way to 1,000 receivers: 2.85 µs per delivery written whole, 0.50 in slices). A room of at most
//!   32 goes with the answers, so that it never waits behind one of thousands.
//! - **A publisher is held back by what the shards owe**: its answer follows its deliveries while the ring is short.
//!   Behind a long ring waiting would only move the queue into the server, so there it is answered at once.
//! - **Slow is who takes nothing**, not who is behind: a peer that blocks gets at most 1 MiB, and is told when it is cut.
//! - **Presence and cached events are numbered** under the channel's lock; a seat remembers the number of what it was
//!   told first and passes over notices up to it. So a snapshot and the changes after it never race, however many shards.
//!
//! Tried and dropped: a task per connection for reading (2.4 times the memory), io_uring (TCP is the cost, not the call),
//! other allocators (dearer on churn and publishing), a frame copied per receiver (55 ns and a copy of the payload each).

pub(crate) mod accepted;
pub(crate) mod admit;
mod app_cache;
mod app_handle;
mod apps;
mod arrive;
mod authorize;
mod builder;
mod channel;
mod channel_events;
mod chores;
mod connect;
mod connection;
mod deliver;
mod desk;
mod directory;
mod door;
mod follow;
mod hear;
mod leave;
mod listener;
mod mailbox;
mod outbox;
mod perform;
mod presence;
mod publish;
mod reply;
mod rooms;
mod shard;
mod shards;
mod stream;
mod users;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::app_store::{AppStore, BoxError, SecretUse};
use crate::clock::Clock;
use crate::hooks::{Authorizer, Observed, Observer};
use crate::metrics::Metrics;

use self::app_cache::AppCache;
use self::connection::FAREWELL_TIMEOUT;
use self::listener::Listener;
use self::mailbox::Letter;

pub use self::app_cache::AppCacheTimes;
pub use self::app_handle::{AppHandle, PublishError, Published};
pub(crate) use self::builder::Settings;
pub use self::builder::{BuildError, HubBuilder, IpNet};
pub use self::channel_events::ChannelEvents;
pub(crate) use self::desk::Desk;
pub(crate) use self::directory::Directory;
pub use self::stream::MOST_UNSENT;

/// All connections of all apps. A clone is another handle to the same hub; when the last one is dropped, its tasks end.
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use reverb_core::app_store::MemoryApps;
/// use reverb_core::hub::Hub;
/// use reverb_core::protocol::{App, Event};
///
/// let hub = Hub::builder(MemoryApps::from([App::new("1001", "key", "secret")?])).build()?;
/// hub.listen(tokio::net::TcpListener::bind("127.0.0.1:6001").await?, hub.service());
/// hub.publish("1001", Event::new("greeting", "hi").to("lobby")).await?;
/// hub.drain(Duration::from_secs(10)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Hub {
    owner: Arc<Owner>,
}

/// Ends the shards when nobody has hold of the hub any more.
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let Shared {
            directory,
            listeners,
            stops,
            ..
        } = &*self.shared;
        stops.store(true, Ordering::Release);
        directory.send(directory.everywhere(), || Letter::Ending);
        // Their site may have hold of the hub's parts, which have hold of them.
        listeners.lock().clear();
    }
}

/// What all parts of a hub have hold of.
pub(crate) struct Shared {
    pub(crate) directory: Arc<Directory>,
    pub(crate) apps: Arc<AppCache>,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    observers: Vec<Observer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) settings: Settings,
    listeners: Mutex<Vec<Arc<Listener>>>,
    /// Until when everybody is to be gone; set once.
    drains: OnceLock<Instant>,
    /// Nobody has hold of the hub any more.
    stops: AtomicBool,
    /// Shards that run.
    running: AtomicUsize,
    ended: tokio::sync::Notify,
    /// To which shard the next upgraded connection goes.
    next_shard: AtomicUsize,
    /// When a failure to accept, and a refused client, were last logged.
    accept_log: Sampled,
    refusal_log: Sampled,
}

/// How many there are of everything that must be gone when everybody is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Connections that have been let in.
    pub connections: u64,
    /// Apps that somebody is connected to, or that remember something.
    pub apps: usize,
    /// Channels that somebody sits in, or that remember an event.
    pub channels: usize,
    /// Things to be done later.
    pub chores: usize,
}

impl Hub {
    /// Begins a hub with apps from here.
    #[must_use]
    pub fn builder(store: impl AppStore) -> HubBuilder {
        HubBuilder::new(store)
    }

    fn start(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        for index in 0..shared.directory.mailboxes.len() {
            let shared = shared.clone();
            shared.running.fetch_add(1, Ordering::AcqRel);
            tokio::spawn(async move {
                shard::run(shared.clone(), index).await;
                if shared.running.fetch_sub(1, Ordering::AcqRel) == 1 {
                    shared.observers.iter().for_each(Observer::close);
                    shared.directory.end_listening();
                }
                shared.ended.notify_waiters();
            });
        }
        Self {
            owner: Arc::new(Owner { shared }),
        }
    }

    /// What all its parts have hold of.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Accepts connections from this socket: the quickest way in. `site` answers what is neither a client nor a plain
    /// publish; [`Self::service`] will do. `TCP_NODELAY` and, on Linux, a `TCP_NOTSENT_LOWAT` of [`MOST_UNSENT`] are set on the
    /// socket, and on what waits in its queue already.
    ///
    /// The site lives as long as the hub, and so must not hold a `Hub` itself, or neither ever ends: give it an
    /// [`AppHandle`], or end it by [`Self::drain`].
    pub fn listen<S, B>(&self, socket: TcpListener, site: S)
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let listener = Listener::new(socket, site);
        let shared = &self.owner.shared;
        shared.listeners.lock().push(listener.clone());
        shared.directory.mailboxes[0].send(Letter::Listen(listener));
    }

    /// Stops accepting, lets requests finish, and closes every client with 4200, spread evenly over this time. Resolves
    /// when the last one has gone; what has not ended five seconds later is cut off.
    ///
    /// # Cancel safety
    /// The draining goes on if the future is dropped.
    pub async fn drain(&self, over: Duration) {
        let shared = &self.owner.shared;
        let until = shared.clock.now() + over;
        let listeners = std::mem::take(&mut *shared.listeners.lock());
        shared.drains.get_or_init(|| until);
        shared
            .directory
            .send(shared.directory.everywhere(), || Letter::Ending);
        let grace = over + FAREWELL_TIMEOUT;
        listeners.iter().for_each(|listener| listener.drain(grace));
        loop {
            let ended = shared.ended.notified();
            if shared.running.load(Ordering::Acquire) == 0 {
                break;
            }
            ended.await;
        }
        while listeners.iter().any(|listener| listener.served() > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Forgets what the app store has said: from now on it is asked again. Only a store that has to think is remembered at
    /// all; see [`AppCacheTimes`].
    pub fn forget_apps(&self) {
        self.owner.shared.apps.forget();
    }

    /// The secrets that apps have signed with since this was asked the last time: hand them to
    /// [`AppEditor::record_use`](crate::app_store::AppEditor::record_use) once a minute or so, and nothing need be written per request.
    ///
    /// Up to a minute's use may be missing of an app that was changed meanwhile.
    #[must_use]
    pub fn take_secrets_used(&self) -> Vec<SecretUse> {
        let shared = &self.owner.shared;
        let at = shared.clock.unix_time().as_secs();
        let used = shared.directory.take_secrets_used().into_iter();
        used.map(|(app, secret)| SecretUse::new(app, secret, at))
            .collect()
    }

    /// How much there is of everything.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let directory = &self.owner.shared.directory;
        let (apps, channels) = directory.sizes();
        Sizes {
            connections: directory.connections(),
            apps,
            channels,
            chores: directory.chores.len(),
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("sizes", &self.sizes())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Tells those who watch what has happened, if anybody does.
    fn observe(&self, seen: impl FnOnce() -> Observed) {
        if let Some((last, others)) = self.observers.split_last() {
            let seen = seen();
            others.iter().for_each(|other| other.see(seen.clone()));
            last.see(seen);
        }
    }

    /// Whether no shard runs any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.running.load(Ordering::Acquire) == 0
    }

    /// Whether nobody new is taken any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.drains.get().is_some() || self.stops.load(Ordering::Acquire)
    }
}

/// Keeps something that may happen all the time to one line of log a second.
#[derive(Debug, Default)]
struct Sampled(Mutex<Option<Instant>>);

impl Sampled {
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock();
        let is_due = last.is_none_or(|last| now >= last + Duration::from_secs(1));
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// How long an authorizer may take.
const DECISION_TIMEOUT: Duration = Duration::from_secs(5);

/// A question to somebody else's code.
pub(crate) type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The answer if it is there at once, or the question. Whoever asks has seen to it that it does not panic.
fn poll_once<T>(mut asked: Asked<T>) -> Result<T, Asked<T>> {
    match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(asked),
    }
}

/// The answer of somebody else's code, if it comes in time and does not panic.
async fn guarded<T>(limit: Duration, asked: impl Future<Output = T>) -> Option<T> {
    let mut asked = std::pin::pin!(asked);
    let safely = std::future::poll_fn(|context| {
        let poll = std::panic::AssertUnwindSafe(|| asked.as_mut().poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    });
    tokio::time::timeout(limit, safely).await.ok().flatten()
}
