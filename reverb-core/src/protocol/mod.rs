//! The Pusher Channels protocol: names, messages, signatures and close codes.
//!
//! Nothing in here waits, locks or looks at a clock. Each item names the part of the protocol it comes from; the
//! protocol itself is documented by [Pusher](https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol/).

pub mod app;
pub mod auth;
pub mod channel;
pub mod close;
pub mod event;
pub mod incoming;
pub(crate) mod json;
pub mod member;
pub mod origins;
pub mod outgoing;
pub mod rate;
pub mod secret;
pub mod socket_id;
pub mod webhook;

pub use app::{App, AppId, AppKey, ClientEvents, InvalidApp, Limits};
pub use channel::{ChannelKind, ChannelName, InvalidName};
pub use close::{Close, InvalidClose};
pub use event::{Event, InvalidEvent};
pub use member::{Member, UserId};
pub use origins::Origins;
pub use outgoing::Outgoing;
pub use rate::Rate;
pub use secret::{OldSecret, Secret};
pub use socket_id::SocketId;
pub use webhook::{InvalidWebhook, Webhook, WebhookEvent};

/// Every event name of the protocol, once.
pub mod events {
    /// First message of the server; carries the socket id. Source: Connection.
    pub const CONNECTION_ESTABLISHED: &str = "pusher:connection_established";
    /// A command or a connection was refused. Source: Connection, `pusher:error`.
    pub const ERROR: &str = "pusher:error";
    /// Either side asks whether the other is there. Source: Connection, activity.
    pub const PING: &str = "pusher:ping";
    /// The answer to [`PING`].
    pub const PONG: &str = "pusher:pong";
    /// A client wants the events of a channel. Source: Channels, subscribe.
    pub const SUBSCRIBE: &str = "pusher:subscribe";
    /// A client has had enough of a channel.
    pub const UNSUBSCRIBE: &str = "pusher:unsubscribe";
    /// The subscription stands.
    pub const SUBSCRIPTION_SUCCEEDED: &str = "pusher_internal:subscription_succeeded";
    /// The subscription was refused; the connection stays.
    pub const SUBSCRIPTION_ERROR: &str = "pusher:subscription_error";
    /// How many connections a channel has; an app must ask for it.
    pub const SUBSCRIPTION_COUNT: &str = "pusher_internal:subscription_count";
    /// A user came into a presence channel. Source: Presence.
    pub const MEMBER_ADDED: &str = "pusher_internal:member_added";
    /// A user's last connection left a presence channel.
    pub const MEMBER_REMOVED: &str = "pusher_internal:member_removed";
    /// A cache channel has nothing to show yet. Source: Cache channels.
    pub const CACHE_MISS: &str = "pusher:cache_miss";
    /// A client says who its user is. Source: User authentication.
    pub const SIGNIN: &str = "pusher:signin";
    /// The user is known now.
    pub const SIGNIN_SUCCESS: &str = "pusher:signin_success";
    /// Users of the watchlist came or went. Source: Watchlist events.
    pub const WATCHLIST_EVENTS: &str = "pusher_internal:watchlist_events";
    /// What a client event's name begins with. Source: Client events.
    pub const CLIENT_PREFIX: &str = "client-";

    /// Names that only the server may use: a publisher or client that sends them is refused.
    #[must_use]
    pub fn is_reserved(name: &str) -> bool {
        name.starts_with("pusher:") || name.starts_with("pusher_internal:")
    }
}
