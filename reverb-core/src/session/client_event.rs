//! Client events: who may send them, where, and how often.

use std::time::Instant;

use crate::protocol::{App, ChannelKind, ClientEvents, Outgoing, json};

use super::{Command, Session, Wishes};

/// Why a client event was not passed on. It is told by `pusher:error`; the connection stays.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error(
        "To send client events, you must enable this feature: client_events is off for this app"
    )]
    Disabled,
    #[error("Client event rejected - only supported on private and presence channels")]
    Public,
    #[error("Client event rejected - not supported on encrypted channels")]
    Encrypted,
    #[error("The client is not a member of the specified channel")]
    NotSubscribed,
    #[error("Rate limit exceeded: client_events_per_second is {0}")]
    TooOften(u32),
    #[error("The event name has {length} characters, the limit event_name_length is {max}")]
    LongName { length: usize, max: usize },
    #[error("The data has {length} bytes, the limit event_bytes is {max}")]
    TooLarge { length: usize, max: usize },
}

impl Rejection {
    /// 4301 is what every server says for client events; as a close code it would stop pusher-js for good.
    const fn code(&self) -> u16 {
        match self {
            Self::NotSubscribed => 4009,
            _ => 4301,
        }
    }
}

impl Session {
    pub(super) fn client_event(
        &mut self,
        app: &App,
        event: &str,
        channel: &str,
        data: Option<&str>,
        now: Instant,
        wishes: &mut Wishes,
    ) {
        if let Err(rejection) = self.try_client_event(app, event, channel, data, now, wishes) {
            wishes.error(Some(rejection.code()), &rejection.to_string());
        }
    }

    fn try_client_event(
        &mut self,
        app: &App,
        event: &str,
        channel: &str,
        data: Option<&str>,
        now: Instant,
        wishes: &mut Wishes,
    ) -> Result<(), Rejection> {
        let kind = ChannelKind::of(channel);
        match (app.client_events, kind) {
            (ClientEvents::Off, _) => return Err(Rejection::Disabled),
            (_, kind) if kind.is_encrypted() => return Err(Rejection::Encrypted),
            (ClientEvents::Members, kind) if !kind.needs_signature() => {
                return Err(Rejection::Public);
            }
            _ => {}
        }
        let subscription = self
            .find(channel)
            .map(|n| &self.subscriptions[n])
            .ok_or(Rejection::NotSubscribed)?;
        let (length, max) = (event.chars().count(), app.limits.event_name_length);
        if length > max {
            return Err(Rejection::LongName { length, max });
        }
        let (length, max) = (data.map_or(0, decoded_len), app.limits.event_bytes);
        if length > max {
            return Err(Rejection::TooLarge { length, max });
        }
        let per_second = app.limits.client_events_per_second;
        self.client_events
            .take(1, per_second, now)
            .map_err(|_| Rejection::TooOften(per_second))?;
        // Only what we know of the sender goes out: other fields of its message are not passed on.
        let message = Outgoing::client_event(
            event,
            subscription.channel.as_str(),
            data,
            subscription.user.as_ref(),
        );
        wishes.ask(Command::ClientEvent {
            seat: subscription.seat,
            message,
        });
        Ok(())
    }
}

fn decoded_len(data: &str) -> usize {
    if data.starts_with('"') {
        json::decoded_len(data)
    } else {
        data.len()
    }
}
