//! [`Event`]: what a publisher brings.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::app::Limits;
use super::channel::{ChannelName, InvalidName};
use super::json::{self, Str};
use super::socket_id::{InvalidSocketId, SocketId};
use super::{events, member::UserId};

/// What a publisher brings: a name, data, and the channels it goes to.
///
/// The data is text, JSON by convention, and reaches the clients as it is.
/// ```
/// use reverb_core::protocol::Event;
///
/// let event = Event::new("order.paid", r#"{"id":7}"#).to("private-orders").to("private-shop");
/// ```
/// Source: Pusher Channels HTTP API, `POST /apps/{id}/events`.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) data: Text<'a>,
    channels: Channels<'a>,
    pub(crate) except: Option<SocketId>,
    info: Info,
}

/// Text on its way into a frame: still the JSON string token it came as, or plain.
#[derive(Clone, Debug)]
pub(crate) enum Text<'a> {
    Token(&'a str),
    Plain(Cow<'a, str>),
}

impl Text<'_> {
    /// Writes it as a JSON string. A token goes out byte for byte as it came.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Token(token) => out.extend_from_slice(token.as_bytes()),
            Self::Plain(text) => json::quote(out, text),
        }
    }

    fn decoded(&self) -> Cow<'_, str> {
        match self {
            // Most names have nothing escaped in them.
            Self::Token(token) if !token.contains('\\') => {
                Cow::Borrowed(&token[1..token.len() - 1])
            }
            Self::Token(token) => json::string(token).unwrap_or_default(),
            Self::Plain(text) => Cow::Borrowed(text),
        }
    }

    /// Bytes of the decoded text if they are more than `max`.
    fn longer_than(&self, max: usize) -> Option<usize> {
        let length = match self {
            Self::Token(token) if token.len() - 2 <= max => return None,
            Self::Token(token) => json::decoded_len(token),
            Self::Plain(text) => text.len(),
        };
        (length > max).then_some(length)
    }
}

/// One channel, as most events have, without a list of its own.
#[derive(Clone, Debug)]
enum Channels<'a> {
    Few(Option<Str<'a>>),
    Many(Vec<Str<'a>>),
}

/// Which figures a publisher or reader asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Users of a presence channel.
    pub user_count: bool,
    /// Connections subscribed to a channel.
    pub subscription_count: bool,
    /// The last event of a cache channel.
    pub cache: bool,
}

impl Info {
    /// Reads a comma-separated list. What nobody knows is passed over, as at Pusher.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let mut info = Self::default();
        for attribute in list.split(',').map(str::trim) {
            match attribute {
                "user_count" => info.user_count = true,
                "subscription_count" => info.subscription_count = true,
                "cache" => info.cache = true,
                _ => {}
            }
        }
        info
    }

    /// Whether anything was asked for.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl<'a> Event<'a> {
    /// An event with this name and data, to nobody yet.
    #[must_use]
    pub fn new(name: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, str>>) -> Self {
        let (name, data) = (Text::Plain(name.into()), Text::Plain(data.into()));
        Self {
            name,
            data,
            channels: Channels::Few(None),
            except: None,
            info: Info::default(),
        }
    }

    /// Sends it to this channel too.
    #[must_use]
    pub fn to(mut self, channel: impl Into<Cow<'a, str>>) -> Self {
        let channel = Str(channel.into());
        self.channels = match self.channels {
            Channels::Few(None) => Channels::Few(Some(channel)),
            Channels::Few(Some(first)) => Channels::Many(vec![first, channel]),
            Channels::Many(mut all) => {
                all.push(channel);
                Channels::Many(all)
            }
        };
        self
    }

    /// Sends it to every connection that this user has signed in on.
    #[must_use]
    pub fn to_user(self, user: &UserId) -> Self {
        self.to(ChannelName::of_user(user.as_str()).to_string())
    }

    /// Leaves this connection out, usually that of whoever caused the event.
    #[must_use]
    pub fn except(mut self, socket: SocketId) -> Self {
        self.except = Some(socket);
        self
    }

    /// Reads the body of `POST events`.
    ///
    /// # Errors
    /// What is wrong with the body, apart from the app's limits: [`Self::check`] looks at those.
    pub fn parse(body: &'a str) -> Result<Self, InvalidEvent> {
        let raw: RawEvent<'a> = json::object(body).map_err(InvalidEvent::json)?;
        raw.into_event()
    }

    /// Reads the body of `POST batch_events`.
    ///
    /// # Errors
    /// What is wrong with the body or with the first bad entry.
    pub fn parse_batch(body: &'a str) -> Result<Vec<Self>, InvalidEvent> {
        #[derive(Deserialize)]
        struct Batch<'a> {
            #[serde(borrow)]
            batch: Vec<RawEvent<'a>>,
        }
        let raw: Batch<'a> = json::object(body).map_err(InvalidEvent::json)?;
        let entries = raw.batch.into_iter().enumerate();
        entries
            .map(|(n, entry)| entry.into_event().map_err(|e| e.in_batch(n)))
            .collect()
    }

    /// Checks the event against an app's limits and the rules for names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, limits: &Limits) -> Result<(), InvalidEvent> {
        let max = limits.event_name_length;
        if self.name.longer_than(max).is_some() {
            let length = self.name.decoded().chars().count();
            if length > max {
                return Err(InvalidEvent::LongName { length, max });
            }
        }
        let name = self.name.decoded();
        if name.is_empty() {
            return Err(InvalidEvent::Missing("name"));
        }
        if events::is_reserved(&name) {
            return Err(InvalidEvent::Reserved(name.into_owned()));
        }
        let max = limits.event_bytes;
        if let Some(length) = self.data.longer_than(max) {
            return Err(InvalidEvent::TooLarge { length, max });
        }
        let (count, max) = (self.channel_count(), limits.channels_per_event);
        if count == 0 {
            return Err(InvalidEvent::Missing("channels"));
        }
        if count > max {
            return Err(InvalidEvent::TooManyChannels { count, max });
        }
        for channel in self.channels() {
            ChannelName::check(channel, limits.channel_name_length)?;
        }
        Ok(())
    }

    /// The figures that the publisher wants to be told.
    #[must_use]
    pub fn info(&self) -> Info {
        self.info
    }

    /// The channels it goes to.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        let (few, many) = match &self.channels {
            Channels::Few(channel) => (channel.as_ref(), &[][..]),
            Channels::Many(channels) => (None, &channels[..]),
        };
        few.into_iter().chain(many).map(|channel| &*channel.0)
    }

    fn channel_count(&self) -> usize {
        match &self.channels {
            Channels::Few(channel) => usize::from(channel.is_some()),
            Channels::Many(channels) => channels.len(),
        }
    }
}

/// The body as it comes. Fields that are null count as left out; unknown ones are passed over.
#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<Str<'a>>,
    #[serde(borrow)]
    channels: Option<Vec<Str<'a>>>,
    #[serde(borrow)]
    socket_id: Option<Str<'a>>,
    #[serde(borrow)]
    info: Option<Str<'a>>,
}

impl<'a> RawEvent<'a> {
    fn into_event(self) -> Result<Event<'a>, InvalidEvent> {
        let name = self.name.ok_or(InvalidEvent::Missing("name"))?.get();
        if !name.starts_with('"') || !json::is_text(name) {
            return Err(InvalidEvent::NotText("name"));
        }
        let data = self.data.ok_or(InvalidEvent::Missing("data"))?.get();
        if !json::is_text(data) {
            return Err(InvalidEvent::NotText("data"));
        }
        let data = match data.starts_with('"') {
            true => Text::Token(data),
            false if json::is_too_deep(data) => return Err(InvalidEvent::TooDeep),
            // Not what the API asks for, but hand-made clients send objects: the clients get them as the text they are.
            false => Text::Plain(json::compact(data)),
        };
        let except = match self.socket_id.as_ref().map(|id| id.0.parse()) {
            None | Some(Err(InvalidSocketId::Foreign)) => None,
            Some(Ok(id)) => Some(id),
            Some(Err(InvalidSocketId::Malformed)) => return Err(InvalidEvent::SocketId),
        };
        let channels = match (self.channels, self.channel) {
            (Some(channels), _) => Channels::Many(channels),
            (None, channel) => Channels::Few(channel),
        };
        let info = self
            .info
            .map_or_else(Info::default, |info| Info::parse(&info.0));
        Ok(Event {
            name: Text::Token(name),
            data,
            channels,
            except,
            info,
        })
    }
}

/// Why an event cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// The body is not the JSON it should be.
    #[error("the body is not valid: {0}")]
    Json(String),
    /// A field that must be there is not.
    #[error("missing parameter: {0}")]
    Missing(&'static str),
    /// A field that must be text is something else, or has half a surrogate pair in it.
    #[error("{0} must be a string of valid characters")]
    NotText(&'static str),
    /// Data that is JSON itself nests too deep.
    #[error("data is nested deeper than {} levels", json::MAX_DEPTH)]
    TooDeep,
    /// The name is longer than the app allows.
    #[error("the event name has {length} characters, the limit event_name_length is {max}")]
    LongName {
        /// Characters it has.
        length: usize,
        /// The app's limit.
        max: usize,
    },
    /// Only the server itself may use these names: clients act on them.
    #[error("event names beginning with pusher: or pusher_internal: are reserved: {0:?}")]
    Reserved(String),
    /// The data is larger than the app allows.
    #[error("data has {length} bytes, the limit event_bytes is {max}")]
    TooLarge {
        /// Bytes it has, decoded.
        length: usize,
        /// The app's limit.
        max: usize,
    },
    /// More channels than one event may go to.
    #[error("the event goes to {count} channels, the limit channels_per_event is {max}")]
    TooManyChannels {
        /// Channels named.
        count: usize,
        /// The app's limit.
        max: usize,
    },
    /// A channel's name is none.
    #[error(transparent)]
    Channel(#[from] InvalidName),
    /// `socket_id` is not of the form `digits.digits`.
    #[error("socket_id must look like 1234.5678")]
    SocketId,
    /// More events than one batch may have.
    #[error("the batch has {count} events, the limit batch_size is {max}")]
    LargeBatch {
        /// Events in it.
        count: usize,
        /// The app's limit.
        max: usize,
    },
    /// An entry of a batch is wrong; nothing of the batch was sent.
    #[error("batch[{index}]: {reason}")]
    InBatch {
        /// Which, counted from 0.
        index: usize,
        /// What is wrong with it.
        reason: Box<Self>,
    },
}

impl InvalidEvent {
    fn json(error: serde_json::Error) -> Self {
        // It may quote what it did not expect, at any length.
        Self::Json(error.to_string().chars().take(300).collect())
    }

    pub(crate) fn in_batch(self, index: usize) -> Self {
        Self::InBatch {
            index,
            reason: Box::new(self),
        }
    }

    /// Whether the event is merely too large; HTTP has a status of its own for that.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::InBatch { reason, .. } => reason.is_too_large(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<(), InvalidEvent> {
        Event::parse(body)?.check(&Limits::default())
    }

    fn written(text: &Text<'_>) -> String {
        let mut out = Vec::new();
        text.write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn data_goes_out_as_it_came() {
        let event = Event::parse(
            r#"{"name":"App\\Events\\X","channel":"c","data":"{\"a\":\"\/\u00fc\"}"}"#,
        )
        .expect("an event");
        assert_eq!(written(&event.name), r#""App\\Events\\X""#);
        assert_eq!(written(&event.data), r#""{\"a\":\"\/\u00fc\"}""#);
    }

    #[test]
    fn an_object_becomes_the_text_it_is() {
        let event = Event::parse(r#"{"name":"n","channel":"c","data":{ "a": [1, "x y"] }}"#)
            .expect("an event");
        assert_eq!(written(&event.data), r#""{\"a\":[1,\"x y\"]}""#);
    }

    #[test]
    fn nulls_and_unknown_fields_do_not_matter() {
        assert_eq!(
            check(
                r#"{"name":"n","channels":["c"],"data":"","socket_id":null,"info":null,"tags":{},"channel":null}"#
            ),
            Ok(())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (
                r#"{"channel":"c","data":""}"#,
                InvalidEvent::Missing("name"),
            ),
            (
                r#"{"name":"","channel":"c","data":""}"#,
                InvalidEvent::Missing("name"),
            ),
            (
                r#"{"name":"n","channel":"c"}"#,
                InvalidEvent::Missing("data"),
            ),
            (
                r#"{"name":"n","data":""}"#,
                InvalidEvent::Missing("channels"),
            ),
            (
                r#"{"name":"n","data":"","channels":[]}"#,
                InvalidEvent::Missing("channels"),
            ),
            (
                r#"{"name":1,"channel":"c","data":""}"#,
                InvalidEvent::NotText("name"),
            ),
            (
                r#"{"name":"n","channel":"c","data":"\ud800"}"#,
                InvalidEvent::NotText("data"),
            ),
            (
                r#"{"name":"n","channel":"c","data":"","socket_id":"x"}"#,
                InvalidEvent::SocketId,
            ),
            (
                r#"{"name":"pusher:ping","channel":"c","data":""}"#,
                InvalidEvent::Reserved("pusher:ping".into()),
            ),
            (
                r#"{"name":"\u0070usher:ping","channel":"c","data":""}"#,
                InvalidEvent::Reserved("pusher:ping".into()),
            ),
            (
                r#"{"name":"n","channel":"a b","data":""}"#,
                InvalidEvent::Channel(InvalidName::Character(' ')),
            ),
        ];
        for (body, error) in cases {
            assert_eq!(check(body), Err(error), "{body}");
        }
        assert!(matches!(check("[]"), Err(InvalidEvent::Json(_))));
        assert!(matches!(
            check(r#"{"name":"n","name":"n","channel":"c","data":""}"#),
            Err(InvalidEvent::Json(_))
        ));
    }

    #[test]
    fn limits_count_decoded_bytes() {
        let body = |data: &str| format!(r#"{{"name":"n","channel":"c","data":"{data}"}}"#);
        assert_eq!(check(&body(&"x".repeat(10_240))), Ok(()));
        assert_eq!(check(&body(&"\\n".repeat(10_240))), Ok(()));
        assert_eq!(
            check(&body(&"x".repeat(10_241))),
            Err(InvalidEvent::TooLarge {
                length: 10_241,
                max: 10_240
            })
        );
        let named = |name: &str| format!(r#"{{"name":"{name}","channel":"c","data":""}}"#);
        assert_eq!(check(&named(&"é".repeat(200))), Ok(()));
        assert_eq!(
            check(&named(&"é".repeat(201))),
            Err(InvalidEvent::LongName {
                length: 201,
                max: 200
            })
        );
    }

    #[test]
    fn a_bad_entry_of_a_batch_is_named() {
        let batch =
            r#"{"batch":[{"name":"a","channel":"c","data":""},{"name":"b","channel":"c"}]}"#;
        let error = Event::parse_batch(batch).expect_err("the second has no data");
        assert_eq!(error.to_string(), "batch[1]: missing parameter: data");
    }
}
