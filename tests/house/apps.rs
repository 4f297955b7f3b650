//! Several apps in one server, and what each of them may do. Source: PROTOCOL 9, the limits of `App`.

use reverb_core::protocol::{App, Limits};
use serde_json::{Value, json};

use crate::harness::{House, app, app_with};

fn other_app() -> App {
    App::new("1002", "other-key", "other-secret").expect("an app")
}

/// Two apps, with a client and a backend each.
macro_rules! two_apps {
    ($house:ident, $mine:ident, $theirs:ident, $api:ident, $their_api:ident) => {
        let $house = House::open([app(), other_app()]).await;
        let apps = &$house.apps;
        let (mut $mine, mut $theirs) = (
            $house.client_of(&apps[0]).await,
            $house.client_of(&apps[1]).await,
        );
        let (mut $api, mut $their_api) =
            ($house.api_of(&apps[0]).await, $house.api_of(&apps[1]).await);
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_of_the_same_name_are_not_the_same_channel() {
    two_apps!(house, mine, theirs, api, their_api);
    for client in [&mut mine, &mut theirs] {
        for channel in ["news", "private-chat"] {
            client.subscribe(channel).await;
        }
        client.subscribe("cache-c").await;
        client.expect_on("cache-c", "pusher:cache_miss", "{}").await;
    }
    for channel in ["news", "private-chat", "cache-c"] {
        api.publish(channel, "mine", "1").await;
        their_api.publish(channel, "theirs", "2").await;
        mine.expect_on(channel, "mine", "1").await;
        theirs.expect_on(channel, "theirs", "2").await;
    }
    mine.send(json!({"event": "client-x", "channel": "private-chat", "data": "1"}))
        .await;
    mine.ping().await;
    theirs.ping().await;
    let (mut late, mut their_late) = (
        house.client_of(&app()).await,
        house.client_of(&other_app()).await,
    );
    late.subscribe("cache-c").await;
    late.expect_on("cache-c", "mine", "1").await;
    their_late.subscribe("cache-c").await;
    their_late.expect_on("cache-c", "theirs", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_users_are_each_apps_own() {
    two_apps!(_house, mine, theirs, api, their_api);
    let room = "presence-room";
    assert_eq!(mine.join(room, &json!({"user_id": "1"})).await["count"], 1);
    assert_eq!(
        theirs.join(room, &json!({"user_id": "2"})).await["ids"],
        json!(["2"])
    );
    theirs
        .sign_in(&json!({"id": "1", "watchlist": ["2"]}))
        .await;
    assert_eq!(
        theirs.next().await["event"],
        "pusher_internal:watchlist_events"
    );
    mine.sign_in(&json!({"id": "2"})).await;
    theirs.ping().await;
    api.publish("#server-to-user-1", "e", "no").await;
    their_api.publish("#server-to-user-2", "e", "no").await;
    assert_eq!(
        api.get("/channels/presence-room/users", &[]).await.json(),
        json!({"users": [{"id": "1"}]})
    );
    assert_eq!(
        their_api
            .get("/channels/presence-room/users", &[])
            .await
            .json(),
        json!({"users": [{"id": "2"}]})
    );
    // Ending the connections of a user ends those of this app's user.
    assert_eq!(
        api.post("/users/1/terminate_connections", &json!({}))
            .await
            .ok(),
        "{}"
    );
    mine.expect_close(4009, "disconnected").await;
    theirs.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_and_listed_is_each_apps_own() {
    two_apps!(house, mine, theirs, api, their_api);
    mine.subscribe("news").await;
    mine.subscribe("mine").await;
    theirs.subscribe("news").await;
    let more = house.client_of(&other_app()).await;
    assert_eq!(
        api.get("/connections", &[]).await.ok(),
        r#"{"connections":1}"#
    );
    assert_eq!(
        their_api.get("/connections", &[]).await.ok(),
        r#"{"connections":2}"#
    );
    assert_eq!(
        api.get("/channels", &[]).await.json(),
        json!({"channels": {"news": {}, "mine": {}}})
    );
    assert_eq!(
        their_api.get("/channels", &[]).await.json(),
        json!({"channels": {"news": {}}})
    );
    assert_eq!(
        their_api.get("/channels/mine", &[]).await.json(),
        json!({"occupied": false})
    );
    let count = [("info", "subscription_count")];
    assert_eq!(
        their_api.get("/channels/news", &count).await.json()["subscription_count"],
        1
    );
    drop(more);
    assert_eq!(house.hub.sizes().apps, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_apps_credentials_open_nothing_of_another() {
    two_apps!(_house, mine, theirs, api, their_api);
    theirs.subscribe("private-chat").await;
    for (client, key) in [(&mut mine, "other-key"), (&mut theirs, "app-key")] {
        let foreign = client
            .auth("private-b", None)
            .replace("app-key", "K")
            .replace("other-key", "app-key")
            .replace("K:", "other-key:");
        client.send(json!({"event": "pusher:subscribe", "data": {"channel": "private-b", "auth": foreign}})).await;
        client
            .expect_error(
                4009,
                &format!("Invalid key in subscription auth data: '{key}'"),
            )
            .await;
        assert_eq!(client.next().await["event"], "pusher:subscription_error");
    }
    // The right key with the wrong app's secret.
    let id = mine.socket_id.parse().expect("an id");
    let signature =
        reverb_core::protocol::auth::channel_signature(&theirs.app.secret, id, "private-b", None);
    let auth = format!("app-key:{}", data_encoding::HEXLOWER.encode(&signature));
    mine.send(json!({"event": "pusher:subscribe", "data": {"channel": "private-b", "auth": auth}}))
        .await;
    mine.expect_error(4009, "Invalid signature").await;
    assert_eq!(mine.next().await["event"], "pusher:subscription_error");
    // Signed by one app, for the id of the other.
    api.app.id = other_app().id;
    let event = json!({"name": "e", "channel": "private-chat", "data": "1"});
    api.post("/events", &event)
        .await
        .expect_error(401, "auth_key");
    api.get("/channels", &[])
        .await
        .expect_error(401, "auth_key");
    their_api.publish("private-chat", "marker", "").await;
    theirs.expect_on("private-chat", "marker", "").await;
    // Nor does a socket's id of one app name a socket of another.
    let event =
        json!({"name": "e", "channel": "private-chat", "data": "1", "socket_id": mine.socket_id});
    assert_eq!(their_api.post("/events", &event).await.ok(), "{}");
    theirs.expect_on("private-chat", "e", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_apps_limits_do_not_touch_another() {
    let small = app_with(|app| {
        app.limits.events_per_second = 1;
        app.max_connections = Some(1);
    });
    let house = House::open([small, other_app()]).await;
    let _mine = house.client().await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4004, "max_connections")
        .await;
    let (mut api, mut their_api) = (house.api().await, house.api_of(&other_app()).await);
    let event = json!({"name": "e", "channel": "a", "data": ""});
    api.publish("a", "e", "").await;
    api.post("/events", &event)
        .await
        .expect_error(429, "events_per_second is 1");
    for _ in 0..20 {
        their_api.publish("a", "e", "").await;
        house.client_of(&other_app()).await.ping().await;
    }
}

fn tiny() -> Limits {
    let mut limits = Limits::default();
    limits.client_events_per_second = 1;
    limits.channel_name_length = 20;
    limits.event_name_length = 10;
    limits.event_bytes = 10;
    limits.channels_per_event = 2;
    limits.batch_size = 2;
    limits.channels_per_connection = 3;
    limits.presence_members = 1;
    limits.presence_member_bytes = 12;
    limits
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hits_a_limit_is_told_its_name() {
    let house = House::open([app_with(|app| app.limits = tiny())]).await;
    let mut api = house.api().await;
    let event = |name: &str, channels: Value, data: &str| json!({"name": name, "channels": channels, "data": data});
    for (body, status, says) in [
        (
            event("12345678901", json!(["a"]), ""),
            400,
            "event_name_length is 10",
        ),
        (
            event("e", json!(["x".repeat(21)]), ""),
            400,
            "channel_name_length is 20",
        ),
        (
            event("e", json!(["a", "b", "c"]), ""),
            400,
            "channels_per_event is 2",
        ),
        (
            event("e", json!(["a"]), "12345678901"),
            413,
            "event_bytes is 10",
        ),
    ] {
        api.post("/events", &body).await.expect_error(status, says);
    }
    let entry = json!({"name": "e", "channel": "a", "data": ""});
    api.post("/batch_events", &json!({"batch": [entry, entry, entry]}))
        .await
        .expect_error(400, "batch_size is 2");
    assert_eq!(
        api.post(
            "/events",
            &event("1234567890", json!(["x".repeat(20), "b"]), "1234567890")
        )
        .await
        .ok(),
        "{}"
    );

    let (mut a, mut b) = (house.client().await, house.client().await);
    a.ask(&"x".repeat(21), None).await;
    a.expect_error(4009, "channel_name_length is 20").await;
    a.next().await;
    a.ask(
        "presence-a",
        Some(r#"{"user_id":"1","user_info":"1234567890"}"#),
    )
    .await;
    a.expect_error(4301, "presence_member_bytes is 12").await;
    a.next().await;
    a.join(
        "presence-a",
        &json!({"user_id": "1", "user_info": "123456789"}),
    )
    .await;
    b.ask("presence-a", Some(r#"{"user_id":"2"}"#)).await;
    b.expect_error(4100, "presence_members is 1").await;
    b.next().await;
    a.subscribe("private-a").await;
    a.subscribe("c").await;
    a.ask("d", None).await;
    a.expect_error(4100, "channels_per_connection is 3").await;
    a.next().await;
    let say = |name: &str, data: &str| json!({"event": name, "channel": "private-a", "data": data});
    a.send(say("client-long", "")).await;
    a.expect_error(4301, "event_name_length is 10").await;
    a.send(say("client-x", "12345678901")).await;
    a.expect_error(4301, "event_bytes is 10").await;
    a.send(say("client-x", "1234567890")).await;
    a.send(say("client-x", "")).await;
    a.expect_error(4301, "client_events_per_second is 1").await;
    a.ping().await;
}
