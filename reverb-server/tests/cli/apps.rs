//! `reverb-server app …`, with a server that runs and without.

use serde_json::{Value, json};

use crate::config::SHOP;
use crate::place::{Place, Server};

/// What the server's own app is called.
fn first_id(server: &Server) -> String {
    server.line("REVERB_APP_ID=").to_owned()
}

#[test]
fn an_app_is_made_shown_listed_changed_and_deleted() {
    let place = Place::new();
    assert!(place.succeeds(&["app", "list"]).starts_with("no app yet"));
    assert_eq!(place.json(&["app", "list", "--json"]), json!([]));
    assert!(!place.path("data").exists(), "who only looks makes nothing");
    let shown = place.succeeds(&[
        "app", "create", "--id", "1001", "--key", "app-key", "--name", "Shop",
    ]);
    assert!(shown.contains("REVERB_APP_ID=1001\n") && shown.contains("REVERB_APP_SECRET="));
    assert_eq!(place.succeeds(&["app", "show", "1001"]), shown);

    let changes = [
        "app",
        "update",
        "1001",
        "--json",
        "--name",
        "Der Laden",
        "--description",
        "Alles",
        "--client-events",
        "all",
        "--max-connections",
        "7",
        "--allowed-origin",
        "https://shop.test:81/x",
        "--allowed-origin",
        "*.shop.test",
        "--limit",
        "event_bytes=999",
        "--limit",
        "batch_size=3",
        "--webhook",
        "https://shop.test/hook=member_added",
        "--subscription-count",
        "true",
        "--watchlist",
        "false",
        "--force-tls",
        "true",
        "--activity-timeout",
        "17",
        "--key",
        "other-key",
    ];
    let changed = place.json(&changes);
    let expected = json!({
        "id": "1001", "key": "other-key", "from": "data/reverb.sqlite3", "read_only": false,
        "name": "Der Laden", "description": "Alles", "active": true,
        "allowed_origins": ["shop.test", "*.shop.test"], "client_events": "all", "max_connections": 7,
        "subscription_count": true, "watchlist": false, "force_tls": true, "activity_timeout": 17,
        "webhooks": [{"url": "https://shop.test/hook", "events": ["member_added"]}],
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&changed[name], value, "{name}");
    }
    let limits = &changed["limits"];
    assert_eq!(
        (&limits["event_bytes"], &limits["batch_size"]),
        (&json!(999), &json!(3))
    );
    assert!(changed.get("secret").is_none());
    place.succeeds(&["app", "update", "1001", "--max-connections", "none"]);
    let listed = place.json(&["app", "list", "--json"]);
    assert_eq!(
        (&listed[0]["max_connections"], &listed[0]["name"]),
        (&Value::Null, &json!("Der Laden"))
    );
    let table = place.succeeds(&["app", "list"]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 2);
    assert!(
        rows[1].starts_with("1001  other-key  active ") && rows[1].ends_with("Der Laden"),
        "{table}"
    );

    let (code, said) = place.ends(&["app", "delete", "1001"]);
    assert_eq!(code, 4);
    assert!(
        said.contains("Der Laden") && said.contains("--yes"),
        "{said}"
    );
    assert_eq!(
        place.succeeds(&["app", "delete", "1001", "--yes"]),
        "The app 1001 is deleted.\n"
    );
    for command in [
        "show",
        "update",
        "rotate-secret",
        "activate",
        "deactivate",
        "delete",
    ] {
        let (code, said) = place.ends(&["app", command, "1001"]);
        assert_eq!(code, 3, "{command}: {said}");
    }
}

#[test]
fn what_makes_no_sense_is_said_and_changes_nothing() {
    let place = Place::new();
    place.succeeds(&[
        "app", "create", "--id", "1", "--key", "key-1", "--secret", "secret",
    ]);
    let before = place.json(&["app", "list", "--json"]);
    let cases: [(&[&str], i32, &str); 12] = [
        (&["create", "--id", "1"], 4, "another app has the id \"1\""),
        (
            &["create", "--key", "key-1"],
            4,
            "another app has the key \"key-1\"",
        ),
        (&["create", "--id", "a/b"], 2, "--id must not contain '/'"),
        (
            &["create", "--secret", ""],
            2,
            "--secret must have 1 to 255 bytes, not 0",
        ),
        (
            &["update", "1", "--key", "a:b"],
            2,
            "--key must not contain ':'",
        ),
        (
            &["update", "1", "--limit", "event_bites=4"],
            2,
            "did you mean event_bytes?",
        ),
        (
            &["update", "1", "--max-connections", "0"],
            2,
            "none lifts the limit",
        ),
        (&["update", "1", "--client-events", "most"], 2, "members"),
        (
            &["update", "1", "--allowed-origin", "https://"],
            2,
            "names no host",
        ),
        (
            &["update", "1", "--webhook", "https://a.test"],
            2,
            "=EVENTS",
        ),
        (
            &["rotate-secret", "1", "--overlap", "soon"],
            2,
            "30m, 24h or 7d",
        ),
        (
            &["rotate-secret", "1", "--secret", "a b"],
            2,
            "--secret must not contain ' '",
        ),
    ];
    for (args, code, says) in cases {
        let (ended, said) = place.ends(&[&["app"], args].concat());
        assert_eq!(ended, code, "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    assert_eq!(place.json(&["app", "list", "--json"]), before);
}

#[test]
fn an_app_of_the_file_is_shown_and_stays_what_it_is() {
    let place = Place::new();
    place.write("reverb.toml", SHOP);
    fn with_file<'a>(args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--config", "reverb.toml"]].concat()
    }
    place.succeeds(&["app", "create", "--id", "2", "--key", "key-2"]);
    let listed = place.json(&with_file(&["app", "list", "--json"]));
    let field = |name: &str| [&listed[0][name], &listed[1][name]].map(Value::clone);
    assert_eq!(field("id"), ["1001", "2"]);
    assert_eq!(field("read_only"), [true, false]);
    assert_eq!(field("from"), ["reverb.toml:1", "data/reverb.sqlite3"]);
    let shown = place.json(&with_file(&["app", "show", "1001", "--json"]));
    assert_eq!(
        (&shown["secret"], &shown["read_only"]),
        (&json!("app-secret"), &json!(true))
    );
    for command in [
        "update",
        "rotate-secret",
        "activate",
        "deactivate",
        "delete",
    ] {
        let (code, said) = place.ends(&with_file(&["app", command, "1001"]));
        assert_eq!(code, 4, "{command}");
        assert!(
            said.contains("the app 1001 is from reverb.toml:1: change it there"),
            "{said}"
        );
    }
    for taken in [["--id", "1001"], ["--key", "app-key"]] {
        let (code, said) = place.ends(&with_file(&[&["app", "create"], &taken[..]].concat()));
        assert_eq!(code, 4, "{said}");
    }
    let (code, said) = place.ends(&with_file(&["app", "update", "2", "--key", "app-key"]));
    assert_eq!(code, 4, "{said}");
}

#[test]
fn a_running_server_does_what_the_command_line_says() {
    let place = Place::new();
    let server = place.start(&[]);
    let (first, first_key) = (first_id(&server), server.line("REVERB_APP_KEY=").to_owned());
    let mut neighbour = server.knock(&first_key);
    neighbour.hears("connection_established");

    let made = place.json(&["app", "create", "--id", "7", "--key", "key-7", "--json"]);
    assert_eq!(made["id"], "7");
    // A key that was unknown a moment ago.
    server.knock("key-8").hears("4001");
    let mut client = server.knock("key-7");
    client.hears("connection_established");
    place.succeeds(&["app", "update", "7", "--name", "Seven"]);
    place.succeeds(&["app", "rotate-secret", "7"]);
    place.succeeds(&["app", "deactivate", "7"]);
    client.hears("4003");
    place.succeeds(&["app", "activate", "7"]);
    let mut client = until_established(&server, "key-7");
    place.succeeds(&["app", "update", "7", "--key", "key-8"]);
    client.hears("4001");
    let mut client = until_established(&server, "key-8");
    place.succeeds(&["app", "delete", "7", "--yes"]);
    client.hears("4001");
    assert!(
        neighbour.is_connected(),
        "the app {first} was not concerned"
    );
}

/// A change is in force within a second.
fn until_established(server: &Server, key: &str) -> crate::place::Client {
    for _ in 0..20 {
        let mut client = server.knock(key);
        client.hears("\"event\":\"pusher:");
        if client.has_heard("connection_established") {
            return client;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the change is not in force after a second");
}

#[test]
fn an_old_secret_is_accepted_for_as_long_as_was_said() {
    let place = Place::new();
    place.succeeds(&["app", "create", "--id", "1", "--secret", "before"]);
    let said = place.succeeds(&[
        "app",
        "rotate-secret",
        "1",
        "--overlap",
        "30m",
        "--secret",
        "after",
    ]);
    assert!(
        said.contains("REVERB_APP_SECRET=after\n") && said.contains(" UTC"),
        "{said}"
    );
    let until = place.json(&["app", "show", "1", "--json"])["old_secret_until"].as_u64();
    assert!(until.is_some());
    let again = ["app", "rotate-secret", "1", "--overlap", "0"];
    let (code, said) = place.ends(&again);
    assert_eq!(code, 4);
    assert!(
        said.contains("has two secrets already") && said.contains("--force"),
        "{said}"
    );
    let said = place.succeeds(&[again.as_slice(), &["--force"]].concat());
    assert!(said.contains("not accepted any more"), "{said}");
    let shown = place.json(&["app", "show", "1", "--json"]);
    assert!(shown.get("old_secret_until").is_none());
    assert_eq!(shown["secret"].as_str().map(str::len), Some(32));
}

#[test]
fn a_list_says_when_secrets_were_used_last() {
    let place = Place::new();
    for id in ["1", "2"] {
        place.succeeds(&["app", "create", "--id", id]);
    }
    let file = place.path("data/reverb.sqlite3");
    let database = rusqlite::Connection::open(file).expect("a database");
    let used = "UPDATE apps SET secret_used = 1800000000, old_secret_used = 7 WHERE id = '2'";
    database.execute(used, ()).expect("changed");
    let listed = place.json(&["app", "list", "--json"]);
    assert_eq!(listed[0].get("secret_used"), None);
    assert_eq!(
        (&listed[1]["secret_used"], &listed[1]["old_secret_used"]),
        (&json!(1_800_000_000), &json!(7))
    );
    let table = place.succeeds(&["app", "list"]);
    assert_eq!(table.matches("2027-01-15 08:00 UTC").count(), 1, "{table}");
}
