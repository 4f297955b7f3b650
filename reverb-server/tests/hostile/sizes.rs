//! Requests that are too large, without end, compressed, or in very small pieces: each is answered once, and what it would
//! have cost is not spent.

use std::time::Duration;

use crate::backend::{event_to, publish_with};
use crate::client::Client;
use crate::requests::{answer, get};
use crate::server::{Server, now, shop};
use crate::wire::{Wire, handshake, only_answer};

const CHANNELS: &str = "/apps/1001/channels";

/// A header line of so many bytes.
fn line(bytes: usize) -> String {
    format!("X: {}\r\n", "y".repeat(bytes))
}

/// So many header lines.
fn lines(n: usize) -> String {
    (0..n).map(|n| format!("X-{n}: y\r\n")).collect()
}

#[test]
fn a_head_that_is_too_large_is_refused_whether_or_not_it_ends() {
    const LARGE: usize = 17 * 1024;
    let server = Server::start();
    let name = "a".repeat(LARGE);
    let handshake_with = format!("{}Upgrade: ", line(LARGE));
    let in_first_line = [
        get(&format!("/{name}"), ""),
        get(&format!("{CHANNELS}?{name}"), ""),
        handshake(&format!("/app/{name}")),
        format!("{name}{}", &get(CHANNELS, "")[3..]),
    ];
    let in_headers = [
        get(CHANNELS, &line(LARGE)),
        get(CHANNELS, &format!("{name}: y\r\n")),
        handshake("/app/app-key").replace("Upgrade: ", &handshake_with),
        get(CHANNELS, &lines(70)),
        get(CHANNELS, &line(1_000_000)),
        get(CHANNELS, &lines(100_000)),
    ];
    for request in in_first_line.iter().chain(&in_headers) {
        for request in [&request[..], &request[..request.len() - 4]] {
            let reply = only_answer(&server, request);
            let shown = &request[..100];
            assert_eq!(reply.status, 431, "{shown}: {reply:?}");
            assert!(reply.is_told() && reply.says_close(), "{shown}: {reply:?}");
        }
        server.is_well();
    }
    // As the second on a connection it is refused as well.
    for request in &in_headers[3..] {
        let mut wire = Wire::connect(&server).about(&request[..100]);
        wire.send(get("/up", ""));
        assert_eq!(wire.reply().status, 200);
        wire.try_send(request);
        assert_eq!(wire.reply().status, 431);
        wire.ends();
    }
    // Eight kilobytes of cookies are no offence.
    assert_eq!(answer(&server, get(CHANNELS, &line(8 * 1024))).status, 401);
    server.ends_well();
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_comes() {
    const MOST_SENT: usize = 64 << 20;
    let server = Server::start();
    let body = event_to("a", "e", "1");
    let memory = (server.memory(), server.watch_memory());
    let unsigned =
        |header: &str| format!("POST /apps/1001/events HTTP/1.1\r\nHost: x\r\n{header}\r\n");
    for length in [
        "2097153",
        "50000000",
        "9223372036854775807",
        "18446744073709551615",
    ] {
        let header = format!("Content-Length: {length}\r\n");
        let signed = publish_with(&shop(), &header, body.as_bytes(), b"{");
        let reply = only_answer(&server, &signed);
        assert_eq!(reply.status, 413, "{length}: {reply:?}");
        assert!(reply.is_told() && reply.says_close(), "{length}: {reply:?}");
        let reply = only_answer(&server, unsigned(&header) + "{");
        assert!(matches!(reply.status, 401 | 413), "{length}: {reply:?}");
        assert!(reply.is_told() && reply.says_close(), "{length}: {reply:?}");
        server.is_well();
    }
    // Without a length it is counted, and cut; unsigned it is not even counted.
    let chunked = "Transfer-Encoding: chunked\r\n";
    let signed = publish_with(&shop(), chunked, body.as_bytes(), b"");
    let chunk = [b"10000\r\n", &[b' '; 65_536][..], b"\r\n"].concat();
    for (head, status) in [(signed, 413), (unsigned(chunked).into_bytes(), 401)] {
        let (mut wire, mut sent) = (Wire::connect(&server), 0);
        wire.send(head);
        while sent < MOST_SENT && wire.try_send(&chunk) {
            sent += chunk.len();
        }
        assert!(sent < MOST_SENT, "all of it was taken");
        let reply = wire.reply();
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.is_told() && reply.says_close(), "{reply:?}");
        wire.ends();
        server.is_well();
    }
    let growth = memory.1.most().saturating_sub(memory.0);
    eprintln!("bodies without end cost {growth} KiB");
    assert!(growth < 16 * 1024, "{growth} KiB");
    server.ends_well();
}

#[test]
fn compressed_bodies_are_refused() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("a");
    let body = event_to("a", "e", "1").into_bytes();
    // An empty file, as gzip makes it.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    for coding in ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip"] {
        for sent in [&body[..], gzip] {
            let length = format!("Content-Length: {}\r\n", sent.len());
            let headers = format!("{length}Content-Encoding: {coding}\r\n");
            let reply = answer(&server, publish_with(&shop(), &headers, sent, sent));
            assert_eq!(reply.status, 415, "{coding}: {reply:?}");
            assert!(reply.is_told(), "{reply:?}");
        }
        server.is_well();
    }
    client.hears_nothing();
    server.ends_well();
}

/// What is read again and again, as it comes byte by byte, must not be read as often as it has bytes.
#[test]
fn a_head_that_comes_byte_by_byte_costs_little() {
    let server = Server::start();
    let (start, used) = (now(), server.processor());
    let mut wire = Wire::connect(&server);
    for byte in get(CHANNELS, &line(15_000)).bytes() {
        wire.send([byte]);
    }
    assert_eq!(wire.reply().status, 401);
    let used = server.processor() - used;
    let took = start.elapsed();
    eprintln!("15 KB of a head byte by byte took {took:?}, {used:?} of processor time");
    assert!(used < Duration::from_secs(5), "{used:?}");
    server.ends_well();
}
