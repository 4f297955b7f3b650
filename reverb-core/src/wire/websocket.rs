//! Framing: what a client's bytes say by RFC 6455, and the frames that are not [`crate::protocol::Outgoing`].
//!
//! tungstenite reads the frame headers. Its `WebSocketContext` is not used: that keeps a read buffer per connection and
//! hands out owned messages, where a whole text frame can be unmasked and read in the buffer it was received into. The
//! tests hold this decoder against tungstenite's.

use std::borrow::Cow;
use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::protocol::{Close, Outgoing};
use crate::transport::{Heard, Transport};

/// The state of one connection's incoming half. Empty but while a message comes in several frames.
#[derive(Debug, Default)]
pub(crate) struct WebSocket {
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    is_text: bool,
    payload: Vec<u8>,
    /// How much of the payload is known to be UTF-8, so that many small frames are not checked again and again.
    valid: usize,
}

impl Transport for WebSocket {
    /// Reads the frame at the front of `input`, unmasking it in place. One that is too large is refused from its header,
    /// before any of it is kept.
    fn decode<'a>(&mut self, input: &'a mut [u8], max: usize) -> (usize, Heard<'a>) {
        let all = input.len();
        let mut cursor = Cursor::new(&*input);
        let (header, length) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return (0, Heard::More),
            Err(_) => return (all, Heard::Fail(Close::PROTOCOL)),
        };
        let start = cursor.position() as usize;
        // RFC 6455 5.1: clients mask; 5.2: reserved bits are for extensions, and none was agreed on.
        let Some(mask) = header
            .mask
            .filter(|_| !(header.rsv1 || header.rsv2 || header.rsv3))
        else {
            return (all, Heard::Fail(Close::PROTOCOL));
        };
        let so_far = self
            .partial
            .as_ref()
            .map_or(0, |partial| partial.payload.len());
        let length = match (header.opcode, usize::try_from(length)) {
            // 5.5: control frames are short and whole.
            (OpCode::Control(_), Ok(length)) if length <= 125 && header.is_final => length,
            (OpCode::Control(_), _) => return (all, Heard::Fail(Close::PROTOCOL)),
            (OpCode::Data(_), Ok(length)) if length <= max.saturating_sub(so_far) => length,
            (OpCode::Data(_), _) => return (all, Heard::Fail(Close::TOO_BIG)),
        };
        let end = start + length;
        let Some(payload) = input.get_mut(start..end) else {
            return (0, Heard::More);
        };
        unmask(payload, mask);
        let heard = match header.opcode {
            OpCode::Control(Control::Ping) => Heard::Ping(payload),
            OpCode::Control(Control::Pong) => Heard::Pong,
            OpCode::Control(_) => closing(payload),
            OpCode::Data(data) => self.data(data, header.is_final, payload),
        };
        (end, heard)
    }

    fn message(&self, message: &Outgoing) -> Vec<u8> {
        message.frame().to_vec()
    }

    fn ping(&self) -> Vec<u8> {
        PING.to_vec()
    }

    fn pong(&self, payload: &[u8]) -> Vec<u8> {
        [&[0x8a, payload.len() as u8], payload].concat()
    }

    fn close(&self, close: &Close) -> Vec<u8> {
        let reason = &close.reason[..close.reason.floor_char_boundary(123)];
        [
            &[0x88, reason.len() as u8 + 2],
            &close.code.to_be_bytes()[..],
            reason.as_bytes(),
        ]
        .concat()
    }

    /// Its own code, or none if it gave none.
    fn close_reply(&self, code: Option<u16>) -> Vec<u8> {
        match code {
            Some(code) => [&[0x88, 2], &code.to_be_bytes()[..]].concat(),
            None => vec![0x88, 0],
        }
    }
}

impl WebSocket {
    /// 5.4: a message is one frame, or a first one and continuations.
    fn data<'a>(&mut self, data: Data, is_final: bool, payload: &'a [u8]) -> Heard<'a> {
        match (data, self.partial.take()) {
            (Data::Continue, Some(mut partial)) => {
                partial.payload.extend_from_slice(payload);
                match is_final {
                    true => message(partial.is_text, Cow::Owned(partial.payload)),
                    false => self.keep(partial),
                }
            }
            (Data::Text | Data::Binary, None) => {
                let is_text = data == Data::Text;
                match is_final {
                    true => message(is_text, Cow::Borrowed(payload)),
                    false => self.keep(Box::new(Partial {
                        is_text,
                        payload: payload.to_vec(),
                        valid: 0,
                    })),
                }
            }
            _ => Heard::Fail(Close::PROTOCOL),
        }
    }

    fn keep(&mut self, mut partial: Box<Partial>) -> Heard<'static> {
        // Text that is wrong already need not be waited for; it may end within a character.
        if partial.is_text {
            match std::str::from_utf8(&partial.payload[partial.valid..]) {
                Ok(_) => partial.valid = partial.payload.len(),
                Err(error) if error.error_len().is_some() => return Heard::Fail(Close::NOT_UTF8),
                Err(error) => partial.valid += error.valid_up_to(),
            }
        }
        self.partial = Some(partial);
        Heard::Fragment
    }
}

fn message(is_text: bool, payload: Cow<'_, [u8]>) -> Heard<'_> {
    if !is_text {
        return Heard::Binary(payload);
    }
    let text = match payload {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    };
    text.map_or(Heard::Fail(Close::NOT_UTF8), Heard::Text)
}

/// 5.5.1 and 7.4: nothing, or a code that may be sent and a reason in UTF-8.
fn closing(payload: &[u8]) -> Heard<'static> {
    match payload {
        [] => Heard::Close(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Heard::Fail(Close::PROTOCOL);
            }
            match std::str::from_utf8(reason) {
                Ok(_) => Heard::Close(Some(code)),
                Err(_) => Heard::Fail(Close::NOT_UTF8),
            }
        }
        [_] => Heard::Fail(Close::PROTOCOL),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, key) in words
        .into_remainder()
        .iter_mut()
        .zip(mask.into_iter().cycle())
    {
        *byte ^= key;
    }
}

/// A ping without payload.
pub(crate) const PING: [u8; 2] = [0x89, 0];

/// The header of a frame of ours that carries a whole message of this length.
pub(crate) fn header(is_text: bool, length: usize) -> Vec<u8> {
    let first = if is_text { 0x81 } else { 0x82 };
    match length {
        0..126 => vec![first, length as u8],
        126..0x1_0000 => [&[first, 126], &(length as u16).to_be_bytes()[..]].concat(),
        _ => [&[first, 127], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            n @ 0..126 => bytes.push(0x80 | n as u8),
            n => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(n as u16).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&MASK);
        bytes.extend(
            payload
                .iter()
                .zip(MASK.into_iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        bytes
    }

    fn hear(socket: &mut WebSocket, mut bytes: Vec<u8>) -> String {
        format!("{:?}", socket.decode(&mut bytes, 1000).1)
    }

    #[test]
    fn a_text_is_read_in_place_whatever_its_length() {
        for length in [0, 1, 7, 8, 9, 125, 126, 1000] {
            let text = "x".repeat(length);
            let mut bytes = frame(0x81, text.as_bytes());
            let all = bytes.len();
            assert_eq!(
                WebSocket::default().decode(&mut bytes, 1000),
                (all, Heard::Text(Cow::Borrowed(&text)))
            );
        }
    }

    #[test]
    fn nothing_is_taken_until_a_frame_is_whole() {
        let whole = frame(0x81, "häppchenweise".as_bytes());
        for length in 0..whole.len() {
            let mut part = whole[..length].to_vec();
            assert_eq!(
                WebSocket::default().decode(&mut part, 1000),
                (0, Heard::More),
                "{length}"
            );
            assert_eq!(part, whole[..length], "untouched, since it comes again");
        }
    }

    #[test]
    fn fragments_are_joined_around_control_frames() {
        let mut socket = WebSocket::default();
        let umlaut = "ü".as_bytes();
        assert_eq!(hear(&mut socket, frame(0x01, &umlaut[..1])), "Fragment");
        assert_eq!(hear(&mut socket, frame(0x89, b"p")), "Ping([112])");
        assert_eq!(hear(&mut socket, frame(0x80, &umlaut[1..])), "Text(\"ü\")");
        assert!(socket.partial.is_none());
    }

    #[test]
    fn what_rfc_6455_forbids_fails() {
        let protocol = format!("{:?}", Heard::Fail(Close::PROTOCOL));
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7f;
        for bytes in [
            unmasked,
            frame(0xc1, b"rsv1"),
            frame(0x83, b"reserved opcode"),
            frame(0x8b, b"reserved opcode"),
            frame(0x80, b"continues nothing"),
            frame(0x09, b"fragmented control"),
            frame(0x89, &[0; 126]),
            frame(0x88, &[3]),
            frame(0x88, &1005_u16.to_be_bytes()),
            frame(0x88, &999_u16.to_be_bytes()),
        ] {
            assert_eq!(
                hear(&mut WebSocket::default(), bytes.clone()),
                protocol,
                "{bytes:?}"
            );
        }
        let mut socket = WebSocket::default();
        hear(&mut socket, frame(0x01, b"begun"));
        assert_eq!(hear(&mut socket, frame(0x81, b"another")), protocol);
        let utf8 = format!("{:?}", Heard::Fail(Close::NOT_UTF8));
        assert_eq!(hear(&mut WebSocket::default(), frame(0x81, &[0xff])), utf8);
        assert_eq!(hear(&mut WebSocket::default(), frame(0x01, &[0xff])), utf8);
        assert_eq!(
            hear(&mut WebSocket::default(), frame(0x88, &[3, 232, 0xff])),
            utf8
        );
    }

    #[test]
    fn size_is_judged_by_the_header_and_over_all_fragments() {
        let too_big = format!("{:?}", Heard::Fail(Close::TOO_BIG));
        let huge = [&[0x81, 0xff], &u64::MAX.to_be_bytes()[..], &MASK].concat();
        assert_eq!(hear(&mut WebSocket::default(), huge), too_big);
        let mut socket = WebSocket::default();
        assert_eq!(hear(&mut socket, frame(0x02, &[0; 600])), "Fragment");
        assert_eq!(hear(&mut socket, frame(0x80, &[0; 401])), too_big);
    }

    #[test]
    fn a_close_frame_has_its_code_and_reason() {
        assert_eq!(
            WebSocket::default().close(&Close::NO_PONG)[..4],
            [0x88, 25, 0x10, 0x69]
        );
        assert_eq!(
            hear(
                &mut WebSocket::default(),
                frame(0x88, &1000_u16.to_be_bytes())
            ),
            "Close(Some(1000))"
        );
        assert_eq!(WebSocket::default().close_reply(None), [0x88, 0]);
    }
}
