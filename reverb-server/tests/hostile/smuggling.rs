//! Requests that two readers might understand differently, each with a second one hidden where the wrong reader would find
//! it: one answer, an error, and the end. Source: RFC 9112 sections 2.2, 5, 6 and 7.

use crate::backend::{Backend, request, target};
use crate::client::Client;
use crate::server::{Server, shop};
use crate::shapes::{heads, hidden, odd_chunks};
use crate::wire::{Reply, Wire, handshake};

/// What a connection whose later requests somebody else reads, by rules of his own, may read in one way all the same.
enum Otherwise {
    /// Not at all.
    Never,
    /// By its chunks, if that is the last answer.
    Last,
    /// As it stands, so that the hidden request is simply the next one: RFC 9112 section 2.2 lets a line end in a line
    /// feed, and section 6.3 lets a length be said twice.
    Next,
}

fn otherwise(what: &str) -> Otherwise {
    match what {
        "two lengths that agree"
        | "a line that ends in a line feed"
        | "a head that ends in line feeds" => Otherwise::Next,
        _ if what.starts_with("both lengths") => Otherwise::Last,
        _ => Otherwise::Never,
    }
}

/// Whether this is an error after which nothing can come, as the API tells it.
fn refuses(reply: &Reply) -> bool {
    (400..500).contains(&reply.status) && reply.says_close() && reply.is_told()
}

/// What is wrong with the answers to this, if it is all that a connection says.
fn alone(server: &Server, what: &str, bytes: &[u8], has_chunks: bool) -> Option<String> {
    let mut wire = Wire::connect(server).about(what);
    wire.try_send(bytes);
    if has_chunks {
        // Where one size is taken for another, more may be waited for.
        wire.finish();
    }
    let (reply, second) = (wire.reply(), wire.try_reply());
    let is_right = refuses(&reply) && second.is_none();
    (!is_right).then(|| format!("{what}, alone: {reply:?}, then {second:?}"))
}

/// The same after a good request on the same connection; and how many events were sent rightly.
fn after_another(
    server: &Server,
    what: &str,
    bytes: &[u8],
    has_chunks: bool,
) -> (Option<String>, usize) {
    let mut wire = Wire::connect(server).about(what);
    wire.send(request(&shop(), "GET", "/channels/a", &[], b""));
    assert_eq!(wire.reply().status, 200);
    wire.try_send(bytes);
    if has_chunks || matches!(otherwise(what), Otherwise::Next) {
        wire.finish();
    }
    let (reply, second) = (wire.reply(), wire.try_reply());
    let is_sent = |reply: &Reply| reply.status == 200 && reply.body == "{}";
    // Its own words may have no body.
    let is_refused =
        refuses(&reply) || (reply.status == 400 && reply.says_close() && reply.body.is_empty());
    let events = match otherwise(what) {
        Otherwise::Last if is_sent(&reply) && reply.says_close() && second.is_none() => Some(1),
        Otherwise::Next if is_sent(&reply) && second.as_ref().is_some_and(is_sent) => Some(2),
        _ if is_refused && second.is_none() => Some(0),
        _ => None,
    };
    let wrong = events
        .is_none()
        .then(|| format!("{what}, after another: {reply:?}, then {second:?}"));
    (wrong, events.unwrap_or_default())
}

#[test]
fn what_two_readers_might_understand_differently_is_answered_once_and_ends_it() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("a");
    let (heads, chunks) = (heads(), odd_chunks());
    let all = heads
        .iter()
        .map(|head| (head, false))
        .chain(chunks.iter().map(|chunk| (chunk, true)));
    let (mut wrong, mut sent) = (Vec::new(), 0);
    for ((what, bytes), has_chunks) in all {
        wrong.extend(alone(&server, what, bytes, has_chunks));
        let (one, events) = after_another(&server, what, bytes, has_chunks);
        wrong.extend(one);
        sent += events;
        server.is_well();
    }
    let heard = client.hear_all().len();
    eprintln!(
        "{} shapes, {} answers were wrong",
        heads.len() + chunks.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(heard, sent, "something was smuggled in");
    server.ends_well();
}

/// First lines of requests whose body is another request. `SIGNED` stands for the query that signs it.
const BEFORE_A_BODY: &str = "POST /apps/1001/events?SIGNED
POST /apps/1001/batch_events?SIGNED
POST /apps/1001/users/7/terminate_connections?SIGNED
GET /apps/1001/channels?SIGNED
GET /apps/1001/channels/a?SIGNED
POST /apps/1001/events
GET /apps/1001/channels
PUT /apps/1001/events
POST /nothing
GET /up
POST /up
GET /app/app-key
POST /app/app-key";

/// A body is a body, whatever it looks like.
#[test]
fn a_request_within_a_body_is_never_read() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("a");
    let hidden = hidden();
    let n = hidden.len();
    let whole = [format!("Content-Length: {n}\r\n\r\n").as_bytes(), &hidden].concat();
    let start = format!("Transfer-Encoding: chunked\r\n\r\n{n:x}\r\n");
    let chunked = [start.as_bytes(), &hidden, b"\r\n0\r\n\r\n"].concat();
    for line in BEFORE_A_BODY.lines() {
        let (method, path) = line.split_once(' ').expect("a blank");
        let path = match path.strip_suffix("?SIGNED") {
            Some(path) => target(&shop(), method, path, &[], &hidden),
            None => path.to_owned(),
        };
        for headers in ["", "Expect: 100-continue\r\n"] {
            for body in [&whole, &chunked] {
                let mut wire = Wire::connect(&server).about(line);
                let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}");
                wire.send([head.as_bytes(), body].concat());
                wire.finish();
                let (reply, second) = (wire.reply(), wire.try_reply());
                assert!(second.is_none(), "{line}: {reply:?}, then {second:?}");
            }
        }
        server.is_well();
    }
    // A handshake with a body is refused, or what is in the body are the client's frames, and none of them good.
    let head = handshake("/app/app-key").replace("\r\n\r\n", "\r\n");
    for body in [&whole, &chunked] {
        let mut wire = Wire::connect(&server);
        wire.send([head.as_bytes(), body].concat());
        wire.finish();
        let all = String::from_utf8_lossy(&wire.all()).into_owned();
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
        assert!(!all.contains("HTTP/1.1 200"), "{all}");
    }
    client.hears_nothing();
    Backend::of(&server, &shop()).publish("a", "open", "1");
    client.expect_on("a", "open", "1");
    server.ends_well();
}
