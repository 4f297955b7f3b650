//! Signing in, events to a user, watchlists, and ending a user's connections. Source: PROTOCOL 6.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{House, app, app_with, stopped_clock};

/// Longer than a user may be away without being called offline; whole, since the hub tidies up once a second.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

#[track_caller]
pub(crate) fn expect_watched<'a>(
    client: &'a mut Client,
    online: &[&str],
    offline: &[&str],
) -> impl Future<Output = ()> + use<'a> {
    let groups = [("online", online), ("offline", offline)];
    let events: Vec<Value> = groups
        .iter()
        .filter(|(_, users)| !users.is_empty())
        .map(|(name, users)| json!({"name": name, "user_ids": users}))
        .collect();
    client.expect(json!({"event": "pusher_internal:watchlist_events", "data": json!({"events": events}).to_string()}))
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_is_confirmed_with_the_very_data() {
    let house = House::plain().await;
    for user_data in [
        r#"{"id":"12345"}"#,
        r#"{ "id": "12345", "user_info": {"name":"Zü\u00fc"}, "more": [1] }"#,
        r#"{"id":12345,"watchlist":null}"#,
    ] {
        let mut client = house.client().await;
        client.ask_to_sign_in(user_data).await;
        client
            .expect(json!({"event": "pusher:signin_success", "data": {"user_data": user_data}}))
            .await;
        // Libraries then subscribe to the user's own channel.
        client.subscribe("#server-to-user-12345").await;
        client.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_fails_says_so_and_the_connection_stays() {
    let house = House::plain().await;
    let mut client = house.client().await;
    let user_data = r#"{"id":"1"}"#;
    for (data, code, says) in [
        (
            json!({"auth": "app-key:0", "user_data": user_data}),
            json!(4009),
            "Invalid signature",
        ),
        (
            json!({"auth": "other:0", "user_data": user_data}),
            json!(4009),
            "Invalid key",
        ),
        (
            json!({"auth": "0", "user_data": user_data}),
            json!(4009),
            "Invalid auth",
        ),
        (
            json!({"user_data": user_data}),
            json!(null),
            "Missing parameter: data.auth",
        ),
        (
            json!({"auth": "app-key:0"}),
            json!(null),
            "Missing parameter: data.user_data",
        ),
    ] {
        client
            .send(json!({"event": "pusher:signin", "data": data}))
            .await;
        client.expect_error(code, says).await;
    }
    let (long, large) = (
        format!(r#"{{"id":"{}"}}"#, "x".repeat(129)),
        format!(r#"{{"id":"1","user_info":"{}"}}"#, "x".repeat(32 * 1024)),
    );
    for user_data in [
        "",
        "[]",
        "{}",
        r#"{"id":""}"#,
        r#"{"id":null}"#,
        r#"{"id":{}}"#,
        r#"{"id":1.5}"#,
        &long,
        &large,
    ] {
        client.ask_to_sign_in(user_data).await;
        client.expect_error(4009, "user_data").await;
    }
    client.ask("#server-to-user-1", None).await;
    client.expect_error(4009, "signed in").await;
    assert_eq!(client.next().await["event"], "pusher:subscription_error");
    // A channel's signature is none for a user, even of the same length.
    let auth = client.auth(":user::{\"id\":\"1\"}", None);
    client
        .send(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}))
        .await;
    client.sign_in(&json!({"id": "1"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sign_in_may_repeat_but_not_change_the_user() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.sign_in(&json!({"id": "1"})).await;
    client.sign_in(&json!({"id": "1", "user_info": {}})).await;
    client.ask_to_sign_in(r#"{"id":"2"}"#).await;
    client.expect_error(4009, "another user").await;
    api.publish("#server-to-user-2", "e", "no").await;
    api.publish("#server-to-user-1", "e", "yes").await;
    client.expect_on("#server-to-user-1", "e", "yes").await;
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_to_a_user_reaches_its_connections_once_and_nobody_else() {
    let house = House::plain().await;
    let mut api = house.api().await;
    let (mut tab, mut subscribed, mut other, mut stranger) = (
        house.client().await,
        house.client().await,
        house.client().await,
        house.client().await,
    );
    tab.sign_in(&json!({"id": "1"})).await;
    subscribed.sign_in(&json!({"id": "1"})).await;
    subscribed.subscribe("#server-to-user-1").await;
    other.sign_in(&json!({"id": "2"})).await;
    for client in [&mut other, &mut stranger] {
        client.ask("#server-to-user-1", None).await;
        client.expect_error(4009, "signed in").await;
        let error = client.next().await;
        assert_eq!(error["event"], "pusher:subscription_error");
        assert_eq!(error["data"]["status"], 401);
        client.subscribe("marker").await;
    }
    api.publish("#server-to-user-1", "invite", r#"{"from":"2"}"#)
        .await;
    api.publish("marker", "m", "").await;
    for client in [&mut tab, &mut subscribed] {
        assert_eq!(
            client.next_text().await,
            r##"{"event":"invite","channel":"#server-to-user-1","data":"{\"from\":\"2\"}"}"##
        );
        client.ping().await;
    }
    for client in [&mut other, &mut stranger] {
        client.expect_on("marker", "m", "").await;
    }
    // Unsubscribing the library's channel does not sign out, nor are users listed as channels.
    subscribed.unsubscribe("#server-to-user-1").await;
    subscribed.ping().await;
    assert_eq!(
        api.get("/channels", &[]).await.json(),
        json!({"channels": {"marker": {}}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_have_any_id() {
    let house = House::plain().await;
    let mut api = house.api().await;
    for id in ["a@b.c", "a/b", "Zoë 😀", "x:y|z", &"x".repeat(128)] {
        let mut client = house.client().await;
        client.sign_in(&json!({"id": id})).await;
        let channel = format!("#server-to-user-{id}");
        client.subscribe(&channel).await;
        api.publish(&channel, "e", "1").await;
        client.expect_on(&channel, "e", "1").await;
        let request = api.request(
            "POST",
            &format!("/users/{}/terminate_connections", crate::api::encode(id)),
            &[],
            b"{}",
        );
        api.wire.send(request).await;
        assert_eq!(api.wire.reply().await.ok(), "{}");
        client.expect_close(4009, "disconnected by the app").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_a_users_connections_ends_those_signed_in_and_those_present() {
    let house = House::plain().await;
    let mut api = house.api().await;
    let mut ended = Vec::new();
    for n in 0..6 {
        let mut client = house.client().await;
        if n != 1 {
            client.sign_in(&json!({"id": "1"})).await;
        }
        // Who is both is told once.
        if n % 2 == 1 {
            client.join("presence-own", &json!({"user_id": 1})).await;
        }
        ended.push(client);
    }
    let (mut other, mut guest) = (house.client().await, house.client().await);
    other.sign_in(&json!({"id": "2"})).await;
    guest
        .join("presence-other", &json!({"user_id": "11"}))
        .await;
    assert_eq!(
        api.post("/users/1/terminate_connections", &json!({}))
            .await
            .ok(),
        "{}"
    );
    for client in &mut ended {
        client.expect_close(4009, "disconnected by the app").await;
    }
    other.ping().await;
    guest.ping().await;
    assert_eq!(
        api.get("/channels", &[]).await.json(),
        json!({"channels": {"presence-other": {}}})
    );
    // It is no error if there is nobody.
    assert_eq!(
        api.post("/users/1/terminate_connections", &json!({}))
            .await
            .ok(),
        "{}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchlist_tells_who_is_there_and_who_comes_and_goes() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app()]).await;
    let mut bob = house.client().await;
    bob.sign_in(&json!({"id": "bob"})).await;
    let mut ann = house.client().await;
    ann.sign_in(&json!({"id": "ann", "watchlist": ["bob", "cid", "dan"]}))
        .await;
    let exact = r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"bob\"]},{\"name\":\"offline\",\"user_ids\":[\"cid\",\"dan\"]}]}"}"#;
    assert_eq!(ann.next_text().await, exact);
    let mut cid = house.client().await;
    cid.sign_in(&json!({"id": "cid"})).await;
    expect_watched(&mut ann, &["cid"], &[]).await;
    // A second tab is no news, nor is one of two that closes.
    let mut tab = house.client().await;
    tab.sign_in(&json!({"id": "cid"})).await;
    drop(tab);
    house.settles(|sizes| sizes.connections == 3).await;
    clock.advance(GRACE);
    drop(bob);
    house.settles(|sizes| sizes.connections == 2).await;
    clock.advance(GRACE);
    expect_watched(&mut ann, &[], &["bob"]).await;
    drop(cid);
    house.settles(|sizes| sizes.connections == 1).await;
    clock.advance(GRACE);
    expect_watched(&mut ann, &[], &["cid"]).await;
    ann.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_loaded_again_was_not_away() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app()]).await;
    let mut ann = house.client().await;
    ann.sign_in(&json!({"id": "ann", "watchlist": ["bob", "cid"]}))
        .await;
    expect_watched(&mut ann, &[], &["bob", "cid"]).await;
    for _ in 0..3 {
        let mut bob = house.client().await;
        bob.sign_in(&json!({"id": "bob"})).await;
        drop(bob);
        house.settles(|sizes| sizes.connections == 1).await;
        clock.advance(Duration::from_secs(1));
    }
    expect_watched(&mut ann, &["bob"], &[]).await;
    let mut bob = house.client().await;
    bob.sign_in(&json!({"id": "bob"})).await;
    clock.advance(Duration::from_secs(5));
    // Cid's coming is the next news: bob was called neither offline nor online again.
    let mut cid = house.client().await;
    cid.sign_in(&json!({"id": "cid"})).await;
    expect_watched(&mut ann, &["cid"], &[]).await;
    drop(bob);
    house.settles(|sizes| sizes.connections == 2).await;
    clock.advance(GRACE);
    expect_watched(&mut ann, &[], &["bob"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_may_watch_one_another_and_themselves() {
    let house = House::plain().await;
    let (mut ann, mut bob) = (house.client().await, house.client().await);
    ann.sign_in(&json!({"id": "ann", "watchlist": ["bob", "bob"]}))
        .await;
    expect_watched(&mut ann, &[], &["bob"]).await;
    bob.sign_in(&json!({"id": "bob", "watchlist": ["ann", "bob"]}))
        .await;
    expect_watched(&mut bob, &["ann", "bob"], &[]).await;
    expect_watched(&mut ann, &["bob"], &[]).await;
    ann.ping().await;
    bob.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchlist_that_is_too_long_is_cut_and_said_to_be() {
    let house = House::plain().await;
    let mut ann = house.client().await;
    let watched: Vec<String> = (0..101).map(|n| format!("u{n}")).collect();
    ann.sign_in(&json!({"id": "ann", "watchlist": watched}))
        .await;
    ann.expect_error(4302, "100").await;
    let first: Vec<&str> = watched[..100].iter().map(String::as_str).collect();
    expect_watched(&mut ann, &[], &first).await;
    let (mut last, mut within) = (house.client().await, house.client().await);
    last.sign_in(&json!({"id": "u100"})).await;
    within.sign_in(&json!({"id": "u99"})).await;
    expect_watched(&mut ann, &["u99"], &[]).await;
    let mut exact = house.client().await;
    exact
        .sign_in(&json!({"id": "eve", "watchlist": watched[..100]}))
        .await;
    assert_eq!(
        exact.next().await["event"],
        "pusher_internal:watchlist_events"
    );
    exact.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_have_no_watchlists() {
    let house = House::open([app_with(|app| app.watchlist = false)]).await;
    let (mut ann, mut bob) = (house.client().await, house.client().await);
    let watched: Vec<String> = (0..101).map(|n| format!("u{n}")).collect();
    ann.sign_in(&json!({"id": "ann", "watchlist": watched}))
        .await;
    bob.sign_in(&json!({"id": "u1"})).await;
    ann.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_users_who_have_gone() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app()]).await;
    for n in 0..20 {
        let mut client = house.client().await;
        client
            .sign_in(&json!({"id": n, "watchlist": [n, n + 1, "x"]}))
            .await;
        assert_eq!(
            client.next().await["event"],
            "pusher_internal:watchlist_events"
        );
    }
    house.settles(|sizes| sizes.connections == 0).await;
    clock.advance(GRACE);
    house.settles(|sizes| sizes == Default::default()).await;
}
