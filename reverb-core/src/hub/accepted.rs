//! Requests of an app's backend, behind both doors: whose they are, and what [`Accepted`] bodies of `POST events` and
//! `POST batch_events` say.
//!
//! Source: Pusher Channels HTTP API.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use crate::protocol::auth::{self, Query};
use crate::protocol::event::Info;
use crate::protocol::{App, ChannelKind, Event, InvalidEvent};
use crate::wire::error::ApiError;

use super::Shared;
use super::app_handle::{PublishError, Published};
use super::desk::Desk;
use super::publish::Publication;

impl Shared {
    /// Finds the app that a request says it is from, by the id in the path or else by its key.
    pub(crate) async fn claimed(
        &self,
        id: Option<&str>,
        query: &str,
    ) -> Result<Arc<App>, ApiError> {
        match id {
            Some(id) => match self.apps.known_by_id(id) {
                Some(found) => found,
                // Boxed, as nearly nobody has to wait.
                None => Box::pin(self.apps.find_by_id(id)).await,
            }?
            .ok_or_else(|| ApiError::no_app(id)),
            None => {
                let query = Query::parse(query)?;
                let key = query
                    .get("auth_key")
                    .ok_or(auth::Unauthorized::Missing("auth_key"))?;
                Box::pin(self.apps.find_by_key(key))
                    .await?
                    .ok_or_else(|| auth::Unauthorized::Key.into())
            }
        }
    }

    /// Checks that the app signed this request and may be used.
    pub(crate) fn check_signed(
        &self,
        app: &App,
        request: &auth::Request<'_>,
    ) -> Result<(), ApiError> {
        request.check(app, self.clock.unix_time().as_secs())?;
        if app.active {
            Ok(())
        } else {
            Err(ApiError::disabled())
        }
    }
}

/// The events of one request, checked whole.
pub(crate) struct Accepted<'a> {
    desk: Arc<Desk>,
    app: Arc<App>,
    events: Vec<Event<'a>>,
    is_batch: bool,
}

impl<'a> Accepted<'a> {
    /// Reads and checks a body. Nothing is sent unless everything in it is fine.
    pub(crate) fn read(
        shared: &Shared,
        app: Arc<App>,
        body: &'a [u8],
        is_batch: bool,
        now: Instant,
    ) -> Result<Self, ApiError> {
        let body = std::str::from_utf8(body)
            .map_err(|_| ApiError::bad_request("the body must be UTF-8"))?;
        let events = match is_batch {
            false => vec![Event::parse(body)?],
            true => Event::parse_batch(body)?,
        };
        Ok(Self::check(shared, app, events, is_batch, now)?)
    }

    /// Checks events, whoever brings them.
    pub(super) fn check(
        shared: &Shared,
        app: Arc<App>,
        events: Vec<Event<'a>>,
        is_batch: bool,
        now: Instant,
    ) -> Result<Self, PublishError> {
        if shared.has_ended() {
            return Err(PublishError::Ended);
        }
        if !app.active {
            return Err(PublishError::Disabled);
        }
        let limits = &app.limits;
        if is_batch {
            let (count, max) = (events.len(), limits.batch_size);
            if count == 0 {
                return Err(InvalidEvent::Missing("batch").into());
            }
            if count > max {
                return Err(InvalidEvent::LargeBatch { count, max }.into());
            }
        }
        for (n, event) in events.iter().enumerate() {
            event.check(limits).map_err(|error| match is_batch {
                true => error.in_batch(n),
                false => error,
            })?;
        }
        let desk = shared.directory.desk(&app);
        desk.take_publishes(events.len(), now)
            .map_err(|wait| PublishError::TooOften {
                limit: limits.events_per_second,
                wait,
            })?;
        Ok(Self {
            desk,
            app,
            events,
            is_batch,
        })
    }

    /// How many will hear of it.
    pub(super) fn published(&self) -> Published {
        let mut subscriptions = 0;
        for event in &self.events {
            for (n, name) in event.channels().enumerate() {
                if !event.channels().take(n).any(|earlier| earlier == name)
                    && let Some(channel) = self.desk.channel(name)
                {
                    subscriptions += channel.occupancy().connections;
                }
            }
        }
        Published { subscriptions }
    }

    /// The events, ready to be sent.
    pub(crate) fn publication(&self) -> Publication {
        Publication::new(&self.desk, &self.app, &self.events)
    }

    /// The answer's body: the figures that were asked for, or an empty object.
    pub(crate) fn answer(&self) -> Cow<'static, str> {
        if !self.events.iter().any(|event| event.info().any()) {
            return Cow::Borrowed("{}");
        }
        let mut body = String::from(if self.is_batch {
            r#"{"batch":["#
        } else {
            r#"{"channels":{"#
        });
        for (n, event) in self.events.iter().enumerate() {
            match self.is_batch {
                // An entry of a batch goes to one channel, whose name it need not repeat.
                true => {
                    body.push_str(if n == 0 { "" } else { "," });
                    self.figures(
                        &mut body,
                        event.channels().next().unwrap_or_default(),
                        event.info(),
                    );
                }
                false => self.channels(&mut body, event),
            }
        }
        body.push_str(if self.is_batch { "]}" } else { "}}" });
        Cow::Owned(body)
    }

    fn channels(&self, body: &mut String, event: &Event<'_>) {
        let mut named: Vec<&str> = Vec::new();
        for channel in event.channels() {
            if named.contains(&channel) {
                continue;
            }
            body.push_str(if named.is_empty() { "" } else { "," });
            named.push(channel);
            push_string(body, channel);
            body.push(':');
            self.figures(body, channel, event.info());
        }
    }

    /// A user's own channel has no figures.
    fn figures(&self, body: &mut String, channel: &str, info: Info) {
        let kind = ChannelKind::of(channel);
        let occupancy = self
            .desk
            .channel(channel)
            .map(|channel| channel.occupancy())
            .unwrap_or_default();
        let users = (info.user_count && kind.is_presence()).then_some(occupancy.users);
        let connections =
            (info.subscription_count && kind != ChannelKind::User).then_some(occupancy.connections);
        push_counts(body, users, connections);
    }
}

/// Writes an object with those figures that there are.
pub(crate) fn push_counts(body: &mut String, users: Option<usize>, subscriptions: Option<usize>) {
    let mut separator = '{';
    for (name, count) in [("user_count", users), ("subscription_count", subscriptions)] {
        if let Some(count) = count {
            let _ = write!(body, r#"{separator}"{name}":{count}"#);
            separator = ',';
        }
    }
    body.push_str(if separator == '{' { "{}" } else { "}" });
}

/// Writes a text as a JSON string.
pub(crate) fn push_string(body: &mut String, text: &str) {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    crate::protocol::json::quote(&mut quoted, text);
    body.push_str(&String::from_utf8_lossy(&quoted));
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        let unavailable = |seconds| Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        };
        match error {
            PublishError::NoApp(id) => Self::no_app(&id),
            PublishError::Store(error) => error.into(),
            PublishError::Disabled => Self::disabled(),
            PublishError::Invalid(error) => error.into(),
            PublishError::TooOften { limit, wait } => {
                Self::too_often(&format!("events_per_second is {limit}"), wait)
            }
            PublishError::Overloaded | PublishError::Ended => unavailable(1),
        }
    }
}
