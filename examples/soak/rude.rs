//! Those who harm: readers that stall, and peers that send what they must not.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::Stop;
use crate::chance::Chance;
use crate::crowd::FLOOD;
use crate::guest::Home;
use crate::ledger::count;

/// How long a stalled reader does not read.
const STALL: Duration = Duration::from_secs(30);

/// Subscribes to large events and reads nothing, until the server must have cut it; then comes back.
pub(crate) async fn stall(home: Home, stop: Stop) {
    while !stop.is_set() {
        if stall_once(&home, &stop).await.is_none() && !stop.is_set() {
            home.totals.wrong("a stalled reader was not let in");
        }
    }
}

async fn stall_once(home: &Home, stop: &Stop) -> Option<()> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(4096).ok()?;
    let socket = socket.connect(home.at).await.ok()?;
    let url = format!("ws://{}/app/{}?protocol=7", home.at, home.app.key);
    let (mut socket, _) = tokio_tungstenite::client_async(url, socket).await.ok()?;
    let subscribe = json!({"event": "pusher:subscribe", "data": {"channel": FLOOD}});
    let message = Message::text(subscribe.to_string());
    socket.send(message).await.ok()?;
    tokio::select! {
        () = sleep(STALL) => {}
        () = stop.wait() => return Some(()),
    }
    // What is left is what was on its way, and the good-bye.
    let mut code = None;
    let rest = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(CloseFrame { code: told, .. })) = message {
                code = Some(u16::from(told));
            }
        }
    };
    if timeout(Duration::from_secs(5), rest).await.is_err() {
        home.totals.wrong("a stalled reader was not cut");
    } else {
        count(
            &home.totals.stalled,
            u64::from(matches!(code, None | Some(4100))),
        );
    }
    Some(())
}

/// Three a second send something hostile, wait for the end, and are gone.
pub(crate) async fn harm(home: Home, stop: Stop) {
    let mut chance = Chance::new(3);
    let mut turns = interval(Duration::from_millis(333));
    while !stop.is_set() {
        turns.tick().await;
        let (home, n) = (home.clone(), chance.below(12));
        tokio::spawn(async move {
            if harm_once(&home, n).await.is_some() {
                count(&home.totals.hostile, 1);
            }
        });
    }
}

async fn harm_once(home: &Home, n: usize) -> Option<()> {
    let mut socket = TcpStream::connect(home.at).await.ok()?;
    socket.set_zero_linger().ok()?;
    let handshake = format!(
        "GET /app/{}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        home.app.key
    );
    let masked = |first: u8, text: &str| {
        let mut frame = vec![first, 0xFE];
        frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        frame
    };
    let bytes: Vec<u8> = match n {
        0 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        1 => handshake.as_bytes()[..60].to_vec(),
        2 => b"POST /apps/1001/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n{".to_vec(),
        3 => b"POST /apps/1001/events HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0".to_vec(),
        _ => {
            let frames = match n {
                // Not masked; reserved bits; longer than anything; half a frame; not UTF-8.
                4 => b"\x81\x02{}".to_vec(),
                5 => masked(0xF1, "{}"),
                6 => b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(),
                7 => b"\x81\xfe\x40\x00\0\0\0\0{\"event\":".to_vec(),
                8 => b"\x81\x82\0\0\0\0\xff\xfe".to_vec(),
                9 => masked(0x81, &"[".repeat(20_000)),
                10 => masked(0x81, r#"{"event":"pusher:subscribe"}"#),
                _ => masked(0x89, "").repeat(3_000),
            };
            [handshake.as_bytes(), &frames].concat()
        }
    };
    // The server may have closed before it has read everything.
    let _ = socket.write_all(&bytes).await;
    let rest = async { while let Ok(1..) = socket.read(&mut [0; 4096]).await {} };
    let _ = timeout(Duration::from_secs(2), rest).await;
    Some(())
}
