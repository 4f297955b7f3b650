//! Where HTTP ends: what is no request, what could be two, and what takes too long. Source: RFC 9112.

use std::time::Duration;

use reverb_core::clock::ManualClock;
use serde_json::json;

use crate::api::Api;
use crate::client::Client;
use crate::harness::{House, app, stopped_clock};
use crate::http_wire::{EVENT, publish_with, with_listener};
use crate::wire::Wire;

/// What two readers might understand differently. Each would make a second request of its body, were it read wrongly.
fn smuggled(api: &Api) -> Vec<(&'static str, Vec<u8>)> {
    let hidden = api.request(
        "POST",
        "/events",
        &[],
        br#"{"name":"smuggled","channel":"a","data":""}"#,
    );
    let n = EVENT.len();
    let length = format!("Content-Length: {n}\r\n");
    let chunks = [format!("{n:x}\r\n").as_bytes(), EVENT, b"\r\n0\r\n\r\n"].concat();
    let with = |headers: String, sent: &[u8]| {
        [&publish_with(api, &headers, EVENT, sent)[..], &hidden].concat()
    };
    let te = |value: &str| format!("Transfer-Encoding: {value}\r\n");
    let mut all = vec![
        (
            "both lengths",
            with(format!("{length}{}", te("chunked")), &chunks),
        ),
        (
            "both lengths, the other way round",
            with(format!("{}Content-Length: 5\r\n", te("chunked")), &chunks),
        ),
        (
            "two lengths that differ",
            with(format!("{length}Content-Length: 0\r\n"), EVENT),
        ),
        (
            "two lengths in one",
            with(format!("Content-Length: {n}, {n}\r\n"), EVENT),
        ),
        (
            "a length with a sign",
            with(format!("Content-Length: +{n}\r\n"), EVENT),
        ),
        (
            "a length in hex",
            with("Content-Length: 0x10\r\n".into(), EVENT),
        ),
        (
            "a length that is none",
            with("Content-Length: \r\n".into(), EVENT),
        ),
        (
            "a negative length",
            with("Content-Length: -1\r\n".into(), EVENT),
        ),
        ("chunked and more", with(te("chunked, identity"), &chunks)),
        ("more and chunked", with(te("gzip, chunked"), &chunks)),
        ("something like chunked", with(te("xchunked"), &chunks)),
        (
            "chunked twice",
            with(format!("{}{}", te("chunked"), te("chunked")), &chunks),
        ),
        (
            "a folded header",
            with(
                format!("{length}X: y\r\n Transfer-Encoding: chunked\r\n"),
                EVENT,
            ),
        ),
        (
            "a blank before the colon",
            with(format!("Content-Length : {n}\r\n"), EVENT),
        ),
        (
            "a bare line feed",
            with(
                format!("{length}X: y\nTransfer-Encoding: chunked\r\n"),
                EVENT,
            ),
        ),
        (
            "a bare carriage return",
            with(
                format!("{length}X: y\rTransfer-Encoding: chunked\r\n"),
                EVENT,
            ),
        ),
        ("a NUL", with(format!("{length}X: y\0\r\n"), EVENT)),
        ("two hosts", with(format!("{length}Host: other\r\n"), EVENT)),
    ];
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let good = text(with(length, EVENT));
    all.push((
        "no host",
        good.replacen("Host: localhost\r\n", "", 1).into(),
    ));
    all.push((
        "a blank in the target",
        good.replacen("/events", "/eve nts", 1).into(),
    ));
    let old = text(with(te("chunked"), &chunks)).replacen("HTTP/1.1", "HTTP/1.0", 1);
    all.push(("chunks in HTTP/1.0", old.into()));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_readers_might_understand_differently_is_refused_and_ends_it() {
    let (house, mut client, api) = with_listener().await;
    for (what, request) in smuggled(&api) {
        let mut wire = house.wire().await;
        wire.send(&request).await;
        let reply = wire.reply().await;
        assert_eq!(reply.status, 400, "{what}: {reply:?}");
        wire.ended().await;
    }
    let mut api = api;
    api.publish("a", "marker", "").await;
    client.expect_on("a", "marker", "").await;
}

/// Whoever reads the later requests of a connection must be as strict as whoever read the first. Of two lengths the
/// chunks may count, if that is the last answer.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_refused_as_well_after_another_request() {
    let (house, mut client, mut api) = with_listener().await;
    let get = api.request("GET", "/channels/b", &[], b"");
    let mut wrong = Vec::new();
    for (what, request) in smuggled(&api) {
        let mut wire = house.wire().await;
        wire.send(&get).await;
        assert_eq!(wire.reply().await.ok(), r#"{"occupied":false}"#);
        wire.send(&request).await;
        let reply = wire.reply().await;
        let closes = reply.header("connection") == Some("close");
        if reply.status != 400 && !(what.starts_with("both lengths") && closes) {
            wrong.push((what, reply.status));
        }
    }
    api.publish("a", "marker", "").await;
    loop {
        match client.next().await["event"].as_str() {
            Some("marker") => break,
            Some("smuggled") => wrong.push(("a second request was read", 200)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused() {
    let house = House::plain().await;
    let many = (0..65).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let get =
        |headers: &str| format!("GET /apps/1001/channels HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let large = get(&format!("X: {}\r\n", "y".repeat(16 * 1024)));
    // Whether or not it has come to its end.
    for request in [&large, &large[..large.len() - 4], &get(&many)] {
        let mut wire = house.wire().await;
        wire.send(request).await;
        assert_eq!(wire.reply().await.status, 431);
        wire.ended().await;
    }
    let mut wire = house.wire().await;
    wire.send(get(&format!("X: {}\r\n", "y".repeat(8 * 1024))))
        .await;
    assert_eq!(wire.reply().await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_turned_away() {
    let house = House::plain().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"nonsense\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0",
    ] {
        let mut wire = house.wire().await;
        wire.send(bytes).await;
        assert_eq!(wire.reply().await.status, 400, "{bytes:?}");
        wire.ended().await;
    }
    house.client().await.ping().await;
}

/// One shard, where what was sent first is read first, and somebody whose answers show that it was.
async fn watched() -> (ManualClock, House, Client) {
    let clock = stopped_clock();
    let house = House::with([app()], |builder| builder.shards(1).clock(clock.clone())).await;
    let witness = house.client().await;
    (clock, house, witness)
}

/// A new connection on which this much was sent, and has been read.
async fn begun(house: &House, bytes: &[u8]) -> Wire {
    let mut wire = house.wire().await;
    wire.send(bytes).await;
    house.client().await;
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_let_go_after_ten_seconds() {
    let (clock, house, mut witness) = watched().await;
    let mut silent = begun(&house, b"").await;
    clock.advance(Duration::from_millis(10_250));
    silent.ended().await;
    witness.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_ten_seconds_and_a_byte_now_and_then_does_not_prolong_them() {
    let (clock, house, mut witness) = watched().await;
    let mut slow = begun(&house, b"POST /apps/1001/events HTTP/1.1\r\nHo").await;
    for _ in 0..3 {
        clock.advance(Duration::from_secs(3));
        slow.send(b"s").await;
        witness.ping().await;
    }
    clock.advance(Duration::from_millis(1250));
    let reply = slow.reply().await;
    assert_eq!(
        (reply.status, reply.header("connection")),
        (408, Some("close"))
    );
    slow.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_thirty_seconds() {
    let (clock, house, mut witness) = watched().await;
    let api = house.api().await;
    let request = api.request("POST", "/events", &[], EVENT);
    let (almost, last) = request.split_at(request.len() - 1);
    let (mut quick, mut slow) = (begun(&house, almost).await, begun(&house, almost).await);
    clock.advance(Duration::from_secs(25));
    quick.send(last).await;
    assert_eq!(quick.reply().await.ok(), "{}");
    witness.ping().await;
    clock.advance(Duration::from_millis(5250));
    let reply = slow.reply().await;
    assert_eq!(
        (reply.status, reply.header("connection")),
        (408, Some("close"))
    );
    slow.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_kept_for_over_a_minute() {
    let (clock, house, _) = watched().await;
    let mut api = house.api().await;
    let event = json!({"name": "e", "channel": "a", "data": "1"});
    assert_eq!(api.post("/events", &event).await.ok(), "{}");
    for _ in 0..2 {
        clock.advance(Duration::from_secs(60));
        assert_eq!(api.post("/events", &event).await.ok(), "{}");
    }
    clock.advance(Duration::from_millis(75_250));
    api.wire.ended().await;
}
