//! What must hold of every parser here, and of a whole [`Session`](crate::session::Session), whatever comes in.
//!
//! Each target takes any bytes and panics where a promise is broken; "does not panic" is the least of them. Most compare the
//! code with a second, naive reading of the same bytes. What a target cannot judge, it passes over.
//!
//! `fuzz/run` lets libFuzzer look for bytes that break a promise. The examples in `fuzz/seeds` run as ordinary tests, and so
//! do a few thousand mutations of them. Input is text in lines wherever the parser reads text, so that it can be written by
//! hand; each target says how.
//!
//! This is compiled for tests and with the feature `fuzz`, and is no part of the crate's API.

mod json;
mod members;
mod messages;
mod names;
mod requests;
mod session;
mod signatures;

#[cfg(feature = "hub")]
mod frames;
#[cfg(feature = "hub")]
mod heads;
#[cfg(feature = "hub")]
mod hyper;

#[cfg(test)]
mod seeds;

use std::fmt;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::protocol::{App, Outgoing, SocketId};

#[cfg(feature = "hub")]
pub use frames::frame_decoder;
#[cfg(feature = "hub")]
pub use heads::{handshake, http_head};
pub use json::json;
pub use members::member;
pub use messages::{client_message, publish_body};
pub use names::{channel_name, origins};
pub use requests::signed_request;
pub use session::session;
pub use signatures::channel_auth;

/// A target: its name, which is that of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/seeds`; and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("channel_auth", channel_auth),
    ("channel_name", channel_name),
    ("client_message", client_message),
    #[cfg(feature = "hub")]
    ("frame_decoder", frame_decoder),
    #[cfg(feature = "hub")]
    ("handshake", handshake),
    #[cfg(feature = "hub")]
    ("http_head", http_head),
    ("json", json),
    ("member", member),
    ("origins", origins),
    ("publish_body", publish_body),
    ("session", session),
    ("signed_request", signed_request),
];

const SOCKET: SocketId = SocketId::new(1234, 1234);

/// The app of the protocol's published test vectors.
fn app() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        App::new("3", "278d425bdf160c739803", "7ad3773142a6692b25b8").expect("an app")
    })
}

fn value(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// Whether it is JSON by the grammar alone. [`value`] wants more: no half surrogate pairs, numbers that fit, and at most 127
/// levels.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The fields of a JSON object as the tokens they are, each as often as it comes.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether one of these names comes twice.
    fn have_twins(&self, names: &[&str]) -> bool {
        let count = |name: &str| self.0.iter().filter(|field| field.0 == name).count();
        names.iter().any(|name| count(name) > 1)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|field| field.0 == name);
        found.map(|field| field.1.get())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// What a message of ours says: always JSON that any client can read, in one whole frame. RFC 6455 section 5.2.
fn said(message: &Outgoing) -> Value {
    let (frame, text) = (message.frame(), message.text());
    let header = match frame {
        [0x81, 127, rest @ ..] if rest.len() >= 8 => {
            let length = rest[..8].iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
            assert!(length > 0xffff, "in its shortest form");
            (10, length)
        }
        [0x81, 126, high, low, ..] => {
            let length = u64::from(*high) << 8 | u64::from(*low);
            assert!(length > 125, "in its shortest form");
            (4, length)
        }
        [0x81, length @ 0..=125, ..] => (2, u64::from(*length)),
        _ => panic!("no text frame of a server: {:?}", &frame[..2]),
    };
    assert_eq!(header, (frame.len() - text.len(), text.len() as u64));
    value(text).unwrap_or_else(|| panic!("no JSON: {text}"))
}

/// What a message of ours says in its `data`, which is the text of more JSON.
fn said_within(message: &Outgoing) -> String {
    let outer = said(message);
    let data = outer["data"].as_str().expect("data is text");
    assert!(is_json(data), "no JSON: {data}");
    data.to_owned()
}

/// Numbers that depend on nothing but what they are begun with, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn of(data: &[u8]) -> Self {
        let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}
