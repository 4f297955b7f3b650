//! An embedder's own say in who comes in, and what it may watch. Source: `Authorizer`, `Observer`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reverb_core::hooks::{
    self, Authorizer, Denied, Missed, Observations, Observed, Pass, SubscribeRequest, Visit,
};
use reverb_core::http::Peer;
use reverb_core::protocol::Close;
use serde_json::json;
use tokio::sync::Notify;

use crate::client::Client;
use crate::harness::{House, app, soon};
use crate::wire::handshake;

/// Decides by what the client's cookie says, and by the name of the channel.
#[derive(Clone, Default)]
struct Doorman {
    /// `private-slow…` is decided when this is told.
    decides: Arc<Notify>,
    is_down: Arc<AtomicBool>,
}

struct Name(String);

#[async_trait]
impl Authorizer for Doorman {
    async fn connect(&self, visit: &Visit) -> Result<Pass, Close> {
        assert_eq!(visit.app.id.as_str(), "1001");
        let request = &visit.request;
        assert!(
            request
                .extensions
                .get::<Peer>()
                .is_some_and(|peer| peer.0.ip().is_loopback())
        );
        assert_eq!(request.uri.path(), "/app/app-key");
        let cookie = request
            .headers
            .get("cookie")
            .and_then(|cookie| cookie.to_str().ok());
        match cookie {
            Some("late") => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Ok(Pass::with(Name("late".into())))
            }
            Some("never") => std::future::pending().await,
            Some("panic") => panic!("a bug in the authorizer"),
            Some(name) => Ok(Pass::with(Name(name.to_owned()))),
            None => Err(Close::with(4010, "Log in first").expect("a code")),
        }
    }

    async fn subscribe(&self, request: &SubscribeRequest) -> Result<(), Denied> {
        let Name(name) = request.pass.get().expect("everybody has a name");
        match request.channel.as_str() {
            "private-panic" => panic!("a bug in the authorizer"),
            "private-never" => std::future::pending().await,
            channel if channel.starts_with("private-slow") => {
                self.decides.notified().await;
                match self.is_down.load(Ordering::Acquire) {
                    true => Err(Denied::new("Overloaded", 429, "Not now")),
                    false => Ok(()),
                }
            }
            channel if channel.ends_with(name) => Ok(()),
            _ => Err(Denied::new("Forbidden", 403, format!("Not for {name:?}"))),
        }
    }
}

async fn guarded(doorman: &Doorman) -> House {
    House::with([app()], |builder| builder.authorizer(doorman.clone())).await
}

async fn named(house: &House, cookie: &str) -> Client {
    let (mut client, _) = house
        .knock_with("/app/app-key", &[("cookie", cookie)])
        .await;
    client.greeted().await;
    client
}

async fn denied(client: &mut Client, channel: &str, kind: &str, status: u16) {
    client.expect_error(4009, "").await;
    let error = client.next().await;
    assert_eq!(error["event"], "pusher:subscription_error");
    assert_eq!(error["channel"], channel);
    assert_eq!(
        (&error["data"]["type"], &error["data"]["status"]),
        (&json!(kind), &json!(status))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorizer_says_who_comes_in_and_who_sits_where() {
    let house = guarded(&Doorman::default()).await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4010, "Log in first")
        .await;
    for name in ["ann", "late"] {
        let mut client = named(&house, name).await;
        client.subscribe(&format!("private-{name}")).await;
        client.subscribe(&format!("public-{name}")).await;
        client.ask("private-other", None).await;
        denied(&mut client, "private-other", "Forbidden", 403).await;
        // It can only refuse: the app's signature is asked for all the same.
        client.send(json!({"event": "pusher:subscribe", "data": {"channel": "private-x-ann", "auth": "app-key:00"}})).await;
        client.expect_error(4009, "").await;
        client.next().await;
        house
            .api()
            .await
            .publish(&format!("private-{name}"), "e", "1")
            .await;
        client.expect_on(&format!("private-{name}"), "e", "1").await;
    }
    // What the store says of the app comes first.
    house
        .knock("/app/nobody")
        .await
        .expect_close(4001, "")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorizer_that_breaks_refuses_and_harms_nobody() {
    let house = guarded(&Doorman::default()).await;
    let mut ann = named(&house, "ann").await;
    let (mut broken, _) = house
        .knock_with("/app/app-key", &[("cookie", "panic")])
        .await;
    broken.expect_close(4100, "try again").await;
    ann.ask("private-panic", None).await;
    denied(&mut ann, "private-panic", "AuthError", 503).await;
    ann.subscribe("private-ann").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorizer_that_never_answers_refuses_in_the_end() {
    let house = guarded(&Doorman::default()).await;
    let mut ann = named(&house, "ann").await;
    ann.ask("private-never", None).await;
    let mut wire = house.wire().await;
    let cookie = "\r\nCookie: never\r\n";
    wire.send(handshake("/app/app-key").replacen("\r\n", cookie, 1))
        .await;
    // Both have five seconds, which is as long as these tests wait for anything.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(wire.head_only().await.status, 101);
    assert!(wire.text().await.contains("try again"));
    assert_eq!(wire.closed().await, 4100);
    denied(&mut ann, "private-never", "AuthError", 503).await;
    ann.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_channel_wait_for_its_decision_and_others_go_on() {
    let doorman = Doorman::default();
    let house = guarded(&doorman).await;
    let mut ann = named(&house, "ann").await;
    ann.ask("private-slow", None).await;
    ann.ping().await;
    ann.subscribe("private-ann").await;
    // From here on the channel is spoken of: this waits, and so does all that follows.
    ann.send(json!({"event": "client-x", "channel": "private-slow", "data": "1"}))
        .await;
    ann.unsubscribe("private-slow").await;
    ann.send(json!({"event": "pusher:ping"})).await;
    let mut listener = named(&house, "ann").await;
    listener.ask("private-slow-too", None).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(50), ann.next_text())
            .await
            .is_err()
    );
    doorman.decides.notify_waiters();
    ann.expect_on(
        "private-slow",
        "pusher_internal:subscription_succeeded",
        "{}",
    )
    .await;
    ann.expect(json!({"event": "pusher:pong", "data": {}}))
        .await;
    listener
        .expect_on(
            "private-slow-too",
            "pusher_internal:subscription_succeeded",
            "{}",
        )
        .await;
    let handle = house.hub.app("1001").await.expect("the app");
    assert_eq!(handle.subscriptions("private-slow"), 0, "it has left again");
    // Refused later on.
    doorman.is_down.store(true, Ordering::Release);
    ann.ask("private-slow", None).await;
    ann.ping().await;
    doorman.decides.notify_waiters();
    denied(&mut ann, "private-slow", "Overloaded", 429).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_subscriptions_are_decided_at_a_time_but_not_any_number() {
    let doorman = Doorman::default();
    let house = guarded(&doorman).await;
    let mut ann = named(&house, "ann").await;
    for n in 0..100 {
        ann.ask(&format!("private-slow-{n}"), None).await;
    }
    ann.send(json!({"event": "pusher:ping"})).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(50), ann.next_text())
            .await
            .is_err(),
        "the ping stands behind one subscription too many"
    );
    let mut seated = 0;
    while seated < 100 {
        doorman.decides.notify_waiters();
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(50), ann.next()).await {
            match event["event"].as_str() {
                Some("pusher_internal:subscription_succeeded") => seated += 1,
                other => assert_eq!(other, Some("pusher:pong")),
            }
        }
    }
    drop(ann);
    // Whoever leaves while something is being decided leaves nothing behind.
    let mut bob = named(&house, "bob").await;
    bob.ask("private-slow-bob", None).await;
    bob.ping().await;
    drop(bob);
    house.settles(|sizes| sizes.connections == 0).await;
    doorman.decides.notify_waiters();
    house
        .settles(|sizes| sizes.channels == 0 && sizes.apps == 0)
        .await;
}

async fn seen(observations: &mut Observations) -> Observed {
    soon(observations.next())
        .await
        .expect("the hub lives")
        .expect("nothing was missed")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_sees_who_comes_speaks_and_goes() {
    let (observer, mut observations) = hooks::observer(64);
    let (second, mut others) = hooks::observer(64);
    let house = House::with([app()], |builder| {
        builder.observer(observer).observer(second)
    })
    .await;
    let mut client = house.client().await;
    client.join("presence-a", &json!({"user_id": "7"})).await;
    client
        .send(json!({"event": "client-x", "channel": "presence-a", "data": "1"}))
        .await;
    client.unsubscribe("presence-a").await;
    client.subscribe("b").await;
    let id = client.socket_id.parse().expect("an id");
    drop(client);
    let mut told = Vec::new();
    for _ in 0..6 {
        let one = seen(&mut observations).await;
        assert_eq!(format!("{one:?}"), format!("{:?}", seen(&mut others).await));
        told.push(match one {
            Observed::Connected { app, socket_id } => {
                assert_eq!((app.as_str(), socket_id), ("1001", id));
                "connected".to_owned()
            }
            Observed::Subscribed {
                channel,
                user,
                socket_id,
                ..
            } => {
                assert_eq!(socket_id, id);
                format!(
                    "subscribed {channel} {:?}",
                    user.map(|user| user.to_string())
                )
            }
            Observed::ClientEvent { channel, event, .. } => {
                assert_eq!(
                    event.user().map(|user| user.to_string()).as_deref(),
                    Some("7")
                );
                format!("said {channel} {} {}", event.name(), event.data())
            }
            Observed::Unsubscribed { channel, .. } => format!("unsubscribed {channel}"),
            Observed::Disconnected { socket_id, .. } => {
                assert_eq!(socket_id, id);
                "disconnected".to_owned()
            }
            other => format!("{other:?}"),
        });
    }
    assert_eq!(
        told,
        [
            "connected",
            "subscribed presence-a Some(\"7\")",
            "said presence-a client-x 1",
            "unsubscribed presence-a",
            "subscribed b None",
            "disconnected"
        ]
    );
    drop(house);
    assert!(soon(observations.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_that_does_not_read_holds_nobody_up() {
    let (observer, mut observations) = hooks::observer(4);
    let house = House::with([app()], |builder| builder.observer(observer)).await;
    for _ in 0..20 {
        house.client().await.ping().await;
    }
    house.settles(|sizes| sizes.connections == 0).await;
    for _ in 0..4 {
        seen(&mut observations).await;
    }
    assert_eq!(
        soon(observations.next()).await.map(|seen| seen.err()),
        Some(Some(Missed(36)))
    );
    assert_eq!(observations.missed(), 36);
    let _client = house.client().await;
    assert!(matches!(
        seen(&mut observations).await,
        Observed::Connected { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_logged_out_is_found_by_the_pass() {
    let house = guarded(&Doorman::default()).await;
    let (mut ann, mut second, mut bob) = (
        named(&house, "ann").await,
        named(&house, "ann").await,
        named(&house, "bob").await,
    );
    let handle = house.hub.app("1001").await.expect("the app");
    handle.terminate_where(|pass| pass.get().is_some_and(|Name(name)| name == "ann"));
    ann.expect_close(4009, "disconnected by the app").await;
    second.expect_close(4009, "disconnected by the app").await;
    bob.ping().await;
    handle.terminate_where(|_| panic!("a bug in the test"));
    bob.ping().await;
}
