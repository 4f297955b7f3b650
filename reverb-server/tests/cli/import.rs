//! `reverb-server import` and `export`: from other servers, from tables and exports, and back.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::time::Instant;

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::mariadb;
use crate::place::Place;

/// What Laravel has after `reverb:install`, and what somebody has set.
const REVERB_ENV: &str = r#"
APP_NAME="Der Laden"
APP_ENV=production
BROADCAST_CONNECTION=reverb
REVERB_APP_ID=338071
REVERB_APP_KEY=kd0bhyvm7cmuhbpflg3g
REVERB_APP_SECRET=ws1k2v9hno0tmhvmj1nf
REVERB_HOST="ws.shop.test"
REVERB_PORT=443
REVERB_SCHEME=https
REVERB_APP_MAX_CONNECTIONS=250
REVERB_APP_ACTIVITY_TIMEOUT=45
REVERB_APP_PING_INTERVAL=20
REVERB_APP_MAX_MESSAGE_SIZE=50000
REVERB_APP_RATE_LIMITING_ENABLED=true
REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS=90
REVERB_APP_FANCY=1
VITE_REVERB_APP_KEY="${REVERB_APP_KEY}"
"#;

/// `echo json_encode(config('reverb'))` with two apps.
const REVERB_JSON: &str = r#"{"default":"reverb","servers":{"reverb":{"host":"0.0.0.0","port":8080,"path":"","hostname":null,
"options":{"tls":[]},"max_request_size":20000,"scaling":{"enabled":false,"channel":"reverb"},"pulse_ingest_interval":15}},
"apps":{"provider":"config","apps":[
{"key":"shop-key","secret":"shop-s3cret","app_id":"1001","options":{"host":null,"port":443,"scheme":"https","useTLS":true},
 "allowed_origins":["https://shop.test","*.shop.test"],"ping_interval":60,"activity_timeout":30,"max_connections":"40",
 "max_message_size":10000,"accept_client_events_from":"members",
 "rate_limiting":{"enabled":false,"max_attempts":60,"decay_seconds":60,"terminate_on_limit":false}},
{"key":"chat-key","secret":"chat-s3cret","app_id":1002,"options":[],"allowed_origins":[],"ping_interval":60,
 "activity_timeout":30,"max_connections":null,"max_message_size":5000}
]}}"#;

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

/// An app with everything that can be set.
fn furnish(place: &Place) {
    let args = [
        "app",
        "create",
        "--id",
        "1",
        "--key",
        "key-1",
        "--secret",
        "secret-1",
        "--name",
        "=Shop, \"große\"\nKasse",
        "--description",
        "'-x",
        "--client-events",
        "off",
        "--max-connections",
        "7",
        "--allowed-origin",
        "shop.test",
        "--allowed-origin",
        "*.shop.test",
        "--limit",
        "event_bytes=999",
        "--limit",
        "events_per_second=3",
        "--webhook",
        "https://shop.test/hook?a=b=member_added,cache_miss",
        "--webhook",
        "https://b.test=all",
        "--subscription-count",
        "true",
        "--watchlist",
        "false",
        "--force-tls",
        "true",
        "--activity-timeout",
        "17",
    ];
    place.succeeds(&args);
    place.succeeds(&["app", "create", "--id", "2", "--key", "key-2"]);
    place.succeeds(&[
        "app",
        "rotate-secret",
        "2",
        "--secret",
        "after",
        "--overlap",
        "7d",
    ]);
    place.succeeds(&["app", "deactivate", "2"]);
}

fn exported(place: &Place) -> String {
    place.succeeds(&["export", "--with-secrets"])
}

fn shown(place: &Place, id: &str) -> Value {
    place.json(&["app", "show", id, "--json"])
}

#[test]
fn an_export_comes_back_elsewhere_as_it_was() {
    let here = Place::new();
    furnish(&here);
    let before = exported(&here);
    let list = serde_json::from_str::<Value>(&before).expect("JSON");
    assert_eq!(list["apps"][1]["secret"], "after");
    assert_eq!(
        list["apps"][1]["old_secret"].as_str().map(str::len),
        Some(32)
    );
    assert_eq!(before.lines().count(), 4, "an app on each line");
    for format in ["json", "csv"] {
        let there = Place::new();
        let file = there.path("apps");
        let file = file.to_str().expect("text");
        here.succeeds(&["export", "--with-secrets", "--format", format, "-o", file]);
        let mode = fs::metadata(file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let said = there.succeeds(&["import", "apps"]);
        assert!(
            said.ends_with("2 apps made, 0 replaced, 0 skipped, 0 just so already.\n"),
            "{said}"
        );
        assert_eq!(exported(&there), before, "{format}");
        let again = there.succeeds(&["import", "apps", "--on-clash", "replace"]);
        assert!(
            again.ends_with("0 apps made, 0 replaced, 0 skipped, 2 just so already.\n"),
            "{again}"
        );
    }
}

#[test]
fn an_export_without_secrets_has_none_and_is_refused_by_import() {
    let place = Place::new();
    furnish(&place);
    for format in ["json", "csv"] {
        let text = place.succeeds(&["export", "--format", format]);
        assert!(
            !text.contains("secret-1") && !text.contains("after") && !text.contains("old_secret"),
            "{text}"
        );
        place.write("apps", &text);
        let said = Place::new().fails(&["import", place.path("apps").to_str().expect("text")]);
        assert!(
            said.contains("2 mistakes") && said.contains("secret: is missing"),
            "{said}"
        );
        assert!(said.contains("--with-secrets"), "{said}");
    }
    let csv = place.succeeds(&["export", "--format", "csv"]);
    assert!(
        csv.starts_with("id,key,name,description,active,allowed_origins,"),
        "{csv}"
    );
    assert!(
        csv.contains("\"'=Shop, \"\"große\"\"\nKasse\",''-x,true,shop.test *.shop.test,off,7,"),
        "{csv}"
    );
}

#[test]
fn a_file_is_written_whole_or_not_at_all_and_a_link_stays_one() {
    let place = Place::new();
    place.write("before", "old");
    symlink("before", place.path("link")).expect("a link");
    place.succeeds(&["export", "-o", "link"]);
    assert_eq!(
        fs::read_to_string(place.path("before")).expect("a file"),
        "{\"apps\":[]}\n"
    );
    assert!(place.path("link").is_symlink());
    let said = place.fails(&["export", "-o", "nowhere/apps.json"]);
    assert!(said.contains("cannot write nowhere/apps.json"), "{said}");
    let said = place.fails(&["export", "-o", "/dev/null"]);
    assert!(said.contains("it is no file"), "{said}");
    assert_eq!(place.succeeds(&["export", "-o", "-"]), "{\"apps\":[]}\n");
    assert!(!place.path("data").exists(), "who only looks makes nothing");
}

#[test]
fn an_app_that_is_stored_wrongly_is_named_and_left_out() {
    let place = Place::new();
    furnish(&place);
    let database =
        rusqlite::Connection::open(place.path("data/reverb.sqlite3")).expect("a database");
    database
        .execute("UPDATE apps SET settings = '{\"x\":1}' WHERE id = '1'", [])
        .expect("changed");
    let output = place.run(&["export", "--with-secrets"], &[]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let apps: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (
            apps["apps"].as_array().map(Vec::len),
            &apps["apps"][0]["id"]
        ),
        (Some(1), &json!("2"))
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("1 app is left out") && said.contains("stored wrongly"),
        "{said}"
    );
    // It holds its id and its key all the same.
    place.write("apps.csv", "id,key,secret\n1,key-1,s\n3,key-3,s\n");
    let (code, said) = place.ends(&["import", "apps.csv", "--on-clash", "replace"]);
    assert_eq!(code, 4);
    assert!(
        said.contains("apps.csv:2: id: ") && said.contains("app delete removes it"),
        "{said}"
    );
}

#[test]
fn the_env_of_laravel_reverb_is_taken_over_and_served() {
    let place = Place::new();
    place.write("laravel.env", REVERB_ENV);
    let said = place.succeeds(&["import", "laravel.env"]);
    assert!(
        said.starts_with("laravel.env: .env of Laravel Reverb, 1 app\n"),
        "{said}"
    );
    for lost in [
        "ping_interval has no counterpart",
        "rate_limiting (90 messages of a connection in 60 s)",
        "REVERB_APP_FANCY is unknown",
        "accept_client_events_from is members: here that is private and presence channels; app update ID --client-events all",
        "Laravel Reverb has no limits for these, and an app has some here: presence_members 100, ",
    ] {
        assert!(
            said.contains(&format!("  338071: {lost}")),
            "{lost} in:\n{said}"
        );
    }
    assert!(!said.contains("ws1k2v9hno0tmhvmj1nf"));
    let app = shown(&place, "338071");
    let expected = json!({
        "key": "kd0bhyvm7cmuhbpflg3g", "secret": "ws1k2v9hno0tmhvmj1nf", "name": "Der Laden", "max_connections": 250,
        "activity_timeout": 45, "client_events": "members", "allowed_origins": ["*"], "active": true,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&app[name], value, "{name}");
    }
    assert_eq!(app["limits"]["event_bytes"], 50_000);
    let server = place.start(&[]);
    let mut client = server.knock("kd0bhyvm7cmuhbpflg3g");
    client.hears("\\\"activity_timeout\\\":45");
}

#[test]
fn an_import_is_in_force_while_the_server_runs() {
    let place = Place::new();
    let server = place.start(&[]);
    place.write("apps.csv", "id;key;secret\n7;key-7;s-7\n");
    place.succeeds(&["import", "apps.csv"]);
    server.knock("key-7").hears("connection_established");
}

#[test]
fn the_configuration_of_laravel_reverb_is_taken_over() {
    let place = Place::new();
    place.write("reverb.json", REVERB_JSON);
    let said = place.succeeds(&["import", "reverb.json"]);
    assert!(
        said.starts_with("reverb.json: configuration of Laravel Reverb, 2 apps\n"),
        "{said}"
    );
    assert!(said.contains("  1002: allowed_origins is empty"), "{said}");
    assert!(
        said.contains("  1002: accept_client_events_from is left out"),
        "{said}"
    );
    assert!(said.contains("  1002: max_message_size is 5000"), "{said}");
    let (shop, chat) = (shown(&place, "1001"), shown(&place, "1002"));
    assert_eq!(shop["allowed_origins"], json!(["shop.test", "*.shop.test"]));
    assert_eq!(
        (&shop["max_connections"], &chat["max_connections"]),
        (&json!(40), &Value::Null)
    );
    assert_eq!(
        (&shop["client_events"], &chat["client_events"]),
        (&json!("members"), &json!("all"))
    );
    assert_eq!(
        shop["limits"]["event_bytes"], 20_000,
        "as large as a request could be"
    );
    assert_eq!(chat["allowed_origins"], json!([]));
    assert_eq!(chat["secret"], "chat-s3cret");
}

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

#[test]
fn tables_of_people_are_read_as_spreadsheets_write_them() {
    let place = Place::new();
    place.write(
        "pusher.csv",
        "\u{feff}Name;App_ID;Key;Secret;Cluster;Max_Connections;Event_Bytes\r\nDer Laden;1001;key-1;s-1;eu;;20000\r\n;;;;;;\r\n\
         \"Zwei;\r\nZeilen\";1002;key-2;s-2;mt1;none;\r\n",
    );
    let said = place.succeeds(&["import", "pusher.csv"]);
    assert!(said.starts_with("pusher.csv: CSV, 2 apps\n"), "{said}");
    assert!(
        said.contains("  1001, 1002: Cluster has no counterpart"),
        "{said}"
    );
    assert_eq!(shown(&place, "1002")["name"], "Zwei;\r\nZeilen");
    assert_eq!(shown(&place, "1001")["limits"]["event_bytes"], 20_000);
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places_and_nothing_is_written() {
    let place = Place::new();
    place.write(
        "bad.csv",
        "id,key,secret,max_conections,active,event_bytes,webhooks\n1,key-1,s-1,5,,,\n2,key/2,s-2,,s3cret,0,\n1,key-4,s-4,,,,ftp://s3cret\n",
    );
    place.write(
        "bad.json",
        "{\"apps\":[\n{\"id\":\"5\",\"key\":\"key-5\",\"secret\":\"s-5\",\n \"client_events\":\"s3cret\",\"limits\":{\"event_bites\":1}},\n\
         {\"id\":\"6\",\"secret\":\"s-6\",\"allowed_origins\":[\"https://\"]},\n7,\n{\"id\":\"8\",\"unreadable\":\"why\"}]}",
    );
    place.write("broken.json", "{\"apps\":[\n{\"id\":\"s3cret\",}]}");
    place.write("twin.csv", "id,key,secret\n9,key-9,s\n10,key-9,s\n");
    let said = place.fails(&[
        "import",
        "bad.csv",
        "bad.json",
        "broken.json",
        "twin.csv",
        "missing",
    ]);
    for told in [
        "bad.csv:2: max_conections: is unknown; did you mean max_connections?",
        "bad.csv:3: key: must not contain '/'",
        "bad.csv:3: active: must be true or false",
        "bad.csv:3: event_bytes: event_bytes must be at least 1",
        "bad.csv:4: webhooks: must be URL=EVENTS",
        "bad.json:3: apps[0].client_events: must be \"off\", \"members\" or \"all\"",
        "bad.json:3: apps[0].limits: event_bites: there is no limit \"event_bites\"; did you mean event_bytes?",
        "bad.json:4: apps[1].key: is missing",
        "bad.json:4: apps[1].allowed_origins: must be a list of hosts",
        "bad.json:5: apps[2]: must be an object",
        "bad.json:6: apps[3].unreadable: it was stored wrongly",
        "broken.json:2:16: not valid JSON: ",
        "twin.csv:3: key: \"key-9\" is that of the app at twin.csv:2 too",
        "missing: cannot be read: No such file",
    ] {
        assert!(said.contains(told), "{told} in:\n{said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
    assert!(!place.path("data").exists(), "nothing is made");
    place.write(
        "short.csv",
        "id,key,secret\n1,key-1\n2,key-2,s-2\n3,key-3,s-3,s3cret\n",
    );
    let said = place.fails(&["import", "short.csv"]);
    assert!(
        said.contains("short.csv:2: has 2 cells where the header has 3"),
        "{said}"
    );
    assert!(
        said.contains("short.csv:4: has 4 cells") && !said.contains("s3cret"),
        "{said}"
    );
}

#[test]
fn what_is_of_no_kind_is_refused_with_the_kinds() {
    let place = Place::new();
    place.write("plain", "hello\n");
    place.write("both", "REVERB_APP_ID=1\nSOKETI_DEFAULT_APP_ID=1\n");
    place.write(
        "bare.json",
        "{\"apps\":[{\"id\":\"1\",\"key\":\"key-1\",\"secret\":\"s-1\"}]}",
    );
    let said = place.fails(&["import", "plain"]);
    for kind in [
        "REVERB_APP_ID",
        "config('reverb')",
        "SOKETI_DEFAULT_APP_ID",
        "mysql://",
        "CSV",
        "export",
    ] {
        assert!(said.contains(kind), "{kind} in {said}");
    }
    assert!(
        place
            .fails(&["import", "both"])
            .contains("say --from reverb or --from soketi")
    );
    assert!(
        place
            .fails(&["import", "bare.json"])
            .contains("say --from json or --from soketi")
    );
    assert!(
        place
            .fails(&["import", "bare.json", "--from", "csv"])
            .contains("is no CSV, but JSON")
    );
    assert!(
        place
            .fails(&["import", "plain", "--from", "csv"])
            .contains("the first line must name the columns")
    );
    assert!(
        place
            .fails(&["import", "plain", "--from", "json"])
            .contains("is no JSON")
    );
    assert_eq!(place.ends(&["import"]).0, 2);
    assert_eq!(place.ends(&["import", "plain", "--from", "xml"]).0, 2);
    place.succeeds(&["import", "bare.json", "--from", "soketi"]);
    assert_eq!(shown(&place, "1")["client_events"], "off");
    let said = place.succeeds(&[
        "import",
        "bare.json",
        "--from",
        "json",
        "--on-clash",
        "replace",
    ]);
    assert!(
        said.contains("replace 1\n") && said.contains("1 replaced"),
        "{said}"
    );
    assert_eq!(shown(&place, "1")["client_events"], "members");
}

#[test]
fn clashes_are_named_and_end_as_was_said() {
    let place = Place::new();
    place.succeeds(&[
        "app", "create", "--id", "1", "--key", "key-1", "--secret", "before",
    ]);
    place.succeeds(&["app", "create", "--id", "2", "--key", "key-2"]);
    place.write(
        "apps.csv",
        "id,key,secret\n1,key-1,after\n3,key-2,s-3\n4,key-4,s-4\n",
    );
    let before = exported(&place);
    let (code, said) = place.ends(&["import", "apps.csv"]);
    assert_eq!(code, 4);
    assert!(said.contains("nothing is imported: 2 clashes"), "{said}");
    assert!(
        said.contains("apps.csv:2: id: there is an app \"1\" already; --on-clash skip"),
        "{said}"
    );
    assert!(
        said.contains("apps.csv:3: key: \"key-2\" is the key of the app \"2\" already"),
        "{said}"
    );
    // An app of another id is none that this one replaces.
    let (code, said) = place.ends(&["import", "apps.csv", "--on-clash", "replace"]);
    assert_eq!(code, 4);
    assert!(said.contains("1 clash\n"), "{said}");
    assert_eq!(exported(&place), before);

    let args = ["import", "apps.csv", "--on-clash", "skip", "--dry-run"];
    let said = place.succeeds(&args);
    assert!(
        said.contains("skip 1: there is an app \"1\" already\nskip 3: ")
            && said.contains("make 4\n"),
        "{said}"
    );
    assert!(
        said.ends_with("It would be: 1 app made, 0 replaced, 2 skipped, 0 just so already.\n"),
        "{said}"
    );
    assert_eq!(exported(&place), before);
    place.succeeds(&args[..4]);
    assert_eq!(shown(&place, "1")["secret"], "before");
    assert_eq!(shown(&place, "4")["secret"], "s-4");
    place.write("one.csv", "id,key,secret\n1,key-9,after\n");
    place.succeeds(&["import", "one.csv", "--on-clash", "replace"]);
    let app = shown(&place, "1");
    assert_eq!(
        (&app["key"], &app["secret"]),
        (&json!("key-9"), &json!("after"))
    );
}

#[test]
fn an_app_that_the_server_reads_from_its_env_is_not_imported_beside_that() {
    let place = Place::new();
    place.write(".env", REVERB_ENV);
    let (code, said) = place.ends(&["import", ".env"]);
    assert_eq!(code, 4);
    assert!(
        said.contains("that of the app in .env:5, which the server takes from there"),
        "{said}"
    );
    let output = place.run(&["export"], &[]);
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("the app 338071 is not in the export: it is in .env:5")
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
fn standard_input_is_a_source_and_the_output_of_app_show_another() {
    let (here, there) = (Place::new(), Place::new());
    furnish(&here);
    let one = here.succeeds(&["app", "show", "1", "--json"]);
    let mut process = there
        .command(&["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut input = process.stdin.take().expect("it is piped");
    input.write_all(one.as_bytes()).expect("it reads");
    drop(input);
    let output = process.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("standard input: JSON of reverb-server, 1 app\n"),
        "{said}"
    );
    assert_eq!(shown(&there, "1"), shown(&here, "1"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is printed")]
fn ten_thousand_apps_are_imported_and_exported() {
    let place = Place::new();
    let mut csv = "id,key,secret,name\n".to_owned();
    for n in 0..10_000 {
        let _ = writeln!(csv, "{n},key-{n},secret-{n},App {n}");
    }
    place.write("apps.csv", &csv);
    let begin = Instant::now();
    let said = place.succeeds(&["import", "apps.csv"]);
    let imported = begin.elapsed();
    assert!(
        said.ends_with("10000 apps made, 0 replaced, 0 skipped, 0 just so already.\n"),
        "{said}"
    );
    let text = exported(&place);
    assert_eq!(text.lines().count(), 10_002);
    println!(
        "10,000 apps: imported in {imported:?}, exported in {:?}",
        begin.elapsed() - imported
    );
}

#[test]
fn help_keeps_within_80_columns() {
    let place = Place::new();
    for command in ["import", "export"] {
        let help = place.succeeds(&[command, "--help"]);
        assert_eq!(help.lines().find(|line| line.len() > 80), None, "{help}");
    }
}
