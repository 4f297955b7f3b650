//! From soketi: its configuration, its environment, its table.

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use super::{exported, shown};
use crate::mariadb;
use crate::place::Place;

const SOKETI_JSON: &str = r#"{
  "debug": false,
  "port": 6001,
  "eventLimits": {"maxPayloadInKb": 64},
  "appManager": {"driver": "array", "array": {"apps": [
    {
      "id": "shop", "key": "shop-key", "secret": "shop-s3cret",
      "maxConnections": "200", "enableClientMessages": true, "enabled": true,
      "maxBackendEventsPerSecond": 100, "maxClientEventsPerSecond": "-1", "maxReadRequestsPerSecond": -1,
      "maxPresenceMembersPerChannel": 500, "maxPresenceMemberSizeInKb": 0.5, "maxEventBatchSize": 20,
      "enableUserAuthentication": true, "colour": "red",
      "webhooks": [
        {"url": "https://shop.test/hook", "event_types": ["channel_occupied", "member_added"],
         "headers": {"X-Token": "t0ken"}, "filter": {"channel_name_starts_with": "private-"}},
        {"lambda_function": "tell", "event_types": ["client_event"], "lambda": {"region": "eu-west-1"}},
        {"url": "https://shop.test/other", "event_types": ["message_read"]}
      ]
    },
    {"id": "app-id", "key": "app-key", "secret": "app-secret", "enabled": false}
  ]}}
}"#;

#[test]
fn the_configuration_of_soketi_is_taken_over_and_what_is_lost_is_named() {
    let place = Place::new();
    place.write("soketi.json", SOKETI_JSON);
    let said = place.succeeds(&["import", "soketi.json"]);
    assert!(
        said.starts_with("soketi.json: configuration of soketi, 2 apps\n"),
        "{said}"
    );
    for lost in [
        "  shop: webhooks[0]: its headers are not sent here: X-Token\n",
        "  shop: webhooks[0]: its filter has no counterpart, it hears of all channels here: channel_name_starts_with\n",
        "  shop: webhooks[1] calls a Lambda function: left out",
        "  shop: webhooks[2]: there is no event \"message_read\" here",
        "  shop: webhooks[2] has no event that there is here: left out",
        "  shop: colour is unknown",
        "  shop: enableUserAuthentication:",
        "  shop: maxBackendEventsPerSecond counts",
        "  app-id: its secret is the one that soketi comes with",
    ] {
        assert!(said.contains(lost), "{lost} in:\n{said}");
    }
    assert!(
        !said.contains("s3cret") && !said.contains("t0ken"),
        "{said}"
    );
    let (shop, default) = (shown(&place, "shop"), shown(&place, "app-id"));
    let limits = json!({
        "client_events_per_second": 0, "events_per_second": 100, "reads_per_second": 0, "channel_name_length": 200,
        "event_name_length": 200, "event_bytes": 65536, "channels_per_event": 100, "batch_size": 20,
        "channels_per_connection": 1000, "presence_members": 500, "presence_member_bytes": 512, "cache_seconds": 3600,
    });
    assert_eq!(shop["limits"], limits);
    assert_eq!(
        shop["webhooks"],
        json!([{"url": "https://shop.test/hook", "events": ["channel_occupied", "member_added"]}])
    );
    assert_eq!(
        (&shop["client_events"], &default["client_events"]),
        (&json!("all"), &json!("off"))
    );
    assert_eq!(
        (&shop["max_connections"], &default["max_connections"]),
        (&json!(200), &Value::Null)
    );
    assert_eq!(
        (&shop["active"], &default["active"]),
        (&json!(true), &json!(false))
    );
}

#[test]
fn a_dry_run_makes_nothing() {
    let place = Place::new();
    place.write("soketi.json", SOKETI_JSON);
    let said = place.succeeds(&["import", "soketi.json", "--dry-run"]);
    assert!(
        said.contains("make shop\nmake app-id\n") && said.contains("Nothing is written"),
        "{said}"
    );
    assert!(!place.path("data").exists());
}

#[test]
fn the_environment_of_soketi_is_taken_over() {
    let place = Place::new();
    place.write(
        "soketi.env",
        "SOKETI_DEBUG=1\nSOKETI_DEFAULT_APP_ID=7\nSOKETI_DEFAULT_APP_KEY=key-7\nSOKETI_DEFAULT_APP_SECRET='s$7'\n\
         SOKETI_DEFAULT_APP_MAX_CONNS=-1\nSOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES=true\nSOKETI_PRESENCE_MAX_MEMBERS=50\n\
         SOKETI_DEFAULT_APP_WEBHOOKS='[{\"url\":\"https://a.test\",\"event_types\":[\"cache_miss\"]}]'\n",
    );
    let said = place.succeeds(&["import", "soketi.env"]);
    assert!(
        said.starts_with("soketi.env: environment of soketi, 1 app\n"),
        "{said}"
    );
    let app = shown(&place, "7");
    assert_eq!(
        (&app["secret"], &app["client_events"]),
        (&json!("s$7"), &json!("all"))
    );
    assert_eq!(
        (
            &app["limits"]["presence_members"],
            &app["webhooks"][0]["events"]
        ),
        (&json!(50), &json!(["cache_miss"]))
    );
    place.write(
        "bad.env",
        "SOKETI_DEFAULT_APP_ID=8\nSOKETI_DEFAULT_APP_SECRET=s$8\nSOKETI_DEFAULT_APP_WEBHOOKS=[x]\n",
    );
    let said = place.fails(&["import", "bad.env"]);
    assert!(
        said.contains("bad.env:2: SOKETI_DEFAULT_APP_SECRET: contains a $"),
        "{said}"
    );
    assert!(said.contains("bad.env: key: is missing"), "{said}");
    assert!(
        said.contains("bad.env:3: SOKETI_DEFAULT_APP_WEBHOOKS: must be a list of webhooks in JSON"),
        "{said}"
    );
    place.write("empty.env", "SOKETI_APP_MANAGER_DRIVER=mysql\n");
    assert!(
        place
            .fails(&["import", "empty.env"])
            .contains("import mysql://")
    );
}

#[test]
fn the_table_of_soketi_is_taken_over() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let url = mariadb::database().await;
        let mut conn = mariadb::connect(&url).await;
        let statements = [
            "CREATE TABLE apps (id varchar(255) PRIMARY KEY, `key` varchar(255), secret varchar(255), max_connections integer(10), \
             enable_client_messages tinyint(1), enabled tinyint(1), max_backend_events_per_sec integer(10), \
             max_client_events_per_sec integer(10), max_read_req_per_sec integer(10), webhooks json NULL, \
             max_presence_members_per_channel tinyint(1) NULL, max_event_payload_in_kb float NULL, created_at timestamp NULL)",
            "INSERT INTO apps VALUES ('shop', 'shop-key', 'shop-s3cret', 200, 1, 1, -1, 20, -1, \
             '[{\"url\":\"https://a.test\",\"event_types\":[\"client_event\"]}]', 99, 0.5, NOW()), \
             ('bar', 'bar-key', 'bar-s3cret', -1, 0, 0, -1, -1, 5, NULL, NULL, NULL, NULL)",
            "CREATE TABLE others AS SELECT * FROM apps",
            "INSERT INTO others VALUES ('bad', NULL, 'bad-s3cret', 0, 0, 7, -1, -1, -1, '{}', NULL, NULL, NULL)",
        ];
        for statement in statements {
            conn.query_drop(statement).await.expect("done");
        }
        let place = Place::new();
        let said = place.succeeds(&["import", &url]);
        assert!(said.contains("/test_") && said.contains(": table apps of soketi, 2 apps\n"), "{said}");
        let (shop, bar) = (shown(&place, "shop"), shown(&place, "bar"));
        assert_eq!((&shop["max_connections"], &shop["client_events"]), (&json!(200), &json!("all")));
        assert_eq!((&bar["active"], &bar["webhooks"]), (&json!(false), &json!([])));
        assert_eq!(shop["webhooks"][0]["url"], "https://a.test");
        let limits = |app: &Value| {
            ["client_events_per_second", "reads_per_second", "presence_members", "event_bytes"]
                .map(|name| app["limits"][name].clone())
        };
        assert_eq!(limits(&shop), [20, 0, 99, 512].map(Value::from));
        assert_eq!(limits(&bar), [0, 5, 100, 102_400].map(Value::from));
        let server = place.start(&[]);
        server.knock("shop-key").hears("connection_established");

        let said = place.fails(&["import", &format!("{url}?table=others"), "--on-clash", "skip"]);
        assert!(said.contains("4 mistakes") && said.contains(": app bad: key: is missing"), "{said}");
        assert!(said.contains("app bad: enabled: must be true or false"), "{said}");
        assert!(said.contains("app bad: max_connections: must be a whole number"), "{said}");
        assert!(said.contains("app bad: webhooks: must be a list"), "{said}");
        let said = place.fails(&["import", &format!("{url}?table=none")]);
        assert!(said.contains("?table=NAME behind the address names another"), "{said}");
        let said = place.fails(&["import", "mysql://me:s3cret@127.0.0.1:1/soketi"]);
        assert!(said.contains("mysql://me:***@127.0.0.1:1/soketi") && !said.contains("s3cret"), "{said}");
        let said = place.fails(&["import", "postgres://me:s3cret@host/soketi"]);
        assert!(!said.contains("s3cret"), "{said}");

        // The other way round: into a database server.
        let target = mariadb::database().await;
        place.write("apps.json", &exported(&place));
        place.succeeds(&["import", "apps.json", "--database-url", &target]);
        let there = place.succeeds(&["export", "--with-secrets", "--database-url", &target]);
        assert_eq!(there, exported(&place));
        // What the database has no room for shows late: what was done by then is told.
        let long = "x".repeat(256);
        place.write("long.csv", &format!("id,key,secret,name\n7,key-7,s-7,{long}\n"));
        let args = ["import", "long.csv", "--database-url", &target];
        let (code, said) = place.ends(&args);
        assert_eq!(code, 5, "{said}");
        assert!(said.contains("0 apps are made") && said.contains("the app 7: the name cannot be kept"), "{said}");
    });
}
