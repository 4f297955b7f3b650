//! [`Transport`]: how messages stand on a stream. WebSocket is the one that clients speak; a host may bring another.

use std::borrow::Cow;

use crate::protocol::{Close, Outgoing};

/// How messages stand on a stream of bytes: what of it is a message, and how ours are written.
///
/// One value serves one connection, and may keep what it knows of a message that has not come whole. The hub owns the
/// stream, its buffers and all deadlines; [`Hub::connect`](crate::hub::Hub::connect) lets such a connection in. The
/// example `own_transport` speaks lines of text over TCP.
///
/// A wrong implementation harms its own connection only: claiming more bytes than there were ends it, and so does a panic.
///
/// ```
/// use std::borrow::Cow;
/// use reverb_core::protocol::{Close, Outgoing};
/// use reverb_core::transport::{Heard, Transport};
///
/// /// A message a line.
/// struct Lines;
///
/// impl Transport for Lines {
///     fn decode<'a>(&mut self, input: &'a mut [u8], max: usize) -> (usize, Heard<'a>) {
///         let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
///             return match input.len() > max {
///                 true => (input.len(), Heard::Fail(Close::TOO_BIG)),
///                 false => (0, Heard::More),
///             };
///         };
///         let heard = match std::str::from_utf8(&input[..end]) {
///             Ok(text) => Heard::Text(Cow::Borrowed(text)),
///             Err(_) => Heard::Fail(Close::NOT_UTF8),
///         };
///         (end + 1, heard)
///     }
///
///     fn message(&self, message: &Outgoing) -> Vec<u8> {
///         format!("{}\n", message.text()).into_bytes()
///     }
///
///     fn ping(&self) -> Vec<u8> {
///         self.message(&Outgoing::ping())
///     }
///
///     fn pong(&self, _: &[u8]) -> Vec<u8> {
///         self.message(&Outgoing::pong())
///     }
///
///     fn close(&self, _: &Close) -> Vec<u8> {
///         Vec::new() // the pusher:error before it has said why
///     }
///
///     fn close_reply(&self, _: Option<u16>) -> Vec<u8> {
///         Vec::new()
///     }
/// }
/// ```
pub trait Transport: Send + 'static {
    /// Reads what stands at the front of `input`, and says how many bytes that took.
    ///
    /// With [`Heard::More`] it takes none, and the same bytes come again with more behind them; what it takes does not come
    /// again. It may change `input` while it reads. `max` is the largest message in bytes: refuse a larger one as
    /// soon as that is known, since until then everything is kept.
    fn decode<'a>(&mut self, input: &'a mut [u8], max: usize) -> (usize, Heard<'a>);

    /// A message of ours; [`Outgoing::text`] is what it says.
    fn message(&self, message: &Outgoing) -> Vec<u8>;

    /// A question that a peer who is there will answer, with anything. Sent after a silence.
    fn ping(&self) -> Vec<u8>;

    /// The answer to [`Heard::Ping`].
    fn pong(&self, payload: &[u8]) -> Vec<u8>;

    /// The last thing a peer is told; nothing where the end of the stream says enough.
    fn close(&self, close: &Close) -> Vec<u8>;

    /// The answer to [`Heard::Close`].
    fn close_reply(&self, code: Option<u16>) -> Vec<u8>;
}

/// What the next bytes of a peer say.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Heard<'a> {
    /// Nothing whole yet.
    More,
    /// A text message.
    Text(Cow<'a, str>),
    /// A message that is no text; the protocol has none, and the connection is closed.
    Binary(Cow<'a, [u8]>),
    /// A part of a message that goes on.
    Fragment,
    /// To be answered with [`Transport::pong`].
    Ping(&'a [u8]),
    /// A sign of life, no more.
    Pong,
    /// The peer closes, and may say why.
    Close(Option<u16>),
    /// What no peer may send; to be answered with this close.
    Fail(Close),
}
