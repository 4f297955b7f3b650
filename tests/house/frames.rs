//! Frames and messages, right and wrong. Source: RFC 6455; PROTOCOL 1.2 and 1.8.

use serde_json::Value;

use crate::harness::{House, app};
use crate::wire::frame;

/// A text frame's first byte: final, opcode 1.
const TEXT: u8 = 0x81;
const PING: &[u8] = br#"{"event":"pusher:ping","data":{}}"#;
const PONG: &str = r#"{"event":"pusher:pong","data":{}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_wrong_close_with_the_code_of_rfc_6455() {
    let house = House::plain().await;
    let limit = app().limits.message_bytes();
    let huge_by_its_header = [&[TEXT, 0xff], &u64::MAX.to_be_bytes()[..], &[0; 4]].concat();
    let mut unmasked = vec![TEXT, 2];
    unmasked.extend_from_slice(b"{}");
    let cases = [
        ("binary", frame(0x82, b"abc"), 1003),
        ("not UTF-8", frame(TEXT, &[0xc3, 0x28]), 1007),
        (
            "a surrogate in UTF-8",
            frame(TEXT, &[0xed, 0xa0, 0x80]),
            1007,
        ),
        ("not UTF-8, in a fragment", frame(0x01, &[0xff]), 1007),
        ("too long by its header", huge_by_its_header, 1009),
        (
            "too long by a byte",
            frame(TEXT, &vec![b' '; limit + 1]),
            1009,
        ),
        (
            "too long together",
            [frame(0x01, &vec![b' '; limit]), frame(0x80, b"xx")].concat(),
            1009,
        ),
        ("not masked", unmasked, 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("a reserved opcode", frame(0x83, b"{}"), 1002),
        ("a ping in pieces", frame(0x09, b""), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002),
        (
            "a message within another",
            [frame(0x01, b"{"), frame(TEXT, b"{}")].concat(),
            1002,
        ),
        ("half a close code", frame(0x88, &[3]), 1002),
        (
            "a close code that may not be sent",
            frame(0x88, &1005_u16.to_be_bytes()),
            1002,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut wire = house.wire().await;
        wire.shake_hands("/app/app-key", b"").await;
        wire.text().await;
        wire.send(&bytes).await;
        assert_eq!(wire.closed().await, code, "{what}");
        wire.send(frame(TEXT, PING)).await;
        wire.ended().await;
    }
    house.settles(|sizes| sizes.connections == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_the_limit_and_one_in_pieces_are_heard() {
    let house = House::plain().await;
    let mut wire = house.wire().await;
    wire.shake_hands("/app/app-key", b"").await;
    wire.text().await;
    let mut long = PING.to_vec();
    long.resize(app().limits.message_bytes(), b' ');
    wire.send(frame(TEXT, &long)).await;
    assert_eq!(wire.text().await, PONG);
    // A message of many frames with a ping in between, in writes that fit no frame.
    let mut bytes = frame(0x01, &PING[..5]);
    bytes.extend(frame(0x00, &PING[5..9]));
    bytes.extend(frame(0x89, b"between"));
    bytes.extend(frame(0x00, b""));
    bytes.extend(frame(0x80, &PING[9..]));
    for piece in bytes.chunks(3) {
        wire.send(piece).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(wire.frame().await, (0x8a, b"between".to_vec()));
    assert_eq!(wire.text().await, PONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_gets_its_own_code_back() {
    let house = House::plain().await;
    for (sent, echoed) in [
        (frame(0x88, &1000_u16.to_be_bytes()), vec![3, 232]),
        (frame(0x88, b""), vec![]),
    ] {
        let mut wire = house.wire().await;
        wire.shake_hands("/app/app-key", b"").await;
        wire.text().await;
        wire.send(&sent).await;
        assert_eq!(wire.frame().await, (0x88, echoed));
        wire.ended().await;
    }
    house.settles(|sizes| sizes.connections == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_need_not_wait_for_the_greeting() {
    let house = House::plain().await;
    let hurry = [
        frame(
            TEXT,
            br#"{"event":"pusher:subscribe","data":{"channel":"news","auth":""}}"#,
        ),
        frame(TEXT, PING),
    ];
    let mut wire = house.wire().await;
    wire.shake_hands("/app/app-key", &hurry.concat()).await;
    assert!(wire.text().await.contains("connection_established"));
    assert!(wire.text().await.contains("subscription_succeeded"));
    assert_eq!(wire.text().await, PONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_said_and_nothing_closes() {
    let house = House::plain().await;
    let mut client = house.client().await;
    let deep = format!(
        r#"{{"event":"pusher:ping","data":{}{}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    for (message, says) in [
        ("", "Received invalid JSON"),
        ("nonsense", "Received invalid JSON"),
        ("[]", "Received invalid JSON"),
        (r#""text""#, "Received invalid JSON"),
        (r#"{"event":"pusher:ping"} {}"#, "Received invalid JSON"),
        (r#"{"event":1}"#, "Received invalid JSON"),
        ("{}", "Missing parameter: event"),
        (
            r#"{"event":"pusher:subscribe"}"#,
            "Missing parameter: data.channel",
        ),
        (
            r#"{"event":"pusher:subscribe","data":{"channel":7}}"#,
            "must be strings",
        ),
        (
            r#"{"event":"pusher:nonsense","data":{}}"#,
            "Unsupported event received on socket: 'pusher:nonsense'",
        ),
        (
            r#"{"event":"pusher_internal:member_added","channel":"presence-x","data":{}}"#,
            "Unsupported event",
        ),
        (
            r#"{"event":"order","channel":"news","data":"{}"}"#,
            "Unsupported event",
        ),
    ] {
        client.send_text(message).await;
        client.expect_error(Value::Null, says).await;
    }
    client.send_text(&deep).await;
    let answer = client.next().await["event"].clone();
    assert!(
        answer == "pusher:pong" || answer == "pusher:error",
        "{answer}"
    );
    client.ping().await;
}
