//! What goes over the wire: handshakes, frames and signed requests, ready to be sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::{App, SocketId, auth};
use serde_json::json;

/// Whatever is waited for comes within this, or not at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Connects a client; what it is greeted with is read.
pub(crate) fn connect(at: SocketAddr, app: &App) -> (TcpStream, SocketId) {
    let mut socket = open(at);
    let knock = format!(
        "GET /app/{}?protocol=7 HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        app.key
    );
    socket.write_all(knock.as_bytes()).expect("the hub reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("the hub answers");
        head.push(byte[0]);
    }
    let greeting = read_frame(&mut socket);
    let id = greeting
        .split(r#"socket_id\":\""#)
        .nth(1)
        .and_then(|rest| rest.split('\\').next());
    let id = id.and_then(|id| id.parse().ok()).expect("a socket id");
    (socket, id)
}

/// Opens a connection.
pub(crate) fn open(at: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(at).expect("the hub listens");
    socket.set_nodelay(true).expect("a setting");
    socket.set_read_timeout(Some(PATIENCE)).expect("a setting");
    socket
}

/// Reads the text of one frame.
pub(crate) fn read_frame(socket: &mut TcpStream) -> String {
    let mut read = |length: u64| {
        let mut bytes = vec![0; length as usize];
        socket.read_exact(&mut bytes).expect("the hub speaks");
        bytes
    };
    let number = |bytes: Vec<u8>| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let length = match read(2)[1] {
        126 => number(read(2)),
        127 => number(read(8)),
        short => short.into(),
    };
    String::from_utf8_lossy(&read(length)).into_owned()
}

/// A text message of a client, as a frame.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        n @ 0..126 => frame.push(0x80 | n as u8),
        n => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    // A mask of zeros changes nothing.
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// A subscription, signed; `user` is for presence channels.
pub(crate) fn subscribe(app: &App, id: SocketId, channel: &str, user: Option<usize>) -> Vec<u8> {
    let data = user.map(|user| json!({"user_id": format!("user {user}")}).to_string());
    let signature = auth::channel_signature(&app.secret, id, channel, data.as_deref());
    let auth = format!("{}:{}", app.key, HEXLOWER.encode(&signature));
    let mut data_of_event = json!({"channel": channel, "auth": auth});
    if let Some(data) = data {
        data_of_event["channel_data"] = data.into();
    }
    frame(&json!({"event": "pusher:subscribe", "data": data_of_event}).to_string())
}

/// A request that publishes this data in a channel. It may be sent again for ten minutes.
pub(crate) fn publish(app: &App, channel: &str, data: &str) -> Vec<u8> {
    let body = json!({"name": "tick", "channel": channel, "data": data}).to_string();
    let path = format!("/apps/{}/events", app.id);
    let query = format!(
        "auth_key={}&auth_timestamp={}&auth_version=1.0&body_md5={}",
        app.key,
        SystemClock.unix_time().as_secs(),
        HEXLOWER.encode(&Md5::digest(&body)),
    );
    let signature = app
        .secret
        .sign(&[format!("POST\n{path}\n{query}").as_bytes()]);
    format!(
        "POST {path}?{query}&auth_signature={} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        HEXLOWER.encode(&signature),
        body.len()
    )
    .into_bytes()
}

/// What every such request is answered by.
pub(crate) const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
