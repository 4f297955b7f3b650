//! [`Session`]: one connection's rules. It decides, and never waits, writes or looks at a clock.
//!
//! Whoever runs a session hands it what happened ([`Session::handle_text`] and its siblings) together with a list for its
//! [`Wish`]es, and carries those out in order. A wish that needs knowledge of other connections is a [`Command`]; its
//! answer comes back as an [`Outcome`].
//!
//! ```
//! use std::time::Instant;
//! use reverb_core::protocol::{App, SocketId};
//! use reverb_core::session::{Now, Session, Wish, Wishes};
//!
//! let app = App::new("1", "key", "secret")?;
//! let mut wishes = Wishes::default();
//! let now = Now { instant: Instant::now(), unix: 1_700_000_000 };
//! let mut session = Session::new(&app, SocketId::new(1, 2), now.instant, &mut wishes);
//! session.handle_text(&app, r#"{"event":"pusher:ping","data":{}}"#, now, &mut wishes);
//! let said: Vec<String> = std::iter::from_fn(|| wishes.next())
//!     .map(|wish| match wish {
//!         Wish::Say(message) => message.text().to_owned(),
//!         other => format!("{other:?}"),
//!     })
//!     .collect();
//! assert!(said[0].contains("pusher:connection_established"));
//! assert_eq!(said[1], r#"{"event":"pusher:pong","data":{}}"#);
//! # Ok::<(), reverb_core::protocol::InvalidApp>(())
//! ```

mod client_event;
mod signin;
mod subscribe;
mod timers;

use std::collections::VecDeque;
use std::time::Instant;

use crate::protocol::incoming::ClientMessage;
use crate::protocol::{App, ChannelName, Close, Member, Outgoing, Rate, SocketId, UserId};

pub use signin::SignedIn;
pub use subscribe::{Refusal, Subscription};

/// One connection's rules and what it has joined.
///
/// Every `handle_*` takes the app as it is now, so that a rotated secret or a changed limit holds for open connections.
#[derive(Debug)]
pub struct Session {
    socket_id: SocketId,
    /// When the client was last heard; or, once it has been asked whether it is there, when that was.
    since: Instant,
    is_asked: bool,
    client_events: Rate,
    subscriptions: Vec<Subscription>,
    user: Option<Box<SignedIn>>,
}

/// What time it is: one that never goes back, for deadlines, and the wall's, for what expires on a date.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines and rates.
    pub instant: Instant,
    /// Seconds since 1970.
    pub unix: u64,
}

/// Where a connection sits in a channel. The hub gives it and may change it; it means nothing to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The hub's number for the channel.
    pub room: u32,
    /// The place in it.
    pub place: u32,
}

/// Which of a session's seats is meant: what it keeps under [`Session::reseat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chair {
    /// That of the subscription at this place in [`Session::subscriptions`].
    Subscription(u32),
    /// That of the signed-in user.
    User,
}

/// What a session wants. A new wish is a breaking change on purpose: whoever runs a session has to carry out every one.
#[derive(Debug)]
pub enum Wish {
    /// Send this.
    Say(Outgoing),
    /// Ask the hub.
    Ask(Command),
    /// Send a ping frame: every WebSocket stack answers it, where Java's and .NET's ignore `pusher:ping`.
    Ping,
    /// Close with this code. What was said before goes out first; nothing follows.
    Close(Close),
}

/// Wishes in order. The caller owns the list, so that an idle session needs none.
#[derive(Debug, Default)]
pub struct Wishes(VecDeque<Wish>);

impl Wishes {
    /// The next wish to carry out.
    #[expect(
        clippy::should_implement_trait,
        reason = "a queue that others fill between two calls is no iterator"
    )]
    pub fn next(&mut self) -> Option<Wish> {
        self.0.pop_front()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn say(&mut self, message: Outgoing) {
        self.0.push_back(Wish::Say(message));
    }

    fn ask(&mut self, command: Command) {
        self.0.push_back(Wish::Ask(command));
    }

    fn error(&mut self, code: Option<u16>, message: &str) {
        self.say(Outgoing::error(code, message));
    }

    fn close(&mut self, close: Close) {
        self.0.extend(close.announcement().map(Wish::Say));
        self.0.push_back(Wish::Close(close));
    }
}

/// What only the hub can do; a new one is a breaking change, as with [`Wish`]. Each but the last two is answered by an [`Outcome`].
#[derive(Debug)]
pub enum Command {
    /// Seat this connection in a channel.
    Subscribe {
        /// Which, checked and signed.
        channel: ChannelName,
        /// As whom, on presence channels.
        member: Option<Member>,
    },
    /// Tell once more what a subscriber of this seat is told first.
    Remind {
        /// Which channel.
        channel: ChannelName,
        /// Where the connection sits in it.
        seat: Seat,
    },
    /// The connection belongs to this user now.
    SignIn {
        /// Who.
        user: UserId,
        /// Whose coming and going to report; empty when the app does not want that.
        watchlist: Vec<UserId>,
    },
    /// Give the seat up.
    Unsubscribe {
        /// Which.
        seat: Seat,
        /// The chair that stood last in the session's list now stands here.
        moved: Option<(Chair, Seat)>,
    },
    /// Tell the others in the channel.
    ClientEvent {
        /// Where the sender sits; everybody else there hears it.
        seat: Seat,
        /// What they hear.
        message: Outgoing,
    },
}

/// What became of a [`Command`].
#[derive(Debug)]
pub enum Outcome {
    /// The connection is seated.
    Subscribed {
        /// The channel, by the name that all its subscribers share.
        channel: ChannelName,
        /// Where it sits.
        seat: Seat,
        /// As whom, on presence channels.
        user: Option<UserId>,
        /// What a subscriber is told first.
        welcome: Welcome,
    },
    /// What a subscriber is told first, once more.
    Reminded(Welcome),
    /// The connection is not seated.
    Refused {
        /// Where it wanted to sit.
        channel: ChannelName,
        /// Why it may not.
        refusal: Refusal,
    },
    /// The connection is its user's.
    SignedIn {
        /// Where it hears what is meant for the user.
        seat: Seat,
        /// Watched users that are there.
        online: Vec<UserId>,
        /// Watched users that are not.
        offline: Vec<UserId>,
    },
}

/// What a subscriber is told first, in this order.
#[derive(Debug)]
pub struct Welcome {
    /// That the subscription stands, with the members of a presence channel.
    pub succeeded: Outgoing,
    /// On cache channels: the last event, or that there is none.
    pub cached: Option<Outgoing>,
}

impl Session {
    /// Opens a session and greets the client. The app is known, active, and has room.
    pub fn new(app: &App, socket_id: SocketId, now: Instant, wishes: &mut Wishes) -> Self {
        wishes.say(Outgoing::connection_established(
            socket_id,
            app.activity_timeout.as_secs().max(1),
        ));
        Self {
            socket_id,
            since: now,
            is_asked: false,
            client_events: Rate::default(),
            subscriptions: Vec::new(),
            user: None,
        }
    }

    /// The client spoke.
    pub fn handle_text(&mut self, app: &App, text: &str, now: Now, wishes: &mut Wishes) {
        self.handle_alive(now.instant);
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Ping) => wishes.say(Outgoing::pong()),
            Ok(ClientMessage::Pong) => {}
            Ok(ClientMessage::Subscribe {
                channel,
                auth,
                channel_data,
            }) => {
                self.subscribe(
                    app,
                    &channel,
                    auth.as_deref(),
                    channel_data.as_deref(),
                    now,
                    wishes,
                );
            }
            Ok(ClientMessage::Unsubscribe { channel }) => self.unsubscribe(&channel, wishes),
            Ok(ClientMessage::SignIn { auth, user_data }) => {
                self.sign_in(app, &auth, &user_data, now, wishes)
            }
            Ok(ClientMessage::ClientEvent {
                event,
                channel,
                data,
            }) => {
                self.client_event(app, &event, &channel, data, now.instant, wishes);
            }
            Err(invalid) => wishes.error(None, &invalid.to_string()),
        }
    }

    /// The hub did, or did not, what was asked.
    pub fn handle_outcome(&mut self, outcome: Outcome, wishes: &mut Wishes) {
        match outcome {
            Outcome::Subscribed {
                channel,
                seat,
                user,
                welcome,
            } => {
                if self.subscriptions.is_empty() {
                    // Many have one and no second: a list that grows by itself begins with room for four.
                    self.subscriptions.reserve_exact(1);
                }
                self.subscriptions.push(Subscription {
                    channel,
                    seat,
                    user,
                });
                welcome.say(wishes);
            }
            Outcome::Reminded(welcome) => welcome.say(wishes),
            Outcome::Refused { channel, refusal } => refusal.say(channel.as_str(), wishes),
            Outcome::SignedIn {
                seat,
                online,
                offline,
            } => self.signed_in(seat, &online, &offline, wishes),
        }
    }

    /// The name of this connection.
    #[must_use]
    pub fn socket_id(&self) -> SocketId {
        self.socket_id
    }

    /// What it is subscribed to, in no order that matters.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Who has signed in on it.
    #[must_use]
    pub fn user(&self) -> Option<&SignedIn> {
        self.user.as_deref()
    }

    /// The hub moved one of the session's seats.
    pub fn reseat(&mut self, chair: Chair, seat: Seat) {
        match chair {
            Chair::Subscription(n) => {
                if let Some(subscription) = self.subscriptions.get_mut(n as usize) {
                    subscription.seat = seat;
                }
            }
            Chair::User => {
                if let Some(user) = &mut self.user {
                    user.seat = Some(seat);
                }
            }
        }
    }

    fn find(&self, channel: &str) -> Option<usize> {
        self.subscriptions
            .iter()
            .position(|subscription| subscription.channel.as_str() == channel)
    }
}

impl Welcome {
    fn say(self, wishes: &mut Wishes) {
        wishes.say(self.succeeded);
        if let Some(cached) = self.cached {
            wishes.say(cached);
        }
    }
}
