//! The first bytes of a connection, read by its shard: a WebSocket handshake and a plain signed publish are answered
//! there, everything else goes to hyper with what was read.
//!
//! The raw head is judged strictly before either reads it, so that a proxy in front and the two readers here cannot
//! understand one request differently. Source: RFC 9112 sections 2.2, 5 and 6.

use std::net::SocketAddr;

use http::request::Parts;
use http::{HeaderName, HeaderValue};

use crate::protocol::auth;

use super::Peer;
use super::error::ApiError;
use super::upgrade::{self, Knock, NoHandshake};

/// Largest head of a request in bytes.
const MOST_HEAD: usize = 16 * 1024;
/// Most header lines.
const MOST_HEADERS: usize = 64;
/// Largest body that is read here; larger ones are hyper's.
const MOST_BODY: usize = 48 * 1024;

/// What the front of a connection's input is.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    /// Nothing whole yet; the head is, or is not, complete.
    More { has_head: bool },
    /// A client wants in.
    Knock(Box<Knock>),
    /// A backend publishes.
    Publish(Publish<'a>),
    /// Anything else.
    Other,
    /// What nobody should answer but with an error, after which the connection ends.
    Refuse(ApiError),
}

/// A signed publish, not yet checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish<'a> {
    pub(crate) app_id: &'a str,
    pub(crate) request: auth::Request<'a>,
    pub(crate) is_batch: bool,
    /// Whether it came by TLS, as a believed proxy says.
    pub(crate) is_tls: bool,
}

/// Reads the request at the front of `input`, for a server whose paths begin with `prefix`. Returns the bytes it takes.
///
/// `is_trusted` says whether the peer is a proxy whose `X-Forwarded-Proto` counts. With `shown_from` a handshake keeps the
/// whole request, as one of this peer.
pub(crate) fn read<'a>(
    input: &'a [u8],
    prefix: &str,
    is_trusted: bool,
    shown_from: Option<SocketAddr>,
) -> (usize, Request<'a>) {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let refuse = |status: u16, why: &str| {
        let status = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
        (input.len(), Request::Refuse(ApiError::new(status, why)))
    };
    let head = match request.parse(input) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if input.len() > MOST_HEAD => {
            return refuse(431, "the head is too large");
        }
        Ok(httparse::Status::Partial) => return (0, Request::More { has_head: false }),
        Err(httparse::Error::TooManyHeaders) => return refuse(431, "too many headers"),
        Err(_) => return refuse(400, "this is no HTTP request"),
    };
    if head > MOST_HEAD {
        return refuse(431, "the head is too large");
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return refuse(400, "this is no HTTP request");
    };
    // Some drop it, some do not. RFC 9112 section 3.2 has none.
    if target.contains('#') {
        return refuse(400, "a target must not have a fragment");
    }
    let length = match judge(&input[..head], request.headers, version) {
        Ok(length) => length,
        Err(why) => return refuse(400, why),
    };
    // The whole URL, as a proxy may be asked: hyper reads it.
    if !target.starts_with('/') {
        return (0, Request::Other);
    }
    let header = |name: &str| {
        let found = request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // Outside of the prefix nothing is ours; a client is told so over its socket.
    let inner = path
        .strip_prefix(prefix)
        .filter(|inner| inner.starts_with('/'));
    let inner = inner.unwrap_or_default();
    // Elsewhere it is the site's business.
    let is_too_large = matches!(length, Length::Known(length) if length > super::error::MOST_BODY);
    if is_too_large && inner.starts_with("/apps/") {
        return (input.len(), Request::Refuse(ApiError::large_body()));
    }
    let is_tls = || is_trusted && header("x-forwarded-proto").is_some_and(upgrade::is_tls);
    if method == "GET" && version == 1 && length == Length::None && header("upgrade").is_some() {
        let lines = request.headers.iter().map(|line| (line.name, line.value));
        return match Knock::read(inner, query, is_tls(), lines) {
            Ok(mut knock) => {
                knock.request = shown_from.map(|peer| Box::new(parts(&request, peer)));
                (head, Request::Knock(Box::new(knock)))
            }
            // hyper answers these, and may speak the other protocol's name.
            Err(NoHandshake::UpgradeRequired) => (0, Request::Other),
            Err(NoHandshake::Bad(why)) => refuse(400, why),
        };
    }
    let Length::Known(length) = length else {
        return (0, Request::Other);
    };
    let Some((app_id, is_batch)) = publishes(inner) else {
        return (0, Request::Other);
    };
    // Every line of them, text or not: a list may be spread over several.
    let asks_for_more = request.headers.iter().any(|header| {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let ends = is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive");
        ends || is("expect") || is("upgrade") || is("content-encoding")
    });
    if method != "POST" || version != 1 || length > MOST_BODY || asks_for_more {
        return (0, Request::Other);
    }
    let Some(body) = input.get(head..head + length) else {
        return (0, Request::More { has_head: true });
    };
    let publish = Publish {
        app_id,
        request: auth::Request {
            method,
            path,
            query,
            body,
        },
        is_batch,
        is_tls: is_tls(),
    };
    (head + length, Request::Publish(publish))
}

/// The head as others like to have it. What cannot stand there, as a header that is no text, is left out.
fn parts(request: &httparse::Request<'_, '_>, peer: SocketAddr) -> Parts {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.uri = request
        .path
        .and_then(|path| path.parse().ok())
        .unwrap_or_default();
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(header.value)) {
            parts.headers.append(name, value);
        }
    }
    parts.extensions.insert(Peer(peer));
    parts
}

/// The app's id in `/apps/{id}/events` or `/apps/{id}/batch_events`, and whether it is the latter.
fn publishes(path: &str) -> Option<(&str, bool)> {
    let (id, rest) = path.strip_prefix("/apps/")?.split_once('/')?;
    match rest {
        _ if id.contains('%') => None,
        "events" => Some((id, false)),
        "batch_events" => Some((id, true)),
        _ => None,
    }
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// There is none.
    None,
    Known(usize),
    Chunked,
}

/// Judges the head: what two readers might understand differently is refused.
fn judge(
    head: &[u8],
    headers: &[httparse::Header<'_>],
    version: u8,
) -> Result<Length, &'static str> {
    for at in memchr::memchr3_iter(b'\r', b'\n', 0, head) {
        match head[at] {
            0 => return Err("a head must not contain NUL"),
            b'\r' if head.get(at + 1) != Some(&b'\n') => return Err("a line must end in CR LF"),
            b'\n' if at == 0 || head[at - 1] != b'\r' => return Err("a line must end in CR LF"),
            b'\n' if matches!(head.get(at + 1), Some(b' ' | b'\t')) => {
                return Err("a header must not go on in the next line");
            }
            _ => {}
        }
    }
    let all = |name: &'static str| {
        headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
    };
    if all("host").count() != 1 && version == 1 {
        return Err("a request needs one Host header");
    }
    let mut lengths = all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err("two Content-Length headers");
    }
    let mut encodings = all("transfer-encoding");
    match (length, encodings.next()) {
        (None, None) => Ok(Length::None),
        (Some(_), Some(_)) => Err("Content-Length together with Transfer-Encoding"),
        (Some(length), None) => {
            let text = std::str::from_utf8(length.value).unwrap_or_default();
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse()
                .ok()
                .filter(|_| digits)
                .map(Length::Known)
                .ok_or("Content-Length is no number")
        }
        (None, Some(encoding)) => {
            let is_chunked =
                encoding.value.eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
            if is_chunked && version == 1 {
                Ok(Length::Chunked)
            } else {
                Err("Transfer-Encoding must be chunked")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: &str) -> Option<u16> {
        match read(request.as_bytes(), "", false, None).1 {
            Request::Refuse(error) => Some(error.status.as_u16()),
            _ => None,
        }
    }

    #[test]
    fn a_plain_publish_is_read_here() {
        let text =
            "POST /p/apps/7/batch_events?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET";
        let (used, Request::Publish(publish)) = read(text.as_bytes(), "/p", false, None) else {
            panic!("a publish")
        };
        assert_eq!(used, text.len() - 3);
        assert_eq!((publish.app_id, publish.is_batch), ("7", true));
        let request = publish.request;
        assert_eq!(
            (request.path, request.query, request.body),
            ("/p/apps/7/batch_events", "a=b", &b"{}"[..])
        );
        for cut in 0..text.len() - 3 {
            assert!(
                matches!(
                    read(&text.as_bytes()[..cut], "/p", false, None).1,
                    Request::More { .. }
                ),
                "{cut}"
            );
        }
    }

    #[test]
    fn what_asks_for_more_goes_to_hyper() {
        for line in [
            "Transfer-Encoding: chunked",
            "Content-Length: 2\r\nExpect: 100-continue",
            "Content-Length: 2\r\nConnection: close",
            "Content-Length: 99999",
        ] {
            let text = format!("POST /apps/7/events HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n{{}}");
            assert!(
                matches!(read(text.as_bytes(), "", false, None), (0, Request::Other)),
                "{line}"
            );
        }
        for line in [
            "GET /up HTTP/1.1",
            "HEAD /apps/7/channels HTTP/1.1",
            "GET /apps/7/channels HTTP/1.1",
            "POST /other/apps/7/events HTTP/1.1",
        ] {
            let text = format!("{line}\r\nHost: x\r\n\r\n");
            assert!(
                matches!(read(text.as_bytes(), "", false, None), (0, Request::Other)),
                "{line}"
            );
        }
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for head in [
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Content-Length: +2\r\n",
            "Content-Length: 2, 2\r\n",
            "Content-Length: 0x2\r\n",
            "X: a\r\n b\r\n",
            "X: a\n",
            "X: a\rb\r\n",
            "Host: y\r\n",
            "X : a\r\n",
        ] {
            let text = format!("POST /apps/7/events HTTP/1.1\r\nHost: x\r\n{head}\r\n{{}}");
            assert_eq!(refused(&text), Some(400), "{head:?}");
        }
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Some(400));
        assert_eq!(refused("GET / HTTP/1.1\nHost: x\n\n"), Some(400));
        assert_eq!(refused("nonsense\r\n\r\n"), Some(400));
        assert_eq!(refused("\u{16}\u{3}\u{1}"), Some(400));
    }

    #[test]
    fn heads_are_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n", "a".repeat(MOST_HEAD));
        assert_eq!(refused(&long), Some(431));
        let many = format!(
            "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "X: y\r\n".repeat(MOST_HEADERS)
        );
        assert_eq!(refused(&many), Some(431));
    }
}
