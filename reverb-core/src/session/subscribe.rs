//! Subscribing and unsubscribing: name, kind, signature, presence data, answer.

use std::borrow::Cow;

use crate::protocol::auth::{self, BadAuth};
use crate::protocol::member::InvalidMember;
use crate::protocol::{App, ChannelKind, ChannelName, InvalidName, Member, Outgoing, UserId};

use super::{Chair, Command, Now, Seat, Session, Welcome, Wishes};

/// One channel that a session is subscribed to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Subscription {
    /// Which.
    pub channel: ChannelName,
    /// Where the connection sits in it.
    pub seat: Seat,
    /// As whom, on presence channels.
    pub user: Option<UserId>,
}

/// Why a subscription was refused. The connection stays, and the client is told twice: by `pusher:error`, which users
/// of Pusher expect, and by `pusher:subscription_error`, which pusher-js hands to the channel.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The channel's name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The app has not signed it.
    #[error(transparent)]
    Auth(#[from] BadAuth),
    /// A private channel needs a signature.
    #[error("Missing parameter: data.auth")]
    NoAuth,
    /// The channel of a user that this connection has not signed in as.
    #[error("Only a connection signed in as this user may subscribe to its channel")]
    NotTheUser,
    /// A presence channel needs to know who comes, from `channel_data` or from a sign-in.
    #[error("Missing parameter: data.channel_data")]
    NoMember,
    /// What should say who comes does not.
    #[error("Invalid channel_data: {0}")]
    Member(#[from] InvalidMember),
    /// The connection is in the channel already, as somebody else.
    #[error("Existing subscription to channel {0} as another user")]
    OtherUser(ChannelName),
    /// The user is too large.
    #[error("The user has {length} bytes, the limit presence_member_bytes is {max}")]
    LargeMember {
        /// Bytes of id and info.
        length: usize,
        /// The app's limit.
        max: usize,
    },
    /// The presence channel has as many users as it may.
    #[error("The maximum members per presence channel limit was reached: presence_members is {0}")]
    Full(usize),
    /// The connection has as many channels as it may.
    #[error("The connection has as many channels as it may: channels_per_connection is {0}")]
    TooManyChannels(usize),
    /// Whoever runs the server does not want it.
    #[error("{message}")]
    Denied {
        /// What the client is told as `type`.
        kind: Cow<'static, str>,
        /// What it is told as `status`.
        status: u16,
        /// What it is told as `error`.
        message: Cow<'static, str>,
    },
}

impl Refusal {
    /// The type and status that clients know, and the code of the `pusher:error`. Source: those of soketi, since Pusher
    /// documents none.
    fn labels(&self) -> (&str, u16, u16) {
        match self {
            Self::Auth(_)
            | Self::NoAuth
            | Self::NotTheUser
            | Self::NoMember
            | Self::Member(_)
            | Self::OtherUser(_) => ("AuthError", 401, 4009),
            Self::Name(_) => ("LimitReached", 4009, 4009),
            Self::Full(_) | Self::TooManyChannels(_) => ("LimitReached", 4100, 4100),
            Self::LargeMember { .. } => ("LimitReached", 4301, 4301),
            Self::Denied { kind, status, .. } => (kind, *status, 4009),
        }
    }

    pub(super) fn say(&self, channel: &str, wishes: &mut Wishes) {
        let (kind, status, code) = self.labels();
        let text = self.to_string();
        wishes.error(Some(code), &text);
        // A name that is none may be as long as a message; the client knows it by its beginning.
        let channel = channel
            .char_indices()
            .nth(300)
            .map_or(channel, |(end, _)| &channel[..end]);
        wishes.say(Outgoing::subscription_error(channel, kind, &text, status));
    }
}

impl Session {
    pub(super) fn subscribe(
        &mut self,
        app: &App,
        channel: &str,
        auth: Option<&str>,
        channel_data: Option<&str>,
        now: Now,
        wishes: &mut Wishes,
    ) {
        if let Err(refusal) = self.try_subscribe(app, channel, auth, channel_data, now, wishes) {
            refusal.say(channel, wishes);
        }
    }

    fn try_subscribe(
        &mut self,
        app: &App,
        channel: &str,
        auth: Option<&str>,
        channel_data: Option<&str>,
        now: Now,
        wishes: &mut Wishes,
    ) -> Result<(), Refusal> {
        let kind = ChannelName::check(channel, app.limits.channel_name_length)?;
        if kind == ChannelKind::User {
            return self.subscribe_to_user(channel, wishes);
        }
        // Only presence channels sign the data; what others send along does not count.
        let channel_data = channel_data.filter(|_| kind.is_presence());
        if kind.needs_signature() {
            let auth = auth
                .filter(|auth| !auth.is_empty())
                .ok_or(Refusal::NoAuth)?;
            auth::check_channel(app, auth, self.socket_id, channel, channel_data, now.unix)?;
        }
        let member = match kind.is_presence() {
            true => Some(self.member(app, channel_data)?),
            false => None,
        };
        let existing = self.find(channel).map(|n| &self.subscriptions[n]);
        match existing {
            Some(existing)
                if existing.user.as_ref() != member.as_ref().map(|member| &member.id) =>
            {
                Err(Refusal::OtherUser(existing.channel.clone()))
            }
            Some(existing) => {
                wishes.ask(Command::Remind {
                    channel: existing.channel.clone(),
                    seat: existing.seat,
                });
                Ok(())
            }
            None if self.subscriptions.len() >= app.limits.channels_per_connection => {
                Err(Refusal::TooManyChannels(app.limits.channels_per_connection))
            }
            None => {
                let channel = ChannelName::new(channel, app.limits.channel_name_length)?;
                wishes.ask(Command::Subscribe { channel, member });
                Ok(())
            }
        }
    }

    /// Who comes: what the app signed, or else who signed in.
    fn member(&self, app: &App, channel_data: Option<&str>) -> Result<Member, Refusal> {
        let member = match (channel_data, &self.user) {
            (Some(data), _) => Member::from_channel_data(data)?,
            (None, Some(user)) => user.member.clone(),
            (None, None) => return Err(Refusal::NoMember),
        };
        let (length, max) = (
            member.id.as_str().len() + member.info.len(),
            app.limits.presence_member_bytes,
        );
        if length > max {
            Err(Refusal::LargeMember { length, max })
        } else {
            Ok(member)
        }
    }

    /// Signing in has seated the connection already, so that it hears everything once; the client library wants an answer.
    fn subscribe_to_user(&mut self, channel: &str, wishes: &mut Wishes) -> Result<(), Refusal> {
        let user = channel.strip_prefix(ChannelName::USER_PREFIX);
        match &self.user {
            Some(own) if user == Some(own.member.id.as_str()) => {
                Welcome {
                    succeeded: Outgoing::subscription_succeeded(channel),
                    cached: None,
                }
                .say(wishes);
                Ok(())
            }
            _ => Err(Refusal::NotTheUser),
        }
    }

    /// Without a subscription there is nothing to do or to say: Echo's `leave` tries every kind of channel.
    pub(super) fn unsubscribe(&mut self, channel: &str, wishes: &mut Wishes) {
        let Some(n) = self.find(channel) else { return };
        let seat = self.subscriptions.swap_remove(n).seat;
        let moved = self
            .subscriptions
            .get(n)
            .map(|moved| (Chair::Subscription(n as u32), moved.seat));
        wishes.ask(Command::Unsubscribe { seat, moved });
        if self.subscriptions.is_empty() {
            self.subscriptions = Vec::new();
        }
    }
}
