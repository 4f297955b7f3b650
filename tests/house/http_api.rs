//! What backends ask and are told. Source: PROTOCOL 7.

use std::time::Duration;

use reverb_core::protocol::App;
use serde_json::json;

use crate::api::{Handmade, encode};
use crate::harness::{House, app, app_with, stopped_clock};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_answers_in_the_right_shapes() {
    let house = House::plain().await;
    let mut api = house.api().await;
    let channel = json!({"name": "e", "channel": "c", "data": "1"});
    assert_eq!(api.post("/events", &channel).await.ok(), "{}");
    assert_eq!(
        api.post("/batch_events", &json!({"batch": [channel]}))
            .await
            .ok(),
        "{}"
    );
    assert_eq!(
        api.post("/users/1/terminate_connections", &json!({}))
            .await
            .ok(),
        "{}"
    );
    assert_eq!(api.get("/channels", &[]).await.ok(), r#"{"channels":{}}"#);
    assert_eq!(
        api.get("/channels/c", &[]).await.ok(),
        r#"{"occupied":false}"#
    );
    assert_eq!(
        api.get("/channels/presence-c/users", &[]).await.ok(),
        r#"{"users":[]}"#
    );
    assert_eq!(
        api.get("/connections", &[]).await.ok(),
        r#"{"connections":0}"#
    );
    let info = [("info", "user_count,subscription_count")];
    let counts = r#"{"occupied":false,"user_count":0,"subscription_count":0}"#;
    assert_eq!(api.get("/channels/presence-c", &info).await.ok(), counts);
    assert_eq!(
        api.get("/channels/cache-c", &[("info", "cache")])
            .await
            .ok(),
        r#"{"occupied":false,"cache":null}"#
    );
    // Go may send no body.
    let request = api.request("POST", "/users/1/terminate_connections", &[], b"");
    api.wire.send(request).await;
    assert_eq!(api.wire.reply().await.ok(), "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_not_is_404_and_what_is_off_403() {
    let off = App::new("2", "off-key", "secret").map(|mut app| {
        app.active = false;
        app
    });
    let house = House::open([app(), off.expect("an app")]).await;
    let mut api = house.api_of(&house.apps[1]).await;
    api.post("/events", &json!({"name": "e", "channel": "a", "data": ""}))
        .await
        .expect_error(403, "disabled");
    api.get("/channels", &[])
        .await
        .expect_error(403, "disabled");
    let nobody = App::new("9", "key", "secret").expect("an app");
    let mut api = house.api_of(&nobody).await;
    api.post("/events", &json!({"name": "e", "channel": "a", "data": ""}))
        .await
        .expect_error(404, "9");
    api.get("/channels", &[]).await.expect_error(404, "9");
    let mut api = house.api().await;
    for path in [
        "/",
        "/channels/a/b",
        "/events/",
        "/users/1",
        "/users//",
        "/nothing",
    ] {
        api.get(path, &[]).await.expect_error(404, "Not found");
    }
    let mut wire = house.wire().await;
    for path in ["/", "/apps", "/favicon.ico", "//", "/apps/1001"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        wire.reply().await.expect_error(404, "Not found");
    }
    for (method, path, allowed) in [
        ("GET", "/events", "POST"),
        ("GET", "/batch_events", "POST"),
        ("GET", "/users/1/terminate_connections", "POST"),
        ("POST", "/channels", "GET, HEAD"),
        ("POST", "/channels/a", "GET, HEAD"),
        ("POST", "/connections", "GET, HEAD"),
        ("PUT", "/events", "POST"),
        ("DELETE", "/channels/a", "GET, HEAD"),
        ("OPTIONS", "/events", "POST"),
    ] {
        let request = api.request(method, path, &[], b"");
        api.wire.send(request).await;
        let reply = api.wire.reply().await;
        reply.expect_error(405, "not allowed");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_listed_with_what_is_asked_for() {
    let house = House::plain().await;
    let mut api = house.api().await;
    let mut clients = Vec::new();
    for n in 0..6 {
        let mut client = house.client().await;
        client.sign_in(&json!({"id": n})).await;
        client.subscribe("news").await;
        client
            .join("presence-room", &json!({"user_id": n % 2}))
            .await;
        clients.push(client);
    }
    let mut other = house.client().await;
    other.sign_in(&json!({"id": 7})).await;
    other.join("presence-other", &json!({"user_id": "x"})).await;
    clients.push(other);
    let all = api.get("/channels", &[]).await.json();
    assert_eq!(
        all,
        json!({"channels": {"news": {}, "presence-room": {}, "presence-other": {}}})
    );
    let some = api
        .get("/channels", &[("filter_by_prefix", "presence-r")])
        .await
        .json();
    assert_eq!(some, json!({"channels": {"presence-room": {}}}));
    let counts = api
        .get(
            "/channels",
            &[("filter_by_prefix", "presence-"), ("info", "user_count")],
        )
        .await
        .json();
    assert_eq!(
        counts,
        json!({"channels": {"presence-room": {"user_count": 2}, "presence-other": {"user_count": 1}}})
    );
    let counts = api
        .get("/channels", &[("info", "subscription_count")])
        .await
        .json();
    let expected = json!({"news": {"subscription_count": 6}, "presence-room": {"subscription_count": 6}, "presence-other": {"subscription_count": 1}});
    assert_eq!(counts, json!({"channels": expected}));
    api.get("/channels", &[("info", "user_count")])
        .await
        .expect_error(400, "filter_by_prefix");
    api.get(
        "/channels",
        &[("info", "user_count"), ("filter_by_prefix", "news")],
    )
    .await
    .expect_error(400, "filter_by_prefix");
    let room = api
        .get(
            "/channels/presence-room",
            &[("info", "user_count,subscription_count")],
        )
        .await
        .json();
    assert_eq!(
        room,
        json!({"occupied": true, "user_count": 2, "subscription_count": 6})
    );
    assert_eq!(
        api.get("/channels/news", &[]).await.ok(),
        r#"{"occupied":true}"#
    );
    assert_eq!(
        api.get("/channels/news", &[("info", "unknown")]).await.ok(),
        r#"{"occupied":true}"#
    );
    api.get("/channels/news", &[("info", "user_count")])
        .await
        .expect_error(400, "user_count");
    api.get("/channels/news", &[("info", "cache")])
        .await
        .expect_error(400, "cache");
    api.get("/channels/news/users", &[])
        .await
        .expect_error(400, "presence");
    api.get("/channels/a%20b", &[])
        .await
        .expect_error(400, "' '");
    let users = api.get("/channels/presence-room/users", &[]).await.json();
    let ids: std::collections::BTreeSet<&str> = users["users"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|user| user["id"].as_str())
        .collect();
    assert_eq!(
        (ids, users["users"][0].as_object().map(|user| user.len())),
        (["0", "1"].into(), Some(1))
    );
    assert_eq!(
        api.get("/connections", &[]).await.ok(),
        r#"{"connections":7}"#
    );
    drop(clients);
    house.settles(|sizes| sizes.connections == 0).await;
    assert_eq!(api.get("/channels", &[]).await.ok(), r#"{"channels":{}}"#);
    assert_eq!(
        api.get("/connections", &[]).await.ok(),
        r#"{"connections":0}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cache_remembers_can_be_read() {
    let house = House::plain().await;
    let mut api = house.api().await;
    api.publish("private-cache-c", "e", r#"{"id":"ü\"x"}"#)
        .await;
    let info = [("info", "cache,subscription_count")];
    let reply = api.get("/channels/private-cache-c", &info).await.json();
    let ttl = reply["cache"]["ttl"].as_u64().expect("a number");
    assert!((1790..=1800).contains(&ttl), "{ttl}");
    let expected = json!({"occupied": false, "subscription_count": 0, "cache": {"data": r#"{"id":"ü\"x"}"#, "ttl": ttl}});
    assert_eq!(reply, expected);
    // Remembering is not being occupied.
    assert_eq!(api.get("/channels", &[]).await.ok(), r#"{"channels":{}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_terminated_whatever_its_id_and_by_python_too() {
    let house = House::plain().await;
    let mut api = house.api().await;
    let user = "a/b c";
    for paths in [
        ["/apps/1001/users/a%2Fb%20c/terminate_connections"; 2],
        [
            "/apps/1001/users/a%2Fb%20c/terminate_connections",
            "/apps/1001/users/a/b c/terminate_connections",
        ],
        // The Python SDK forgets the first half.
        ["/users/a%2Fb%20c/terminate_connections"; 2],
    ] {
        let mut client = house.client().await;
        client.sign_in(&json!({"id": user})).await;
        let reply = Handmade {
            method: "POST",
            paths,
            queries: ["", ""],
            body: "{}",
        }
        .ask(&mut api)
        .await;
        assert_eq!(reply.ok(), "{}", "{paths:?}");
        client.expect_close(4009, "disconnected by the app").await;
    }
    let stranger = Handmade {
        method: "POST",
        paths: ["/users/1/terminate_connections"; 2],
        queries: ["", ""],
        body: "{}",
    };
    let mut nobody = house
        .api_of(&App::new("9", "nobody", "secret").expect("an app"))
        .await;
    stranger
        .ask(&mut nobody)
        .await
        .expect_error(401, "auth_key");
    let long = format!("/users/{}/terminate_connections", encode(&"x".repeat(129)));
    api.post(&long, &json!({})).await.expect_error(400, "128");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_publishes_and_reads_so_often_and_is_told_when_to_come_back() {
    let clock = stopped_clock();
    let limited = app_with(|app| {
        app.limits.events_per_second = 3;
        app.limits.reads_per_second = 2;
    });
    let house = House::at(&clock, [limited]).await;
    let mut api = house.api().await;
    let event = json!({"name": "e", "channel": "a", "data": ""});
    assert_eq!(
        api.post("/batch_events", &json!({"batch": [event, event]}))
            .await
            .ok(),
        "{}"
    );
    api.post("/batch_events", &json!({"batch": [event, event]}))
        .await
        .expect_error(429, "events_per_second is 3");
    api.publish("a", "e", "").await;
    let refused = api.post("/events", &event).await;
    refused.expect_error(429, "events_per_second is 3");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Reading is another allowance, and ending connections none.
    for _ in 0..2 {
        assert_eq!(api.get("/channels", &[]).await.ok(), r#"{"channels":{}}"#);
    }
    let refused = api.get("/connections", &[]).await;
    refused.expect_error(429, "reads_per_second is 2");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(
        api.post("/users/1/terminate_connections", &json!({}))
            .await
            .ok(),
        "{}"
    );
    clock.advance(Duration::from_secs(1));
    api.publish("a", "e", "").await;
    assert_eq!(
        api.get("/connections", &[]).await.ok(),
        r#"{"connections":0}"#
    );
}
