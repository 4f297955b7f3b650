//! Two apps on one server: what one does concerns the other in no way, and nobody gets the server's own events from
//! anybody but the server.

use serde_json::{Value, json};

use crate::backend::{Backend, event_to, request, sign};
use crate::client::Client;
use crate::server::{APPS, Server, calm, other, shop};
use reverb_core::protocol::App;

/// Names that could be taken for one another, were app and channel joined by a colon.
const ALIKE: &str = r#"
[[apps]]
id = "a"
key = "key-a"
secret = "secret-a"

[[apps]]
id = "a:b"
key = "key-b"
secret = "secret-b"
"#;

#[test]
fn neither_events_nor_figures_of_one_app_reach_another() {
    let server = Server::start();
    let member = r#"{"user_id":"7"}"#;
    let channels = [
        "a",
        "private-a",
        "presence-a",
        "cache-a",
        "private-cache-a",
        "#server-to-user-7",
    ];
    let mut clients = [shop(), other()].map(|app| {
        let mut client = Client::enter(&server, &app);
        client.subscribe("a");
        client.subscribe("private-a");
        assert_eq!(
            client.join("presence-a", member),
            1,
            "nobody of the other app is there"
        );
        for channel in ["cache-a", "private-cache-a"] {
            client.ask(channel, None);
            client.hear();
            assert_eq!(client.hear()["event"], "pusher:cache_miss");
        }
        client.ask_to_sign_in(r#"{"id":"7","watchlist":["8"]}"#);
        client.hear();
        assert_eq!(client.hear()["event"], "pusher_internal:watchlist_events");
        client
    });
    let [ours, theirs] = &mut clients;
    let mut backend = Backend::of(&server, &shop());
    for channel in channels {
        backend.publish(channel, "ours", "1");
        ours.expect_on(channel, "ours", "1");
    }
    ours.say(&json!({"event": "client-ours", "channel": "private-a", "data": 1}));
    let mut third = Client::enter(&server, &shop());
    third.ask_to_sign_in(r#"{"id":"8"}"#);
    third.hear();
    third.join("presence-a", r#"{"user_id":"8"}"#);
    assert_eq!(ours.hear()["event"], "pusher_internal:watchlist_events");
    assert_eq!(ours.hear()["event"], "pusher_internal:member_added");
    theirs.hears_nothing();

    // A socket of another app cannot be left out, since it is not there; and a user of it cannot be ended.
    let body = json!({"name": "e", "channel": "a", "data": "1", "socket_id": theirs.socket_id});
    let reply = Backend::of(&server, &other()).post("/events", body.to_string());
    assert_eq!(reply.status, 200);
    theirs.hears_nothing();
    let body = json!({"name": "e", "channel": "a", "data": "1", "socket_id": ours.socket_id});
    assert_eq!(
        Backend::of(&server, &other())
            .post("/events", body.to_string())
            .status,
        200
    );
    theirs.expect_on("a", "e", "1");
    assert_eq!(
        backend.post("/users/7/terminate_connections", "{}").status,
        200
    );
    assert_eq!(ours.hear_error()["code"], 4009);
    theirs.hears_nothing();
    let reply = Backend::of(&server, &other()).get("/channels/presence-a/users");
    assert_eq!(reply.body, r#"{"users":[{"id":"7"}]}"#);
    let mut their_backend = Backend::of(&server, &other());
    assert_eq!((backend.connections(), their_backend.connections()), (1, 1));
    server.ends_well();
}

#[test]
fn what_one_app_signs_opens_nothing_of_another() {
    let server = Server::start();
    let mut client = Client::enter(&server, &other());
    let id = client.socket_id.clone();
    let by_us = |text: &str| sign(&shop(), text);
    for key in ["app-key", "other-key"] {
        for channel in [
            "private-a",
            "presence-a",
            "private-encrypted-a",
            "private-cache-a",
            "presence-cache-a",
        ] {
            let auth = format!("{key}:{}", by_us(&format!("{id}:{channel}")));
            client.ask_with(channel, &auth, None);
            assert_eq!(client.hear_error()["code"], 4009, "{key} {channel}");
            assert_eq!(client.hear()["event"], "pusher:subscription_error");
        }
    }
    let mut theirs = Client::enter(&server, &other());
    theirs.subscribe("a");
    for (app, id) in [(shop(), "2002"), (other(), "1001")] {
        for (method, path, body) in [
            ("POST", "/events", event_to("a", "forged", "1")),
            (
                "POST",
                "/batch_events",
                format!(
                    r#"{{"batch":[{}]}}"#,
                    r#"{"name":"forged","channel":"a","data":"1"}"#
                ),
            ),
            ("GET", "/channels", String::new()),
            ("GET", "/channels/a", String::new()),
            ("GET", "/channels/presence-a/users", String::new()),
            ("GET", "/connections", String::new()),
            ("POST", "/users/7/terminate_connections", "{}".to_owned()),
        ] {
            // Signed for its own id and sent to the other, and signed for the other.
            let own = request(&app, method, path, &[], body.as_bytes());
            let own = String::from_utf8(own).expect("text");
            let moved = own.replacen(&format!("/apps/{}/", app.id), &format!("/apps/{id}/"), 1);
            let mut disguised =
                App::new(id, app.key.as_str(), app.secret.reveal()).expect("an app");
            let as_other = request(&disguised, method, path, &[], body.as_bytes());
            let victim = if id == "1001" { shop() } else { other() };
            disguised.key = victim.key;
            let with_key = request(&disguised, method, path, &[], body.as_bytes());
            for bytes in [moved.into_bytes(), as_other, with_key] {
                let mut backend = Backend::of(&server, &shop());
                backend.wire.send(bytes);
                let reply = backend.wire.reply();
                assert_eq!(reply.status, 401, "{method} {path} of {id}: {reply:?}");
                assert!(reply.is_told());
            }
        }
    }
    theirs.hears_nothing();
    client.hears_nothing();
    server.ends_well();
}

#[test]
fn an_app_and_a_channel_are_not_joined_to_one_name() {
    let server = Server::with(&calm(&format!("{APPS}{ALIKE}")));
    let a = App::new("a", "key-a", "secret-a").expect("an app");
    let ab = App::new("a:b", "key-b", "secret-b").expect("an app");
    // Channel names have no colon, but users' ids may: `a` + `b:c` and `a:b` + `c`.
    let mut clients = [(&a, "b:c"), (&ab, "c"), (&a, "c"), (&ab, "b:c")].map(|(app, user)| {
        let mut client = Client::enter(&server, app);
        client.ask_to_sign_in(&json!({"id": user}).to_string());
        assert_eq!(client.hear()["event"], "pusher:signin_success");
        client.join("presence-x", &json!({"user_id": user}).to_string());
        client.subscribe("c");
        client
    });
    clients
        .iter_mut()
        .for_each(|client| drop(client.hear_all()));
    for app in [&a, &ab] {
        let bad = Backend::of(&server, app).post("/events", event_to("b:c", "e", "1"));
        assert_eq!(bad.status, 400, "{bad:?}");
    }
    let path = |app: &App| {
        format!(
            "#server-to-user-{}",
            if app.id == a.id { "b:c" } else { "c" }
        )
    };
    for (n, app) in [(0, &a), (1, &ab)] {
        Backend::of(&server, app).publish(&path(app), "yours", "1");
        clients.iter_mut().enumerate().for_each(|(m, client)| {
            let heard = client.hear_all();
            assert_eq!(heard.len(), usize::from(n == m), "{n} {m}: {heard:?}");
        });
    }
    Backend::of(&server, &ab).publish("c", "e", "1");
    let heard = clients.each_mut().map(|client| client.hear_all().len());
    assert_eq!(heard, [0, 1, 0, 1]);
    let reply = Backend::of(&server, &a).post("/users/b:c/terminate_connections", "{}");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(clients[0].hear_error()["code"], 4009);
    assert_eq!(clients[1].hear_all(), Vec::<Value>::new());
    server.ends_well();
}

#[test]
fn nobody_but_the_server_says_what_only_the_server_may() {
    let server = Server::start();
    let mut sender = Client::enter(&server, &shop());
    let mut receiver = Client::enter(&server, &shop());
    for (client, user) in [(&mut sender, "1"), (&mut receiver, "2")] {
        client.subscribe("private-a");
        client.join("presence-a", &json!({"user_id": user}).to_string());
        client.ask_to_sign_in(&json!({"id": user}).to_string());
    }
    sender.hear_all();
    receiver.hear_all();
    let names = [
        "pusher_internal:member_added",
        "pusher_internal:member_removed",
        "pusher_internal:subscription_succeeded",
        "pusher_internal:subscription_count",
        "pusher_internal:watchlist_events",
        "pusher_internal:",
        "pusher:error",
        "pusher:member_added",
        "pusher:connection_established",
        "pusher:signin_success",
        "pusher:cache_miss",
        "pusher:",
        "pusher:subscription_error",
    ];
    let mut tried = 0;
    let clients_only = [
        "Pusher:error",
        "PUSHER_INTERNAL:member_added",
        " client-x",
        "Client-x",
        "client",
        "order",
        "",
    ];
    for name in names.iter().chain(&clients_only) {
        for channel in ["private-a", "presence-a", "#server-to-user-2"] {
            sender.say(&json!({"event": name, "channel": channel, "data": r#"{"user_id":"9"}"#}));
            assert!(
                sender.hear_error()["message"]
                    .as_str()
                    .expect("text")
                    .contains("Unsupported"),
                "{name}"
            );
            tried += 1;
        }
    }
    // A client event says nothing but what it is: who sent it, and where, the server knows itself.
    let mut forged =
        json!({"event": "client-x", "channel": "presence-a", "data": "1", "user_id": "9"});
    forged["socket_id"] = "1.1".into();
    sender.say(&forged);
    let expected = r#"{"event":"client-x","channel":"presence-a","data":"1","user_id":"1"}"#;
    assert_eq!(receiver.wire.text(), expected);
    sender.say_text(r#"{"event":"client-x","channel":"private-a","data":"1","user_id":"9"}"#);
    assert_eq!(
        receiver.wire.text(),
        r#"{"event":"client-x","channel":"private-a","data":"1"}"#
    );
    sender.hears_nothing();

    let mut backend = Backend::of(&server, &shop());
    for name in names {
        let escaped = format!("\"\\u0070{}\"", name.get(1..).unwrap_or_default());
        for token in [json!(name).to_string(), escaped] {
            for channel in ["private-a", "presence-a", "#server-to-user-2", "cache-a"] {
                let event = format!(
                    r#"{{"name":{token},"channel":{},"data":"{{}}"}}"#,
                    json!(channel)
                );
                for (path, body) in [
                    ("/events", event.clone()),
                    ("/batch_events", format!(r#"{{"batch":[{event}]}}"#)),
                ] {
                    let reply = backend.post(path, body);
                    assert_eq!(reply.status, 400, "{event}: {reply:?}");
                    assert!(reply.is_told(), "{reply:?}");
                    tried += 1;
                }
            }
        }
        server.is_well();
    }
    receiver.hears_nothing();
    // Nor is it remembered for later.
    receiver.ask("cache-a", None);
    receiver.hear();
    assert_eq!(receiver.hear()["event"], "pusher:cache_miss");
    eprintln!("0 of {tried} spoofed events were relayed");
    server.ends_well();
}
