//! HTTP as bytes: many requests on one connection, and bodies in every shape. Source: RFC 9112, PROTOCOL 7.1.

use serde_json::json;

use crate::api::Api;
use crate::client::Client;
use crate::harness::House;

pub(crate) const EVENT: &[u8] = br#"{"name":"e","channel":"a","data":"1"}"#;

/// A house with a client that hears channel `a`, and a backend.
pub(crate) async fn with_listener() -> (House, Client, Api) {
    let house = House::plain().await;
    let mut client = house.client().await;
    client.subscribe("a").await;
    let api = house.api().await;
    (house, client, api)
}

/// A signed publish to `a` with these header lines instead of the usual one for the length.
pub(crate) fn publish_with(api: &Api, headers: &str, body: &[u8], sent: &[u8]) -> Vec<u8> {
    let target = api.target("POST", "/apps/1001/events", &[], body);
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    [head.as_bytes(), sent].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_request_after_another() {
    let (_house, mut client, mut api) = with_listener().await;
    for round in 0..3 {
        for _ in 0..3 {
            api.publish("a", "e", "1").await;
            client.expect_on("a", "e", "1").await;
        }
        if round > 0 {
            assert_eq!(
                api.get("/channels/a", &[]).await.ok(),
                r#"{"occupied":true}"#
            );
            api.get("/nothing", &[]).await.expect_error(404, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_in_one_write_are_answered_in_their_order() {
    let (house, mut client, _) = with_listener().await;
    // Publishes alone, GETs from the middle on, and a GET first.
    for is_get in [
        |_| false,
        |n: usize| n >= 20 && n.is_multiple_of(3),
        |n: usize| n.is_multiple_of(5),
    ] as [fn(usize) -> bool; 3]
    {
        let mut api = house.api().await;
        let mut all = Vec::new();
        for n in 0..50 {
            let event = json!({"name": "e", "channels": ["a", format!("c{n}")], "data": n.to_string(), "info": "subscription_count"});
            all.extend(match is_get(n) {
                true => api.request("GET", &format!("/channels/presence-{n}"), &[], b""),
                false => api.request("POST", "/events", &[], event.to_string().as_bytes()),
            });
        }
        api.wire.send(&all).await;
        for n in 0..50 {
            let reply = api.wire.reply().await;
            if is_get(n) {
                assert_eq!(reply.ok(), r#"{"occupied":false}"#, "{n}");
            } else {
                let count = json!({"subscription_count": 0});
                assert_eq!(
                    reply.json()["channels"][format!("c{n}")],
                    count,
                    "{n}: {reply:?}"
                );
                client.expect_on("a", "e", &n.to_string()).await;
            }
        }
        api.publish("a", "after", "").await;
        client.expect_on("a", "after", "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_publishes_in_one_go_are_all_answered_and_heard_in_order() {
    let (_house, mut client, mut api) = with_listener().await;
    let mut all = Vec::new();
    for n in 0..2000 {
        let event = json!({"name": "e", "channel": "a", "data": n.to_string()}).to_string();
        all.extend(api.request("POST", "/events", &[], event.as_bytes()));
    }
    api.wire.send(&all).await;
    for n in 0..2000 {
        assert_eq!(api.wire.reply().await.ok(), "{}");
        client.expect_on("a", "e", &n.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_does_not_disturb_what_follows_it() {
    let (_house, mut client, mut api) = with_listener().await;
    let bad = api.request("POST", "/events", &[], b"nonsense");
    let good = api.request("POST", "/events", &[], EVENT);
    let large = json!({"name": "e", "channel": "a", "data": "x".repeat(10_241)}).to_string();
    let large = api.request("POST", "/events", &[], large.as_bytes());
    api.wire.send([&*bad, &good, &large, &good].concat()).await;
    api.wire.reply().await.expect_error(400, "not valid");
    assert_eq!(api.wire.reply().await.ok(), "{}");
    api.wire.reply().await.expect_error(413, "event_bytes");
    assert_eq!(api.wire.reply().await.ok(), "{}");
    client.expect_on("a", "e", "1").await;
    client.expect_on("a", "e", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let (_house, _client, mut api) = with_listener().await;
    let request = api.request("HEAD", "/channels/a", &[], b"");
    api.wire.send(request).await;
    let reply = api.wire.head_only().await;
    assert_eq!(
        (reply.status, reply.header("content-length")),
        (200, Some("17"))
    );
    assert_eq!(
        api.get("/channels/a", &[]).await.ok(),
        r#"{"occupied":true}"#
    );
    api.wire
        .send("HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!(api.wire.head_only().await.status, 404);
    assert_eq!(
        api.get("/channels/a", &[]).await.ok(),
        r#"{"occupied":true}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_put_together() {
    let (_house, mut client, mut api) = with_listener().await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let half = EVENT.len() / 2;
    let (one, two) = (
        String::from_utf8_lossy(&EVENT[..half]),
        String::from_utf8_lossy(&EVENT[half..]),
    );
    let plain = format!(
        "{:x}\r\n{one}\r\n{:X};ext=1\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    let trailers = format!("{:x}\r\n{one}{two}\r\n0\r\nX-Sum: 1\r\n\r\n", EVENT.len());
    for body in [&plain, &trailers] {
        let request = publish_with(&api, chunked, EVENT, body.as_bytes());
        api.wire.send(&request).await;
        assert_eq!(api.wire.reply().await.ok(), "{}");
        client.expect_on("a", "e", "1").await;
    }
    let request = publish_with(&api, chunked, EVENT, plain.as_bytes());
    for piece in request.chunks(7) {
        api.wire.send(piece).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(api.wire.reply().await.ok(), "{}");
    client.expect_on("a", "e", "1").await;
    api.publish("a", "after", "").await;
    client.expect_on("a", "after", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_first_is_told_to_go_on() {
    let (house, mut client, _) = with_listener().await;
    let large = json!({"name": "e", "channel": "a", "data": "1", "padding": "x".repeat(1_200_000)})
        .to_string();
    for body in [EVENT, large.as_bytes()] {
        let mut api = house.api().await;
        let headers = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
        let head = publish_with(&api, &headers, body, b"");
        api.wire.send(&head).await;
        assert_eq!(api.wire.head_only().await.status, 100);
        api.wire.send(body).await;
        assert_eq!(api.wire.reply().await.ok(), "{}");
        client.expect_on("a", "e", "1").await;
        // Who does not wait is answered all the same.
        api.wire
            .send(publish_with(&api, &headers, body, body))
            .await;
        let mut reply = api.wire.head_only().await;
        if reply.status == 100 {
            reply = api.wire.reply().await;
        }
        assert_eq!(reply.status, 200);
        client.expect_on("a", "e", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_come_byte_by_byte() {
    let (_house, mut client, mut api) = with_listener().await;
    for _ in 0..2 {
        let request = api.request("POST", "/events", &[], EVENT);
        for byte in request {
            api.wire.send([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(api.wire.reply().await.ok(), "{}");
        client.expect_on("a", "e", "1").await;
    }
    // The end of one and the beginning of the next in one segment.
    let two = api.request("POST", "/events", &[], EVENT).repeat(2);
    let (first, second) = two.split_at(two.len() / 2 + 20);
    api.wire.send(first).await;
    assert_eq!(api.wire.reply().await.ok(), "{}");
    api.wire.send(second).await;
    assert_eq!(api.wire.reply().await.ok(), "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_megabyte_is_taken_and_one_of_many_is_not() {
    let (house, mut client, mut api) = with_listener().await;
    let body = json!({"name": "e", "channel": "a", "data": "1", "padding": "x".repeat(1_500_000)})
        .to_string();
    let request = api.request("POST", "/events", &[], body.as_bytes());
    api.wire.send(request).await;
    assert_eq!(api.wire.reply().await.ok(), "{}");
    client.expect_on("a", "e", "1").await;
    // Refused before it has come; what still comes could be taken for a request, so that this is the last answer.
    let signed = publish_with(&api, "Content-Length: 50000000\r\n", EVENT, b"{");
    let unsigned =
        b"POST /apps/1001/events HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n{";
    for (request, statuses) in [(&signed[..], [413; 2]), (&unsigned[..], [401, 413])] {
        let mut wire = house.wire().await;
        wire.send(request).await;
        let reply = wire.reply().await;
        assert!(statuses.contains(&reply.status), "{reply:?}");
        assert_eq!(reply.header("connection"), Some("close"), "{reply:?}");
    }
    let mut wire = house.wire().await;
    wire.send("POST /apps/1001/events HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n{").await;
    assert!((400..500).contains(&wire.reply().await.status));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_close_is_answered_and_let_go() {
    let (house, mut client, api) = with_listener().await;
    let n = EVENT.len();
    let post = publish_with(
        &api,
        &format!("Content-Length: {n}\r\nConnection: close\r\n"),
        EVENT,
        EVENT,
    );
    let get = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        api.target("GET", "/apps/1001/channels", &[], b"")
    );
    let old = |request: &[u8]| {
        String::from_utf8_lossy(request)
            .replacen("HTTP/1.1", "HTTP/1.0", 1)
            .replacen("Host: localhost\r\n", "", 1)
    };
    let plain = api.request("POST", "/events", &[], EVENT);
    for request in [post, get.into_bytes(), old(&plain).into_bytes()] {
        let mut wire = house.wire().await;
        wire.send(&request).await;
        let reply = wire.reply().await;
        assert_eq!(reply.status, 200);
        let is_old = reply.header("connection").is_none()
            && request.windows(8).any(|eight| eight == b"HTTP/1.0");
        assert!(
            is_old || reply.header("connection") == Some("close"),
            "{reply:?}"
        );
        wire.ended().await;
    }
    for _ in 0..2 {
        client.expect_on("a", "e", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_nothing_more_to_say_is_answered_all_the_same() {
    let (house, _client, api) = with_listener().await;
    let chunked = format!(
        "{:x}\r\n{}\r\n0\r\n\r\n",
        EVENT.len(),
        String::from_utf8_lossy(EVENT)
    );
    for (what, request) in [
        ("a publish", api.request("POST", "/events", &[], EVENT)),
        ("a GET", api.request("GET", "/channels", &[], b"")),
        (
            "a chunked publish",
            publish_with(
                &api,
                "Transfer-Encoding: chunked\r\n",
                EVENT,
                chunked.as_bytes(),
            ),
        ),
    ] {
        for round in 0..10 {
            let mut wire = house.wire().await;
            wire.send(&request).await;
            wire.finish().await;
            assert!(wire.answers().await, "{what}, round {round}");
            wire.ended().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_read_liberally() {
    let (_house, mut client, mut api) = with_listener().await;
    let n = EVENT.len();
    for headers in [
        format!("content-length:{n}\r\n"),
        format!("CONTENT-LENGTH:   {n}   \r\nContent-Type: application/x-www-form-urlencoded\r\n"),
        format!(
            "Content-Length: {n}\r\nContent-Type: application/json; charset=utf-8\r\nConnection: keep-alive\r\n"
        ),
        format!("Content-Length: {n}\r\nConnection: Keep-Alive, X\r\nAccept: */*\r\nX: \t é \r\n"),
        format!("Content-Length: {n}\r\nUpgrade: h2c\r\n"),
    ] {
        let request = publish_with(&api, &headers, EVENT, EVENT);
        api.wire.send(&request).await;
        assert_eq!(api.wire.reply().await.ok(), "{}", "{headers}");
        client.expect_on("a", "e", "1").await;
    }
    let target = api.target("GET", "/apps/1001/channels/a", &[], b"");
    api.wire
        .send(format!(
            "GET {target} HTTP/1.1\r\nhost: x\r\nContent-Type: application/json\r\n\r\n"
        ))
        .await;
    assert_eq!(api.wire.reply().await.ok(), r#"{"occupied":true}"#);
    api.wire
        .send(format!(
            "GET http://localhost{target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ))
        .await;
    assert_eq!(api.wire.reply().await.ok(), r#"{"occupied":true}"#);
}
