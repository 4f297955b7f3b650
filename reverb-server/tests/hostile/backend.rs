//! [`Backend`]: signed requests, as SDKs send them, and the parts they are made of.

use std::fmt::Write;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::protocol::App;
use serde_json::{Value, json};

use crate::server::{Server, unix_time};
use crate::wire::{Reply, Wire};

/// A backend of one app, on one connection that is kept open.
pub(crate) struct Backend {
    pub(crate) wire: Wire,
    pub(crate) app: App,
}

impl Backend {
    #[track_caller]
    pub(crate) fn of(server: &Server, app: &App) -> Self {
        Self {
            wire: Wire::connect(server),
            app: app.clone(),
        }
    }

    /// `GET /apps/{id}{path}`
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.wire.send(request(&self.app, "GET", path, &[], b""));
        self.wire.reply()
    }

    /// `POST /apps/{id}{path}`
    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.wire
            .send(request(&self.app, "POST", path, &[], body.as_ref()));
        self.wire.reply()
    }

    /// Publishes one event to one channel.
    #[track_caller]
    pub(crate) fn publish(&mut self, channel: &str, event: &str, data: &str) {
        let reply = self.post("/events", event_to(channel, event, data));
        assert_eq!((reply.status, &*reply.body), (200, "{}"), "{reply:?}");
    }

    /// A figure of `GET /connections`.
    #[track_caller]
    pub(crate) fn connections(&mut self) -> u64 {
        let reply = self.get("/connections");
        assert_eq!(reply.status, 200, "{reply:?}");
        let body: Value = serde_json::from_str(&reply.body).expect("JSON");
        body["connections"].as_u64().expect("a number")
    }
}

/// The body of a publish.
pub(crate) fn event_to(channel: &str, event: &str, data: &str) -> String {
    json!({"name": event, "channels": [channel], "data": data}).to_string()
}

/// A signed request to `/apps/{id}{path}`, ready to be sent.
pub(crate) fn request(
    app: &App,
    method: &str,
    path: &str,
    parameters: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let target = target(
        app,
        method,
        &format!("/apps/{}{path}", app.id),
        parameters,
        body,
    );
    let length = match method {
        "POST" => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ),
        _ => String::new(),
    };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n");
    [head.as_bytes(), body].concat()
}

/// A signed publish with these header lines instead of the usual one for the length. What is sent as its body may be
/// another than the one that is signed.
pub(crate) fn publish_with(app: &App, headers: &str, body: &[u8], sent: &[u8]) -> Vec<u8> {
    let target = target(app, "POST", &format!("/apps/{}/events", app.id), &[], body);
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    [head.as_bytes(), sent].concat()
}

/// The path with the query that signs it.
pub(crate) fn target(
    app: &App,
    method: &str,
    path: &str,
    parameters: &[(&str, &str)],
    body: &[u8],
) -> String {
    let mut all = claims(app, unix_time(), body);
    all.extend(
        parameters
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned())),
    );
    all.sort_unstable();
    let signature = sign(app, &format!("{method}\n{path}\n{}", query(&all)));
    let encoded = all.into_iter().map(|(key, value)| (key, encode(&value)));
    let encoded: Vec<(&str, String)> = encoded.collect();
    format!("{path}?{}&auth_signature={signature}", query(&encoded))
}

/// What a request says of itself before it is signed, in the order in which it is signed.
pub(crate) fn claims(app: &App, time: u64, body: &[u8]) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("auth_key", app.key.to_string()),
        ("auth_timestamp", time.to_string()),
        ("auth_version", "1.0".to_owned()),
    ];
    if !body.is_empty() {
        all.push(("body_md5", md5(body)));
    }
    all
}

/// `k=v&k=v`
pub(crate) fn query(pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// In lower-case hex.
pub(crate) fn sign(app: &App, text: &str) -> String {
    HEXLOWER.encode(&app.secret.sign(&[text.as_bytes()]))
}

/// In lower-case hex.
pub(crate) fn md5(body: &[u8]) -> String {
    HEXLOWER.encode(&Md5::digest(body))
}

/// Percent-encodes all but the unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("a string takes it"),
        }
    }
    out
}
