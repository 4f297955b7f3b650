//! A whole [`Session`], led through a script: what a client says, what the hub answers, and time.
//!
//! A script has one line per step. The first character says what happens; other lines, and steps that make no sense, are
//! passed over. The transcripts in `reverb-core/tests/transcripts` are scripts too.
//!
//! ```text
//! > TEXT                 the client sends this; «auth CHANNEL», «auth CHANNEL DATA», «user DATA» are the app's signatures
//! + CHANNEL DATA         the client subscribes, rightly signed; DATA, which may be left out, is its channel_data
//! - CHANNEL              it unsubscribes
//! @ DATA                 it signs in as DATA, rightly signed
//! * CHANNEL EVENT DATA   it sends a client event
//! . pong                 a ping or pong frame of its own
//! ~ 30s                  time passes; without the s, milliseconds
//! ! NAME = NUMBER        the app changes: a limit, its activity_timeout in seconds, client_events to off, members or all
//! ? full                 from now on the hub answers so; ? later: it thinks; ? denied WORDS; ? seat: as in the beginning
//! =                      the hub decides what it has thought about longest
//! & 3                    the hub moves the seat that is the third, counted from 0
//! r                      what a subscriber is told first comes once more
//! ```

mod house;
mod judge;

use std::borrow::Cow;
use std::time::Duration;

use crate::protocol::{App, ClientEvents, auth, json};

use super::SOCKET;
use house::{Answer, House};

/// A script.
pub fn session(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut house = House::new(super::app().clone());
    for line in script.lines().take(400) {
        let mut letters = line.chars();
        let mark = letters.next();
        step(&mut house, mark, letters.as_str().trim());
        if house.is_closed {
            return;
        }
    }
}

fn step(house: &mut House, mark: Option<char>, rest: &str) {
    match mark {
        Some('>') => {
            let text = signed(&house.app, rest);
            house.client_says(&text);
        }
        Some('+') => {
            let (channel, data) = match rest.split_once(' ') {
                Some((channel, data)) => (channel, Some(data)),
                None => (rest, None),
            };
            let auth = auth::channel_auth(&house.app, SOCKET, channel, data);
            let mut fields = vec![("channel", channel), ("auth", &auth)];
            fields.extend(data.map(|data| ("channel_data", data)));
            house.client_says(&command("pusher:subscribe", &fields));
        }
        Some('-') => house.client_says(&command("pusher:unsubscribe", &[("channel", rest)])),
        Some('@') => {
            let auth = auth::user_auth(&house.app, SOCKET, rest);
            let fields = [("auth", &*auth), ("user_data", rest)];
            house.client_says(&command("pusher:signin", &fields));
        }
        Some('*') => {
            let mut words = rest.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (channel, event, data) = (quoted(word()), quoted(word()), word());
            let data = if data.is_empty() { "null" } else { data };
            let text = format!(r#"{{"event":{event},"channel":{channel},"data":{data}}}"#);
            house.client_says(&text);
        }
        Some('.') => house.client_is_alive(),
        Some('~') => {
            let (number, unit) = match rest.strip_suffix('s') {
                Some(seconds) => (seconds, 1000),
                None => (rest, 1),
            };
            if let Ok(count) = number.parse::<u32>() {
                house.time_passes(Duration::from_millis(u64::from(count.min(1 << 30)) * unit));
            }
        }
        Some('!') => {
            if let Some((name, value)) = rest.split_once(" = ") {
                change(&mut house.app, name, value);
            }
        }
        Some('?') => {
            let (answer, words) = rest.split_once(' ').unwrap_or((rest, ""));
            house.answer = match answer {
                "full" => Answer::Full,
                "later" => Answer::Later,
                "denied" => Answer::Denied(words.to_owned()),
                _ => Answer::Seat,
            };
        }
        Some('=') => house.decides(),
        Some('&') => house.moves(rest.parse().unwrap_or_default()),
        Some('r') => house.reminds(),
        _ => {}
    }
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    json::quote(&mut out, text);
    String::from_utf8(out).expect("UTF-8")
}

fn command(event: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, text)| format!("\"{name}\":{}", quoted(text)))
        .collect();
    format!(r#"{{"event":"{event}","data":{{{}}}}}"#, fields.join(","))
}

/// Puts the app's signatures in.
fn signed<'a>(app: &App, text: &'a str) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..4 {
        let Some((before, rest)) = text.split_once('«') else {
            break;
        };
        let (inner, after) = rest.split_once('»').unwrap_or((rest, ""));
        let (what, about) = inner.split_once(' ').unwrap_or((inner, ""));
        let auth = match what {
            "user" => auth::user_auth(app, SOCKET, about),
            _ => {
                let (channel, data) = match about.split_once(' ') {
                    Some((channel, data)) => (channel, Some(data)),
                    None => (about, None),
                };
                auth::channel_auth(app, SOCKET, channel, data)
            }
        };
        text = format!("{before}{auth}{after}").into();
    }
    text
}

fn change(app: &mut App, name: &str, value: &str) {
    let limits = &mut app.limits;
    match (name, value) {
        ("client_events", "off") => app.client_events = ClientEvents::Off,
        ("client_events", "all") => app.client_events = ClientEvents::All,
        ("client_events", "members") => app.client_events = ClientEvents::Members,
        _ => {
            let Ok(number) = value.parse::<u64>() else {
                return;
            };
            let size = number as usize;
            match name {
                "activity_timeout" => app.activity_timeout = Duration::from_secs(number),
                "client_events_per_second" => limits.client_events_per_second = number as u32,
                "channel_name_length" => limits.channel_name_length = size.min(1000),
                "event_name_length" => limits.event_name_length = size,
                "event_bytes" => limits.event_bytes = size,
                "channels_per_connection" => limits.channels_per_connection = size,
                "presence_member_bytes" => limits.presence_member_bytes = size,
                "watchlist" => app.watchlist = number > 0,
                _ => {}
            }
        }
    }
}
