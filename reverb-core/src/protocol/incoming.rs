//! [`ClientMessage`]: all a client can say.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::events;
use super::json::{self, Str};

/// All a client can say. Source: Pusher Channels protocol 7, events from client to server.
/// ```
/// use reverb_core::protocol::incoming::ClientMessage;
///
/// let text = r#"{"event":"pusher:subscribe","data":{"channel":"lobby"}}"#;
/// assert!(matches!(
///     ClientMessage::parse(text)?,
///     ClientMessage::Subscribe { channel, .. } if channel == "lobby"
/// ));
/// # Ok::<(), reverb_core::protocol::incoming::InvalidMessage>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientMessage<'a> {
    /// Are you there?
    Ping,
    /// I am here.
    Pong,
    /// I want the events of a channel.
    Subscribe {
        /// Which.
        channel: Cow<'a, str>,
        /// `key:signature`; empty or missing where none is needed.
        auth: Option<Cow<'a, str>>,
        /// For presence channels: who I am, as the text that was signed.
        channel_data: Option<Cow<'a, str>>,
    },
    /// I have had enough of a channel.
    Unsubscribe {
        /// Which.
        channel: Cow<'a, str>,
    },
    /// This is my user.
    SignIn {
        /// `key:signature`
        auth: Cow<'a, str>,
        /// Who it is, as the text that was signed.
        user_data: Cow<'a, str>,
    },
    /// Tell the other subscribers.
    ClientEvent {
        /// Begins with `client-`.
        event: Cow<'a, str>,
        /// Where.
        channel: Cow<'a, str>,
        /// Any JSON, as it came; `None` if there was none.
        data: Option<&'a str>,
    },
}

impl<'a> ClientMessage<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// What is wrong with it, in words the client's developer knows.
    pub fn parse(text: &'a str) -> Result<Self, InvalidMessage> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow)]
            event: Option<Str<'a>>,
            // Only client events have a channel here; what others put there does not matter.
            #[serde(borrow)]
            channel: Option<&'a RawValue>,
            // `null` is data too, for a client event.
            #[serde(borrow, default, deserialize_with = "even_null")]
            data: Option<&'a RawValue>,
        }
        let message: Envelope<'a> = json::object(text).map_err(|_| InvalidMessage::Json)?;
        let event = message.event.ok_or(InvalidMessage::Missing("event"))?.0;
        if event.starts_with(events::CLIENT_PREFIX) {
            let channel = message
                .channel
                .and_then(|channel| json::string(channel.get()).ok());
            let channel = channel.ok_or(InvalidMessage::Missing("channel"))?;
            if let Some(data) = message.data.map(RawValue::get) {
                if !json::is_text(data) {
                    return Err(InvalidMessage::Json);
                }
                if json::is_too_deep(data) {
                    return Err(InvalidMessage::TooDeep);
                }
            }
            return Ok(Self::ClientEvent {
                event,
                channel,
                data: message.data.map(RawValue::get),
            });
        }
        match &*event {
            events::PING => Ok(Self::Ping),
            events::PONG => Ok(Self::Pong),
            events::SUBSCRIBE => {
                let Arguments {
                    channel,
                    auth,
                    channel_data,
                    ..
                } = Arguments::parse(message.data)?;
                let channel = channel.ok_or(InvalidMessage::Missing("data.channel"))?;
                Ok(Self::Subscribe {
                    channel,
                    auth,
                    channel_data,
                })
            }
            events::UNSUBSCRIBE => {
                let channel = Arguments::parse(message.data)?.channel;
                Ok(Self::Unsubscribe {
                    channel: channel.ok_or(InvalidMessage::Missing("data.channel"))?,
                })
            }
            events::SIGNIN => {
                let Arguments {
                    auth, user_data, ..
                } = Arguments::parse(message.data)?;
                let auth = auth.ok_or(InvalidMessage::Missing("data.auth"))?;
                Ok(Self::SignIn {
                    auth,
                    user_data: user_data.ok_or(InvalidMessage::Missing("data.user_data"))?,
                })
            }
            other => Err(InvalidMessage::Unsupported(
                other.chars().take(100).collect(),
            )),
        }
    }
}

fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What the `data` of any command can hold.
#[derive(Default)]
struct Arguments<'a> {
    channel: Option<Cow<'a, str>>,
    auth: Option<Cow<'a, str>>,
    channel_data: Option<Cow<'a, str>>,
    user_data: Option<Cow<'a, str>>,
}

impl<'a> Arguments<'a> {
    fn parse(data: Option<&'a RawValue>) -> Result<Self, InvalidMessage> {
        let Some(data) = data.map(RawValue::get).filter(|data| *data != "null") else {
            return Ok(Self::default());
        };
        if !data.starts_with('"') {
            return Self::from_object(data);
        }
        // Some clients encode the object a second time.
        let text = json::string(data).map_err(|_| InvalidMessage::Json)?;
        let Arguments {
            channel,
            auth,
            channel_data,
            user_data,
        } = Arguments::from_object(&text)?;
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Ok(Self {
            channel: own(channel),
            auth: own(auth),
            channel_data: own(channel_data),
            user_data: own(user_data),
        })
    }

    fn from_object(text: &'a str) -> Result<Self, InvalidMessage> {
        #[derive(Deserialize)]
        struct Object<'a> {
            #[serde(borrow)]
            channel: Option<Str<'a>>,
            #[serde(borrow)]
            auth: Option<Str<'a>>,
            #[serde(borrow)]
            channel_data: Option<Str<'a>>,
            #[serde(borrow)]
            user_data: Option<Str<'a>>,
        }
        if !text.trim_start().starts_with('{') {
            return Err(InvalidMessage::Missing("data"));
        }
        let object: Object<'a> = json::object(text).map_err(|_| InvalidMessage::Parameters)?;
        let text = |field: Option<Str<'a>>| field.map(|text| text.0);
        Ok(Self {
            channel: text(object.channel),
            auth: text(object.auth),
            channel_data: text(object.channel_data),
            user_data: text(object.user_data),
        })
    }
}

/// Why a client's message means nothing. The connection stays open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// No JSON object, or one with a field twice.
    #[error("Received invalid JSON")]
    Json,
    /// Data for other clients nests too deep.
    #[error("data is nested deeper than {} levels", json::MAX_DEPTH)]
    TooDeep,
    /// A field that must be there is not.
    #[error("Missing parameter: {0}")]
    Missing(&'static str),
    /// A field of `data` is of another type than it should be.
    #[error("Invalid parameters: channel, auth, channel_data and user_data must be strings")]
    Parameters,
    /// Neither a command nor a client event.
    #[error("Unsupported event received on socket: '{0}'")]
    Unsupported(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_all_clients_are_understood() {
        for text in [
            r#"{"event":"pusher:ping","data":{}}"#,
            r#"{"event": "pusher:ping"}"#,
            r#"{"event":"pusher:ping","data":null}"#,
            r#"{"data":"","event":"pusher:ping"}"#,
        ] {
            assert!(
                matches!(ClientMessage::parse(text), Ok(ClientMessage::Ping)),
                "{text}"
            );
        }
        let java = r#"{"event":"pusher:subscribe","data":{"channel":"c","auth":null,"channel_data":null},"userId":null}"#;
        assert!(matches!(
            ClientMessage::parse(java),
            Ok(ClientMessage::Subscribe {
                auth: None,
                channel_data: None,
                ..
            })
        ));
        let twice = r#"{"event":"pusher:subscribe","data":"{\"channel\":\"c\",\"auth\":\"k:s\"}"}"#;
        let Ok(ClientMessage::Subscribe { channel, auth, .. }) = ClientMessage::parse(twice) else {
            panic!("{twice}")
        };
        assert_eq!((&*channel, auth.as_deref()), ("c", Some("k:s")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("", "Received invalid JSON"),
            ("[]", "Received invalid JSON"),
            ("{}", "Missing parameter: event"),
            (
                r#"{"event":"pusher:subscribe"}"#,
                "Missing parameter: data.channel",
            ),
            (
                r#"{"event":"pusher:subscribe","data":[]}"#,
                "Missing parameter: data",
            ),
            (
                r#"{"event":"pusher:subscribe","data":{"channel":1}}"#,
                "Invalid parameters: channel, auth, channel_data and user_data must be strings",
            ),
            (
                r#"{"event":"pusher:signin","data":{"auth":"a:b"}}"#,
                "Missing parameter: data.user_data",
            ),
            (r#"{"event":"client-x"}"#, "Missing parameter: channel"),
            (
                r#"{"event":"pusher:member_added","data":{}}"#,
                "Unsupported event received on socket: 'pusher:member_added'",
            ),
            (r#"{"event":"a","event":"b"}"#, "Received invalid JSON"),
        ];
        for (text, error) in cases {
            let found = ClientMessage::parse(text).expect_err(text).to_string();
            assert_eq!(found, error, "{text}");
        }
    }
}
