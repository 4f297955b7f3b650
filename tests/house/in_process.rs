//! Publishing without HTTP and hearing without a socket. Source: STYLE 3, `Hub::publish`; `AppHandle`.

use std::time::Duration;

use reverb_core::hooks::{ChannelEvent, Missed};
use reverb_core::hub::{ChannelEvents, PublishError};
use reverb_core::protocol::{Event, InvalidEvent, UserId};
use serde_json::json;

use crate::harness::{House, app, app_with, soon, stopped_clock};

async fn heard(events: &mut ChannelEvents) -> ChannelEvent {
    soon(events.next())
        .await
        .expect("the hub lives")
        .expect("nothing was missed")
}

async fn expect(events: &mut ChannelEvents, name: &str, data: &str) {
    let event = heard(events).await;
    assert_eq!((&*event.name(), &*event.data()), (name, data));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_published_in_process_is_heard_as_any_other() {
    let house = House::plain().await;
    let (mut a, mut b) = (house.client().await, house.client().await);
    a.subscribe("private-a").await;
    b.subscribe("private-a").await;
    let event = Event::new("e", r#"{"n":1}"#).to("private-a").to("nobody");
    let published = house.hub.publish("1001", event).await.expect("published");
    assert_eq!(published.subscriptions, 2);
    a.expect_on("private-a", "e", r#"{"n":1}"#).await;
    b.expect_on("private-a", "e", r#"{"n":1}"#).await;
    let handle = house.hub.app("1001").await.expect("the app");
    let socket = a.socket_id.parse().expect("an id");
    let event = Event::new("e", "2").to("private-a").except(socket);
    handle.publish(event).await.expect("published");
    b.expect_on("private-a", "e", "2").await;
    a.ping().await;
    b.ask_to_sign_in(r#"{"id":"7"}"#).await;
    assert_eq!(b.next().await["event"], "pusher:signin_success");
    let user = UserId::new("7").expect("an id");
    handle
        .publish(Event::new("e", "3").to_user(&user))
        .await
        .expect("published");
    b.expect_on("#server-to-user-7", "e", "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_cannot_wait_publishes_through_a_handle() {
    let house = House::plain().await;
    let mut client = house.client().await;
    client.subscribe("a").await;
    let handle = house.hub.app("1001").await.expect("the app");
    // A thread without any runtime.
    let thread = std::thread::spawn(move || {
        let one = handle.try_publish(Event::new("e", "1").to("a"));
        assert_eq!(one.expect("published").subscriptions, 1);
        let batch = (2..=9).map(|n| Event::new("e", n.to_string()).to("a"));
        let batch = handle.try_publish_batch(batch);
        assert_eq!(batch.expect("published").subscriptions, 8);
    });
    thread.join().expect("no panic");
    for n in 1..=9 {
        client.expect_on("a", "e", &n.to_string()).await;
    }
}

/// The shards run when this task waits, so that what they owe only grows until then.
#[tokio::test]
async fn what_the_shards_cannot_take_is_refused_and_not_kept() {
    let house = House::plain().await;
    let mut client = house.client().await;
    client.subscribe("a").await;
    let handle = house.hub.app("1001").await.expect("the app");
    let large = "x".repeat(10 * 1024);
    let event = || Event::new("e", &*large).to("a");
    let taken = (0..10_000)
        .position(|_| match handle.try_publish(event()) {
            Ok(_) => false,
            Err(PublishError::Overloaded) => true,
            Err(other) => panic!("{other:?}"),
        })
        .expect("the shards have a measure");
    assert!((300..=410).contains(&taken), "4 MiB, not {taken} events");
    // Whoever can wait gets through.
    let published = handle.publish(event()).await.expect("published");
    assert_eq!(published.subscriptions, 1);
    handle.try_publish(event()).expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rules_hold_as_for_http() {
    let house = House::open([
        app_with(|app| app.limits.event_bytes = 10),
        reverb_core::protocol::App::new("2", "key-2", "s").expect("an app"),
    ])
    .await;
    let hub = &house.hub;
    let mut client = house.client().await;
    client.subscribe("a").await;
    let refused =
        |event: Event<'static>| async { hub.publish("1001", event).await.expect_err("a rule") };
    let event = || Event::new("e", "1").to("a");
    for (event, says) in [
        (Event::new("e", "12345678901").to("a"), "event_bytes is 10"),
        (Event::new("pusher:x", "1").to("a"), "reserved"),
        (Event::new("e", "1"), "missing parameter: channels"),
        (Event::new("", "1").to("a"), "missing parameter: name"),
        (Event::new("e", "1").to("a b"), "channel"),
        (
            Event::new("x".repeat(201), "1").to("a"),
            "event_name_length",
        ),
        (
            (0..101).fold(Event::new("e", "1"), |event, n| event.to(format!("c{n}"))),
            "channels_per_event",
        ),
    ] {
        let error = refused(event).await;
        assert!(matches!(error, PublishError::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(
            error.status(),
            if says.starts_with("event_bytes") {
                413
            } else {
                400
            }
        );
    }
    let handle = hub.app("1001").await.expect("the app");
    // A batch is published whole or not at all, and the error names the event.
    let batch = [
        event(),
        Event::new("e", "too large for this").to("a"),
        event(),
    ];
    let error = handle
        .publish_batch(batch.clone())
        .await
        .expect_err("too large");
    assert!(
        matches!(
            error,
            PublishError::Invalid(InvalidEvent::InBatch { index: 1, .. })
        ),
        "{error:?}"
    );
    handle.try_publish_batch(batch).expect_err("too large");
    let many = handle.publish_batch((0..11).map(|_| event())).await;
    assert!(
        many.expect_err("too many")
            .to_string()
            .contains("batch_size is 10")
    );
    let none = handle.publish_batch([]).await;
    assert!(none.is_err());
    let error = hub.publish("nobody", event()).await.expect_err("no app");
    assert!(
        matches!(&error, PublishError::NoApp(id) if id == "nobody"),
        "{error:?}"
    );
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_publish_no_faster_in_process_than_by_http() {
    let clock = stopped_clock();
    let house = House::at(&clock, [app_with(|app| app.limits.events_per_second = 3)]).await;
    let handle = house.hub.app("1001").await.expect("the app");
    let event = || Event::new("e", "1").to("a");
    handle.publish(event()).await.expect("published");
    handle.try_publish(event()).expect("published");
    house.api().await.publish("a", "e", "1").await;
    let error = handle.publish(event()).await.expect_err("too often");
    let PublishError::TooOften { limit: 3, wait } = error else {
        panic!("{error:?}")
    };
    assert!(wait <= Duration::from_millis(334), "{wait:?}");
    clock.advance(wait);
    handle.try_publish(event()).expect("published");
    let inactive = House::open([app_with(|app| app.active = false)]).await;
    let error = inactive.hub.publish("1001", event()).await;
    assert!(matches!(error, Err(PublishError::Disabled)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_heard_in_process_without_being_occupied() {
    let house = House::plain().await;
    let handle = house.hub.app("1001").await.expect("the app");
    let mut events = handle.subscribe("presence-a", 64).expect("a name");
    let mut api = house.api().await;
    assert_eq!(api.get("/channels", &[]).await.ok(), r#"{"channels":{}}"#);
    assert_eq!(handle.channels(""), []);
    api.publish("presence-a", "e", "1").await;
    expect(&mut events, "e", "1").await;
    let mut client = house.client().await;
    let there = client.join("presence-a", &json!({"user_id": "1"})).await;
    assert_eq!(there["count"], 1);
    // The first one in is announced to nobody, since its snapshot says all there is to say.
    let mut second = house.client().await;
    second.join("presence-a", &json!({"user_id": "2"})).await;
    client.next().await;
    expect(
        &mut events,
        "pusher_internal:member_added",
        r#"{"user_id":"2","user_info":{}}"#,
    )
    .await;
    second
        .send(json!({"event": "client-x", "channel": "presence-a", "data": {"a": 1}}))
        .await;
    let event = heard(&mut events).await;
    assert_eq!((&*event.name(), &*event.data()), ("client-x", r#"{"a":1}"#));
    assert_eq!(event.user(), UserId::new("2").ok());
    assert_eq!(handle.subscriptions("presence-a"), 2);
    assert_eq!(handle.users("presence-a").len(), 2);
    assert_eq!(handle.channels("presence-")[0].as_str(), "presence-a");
    assert_eq!(handle.connections(), 2);
    handle.terminate(&UserId::new("2").expect("an id"));
    second.expect_close(4009, "disconnected by the app").await;
    expect(
        &mut events,
        "pusher_internal:member_removed",
        r#"{"user_id":"2"}"#,
    )
    .await;
    drop(client);
    house.settles(|sizes| sizes.connections == 0).await;
    assert_eq!(house.hub.sizes().channels, 1, "somebody still listens");
    drop(events);
    drop(handle);
    house
        .settles(|sizes| sizes.channels == 0 && sizes.apps == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_channel_nobody_sits_in_is_heard_too() {
    let house = House::plain().await;
    let handle = house.hub.app("1001").await.expect("the app");
    let (mut one, mut two) = (
        handle.subscribe("a", 8).expect("a name"),
        handle.subscribe("a", 8).expect("a name"),
    );
    let mut cache = handle.subscribe("cache-a", 8).expect("a name");
    handle
        .try_publish(Event::new("e", "1").to("a").to("cache-a"))
        .expect("published");
    expect(&mut one, "e", "1").await;
    expect(&mut two, "e", "1").await;
    expect(&mut cache, "e", "1").await;
    // Who comes later is told what the channel remembers.
    let mut late = handle.subscribe("cache-a", 8).expect("a name");
    expect(&mut late, "e", "1").await;
    drop(one);
    house.api().await.publish("a", "e", "2").await;
    expect(&mut two, "e", "2").await;
    assert!(handle.subscribe("a b", 8).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_falls_behind_is_told_how_much_was_missed() {
    let house = House::plain().await;
    let handle = house.hub.app("1001").await.expect("the app");
    let mut events = handle.subscribe("a", 3).expect("a name");
    let publish = |n: u32| {
        handle
            .try_publish(Event::new("e", n.to_string()).to("a"))
            .expect("published")
    };
    for n in 1..=10 {
        publish(n);
    }
    for n in 1..=3 {
        expect(&mut events, "e", &n.to_string()).await;
    }
    assert_eq!(soon(events.next()).await, Some(Err(Missed(7))));
    publish(11);
    expect(&mut events, "e", "11").await;
    assert_eq!(events.missed(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_across_doors() {
    let house = House::plain().await;
    let handle = house.hub.app("1001").await.expect("the app");
    let mut events = handle.subscribe("a", 10_000).expect("a name");
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = house.client().await;
        client.subscribe("a").await;
        clients.push(client);
    }
    for n in 0..600_u32 {
        let event = Event::new("e", n.to_string()).to("a");
        match n % 3 {
            0 => drop(handle.publish(event).await.expect("published")),
            1 => drop(handle.try_publish(event).expect("published")),
            _ => drop(house.hub.publish("1001", event).await.expect("published")),
        }
    }
    for n in 0..600 {
        expect(&mut events, "e", &n.to_string()).await;
        for client in &mut clients {
            client.expect_on("a", "e", &n.to_string()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_hub_nothing_is_published_and_streams_end() {
    for is_drained in [true, false] {
        let house = House::plain().await;
        let handle = house.hub.app("1001").await.expect("the app");
        let mut events = handle.subscribe("a", 8).expect("a name");
        let event = || Event::new("e", "1").to("a");
        handle.publish(event()).await.expect("published");
        let House { hub, .. } = house;
        let kept = match is_drained {
            true => {
                hub.drain(Duration::ZERO).await;
                Some(hub)
            }
            false => {
                drop(hub);
                None
            }
        };
        expect(&mut events, "e", "1").await;
        assert!(soon(events.next()).await.is_none());
        assert!(matches!(
            handle.publish(event()).await,
            Err(PublishError::Ended)
        ));
        assert!(matches!(
            handle.try_publish(event()),
            Err(PublishError::Ended)
        ));
        let mut late = handle.subscribe("a", 8).expect("a name");
        assert!(soon(late.next()).await.is_none());
        drop(kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_may_be_closed_by_its_name() {
    let house = House::open([app()]).await;
    let handle = house.hub.app("1001").await.expect("the app");
    let (mut a, mut b) = (house.client().await, house.client().await);
    handle.terminate_socket(a.socket_id.parse().expect("an id"));
    a.expect_close(4009, "disconnected by the app").await;
    b.ping().await;
}
