//! Events from one client to the others. Source: PROTOCOL 5.

use std::time::Duration;

use reverb_core::protocol::ClientEvents;
use serde_json::{Value, json};

use crate::harness::{House, app_with, stopped_clock};

#[tokio::test(flavor = "multi_thread")]
async fn everybody_else_hears_it_once_and_the_sender_does_not() {
    let house = House::plain().await;
    let mut all = Vec::new();
    for _ in 0..7 {
        let mut client = house.client().await;
        client.subscribe("private-chat").await;
        all.push(client);
    }
    for sender in 0..3 {
        all[sender]
            .send(
                json!({"event": "client-hi", "channel": "private-chat", "data": {"from": sender}}),
            )
            .await;
        all[sender].ping().await;
        for (n, client) in all.iter_mut().enumerate() {
            if n != sender {
                let expected = format!(
                    r#"{{"event":"client-hi","channel":"private-chat","data":"{{\"from\":{sender}}}"}}"#
                );
                assert_eq!(client.next_text().await, expected);
            }
        }
    }
    for client in &mut all {
        client.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_text_for_everybody_in_the_end() {
    let house = House::plain().await;
    let (mut a, mut b) = (house.client().await, house.client().await);
    a.subscribe("private-chat").await;
    b.subscribe("private-chat").await;
    for (sent, heard) in [
        (r#""hi""#, r#""hi""#),
        (r#""{\"on\":true}""#, r#""{\"on\":true}""#),
        (r#"{"on":true}"#, r#""{\"on\":true}""#),
        ("12345678901234567890", r#""12345678901234567890""#),
        ("true", r#""true""#),
        (r#"["ü\u00fc"]"#, r#""[\"ü\\u00fc\"]""#),
        (r#""""#, r#""""#),
    ] {
        a.send_text(&format!(
            r#"{{"event":"client-x","channel":"private-chat","data":{sent}}}"#
        ))
        .await;
        assert_eq!(
            b.next_text().await,
            format!(r#"{{"event":"client-x","channel":"private-chat","data":{heard}}}"#)
        );
    }
    a.send_text(r#"{"event":"client-x","channel":"private-chat"}"#)
        .await;
    assert_eq!(
        b.next_text().await,
        r#"{"event":"client-x","channel":"private-chat"}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_who_it_was_and_the_sender_cannot() {
    let house = House::plain().await;
    let (mut a, mut b, mut tab) = (
        house.client().await,
        house.client().await,
        house.client().await,
    );
    a.join("presence-chat", &json!({"user_id": 7})).await;
    tab.join("presence-chat", &json!({"user_id": 7})).await;
    b.join("presence-chat", &json!({"user_id": "8"})).await;
    for client in [&mut a, &mut tab] {
        assert_eq!(client.next().await["event"], "pusher_internal:member_added");
    }
    let forged = json!({"event": "client-x", "channel": "presence-chat", "data": "1", "user_id": "8", "socket_id": "1.1", "extra": {}});
    a.send(forged).await;
    for client in [&mut b, &mut tab] {
        client.expect(json!({"event": "client-x", "channel": "presence-chat", "data": "1", "user_id": "7"})).await;
    }
    a.subscribe("private-chat").await;
    b.subscribe("private-chat").await;
    a.send(json!({"event": "client-x", "channel": "private-chat", "data": "1", "user_id": "8"}))
        .await;
    b.expect_on("private-chat", "client-x", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_permitted_is_said_and_goes_nowhere() {
    let house = House::plain().await;
    let (mut a, mut b) = (house.client().await, house.client().await);
    for client in [&mut a, &mut b] {
        for channel in ["news", "private-chat", "private-encrypted-chat"] {
            client.subscribe(channel).await;
        }
    }
    b.subscribe("private-other").await;
    let long = format!("client-{}", "x".repeat(194));
    for (event, channel, data, code, says) in [
        (
            "client-x",
            "news",
            json!("1"),
            json!(4301),
            "Client event rejected - only supported on private and presence channels",
        ),
        (
            "client-x",
            "private-encrypted-chat",
            json!("1"),
            json!(4301),
            "encrypted",
        ),
        (
            "client-x",
            "private-other",
            json!("1"),
            json!(4009),
            "not a member of the specified channel",
        ),
        (
            "client-x",
            "private-nowhere",
            json!("1"),
            json!(4009),
            "not a member of the specified channel",
        ),
        (
            &*long,
            "private-chat",
            json!("1"),
            json!(4301),
            "event_name_length is 200",
        ),
        (
            "client-x",
            "private-chat",
            json!("x".repeat(10_241)),
            json!(4301),
            "event_bytes is 10240",
        ),
        (
            "client-x",
            "private-chat",
            json!({"a": "x".repeat(10_240)}),
            json!(4301),
            "event_bytes is 10240",
        ),
        (
            "clientx",
            "private-chat",
            json!("1"),
            json!(null),
            "Unsupported event received on socket: 'clientx'",
        ),
        (
            "pusher:x",
            "private-chat",
            json!("1"),
            json!(null),
            "Unsupported event",
        ),
    ] {
        a.send(json!({"event": event, "channel": channel, "data": data}))
            .await;
        a.expect_error(code, says).await;
    }
    a.send(json!({"event": "client-x", "data": "1"})).await;
    a.expect_error(Value::Null, "Missing parameter: channel")
        .await;
    // Half a surrogate pair would choke the others.
    a.send_text(r#"{"event":"client-x","channel":"private-chat","data":"\ud800"}"#)
        .await;
    a.expect_error(Value::Null, "Received invalid JSON").await;
    let (name, data) = (format!("client-{}", "x".repeat(193)), "x".repeat(10_240));
    a.send(json!({"event": name, "channel": "private-chat", "data": data}))
        .await;
    b.expect_on("private-chat", &name, &data).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_allow_them_nowhere_or_on_public_channels_too() {
    let off = House::open([app_with(|app| app.client_events = ClientEvents::Off)]).await;
    let mut client = off.client().await;
    client.subscribe("private-chat").await;
    client
        .send(json!({"event": "client-x", "channel": "private-chat", "data": "1"}))
        .await;
    client
        .expect_error(4301, "To send client events, you must enable this feature")
        .await;

    let all = House::open([app_with(|app| app.client_events = ClientEvents::All)]).await;
    let (mut a, mut b) = (all.client().await, all.client().await);
    b.subscribe("news").await;
    a.send(json!({"event": "client-x", "channel": "news", "data": "1"}))
        .await;
    a.expect_error(4009, "not a member").await;
    a.subscribe("news").await;
    a.send(json!({"event": "client-x", "channel": "news", "data": "2", "user_id": "9"}))
        .await;
    b.expect_on("news", "client-x", "2").await;
    b.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_a_second_pass_and_more_are_refused_without_a_close() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app_with(|_| {})]).await;
    let (mut a, mut b) = (house.client().await, house.client().await);
    a.subscribe("private-chat").await;
    b.subscribe("private-chat").await;
    let event =
        |n: u32| json!({"event": "client-n", "channel": "private-chat", "data": n.to_string()});
    for n in 0..13 {
        a.send(event(n)).await;
    }
    for _ in 10..13 {
        a.expect_error(4301, "client_events_per_second is 10").await;
    }
    for n in 0..10 {
        b.expect_on("private-chat", "client-n", &n.to_string())
            .await;
    }
    // The allowance is each connection's own.
    b.send(event(20)).await;
    a.expect_on("private-chat", "client-n", "20").await;
    clock.advance(Duration::from_secs(1));
    a.send(event(30)).await;
    b.expect_on("private-chat", "client-n", "30").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_may_send_them_too() {
    let house = House::plain().await;
    let (mut a, mut api) = (house.client().await, house.api().await);
    a.subscribe("news").await;
    api.publish("news", "client-x", "1").await;
    a.expect_on("news", "client-x", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_last_is_heard_before_it_has_left() {
    let house = House::plain().await;
    let (mut a, mut b) = (house.client().await, house.client().await);
    a.join("presence-chat", &json!({"user_id": "1"})).await;
    b.join("presence-chat", &json!({"user_id": "2"})).await;
    assert_eq!(a.next().await["event"], "pusher_internal:member_added");
    b.send(json!({"event": "client-bye", "channel": "presence-chat", "data": "1"}))
        .await;
    b.unsubscribe("presence-chat").await;
    a.expect(
        json!({"event": "client-bye", "channel": "presence-chat", "data": "1", "user_id": "2"}),
    )
    .await;
    a.expect_on(
        "presence-chat",
        "pusher_internal:member_removed",
        r#"{"user_id":"2"}"#,
    )
    .await;
}
