//! The WebSocket frames of a client, held against tungstenite's own reading of them.

use std::io::{self, Read, Write};

use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message};

use crate::transport::{Heard, Transport};
use crate::wire::websocket::WebSocket;

use super::Dice;

/// What a message may have in bytes. Control frames are no messages: they have up to 125 under any limit.
const LIMITS: [usize; 8] = [125, 126, 1000, 16_384, 65_535, 65_536, 83_968, 1 << 20];

/// A character that chooses the limit (`0` to `7`), and then the bytes as they come from the socket.
pub fn frame_decoder(data: &[u8]) {
    let [limit, bytes @ ..] = data else { return };
    let max = LIMITS[usize::from(*limit) % LIMITS.len()];
    let whole = ours([bytes], max);
    let mut dice = Dice::of(data);
    for _ in 0..3 {
        let mut cuts = [0; 4].map(|_| dice.below(bytes.len() + 1));
        cuts.sort_unstable();
        let [a, b, c, d] = cuts;
        let pieces = [
            &bytes[..a],
            &bytes[a..b],
            &bytes[b..c],
            &bytes[c..d],
            &bytes[d..],
        ];
        assert_eq!(ours(pieces, max), whole, "cut at {cuts:?}");
    }
    if bytes.len() <= 256 {
        assert_eq!(ours(bytes.chunks(1), max), whole, "byte by byte");
    }
    compare(&whole, bytes, max);
}

/// What was heard, by either of the two.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    /// With this code; nothing follows.
    Fail(u16),
}

/// Reads the pieces as a shard does: what was not taken comes again with more behind it.
fn ours<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max: usize) -> Vec<Said> {
    let mut socket = WebSocket::default();
    let mut said = Vec::new();
    // What has come, as it was and as the decoder leaves it; and how much of it was taken.
    let (mut sent, mut input, mut at) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        sent.extend_from_slice(piece);
        input.extend_from_slice(piece);
        loop {
            let left = input.len() - at;
            let (used, heard) = socket.decode(&mut input[at..], max);
            let next = match heard {
                Heard::More => {
                    assert_eq!(used, 0);
                    assert!(input[at..] == sent[at..], "untouched, since it comes again");
                    assert!(left <= max.max(125) + 14, "its header does not refuse it");
                    break;
                }
                Heard::Fragment => None,
                Heard::Text(text) => Some(Said::Text(text.into_owned())),
                Heard::Binary(bytes) => Some(Said::Binary(bytes.into_owned())),
                Heard::Ping(payload) => Some(Said::Ping(payload.to_vec())),
                Heard::Pong => Some(Said::Pong),
                Heard::Close(code) => Some(Said::Close(code)),
                Heard::Fail(close) => Some(Said::Fail(close.code)),
            };
            assert!((1..=left).contains(&used), "{used} of {left}");
            at += used;
            let is_over = matches!(next, Some(Said::Close(_) | Said::Fail(_)));
            said.extend(next);
            if is_over {
                return said;
            }
        }
    }
    said
}

/// A stream that has these bytes for now.
struct Wire<'a> {
    input: &'a [u8],
    written: Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(into)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compare(whole: &[Said], bytes: &[u8], max: usize) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(max))
        .max_frame_size(Some(max.max(125)))
        .read_buffer_size(4096);
    let wire = Wire {
        input: bytes,
        written: Vec::new(),
    };
    let mut theirs = tungstenite::WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut pongs = Vec::new();
    for said in whole {
        let next = theirs.read();
        if let Said::Fail(code) = said {
            return fails(*code, next, theirs);
        }
        let heard = match next.unwrap_or_else(|error| panic!("{said:?} is {error} to tungstenite"))
        {
            Message::Text(text) => Said::Text(text.to_string()),
            Message::Binary(bytes) => Said::Binary(bytes.to_vec()),
            Message::Ping(payload) => Said::Ping(payload.to_vec()),
            Message::Pong(_) => Said::Pong,
            Message::Close(frame) => Said::Close(frame.map(|frame| frame.code.into())),
            Message::Frame(frame) => panic!("no message: {frame}"),
        };
        assert_eq!(*said, heard);
        if let Said::Ping(payload) = said {
            pongs.extend(WebSocket::default().pong(payload));
        }
        if matches!(said, Said::Close(_)) {
            assert_eq!(theirs.get_ref().written, pongs, "the answers to pings");
            return;
        }
    }
    match theirs.read() {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
        other => panic!("nothing more was heard, but by tungstenite {other:?}"),
    }
    assert_eq!(theirs.get_ref().written, pongs, "the answers to pings");
}

/// We have failed the connection with this code; so does tungstenite, though it may want the whole frame for that.
fn fails(
    code: u16,
    mut theirs: Result<Message, Error>,
    mut socket: tungstenite::WebSocket<Wire<'_>>,
) {
    if matches!(&theirs, Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock) {
        socket.get_mut().input = &[0; 1 << 20];
        theirs = socket.read();
    }
    let fits = match &theirs {
        Err(Error::Protocol(ProtocolError::ExpectedFragment(_))) => matches!(code, 1002 | 1009),
        Err(Error::Protocol(_)) => code == 1002,
        // A frame may be wrong in two ways, and each of us looks for another first.
        Err(Error::Capacity(_)) => matches!(code, 1009 | 1002),
        Err(Error::Utf8(_)) => matches!(code, 1007 | 1002),
        // It takes a close frame with a forbidden code, and answers it with 1002.
        Ok(Message::Close(Some(frame))) => {
            code == 1002 && frame.reason.as_str() == "Protocol violation"
        }
        _ => false,
    };
    assert!(fits, "failed with {code}, but tungstenite says {theirs:?}");
}
