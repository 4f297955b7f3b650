//! [`Observer`]: who comes, subscribes, says something and goes, for those who watch.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Deserialize;

use crate::protocol::{AppId, ChannelName, Outgoing, SocketId, UserId};

use super::feed::{Feed, Missed, Reader};

/// An observer and what it sees, holding up to `capacity` observations that are not yet read.
///
/// Give the observer to [`HubBuilder::observer`](crate::hub::HubBuilder::observer) and read the observations in a task of
/// yours. One hub may have several.
/// ```
/// # async fn watch() -> Result<(), Box<dyn std::error::Error>> {
/// use reverb_core::app_store::MemoryApps;
/// use reverb_core::hooks::{self, Observed};
/// use reverb_core::hub::Hub;
///
/// let (observer, mut observations) = hooks::observer(1024);
/// let hub = Hub::builder(MemoryApps::default()).observer(observer).build()?;
/// tokio::spawn(async move {
///     while let Some(seen) = observations.next().await {
///         match seen {
///             Ok(Observed::Connected { app, socket_id }) => println!("{app}: {socket_id} came"),
///             Ok(_) => {}
///             Err(missed) => println!("{missed}"),
///         }
///     }
/// });
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn observer(capacity: usize) -> (Observer, Observations) {
    let (feed, reader) = Feed::new(capacity);
    (Observer(feed), Observations(reader))
}

/// The end of [`observer`] that the hub has.
pub struct Observer(Feed<Observed>);

impl Observer {
    pub(crate) fn see(&self, seen: Observed) {
        self.0.push(seen);
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

/// Something that happened in a hub.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Observed {
    /// A client was let in.
    Connected {
        /// Of which app.
        app: AppId,
        /// What it is called.
        socket_id: SocketId,
    },
    /// A client was seated in a channel.
    Subscribed {
        /// Of which app.
        app: AppId,
        /// Which client.
        socket_id: SocketId,
        /// In which channel.
        channel: ChannelName,
        /// As whom, on presence channels.
        user: Option<UserId>,
    },
    /// A client left a channel, of its own accord. Of those that a client is in when it goes there is no word.
    Unsubscribed {
        /// Of which app.
        app: AppId,
        /// Which client.
        socket_id: SocketId,
        /// Which channel.
        channel: ChannelName,
    },
    /// A client sent the others in a channel an event.
    ClientEvent {
        /// Of which app.
        app: AppId,
        /// Which client.
        socket_id: SocketId,
        /// In which channel.
        channel: ChannelName,
        /// What.
        event: ChannelEvent,
    },
    /// A client has gone.
    Disconnected {
        /// Of which app.
        app: AppId,
        /// Which client.
        socket_id: SocketId,
    },
}

/// What an [`Observer`] has seen, in the order in which each shard of the hub saw it.
///
/// A stream that ends with the hub. Where something was missed, it says how much.
#[derive(Debug)]
pub struct Observations(Reader<Observed>);

impl Observations {
    /// The next observation, or how many were missed at this point; `None` once the hub has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Observed, Missed>> {
        std::future::poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await
    }

    /// How many were missed from the beginning on.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.0.all_missed()
    }
}

impl Stream for Observations {
    type Item = Result<Observed, Missed>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context)
    }
}

/// An event as the subscribers of its channel hear it. A clone is another pointer to it.
#[derive(Clone, Debug)]
pub struct ChannelEvent(Outgoing);

impl PartialEq for ChannelEvent {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl Eq for ChannelEvent {}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    event: std::borrow::Cow<'a, str>,
    #[serde(default)]
    data: String,
    user_id: Option<String>,
}

impl ChannelEvent {
    pub(crate) fn new(message: &Outgoing) -> Self {
        Self(message.clone())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.fields().event.into_owned()
    }

    /// Its data: text, JSON by convention; empty if it has none.
    #[must_use]
    pub fn data(&self) -> String {
        self.fields().data
    }

    /// The user who sent it, if it is a client event of a presence channel.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.fields().user_id.and_then(|id| UserId::new(&id).ok())
    }

    /// The whole message, as JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.text()
    }

    fn fields(&self) -> Fields<'_> {
        serde_json::from_str(self.0.text()).expect("what the hub says is JSON with an event")
    }
}
