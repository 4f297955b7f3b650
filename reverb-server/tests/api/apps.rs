//! What scripts that were made for the first version do, and what has come since.

use serde_json::{Value, json};

use crate::desk::{Desk, Store, TOKEN, with_each_store};
use crate::place::Place;

const APPS: &str = "/api/reverb-apps";

fn path(app: &Value) -> String {
    format!("{APPS}/{}", app["id"])
}

with_each_store!(
    a_name_is_enough_for_a_new_app,
    what_is_given_is_kept,
    the_list_has_all_apps_by_number_or_some_of_them,
    an_app_is_changed_bit_by_bit,
    secrets_and_keys_are_rotated,
);

#[test]
fn who_shows_no_token_or_another_is_refused_before_anything_else() {
    let desk = Desk::new();
    for (method, path) in [
        ("GET", APPS),
        ("GET", "/api/reverb-apps/99999"),
        ("POST", APPS),
        ("DELETE", "/api/reverb-apps/1"),
    ] {
        desk.send(method, path, "", b"")
            .says(401, "Invalid API token.");
        let wrong = "Authorization: Bearer another-token\r\n";
        desk.send(method, path, wrong, b"{")
            .says(401, "Invalid API token.");
    }
    let twice = format!("Authorization: Bearer {TOKEN}\r\n").repeat(2);
    desk.send("GET", APPS, &twice, b"")
        .says(401, "Invalid API token.");
    let basic = format!("Authorization: Basic {TOKEN}\r\n");
    desk.send("GET", APPS, &basic, b"")
        .says(401, "Invalid API token.");
    let html = format!("Authorization: Bearer {TOKEN}\r\nAccept: text/html\r\n");
    let reply = desk.send("GET", "/api/reverb-apps/99999", &html, b"");
    reply.says(
        404,
        "No query results for model [App\\Models\\ReverbApp] 99999",
    );
    assert!(reply.has("content-type: application/json"));
    assert!(!desk.server.log().contains(TOKEN));
}

#[test]
fn a_server_without_a_token_says_so() {
    let place = Place::new();
    place.write(".env", "API_TOKEN=\n");
    let server = place.start(&[]);
    let request = format!(
        "GET {APPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \r\n\r\n"
    );
    let mut stream = std::net::TcpStream::connect(server.address()).expect("it listens");
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
    crate::desk::Reply::read(stream).says(401, "API access is not configured.");
    let shown = place.succeeds(&["check-config"]);
    assert!(
        shown.contains("# API_TOKEN: not set, /api is closed"),
        "{shown}"
    );

    // Half a token would lock out whoever has the whole one.
    place.write(".env", "API_TOKEN=half$secret\n");
    let told = place.fails(&["check-config"]);
    assert!(
        told.contains(".env:1: API_TOKEN: contains a $") && !told.contains("half"),
        "{told}"
    );

    place.write(".env", "API_TOKEN='s3cret'\n");
    let output = place.run(&["check-config"], &[]);
    let (shown, told) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        shown.contains(&format!("{:<40} # .env:1\n", "# API_TOKEN: ***")),
        "{shown}"
    );
    assert!(told.contains("API_TOKEN is short") && !(told + shown).contains("s3cret"));
}

fn a_name_is_enough_for_a_new_app(store: Store) {
    let desk = store.desk();
    let reply = desk.post(APPS, json!({"name": " My app "}));
    let app = &reply.ok(201)["data"];
    let text = |field: &str| app[field].as_str().expect("text").to_owned();
    let is_random = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    assert!(is_random(
        text("app_id").strip_prefix("app-").expect("app-"),
        8
    ));
    assert!(is_random(
        text("app_key").strip_prefix("key-").expect("key-"),
        16
    ));
    assert!(is_random(&text("app_secret"), 64));
    assert_eq!(
        (text("name"), &app["is_active"], &app["max_connections"]),
        ("My app".into(), &json!(true), &json!(1000))
    );
    assert_eq!(
        (&app["description"], &app["allowed_origins"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(app["created_at"], app["updated_at"]);
    let warned = format!("app={}", text("app_id"));
    assert!(
        desk.server.log().contains("no browser can connect"),
        "{}",
        desk.server.log()
    );
    assert!(desk.server.log().contains(&warned), "{}", desk.server.log());
    assert!(!desk.server.log().contains(&text("app_secret")));

    let shown = desk.get(&path(app));
    let mut without = app.clone();
    without
        .as_object_mut()
        .expect("an object")
        .remove("app_secret");
    assert_eq!(shown.ok(200)["data"], without);
}

fn what_is_given_is_kept(store: Store) {
    let desk = store.desk();
    let given = json!({
        "name": "Laden 🏪", "app_id": "my-app_01", "app_key": "my-key_01", "app_secret": "my-secret_0123456",
        "description": "Text", "is_active": "0", "max_connections": "250",
        "allowed_origins": ["*", "example.com", "app.example.com", "localhost"],
        "settings": {"client_events": "all", "limits": {"event_bytes": 5000}},
    });
    let app = desk.made(given.clone());
    for field in [
        "name",
        "app_id",
        "app_key",
        "app_secret",
        "description",
        "allowed_origins",
    ] {
        assert_eq!(app[field], given[field]);
    }
    assert_eq!(
        (&app["is_active"], &app["max_connections"]),
        (&json!(false), &json!(250))
    );
    let settings = &app["settings"];
    assert_eq!(
        (
            &settings["client_events"],
            &settings["limits"]["event_bytes"]
        ),
        (&json!("all"), &json!(5000))
    );
    assert_eq!(
        (&settings["watchlist"], &settings["limits"]["batch_size"]),
        (&json!(true), &json!(10))
    );
}

fn the_list_has_all_apps_by_number_or_some_of_them(store: Store) {
    let desk = store.desk();
    let first = desk.get(APPS).ok(200)["data"]
        .as_array()
        .expect("a list")
        .len();
    assert_eq!(first, 1, "the one that the first start makes");
    let made = [("Z", true), ("A", false), ("M", true)]
        .map(|(name, active)| desk.made(json!({"name": name, "is_active": active})));
    let names = |query: &str| {
        let reply = desk.get(&format!("{APPS}{query}"));
        let data = reply.ok(200)["data"].as_array().expect("a list").clone();
        assert!(data.iter().all(|app| app.get("app_secret").is_none()));
        let names = data
            .iter()
            .map(|app| app["name"].as_str().expect("text").to_owned());
        names.collect::<Vec<_>>().join(",")
    };
    assert_eq!(names(""), ",Z,A,M");
    assert_eq!(names("/"), ",Z,A,M");
    for query in [
        "?active=1",
        "?active=true",
        "?active=True",
        "?x=1&active=1",
        "?active=0&active=1",
    ] {
        assert_eq!(names(query), ",Z,M", "{query}");
    }
    for query in ["?active=0", "?active=false", "?active="] {
        assert_eq!(names(query), "A", "{query}");
    }
    desk.get("/api/reverb-apps?active=maybe")
        .says(422, "The active field must be true or false.");
    desk.call("DELETE", &path(&made[0]), Value::Null).ok(204);
    assert_eq!(names(""), ",A,M");
}

fn an_app_is_changed_bit_by_bit(store: Store) {
    let desk = store.desk();
    let app = desk.made(json!({"description": "Text", "allowed_origins": ["a.test"], "settings": {"limits": {"batch_size": 3}}}));
    let path = path(&app);
    let mut expected = app.clone();
    expected
        .as_object_mut()
        .expect("an object")
        .remove("app_secret");
    let steps = [
        json!({}),
        json!({"name": "Store"}),
        json!({"description": ""}),
        json!({"max_connections": null}),
        json!({"max_connections": 7}),
        json!({"allowed_origins": null}),
        json!({"allowed_origins": ["*"]}),
        json!({"app_key": null, "app_id": "", "app_secret": " ", "id": 99, "created_at": "x", "unknown": {}}),
        json!({"settings": {"limits": {"event_bytes": 4}}}),
        json!({"settings": {"watchlist": false, "force_tls": true, "activity_timeout": 60}}),
        json!({"settings": {"webhooks": [{"url": "https://a.test/x", "events": ["cache_miss"]}]}}),
    ];
    for step in steps {
        for (field, value) in step.as_object().expect("an object") {
            match field.as_str() {
                "settings" => {
                    for (name, value) in value.as_object().expect("an object") {
                        match name.as_str() {
                            "limits" => {
                                expected["settings"]["limits"]["event_bytes"] =
                                    value["event_bytes"].clone()
                            }
                            _ => expected["settings"][name] = value.clone(),
                        }
                    }
                }
                "description" => expected["description"] = Value::Null,
                "name" | "max_connections" | "allowed_origins" => expected[field] = value.clone(),
                _ => {}
            }
        }
        let reply = desk.patch(&path, step);
        expected["updated_at"] = reply.ok(200)["data"]["updated_at"].clone();
        assert_eq!(reply.body["data"], expected);
        assert_eq!(desk.get(&path).ok(200)["data"], expected);
    }
    // What is shown can be sent back.
    assert_eq!(
        desk.patch(&path, expected.clone()).ok(200)["data"]["settings"],
        expected["settings"]
    );
    let (before, after) = (
        app["app_secret"].as_str(),
        desk.place.json(&[
            "app",
            "show",
            app["app_id"].as_str().expect("an id"),
            "--json",
        ]),
    );
    assert_eq!(after["secret"].as_str(), before);
    for wrong in [
        json!({"name": null}),
        json!({"name": 7}),
        json!({"is_active": "yes"}),
        json!({"max_connections": ""}),
        json!({"settings": {"unknown": 1}}),
    ] {
        desk.patch(&path, wrong).ok(422);
    }
    expected["updated_at"] = desk.get(&path).ok(200)["data"]["updated_at"].clone();
    assert_eq!(desk.get(&path).ok(200)["data"], expected);
}

fn secrets_and_keys_are_rotated(store: Store) {
    let desk = store.desk();
    let app = desk.made(json!({"app_key": "first-key"}));
    let path = path(&app);
    let rotated = desk.call("POST", &format!("{path}/rotate-secret"), Value::Null);
    let secret = rotated.ok(200)["data"]["app_secret"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(secret.len() == 64 && Some(secret.as_str()) != app["app_secret"].as_str());
    let until = rotated.body["old_secret_until"].as_str().expect("a time");
    // Who repeats it does not end what backends have.
    for again in [
        json!(null),
        json!({"overlap": "0"}),
        json!({"force": false}),
        json!({"force": null}),
    ] {
        let message = format!(
            "The app has two secrets already, the older one until {until}. Rotating again would end that one now; \
             \"force\": true in the body does it all the same."
        );
        desk.post(&format!("{path}/rotate-secret"), again)
            .says(409, &message);
    }
    let id = app["app_id"].as_str().expect("an id");
    let kept = desk.place.json(&["app", "show", id, "--json"]);
    assert_eq!(kept["secret"], json!(secret));
    for overlap in [json!("0"), json!(0)] {
        let reply = desk.post(
            &format!("{path}/rotate-secret"),
            json!({"overlap": overlap, "force": true}),
        );
        assert_eq!(reply.ok(200)["old_secret_until"], Value::Null);
    }
    for overlap in [json!("7d"), json!(3600), json!(31_622_400), json!(null)] {
        let reply = desk.post(
            &format!("{path}/rotate-secret"),
            json!({"overlap": overlap, "force": true}),
        );
        assert!(reply.ok(200)["old_secret_until"].is_string());
    }
    for wrong in [json!("true"), json!(1), json!([])] {
        let reply = desk.post(&format!("{path}/rotate-secret"), json!({"force": wrong}));
        reply.says(422, "The force field must be true or false.");
    }
    for wrong in [
        json!("7w"),
        json!("3600"),
        json!(-1),
        json!(1.5),
        json!(31_622_401),
        json!(1e300),
        json!(true),
        json!([]),
        json!({}),
    ] {
        let reply = desk.post(&format!("{path}/rotate-secret"), json!({"overlap": wrong}));
        assert!(reply.ok(422)["errors"]["overlap"].is_array());
    }
    let reply = desk.post(&format!("{path}/rotate-key"), Value::Null);
    let key = reply.ok(200)["data"]["app_key"].as_str().expect("text");
    assert!(key.starts_with("key-") && key.len() == 20);
    desk.post("/api/reverb-apps/99999/rotate-key", Value::Null)
        .ok(404);
    desk.post("/api/reverb-apps/99999/rotate-secret", Value::Null)
        .ok(404);
}
