//! Subscribing to channels. Source: PROTOCOL 2 and 3.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::harness::{House, app, app_with, stopped_clock};
use crate::wire::frame;

/// The next two events must be the refusal of a subscription, told both ways.
#[track_caller]
fn expect_refusal<'a>(
    client: &'a mut Client,
    channel: &'a str,
    (kind, status, code): (&'a str, u16, u16),
    says: &'a str,
) -> impl Future<Output = ()> + 'a {
    let place = std::panic::Location::caller();
    async move {
        let error = client.next().await;
        assert_eq!(
            (&error["event"], &error["data"]["code"]),
            (&json!("pusher:error"), &json!(code)),
            "{error} at {place}"
        );
        let message = error["data"]["message"].as_str().expect("text");
        assert!(
            message.contains(says),
            "{message:?} should say {says:?}, at {place}"
        );
        let data = json!({"type": kind, "error": message, "status": status});
        client
            .expect(json!({"event": "pusher:subscription_error", "channel": channel, "data": data}))
            .await;
    }
}

const UNAUTHORIZED: (&str, u16, u16) = ("AuthError", 401, 4009);

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_confirmed_with_data_that_is_text() {
    let house = House::plain().await;
    let mut client = house.client().await;
    for channel in [
        "news",
        "privatefoo",
        "presenceX",
        "my-cache-x",
        "App.Models.User.1",
        "a=b@c,d.e;f_g-H",
        "private-orders",
        "private-encrypted-orders",
        "private-App.Models.User.1",
    ] {
        client.ask(channel, None).await;
        let expected = format!(
            r#"{{"event":"pusher_internal:subscription_succeeded","channel":"{channel}","data":"{{}}"}}"#
        );
        assert_eq!(client.next_text().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none_are_refused() {
    let house = House::plain().await;
    let mut client = house.client().await;
    client.subscribe(&"x".repeat(200)).await;
    let long = "x".repeat(201);
    for (name, says) in [
        ("", "empty"),
        ("a b", "not ' '"),
        ("a/b", "not '/'"),
        ("a:b", "not ':'"),
        ("#news", "not '#'"),
        ("ünews", "not 'ü'"),
        ("private-a\nb", r"not '\n'"),
        (&*long, "channel_name_length is 200"),
    ] {
        client.ask(name, None).await;
        expect_refusal(&mut client, name, ("LimitReached", 4009, 4009), says).await;
    }
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_librarys_way_to_ask_is_understood() {
    let house = House::plain().await;
    let mut client = house.client().await;
    let auth = client.auth("private-a", None);
    for (channel, data) in [
        ("a", json!({"channel": "a"})),
        (
            "a",
            json!({"channel": "a", "auth": null, "channel_data": null}),
        ),
        ("a", json!({"channel": "a", "auth": "app-key:nonsense"})),
        ("a", json!(r#"{"channel":"a","auth":""}"#)),
        ("private-a", json!({"channel": "private-a", "auth": auth})),
        // Only presence channels sign their data.
        (
            "private-a",
            json!({"channel": "private-a", "auth": auth, "channel_data": "{\"user_id\":\"1\"}"}),
        ),
    ] {
        client
            .send(json!({"event": "pusher:subscribe", "data": data}))
            .await;
        client
            .expect_on(channel, "pusher_internal:subscription_succeeded", "{}")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_app_has_not_signed_is_refused_and_hears_nothing() {
    let house = House::plain().await;
    let (mut client, other, mut api) = (
        house.client().await,
        house.client().await,
        house.api().await,
    );
    let good = client.auth("private-a", None);
    let hex = good.split_once(':').expect("a colon").1.to_owned();
    for (auth, says) in [
        (Value::Null, "Missing parameter: data.auth"),
        (json!(""), "Missing parameter: data.auth"),
        (json!("nonsense"), "Invalid auth"),
        (
            json!(format!("app-key:{}", hex.replace(|c: char| c != '0', "0"))),
            "Invalid signature: Expected HMAC SHA256 hex digest of",
        ),
        (
            json!(format!("app-key:{}", hex.to_uppercase())),
            "Invalid signature",
        ),
        (json!(format!("app-key:{}", &hex[1..])), "Invalid signature"),
        (
            json!(format!("other-key:{hex}")),
            "Invalid key in subscription auth data: 'other-key'",
        ),
        (json!(client.auth("private-b", None)), "Invalid signature"),
        (
            json!(client.auth("private-a", Some("{}"))),
            "Invalid signature",
        ),
        (json!(other.auth("private-a", None)), "Invalid signature"),
    ] {
        client.send(json!({"event": "pusher:subscribe", "data": {"channel": "private-a", "auth": auth}})).await;
        expect_refusal(&mut client, "private-a", UNAUTHORIZED, says).await;
    }
    client.subscribe("private-b").await;
    api.publish("private-a", "secret", "1").await;
    api.publish("private-b", "marker", "2").await;
    client.expect_on("private-b", "marker", "2").await;
    // Nor is the right signature ever told.
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "private-a", "auth": "app-key:x"}})).await;
    assert!(!client.next_text().await.contains(&hex));
    assert!(!client.next_text().await.contains(&hex));
    // The connection is as good as ever.
    client.subscribe("private-a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_twice_is_confirmed_twice_and_counts_once() {
    let house = House::open([app_with(|app| app.subscription_count = true)]).await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("private-a").await;
    client
        .expect_on(
            "private-a",
            "pusher_internal:subscription_count",
            r#"{"subscription_count":1}"#,
        )
        .await;
    client.subscribe("private-a").await;
    let reply = api
        .get("/channels/private-a", &[("info", "subscription_count")])
        .await;
    assert_eq!(
        reply.json(),
        json!({"occupied": true, "subscription_count": 1})
    );
    api.publish("private-a", "once", "1").await;
    client.expect_on("private-a", "once", "1").await;
    client.ping().await;
    // The signature is checked again; without it the first subscription stays.
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": "private-a", "auth": "app-key:x"}})).await;
    expect_refusal(&mut client, "private-a", UNAUTHORIZED, "Invalid signature").await;
    api.publish("private-a", "still", "2").await;
    client.expect_on("private-a", "still", "2").await;
}

/// Commands are processed in order, also where a reminder has to stand behind other notices. Source: PROTOCOL 1.8, 2.7.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_second_subscription_is_answered_after_it() {
    let house = House::plain().await;
    for channel in ["a", "cache-a"] {
        let mut client = house.client().await;
        client.subscribe(channel).await;
        let is_cache = channel.starts_with("cache-");
        let welcome = async |client: &mut Client| {
            client
                .expect_on(channel, "pusher_internal:subscription_succeeded", "{}")
                .await;
            if is_cache {
                client.expect_on(channel, "pusher:cache_miss", "{}").await;
            }
        };
        if is_cache {
            client.expect_on(channel, "pusher:cache_miss", "{}").await;
        }
        // All in one breath.
        for event in [
            "pusher:subscribe",
            "pusher:ping",
            "pusher:subscribe",
            "pusher:unsubscribe",
            "pusher:ping",
        ] {
            let message = json!({"event": event, "data": {"channel": channel}});
            let message = Message::text(message.to_string());
            client.socket.feed(message).await.expect("room");
        }
        client.socket.flush().await.expect("the socket takes it");
        for _ in 0..2 {
            welcome(&mut client).await;
            assert_eq!(client.next().await["event"], "pusher:pong", "{channel}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribing_is_silent_and_ends_it() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("a").await;
    client.subscribe("b").await;
    client.unsubscribe("a").await;
    // Echo's `leave` tries every kind of channel.
    for channel in [
        "a",
        "private-a",
        "private-encrypted-a",
        "presence-a",
        "",
        "#server-to-user-1",
    ] {
        client.unsubscribe(channel).await;
    }
    client.ping().await;
    api.publish("a", "gone", "1").await;
    api.publish("b", "marker", "2").await;
    client.expect_on("b", "marker", "2").await;
    assert_eq!(
        api.get("/channels", &[]).await.json(),
        json!({"channels": {"b": {}}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_carried_out_in_their_order() {
    let house = House::plain().await;
    let mut api = house.api().await;
    let command = |event: &str| {
        frame(
            0x81,
            format!(r#"{{"event":"pusher:{event}","data":{{"channel":"a"}}}}"#).as_bytes(),
        )
    };
    for _ in 0..20 {
        let mut wire = house.wire().await;
        let all = [
            "subscribe",
            "unsubscribe",
            "subscribe",
            "unsubscribe",
            "unsubscribe",
            "subscribe",
        ]
        .map(command)
        .concat();
        wire.shake_hands("/app/app-key", &all).await;
        assert!(wire.text().await.contains("established"));
        for _ in 0..3 {
            assert!(wire.text().await.contains("subscription_succeeded"));
        }
        api.publish("a", "heard", "1").await;
        assert_eq!(
            wire.text().await,
            r#"{"event":"heard","channel":"a","data":"1"}"#
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_subscriptions_in_one_burst_all_stand() {
    let house = House::plain().await;
    let (mut wire, mut api) = (house.wire().await, house.api().await);
    let burst: Vec<u8> = (0..500)
        .flat_map(|n| {
            frame(
                0x81,
                format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"c{n}"}}}}"#).as_bytes(),
            )
        })
        .collect();
    wire.shake_hands("/app/app-key", &burst).await;
    assert!(wire.text().await.contains("established"));
    for n in 0..500 {
        let expected = format!(
            r#"{{"event":"pusher_internal:subscription_succeeded","channel":"c{n}","data":"{{}}"}}"#
        );
        assert_eq!(wire.text().await, expected);
    }
    assert_eq!(
        api.get("/channels", &[]).await.json()["channels"]
            .as_object()
            .expect("an object")
            .len(),
        500
    );
    api.publish("c499", "e", "1").await;
    assert_eq!(
        wire.text().await,
        r#"{"event":"e","channel":"c499","data":"1"}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_channels_and_no_more() {
    let house = House::open([app_with(|app| app.limits.channels_per_connection = 2)]).await;
    let mut client = house.client().await;
    client.subscribe("a").await;
    client.subscribe("b").await;
    client.ask("c", None).await;
    expect_refusal(
        &mut client,
        "c",
        ("LimitReached", 4100, 4100),
        "channels_per_connection is 2",
    )
    .await;
    client.subscribe("a").await;
    client.unsubscribe("a").await;
    client.subscribe("c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_how_many_they_are_if_the_app_wants_it() {
    let house = House::open([app_with(|app| app.subscription_count = true)]).await;
    let (mut first, mut second) = (house.client().await, house.client().await);
    let count = |n: u32| format!(r#"{{"subscription_count":{n}}}"#);
    let event = "pusher_internal:subscription_count";
    first.subscribe("a").await;
    let exact = r#"{"event":"pusher_internal:subscription_count","channel":"a","data":"{\"subscription_count\":1}"}"#;
    assert_eq!(first.next_text().await, exact);
    second.subscribe("a").await;
    first.expect_on("a", event, &count(2)).await;
    second.expect_on("a", event, &count(2)).await;
    first.unsubscribe("a").await;
    second.expect_on("a", event, &count(1)).await;
    first.subscribe("a").await;
    first.expect_on("a", event, &count(2)).await;
    second.expect_on("a", event, &count(2)).await;
    drop(second);
    first.expect_on("a", event, &count(1)).await;
    // Presence channels have their members for that.
    first.join("presence-a", &json!({"user_id": "1"})).await;
    first.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_hundred_the_number_is_told_every_five_seconds() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app_with(|app| app.subscription_count = true)]).await;
    let mut api = house.api().await;
    let event = "pusher_internal:subscription_count";
    let count = |n: usize| format!(r#"{{"subscription_count":{n}}}"#);
    let mut first = house.client().await;
    let mut others = Vec::new();
    first.subscribe("a").await;
    first.expect_on("a", event, &count(1)).await;
    for n in 2..=101 {
        let mut client = house.client().await;
        client.subscribe("a").await;
        client.expect_on("a", event, &count(n)).await;
        first.expect_on("a", event, &count(n)).await;
        others.push(client);
    }
    for _ in 0..3 {
        let mut client = house.client().await;
        client.subscribe("a").await;
        others.push(client);
    }
    api.publish("a", "marker", "1").await;
    first.expect_on("a", "marker", "1").await;
    // The chore is done by a tick after its time.
    clock.advance(Duration::from_millis(5250));
    first.expect_on("a", event, &count(104)).await;
    let last = others.last_mut().expect("many");
    last.expect_on("a", "marker", "1").await;
    last.expect_on("a", event, &count(104)).await;
    // While nothing changes nothing is said.
    clock.advance(Duration::from_millis(5250));
    first.unsubscribe("b").await;
    api.publish("a", "marker", "2").await;
    first.expect_on("a", "marker", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_is_not_told_unless_the_app_wants_it() {
    let house = House::open([app()]).await;
    let (mut first, mut second) = (house.client().await, house.client().await);
    first.subscribe("a").await;
    second.subscribe("a").await;
    first.ping().await;
    second.ping().await;
}
