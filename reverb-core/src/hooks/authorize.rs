//! [`Authorizer`]: an embedder's own say in who comes in, and who is seated where.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;

use crate::protocol::{App, ChannelName, Close, Member, SocketId};

/// An embedder's own say in who comes in, and who is seated where.
///
/// It is asked last: the app exists and is active, the origin fits, the signature is right. So it can only refuse; it
/// cannot let anybody in whom the protocol would not. An answer that takes longer than five seconds, or a panic,
/// is a refusal that clients come back from. One who can answer at once costs no task.
///
/// While a subscription is being decided, whatever else its client says about that channel waits, so that commands keep
/// their order; other channels go on. Up to 64 subscriptions of one client are decided at a time.
///
/// ```
/// use reverb_core::hooks::{Authorizer, Denied, Pass, SubscribeRequest, Visit};
/// use reverb_core::protocol::Close;
///
/// /// Who the host's own session says it is.
/// struct Customer(String);
///
/// struct Shop;
///
/// #[async_trait::async_trait]
/// impl Authorizer for Shop {
///     async fn connect(&self, visit: &Visit) -> Result<Pass, Close> {
///         let cookie = visit.request.headers.get("cookie").and_then(|cookie| cookie.to_str().ok());
///         match cookie.and_then(|cookie| cookie.strip_prefix("customer=")) {
///             Some(name) => Ok(Pass::with(Customer(name.to_owned()))),
///             None => Err(Close::with(4010, "Log in first").expect("a code that stops clients")),
///         }
///     }
///
///     async fn subscribe(&self, request: &SubscribeRequest) -> Result<(), Denied> {
///         let Some(Customer(name)) = request.pass.get() else {
///             return Err(Denied::new("AuthError", 401, "Log in first"));
///         };
///         if request.channel.as_str() == format!("private-orders-{name}") {
///             Ok(())
///         } else {
///             Err(Denied::new("AuthError", 403, "Not your orders"))
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// May this client come in? The pass stays with the connection and is shown at each subscription.
    ///
    /// # Errors
    /// No: the client is closed with this code, which says what it does next. [`Close::with`] makes one.
    async fn connect(&self, visit: &Visit) -> Result<Pass, Close> {
        let _ = visit;
        Ok(Pass::default())
    }

    /// May this client be seated in this channel? The channel of a signed-in user, `#server-to-user-…`, is not asked about.
    ///
    /// # Errors
    /// No: the client is told `pusher:subscription_error` with this type, status and text; the connection stays.
    async fn subscribe(&self, request: &SubscribeRequest) -> Result<(), Denied> {
        let _ = request;
        Ok(())
    }
}

/// A client that wants to come in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Visit {
    /// The app whose key it names.
    pub app: Arc<App>,
    /// What it will be called.
    pub socket_id: SocketId,
    /// The handshake: its path, query, headers, and, behind a host like axum, what the host's layers have put into its
    /// extensions. [`Peer`](crate::http::Peer) is among them where the hub accepts the connections itself. Empty for
    /// [`Hub::connect`](crate::hub::Hub::connect) without a request.
    pub request: Parts,
}

impl Visit {
    pub(crate) fn new(app: Arc<App>, socket_id: SocketId, request: Parts) -> Self {
        Self {
            app,
            socket_id,
            request,
        }
    }
}

/// A client that wants to be seated in a channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscribeRequest {
    /// The app.
    pub app: Arc<App>,
    /// Which connection.
    pub socket_id: SocketId,
    /// What the authorizer gave it when it came in.
    pub pass: Pass,
    /// Where it wants to be seated.
    pub channel: ChannelName,
    /// As whom, on presence channels.
    pub member: Option<Member>,
}

impl SubscribeRequest {
    pub(crate) fn new(
        app: Arc<App>,
        socket_id: SocketId,
        pass: Pass,
        channel: ChannelName,
        member: Option<Member>,
    ) -> Self {
        Self {
            app,
            socket_id,
            pass,
            channel,
            member,
        }
    }
}

/// What an [`Authorizer`] knows of a connection, kept with it for as long as it lives. Nothing by default.
#[derive(Clone, Default)]
pub struct Pass(Option<Arc<dyn Any + Send + Sync>>);

impl Pass {
    /// A pass that carries a value.
    pub fn with<T: Send + Sync + 'static>(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// The value, if it carries one of this type.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is in it may be a secret.
        f.write_str(if self.is_empty() { "Pass" } else { "Pass(***)" })
    }
}

/// Why an [`Authorizer`] does not let a client into a channel, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Denied {
    /// The `type` of the `pusher:subscription_error`, as `AuthError`.
    pub kind: Cow<'static, str>,
    /// Its `status`, as of HTTP: 403, for instance.
    pub status: u16,
    /// Its `error`, for people.
    pub message: Cow<'static, str>,
}

impl Denied {
    /// A refusal with this type, status and text.
    pub fn new(
        kind: impl Into<Cow<'static, str>>,
        status: u16,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind: kind.into(),
            status,
            message: message.into(),
        }
    }
}
