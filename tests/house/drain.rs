//! Saying goodbye, and what is left when everybody has gone. Source: PROTOCOL 1.9, STYLE 8.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use reverb_core::app_store::MemoryApps;
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::hub::Hub;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::harness::{House, app, soon};
use crate::wire::Wire;

#[tokio::test(flavor = "multi_thread")]
async fn every_client_is_asked_to_reconnect_and_nobody_is_let_in_any_more() {
    let house = House::plain().await;
    let mut clients = Vec::new();
    for n in 0..30 {
        let mut client = house.client().await;
        if n % 3 == 0 {
            client
                .join("presence-room", &json!({"user_id": "same"}))
                .await;
        }
        clients.push(client);
    }
    let hub = house.hub.clone();
    let draining = tokio::spawn(async move { hub.drain(Duration::from_millis(500)).await });
    for mut client in clients {
        client.expect_close(4200, "reconnect").await;
    }
    soon(draining).await.expect("it resolves");
    assert!(
        TcpStream::connect(house.address).await.is_err(),
        "nobody listens"
    );
    assert_eq!(house.hub.sizes().connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn goodbyes_are_spread_over_the_time_there_is() {
    let house = House::plain().await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(house.client().await);
    }
    let hub = house.hub.clone();
    let draining = tokio::spawn(async move { hub.drain(Duration::from_millis(1500)).await });
    // With four clients on each of three shards and six ticks, nobody goes together with all the others.
    let mut waves = std::collections::BTreeSet::new();
    for mut client in clients {
        client.expect_close(4200, "").await;
        waves.insert(SystemClock.unix_time().as_millis() / 200);
    }
    assert!(waves.len() > 1, "{waves:?}");
    soon(draining).await.expect("it resolves");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_meanwhile_is_answered_and_heard() {
    let house = House::plain().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = house.client().await;
        client.subscribe("a").await;
        clients.push(client);
    }
    let mut api = house.api().await;
    api.publish("a", "n", "0").await;
    let publishing = tokio::spawn(async move {
        // Requests are sent one by one until the connection is closed between two of them.
        for n in 1.. {
            let body = json!({"name": "n", "channels": ["a"], "data": n.to_string()}).to_string();
            let request = api.request("POST", "/events", &[], body.as_bytes());
            if !api.wire.is_answered(&request).await {
                return n;
            }
        }
        0
    });
    let hub = house.hub.clone();
    let draining = tokio::spawn(async move { hub.drain(Duration::from_secs(1)).await });
    for mut client in clients {
        for n in 0.. {
            let event = client.next().await;
            if event["event"] == "pusher:error" {
                assert_eq!(event["data"]["code"], 4200);
                assert_eq!(client.closed().await, 4200);
                break;
            }
            assert_eq!(event["data"], n.to_string(), "in a row");
        }
    }
    soon(draining).await.expect("it resolves");
    assert!(soon(publishing).await.expect("no panic") > 0);
}

/// A backend whose request was not answered does not know whether it was done: it must have been told to send no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_backend_is_told_that_its_connection_ends() {
    for round in 0..5 {
        let house = House::plain().await;
        let mut backends = Vec::new();
        for _ in 0..6 {
            let mut api = house.api().await;
            api.publish("a", "e", "").await;
            backends.push(tokio::spawn(async move {
                let event = json!({"name": "e", "channels": ["a"], "data": ""}).to_string();
                let request = api.request("POST", "/events", &[], event.as_bytes());
                let mut announced = false;
                while api.wire.is_answered(&request).await {
                    announced = api.wire.last_said_close;
                    if announced {
                        break;
                    }
                }
                announced
            }));
        }
        soon(house.hub.drain(Duration::from_millis(500))).await;
        for backend in backends {
            assert!(
                soon(backend).await.expect("no panic"),
                "a request was dropped, in round {round}"
            );
        }
    }
}

/// One shard's peer, one that the service below a site has, and one that comes to it meanwhile: none keeps the hub longer
/// than it may take.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_finishes_a_request_is_cut_off_in_the_end() {
    let house = House::plain().await;
    let mut client = house.client().await;
    let begun = async |path: &str, rest: &str| {
        let mut peer = house.wire().await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n{rest}");
        peer.send(&head).await;
        peer
    };
    let stalled = "Content-Length: 10\r\n\r\n{";
    let _own = begun("/apps/app-id/events?auth_key=app-key", stalled).await;
    let _served = begun("/elsewhere", stalled).await;
    let mut late = begun("/elsewhere", "").await;
    // All have been read.
    client.ping().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = SystemClock.now();
    let draining = house.hub.drain(Duration::from_millis(500));
    let late = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        late.send(stalled).await;
    };
    tokio::join!(draining, late);
    let took = SystemClock.now() - start;
    assert!(took < Duration::from_secs(8), "{took:?}");
    client.expect_close(4200, "").await;
}

/// Whoever holds no hub any more may still owe an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_answered_though_the_hub_has_gone() {
    let hub = Hub::builder(MemoryApps::new([app()])).build();
    let hub = hub.expect("a hub");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let (asked, mut is_asked) = tokio::sync::mpsc::channel(1);
    let slow = move || async move {
        asked.send(()).await.expect("the test waits");
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    hub.listen(socket, Router::new().route("/slow", get(slow)));
    let mut peer = Wire::connect(address).await;
    peer.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    soon(is_asked.recv()).await;
    drop(hub);
    assert_eq!(peer.reply().await.body, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_goes_on_if_nobody_waits_for_it_and_needs_no_clients() {
    let house = House::plain().await;
    let mut client = house.client().await;
    let mut kept = house.api().await;
    assert_eq!(kept.get("/channels", &[]).await.status, 200);
    let mut fast = house.api().await;
    fast.publish("a", "e", "").await;
    drop(tokio::time::timeout(Duration::ZERO, house.hub.drain(Duration::ZERO)).await);
    client.expect_close(4200, "").await;
    kept.wire.ended().await;
    fast.wire.ended().await;
    soon(house.hub.drain(Duration::ZERO)).await;
    let empty = House::plain().await;
    soon(empty.hub.drain(Duration::from_secs(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_last_handle_everything_ends() {
    let house = House::plain().await;
    let (mut client, mut api) = (house.client().await, house.api().await);
    client.subscribe("a").await;
    api.publish("a", "e", "").await;
    client.expect_on("a", "e", "").await;
    let (address, other) = (house.address, house.hub.clone());
    drop(house);
    client.ping().await;
    drop(other);
    let ended = async {
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut client.socket).await {}
    };
    soon(ended).await;
    // The port is free for the next one.
    let bound = async {
        while TcpListener::bind(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(bound).await;
}

/// One visit, of the kind that its number chooses; how it ends is chosen, too.
async fn visit(house: &House, n: usize) {
    if n.is_multiple_of(13) {
        house
            .knock("/app/nobody")
            .await
            .expect_close(4001, "")
            .await;
        return;
    }
    let mut client = house.client().await;
    let room = format!("presence-{}", n % 7);
    match n % 6 {
        0 => {}
        1 => client.subscribe(&format!("public-{}", n % 11)).await,
        2 => {
            client.subscribe(&format!("private-{}", n % 5)).await;
            client.send(json!({"event": "client-x", "channel": format!("private-{}", n % 5), "data": "1"})).await;
            client.unsubscribe(&format!("private-{}", n % 5)).await;
        }
        3 => {
            client
                .ask(&room, Some(&json!({"user_id": n % 50}).to_string()))
                .await;
            heard(&mut client, "pusher_internal:subscription_succeeded").await;
        }
        4 => {
            client
                .sign_in(&json!({"id": n % 20, "watchlist": [n % 20, n % 19, "nobody"]}))
                .await;
            heard(&mut client, "pusher_internal:watchlist_events").await;
        }
        _ => {
            client.ask("cache-c", None).await;
            heard(&mut client, "pusher:cache_miss").await;
            client
                .ask(
                    &format!("presence-cache-{}", n % 3),
                    Some(&json!({"user_id": n}).to_string()),
                )
                .await;
            heard(&mut client, "pusher:cache_miss").await;
        }
    }
    match n % 4 {
        0 => drop(client),
        1 => {
            client.send_frame(Message::Close(None)).await;
            while client.next_frame().await.is_some() {}
        }
        2 => {
            client.send_frame(Message::Binary(vec![1].into())).await;
            while !matches!(client.next_frame().await, Some(Message::Close(_))) {}
        }
        _ => {
            let mut api = house.api().await;
            assert_eq!(api.get("/channels", &[]).await.status, 200);
            api.publish(&format!("public-{}", n % 11), "e", "1").await;
        }
    }
}

/// Other visitors may be heard before this.
async fn heard(client: &mut Client, event: &str) {
    while client.next().await["event"] != event {}
}

#[tokio::test(flavor = "multi_thread")]
async fn after_two_thousand_visits_nothing_is_left() {
    const GUESTS: usize = 25;
    let house = std::sync::Arc::new(House::open([app()]).await);
    let guests: Vec<_> = (0..GUESTS)
        .map(|guest| {
            let house = house.clone();
            tokio::spawn(async move {
                for n in (guest..2000).step_by(GUESTS) {
                    visit(&house, n).await;
                }
            })
        })
        .collect();
    for guest in guests {
        guest.await.expect("every visit goes well");
    }
    house.settles(|sizes| sizes == Default::default()).await;
    // And the house is as good as new.
    let (mut client, mut api) = (house.client().await, house.api().await);
    assert_eq!(
        client.join("presence-1", &json!({"user_id": "1"})).await["ids"],
        json!(["1"])
    );
    client.sign_in(&json!({"id": "1"})).await;
    api.publish("#server-to-user-1", "e", "1").await;
    client.expect_on("#server-to-user-1", "e", "1").await;
    assert_eq!(
        api.get("/connections", &[]).await.ok(),
        r#"{"connections":1}"#
    );
}
