//! The first bytes of a connection: HTTP heads, strictly judged, and what of them is a handshake.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tungstenite::handshake::derive_accept_key;

use crate::protocol::{App, Close, Origins};
use crate::wire::error::MOST_BODY;
use crate::wire::front::{self, Request};
use crate::wire::upgrade::Knock;

use super::{Dice, hyper};

/// Largest head that is taken; as in `wire::front`.
const MOST_HEAD: usize = 16 * 1024;

/// The bytes as they come from the socket. They are read with no prefix in front of our paths, and with `/p`.
pub fn http_head(data: &[u8]) {
    for prefix in ["", "/p"] {
        let whole = Verdict::of(data, prefix);
        whole.judge(data, prefix);
        pieces(data, prefix, &whole);
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    More(bool),
    Knock(usize),
    Publish {
        used: usize,
        app: String,
        is_batch: bool,
        path: String,
        query: String,
        body: Vec<u8>,
    },
    Other,
    Refuse(u16),
}

impl Verdict {
    fn of(input: &[u8], prefix: &str) -> Self {
        let (used, request) = front::read(input, prefix, true, None);
        assert!(used <= input.len());
        let verdict = match request {
            Request::More { has_head } => Self::More(has_head),
            Request::Knock(_) => Self::Knock(used),
            Request::Publish(publish) => {
                let request = publish.request;
                assert_eq!(request.method, "POST");
                assert!(input[..used].ends_with(request.body));
                Self::Publish {
                    used,
                    app: publish.app_id.to_owned(),
                    is_batch: publish.is_batch,
                    path: request.path.to_owned(),
                    query: request.query.to_owned(),
                    body: request.body.to_vec(),
                }
            }
            Request::Other => Self::Other,
            Request::Refuse(error) => Self::Refuse(error.status.as_u16()),
        };
        match verdict {
            Self::More(_) | Self::Other => assert_eq!(used, 0),
            Self::Refuse(status) => {
                assert_eq!(used, input.len());
                assert!(matches!(status, 400 | 413 | 431), "{status}");
            }
            Self::Knock(_) | Self::Publish { .. } => assert!(used > 0),
        }
        verdict
    }

    /// Holds the verdict on the whole input against what others make of it.
    fn judge(&self, input: &[u8], prefix: &str) {
        let used = match self {
            Self::More(_) => {
                assert!(input.len() <= MOST_HEAD + 48 * 1024, "nobody keeps so much");
                return;
            }
            Self::Refuse(413) => {
                let headers = clean(input);
                let mut lengths = headers.iter().filter(|line| line.0 == "content-length");
                let length = lengths.next().map(|line| &*line.1).unwrap_or_default();
                let length = std::str::from_utf8(length).map(str::parse::<usize>);
                assert!(matches!(length, Ok(Ok(length)) if length > MOST_BODY));
                assert!(target(input).starts_with(&format!("{prefix}/apps/")));
                return;
            }
            Self::Refuse(_) => return,
            Self::Other => {
                clean(input);
                return;
            }
            Self::Knock(used) | Self::Publish { used, .. } => *used,
        };
        let headers = clean(input);
        let all = |name: &str| headers.iter().filter(move |line| line.0 == name).count();
        assert_eq!(all("transfer-encoding"), 0);
        // hyper, and whoever stands before us, must find the same request there, and the next one where we find it.
        let mut both = input[..used].to_vec();
        both.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n");
        let (seen, error) = hyper::serve(&both);
        match self {
            Self::Publish {
                app,
                is_batch,
                path,
                query,
                body,
                ..
            } => {
                assert_eq!(all("content-length"), 1);
                let events = if *is_batch { "batch_events" } else { "events" };
                assert_eq!(*path, format!("{prefix}/apps/{app}/{events}"));
                let target = target(input);
                assert_eq!(
                    target.split_once('?').unwrap_or((target, "")),
                    (&**path, &**query)
                );
                if target.parse::<http::Uri>().is_err() {
                    // A character that hyper wants escaped. We take what clients send.
                    return assert!(seen.is_empty() && error.is_some());
                }
                assert_eq!(seen.len(), 2, "{error:?}: {seen:?}");
                assert_eq!((&*seen[0].method, &*seen[0].target), ("POST", target));
                assert_eq!(seen[0].body, *body);
                assert_eq!((&*seen[1].method, &*seen[1].target), ("GET", "/next"));
            }
            _ => {
                assert_eq!(all("content-length"), 0);
                assert!(
                    seen.first()
                        .is_none_or(|seen| seen.body.is_empty() && seen.method == "GET")
                );
            }
        }
    }
}

/// What the first line asks for.
fn target(input: &[u8]) -> &str {
    let target = input.trim_ascii_start().split(|b| *b == b' ').nth(1);
    std::str::from_utf8(target.expect("a target")).expect("text")
}

/// The lines of a head that was not refused, names in lower case: nobody could read them in another way.
fn clean(input: &[u8]) -> Vec<(String, Vec<u8>)> {
    let blank = input
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let text = &input[blank..];
    let end = text
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a whole head");
    let head = &text[..end];
    assert!(blank + end + 4 <= MOST_HEAD);
    assert!(!head.contains(&0), "NUL");
    let lines: Vec<&[u8]> = head
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    assert_eq!(lines.join(&b"\r\n"[..]), head, "a bare LF");
    assert!(lines.iter().all(|line| !line.contains(&b'\r')), "a bare CR");
    let headers: Vec<(String, Vec<u8>)> = lines[1..]
        .iter()
        .map(|line| {
            let colon = line.iter().position(|b| *b == b':').expect("name: value");
            let name = std::str::from_utf8(&line[..colon]).expect("ASCII");
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            assert!(!name.is_empty() && name.chars().all(is_token), "{name:?}");
            (
                name.to_ascii_lowercase(),
                line[colon + 1..].trim_ascii().to_vec(),
            )
        })
        .collect();
    let all = |name: &str| -> Vec<&[u8]> {
        let found = headers.iter().filter(|line| line.0 == name);
        found.map(|line| &*line.1).collect()
    };
    let (lengths, encodings) = (all("content-length"), all("transfer-encoding"));
    assert!(
        lengths.len() + encodings.len() <= 1,
        "{lengths:?} {encodings:?}"
    );
    assert!(
        lengths
            .iter()
            .all(|length| !length.is_empty() && length.iter().all(u8::is_ascii_digit))
    );
    assert!(
        encodings
            .iter()
            .all(|encoding| encoding.eq_ignore_ascii_case(b"chunked"))
    );
    let is_old = lines[0].ends_with(b" HTTP/1.0");
    assert!(is_old || all("host").len() == 1);
    assert!(!is_old || encodings.is_empty());
    headers
}

/// In pieces the same is read, and nothing before it is whole.
fn pieces(input: &[u8], prefix: &str, whole: &Verdict) {
    let mut dice = Dice::of(input);
    let mut cuts: Vec<usize> = match input.len() {
        0..64 => (0..input.len()).collect(),
        length => (0..24).map(|_| dice.below(length)).collect(),
    };
    if let Verdict::Knock(used) | Verdict::Publish { used, .. } = whole {
        cuts.extend([*used - 1, *used]);
    }
    cuts.sort_unstable();
    let (mut has_head, mut settled) = (false, None);
    for cut in cuts {
        let part = Verdict::of(&input[..cut], prefix);
        match &part {
            Verdict::More(head) => {
                assert!(
                    settled.is_none(),
                    "{settled:?} before, now there shall be more"
                );
                assert!(*head || !has_head, "the head was whole before");
                has_head = *head;
            }
            _ => {
                settled = settled.or_else(|| Some(part.clone()));
            }
        }
        match (&part, whole) {
            (Verdict::More(_), _) => {}
            // Which of two faults is seen depends on how much has come.
            (Verdict::Refuse(_), Verdict::Refuse(_)) => {}
            _ => assert_eq!(&part, whole, "cut at {cut}"),
        }
    }
    if has_head {
        assert!(
            matches!(whole, Verdict::More(true) | Verdict::Publish { .. }),
            "{whole:?}"
        );
    }
}

/// The bytes of a handshake, as they come from the socket.
pub fn handshake(data: &[u8]) {
    for is_trusted in [false, true] {
        let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
        let (used, Request::Knock(knock)) = front::read(data, "", is_trusted, Some(peer)) else {
            return;
        };
        let headers = clean(data);
        // What is no text counts as not there.
        let line = |name: &str| {
            let mut lines = headers.iter().filter(|line| line.0 == name);
            lines.find_map(|line| std::str::from_utf8(&line.1).ok())
        };
        assert!(data[..used].ends_with(b"\r\n\r\n"));
        let target = target(data);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = path
            .strip_prefix("/app/")
            .filter(|key| !key.is_empty() && !key.contains('/'));
        assert_eq!(
            knock.key(),
            key.map(|key| crate::protocol::auth::decode(key, false))
                .as_deref()
        );
        answered(
            &knock,
            line("sec-websocket-key"),
            line("sec-websocket-protocol"),
        );
        let forwarded = headers.iter().find(|line| line.0 == "x-forwarded-proto");
        let is_tls = is_trusted
            && forwarded.is_some_and(|line| {
                let first = line.1.split(|b| *b == b',').next().unwrap_or_default();
                let first = first.trim_ascii();
                let is_text = std::str::from_utf8(&line.1).is_ok();
                is_text
                    && [&b"https"[..], b"wss"]
                        .iter()
                        .any(|tls| first.eq_ignore_ascii_case(tls))
            });
        decided(&knock, query, is_tls, line("origin"));
    }
}

/// The answer is a head that clients can read, with what they asked for and no more.
fn answered(knock: &Knock, nonce: Option<&str>, offered: Option<&str>) {
    let mut head = String::from("HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in knock.answer() {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut headers = [httparse::EMPTY_HEADER; 4];
    let mut response = httparse::Response::new(&mut headers);
    let length = response.parse(head.as_bytes()).expect("a head");
    assert_eq!(length, httparse::Status::Complete(head.len()));
    let read: Vec<(&str, &[u8])> = response
        .headers
        .iter()
        .map(|line| (line.name, line.value))
        .collect();
    let written: Vec<(&str, &[u8])> = knock
        .answer()
        .map(|(name, value)| (name, value.as_bytes()))
        .collect();
    assert_eq!(read, written);
    let nonce = nonce.expect("a nonce").trim();
    assert_eq!(nonce.len(), 24);
    assert_eq!(written[0].1, derive_accept_key(nonce.as_bytes()).as_bytes());
    let offered: Vec<&str> = offered
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    match written.get(1) {
        None => assert!(offered.is_empty(), "{offered:?}"),
        Some((_, chosen)) => {
            assert!(offered.iter().any(|name| name.as_bytes() == *chosen));
            let is_ours = |name: &[u8]| name.starts_with(b"pusher-channels-protocol-");
            let has_ours = offered.iter().any(|name| is_ours(name.as_bytes()));
            assert_eq!(is_ours(chosen), has_ours);
        }
    }
}

fn decided(knock: &Knock, query: &str, is_tls: bool, origin: Option<&str>) {
    static APPS: OnceLock<[Arc<App>; 3]> = OnceLock::new();
    let [open, closed, strict] = APPS.get_or_init(|| {
        let app = super::app().clone();
        let (mut closed, mut strict) = (app.clone(), app.clone());
        closed.active = false;
        strict.force_tls = true;
        strict.allowed_origins = Origins::new(["example.com", "*.example.org"]);
        [app, closed, strict].map(Arc::new)
    });
    let decide = |app: &Arc<App>| knock.decide(Ok(Some(app.clone()))).map(|_| ());
    let version = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("protocol="));
    let is_number =
        |version: &str| !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
    let early = match version {
        _ if knock.key().is_none() => Some(Close::NO_PATH),
        Some(version) if !is_number(version) => Some(Close::BAD_VERSION),
        Some(version) if !["4", "5", "6", "7"].contains(&version.trim_start_matches('0')) => {
            Some(Close::UNSUPPORTED_PROTOCOL)
        }
        _ => None,
    };
    let or = |close: Option<Close>| match early.clone().or(close) {
        Some(close) => Err(close),
        None => Ok(()),
    };
    assert_eq!(decide(open), or(None));
    assert_eq!(decide(closed), or(Some(Close::APP_DISABLED)));
    assert_eq!(knock.decide(Ok(None)).map(|_| ()), or(Some(Close::NO_APP)));
    let refusal = match is_tls {
        false => Some(Close::TLS_ONLY),
        true => (!strict.allowed_origins.allow(origin)).then_some(Close::ORIGIN),
    };
    assert_eq!(decide(strict), or(refusal));
}
