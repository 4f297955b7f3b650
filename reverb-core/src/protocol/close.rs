//! [`Close`]: why a connection ends; the code tells the client what to do next.

use std::borrow::Cow;

use super::Outgoing;

/// Why a connection ends.
///
/// The code decides what clients do: 4000–4099 stop, 4100–4199 come back after a second or more, 4200–4299 come back at
/// once. pusher-js takes 4300 and above for a stop too, so none of those is here: they are sent as `pusher:error` only.
///
/// Source: Pusher Channels protocol 7, close codes; RFC 6455 section 7.4 for the codes below 4000.
/// ```
/// use reverb_core::protocol::Close;
///
/// let close = Close::with(4020, "The game is over")?;
/// assert!(close.announcement().is_some_and(|message| message.text().contains("4020")));
/// assert!(Close::with(1000, "").is_err(), "no code that clients act on");
/// # Ok::<(), reverb_core::protocol::InvalidClose>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The code in the close frame.
    pub code: u16,
    /// A short text for people, at most 123 bytes.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// The client closed, or has nothing more to hear.
    pub const NORMAL: Self = Self::new(1000, "");
    /// A frame that RFC 6455 forbids.
    pub const PROTOCOL: Self = Self::new(1002, "Malformed frame");
    /// Binary frames are no part of the protocol.
    pub const UNSUPPORTED: Self = Self::new(1003, "Only text frames are supported");
    /// A text frame that is not UTF-8.
    pub const NOT_UTF8: Self = Self::new(1007, "Text frames must be UTF-8");
    /// A message above the app's limit.
    pub const TOO_BIG: Self = Self::new(1009, "Message too large: see the limit event_bytes");
    /// Something broke on this side; the client comes back.
    pub const INTERNAL: Self = Self::new(1011, "Internal error");
    /// The app wants `wss://`.
    pub const TLS_ONLY: Self = Self::new(4000, "Application only accepts TLS connections");
    /// No app has this key.
    pub const NO_APP: Self = Self::new(4001, "Application does not exist");
    /// The app is switched off.
    pub const APP_DISABLED: Self = Self::new(4003, "Application is disabled");
    /// The app has as many connections as it may.
    pub const OVER_QUOTA: Self = Self::new(
        4004,
        "Application is over its connection quota (max_connections)",
    );
    /// A WebSocket on a path that is not `/app/{key}`.
    pub const NO_PATH: Self = Self::new(4005, "Path not found: connect to /app/{key}");
    /// `protocol` is no number.
    pub const BAD_VERSION: Self = Self::new(4006, "Invalid version string format");
    /// A protocol that nobody speaks any more, or not yet.
    pub const UNSUPPORTED_PROTOCOL: Self =
        Self::new(4007, "Unsupported protocol version: use 5, 6 or 7");
    /// The page's origin is not among those of the app.
    pub const ORIGIN: Self = Self::new(4009, "Origin not allowed");
    /// The app ended this user's connections.
    pub const TERMINATED: Self = Self::new(4009, "You got disconnected by the app");
    /// The server cannot take more now.
    pub const OVER_CAPACITY: Self = Self::new(4100, "Over capacity");
    /// The app cannot be looked up at the moment; never 4001, after which clients do not come back.
    pub const UNAVAILABLE: Self = Self::new(4100, "Applications cannot be looked up, try again");
    /// The client sends ping, pong or empty frames without end.
    pub const FLOOD: Self = Self::new(1008, "Too many control or empty frames");
    /// Whoever decides who may come in did not do so in time.
    pub const UNDECIDED: Self = Self::new(4100, "The server could not decide in time, try again");
    /// The client reads too slowly for what it is sent.
    pub const TOO_SLOW: Self = Self::new(4100, "Connection is too slow: events were lost");
    /// The server goes; another, or the next, takes over.
    pub const SHUTTING_DOWN: Self = Self::new(4200, "Server is shutting down, reconnect");
    /// Silence, even when asked.
    pub const NO_PONG: Self = Self::new(4201, "Pong reply not received");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }

    /// A refusal of one's own, as an authorizer of the hub may have.
    ///
    /// # Errors
    /// The code is not among 4000 to 4299, which clients know how to act on, or the reason does not fit into a close
    /// frame.
    pub fn with(code: u16, reason: impl Into<Cow<'static, str>>) -> Result<Self, InvalidClose> {
        let reason = reason.into();
        match reason.len() {
            _ if !(4000..=4299).contains(&code) => Err(InvalidClose::Code(code)),
            0..=123 => Ok(Self { code, reason }),
            length => Err(InvalidClose::Reason(length)),
        }
    }

    /// What is said before the close frame: a code of Pusher's is announced by `pusher:error`, since clients of protocol 5
    /// read nothing else.
    #[must_use]
    pub fn announcement(&self) -> Option<Outgoing> {
        (self.code >= 4000).then(|| Outgoing::error(Some(self.code), &self.reason))
    }
}

/// Why a code and a reason make no [`Close`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClose {
    /// Clients would not know what to do.
    #[error(
        "a close code is 4000 to 4099 (stop), 4100 to 4199 (wait) or 4200 to 4299 (come back), not {0}"
    )]
    Code(u16),
    /// A close frame has room for so much.
    #[error("the reason of a close has at most 123 bytes, not {0}")]
    Reason(usize),
}
