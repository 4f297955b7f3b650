//! What clients and publishers send as JSON, against a reading by way of [`serde_json::Value`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::protocol::incoming::{ClientMessage, InvalidMessage};
use crate::protocol::{ChannelName, Event, InvalidEvent, Limits, Outgoing, SocketId, events, json};

use super::{Fields, depth, is_json, said, value};

/// A text message of a client.
pub fn client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parsed = ClientMessage::parse(text);
    match &parsed {
        Ok(message) => {
            assert!(is_json(text), "{text}");
            passed_on(message);
        }
        Err(invalid) => {
            let why = invalid.to_string();
            assert!(why.chars().count() <= 200, "{why}");
            assert_eq!(said(&Outgoing::error(None, &why))["data"]["message"], *why);
        }
    }
    let Some(whole) = value(text) else { return };
    match (plain(&whole), parsed) {
        (Reading::Is(expected), Ok(found)) => {
            assert_eq!(read(&found), Some(expected), "{text}");
        }
        (Reading::Is(_), Err(why)) => {
            // A field that comes twice is nothing that two readers would understand alike.
            assert!(has_twins(text, &whole), "{why}: {text}");
            assert!(matches!(
                why,
                InvalidMessage::Json | InvalidMessage::Parameters
            ));
        }
        (Reading::Nothing, found) => assert!(found.is_err(), "{found:?}: {text}"),
        (Reading::Unclear, _) => {}
    }
}

/// What the other clients would get of it.
fn passed_on(message: &ClientMessage<'_>) {
    let ClientMessage::ClientEvent {
        event,
        channel,
        data,
    } = message
    else {
        return;
    };
    let out = said(&Outgoing::client_event(event, channel, *data, None));
    assert_eq!(
        (&out["event"], &out["channel"]),
        (&Value::from(&**event), &Value::from(&**channel))
    );
    let Some(data) = data else {
        assert!(out.get("data").is_none());
        return;
    };
    match data.starts_with('"') {
        true => assert_eq!(Some(&out["data"]), value(data).as_ref()),
        false => assert_eq!(out["data"], *data),
    }
}

/// A message, however it was read.
#[derive(Debug, PartialEq)]
enum Plain {
    Ping,
    Pong,
    Subscribe(String, Option<String>, Option<String>),
    Unsubscribe(String),
    SignIn(String, String),
    ClientEvent(String, String, Option<Value>),
}

#[derive(Debug)]
enum Reading<T> {
    Is(T),
    /// It means nothing.
    Nothing,
    /// A `Value` cannot tell.
    Unclear,
}

fn read(message: &ClientMessage<'_>) -> Option<Plain> {
    let own = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
    Some(match message {
        ClientMessage::Ping => Plain::Ping,
        ClientMessage::Pong => Plain::Pong,
        ClientMessage::Subscribe {
            channel,
            auth,
            channel_data,
        } => Plain::Subscribe(channel.to_string(), own(auth), own(channel_data)),
        ClientMessage::Unsubscribe { channel } => Plain::Unsubscribe(channel.to_string()),
        ClientMessage::SignIn { auth, user_data } => {
            Plain::SignIn(auth.to_string(), user_data.to_string())
        }
        ClientMessage::ClientEvent {
            event,
            channel,
            data,
        } => {
            let data = match data {
                Some(data) => Some(value(data)?),
                None => None,
            };
            Plain::ClientEvent(event.to_string(), channel.to_string(), data)
        }
    })
}

fn plain(whole: &Value) -> Reading<Plain> {
    let Some(event) = whole.get("event").and_then(Value::as_str) else {
        return Reading::Nothing;
    };
    if event.starts_with("client-") {
        let channel = whole.get("channel").and_then(Value::as_str);
        let data = whole.get("data");
        let is_deep = data.is_some_and(|data| depth(data) > json::MAX_DEPTH);
        return match channel.filter(|_| !is_deep) {
            Some(channel) => Reading::Is(Plain::ClientEvent(
                event.to_owned(),
                channel.to_owned(),
                data.cloned(),
            )),
            None => Reading::Nothing,
        };
    }
    match event {
        events::PING => return Reading::Is(Plain::Ping),
        events::PONG => return Reading::Is(Plain::Pong),
        events::SUBSCRIBE | events::UNSUBSCRIBE | events::SIGNIN => {}
        _ => return Reading::Nothing,
    }
    let data = match whole.get("data") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(data)) => data.clone(),
        Some(Value::String(text)) => match value(text) {
            Some(Value::Object(data)) => data,
            None if is_json(text) => return Reading::Unclear,
            _ => return Reading::Nothing,
        },
        Some(_) => return Reading::Nothing,
    };
    let mut fields = BTreeMap::new();
    for name in ["channel", "auth", "channel_data", "user_data"] {
        match data.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                fields.insert(name, text.clone());
            }
            Some(_) => return Reading::Nothing,
        }
    }
    let mut field = |name| fields.remove(name);
    let found = match event {
        events::SUBSCRIBE => field("channel")
            .map(|channel| Plain::Subscribe(channel, field("auth"), field("channel_data"))),
        events::UNSUBSCRIBE => field("channel").map(Plain::Unsubscribe),
        _ => field("auth")
            .zip(field("user_data"))
            .map(|(auth, data)| Plain::SignIn(auth, data)),
    };
    found.map_or(Reading::Nothing, Reading::Is)
}

/// Whether a field comes twice in the message, or in its data.
fn has_twins(text: &str, whole: &Value) -> bool {
    const NAMES: [&str; 11] = [
        "event",
        "name",
        "data",
        "channel",
        "channels",
        "auth",
        "channel_data",
        "user_data",
        "socket_id",
        "info",
        "batch",
    ];
    let twins = |text: &str| Fields::read(text).is_some_and(|fields| fields.have_twins(&NAMES));
    let data = Fields::read(text).and_then(|fields| fields.get("data"));
    twins(text) || data.is_some_and(twins) || whole["data"].as_str().is_some_and(twins)
}

/// The body of `POST events`, and as well that of `POST batch_events`.
pub fn publish_body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let whole = value(text);
    let parsed = Event::parse(text);
    if let Some(whole) = &whole
        && let (true, Err(why)) = (event(whole).is_some(), &parsed)
    {
        assert!(has_twins(text, whole), "{why}: {text}");
    }
    match &parsed {
        Ok(found) => {
            assert!(is_json(text), "{text}");
            published(found, whole.as_ref());
        }
        Err(why) => assert!(why.to_string().len() <= 4000, "{why}"),
    }
    let entries = whole.as_ref().and_then(|whole| whole["batch"].as_array());
    match (Event::parse_batch(text), entries) {
        (Ok(found), entries) => {
            assert!(is_json(text), "{text}");
            assert!(entries.is_none_or(|entries| entries.len() == found.len()));
            for (n, found) in found.iter().enumerate() {
                published(found, entries.map(|entries| &entries[n]));
            }
        }
        (Err(InvalidEvent::InBatch { index, .. }), Some(entries)) => {
            assert!(entries[..index].iter().all(|entry| event(entry).is_some()));
            assert!(event(&entries[index]).is_none(), "{index}: {text}");
        }
        (Err(_), _) => {}
    }
}

/// An event as a `Value` tells it: its name, its data, its channels, and whom to leave out.
fn event(body: &Value) -> Option<(&str, &Value, Vec<&str>, Option<&str>)> {
    let body = body.as_object()?;
    let given = |name: &str| body.get(name).filter(|value| !value.is_null());
    let text = |name: &str| match given(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    };
    let name = text("name")??;
    let data = given("data")?;
    let (channel, info) = (text("channel")?, text("info")?);
    let _ = info;
    let channels = match given("channels") {
        None => channel.into_iter().collect(),
        Some(list) => list
            .as_array()?
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<_>>>()?,
    };
    let except = text("socket_id")?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_socket = |id: &str| {
        id.split_once('.')
            .is_some_and(|(a, b)| digits(a) && digits(b))
    };
    let is_fine = depth(data) <= json::MAX_DEPTH && except.is_none_or(is_socket);
    is_fine.then_some((name, data, channels, except))
}

/// What subscribers would get.
fn published(found: &Event<'_>, whole: Option<&Value>) {
    let expected = whole.map(|whole| event(whole).expect("an event, for a Value too"));
    let channels: Vec<&str> = found.channels().collect();
    let limits = Limits::default();
    let is_fine = found.check(&limits).is_ok();
    if let Some((name, data, named, except)) = &expected {
        assert_eq!(&channels, named);
        let ours = except.and_then(|id| id.parse::<SocketId>().ok());
        assert_eq!(found.except, ours);
        let length = name.chars().count();
        let bytes = data.as_str().map_or_else(|| text_of(found).len(), str::len);
        let may = (1..=limits.event_name_length).contains(&length)
            && !name.starts_with("pusher:")
            && !name.starts_with("pusher_internal:")
            && bytes <= limits.event_bytes
            && (1..=limits.channels_per_event).contains(&channels.len())
            && named
                .iter()
                .all(|name| ChannelName::check(name, limits.channel_name_length).is_ok());
        assert_eq!(is_fine, may, "{:?}", found.check(&limits));
    }
    for channel in channels.iter().take(3) {
        let message = Outgoing::event(found, channel);
        let out = said(&message);
        assert_eq!(out["channel"], **channel);
        let out_data = out["data"].as_str().expect("data is text");
        let token = &message.text()[message.data_token(channel, found)];
        assert_eq!(
            value(token).as_ref().and_then(Value::as_str),
            Some(out_data)
        );
        assert!(!is_fine || out_data.len() <= limits.event_bytes);
        let Some((name, data, ..)) = &expected else {
            continue;
        };
        assert_eq!(out["event"], **name);
        match data {
            Value::String(data) => assert_eq!(out_data, data),
            data => assert_eq!(value(out_data).as_ref(), Some(*data)),
        }
    }
}

/// The data as text, whatever it was.
fn text_of(found: &Event<'_>) -> String {
    let out = said(&Outgoing::event(found, "c"));
    out["data"].as_str().expect("data is text").to_owned()
}
