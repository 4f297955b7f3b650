//! Being there, and being let go. Source: PROTOCOL 1.4 and 1.9.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{House, app, stopped_clock};
use crate::wire::{frame, handshake};

/// A text frame's first byte: final, opcode 1.
const TEXT: u8 = 0x81;
const PING: &[u8] = br#"{"event":"pusher:ping","data":{}}"#;
/// The app's activity timeout, and one tick of the hub's clock of deadlines.
const SILENCE: Duration = Duration::from_millis(30_250);
const PONG: &str = r#"{"event":"pusher:pong","data":{}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_however_they_are_written() {
    let house = House::plain().await;
    let mut client = house.client().await;
    for ping in [
        r#"{"event":"pusher:ping","data":{}}"#,
        r#"{"event": "pusher:ping"}"#,
        r#"{"event":"pusher:ping","data":null}"#,
        r#"{"data":"","event":"pusher:ping"}"#,
        r#"{"event":"pusher:ping","data":"{}","userId":null}"#,
    ] {
        client.send_text(ping).await;
        assert_eq!(client.next_text().await, PONG, "{ping}");
    }
    // A pong needs no answer.
    client
        .send(json!({"event": "pusher:pong", "data": {}}))
        .await;
    client.ping().await;
    client
        .send_frame(Message::Ping(b"abc".to_vec().into()))
        .await;
    assert_eq!(
        client.next_frame().await,
        Some(Message::Pong(b"abc".to_vec().into()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_asked_by_a_frame_and_then_let_go() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app()]).await;
    let mut wire = house.wire().await;
    // It joins nothing: half-open sockets must not stay for ever.
    wire.shake_hands("/app/app-key?protocol=5", b"").await;
    wire.text().await;
    clock.advance(SILENCE);
    assert_eq!(wire.frame().await, (0x89, Vec::new()), "a ping frame");
    clock.advance(SILENCE);
    let error: Value = serde_json::from_str(&wire.text().await).expect("JSON");
    assert_eq!(
        error,
        json!({"event": "pusher:error", "data": {"code": 4201, "message": "Pong reply not received"}})
    );
    assert_eq!(wire.closed().await, 4201);
    wire.finish().await;
    wire.ended().await;
    house.settles(|sizes| sizes.connections == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_answers_pings_stays() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app()]).await;
    let mut client = house.client().await;
    for _ in 0..4 {
        clock.advance(SILENCE);
        assert_eq!(
            client.next_frame().await,
            Some(Message::Ping(Default::default()))
        );
        // tungstenite's pong goes out with whatever comes next.
        client.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_frame_is_a_sign_of_life() {
    let clock = stopped_clock();
    let alive = [
        frame(TEXT, br#"{"event":"pusher:pong","data":{}}"#),
        frame(0x8a, b""),
        frame(TEXT, b"nonsense"),
        frame(0x01, b"the beginning of a message"),
    ];
    for sign in alive {
        // With one shard what is sent first is heard first.
        let house = House::with([app()], |builder| builder.shards(1).clock(clock.clone())).await;
        let (mut lively, mut silent) = (house.wire().await, house.wire().await);
        for wire in [&mut lively, &mut silent] {
            wire.shake_hands("/app/app-key", b"").await;
            wire.text().await;
        }
        let mut witness = house.client().await;
        clock.advance(Duration::from_secs(29));
        lively.send(&sign).await;
        witness.ping().await;
        clock.advance(Duration::from_secs(29));
        // The silent one was looked at, and so was the lively one, whose turn is first.
        assert_eq!(silent.frame().await.0, 0x89);
        let is_fragment = sign[0] == 0x01;
        lively
            .send(if is_fragment {
                frame(0x80, b"")
            } else {
                frame(TEXT, PING)
            })
            .await;
        let answer = loop {
            let text = lively.text().await;
            if !text.contains("invalid JSON") || is_fragment {
                break text;
            }
        };
        assert!(answer == PONG || is_fragment, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_let_go_and_holds_nobody_up() {
    let house = House::plain().await;
    let (mut quick, mut slow) = (house.client().await, house.wire().await);
    quick.subscribe("news").await;
    slow.shake_hands(
        "/app/app-key",
        &frame(
            TEXT,
            br#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#,
        ),
    )
    .await;
    slow.text().await;
    slow.text().await;
    let mut api = house.api().await;
    let event = json!({"name": "e", "channel": "news", "data": "x".repeat(10_000)});
    let batch = json!({"batch": vec![event; 10]});
    let mut batches = 0;
    // Who is cut has five seconds to hear of it.
    while house.hub.sizes().connections > 1 {
        batches += 1;
        assert!(batches < 1000, "nobody is cut");
        assert_eq!(api.post("/batch_events", &batch).await.ok(), "{}");
        for _ in 0..10 {
            quick.next().await;
        }
    }
    let mut last = Value::Null;
    loop {
        let (first, payload) = slow.frame().await;
        if first == 0x88 {
            assert_eq!(payload[..2], 4100_u16.to_be_bytes());
            break;
        }
        last = serde_json::from_slice(&payload).expect("JSON");
    }
    assert_eq!(last["event"], "pusher:error");
    assert_eq!(last["data"]["code"], 4100);
    quick.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_vanish_in_the_middle_of_anything() {
    let house = House::plain().await;
    let whole = [handshake("/app/app-key").as_bytes(), &frame(TEXT, PING)].concat();
    for length in (1..whole.len()).step_by(7) {
        let mut wire = house.wire().await;
        wire.send(&whole[..length]).await;
        if length % 2 == 0 {
            wire.finish().await;
        }
    }
    house.client().await.ping().await;
    house.settles(|sizes| sizes == Default::default()).await;
}
