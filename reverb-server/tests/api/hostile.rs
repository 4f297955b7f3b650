//! Requests that nobody should send.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::{Desk, Reply, Store, TOKEN, with_each_store};

const APPS: &str = "/api/reverb-apps";

fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

with_each_store!(
    values_of_the_wrong_kind_are_told_and_break_nothing,
    every_plane_of_unicode_may_stand_in_a_name,
    paths_that_are_nearly_right_are_told_apart,
);

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let desk = Desk::new();
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let bodies = [
        "{",
        "nonsense",
        "name=Shop&app_id=my-app-01",
        "[]",
        "7",
        "null",
        "\"text\"",
        "{\"name\":\"\u{0}\"}",
        "{\"name\":1e400}",
        "{\"name\":\"\\ud800\"}",
        "{}{}",
        "{'name':'x'}",
    ];
    let deep = [
        nested(200),
        nested(30_000),
        format!("{{\"name\":{}}}", nested(200)),
    ];
    for body in bodies.into_iter().chain(deep.iter().map(String::as_str)) {
        for (method, path) in [
            ("POST", APPS),
            ("PATCH", "/api/reverb-apps/1"),
            ("POST", "/api/reverb-apps/1/rotate-secret"),
        ] {
            let reply = desk.send(method, path, &bearer(), body.as_bytes());
            let told = reply.ok(400)["message"].as_str().expect("text").to_owned();
            assert!(told.starts_with("The body ") && told.len() < 200, "{told}");
        }
    }
    let reply = desk.send("POST", APPS, &bearer(), b"{\"name\":\"\xff\"}");
    reply.ok(400);
    let compressed = format!("{}Content-Encoding: gzip\r\n", bearer());
    desk.send("POST", APPS, &compressed, b"{}").ok(415);
}

fn values_of_the_wrong_kind_are_told_and_break_nothing(store: Store) {
    let desk = store.desk();
    let app = desk.made(json!({}));
    let path = format!("{APPS}/{}", app["id"]);
    let huge: Value = serde_json::from_str("123456789012345678901234567890").expect("a number");
    let kinds = [
        json!(true),
        json!(-1),
        json!(1.5e308),
        huge,
        json!([[]]),
        json!({"a": {"b": []}}),
        json!("\u{0}"),
        json!("x".repeat(60_000)),
    ];
    for field in [
        "name",
        "app_id",
        "app_key",
        "app_secret",
        "is_active",
        "max_connections",
        "allowed_origins",
        "settings",
    ] {
        for kind in &kinds {
            // That is what these fields are for, or as good as null.
            let is_right = (field == "is_active" && kind == &json!(true))
                || (kind == &json!("\u{0}")
                    && !["name", "is_active", "max_connections"].contains(&field));
            if is_right {
                continue;
            }
            let reply = desk.patch(&path, json!({(field): kind}));
            let errors = reply.ok(422)["errors"].as_object().expect("errors");
            assert!(
                errors.keys().all(|key| key.starts_with(field)),
                "{errors:?}"
            );
        }
    }
    let mut without = app;
    without
        .as_object_mut()
        .expect("an object")
        .remove("app_secret");
    assert_eq!(desk.get(&path).ok(200)["data"], without);
}

fn every_plane_of_unicode_may_stand_in_a_name(store: Store) {
    let desk = store.desk();
    let planes = (0..=16u32).filter_map(|plane| char::from_u32((plane << 16) + 0x1041));
    let name: String = planes
        .chain(['\u{1}', '\u{7f}', '\u{202e}', '"', '\\', '\u{2028}', 'x'])
        .collect();
    let app = desk.made(json!({"name": name, "description": format!("{name}\n{name}")}));
    assert_eq!(app["name"], json!(name));
    let shown = desk.get(&format!("{APPS}/{}", app["id"]));
    assert_eq!(
        shown.ok(200)["data"]["description"],
        json!(format!("{name}\n{name}"))
    );
}

#[test]
fn a_body_is_bounded_in_size_and_time() {
    let desk = Desk::new();
    let text = |length: usize| {
        format!(
            "{{\"name\":\"Shop\",\"description\":\"{}\"}}",
            "x".repeat(length)
        )
    };
    desk.send("POST", APPS, &bearer(), text(65_000).as_bytes())
        .ok(201);
    let reply = desk.send("POST", APPS, &bearer(), text(70_000).as_bytes());
    reply.says(413, "The body must not be larger than 65536 bytes.");
    assert!(reply.has("connection: close"));
    // Nothing is read of who only says that much will come, nor of who shows no token.
    let announced = |headers: &str| {
        let head = format!(
            "POST {APPS} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 999999999\r\n\r\n"
        );
        desk.raw(head.as_bytes()).status
    };
    assert_eq!((announced(&bearer()), announced("")), (413, 401));
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let chunked = format!(
        "POST {APPS} HTTP/1.1\r\nHost: x\r\n{}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}",
        bearer()
    );
    assert_eq!(desk.raw(chunked.as_bytes()).status, 413);

    let mut slow = TcpStream::connect(desk.server.address()).expect("it listens");
    slow.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    write!(
        slow,
        "POST {APPS} HTTP/1.1\r\nHost: x\r\n{}Content-Length: 20\r\n\r\n{{",
        bearer()
    )
    .expect("sent");
    // Meanwhile others are served.
    desk.get(APPS).ok(200);
    Reply::read(slow).says(408, "The body took too long.");
}

fn paths_that_are_nearly_right_are_told_apart(store: Store) {
    let desk = store.desk();
    for id in [
        "0",
        "-1",
        "99999999999999999999999",
        "18446744073709551615",
        "9223372036854775808",
        "1e3",
        "01",
        "+1",
        "1.0",
        "x",
        "%31%00",
        "1%2F..",
        "..",
        "%ff",
        "restart",
    ] {
        let reply = desk.get(&format!("{APPS}/{id}"));
        let told = reply.ok(404)["message"].as_str().expect("text");
        assert!(
            told.starts_with("No query results for model [App\\Models\\ReverbApp] "),
            "{told}"
        );
    }
    desk.get(&format!("{APPS}/1e3")).says(
        404,
        "No query results for model [App\\Models\\ReverbApp] 1e3",
    );
    let long = desk.get(&format!("{APPS}/{}", "9".repeat(8000)));
    assert!(long.ok(404)["message"].as_str().expect("text").len() < 200);
    for path in [
        "/api",
        "/api/",
        "/api/users",
        "/api//reverb-apps",
        "/api/reverb-apps//",
        "/api/reverb-apps/1/x",
        "/api/reverb-apps/1/rotate-key/x",
    ] {
        let route = path.trim_matches('/');
        desk.get(path)
            .says(404, &format!("The route {route} could not be found."));
    }
    // These are the hub's.
    for path in ["/apix", "/apis/reverb-apps", "/API/reverb-apps"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(desk.raw(request.as_bytes()).ok(404)["error"].is_string());
    }
    let listed = desk.get(APPS).ok(200).clone();
    let id = &listed["data"][0]["id"];
    assert_eq!(
        desk.get(&format!("/api/reverb%2Dapps/%3{id}/")).ok(200)["data"],
        listed["data"][0]
    );
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let desk = Desk::new();
    for (method, path, allow) in [
        ("PUT", APPS, "get, head, post"),
        ("DELETE", APPS, "get, head, post"),
        ("OPTIONS", "/api/reverb-apps/1", "get, head, patch, delete"),
        ("PUT", "/api/reverb-apps/1", "get, head, patch, delete"),
        ("GET", "/api/reverb-apps/1/rotate-key", "post"),
        ("POST", "/api/openapi.json", "get, head"),
        ("BREW", APPS, "get, head, post"),
    ] {
        let reply = desk.call(method, path, Value::Null);
        let route = path.trim_start_matches('/');
        let allow_upper = allow.to_uppercase();
        reply.says(405, &format!("The {method} method is not supported for route {route}. Supported methods: {allow_upper}."));
        assert!(reply.has(&format!("allow: {allow}")), "{}", reply.head);
    }
}

#[test]
fn head_is_get_without_the_body() {
    let desk = Desk::new();
    let whole = desk.get(APPS);
    let head = format!(
        "HEAD {APPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
        bearer()
    );
    let reply = desk.raw(head.as_bytes());
    assert_eq!((reply.status, reply.length), (200, 0));
    assert!(
        reply.has(&format!("content-length: {}", whole.length)),
        "{}",
        reply.head
    );
}

#[test]
fn several_calls_may_share_a_connection_and_unclear_ones_end_it() {
    let desk = Desk::new();
    let first = format!("GET {APPS} HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer());
    let second = format!(
        "POST {APPS} HTTP/1.1\r\nHost: x\r\nHost: y\r\n{}Content-Length: 2\r\n\r\n{{}}",
        bearer()
    );
    let mut stream = TcpStream::connect(desk.server.address()).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    stream
        .write_all(format!("{first}{first}{second}{first}").as_bytes())
        .expect("sent");
    let mut text = String::new();
    let _ = std::io::Read::read_to_string(&mut stream, &mut text);
    let statuses: Vec<&str> = text
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &text[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "200", "400"], "{text}");
}
