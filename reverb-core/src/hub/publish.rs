//! Publishing: one request's events to all their channels, whole or not at all, and how publishers are held back.
//!
//! A request first reserves its bytes on every shard concerned, then posts. Its [`Release`] travels along and is dropped
//! by each shard once it has done with the events; when the last one is dropped, the publisher gets its answer. Only who
//! is connected to a shard where much waits to be written is answered at once (`hub::door`).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::protocol::{App, ChannelKind, ChannelName, Event, Outgoing, SocketId};

use super::app_handle::PublishError;
use super::channel::Channel;
use super::desk::Desk;
use super::directory::Directory;
use super::mailbox::{Charge, Letter, Mailbox, Slot};
use super::shards::Shards;

/// How long a publisher waits for room.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a parcel costs besides its message.
const PARCEL: usize = 160;

/// One request's events, written out and addressed.
#[derive(Debug)]
pub(crate) struct Publication {
    desk: Arc<Desk>,
    items: Vec<Item>,
    bytes: usize,
}

/// One event on its way to one channel.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) channel: Arc<Channel>,
    pub(super) message: Outgoing,
    /// Where the event's data stands in the message.
    pub(super) data: std::ops::Range<usize>,
    pub(super) except: Option<SocketId>,
    /// How long a cache channel remembers it.
    pub(super) ttl: Duration,
    /// Client events are not remembered.
    pub(super) is_client_event: bool,
}

/// The shards have more to do than they can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded;

impl From<Overloaded> for PublishError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl Publication {
    /// Writes out these events, checked before, for the channels that anybody will hear them on.
    pub(crate) fn new(desk: &Arc<Desk>, app: &App, events: &[Event<'_>]) -> Self {
        let mut publication = Self {
            desk: desk.clone(),
            items: Vec::with_capacity(1),
            bytes: 0,
        };
        for event in events {
            for (n, name) in event.channels().enumerate() {
                // Named twice is told once.
                if !event.channels().take(n).any(|earlier| earlier == name) {
                    publication.add(app, event, name);
                }
            }
        }
        publication
    }

    fn add(&mut self, app: &App, event: &Event<'_>, name: &str) {
        let is_cache = ChannelKind::of(name).is_cache();
        let channel = match is_cache {
            // It remembers the event even if nobody listens.
            true => ChannelName::new(name, usize::MAX)
                .ok()
                .map(|name| self.desk.open(&name)),
            false => self.desk.channel(name).filter(|channel| channel.is_heard()),
        };
        let Some(channel) = channel else { return };
        let message = Outgoing::event(event, name);
        let data = if is_cache {
            message.data_token(name, event)
        } else {
            0..0
        };
        let ttl = Duration::from_secs(app.limits.cache_seconds.into());
        self.bytes += message.frame().len() + PARCEL;
        self.items.push(Item {
            channel,
            message,
            data,
            except: event.except,
            ttl,
            is_client_event: false,
        });
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// The shards that get mail: all that are concerned, but for what `own` may hand out itself.
    fn shards(&self, own: Option<usize>) -> Shards {
        self.items
            .iter()
            .fold(Shards::default(), |all, item| all.with(item.mailed(own)))
    }

    /// Makes room on every shard that gets mail.
    ///
    /// # Errors
    /// The first shard that has no room. Nothing is taken then.
    pub(super) fn reserve(
        &self,
        directory: &Directory,
        own: Option<usize>,
    ) -> Result<Charges, usize> {
        let shards = self.shards(own);
        // Nobody who waits is woken by what is taken and given back at once.
        if let Some(full) = shards
            .into_iter()
            .find(|shard| !directory.mailboxes[*shard].has_room(self.bytes))
        {
            return Err(full);
        }
        let charge = |shard: usize| directory.mailboxes[shard].reserve(self.bytes).ok_or(shard);
        shards
            .into_iter()
            .map(charge)
            .collect::<Result<_, _>>()
            .map(Charges)
    }

    /// Posts everything but what `own` hands out itself, in order; that is given to `here`.
    pub(super) fn post(
        &self,
        directory: &Directory,
        own: Option<usize>,
        release: Option<&Arc<Release>>,
        now: Instant,
        mut here: impl FnMut(&Item),
    ) {
        for item in &self.items {
            let mut channel = item.channel.clone();
            let to = Shards::ALL.without(item.direct(own));
            while !channel.post(directory, &self.desk, item, to, release, now) {
                channel = self.desk.open(&channel.name);
            }
            if !item.direct(own).is_empty() {
                here(item);
            }
        }
    }

    /// Posts everything, and waits until it is with all its receivers.
    ///
    /// Once it has begun to post, dropping the future does not take anything back.
    pub(crate) async fn send(
        self,
        directory: Arc<Directory>,
        now: Instant,
    ) -> Result<(), Overloaded> {
        if self.is_empty() {
            return Ok(());
        }
        let charges = match self.reserve(&directory, None) {
            Ok(charges) => charges,
            // Boxed, as nearly nobody has to wait.
            Err(_) => Box::pin(tokio::time::timeout(
                PATIENCE,
                self.reserve_when_possible(&directory),
            ))
            .await
            .map_err(|_| Overloaded)?,
        };
        let receipt = {
            let release = Release::new(charges, Done::Task(Mutex::default()));
            self.post(&directory, None, Some(&release), now, |_| {});
            Receipt(Arc::downgrade(&release))
        };
        receipt.await;
        Ok(())
    }

    /// Waits for room on one full shard after the other.
    async fn reserve_when_possible(&self, directory: &Directory) -> Charges {
        let mut full = None;
        loop {
            // Made before the attempt, so that nothing released in between is missed.
            let released = full.map(|shard: usize| directory.mailboxes[shard].released());
            match (self.reserve(directory, None), released) {
                (Ok(charges), _) => return charges,
                (Err(shard), Some(released)) if full == Some(shard) => released.await,
                (Err(shard), _) => full = Some(shard),
            }
        }
    }
}

impl Drop for Publication {
    /// A cache channel was opened to remember the event; if it was not sent after all, nothing keeps the channel.
    fn drop(&mut self) {
        for item in &self.items {
            if item.channel.name.kind().is_cache() && item.channel.is_bare() {
                self.desk.close(&item.channel);
            }
        }
    }
}

impl Item {
    /// Where the shard `own` hands the event out itself, without a detour over its mailbox. On channels with numbered
    /// notices it must not: it would overtake those.
    pub(super) fn direct(&self, own: Option<usize>) -> Shards {
        match own {
            Some(own) if !self.channel.is_numbered() && self.channel.shards().contains(own) => {
                Shards::one(own)
            }
            _ => Shards::default(),
        }
    }

    /// The shards that get it by mail.
    pub(super) fn mailed(&self, own: Option<usize>) -> Shards {
        self.channel.shards().without(self.direct(own))
    }
}

/// Room on several shards.
#[derive(Debug)]
pub(super) struct Charges(Vec<Charge>);

impl Charges {
    pub(super) fn new(charges: Vec<Charge>) -> Self {
        Self(charges)
    }

    /// Whether nobody gets mail.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Travels with a request's events. When the last shard drops it, the room is given back and the publisher is told.
#[derive(Debug)]
pub(crate) struct Release {
    charges: Charges,
    done: Done,
}

/// Whom to tell.
#[derive(Debug)]
pub(super) enum Done {
    /// Nobody waits.
    Nobody,
    /// A task that polls a [`Receipt`].
    Task(Mutex<Option<Waker>>),
    /// A connection that has published.
    Slot(Arc<Mailbox>, Slot),
}

impl Release {
    pub(super) fn new(charges: Charges, done: Done) -> Arc<Self> {
        Arc::new(Self { charges, done })
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        self.charges.0.clear();
        match &mut self.done {
            Done::Nobody => {}
            Done::Task(waker) => {
                if let Some(waker) = waker.get_mut().take() {
                    waker.wake();
                }
            }
            Done::Slot(mailbox, slot) => mailbox.send(Letter::Published {
                slot: *slot,
                result: Ok(()),
            }),
        }
    }
}

/// Resolves when the release is dropped everywhere.
struct Receipt(Weak<Release>);

impl Future for Receipt {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // If ours is the last one by the time it goes out of scope, its drop wakes us again.
        let Some(release) = self.0.upgrade() else {
            return Poll::Ready(());
        };
        if let Done::Task(waker) = &release.done {
            *waker.lock() = Some(context.waker().clone());
        }
        Poll::Pending
    }
}
