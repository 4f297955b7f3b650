//! Bytes on a socket: HTTP requests and replies, WebSocket frames, well formed or not.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::soon;

/// A connection, and what was read from it and not yet looked at.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    /// Whether the last response announced that the connection ends.
    pub(crate) last_said_close: bool,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("JSON was expected: {self:?}"))
    }

    /// A header's value, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        &self.body
    }

    /// Checks the shape of an error: `{"error":"…","code":…}`.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        let body = self.json();
        assert_eq!(body["code"], status, "{self:?}");
        let error = body["error"].as_str().expect("text");
        assert!(error.contains(says), "{error:?} should say {says:?}");
        assert_eq!(body.as_object().expect("an object").len(), 2, "{self:?}");
    }
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address))
            .await
            .expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            read: Vec::new(),
            last_said_close: false,
        }
    }

    /// Has the kernel keep little of what is not read yet, whatever it does on this machine.
    pub(crate) fn keep_little(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_recv_buffer_size(64 * 1024).expect("a setting");
    }

    /// Shakes hands for this path, and takes the answer. What follows it in the same segment comes along.
    pub(crate) async fn shake_hands(&mut self, path: &str, and: &[u8]) -> Reply {
        let mut bytes = handshake(path).into_bytes();
        bytes.extend_from_slice(and);
        self.send(&bytes).await;
        self.head_only().await
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref()))
            .await
            .expect("the socket takes it");
    }

    /// Says that nothing more is to come.
    pub(crate) async fn finish(&mut self) {
        soon(self.stream.shutdown())
            .await
            .expect("half of it closes");
    }

    /// Reads some more. False at the end.
    async fn more(&mut self) -> bool {
        soon(self.stream.read_buf(&mut self.read))
            .await
            .expect("the connection holds")
            > 0
    }

    async fn until(&mut self, length: usize) {
        while self.read.len() < length {
            assert!(
                self.more().await,
                "the connection ended after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// A response's head, whatever its status.
    pub(crate) async fn head_only(&mut self) -> Reply {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                let head = String::from_utf8(head).expect("text");
                let status = head
                    .split(' ')
                    .nth(1)
                    .and_then(|status| status.parse().ok());
                let status = status.unwrap_or_else(|| panic!("a status was expected: {head}"));
                return Reply {
                    status,
                    head,
                    body: String::new(),
                };
            }
            assert!(
                self.more().await,
                "the connection ended after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// A whole response, with a body of known length.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut reply = self.head_only().await;
        let length = reply
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("a length was expected: {reply:?}"));
        self.last_said_close = reply.header("connection") == Some("close");
        self.until(length).await;
        reply.body = String::from_utf8(self.read.drain(..length).collect()).expect("text");
        reply
    }

    /// Sends a request; whether it was answered by 200 before the connection ended.
    pub(crate) async fn is_answered(&mut self, request: &[u8]) -> bool {
        self.stream.write_all(request).await.is_ok() && self.answers().await
    }

    /// Whether a 200 comes before the connection ends.
    pub(crate) async fn answers(&mut self) -> bool {
        match soon(self.stream.read_buf(&mut self.read)).await {
            Ok(0) | Err(_) => false,
            Ok(_) => self.reply().await.status == 200,
        }
    }

    /// A frame from the server: its first byte and its payload.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        self.until(2).await;
        let (start, length) = match self.read[1] {
            126 => {
                self.until(4).await;
                (
                    4,
                    usize::from(u16::from_be_bytes([self.read[2], self.read[3]])),
                )
            }
            short => (2, usize::from(short)),
        };
        self.until(start + length).await;
        let first = self.read[0];
        let payload = self.read.drain(..start + length).skip(start).collect();
        (first, payload)
    }

    /// The next frame must be a text; this is it.
    pub(crate) async fn text(&mut self) -> String {
        let (first, payload) = self.frame().await;
        assert_eq!(first, 0x81, "a text was expected");
        String::from_utf8(payload).expect("UTF-8")
    }

    /// The next frame must be a close frame; this is its code.
    pub(crate) async fn closed(&mut self) -> u16 {
        let (first, payload) = self.frame().await;
        assert_eq!(first, 0x88, "a close frame was expected");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Everything until the end, which must come, however it does.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while let Ok(1..) = soon(self.stream.read_buf(&mut self.read)).await {}
        std::mem::take(&mut self.read)
    }

    /// Nothing may follow but the end. Being reset is not a proper end.
    pub(crate) async fn ended(&mut self) {
        if self.read.is_empty() && !self.more().await {
            return;
        }
        panic!("more came: {:?}", String::from_utf8_lossy(&self.read));
    }
}

/// A correct handshake.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked frame as a client sends it. `first` holds the FIN bit and the opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(0x80 | n as u8),
        n @ 126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    bytes.extend_from_slice(&MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.into_iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}
