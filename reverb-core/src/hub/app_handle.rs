//! [`AppHandle`]: one app, for code that lives in the same process: publishing without HTTP, hearing without a socket.

use std::fmt;
use std::sync::Arc;

use crate::app_store::StoreError;
use crate::hooks::Pass;
use crate::protocol::{App, ChannelName, Event, InvalidEvent, InvalidName, SocketId, UserId};

use super::accepted::Accepted;
use super::channel_events::ChannelEvents;
use super::mailbox::PassTest;
use super::publish::{Done, Release};
use super::{Desk, Hub, Shared};

/// One app of a hub, for code that lives in the same process. Made by [`Hub::app`]; clones are cheap.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reverb_core::app_store::MemoryApps;
/// use reverb_core::hub::Hub;
/// use reverb_core::protocol::{App, Event};
///
/// let app = App::new("1001", "app-key", "app-secret")?;
/// let hub = Hub::builder(MemoryApps::from([app])).build()?;
/// let app = hub.app("1001").await?;
///
/// let mut orders = app.subscribe("private-orders", 100)?;
/// app.publish(Event::new("paid", r#"{"id":7}"#).to("private-orders")).await?;
/// std::thread::spawn({
///     let app = app.clone();
///     move || app.try_publish(Event::new("shipped", r#"{"id":7}"#).to("private-orders"))
/// });
/// for name in ["paid", "shipped"] {
///     let event = orders.next().await.ok_or("the hub has ended")??;
///     assert_eq!((&*event.name(), &*event.data()), (name, r#"{"id":7}"#));
/// }
/// # Ok(())
/// # }
/// ```
/// It does not keep the hub alive. Publishing asks for the same things as the HTTP API does and is bound by the same
/// limits, but for the signature.
#[derive(Clone)]
pub struct AppHandle {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
}

/// An event was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// How many connections were subscribed to its channels, each counted once for every channel. One that was excepted
    /// is among them.
    pub subscriptions: usize,
}

/// Why nothing was published: neither this event, nor any other of its batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The app store knows no such app.
    #[error("no app has the id {0:?}")]
    NoApp(String),
    /// The app store cannot answer; trying again may help.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The app is not active.
    #[error("the app is disabled")]
    Disabled,
    /// The event, or one of the batch, is against the rules or the app's limits. It says which.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// The app publishes more often than it may.
    #[error("rate limit exceeded: events_per_second is {limit}")]
    TooOften {
        /// What it may.
        limit: u32,
        /// How long to wait.
        wait: std::time::Duration,
    },
    /// The shards have more to do than they can take. Try again in a second.
    #[error("the hub is over capacity: nothing was sent, try again in a second")]
    Overloaded,
    /// The hub was dropped, or has drained.
    #[error("the hub has ended")]
    Ended,
}

impl PublishError {
    /// The HTTP status that says the same, for a host that has to answer a request of its own.
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        use http::StatusCode as Status;

        match self {
            Self::NoApp(_) => Status::NOT_FOUND,
            Self::Disabled | Self::Store(StoreError::Corrupt(_)) => Status::FORBIDDEN,
            Self::Invalid(error) if error.is_too_large() => Status::PAYLOAD_TOO_LARGE,
            Self::Invalid(_) => Status::BAD_REQUEST,
            Self::TooOften { .. } => Status::TOO_MANY_REQUESTS,
            Self::Store(_) | Self::Overloaded | Self::Ended => Status::SERVICE_UNAVAILABLE,
        }
    }
}

impl Hub {
    /// The app with this id.
    ///
    /// # Errors
    /// There is none, or the app store cannot answer.
    pub async fn app(&self, id: &str) -> Result<AppHandle, PublishError> {
        let shared = self.shared();
        let found = shared.apps.find_by_id(id).await?;
        let app = found.ok_or_else(|| PublishError::NoApp(id.chars().take(100).collect()))?;
        Ok(AppHandle {
            desk: shared.directory.desk(&app),
            shared: shared.clone(),
        })
    }

    /// Publishes an event of this app, as [`AppHandle::publish`] does.
    ///
    /// # Errors
    /// Nothing was published, and why.
    ///
    /// # Cancel safety
    /// Dropped before it resolves, the event may or may not be published.
    pub async fn publish(&self, app_id: &str, event: Event<'_>) -> Result<Published, PublishError> {
        self.app(app_id).await?.publish(event).await
    }
}

impl AppHandle {
    /// The app as the hub last saw it.
    #[must_use]
    pub fn app(&self) -> Arc<App> {
        self.desk.app()
    }

    /// Publishes an event, and waits while the hub has too much to do; two seconds at most.
    ///
    /// Resolves when it is on its way to all receivers. [`Event::to_user`] addresses a user,
    /// [`Event::except`] leaves a connection out.
    ///
    /// # Errors
    /// Nothing was published, and why.
    ///
    /// # Cancel safety
    /// Dropped before it resolves, the event may or may not be published.
    pub async fn publish(&self, event: Event<'_>) -> Result<Published, PublishError> {
        self.send(vec![event], false).await
    }

    /// Publishes several events: all of them, or none.
    ///
    /// # Errors
    /// Nothing was published, and why; [`InvalidEvent::InBatch`] says which event is wrong.
    ///
    /// # Cancel safety
    /// Dropped before it resolves, the events may or may not be published.
    pub async fn publish_batch<'a>(
        &self,
        events: impl IntoIterator<Item = Event<'a>>,
    ) -> Result<Published, PublishError> {
        self.send(events.into_iter().collect(), true).await
    }

    /// Publishes an event from code that cannot wait: where [`Self::publish`] would wait, it fails. Any thread may call it.
    ///
    /// The app is taken as the hub last saw it; the app store is not asked.
    ///
    /// # Errors
    /// Nothing was published, and why.
    pub fn try_publish(&self, event: Event<'_>) -> Result<Published, PublishError> {
        self.post(vec![event], false)
    }

    /// Publishes several events, all of them or none, from code that cannot wait.
    ///
    /// # Errors
    /// Nothing was published, and why.
    pub fn try_publish_batch<'a>(
        &self,
        events: impl IntoIterator<Item = Event<'a>>,
    ) -> Result<Published, PublishError> {
        self.post(events.into_iter().collect(), true)
    }

    /// Hears what is said in a channel from now on: published events, client events, and on presence channels who comes
    /// and goes (`pusher_internal:member_added` and `…removed`). A cache channel's last event comes first.
    ///
    /// Up to `capacity` events wait for the reader. It is no subscriber: it counts in no occupancy, and does not
    /// keep a channel occupied.
    ///
    /// # Errors
    /// The name is none.
    pub fn subscribe(&self, channel: &str, capacity: usize) -> Result<ChannelEvents, InvalidName> {
        let name = ChannelName::new(channel, self.app().limits.channel_name_length)?;
        let now = self.shared.clock.now();
        let events = ChannelEvents::open(&self.desk, &name, capacity, now);
        if self.shared.has_ended() {
            events.end();
        }
        Ok(events)
    }

    /// The channels that somebody is subscribed to and whose names begin like this; those of users are not among them.
    #[must_use]
    pub fn channels(&self, prefix: &str) -> Vec<ChannelName> {
        let occupied = self.desk.occupied(prefix);
        occupied
            .iter()
            .map(|channel| channel.name.clone())
            .collect()
    }

    /// How many connections are subscribed to a channel.
    #[must_use]
    pub fn subscriptions(&self, channel: &str) -> usize {
        let channel = self.desk.channel(channel);
        channel.map_or(0, |channel| channel.occupancy().connections)
    }

    /// The users in a presence channel.
    #[must_use]
    pub fn users(&self, channel: &str) -> Vec<UserId> {
        let mut users = Vec::new();
        if let Some(channel) = self.desk.channel(channel) {
            channel.for_each_user(|user| users.push(user.clone()));
        }
        users
    }

    /// How many connections the app has, in channels or not.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.desk.connections()
    }

    /// Closes every connection of this user with 4009, wherever it is: those that have signed in as the user or are
    /// present as the user somewhere.
    pub fn terminate(&self, user: &UserId) {
        self.shared.directory.terminate(&self.desk, user);
    }

    /// Closes every connection with 4009 whose pass, from your [`Authorizer`](crate::hooks::Authorizer), is such a one:
    /// those of somebody who has logged out, for instance.
    pub fn terminate_where(&self, is_it: impl Fn(&Pass) -> bool + Send + Sync + 'static) {
        self.shared
            .directory
            .terminate_where(&self.desk, &PassTest::new(is_it));
    }

    /// Closes one connection with 4009; nothing happens if there is none by this name.
    pub fn terminate_socket(&self, socket_id: SocketId) {
        self.shared.directory.close_socket(&self.desk, socket_id);
    }

    async fn send(
        &self,
        events: Vec<Event<'_>>,
        is_batch: bool,
    ) -> Result<Published, PublishError> {
        let Shared {
            directory,
            clock,
            apps,
            ..
        } = &*self.shared;
        // As it is now: it may have been disabled.
        let id = self.app().id.clone();
        let app = apps.find_by_id(id.as_str()).await?;
        let app = app.ok_or_else(|| PublishError::NoApp(id.as_str().to_owned()))?;
        let (publication, published) = {
            let accepted = Accepted::check(&self.shared, app, events, is_batch, clock.now())?;
            (accepted.publication(), accepted.published())
        };
        publication.send(directory.clone(), clock.now()).await?;
        Ok(published)
    }

    fn post(&self, events: Vec<Event<'_>>, is_batch: bool) -> Result<Published, PublishError> {
        let Shared {
            directory, clock, ..
        } = &*self.shared;
        let now = clock.now();
        let accepted = Accepted::check(&self.shared, self.app(), events, is_batch, now)?;
        let publication = accepted.publication();
        let charges = publication
            .reserve(directory, None)
            .map_err(|_| PublishError::Overloaded)?;
        let release = Release::new(charges, Done::Nobody);
        publication.post(directory, None, Some(&release), now, |_| {});
        Ok(accepted.published())
    }
}

impl fmt::Debug for AppHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppHandle")
            .field("app", &self.app().id)
            .finish_non_exhaustive()
    }
}
