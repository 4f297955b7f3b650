//! The hub within another server: as a tower service in axum, and with axum as the site behind its own listener.
//! Source: STYLE 3, `Hub::service`.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use reverb_core::app_store::MemoryApps;
use reverb_core::hub::{Hub, HubBuilder};
use serde_json::json;
use tokio::net::TcpListener;

use crate::api::Api;
use crate::harness::{House, app, app_with, soon};
use crate::wire::{Wire, frame, handshake};

/// A hub that axum hosts.
async fn hosted(
    build: impl FnOnce(HubBuilder) -> HubBuilder,
    route: impl FnOnce(&Hub) -> Router,
) -> House {
    let apps = vec![app(), app_with(|app| app.force_tls = true)];
    let hub = build(Hub::builder(MemoryApps::new([app()])).shards(2))
        .build()
        .expect("a hub");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let router = route(&hub);
    tokio::spawn(async move { axum::serve(socket, router).await });
    House { hub, address, apps }
}

/// Handshake, publish and GET, with what is put before the paths that are requested.
async fn works_behind(house: &House, prefix: &str) {
    let mut client = house
        .knock(&format!("{prefix}/app/app-key?protocol=7"))
        .await;
    assert_eq!(client.greeted().await, 30);
    client.subscribe("private-a").await;
    client.join("presence-a", &json!({"user_id": "1"})).await;
    let mut api = house.api().await;
    let body = br#"{"name":"e","channel":"private-a","data":"1","info":"subscription_count"}"#;
    for _ in 0..3 {
        // SDKs sign the path without the prefix.
        let target = api.target("POST", "/apps/1001/events", &[], body);
        let head = format!(
            "POST {prefix}{target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        api.wire.send([head.as_bytes(), body].concat()).await;
        assert_eq!(
            api.wire.reply().await.ok(),
            r#"{"channels":{"private-a":{"subscription_count":1}}}"#
        );
        client.expect_on("private-a", "e", "1").await;
        let target = api.target("GET", "/apps/1001/channels/presence-a/users", &[], b"");
        api.wire
            .send(format!("GET {prefix}{target} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        assert_eq!(api.wire.reply().await.ok(), r#"{"users":[{"id":"1"}]}"#);
    }
    client
        .send(json!({"event": "client-x", "channel": "private-a", "data": "1"}))
        .await;
    client.ping().await;
    house
        .knock(&format!("{prefix}/app/nobody"))
        .await
        .expect_close(4001, "does not exist")
        .await;
    let mut wire = house.wire().await;
    let hurry = frame(0x81, br#"{"event":"pusher:ping"}"#);
    assert_eq!(
        wire.shake_hands(&format!("{prefix}/app/app-key"), &hurry)
            .await
            .status,
        101
    );
    assert!(wire.text().await.contains("established"));
    assert!(
        wire.text().await.contains("pong"),
        "what came with the handshake is heard"
    );
    wire.send(frame(0x82, b"")).await;
    assert_eq!(wire.closed().await, 1003);
    wire.ended().await;
}

async fn own_routes_work(house: &House) {
    let mut wire = house.wire().await;
    for _ in 0..2 {
        wire.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let reply = wire.reply().await;
        assert_eq!((reply.status, &*reply.body), (200, "hello"));
    }
}

fn hello() -> Router {
    Router::new().route("/hello", get(|| async { "hello" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_may_have_the_hub_beside_its_own_routes() {
    let house = hosted(
        |builder| builder,
        |hub| hello().fallback_service(hub.service()),
    )
    .await;
    works_behind(&house, "").await;
    own_routes_work(&house).await;
    let mut wire = house.wire().await;
    wire.send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await;
    wire.reply().await.expect_error(404, "Not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_may_lead_to_the_hub() {
    let house = hosted(
        |builder| builder.path("/reverb"),
        |hub| hello().fallback_service(hub.service()),
    )
    .await;
    works_behind(&house, "/reverb").await;
    own_routes_work(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_may_nest_the_hub() {
    let house = hosted(
        |builder| builder,
        |hub| hello().nest_service("/nested", hub.service()),
    )
    .await;
    works_behind(&house, "/nested").await;
    own_routes_work(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_may_listen_and_leave_the_rest_to_axum() {
    let hub = Hub::builder(MemoryApps::new([app()]))
        .shards(2)
        .build()
        .expect("a hub");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    hub.listen(socket, hello().fallback_service(hub.service()));
    let house = House {
        hub,
        address,
        apps: vec![app()],
    };
    works_behind(&house, "").await;
    own_routes_work(&house).await;
}

/// Has this client read nothing, and sees how much waits for it before it is cut.
async fn costs_little_when_it_stalls(house: &House, mut client: Wire) {
    client.shake_hands("/app/app-key?protocol=7", b"").await;
    client.text().await;
    let subscribe = json!({"event": "pusher:subscribe", "data": {"channel": "a"}}).to_string();
    client.send(frame(0x81, subscribe.as_bytes())).await;
    client.text().await;
    client.keep_little();
    let handle = house.hub.app("1001").await.expect("the app");
    let mut api = house.api().await;
    // A mebibyte in the hub, and little in the kernel at both ends: it would take four more.
    for _ in 0..170 {
        api.publish("a", "e", &"x".repeat(10_000)).await;
    }
    let is_cut = async {
        while handle.subscriptions("a") > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(is_cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_holds_little_for_whom_axum_serves() {
    let house = hosted(
        |builder| builder,
        |hub| Router::new().fallback_service(hub.service()),
    )
    .await;
    costs_little_when_it_stalls(&house, house.wire().await).await;
}

/// Its socket is older than what the hub sets on the one that listens.
#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_holds_little_for_whom_came_before_the_hub_listened() {
    let hub = Hub::builder(MemoryApps::new([app()])).build();
    let hub = hub.expect("a hub");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let early = Wire::connect(address).await;
    hub.listen(socket, hub.service());
    let apps = vec![app()];
    costs_little_when_it_stalls(&House { hub, address, apps }, early).await;
}

/// Whatever the site is, it is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn plain_publishes_of_an_app_that_wants_tls_need_no_site() {
    let wants_tls = app_with(|app| app.force_tls = true);
    let hub = Hub::builder(MemoryApps::new([wants_tls.clone()]))
        .trusted_proxies(["127.0.0.1/32".parse().expect("a network")])
        .build();
    let hub = hub.expect("a hub");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    hub.listen(socket, hello());
    let mut api = Api::new(Wire::connect(address).await, &wants_tls);
    let event = br#"{"name":"e","channel":"a","data":"1"}"#;
    let request = String::from_utf8(api.request("POST", "/events", &[], event)).expect("text");
    let by_tls = request.replacen("\r\n", "\r\nX-Forwarded-Proto: https\r\n", 1);
    api.wire.send(by_tls).await;
    assert_eq!(api.wire.reply().await.ok(), "{}");
    api.wire.send(request).await;
    api.wire.reply().await.expect_error(403, "TLS only");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_listeners_lead_to_one_hub() {
    let house = House::plain().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    house.hub.listen(socket, house.hub.service());
    let beside = House {
        hub: house.hub.clone(),
        address,
        apps: vec![app()],
    };
    let (mut a, mut b) = (house.client().await, beside.client().await);
    a.subscribe("private-a").await;
    b.subscribe("private-a").await;
    beside.api().await.publish("private-a", "e", "1").await;
    a.expect_on("private-a", "e", "1").await;
    b.expect_on("private-a", "e", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_shake_hands_on_a_connection_that_spoke_http() {
    let house = House::with([app_with(|app| app.force_tls = true)], |builder| {
        builder.trusted_proxies(["127.0.0.1/32".parse().expect("a network")])
    });
    let house = house.await;
    // The hosting server tells whom a request came from, so that a proxy is believed here as well.
    for (proto, code) in [("https", None), ("http", Some(4000_u16))] {
        let mut wire = house.wire().await;
        wire.send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await;
        wire.reply().await.expect_error(404, "");
        let request = handshake("/app/app-key").replacen(
            "\r\n",
            &format!("\r\nX-Forwarded-Proto: {proto}\r\n"),
            1,
        );
        let hurry = frame(0x81, br#"{"event":"pusher:ping"}"#);
        wire.send([request.as_bytes(), &hurry].concat()).await;
        assert_eq!(wire.head_only().await.status, 101);
        let first = wire.text().await;
        match code {
            None => {
                assert!(first.contains("established"));
                assert!(wire.text().await.contains("pong"));
            }
            Some(code) => {
                assert!(first.contains("pusher:error"));
                assert_eq!(wire.closed().await, code);
            }
        }
    }
}

/// RFC 9112 section 3.2.2: a server takes the whole URL for its path.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_be_a_whole_url() {
    let house = House::plain().await;
    let mut wire = house.wire().await;
    let request = handshake("http://example.com/app/app-key?protocol=7");
    wire.send(request).await;
    assert_eq!(wire.head_only().await.status, 101);
    assert!(wire.text().await.contains("established"));
    let mut api = house.api().await;
    for (method, path, body) in [
        (
            "POST",
            "/events",
            &br#"{"name":"e","channel":"a","data":"1"}"#[..],
        ),
        ("GET", "/channels", b""),
    ] {
        let request = api.request(method, path, &[], body);
        let request = String::from_utf8(request).expect("text");
        let request = request.replacen(" /apps", " http://example.com/apps", 1);
        api.wire.send(request).await;
        api.wire.reply().await.ok();
    }
}

/// After the hub has gone the host may still serve. Nobody may be left waiting for an answer that never comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_outlives_the_hub_turns_clients_away() {
    for is_drained in [true, false] {
        let house = hosted(
            |builder| builder,
            |hub| hello().fallback_service(hub.service()),
        )
        .await;
        let mut client = house.client().await;
        if is_drained {
            house.hub.drain(Duration::ZERO).await;
            client.expect_close(4200, "reconnect").await;
        }
        let House { hub, address, apps } = house;
        let kept = is_drained.then(|| hub.clone());
        drop(hub);
        for path in ["/app/app-key", "/app/nobody"] {
            let mut wire = Wire::connect(address).await;
            wire.send(handshake(path)).await;
            let answer = String::from_utf8_lossy(&wire.rest().await).into_owned();
            // Drained, it says so; dropped, it can at least not keep anybody waiting.
            let codes = ["HTTP/1.1 503", "\"code\":4200", "\"code\":4001"];
            let is_told = codes.iter().any(|code| answer.contains(code));
            assert!(is_told || !is_drained, "{path}: {answer}");
        }
        let mut api = Api::new(Wire::connect(address).await, &apps[0]);
        let event = serde_json::json!({"name": "e", "channel": "a", "data": ""});
        let status = api.post("/events", &event).await.status;
        assert!(status == 200 || status == 503, "{status}");
        let mut wire = Wire::connect(address).await;
        wire.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(wire.reply().await.body, "hello");
        drop(kept);
    }
}
