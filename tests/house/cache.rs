//! Channels that remember their last event. Source: PROTOCOL 2.10.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{House, app, app_with, stopped_clock};

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_the_last_event_or_a_miss() {
    let house = House::plain().await;
    let mut api = house.api().await;
    for channel in ["cache-c", "private-cache-c", "private-encrypted-cache-c"] {
        let (mut d, mut e) = (house.client().await, house.client().await);
        d.subscribe(channel).await;
        let miss =
            format!(r#"{{"event":"pusher:cache_miss","channel":"{channel}","data":"{{}}"}}"#);
        assert_eq!(d.next_text().await, miss);
        api.publish(channel, "one", "1").await;
        api.publish(channel, "two", r#"{"n":2}"#).await;
        d.expect_on(channel, "one", "1").await;
        d.expect_on(channel, "two", r#"{"n":2}"#).await;
        e.subscribe(channel).await;
        assert_eq!(
            e.next_text().await,
            format!(r#"{{"event":"two","channel":"{channel}","data":"{{\"n\":2}}"}}"#)
        );
        // Asked again it is told again, and nobody else hears of it.
        e.subscribe(channel).await;
        e.expect_on(channel, "two", r#"{"n":2}"#).await;
        d.ping().await;
        e.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_remembered_although_nobody_was_there() {
    let house = House::plain().await;
    let (mut api, mut client) = (house.api().await, house.client().await);
    api.publish("cache-c", "e", "1").await;
    client.subscribe("cache-c").await;
    client.expect_on("cache-c", "e", "1").await;
    client.unsubscribe("cache-c").await;
    client.ping().await;
    client.subscribe("cache-c").await;
    client.expect_on("cache-c", "e", "1").await;
    // Not on channels that only look like it.
    api.publish("my-cache-c", "e", "1").await;
    client.subscribe("my-cache-c").await;
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presence_cache_remembers_events_and_not_its_members() {
    let house = House::plain().await;
    let (mut a, mut b, mut c, mut api) = (
        house.client().await,
        house.client().await,
        house.client().await,
        house.api().await,
    );
    let room = "presence-cache-r";
    a.join(room, &json!({"user_id": "1"})).await;
    a.expect_on(room, "pusher:cache_miss", "{}").await;
    b.join(room, &json!({"user_id": "2"})).await;
    b.expect_on(room, "pusher:cache_miss", "{}").await;
    a.expect_on(
        room,
        "pusher_internal:member_added",
        r#"{"user_id":"2","user_info":{}}"#,
    )
    .await;
    api.publish(room, "e", "1").await;
    b.expect_on(room, "e", "1").await;
    a.expect_on(room, "e", "1").await;
    b.send(json!({"event": "client-x", "channel": room, "data": "2"}))
        .await;
    a.expect(json!({"event": "client-x", "channel": room, "data": "2", "user_id": "2"}))
        .await;
    drop(b);
    a.expect_on(room, "pusher_internal:member_removed", r#"{"user_id":"2"}"#)
        .await;
    assert_eq!(
        c.join(room, &json!({"user_id": "3"})).await["ids"],
        json!(["1", "3"])
    );
    c.expect_on(room, "e", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_event_is_not_remembered() {
    let house = House::plain().await;
    let (mut a, mut b, mut c) = (
        house.client().await,
        house.client().await,
        house.client().await,
    );
    for client in [&mut a, &mut b] {
        client.subscribe("private-cache-c").await;
        client
            .expect_on("private-cache-c", "pusher:cache_miss", "{}")
            .await;
    }
    a.send(json!({"event": "client-x", "channel": "private-cache-c", "data": "1"}))
        .await;
    b.expect_on("private-cache-c", "client-x", "1").await;
    c.subscribe("private-cache-c").await;
    c.expect_on("private-cache-c", "pusher:cache_miss", "{}")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_senders_socket_is_passed_over_but_not_the_memory() {
    let house = House::plain().await;
    let (mut a, mut b, mut api) = (
        house.client().await,
        house.client().await,
        house.api().await,
    );
    a.subscribe("cache-c").await;
    a.expect_on("cache-c", "pusher:cache_miss", "{}").await;
    let event = json!({"name": "e", "channel": "cache-c", "data": "1", "socket_id": a.socket_id});
    assert_eq!(api.post("/events", &event).await.ok(), "{}");
    b.subscribe("cache-c").await;
    b.expect_on("cache-c", "e", "1").await;
    a.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_remembered_in_its_order() {
    let house = House::plain().await;
    let (mut a, mut api) = (house.client().await, house.api().await);
    let event = |channel: &str, name: &str| json!({"name": name, "channel": channel, "data": "x"});
    let batch = json!({"batch": [event("cache-c", "one"), event("cache-d", "other"), event("cache-c", "two")]});
    assert_eq!(api.post("/batch_events", &batch).await.ok(), "{}");
    a.subscribe("cache-c").await;
    a.expect_on("cache-c", "two", "x").await;
    a.subscribe("cache-d").await;
    a.expect_on("cache-d", "other", "x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_forgotten_in_time() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app_with(|app| app.limits.cache_seconds = 20)]).await;
    let mut api = house.api().await;
    api.publish("cache-c", "e", r#"{"a":1}"#).await;
    api.publish("cache-d", "e", "2").await;
    clock.advance(Duration::from_secs(5));
    let left = api
        .get("/channels/cache-c", &[("info", "cache")])
        .await
        .json();
    assert_eq!(
        left,
        json!({"occupied": false, "cache": {"data": r#"{"a":1}"#, "ttl": 15}})
    );
    // A later event is remembered from its own time on.
    api.publish("cache-d", "later", "3").await;
    clock.advance(Duration::from_secs(16));
    let mut client = house.client().await;
    client.subscribe("cache-c").await;
    client.expect_on("cache-c", "pusher:cache_miss", "{}").await;
    client.subscribe("cache-d").await;
    client.expect_on("cache-d", "later", "3").await;
    let gone = api
        .get("/channels/cache-c", &[("info", "cache")])
        .await
        .json();
    assert_eq!(gone, json!({"occupied": true, "cache": null}));
    drop(client);
    clock.advance(Duration::from_secs(10));
    house.settles(|sizes| sizes == Default::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_have_its_caches_remember_nothing() {
    let house = House::open([app_with(|app| app.limits.cache_seconds = 0)]).await;
    let (mut api, mut client) = (house.api().await, house.client().await);
    api.publish("cache-c", "e", "1").await;
    client.subscribe("cache-c").await;
    client.expect_on("cache-c", "pusher:cache_miss", "{}").await;
    api.publish("cache-c", "e", "2").await;
    client.expect_on("cache-c", "e", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_while_events_are_published_misses_none_and_hears_none_twice() {
    let house = House::open([app()]).await;
    const LAST: u64 = 600;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(house.client().await);
    }
    let mut api = house.api().await;
    let publishing = tokio::spawn(async move {
        for n in 0..=LAST {
            api.publish("cache-c", "n", &n.to_string()).await;
        }
    });
    let mut listening = Vec::new();
    for mut client in clients {
        listening.push(tokio::spawn(async move {
            let number = |event: &Value| match event["event"].as_str() {
                Some("n") => event["data"]
                    .as_str()
                    .and_then(|data| data.parse::<u64>().ok()),
                _ => None,
            };
            let mut heard = 0;
            loop {
                client.subscribe("cache-c").await;
                let mut last = number(&client.next().await);
                for _ in 0..30 {
                    if last == Some(LAST) {
                        return heard;
                    }
                    let next = number(&client.next().await);
                    assert_eq!(next, Some(last.map_or(0, |last| last + 1)), "in a row");
                    (last, heard) = (next, heard + 1);
                }
                client.unsubscribe("cache-c").await;
                client.send(json!({"event": "pusher:ping"})).await;
                while client.next().await["event"] != "pusher:pong" {}
            }
        }));
    }
    publishing.await.expect("all published");
    for listener in listening {
        assert!(listener.await.expect("no gap") > 0);
    }
}
