//! [`Outgoing`]: all we say, written once as a finished frame.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

use super::event::Text;
use super::member::{Member, UserId};
use super::{Event, SocketId, events, json};

/// One message to a client, as a finished WebSocket text frame that all its receivers share.
///
/// Cloning copies a pointer. Transports other than WebSocket take [`Outgoing::text`].
/// ```
/// use reverb_core::protocol::{Event, Outgoing};
///
/// let event = Event::new("greeting", r#"{"text":"hi"}"#).to("lobby");
/// let message = Outgoing::event(&event, "lobby");
/// assert_eq!(message.text(), r#"{"event":"greeting","channel":"lobby","data":"{\"text\":\"hi\"}"}"#);
/// assert_eq!(message.frame()[0], 0x81, "a whole text frame");
/// ```
#[derive(Clone)]
pub struct Outgoing {
    frame: Arc<[u8]>,
}

/// Header of a server's frame: two bytes, and up to eight for the length. RFC 6455 section 5.2.
const HEADER: usize = 10;

impl Outgoing {
    /// Writes a text; `write` appends it to the buffer it is given.
    fn write(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            buffer.resize(HEADER, 0);
            write(buffer);
            let length = buffer.len() - HEADER;
            let start = match length {
                0..126 => {
                    buffer[HEADER - 1] = length as u8;
                    HEADER - 2
                }
                126..0x1_0000 => {
                    buffer[HEADER - 3] = 126;
                    buffer[HEADER - 2..HEADER].copy_from_slice(&(length as u16).to_be_bytes());
                    HEADER - 4
                }
                _ => {
                    buffer[1] = 127;
                    buffer[2..HEADER].copy_from_slice(&(length as u64).to_be_bytes());
                    0
                }
            };
            buffer[start] = 0x81;
            let frame = Arc::from(&buffer[start..]);
            // One huge message must not keep its buffer for good.
            if buffer.capacity() > 1 << 20 {
                *buffer = Vec::new();
            }
            Self { frame }
        })
    }

    /// The whole frame, ready for the wire.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The frame, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<[u8]> {
        self.frame.clone()
    }

    /// The text within the frame.
    #[must_use]
    pub fn text(&self) -> &str {
        let start = match self.frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        std::str::from_utf8(&self.frame[start..]).expect("a frame is written from text")
    }

    /// First message on a connection. Source: Connection, `pusher:connection_established`.
    #[must_use]
    pub fn connection_established(socket_id: SocketId, activity_timeout: u64) -> Self {
        Self::write(|out| {
            let _ = write!(
                out,
                r#"{{"event":"{}","data":"{{\"socket_id\":\"{socket_id}\",\"activity_timeout\":{activity_timeout}}}"}}"#,
                events::CONNECTION_ESTABLISHED
            );
        })
    }

    /// A command or a connection was refused. The data is an object, unlike everybody else's.
    #[must_use]
    pub fn error(code: Option<u16>, message: &str) -> Self {
        Self::write(|out| {
            let _ = write!(out, r#"{{"event":"{}","data":{{"code":"#, events::ERROR);
            let _ = match code {
                Some(code) => write!(out, "{code}"),
                None => write!(out, "null"),
            };
            out.extend_from_slice(br#","message":"#);
            json::quote(out, message);
            out.extend_from_slice(b"}}");
        })
    }

    /// Are you there?
    #[must_use]
    pub fn ping() -> Self {
        Self::bare(events::PING)
    }

    /// I am here.
    #[must_use]
    pub fn pong() -> Self {
        Self::bare(events::PONG)
    }

    fn bare(event: &str) -> Self {
        Self::write(|out| {
            let _ = write!(out, r#"{{"event":"{event}","data":{{}}}}"#);
        })
    }

    /// The subscription stands, on any channel but a presence channel.
    #[must_use]
    pub fn subscription_succeeded(channel: &str) -> Self {
        Self::on(events::SUBSCRIPTION_SUCCEEDED, channel, |out| {
            out.extend_from_slice(b"{}")
        })
    }

    /// The subscription to a presence channel stands. `ids` and `hash` are the insides of the list and of the object, as
    /// written by [`presence_id`] and [`presence_entry`], with commas between them.
    #[must_use]
    pub fn presence_succeeded(channel: &str, count: usize, ids: &[u8], hash: &[u8]) -> Self {
        Self::on(events::SUBSCRIPTION_SUCCEEDED, channel, |out| {
            let _ = write!(out, r#"{{\"presence\":{{\"count\":{count},\"ids\":["#);
            out.extend_from_slice(ids);
            out.extend_from_slice(br#"],\"hash\":{"#);
            out.extend_from_slice(hash);
            out.extend_from_slice(b"}}}");
        })
    }

    /// The subscription was refused. pusher-js and Echo hand this to the channel's error handlers.
    #[must_use]
    pub fn subscription_error(channel: &str, kind: &str, error: &str, status: u16) -> Self {
        Self::write(|out| {
            let _ = write!(
                out,
                r#"{{"event":"{}","channel":"#,
                events::SUBSCRIPTION_ERROR
            );
            json::quote(out, channel);
            out.extend_from_slice(br#","data":{"type":"#);
            json::quote(out, kind);
            out.extend_from_slice(br#","error":"#);
            json::quote(out, error);
            let _ = write!(out, r#","status":{status}}}}}"#);
        })
    }

    /// A published event.
    #[must_use]
    pub fn event(event: &Event<'_>, channel: &str) -> Self {
        Self::write(|out| {
            out.extend_from_slice(br#"{"event":"#);
            event.name.write(out);
            out.extend_from_slice(br#","channel":"#);
            json::quote(out, channel);
            out.extend_from_slice(br#","data":"#);
            event.data.write(out);
            out.push(b'}');
        })
    }

    /// An event that one client sends the others. `data` is JSON: a string stays what it is, anything else becomes the text
    /// of it.
    #[must_use]
    pub(crate) fn client_event(
        event: &str,
        channel: &str,
        data: Option<&str>,
        user: Option<&UserId>,
    ) -> Self {
        Self::write(|out| {
            out.extend_from_slice(br#"{"event":"#);
            json::quote(out, event);
            out.extend_from_slice(br#","channel":"#);
            json::quote(out, channel);
            if let Some(data) = data {
                out.extend_from_slice(br#","data":"#);
                match data.starts_with('"') {
                    true => Text::Token(data).write(out),
                    false => json::quote(out, data),
                }
            }
            if let Some(user) = user {
                out.extend_from_slice(br#","user_id":"#);
                json::quote(out, user.as_str());
            }
            out.push(b'}');
        })
    }

    /// A user came.
    #[must_use]
    pub fn member_added(channel: &str, member: &Member) -> Self {
        Self::on(events::MEMBER_ADDED, channel, |out| {
            out.extend_from_slice(br#"{\"user_id\":"#);
            presence_id(out, &member.id);
            out.extend_from_slice(br#",\"user_info\":"#);
            json::escape(out, &member.info);
            out.push(b'}');
        })
    }

    /// A user's last connection left.
    #[must_use]
    pub fn member_removed(channel: &str, user: &UserId) -> Self {
        Self::on(events::MEMBER_REMOVED, channel, |out| {
            out.extend_from_slice(br#"{\"user_id\":"#);
            presence_id(out, user);
            out.push(b'}');
        })
    }

    /// So many connections are subscribed.
    #[must_use]
    pub fn subscription_count(channel: &str, count: usize) -> Self {
        Self::on(events::SUBSCRIPTION_COUNT, channel, |out| {
            let _ = write!(out, r#"{{\"subscription_count\":{count}}}"#);
        })
    }

    /// The cache channel has nothing to show. Swift drops an event without data, hence the empty object.
    #[must_use]
    pub fn cache_miss(channel: &str) -> Self {
        Self::on(events::CACHE_MISS, channel, |out| {
            out.extend_from_slice(b"{}")
        })
    }

    /// The user is known now; `user_data` is the very text the client sent.
    #[must_use]
    pub fn signin_success(user_data: &str) -> Self {
        Self::write(|out| {
            let _ = write!(
                out,
                r#"{{"event":"{}","data":{{"user_data":"#,
                events::SIGNIN_SUCCESS
            );
            json::quote(out, user_data);
            out.extend_from_slice(b"}}");
        })
    }

    /// These watched users are online, those are not. A group without users is left out.
    #[must_use]
    pub fn watchlist_events(online: &[UserId], offline: &[UserId]) -> Self {
        let mut list = Vec::new();
        for (name, users) in [("online", online), ("offline", offline)] {
            if users.is_empty() {
                continue;
            }
            list.extend_from_slice(if list.is_empty() { b"" } else { b"," });
            let _ = write!(list, r#"{{\"name\":\"{name}\",\"user_ids\":["#);
            for (n, user) in users.iter().enumerate() {
                list.extend_from_slice(if n == 0 { b"" } else { b"," });
                presence_id(&mut list, user);
            }
            list.extend_from_slice(b"]}");
        }
        Self::write(|out| {
            let _ = write!(
                out,
                r#"{{"event":"{}","data":"{{\"events\":["#,
                events::WATCHLIST_EVENTS
            );
            out.extend_from_slice(&list);
            out.extend_from_slice(br#"]}"}"#);
        })
    }

    /// A message on a channel whose data is text; `data` writes it as it stands between the quotes.
    fn on(event: &str, channel: &str, data: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::write(|out| {
            let _ = write!(out, r#"{{"event":"{event}","channel":"#);
            json::quote(out, channel);
            out.extend_from_slice(br#","data":""#);
            data(out);
            out.extend_from_slice(b"\"}");
        })
    }

    /// The JSON of `data` in a frame made by [`Self::event`]: everything between its `"data":` and the last brace.
    #[cfg(any(test, feature = "hub"))]
    pub(crate) fn data_token(&self, channel: &str, event: &Event<'_>) -> std::ops::Range<usize> {
        let mut head = Vec::new();
        event.name.write(&mut head);
        json::quote(&mut head, channel);
        let start = br#"{"event":,"channel":,"data":"#.len() + head.len();
        start..self.text().len() - 1
    }
}

/// Writes a user's id as it stands in the list of a snapshot, one level of quoting down.
pub fn presence_id(out: &mut Vec<u8>, user: &UserId) {
    let mut quoted = Vec::with_capacity(user.as_str().len() + 2);
    json::quote(&mut quoted, user.as_str());
    json::escape(out, &String::from_utf8_lossy(&quoted));
}

/// Writes a user as it stands in the object of a snapshot, one level of quoting down.
pub fn presence_entry(out: &mut Vec<u8>, member: &Member) {
    presence_id(out, &member.id);
    out.push(b':');
    json::escape(out, &member.info);
}

impl fmt::Debug for Outgoing {
    /// Names the event only: what it carries is nobody's business but the client's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.text().split('"').nth(3).unwrap_or_default();
        f.debug_struct("Outgoing")
            .field("event", &event)
            .field("bytes", &self.frame.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, info: &str) -> Member {
        Member {
            id: UserId::new(id).expect("an id"),
            info: info.into(),
        }
    }

    #[test]
    fn messages_are_written_as_the_clients_read_them() {
        let established = Outgoing::connection_established(SocketId::new(1, 2), 30);
        assert_eq!(
            established.text(),
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":30}"}"#
        );
        assert_eq!(
            Outgoing::error(None, "a \"b\"").text(),
            r#"{"event":"pusher:error","data":{"code":null,"message":"a \"b\""}}"#
        );
        assert_eq!(
            Outgoing::pong().text(),
            r#"{"event":"pusher:pong","data":{}}"#
        );
        assert_eq!(
            Outgoing::subscription_succeeded("c").text(),
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"c","data":"{}"}"#
        );
        assert_eq!(
            Outgoing::member_added("presence-r", &member("2", r#"{"n":"B\"b"}"#)).text(),
            r#"{"event":"pusher_internal:member_added","channel":"presence-r","data":"{\"user_id\":\"2\",\"user_info\":{\"n\":\"B\\\"b\"}}"}"#
        );
        let (mut ids, mut hash) = (Vec::new(), Vec::new());
        presence_id(&mut ids, &member("q\"", "").id);
        presence_entry(&mut hash, &member("q\"", "{}"));
        let text = Outgoing::presence_succeeded("presence-r", 1, &ids, &hash);
        let outer: serde_json::Value = serde_json::from_str(text.text()).expect("JSON");
        let inner: serde_json::Value =
            serde_json::from_str(outer["data"].as_str().expect("text")).expect("JSON");
        assert_eq!(
            inner,
            serde_json::json!({"presence": {"count": 1, "ids": ["q\""], "hash": {"q\"": {}}}})
        );
    }

    #[test]
    fn a_watchlist_names_only_groups_with_users() {
        let ann = [UserId::new("ann").expect("an id")];
        assert_eq!(
            Outgoing::watchlist_events(&ann, &[]).text(),
            r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"ann\"]}]}"}"#
        );
    }

    #[test]
    fn frames_of_every_length_have_the_right_header() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let message = Outgoing::write(|out| out.resize(HEADER + length, b'x'));
            assert_eq!(message.frame().len(), header + length);
            assert_eq!(message.text().len(), length);
        }
    }

    #[test]
    fn client_data_is_text_in_the_end() {
        let text = |data: Option<&str>| {
            Outgoing::client_event("client-x", "private-c", data, None)
                .text()
                .to_owned()
        };
        assert_eq!(
            text(Some(r#"{"on":true}"#)),
            r#"{"event":"client-x","channel":"private-c","data":"{\"on\":true}"}"#
        );
        assert_eq!(
            text(Some(r#""hi""#)),
            r#"{"event":"client-x","channel":"private-c","data":"hi"}"#
        );
        assert_eq!(text(None), r#"{"event":"client-x","channel":"private-c"}"#);
    }

    #[test]
    fn the_data_of_an_event_is_found_again() {
        let event = Event::new("e\"v", "{\"a\":1}").to("cache-c");
        let frame = Outgoing::event(&event, "cache-c");
        assert_eq!(
            &frame.text()[frame.data_token("cache-c", &event)],
            r#""{\"a\":1}""#
        );
    }
}
