//! What a call does to clients that are connected.

use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::{Desk, Store, TOKEN, with_each_store};
use crate::place::{Client, Server};

const APPS: &str = "/api/reverb-apps";

with_each_store!(
    an_app_lives_as_the_api_says,
    the_old_secret_works_beside_the_new_one,
);

fn an_app_lives_as_the_api_says(store: Store) {
    let desk = store.desk();
    let app = desk.made(json!({"app_key": "live-key", "allowed_origins": ["a.shop.test"]}));
    let path = format!("{APPS}/{}", app["id"]);
    let neighbour_app = desk.made(json!({"app_key": "neighbour-key", "allowed_origins": ["*"]}));
    let mut neighbour = desk.server.knock("neighbour-key");
    neighbour.hears("connection_established");

    let mut client = desk.server.knock("live-key");
    client.hears("connection_established");
    desk.patch(&path, json!({"is_active": false})).ok(200);
    client.hears("4003");
    desk.server.knock("live-key").hears("4003");
    desk.patch(&path, json!({"is_active": true})).ok(200);
    let mut client = hears_soon(&desk, "live-key", "connection_established");

    // A restart drops nobody.
    desk.post(&format!("{APPS}/restart"), Value::Null)
        .says(200, "Reverb server restart has been queued.");
    let reply = desk.post(&format!("{path}/rotate-key"), Value::Null);
    let key = reply.ok(200)["data"]["app_key"]
        .as_str()
        .expect("text")
        .to_owned();
    client.hears("4001");
    let mut client = hears_soon(&desk, &key, "connection_established");
    desk.server.logs("look up all apps anew");

    desk.call("DELETE", &path, Value::Null).ok(204);
    client.hears("4001");
    desk.server.knock(&key).hears("4001");
    desk.get(&path).ok(404);
    assert!(neighbour.is_connected());
    // An app without origins refuses browsers, as it always has.
    desk.patch(
        &format!("{APPS}/{}", neighbour_app["id"]),
        json!({"allowed_origins": null}),
    )
    .ok(200);
    hears_soon(&desk, "neighbour-key", "4009");
    assert!(neighbour.is_connected());
}

fn the_old_secret_works_beside_the_new_one(store: Store) {
    let desk = store.desk();
    let app = desk.made(json!({"app_id": "rotated-app", "app_key": "rotated-key"}));
    let path = format!("{APPS}/{}/rotate-secret", app["id"]);
    let old = app["app_secret"].as_str().expect("text").to_owned();
    let rotate = |overlap: &str, force: bool| {
        let reply = desk.post(&path, json!({"overlap": overlap, "force": force}));
        reply.ok(200)["data"]["app_secret"]
            .as_str()
            .expect("text")
            .to_owned()
    };
    let soon_is = |secret: &str, status| soon(|| (channels(&desk, secret) == status).then_some(()));
    soon_is(&old, 200);
    let new = rotate("24h", false);
    soon_is(&new, 200);
    desk.post(&path, Value::Null).ok(409);
    assert_eq!((channels(&desk, &new), channels(&desk, &old)), (200, 200));
    let newest = rotate("0", true);
    soon_is(&newest, 200);
    assert_eq!((channels(&desk, &new), channels(&desk, &old)), (401, 401));
}

#[test]
fn a_restart_reaches_every_server_and_drops_nobody() {
    let desk = Desk::new();
    desk.made(json!({"app_key": "shared-key", "allowed_origins": ["a.shop.test"]}));
    let other = desk.place.start(&["--data-dir", "data"]);
    let servers = [&desk.server, &other];
    let knock = |server: &Server| {
        let mut client = server.knock("shared-key");
        client.hears("pusher:");
        client
    };
    let mut clients = servers.map(knock);
    // An edit that nobody hears of: its trigger is away.
    let file = rusqlite::Connection::open(desk.place.path("data/reverb.sqlite3")).expect("open");
    let trigger: String = file
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = 'app_changed'",
            (),
            |row| row.get(0),
        )
        .expect("the trigger");
    let edit = "UPDATE apps SET settings = json_set(settings, '$.allowed_origins', json_array('b.shop.test'))";
    file.execute_batch(&format!(
        "BEGIN; DROP TRIGGER app_changed; {edit}; {trigger}; COMMIT"
    ))
    .expect("edited");
    std::thread::sleep(Duration::from_millis(900));
    for server in servers {
        assert!(knock(server).has_heard("connection_established"));
    }
    desk.post(&format!("{APPS}/restart"), Value::Null).ok(200);
    for server in servers {
        soon(|| knock(server).has_heard("4009").then_some(()));
    }
    for client in &mut clients {
        assert!(client.has_heard("connection_established") && client.is_connected());
    }
}

#[test]
fn what_is_shown_can_be_sent_back_by_whatever_rules_it_was_made() {
    let desk = Desk::new();
    let create = [
        "app",
        "create",
        "--id",
        "7",
        "--key",
        "k",
        "--allowed-origin",
        "*.shop.test",
    ];
    desk.place
        .succeeds(&[&create[..], &["--data-dir", "data"]].concat());
    let listed = desk.get(APPS).ok(200)["data"].clone();
    let apps = listed.as_array().expect("a list").iter();
    let mut app = apps
        .clone()
        .find(|app| app["app_id"] == "7")
        .expect("listed")
        .clone();
    app["name"] = "Shop".into();
    let path = format!("{APPS}/{}", app["id"]);
    assert_eq!(
        desk.patch(&path, app.clone()).ok(200)["data"]["name"],
        "Shop"
    );
    app["allowed_origins"] = json!(["*.shop.test", "*.other.test"]);
    let refused = desk.patch(&path, app);
    assert!(refused.ok(422)["errors"]["allowed_origins.1"].is_array());
}

/// Knocks until this is heard: a change is in force within a second.
fn hears_soon(desk: &Desk, key: &str, text: &str) -> Client {
    let mut client = soon(|| {
        let mut client = desk.server.knock(key);
        client.hears("pusher:");
        client.has_heard(text).then_some(client)
    });
    client.hears(text);
    client
}

/// Asks until there is an answer.
fn soon<T>(ask: impl Fn() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never was")
}

/// The status of a request that is signed with this secret.
fn channels(desk: &Desk, secret: &str) -> u16 {
    use reverb_core::protocol::Secret;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[expect(
        clippy::disallowed_methods,
        reason = "the server has the system's clock as well"
    )]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let query = format!("auth_key=rotated-key&auth_timestamp={now}&auth_version=1.0");
    let target = "/apps/rotated-app/channels";
    let secret = Secret::new(secret).expect("a secret");
    let signature = secret.sign(&[format!("GET\n{target}\n{query}").as_bytes()]);
    let signature = data_encoding::HEXLOWER.encode(&signature);
    let request = format!(
        "GET {target}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    desk.raw(request.as_bytes()).status
}

#[test]
fn the_api_is_there_behind_the_prefix_as_well() {
    let desk = Desk::configured("path = \"/reverb\"\n");
    desk.made(json!({}));
    let listed = desk.get(APPS).ok(200).clone();
    assert_eq!(*desk.get("/reverb/api/reverb-apps").ok(200), listed);
    desk.get("/reverb/api/nothing")
        .says(404, "The route api/nothing could not be found.");
}

#[test]
fn a_caller_that_is_no_proxy_cannot_choose_its_address() {
    let desk = Desk::configured("");
    let call = |token: &str, forwarded: &str| {
        let head = format!(
            "GET {APPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             X-Forwarded-For: {forwarded}\r\n\r\n"
        );
        desk.raw(head.as_bytes())
    };
    // What stands in front of the last address was written by the caller itself.
    for n in 0..10 {
        assert_eq!(
            call("a-guess", &format!("198.51.100.{n}, 192.0.2.7")).status,
            401
        );
    }
    let reply = call(TOKEN, "198.51.100.99, 192.0.2.7");
    reply.says(429, "Too Many Attempts.");
    for header in ["x-ratelimit-limit: 10", "x-ratelimit-remaining: 0"] {
        assert!(reply.has(header), "{}", reply.head);
    }
    for header in ["retry-after: ", "x-ratelimit-reset: "] {
        assert!(reply.head.contains(header), "{}", reply.head);
    }
    let reply = call(TOKEN, "192.0.2.8");
    assert!(
        reply.status == 200
            && reply.has("x-ratelimit-limit: 60")
            && reply.has("x-ratelimit-remaining: 59")
    );
}
