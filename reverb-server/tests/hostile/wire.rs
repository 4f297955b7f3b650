//! [`Wire`]: bytes to and from the server, well formed or not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use crate::server::Server;

/// Whatever is waited for must come within this, unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// First byte of a whole text frame.
pub(crate) const TEXT: u8 = 0x81;
/// First byte of a close frame.
pub(crate) const CLOSE: u8 = 0x88;
/// First byte of a ping.
pub(crate) const PING: u8 = 0x89;
/// First byte of a pong.
pub(crate) const PONG: u8 = 0x8a;

/// A connection, and what was read from it and not yet looked at.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    at: usize,
    /// What it is about, for whoever reads that something went wrong.
    about: String,
}

impl Wire {
    pub(crate) fn connect(server: &Server) -> Self {
        Self::on(TcpStream::connect(server.address).expect("a connection"))
    }

    /// A connection whose end here has little room, so that it is soon full.
    pub(crate) fn narrow(server: &Server) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket
            .connect(&server.address.into())
            .expect("a connection");
        Self::on(socket.into())
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self {
            stream,
            read: Vec::new(),
            at: 0,
            about: String::new(),
        }
    }

    /// Says what it is about, should something go wrong.
    pub(crate) fn about(mut self, what: impl Into<String>) -> Self {
        self.about = what.into();
        self
    }

    /// The same connection once more, to write while this one reads.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    /// Waits longer, or less long, than it would.
    pub(crate) fn patience(&self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("a timeout");
        self.stream
            .set_write_timeout(Some(patience))
            .expect("a timeout");
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the socket takes it");
    }

    /// Sends as much as it can; whether that was all.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more is to come.
    pub(crate) fn finish(&self) {
        // It may have gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Leaves so that the other side gets a reset.
    pub(crate) fn break_off(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Shakes hands for this path, and takes the 101.
    #[track_caller]
    pub(crate) fn shake_hands(&mut self, path: &str) {
        self.send(handshake(path));
        let head = self.head().expect("an answer");
        assert_eq!(head.status, 101, "{head:?}");
    }

    fn rest(&self) -> &[u8] {
        &self.read[self.at..]
    }

    /// Reads some more. False at the end, also if that is a reset.
    #[track_caller]
    fn more(&mut self) -> bool {
        if self.at == self.read.len() {
            self.read.clear();
            self.at = 0;
        } else if self.at > 1 << 20 {
            self.read.drain(..std::mem::take(&mut self.at));
        }
        let length = self.read.len();
        self.read.resize(length + 64 * 1024, 0);
        let read = loop {
            match self.stream.read(&mut self.read[length..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.read.truncate(length + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(n) => n > 0,
            Err(error) if is_late(&error) => {
                panic!(
                    "{}: nothing came in time, after {:?}",
                    self.about,
                    lossy(self.rest())
                )
            }
            Err(_) => false,
        }
    }

    /// Whether so many bytes are there, before the end.
    #[track_caller]
    fn has(&mut self, length: usize) -> bool {
        while self.rest().len() < length {
            if !self.more() {
                return false;
            }
        }
        true
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.rest()[..length].to_vec();
        self.at += length;
        taken
    }

    /// A response's head; `None` if the connection ended before it.
    #[track_caller]
    fn head(&mut self) -> Option<Reply> {
        let mut looked = 0;
        loop {
            let from = self.at + looked;
            if let Some(end) = self.read[from..]
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                let head = lossy(&self.take(looked + end + 4));
                let version = ["HTTP/1.1 ", "HTTP/1.0 "];
                let status = version
                    .iter()
                    .find_map(|version| head.strip_prefix(version)?.get(..3));
                let status = status.and_then(|status| status.parse().ok());
                let status = status.unwrap_or_else(|| panic!("a status was expected: {head:?}"));
                return Some(Reply {
                    status,
                    head,
                    body: String::new(),
                });
            }
            looked = self.rest().len().saturating_sub(3);
            if !self.more() {
                assert!(
                    self.rest().is_empty(),
                    "half a head: {:?}",
                    lossy(self.rest())
                );
                return None;
            }
        }
    }

    /// A response; `None` if the connection ended before it.
    #[track_caller]
    pub(crate) fn try_reply(&mut self) -> Option<Reply> {
        let mut reply = self.head()?;
        while reply.status == 100 {
            reply = self.head()?;
        }
        let length = reply
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let length = length.unwrap_or_else(|| panic!("a length was expected: {reply:?}"));
        assert!(
            self.has(length),
            "half a body: {reply:?} {:?}",
            lossy(self.rest())
        );
        reply.body = lossy(&self.take(length));
        Some(reply)
    }

    /// A response.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().expect("an answer before the end")
    }

    /// A frame: its first byte and its payload; `None` if the connection ended before it.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        if !self.has(2) {
            return None;
        }
        let (first, second) = (self.rest()[0], self.rest()[1]);
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let start = match second {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if !self.has(start) {
            return None;
        }
        let length = match second {
            126 | 127 => self.rest()[2..start]
                .iter()
                .fold(0, |n, byte| n << 8 | usize::from(*byte)),
            short => usize::from(short),
        };
        if !self.has(start + length) {
            return None;
        }
        self.at += start;
        Some((first, self.take(length)))
    }

    /// The next frame must be a text; this is it.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        match self.frame() {
            Some((TEXT, payload)) => String::from_utf8(payload).expect("UTF-8"),
            other => panic!("a text was expected, not {}", shown(other)),
        }
    }

    /// The next frame must be a close frame, and nothing may follow it; this is its code.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> u16 {
        let code = match self.frame() {
            Some((CLOSE, payload)) if payload.len() >= 2 => {
                assert!(payload.len() <= 125 && std::str::from_utf8(&payload[2..]).is_ok());
                u16::from_be_bytes([payload[0], payload[1]])
            }
            other => panic!("a close frame was expected, not {}", shown(other)),
        };
        self.ends();
        code
    }

    /// Nothing may follow but the end.
    #[track_caller]
    pub(crate) fn ends(&mut self) {
        let rest = self.all();
        assert!(rest.is_empty(), "more came: {:?}", lossy(&rest));
    }

    /// Everything until the end.
    #[track_caller]
    pub(crate) fn all(&mut self) -> Vec<u8> {
        while self.more() {}
        self.take(self.rest().len())
    }
}

/// Whether nothing came for as long as one waits.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn shown(frame: Option<(u8, Vec<u8>)>) -> String {
    match frame {
        Some((first, payload)) => format!("{first:#x} {:?}", lossy(&payload)),
        None => "the end".to_owned(),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    /// A header's value, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    }

    pub(crate) fn says_close(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// Whether it is an error as the API tells them: `{"error":"…","code":…}`.
    pub(crate) fn is_told(&self) -> bool {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.header("content-type") == Some("application/json")
            && body["code"] == self.status
            && body["error"]
                .as_str()
                .is_some_and(|error| !error.is_empty())
    }
}

/// Sends this on a connection of its own, and waits for its end: there must be exactly one answer.
#[track_caller]
pub(crate) fn only_answer(server: &Server, bytes: impl AsRef<[u8]>) -> Reply {
    let mut wire = Wire::connect(server);
    // It may be refused before all of it is sent.
    wire.try_send(bytes);
    let reply = wire.reply();
    wire.ends();
    reply
}

/// A correct handshake.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked frame as a client sends it. `first` holds the FIN bit, the reserved bits and the opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.into_iter().cycle());
    bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header of a masked frame, without the mask: it promises so many bytes.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes
}
