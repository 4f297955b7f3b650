//! Being let in, or told why not. Source: PROTOCOL 1.1 to 1.3, 1.5 to 1.7.

use std::time::Duration;

use reverb_core::protocol::{App, Origins};
use serde_json::Value;

use crate::harness::{House, app, app_with};
use crate::wire::{frame, handshake};

/// What a client says that does not wait.
const PING: &[u8] = br#"{"event":"pusher:ping","data":{}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_greeting_has_a_socket_id_and_the_apps_activity_timeout() {
    let house = House::open([app_with(|app| {
        app.activity_timeout = Duration::from_secs(42)
    })])
    .await;
    let mut client = house.knock("/app/app-key?protocol=7").await;
    let greeting = client.next_text().await;
    let middle = greeting
        .strip_prefix(r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\""#)
        .and_then(|rest| rest.strip_suffix(r#"\",\"activity_timeout\":42}"}"#));
    let (first, second) = middle
        .and_then(|id| id.split_once('.'))
        .unwrap_or_else(|| panic!("{greeting}"));
    for digits in [first, second] {
        assert!(
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()),
            "{greeting}"
        );
    }
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_library_is_let_in_by_the_query_it_sends() {
    let house = House::plain().await;
    for query in [
        "",
        "?protocol=7&client=js&version=8.6.0&flash=false",
        "?client=java-client&protocol=5&version=2.4.4",
        "?protocol=5&client=pusher-dotnet-client&version=2.1.0",
        "?protocol=6",
        "?client=js&unknown=%26&x",
    ] {
        let mut client = house.knock(&format!("/app/app-key{query}")).await;
        assert_eq!(client.greeted().await, 30, "{query}");
        client.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_sockets_have_the_same_id() {
    let house = House::plain().await;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..50 {
        assert!(ids.insert(house.client().await.socket_id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_spoken_over_the_socket() {
    let off = |id: &str, change: fn(&mut App)| {
        let mut app = App::new(id, &format!("key-{id}"), "secret").expect("an app");
        change(&mut app);
        app
    };
    let apps = [
        app(),
        off("2", |app| app.active = false),
        off("3", |app| app.force_tls = true),
        off("4", |app| {
            app.allowed_origins = Origins::new(["example.com"])
        }),
    ];
    let house = House::open(apps).await;
    for (target, code, says) in [
        ("/app/nobody?protocol=7", 4001, "does not exist"),
        ("/app/key-2", 4003, "disabled"),
        ("/app/key-3", 4000, "TLS"),
        ("/app/key-4", 4009, "Origin"),
        ("/app/app-key?protocol=seven", 4006, "version"),
        ("/app/app-key?protocol=", 4006, "version"),
        ("/app/app-key?protocol=3", 4007, "Unsupported protocol"),
        ("/app/app-key?protocol=8", 4007, "Unsupported protocol"),
        ("/", 4005, "Path"),
        ("/app", 4005, "Path"),
        ("/app/app-key/more", 4005, "Path"),
        ("/apps/1001/events", 4005, "Path"),
    ] {
        let mut client = house.knock(target).await;
        client.expect_close(code, says).await;
    }
    house.settles(|sizes| sizes.connections == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_although_the_client_keeps_sending() {
    let house = House::plain().await;
    for round in 0..10 {
        let mut wire = house.wire().await;
        let hurried = frame(0x81, &PING.repeat(30)).repeat(20);
        let reply = wire.shake_hands("/app/nobody", &hurried).await;
        assert_eq!(reply.status, 101, "in round {round}");
        wire.send(&hurried).await;
        let error: Value = serde_json::from_str(&wire.text().await).expect("JSON");
        assert_eq!(error["data"]["code"], 4001);
        wire.send(&hurried).await;
        assert_eq!(wire.closed().await, 4001);
        wire.send(&hurried).await;
        wire.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_what_a_trusted_proxy_says() {
    let tls = [app_with(|app| app.force_tls = true)];
    let trusting = House::with(tls.clone(), |builder| {
        builder.trusted_proxies(["127.0.0.0/8".parse().expect("a network")])
    });
    let (trusting, wary) = (trusting.await, House::open(tls).await);
    for (house, proto, is_in) in [
        (&trusting, "https", true),
        (&trusting, "HTTPS", true),
        // The first is what the client spoke; proxies between them may speak otherwise.
        (&trusting, "https, http", true),
        (&trusting, "http, https", false),
        (&trusting, "http", false),
        (&wary, "https", false),
    ] {
        let (mut client, _) = house
            .knock_with("/app/app-key", &[("x-forwarded-proto", proto)])
            .await;
        match is_in {
            true => assert_eq!(client.greeted().await, 30, "{proto}"),
            false => client.expect_close(4000, "TLS").await,
        }
        // The same for backends, whichever door they come to.
        let mut api = house.api().await;
        let publish = br#"{"name":"e","channel":"a","data":"1"}"#;
        for (method, path, body) in [
            ("POST", "/events", &publish[..]),
            ("GET", "/channels", b""),
            ("POST", "/events", publish),
        ] {
            let request = api.request(method, path, &[], body);
            let at = request.windows(2).position(|two| two == b"\r\n");
            let (line, rest) = request.split_at(at.expect("a request line"));
            let header = format!("\r\nX-Forwarded-Proto: {proto}");
            let request = [line, header.as_bytes(), rest].concat();
            api.wire.send(request).await;
            let reply = api.wire.reply().await;
            match is_in {
                true => drop(reply.ok()),
                false => reply.expect_error(403, "TLS only"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_are_hosts_whatever_scheme_and_port() {
    let house = House::open([app_with(|app| {
        app.allowed_origins = Origins::new(["example.com", "*.shop.test"])
    })])
    .await;
    for origin in [
        "https://example.com",
        "http://Example.com:8000",
        "https://a.shop.test",
    ] {
        let (mut client, _) = house
            .knock_with("/app/app-key", &[("origin", origin)])
            .await;
        client.greeted().await;
    }
    for origin in [
        "https://example.com.evil.test",
        "https://evil.test/example.com",
        "null",
        "https://shop.test.evil",
    ] {
        let (mut client, _) = house
            .knock_with("/app/app-key", &[("origin", origin)])
            .await;
        client.expect_close(4009, "Origin").await;
    }
    // Node's pusher-js sends no origin: with `*` that is fine.
    House::plain().await.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_exact_and_given_back() {
    let house = House::open([app_with(|app| app.max_connections = Some(2))]).await;
    let (mut first, _second) = (house.client().await, house.client().await);
    let mut third = house.knock("/app/app-key").await;
    third.expect_close(4004, "max_connections").await;
    first.ping().await;
    drop(first);
    house.settles(|sizes| sizes.connections == 1).await;
    house.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_come_at_once_the_quota_holds() {
    let house = House::open([app_with(|app| app.max_connections = Some(10))]).await;
    let all = futures_util::future::join_all((0..40).map(|_| house.knock("/app/app-key"))).await;
    let (mut inside, mut refused) = (Vec::new(), 0);
    for mut client in all {
        let first = client.next().await;
        match first["event"].as_str() {
            Some("pusher:connection_established") => inside.push(client),
            _ => {
                assert_eq!(first["data"]["code"], 4004);
                assert_eq!(client.closed().await, 4004);
                refused += 1;
            }
        }
    }
    assert_eq!((inside.len(), refused), (10, 30));
    assert_eq!(house.hub.sizes().connections, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_asks_clients_to_come_back() {
    let house = House::with([app()], |builder| builder.max_connections(1)).await;
    let mut first = house.client().await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4100, "capacity")
        .await;
    first.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_protocol_is_echoed_only_when_one_is_offered() {
    let house = House::plain().await;
    for (offered, chosen) in [
        ("pusher-channels-protocol-7", "pusher-channels-protocol-7"),
        (
            "chat, pusher-channels-protocol-5",
            "pusher-channels-protocol-5",
        ),
    ] {
        let (mut client, response) = house
            .knock_with("/app/app-key", &[("sec-websocket-protocol", offered)])
            .await;
        assert_eq!(response.headers()["sec-websocket-protocol"], chosen);
        client.greeted().await;
    }
    let (_, response) = house.knock_with("/app/app-key", &[]).await;
    assert!(response.headers().get("sec-websocket-protocol").is_none());
    // A refused client must get through its handshake, too.
    let offer = [("sec-websocket-protocol", "pusher-channels-protocol-7")];
    let (mut client, _) = house.knock_with("/app/nobody", &offer).await;
    client.expect_close(4001, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_gets_a_status() {
    let house = House::plain().await;
    let without = |header: &str| {
        let lines = handshake("/app/app-key");
        lines
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with(header))
            .collect::<String>()
    };
    for (request, status) in [
        (
            "GET /app/app-key HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            426,
        ),
        (without("Upgrade"), 426),
        (without("Sec-WebSocket-Version"), 426),
        (without("Connection"), 400),
        (without("Sec-WebSocket-Key"), 400),
    ] {
        let mut wire = house.wire().await;
        wire.send(&request).await;
        let reply = wire.reply().await;
        assert_eq!(reply.status, status, "{request}");
        if status == 426 {
            assert_eq!(reply.header("sec-websocket-version"), Some("13"));
            assert_eq!(reply.header("upgrade"), Some("websocket"));
        }
    }
    let mut wire = house.wire().await;
    // The HTTP fallback of pusher-js: a quick no, so that it goes on to something else.
    wire.send("POST /pusher/app/app-key/123/abcdefgh/xhr_streaming?protocol=7 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    wire.reply().await.expect_error(404, "Not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_get_of_http_1_1_is_a_handshake() {
    let house = House::plain().await;
    let good = handshake("/app/app-key");
    let mut wrong = Vec::new();
    for (what, request) in [
        ("POST", good.replacen("GET", "POST", 1)),
        (
            "POST with a length",
            good.replacen("GET", "POST", 1)
                .replacen("\r\n", "\r\nContent-Length: 0\r\n", 1),
        ),
        ("HEAD", good.replacen("GET", "HEAD", 1)),
        ("HTTP/1.0", good.replacen("HTTP/1.1", "HTTP/1.0", 1)),
    ] {
        let mut wire = house.wire().await;
        wire.send(&request).await;
        let status = wire.head_only().await.status;
        if !(400..500).contains(&status) {
            wrong.push((what, status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
