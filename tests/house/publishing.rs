//! Events on their way from backends to clients. Source: PROTOCOL 2.8, 7.4 and 7.5.

use serde_json::{Value, json};

use crate::api::Api;
use crate::harness::House;
use crate::wire::Reply;

async fn publish(api: &mut Api, body: &str) -> Reply {
    let request = api.request("POST", "/events", &[], body.as_bytes());
    api.wire.send(request).await;
    api.wire.reply().await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_in_order_and_byte_for_byte() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("news").await;
    for body in [
        r#"{"name":"App\\Events\\X","channel":"news","data":"{\"big\":12345678901234567890,\"f\":1.0}"}"#,
        r#"{"name":"e","channel":"news","data":"plain text"}"#,
        r#"{"name":"e","channel":"news","data":""}"#,
        r#"{"name":"e","channel":"news","data":"\ud83d\ude00 \/ \u00fc \u2028 <b>&'"}"#,
        r#"{"name":"😀","channel":"news","data":"é \"q\" \\ \n"}"#,
    ] {
        let request = api.request("POST", "/events", &[], body.as_bytes());
        api.wire.send(request).await;
        assert_eq!(api.wire.reply().await.ok(), "{}");
        let (name, data) = body.split_once(r#","channel":"news","#).expect("both");
        let name = name.replace("name", "event");
        assert_eq!(
            client.next_text().await,
            format!(r#"{name},"channel":"news",{data}"#)
        );
    }
    // What is no text becomes the text of it.
    let body = r#"{"name":"e","channel":"news","data":{ "a": [1, 2.50, "x y"] }}"#;
    let request = api.request("POST", "/events", &[], body.as_bytes());
    api.wire.send(request).await;
    assert_eq!(api.wire.reply().await.ok(), "{}");
    client
        .expect_on("news", "e", r#"{"a":[1,2.50,"x y"]}"#)
        .await;
    for n in 0..100 {
        api.publish("news", "n", &n.to_string()).await;
    }
    for n in 0..100 {
        client.expect_on("news", "n", &n.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_several_channels_comes_once_for_each_that_one_is_in() {
    let house = House::plain().await;
    let (mut both, mut one, mut api) = (
        house.client().await,
        house.client().await,
        house.api().await,
    );
    both.subscribe("a").await;
    both.subscribe("b").await;
    one.subscribe("b").await;
    let event = json!({"name": "e", "channels": ["a", "b", "c"], "data": "1"});
    assert_eq!(api.post("/events", &event).await.ok(), "{}");
    both.expect_on("a", "e", "1").await;
    both.expect_on("b", "e", "1").await;
    one.expect_on("b", "e", "1").await;
    both.ping().await;
    one.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_named_twice_hears_an_event_once() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("a").await;
    let event = json!({"name": "e", "channels": ["a", "b", "a"], "data": "1"});
    assert_eq!(api.post("/events", &event).await.ok(), "{}");
    api.publish("a", "marker", "").await;
    client.expect_on("a", "e", "1").await;
    client.expect_on("a", "marker", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_keep_their_order_whichever_door_they_come_by() {
    let house = House::plain().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = house.client().await;
        client.subscribe("a").await;
        clients.push(client);
    }
    let mut doors = Vec::new();
    for n in 0..6 {
        let mut api = house.api().await;
        // After a GET the rest of a connection is not read by the hub's own shards.
        if n % 2 == 0 {
            assert_eq!(api.get("/channels/a", &[]).await.status, 200);
        }
        doors.push(api);
    }
    for n in 0..120 {
        doors[n * 5 % 6].publish("a", "n", &n.to_string()).await;
    }
    for client in &mut clients {
        for n in 0..120 {
            client.expect_on("a", "n", &n.to_string()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_room_hears_everything_in_order() {
    let house = House::plain().await;
    let mut clients = Vec::new();
    for _ in 0..150 {
        let mut client = house.client().await;
        client.subscribe("a").await;
        clients.push(client);
    }
    let publishers = (0..4).map(|publisher| {
        let api = house.api();
        async move {
            let mut api = api.await;
            for n in 0..25 {
                api.publish("a", &format!("p{publisher}"), &n.to_string())
                    .await;
            }
        }
    });
    futures_util::future::join_all(publishers).await;
    for client in &mut clients {
        let mut next = [0_u32; 4];
        for _ in 0..100 {
            let event = client.next().await;
            let publisher: usize = event["event"]
                .as_str()
                .and_then(|name| name[1..].parse().ok())
                .expect("a number");
            assert_eq!(event["data"], next[publisher].to_string());
            next[publisher] += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_may_ask_who_heard_it() {
    let house = House::plain().await;
    let mut api = house.api().await;
    let (mut a, mut b, mut c) = (
        house.client().await,
        house.client().await,
        house.client().await,
    );
    a.join("presence-room", &json!({"user_id": "1"})).await;
    b.join("presence-room", &json!({"user_id": "1"})).await;
    c.subscribe("news").await;
    let channels = [
        "presence-room",
        "news",
        "nobody",
        "news",
        "presence-nobody",
        "#server-to-user-1",
    ];
    let mut event = json!({"name": "e", "channels": channels, "data": "1", "info": "user_count,subscription_count"});
    let expected = json!({"channels": {
        "presence-room": {"user_count": 1, "subscription_count": 2},
        "news": {"subscription_count": 1},
        "nobody": {"subscription_count": 0},
        "presence-nobody": {"user_count": 0, "subscription_count": 0},
        "#server-to-user-1": {},
        "#server-to-user-1": {},
    }});
    assert_eq!(api.post("/events", &event).await.json(), expected);
    event["info"] = "user_count".into();
    let expected = json!({"channels": {"presence-room": {"user_count": 1}, "news": {}, "nobody": {}, "presence-nobody": {"user_count": 0}, "#server-to-user-1": {}}});
    assert_eq!(api.post("/events", &event).await.json(), expected);
    let entry = |channel: &str, info: Value| json!({"name": "e", "channel": channel, "data": "1", "info": info});
    let batch = json!({"batch": [entry("news", json!(null)), entry("presence-room", json!("user_count")), entry("news", json!("subscription_count"))]});
    let expected = json!({"batch": [{}, {"user_count": 1}, {"subscription_count": 1}]});
    assert_eq!(api.post("/batch_events", &batch).await.json(), expected);
    let batch = json!({"batch": [entry("news", json!(null)), entry("presence-room", json!(""))]});
    assert_eq!(api.post("/batch_events", &batch).await.ok(), "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sdks_may_name_one_channel_or_many_and_send_nulls() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("a").await;
    for body in [
        r#"{"name":"e","channel":"a","data":"1"}"#,
        r#"{"name":"e","channels":["a"],"data":"1","socket_id":null,"info":null,"channel":null,"tags":{"x":[]}}"#,
        r#"{"name":"e","channels":["a"],"channel":"b","data":"1"}"#,
        r#"{"name":"e","channels":null,"channel":"a","data":"1","idempotency_key":"k"}"#,
        " {\"data\" : \"1\",\n\"channels\":[ \"a\" ],\t\"name\":\"e\"} \n",
    ] {
        assert_eq!(publish(&mut api, body).await.ok(), "{}", "{body}");
        client.expect_on("a", "e", "1").await;
    }
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_that_caused_an_event_is_passed_over_wherever_it_is() {
    let house = House::plain().await;
    let mut api = house.api().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = house.client().await;
        client.subscribe("a").await;
        clients.push(client);
    }
    for (n, client) in clients.iter().enumerate() {
        let event = json!({"name": "e", "channel": "a", "data": n.to_string(), "socket_id": client.socket_id});
        assert_eq!(api.post("/events", &event).await.ok(), "{}");
    }
    for socket_id in ["1.1", "99999999999999999999.1", "007.1"] {
        let event =
            json!({"name": "unknown", "channels": ["a"], "data": "", "socket_id": socket_id});
        assert_eq!(api.post("/events", &event).await.ok(), "{}");
    }
    for (n, client) in clients.iter_mut().enumerate() {
        for other in (0..6).filter(|other| *other != n) {
            client.expect_on("a", "e", &other.to_string()).await;
        }
        for _ in 0..3 {
            client.expect_on("a", "unknown", "").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_wrong_is_refused_with_the_reason() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("a").await;
    let many: Vec<String> = (0..101).map(|n| format!("c{n}")).collect();
    let many = json!({"name": "e", "channels": many, "data": ""}).to_string();
    let long_name = json!({"name": "é".repeat(201), "channel": "a", "data": ""}).to_string();
    let long_channel = json!({"name": "e", "channel": "x".repeat(201), "data": ""}).to_string();
    let deep = format!(
        r#"{{"name":"e","channel":"a","data":{}1{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    for (body, says) in [
        ("nonsense", "not valid"),
        ("[]", "not valid"),
        ("{}", "name"),
        (r#"{"channel":"a","data":"1"}"#, "name"),
        (r#"{"name":"","channel":"a","data":"1"}"#, "name"),
        (r#"{"name":7,"channel":"a","data":"1"}"#, "name"),
        (r#"{"name":"e","channel":"a"}"#, "data"),
        (r#"{"name":"e","channel":"a","data":null}"#, "data"),
        (r#"{"name":"e","data":"1"}"#, "channels"),
        (r#"{"name":"e","data":"1","channels":[]}"#, "channels"),
        (r#"{"name":"e","data":"1","channels":["a","b c"]}"#, "' '"),
        (r#"{"name":"e","data":"1","channels":["a",""]}"#, "empty"),
        (r##"{"name":"e","data":"1","channels":["#a"]}"##, "'#'"),
        (
            r#"{"name":"e","data":"1","channel":"a","socket_id":"x"}"#,
            "socket_id",
        ),
        (
            r#"{"name":"e","data":"1","channel":"a","socket_id":"1.2.3"}"#,
            "socket_id",
        ),
        (r#"{"name":"e","data":"\ud800","channel":"a"}"#, "data"),
        (r#"{"name":"\udfff","data":"","channel":"a"}"#, "name"),
        (
            r#"{"name":"pusher:x","data":"1","channel":"a"}"#,
            "reserved",
        ),
        (
            r#"{"name":"pusher_internal:member_added","data":"1","channel":"a"}"#,
            "reserved",
        ),
        (
            r#"{"name":"\u0070usher:x","data":"1","channel":"a"}"#,
            "reserved",
        ),
        (&*many, "channels_per_event is 100"),
        (&*long_name, "event_name_length is 200"),
        (&*long_channel, "channel_name_length is 200"),
        (&*deep, "nested"),
    ] {
        publish(&mut api, body).await.expect_error(400, says);
    }
    let not_utf8 = [
        br#"{"name":"e","channel":"a","data":""#,
        &[0xff][..],
        br#""}"#,
    ]
    .concat();
    let request = api.request("POST", "/events", &[], &not_utf8);
    api.wire.send(request).await;
    api.wire.reply().await.expect_error(400, "UTF-8");
    let request = api.request("POST", "/events", &[], b"");
    api.wire.send(request).await;
    api.wire.reply().await.expect_error(400, "");
    api.publish("a", "marker", "").await;
    client.expect_on("a", "marker", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_met_exactly() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("c0").await;
    let (name, channel) = ("é".repeat(200), "x".repeat(200));
    let mut channels: Vec<String> = (0..99).map(|n| format!("c{n}")).collect();
    channels.push(channel);
    // Bytes of the text count, not of the JSON around it: these six are one.
    let data = "\\u0001".repeat(10_240);
    let body = format!(
        r#"{{"name":"{name}","channels":{},"data":"{data}"}}"#,
        json!(channels)
    );
    assert_eq!(publish(&mut api, &body).await.ok(), "{}");
    client.expect_on("c0", &name, &"\u{1}".repeat(10_240)).await;
    for data in [
        format!("\"{}\"", "x".repeat(10_241)),
        format!("\"{}\"", "é".repeat(5121)),
        format!("[\"{}\"]", "x".repeat(10_237)),
    ] {
        let body = format!(r#"{{"name":"e","channel":"c0","data":{data}}}"#);
        publish(&mut api, &body)
            .await
            .expect_error(413, "event_bytes is 10240");
    }
    // The connection is good for more, whichever door answered.
    api.publish("c0", "marker", "").await;
    client.expect_on("c0", "marker", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_sent_whole_or_not_at_all() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("a").await;
    let entry = |data: &str| json!({"name": "e", "channel": "a", "data": data});
    let with = |last: Value| json!({"batch": [entry("1"), entry("2"), last]});
    for (batch, status, says) in [
        (
            with(json!({"name": "e", "channel": "a"})),
            400,
            "batch[2]: missing parameter: data",
        ),
        (
            with(json!({"name": "e", "channel": "a b", "data": ""})),
            400,
            "batch[2]",
        ),
        (
            with(json!({"name": "pusher:e", "channel": "a", "data": ""})),
            400,
            "batch[2]",
        ),
        (
            with(json!({"name": "e", "channel": "a", "data": "", "socket_id": "x"})),
            400,
            "batch[2]",
        ),
        (with(json!(7)), 400, ""),
        (with(entry(&"x".repeat(10_241))), 413, "batch[2]"),
        (
            json!({"batch": vec![entry("1"); 11]}),
            400,
            "batch_size is 10",
        ),
        (json!({"batch": []}), 400, "batch"),
        (json!({"batch": {}}), 400, ""),
        (json!({}), 400, "batch"),
        (json!([]), 400, ""),
    ] {
        api.post("/batch_events", &batch)
            .await
            .expect_error(status, says);
    }
    let ten: Vec<Value> = (0..10).map(|n| entry(&n.to_string())).collect();
    assert_eq!(
        api.post("/batch_events", &json!({"batch": ten})).await.ok(),
        "{}"
    );
    for n in 0..10 {
        client.expect_on("a", "e", &n.to_string()).await;
    }
    let mut skips = entry("skipped");
    skips["socket_id"] = json!(client.socket_id);
    assert_eq!(
        api.post("/batch_events", &json!({"batch": [skips, entry("last")]}))
            .await
            .ok(),
        "{}"
    );
    client.expect_on("a", "e", "last").await;
}
