//! Connections that speak something else than WebSocket. Source: `Transport`, `Hub::connect`.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use reverb_core::protocol::{Close, Outgoing};
use reverb_core::transport::{Heard, Transport};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
    ReadBuf,
};

use crate::harness::{House, app, app_with, soon, stopped_clock};

/// A message a line. `?` asks for a `!`, `bye` closes.
struct Lines;

impl Transport for Lines {
    fn decode<'a>(&mut self, input: &'a mut [u8], max: usize) -> (usize, Heard<'a>) {
        let Some(end) = input.iter().position(|b| *b == b'\n') else {
            return match input.len() > max {
                true => (input.len(), Heard::Fail(Close::TOO_BIG)),
                false => (0, Heard::More),
            };
        };
        let heard = match std::str::from_utf8(&input[..end]) {
            Ok("") => Heard::Pong,
            Ok("?") => Heard::Ping(b""),
            Ok("bye") => Heard::Close(None),
            // What no transport should do.
            Ok("claims more") => return (end + 100, Heard::Pong),
            Ok("takes nothing") => return (0, Heard::Pong),
            Ok("panics") => panic!("a bug in the transport"),
            Ok(text) => Heard::Text(Cow::Borrowed(text)),
            Err(_) => Heard::Fail(Close::NOT_UTF8),
        };
        (end + 1, heard)
    }

    fn message(&self, message: &Outgoing) -> Vec<u8> {
        [message.text().as_bytes(), b"\n"].concat()
    }

    fn ping(&self) -> Vec<u8> {
        b"?\n".to_vec()
    }

    fn pong(&self, _: &[u8]) -> Vec<u8> {
        b"!\n".to_vec()
    }

    fn close(&self, close: &Close) -> Vec<u8> {
        format!("bye {}\n", close.code).into_bytes()
    }

    fn close_reply(&self, _: Option<u16>) -> Vec<u8> {
        b"bye\n".to_vec()
    }
}

/// The client's end.
struct Line(BufReader<DuplexStream>);

impl Line {
    async fn say(&mut self, line: &str) {
        soon(self.0.write_all(format!("{line}\n").as_bytes()))
            .await
            .expect("it is taken");
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.0.read_line(&mut line)).await.expect("a line");
        line.trim_end().to_owned()
    }

    async fn event(&mut self) -> Value {
        serde_json::from_str(&self.line().await).expect("JSON")
    }

    async fn ended(&mut self) {
        let mut rest = Vec::new();
        soon(self.0.read_to_end(&mut rest)).await.expect("the end");
        assert_eq!(rest, b"");
    }
}

async fn connect(house: &House, key: &str) -> (Line, Result<String, Close>) {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let result = house.hub.connect(key, None, theirs, Lines).await;
    (Line(BufReader::new(ours)), result.map(|id| id.to_string()))
}

async fn greeted(house: &House) -> Line {
    let (mut line, id) = connect(house, "app-key").await;
    let greeting = line.event().await;
    assert_eq!(greeting["event"], "pusher:connection_established");
    assert!(
        greeting["data"]
            .as_str()
            .expect("text")
            .contains(&id.expect("it is let in"))
    );
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_and_web_sockets_meet_in_a_channel() {
    let house = House::open([app_with(|app| {
        app.client_events = reverb_core::protocol::ClientEvents::All
    })])
    .await;
    let mut line = greeted(&house).await;
    let mut client = house.client().await;
    client.subscribe("a").await;
    line.say(r#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#)
        .await;
    assert_eq!(
        line.event().await["event"],
        "pusher_internal:subscription_succeeded"
    );
    house.api().await.publish("a", "e", "1").await;
    client.expect_on("a", "e", "1").await;
    let heard = json!({"event": "e", "channel": "a", "data": "1"});
    assert_eq!(line.event().await, heard);
    line.say(r#"{"event":"client-x","channel":"a","data":"2"}"#)
        .await;
    client.expect_on("a", "client-x", "2").await;
    client
        .send(json!({"event": "client-y", "channel": "a", "data": "3"}))
        .await;
    assert_eq!(line.event().await["event"], "client-y");
    line.say("?").await;
    assert_eq!(line.line().await, "!");
    line.say("bye").await;
    assert_eq!(line.line().await, "bye");
    line.ended().await;
    drop(client);
    house
        .settles(|sizes| sizes.connections == 0 && sizes.channels == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_line_is_asked_and_let_go() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app()]).await;
    let mut line = greeted(&house).await;
    clock.advance(std::time::Duration::from_secs(31));
    assert_eq!(line.line().await, "?");
    line.say("").await;
    line.say("?").await;
    assert_eq!(line.line().await, "!");
    clock.advance(std::time::Duration::from_secs(31));
    assert_eq!(line.line().await, "?");
    clock.advance(std::time::Duration::from_secs(31));
    assert_eq!(line.event().await["data"]["code"], 4201);
    assert_eq!(line.line().await, "bye 4201");
    line.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_come_in_is_told_over_the_line() {
    let house = House::open([
        app_with(|app| app.active = false),
        reverb_core::protocol::App::new("2", "full", "s")
            .map(|mut app| {
                app.max_connections = Some(0);
                app
            })
            .expect("an app"),
    ])
    .await;
    for (key, code) in [("app-key", 4003), ("nobody", 4001), ("full", 4004)] {
        let (mut line, result) = connect(&house, key).await;
        assert_eq!(result.expect_err("a refusal").code, code);
        assert_eq!(line.event().await["data"]["code"], code);
        assert_eq!(line.line().await, format!("bye {code}"));
        line.ended().await;
    }
    house.hub.drain(std::time::Duration::ZERO).await;
    let (mut line, result) = connect(&house, "app-key").await;
    assert_eq!(result.expect_err("a refusal").code, 4200);
    line.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_misbehaves_ends_its_own_connection_only() {
    let house = House::plain().await;
    let mut client = house.client().await;
    for (said, code) in [
        ("claims more", 1002),
        ("takes nothing", 1002),
        ("panics", 1011),
    ] {
        let mut line = greeted(&house).await;
        line.say(said).await;
        assert_eq!(line.line().await, format!("bye {code}"));
        line.ended().await;
    }
    let mut line = greeted(&house).await;
    let long = "x".repeat(64 * 1024);
    for _ in 0..20 {
        if soon(line.0.write_all(long.as_bytes())).await.is_err() {
            break;
        }
    }
    assert_eq!(line.line().await, "bye 1009");
    client.ping().await;
}

/// A stream that breaks on the first write, or on the first read.
struct Breaking {
    inner: DuplexStream,
    on_write: bool,
}

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        assert!(self.on_write, "a bug in the stream");
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        assert!(!self.on_write, "a bug in the stream");
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_panics_ends_its_own_connection_only() {
    let house = House::plain().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(house.client().await);
    }
    for on_write in [true, false] {
        let (ours, inner) = tokio::io::duplex(16 * 1024);
        let stream = Breaking { inner, on_write };
        house
            .hub
            .connect("app-key", None, stream, Lines)
            .await
            .expect("it is let in");
        drop(ours);
    }
    house.settles(|sizes| sizes.connections == 6).await;
    for client in &mut clients {
        client.ping().await;
    }
}
