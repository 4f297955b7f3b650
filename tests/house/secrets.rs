//! An app's secrets: two of them for a while, and when each was used last.

use std::time::Duration;

use reverb_core::clock::{Clock, ManualClock};
use reverb_core::hub::Hub;
use reverb_core::protocol::{App, Secret};
use serde_json::json;

use crate::harness::{House, app, stopped_clock};

/// The app with another secret than it had, which is accepted for 20 s.
fn rotated(clock: &ManualClock) -> App {
    let mut app = app();
    let secret = Secret::new("another-secret").expect("a secret");
    app.rotate_secret(secret, Some(clock.unix_time().as_secs() + 20));
    app
}

/// Which secrets were used, as text.
fn used(hub: &Hub) -> Vec<String> {
    let used = hub.take_secrets_used().into_iter();
    let mut used: Vec<_> = used.map(|used| used.secret.reveal().to_owned()).collect();
    used.sort();
    used
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_secret_opens_every_door_until_its_time_is_over() {
    let clock = stopped_clock();
    let house = House::at(&clock, [rotated(&clock)]).await;
    let (mut new, mut old) = (house.client().await, house.client().await);
    (new.app, old.app) = (rotated(&clock), app());
    for client in [&mut new, &mut old] {
        client.subscribe("private-a").await;
        client.sign_in(&json!({"id": "7"})).await;
    }
    for app in [rotated(&clock), app()] {
        let mut api = house.api_of(&app).await;
        api.time = clock.unix_time().as_secs();
        assert_eq!(api.get("/channels", &[]).await.status, 200);
    }

    clock.advance(Duration::from_secs(20));
    let (mut new, mut late) = (house.client().await, house.client().await);
    (new.app, late.app) = (rotated(&clock), app());
    new.subscribe("private-a").await;
    late.ask("private-a", None).await;
    late.expect_error(4009, "Invalid signature").await;
    assert_eq!(late.next().await["event"], "pusher:subscription_error");
    late.ask_to_sign_in(r#"{"id":"7"}"#).await;
    late.expect_error(4009, "Invalid signature").await;
    let mut api = house.api_of(&app()).await;
    api.time = clock.unix_time().as_secs();
    let refused = api.get("/channels", &[]).await;
    refused.expect_error(401, "Invalid signature");
    // Who is in stays.
    old.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn which_secret_was_used_is_told_once() {
    let clock = stopped_clock();
    let house = House::at(&clock, [rotated(&clock)]).await;
    assert!(used(&house.hub).is_empty());
    let mut client = house.client().await;
    client.app = App::new("1001", "app-key", "of-nobody").expect("an app");
    client.ask("private-a", None).await;
    client.expect_error(4009, "Invalid signature").await;
    assert_eq!(client.next().await["event"], "pusher:subscription_error");
    client.subscribe("public").await;
    assert!(used(&house.hub).is_empty());
    client.app = rotated(&clock);
    client.subscribe("private-a").await;
    client.subscribe("private-b").await;
    assert_eq!(used(&house.hub), ["another-secret"]);
    assert!(used(&house.hub).is_empty());

    client.app = app();
    client.subscribe("private-c").await;
    let mut api = house.api_of(&rotated(&clock)).await;
    api.time = clock.unix_time().as_secs();
    assert_eq!(api.get("/channels", &[]).await.status, 200);
    assert_eq!(used(&house.hub), ["another-secret", "app-secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_is_told_although_nobody_is_left() {
    let house = House::plain().await;
    let mut api = house.api().await;
    assert_eq!(api.get("/channels", &[]).await.status, 200);
    house.settles(|sizes| sizes.apps == 0).await;
    assert_eq!(used(&house.hub), ["app-secret"]);
}
