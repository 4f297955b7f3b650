//! Frames that RFC 6455 forbids, and those that promise more than anybody may send: each closes with its code, and the
//! connection ends, also if the peer stays.

use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::server::{Server, shop};
use crate::wire::{CLOSE, PING, PONG, TEXT, Wire, frame, header};

/// Largest message with the limits that everybody has.
fn largest() -> usize {
    shop().limits.message_bytes()
}

/// A close frame with this code and reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn broken() -> Vec<(String, Vec<u8>, u16)> {
    let mut cases = Vec::new();
    let mut case = |what: &str, bytes: Vec<u8>, code| cases.push((what.to_owned(), bytes, code));
    for bit in [0x40, 0x20, 0x10, 0x70] {
        case(
            &format!("reserved bits {bit:#x} in a text"),
            frame(TEXT | bit, b"{}"),
            1002,
        );
        case(
            &format!("reserved bits {bit:#x} in a ping"),
            frame(PING | bit, b""),
            1002,
        );
        case(
            &format!("reserved bits {bit:#x} in a close"),
            frame(CLOSE | bit, b""),
            1002,
        );
        let continued = [frame(0x01, b"{"), frame(0x80 | bit, b"}")].concat();
        case(
            &format!("reserved bits {bit:#x} in a continuation"),
            continued,
            1002,
        );
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        case(
            &format!("opcode {opcode}"),
            frame(0x80 | opcode, b"{}"),
            1002,
        );
        case(
            &format!("opcode {opcode}, empty"),
            frame(0x80 | opcode, b""),
            1002,
        );
        case(
            &format!("opcode {opcode}, to be continued"),
            frame(opcode, b"{}"),
            1002,
        );
    }
    for first in [TEXT, PING, PONG, CLOSE, 0x01] {
        let bytes = [&[first, 2][..], b"{}"].concat();
        case(&format!("{first:#x} without a mask"), bytes, 1002);
    }
    for first in [PING, PONG, CLOSE] {
        case(
            &format!("{first:#x} in pieces"),
            frame(first & 0x0f, b""),
            1002,
        );
        case(
            &format!("{first:#x} of 126 bytes"),
            frame(first, &[b'x'; 126]),
            1002,
        );
        let long = [header(first, 65_536), vec![0; 4]].concat();
        case(&format!("{first:#x} that promises 64 KiB"), long, 1002);
    }
    case("a continuation of nothing", frame(0x80, b"{}"), 1002);
    case("a piece of nothing", frame(0x00, b"{}"), 1002);
    let twice = [frame(TEXT, br#"{"event":"pusher:pong"}"#), frame(0x80, b"")].concat();
    case("a continuation of a whole message", twice, 1002);
    let within = |second| [frame(0x01, b"{"), frame(0x00, b" "), second].concat();
    case(
        "a message within a message",
        within(frame(TEXT, b"{}")),
        1002,
    );
    case(
        "a binary message within a message",
        within(frame(0x82, b"")),
        1002,
    );
    case("a second start", within(frame(0x01, b"{")), 1002);
    case("an empty second start", within(frame(0x01, b"")), 1002);
    case("half a close code", frame(CLOSE, &[3]), 1002);
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        case(&format!("close code {code}"), close(code, b""), 1002);
    }
    case(
        "a close reason that is no UTF-8",
        close(1000, b"\xff"),
        1007,
    );
    case(
        "a close reason that ends within a character",
        close(1000, "ü".as_bytes().split_at(1).0),
        1007,
    );
    case(
        "a close reason with a surrogate",
        close(1000, b"\xed\xa0\x80"),
        1007,
    );
    for (what, bytes) in [
        ("a byte that is never UTF-8", &b"\xff"[..]),
        ("a continuation byte alone", b"\x80"),
        ("a character cut short", b"\xe2\x82"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong NUL", b"\xc0\x80"),
        ("an overlong euro", b"\xf0\x82\x82\xac"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("a character beyond all planes", b"\xf4\x90\x80\x80"),
        ("five bytes for one character", b"\xf8\x88\x80\x80\x80"),
    ] {
        case(
            &format!("{what} in a text"),
            frame(TEXT, &[b"{\"", bytes, b"\"}"].concat()),
            1007,
        );
        case(&format!("{what} at the end"), frame(TEXT, bytes), 1007);
        let split = [
            frame(0x01, &bytes[..1]),
            frame(0x00, b""),
            frame(0x80, &bytes[1..]),
        ]
        .concat();
        case(&format!("{what} over three frames"), split, 1007);
    }
    // Two bytes that end it, or not: it need not be waited for.
    case(
        "what is no UTF-8, in a message that goes on",
        frame(0x01, b"\xc3\x28"),
        1007,
    );
    case("binary", frame(0x82, b"abc"), 1003);
    case(
        "binary in pieces",
        [frame(0x02, b"\xff"), frame(0x80, b"\xff")].concat(),
        1003,
    );
    case(
        "a byte too long",
        frame(TEXT, &vec![b' '; largest() + 1]),
        1009,
    );
    let together = [frame(0x01, &vec![b' '; largest()]), frame(0x80, b" ")].concat();
    case("a byte too long together", together, 1009);
    let many = [
        frame(0x01, b"{"),
        frame(0x00, &[b' '; 1000]).repeat(largest() / 1000 + 1),
    ]
    .concat();
    case("too long in many pieces", many, 1009);
    cases
}

/// Says this to a server that has greeted it, and expects this code; the connection stays open on this side.
#[track_caller]
fn is_closed(server: &Server, what: &str, bytes: &[u8], code: u16) -> Wire {
    let mut wire = Client::enter(server, &shop()).wire;
    // What comes after it must not matter.
    wire.try_send([bytes, &frame(TEXT, br#"{"event":"pusher:ping"}"#)].concat());
    match wire.frame() {
        Some((CLOSE, payload)) => {
            assert_eq!(
                payload.get(..2),
                Some(&code.to_be_bytes()[..]),
                "{what}: {payload:?}"
            );
            assert!(std::str::from_utf8(&payload[2..]).is_ok(), "{what}");
        }
        other => panic!("{what}: a close frame was expected, not {other:?}"),
    }
    wire.ends();
    wire
}

#[test]
fn every_break_of_the_rules_closes_with_its_code_and_the_connection_ends() {
    let server = Server::start();
    server.is_well();
    let before = server.descriptors();
    let cases = broken();
    eprintln!("{} breaks of the rules", cases.len());
    let mut stay = Vec::new();
    for (what, bytes, code) in &cases {
        stay.push(is_closed(&server, what, bytes, *code));
        server.is_well();
    }
    // None of those has closed: the server does, two seconds after it has said all.
    server.comes_down_to(before, Duration::from_secs(3));
    drop(stay);
    server.ends_well();
}

#[test]
fn a_client_that_says_goodbye_and_stays_is_let_go() {
    let server = Server::start();
    server.is_well();
    let before = server.descriptors();
    let mut stay = Vec::new();
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 3000, 4000, 4999] {
        let reason = "ü".repeat(61);
        let mut wire = Client::enter(&server, &shop()).wire;
        wire.send(
            [
                close(code, reason.as_bytes()),
                frame(PING, b"after the end"),
            ]
            .concat(),
        );
        assert_eq!(wire.closed(), code);
        stay.push(wire);
    }
    let mut wire = Client::enter(&server, &shop()).wire;
    wire.send(frame(CLOSE, b""));
    assert_eq!(wire.frame(), Some((CLOSE, vec![])));
    wire.ends();
    server.comes_down_to(before, Duration::from_secs(3));
    drop(stay);
    server.ends_well();
}

/// Neither the header of a frame nor a piece of it may make the server set memory aside.
#[test]
fn a_frame_that_promises_gigabytes_is_refused_by_its_header() {
    const MOST: u64 = 8 * 1024;
    let server = Server::start();
    let before = server.memory();
    let memory = server.watch_memory();
    let mut stay = Vec::new();
    for length in [
        largest() as u64 + 1,
        1 << 30,
        1 << 32,
        (1 << 63) - 1,
        1 << 63,
        u64::MAX,
    ] {
        for first in [TEXT, 0x01, 0x82] {
            for payload in [0, 1, 1000] {
                let bytes = [header(first, length), vec![0; 4 + payload]].concat();
                stay.push(is_closed(
                    &server,
                    &format!("{first:#x} of {length} bytes"),
                    &bytes,
                    1009,
                ));
            }
        }
        let continued = [frame(0x01, b"{"), header(0x00, length), vec![0; 4]].concat();
        stay.push(is_closed(
            &server,
            &format!("{length} bytes more"),
            &continued,
            1009,
        ));
        server.is_well();
    }
    // As much as may be said, promised a thousand times and never said.
    let promise = [header(TEXT, largest() as u64), vec![0; 5]].concat();
    for _ in 0..1000 {
        let mut wire = Client::enter(&server, &shop()).wire;
        wire.send(&promise);
        stay.push(wire);
    }
    server.is_well();
    let growth = memory.most().saturating_sub(before);
    eprintln!("promises of gigabytes cost {growth} KiB");
    assert!(growth < MOST, "{growth} KiB");
    drop(stay);
    server.ends_well();
}

/// A header or a payload in pieces is not read from its beginning again and again.
#[test]
fn a_message_that_comes_byte_by_byte_costs_little() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    let mut message = br#"{"event":"pusher:ping","data":""#.to_vec();
    message.resize(30_000, b' ');
    message.extend_from_slice(br#""}"#);
    let used = server.processor();
    for bytes in [frame(TEXT, &message), frame(PING, &[b'x'; 125])] {
        let answers = bytes.len() > 1000;
        bytes.chunks(1).for_each(|byte| client.wire.send(byte));
        match client.wire.frame().expect("an answer") {
            (TEXT, text) => assert!(answers && text.starts_with(br#"{"event":"pusher:pong""#)),
            (first, payload) => assert!(!answers && first == PONG && payload == [b'x'; 125]),
        }
    }
    let used = server.processor() - used;
    eprintln!("30 KB byte by byte took {used:?} of processor time");
    assert!(used < Duration::from_secs(5), "{used:?}");
    thread::yield_now();
    server.ends_well();
}
