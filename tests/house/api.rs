//! A backend: signed requests, as SDKs send them.

use std::fmt::Write;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::App;
use serde_json::Value;

use crate::wire::{Reply, Wire};

/// A backend of one app, on one connection that is kept open.
pub(crate) struct Api {
    pub(crate) wire: Wire,
    pub(crate) app: App,
    /// Seconds since 1970, as this backend's clock has them.
    pub(crate) time: u64,
}

impl Api {
    pub(crate) fn new(wire: Wire, app: &App) -> Self {
        Self {
            wire,
            app: app.clone(),
            time: SystemClock.unix_time().as_secs(),
        }
    }

    /// `GET /apps/{id}{path}`; parameters in plain text.
    pub(crate) async fn get(&mut self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        let request = self.request("GET", path, parameters, b"");
        self.wire.send(request).await;
        self.wire.reply().await
    }

    /// `POST /apps/{id}{path}`
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Reply {
        let request = self.request("POST", path, &[], body.to_string().as_bytes());
        self.wire.send(request).await;
        self.wire.reply().await
    }

    /// Publishes one event to one channel.
    #[track_caller]
    pub(crate) fn publish(
        &mut self,
        channel: &str,
        event: &str,
        data: &str,
    ) -> impl Future<Output = ()> + '_ {
        let place = std::panic::Location::caller();
        let body = serde_json::json!({"name": event, "channels": [channel], "data": data});
        async move {
            let reply = self.post("/events", &body).await;
            assert_eq!((reply.status, &*reply.body), (200, "{}"), "at {place}");
        }
    }

    /// A signed request, ready to be sent.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        parameters: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<u8> {
        let path = format!("/apps/{}{path}", self.app.id);
        let target = self.target(method, &path, parameters, body);
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

    /// The path with the query that signs it.
    pub(crate) fn target(
        &self,
        method: &str,
        path: &str,
        parameters: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let (time, md5) = (self.time.to_string(), md5(body));
        let mut all = vec![
            ("auth_key", self.app.key.as_str()),
            ("auth_timestamp", &time),
            ("auth_version", "1.0"),
        ];
        if !body.is_empty() {
            all.push(("body_md5", &md5));
        }
        all.extend_from_slice(parameters);
        all.sort_unstable();
        let signature = sign(&self.app, &format!("{method}\n{path}\n{}", pairs(&all)));
        let encoded: Vec<(&str, String)> = all
            .iter()
            .map(|(key, value)| (*key, encode(value)))
            .collect();
        let encoded: Vec<(&str, &str)> = encoded
            .iter()
            .map(|(key, value)| (*key, &**value))
            .collect();
        format!("{path}?{}&auth_signature={signature}", pairs(&encoded))
    }
}

/// A signed GET or POST with everything about its query chosen by hand.
pub(crate) struct Handmade<'a> {
    pub(crate) method: &'a str,
    /// The path that is requested, and the one that is signed.
    pub(crate) paths: [&'a str; 2],
    /// The query that is sent, and the one that is signed; `auth_…` is added to both.
    pub(crate) queries: [&'a str; 2],
    pub(crate) body: &'a str,
}

impl Handmade<'_> {
    /// Sends it, and returns the response.
    pub(crate) async fn ask(&self, api: &mut Api) -> Reply {
        let Self {
            method,
            paths,
            queries,
            body,
        } = self;
        let time = api.time.to_string();
        let md5 = md5(body.as_bytes());
        let mut auth = vec![
            ("auth_key", api.app.key.as_str()),
            ("auth_timestamp", &time),
            ("auth_version", "1.0"),
        ];
        if !body.is_empty() {
            auth.push(("body_md5", &md5));
        }
        let and = |query: &str| {
            [&*pairs(&auth), query]
                .join("&")
                .trim_end_matches('&')
                .to_owned()
        };
        let signature = sign(
            &api.app,
            &format!("{method}\n{}\n{}", paths[1], and(queries[1])),
        );
        let (path, query, length) = (paths[0], and(queries[0]), body.len());
        api.wire
            .send(format!(
                "{method} {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
            .await;
        api.wire.reply().await
    }
}

/// `k=v&k=v`
pub(crate) fn pairs(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join("&")
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
                out.push(char::from(byte))
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
