//! A server whose apps are in MariaDB: its own, and those of the PHP product.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reverb_core::clock::{Clock, SystemClock};
use reverb_mysql::LaravelKeys;

use crate::mariadb;
use crate::place::{Place, Server, publish};

const APP_KEY: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The table of the PHP product.
pub(crate) const TABLE: &str = "CREATE TABLE reverb_apps (
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(255) NOT NULL, app_id varchar(255) NOT NULL UNIQUE,
    app_key varchar(255) NOT NULL UNIQUE, app_secret text NOT NULL, description text NULL, is_active tinyint(1) NOT NULL DEFAULT 1,
    max_connections int NOT NULL DEFAULT 1000, allowed_origins json NULL, created_at timestamp NULL, updated_at timestamp NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci";

/// Two apps in it.
const TWO: &str = r#"INSERT INTO reverb_apps (name, app_id, app_key, app_secret, allowed_origins) VALUES
    ('Shop', 'app-shop', 'key-shop', 'SECRET', '["*"]'), ('Nobody', 'app-nobody', 'key-nobody', 'plain-secret-of-2', NULL)"#;

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// A database with the apps of the PHP product, and a connection to it.
async fn php(secret: &str) -> (String, Conn) {
    let url = mariadb::database().await;
    let mut conn = mariadb::connect(&url).await;
    for statement in [TABLE, &TWO.replace("SECRET", secret)] {
        conn.query_drop(statement).await.expect("loaded");
    }
    (url, conn)
}

/// The lines of a `.env` that lead to this database.
fn env_of(url: &str) -> String {
    let rest = url.strip_prefix("mysql://root@").expect("ours");
    let (address, database) = rest.split_once('/').expect("ours");
    let (host, port) = address.split_once(':').expect("ours");
    format!(
        "APP_KEY={APP_KEY}\nDB_CONNECTION=mysql\nDB_HOST={host}\nDB_PORT={port}\nDB_DATABASE={database}\n\
         DB_USERNAME=root\nDB_PASSWORD=\n"
    )
}

fn waits_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..100 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{what}");
}

#[test]
fn the_database_of_the_php_product_is_served_and_its_panels_edits_are_in_force() {
    in_runtime(async {
        let keys = LaravelKeys::new(APP_KEY, "").expect("a key");
        let (url, mut conn) = php(&keys.encrypt("secret-of-the-shop")).await;
        let place = Place::new();
        place.write(".env", &env_of(&url));
        let server = place.start(&["--database-url", "laravel"]);
        assert!(
            server
                .said
                .contains(&format!("2 in {}", url.replace("root@", ""))),
            "{}",
            server.said
        );
        let mut client = server.knock("key-shop");
        client.hears("connection_established");
        server.knock("key-nobody").hears("4009");
        waits_until("who lets nobody in is named", || {
            let log = server.log();
            log.contains("lets nobody in from a browser") && log.contains("app-nobody")
        });
        assert!(server.log().contains("max_connections"), "{}", server.log());

        let shown = place.json(&[
            "app",
            "show",
            "app-shop",
            "--json",
            "--database-url",
            "laravel",
        ]);
        assert_eq!(shown["secret"], "secret-of-the-shop");
        let sql = "UPDATE reverb_apps SET is_active = 0 WHERE app_id = 'app-shop'";
        conn.query_drop(sql).await.expect("changed");
        client.hears("4003");
        let args = ["app", "activate", "app-shop", "--database-url", "laravel"];
        place.succeeds(&args);
        let is_active: Option<bool> = conn
            .query_first("SELECT is_active FROM reverb_apps WHERE app_id = 'app-shop'")
            .await
            .expect("a row");
        assert_eq!(is_active, Some(true));
        waits_until("it is in force", || {
            let mut client = server.knock("key-shop");
            client.hears("\"event\":\"pusher:");
            client.has_heard("connection_established")
        });
    });
}

#[test]
fn with_another_app_key_nothing_is_served() {
    in_runtime(async {
        let other = "base64:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
        let keys = LaravelKeys::new(other, "").expect("a key");
        let (url, mut conn) = php(&keys.encrypt("secret-of-the-shop")).await;
        conn.query_drop("DELETE FROM reverb_apps WHERE id = 2")
            .await
            .expect("deleted");
        let place = Place::new();
        place.write(".env", &env_of(&url));
        let said = place.fails(&["--port", "0", "--database-url", "laravel"]);
        assert!(
            said.contains("none of the apps") && said.contains("APP_KEY"),
            "{said}"
        );
        place.write(".env", &(env_of(&url) + "APP_PREVIOUS_KEYS=" + other));
        let server = place.start(&["--database-url", "laravel"]);
        server.knock("key-shop").hears("connection_established");
        // Without any key a new one must not be made: what there is could not be read.
        let said = place.fails(&[
            "app",
            "list",
            "--database-url",
            &url,
            "--env-file",
            "/dev/null",
        ]);
        assert!(said.contains("is missing: set APP_KEY"), "{said}");
    });
}

#[test]
fn an_empty_database_is_made_ready_and_shared_by_two_servers() {
    in_runtime(async {
        let url = mariadb::database().await;
        let place = Place::new();
        let first = place.start(&["--database-url", &url]);
        let key = first.line("REVERB_APP_KEY=").to_owned();
        let second: Server = place.start(&["--database-url", &url]);
        let mut clients = [first.knock(&key), second.knock(&key)];
        clients
            .iter_mut()
            .for_each(|client| client.hears("connection_established"));
        place.succeeds(&[
            "app",
            "create",
            "--id",
            "7",
            "--key",
            "key-7",
            "--database-url",
            &url,
        ]);
        for server in [&first, &second] {
            server.knock("key-7").hears("connection_established");
        }
        let id = first.line("REVERB_APP_ID=");
        place.succeeds(&["app", "delete", id, "--yes", "--database-url", &url]);
        clients.iter_mut().for_each(|client| client.hears("4001"));
    });
}

#[test]
fn an_address_in_the_env_of_the_php_product_is_where_to_listen() {
    let place = Place::new();
    let shown = |env: &str, args: &[&str]| {
        place.write(".env", &format!("DB_DATABASE=apps\n{env}"));
        place.succeeds(&[&["check-config"], args].concat())
    };
    let php = ["--database-url", "laravel"];
    let said = shown("REVERB_HOST=0.0.0.0\nREVERB_PORT=8090\n", &php);
    let lines = [
        ("host = \"0.0.0.0\"", "REVERB_HOST"),
        ("port = 8090", "REVERB_PORT"),
    ];
    for (line, from) in lines {
        assert!(said.contains(&format!("{line:<40} # {from}\n")), "{said}");
    }
    assert!(!said.contains("# public host"), "{said}");
    let said = shown("REVERB_HOST=ws.example\nREVERB_PORT=443\n", &php);
    assert!(
        said.contains("host = \"127.0.0.1\"") && said.contains("# public host: ws.example"),
        "{said}"
    );
    let said = shown("REVERB_HOST=0.0.0.0\nREVERB_SERVER_HOST=127.0.0.2\n", &php);
    assert!(said.contains("host = \"127.0.0.2\""), "{said}");
    // Another application's file says where its server is.
    let said = shown("REVERB_HOST=10.0.0.1\n", &[]);
    assert!(
        said.contains("host = \"127.0.0.1\"") && said.contains("# public host: 10.0.0.1"),
        "{said}"
    );
}

#[test]
fn of_two_servers_with_a_key_of_their_own_one_is_told() {
    in_runtime(async {
        let url = mariadb::database().await;
        let (one, two) = (Place::new(), Place::new());
        let flags = ["--database-url", url.as_str()];
        let server = one.start(&flags);
        let key = server.line("REVERB_APP_KEY=").to_owned();
        let id = server.line("REVERB_APP_ID=").to_owned();
        // Even where there is nothing to be read: what it would write the other could not read.
        one.succeeds(&[&["app", "delete", &id, "--yes"], flags.as_slice()].concat());
        let said = two.fails(&[&["--port", "0"], flags.as_slice()].concat());
        assert!(
            said.contains("copy secrets.key of the server that was started first"),
            "{said}"
        );
        std::fs::copy(one.path("data/secrets.key"), two.path("data/secrets.key")).expect("copied");
        let other = two.start(&flags);
        drop((server, other, key));

        // A new key in front is taken once everything has been sealed anew.
        let old = std::fs::read_to_string(one.path("data/secrets.key")).expect("the key");
        let new = reverb_core::app_store::Keyring::generate();
        one.write("data/secrets.key", &format!("{new}\n{old}"));
        one.succeeds(&[&["migrate", "--seal-secrets"], flags.as_slice()].concat());
        one.write("data/secrets.key", &new);
        drop(one.start(&flags));
    });
}

#[test]
fn an_address_is_checked_and_its_password_never_shown() {
    let place = Place::new();
    place.write(
        "reverb.toml",
        "database_url = \"mysql://me:s3cret@127.0.0.1:1/apps\"\nenforce_max_connections = true\n",
    );
    let shown = place.succeeds(&["check-config", "--config", "reverb.toml"]);
    assert!(
        shown.contains("# database: mysql://me:***@127.0.0.1:1/apps"),
        "{shown}"
    );
    assert!(shown.contains("enforce_max_connections = true"), "{shown}");
    let said = place.fails(&["--port", "0", "--config", "reverb.toml"]);
    assert!(
        said.contains("cannot use the database mysql://me:***@127.0.0.1:1/apps"),
        "{said}"
    );
    place.write(".env", "DB_DATABASE=apps\nDB_PASSWORD=s3cret$word\n");
    let said = place.fails(&["check-config", "--database-url", "laravel"]);
    assert!(said.contains(".env:2: DB_PASSWORD: contains a $"), "{said}");
    place.succeeds(&["check-config"]);
    place.write(".env", "DB_CONNECTION=pgsql\nDB_DATABASE=apps\n");
    let said = place.fails(&["check-config", "--database-url", "laravel"]);
    assert!(
        said.contains("DB_CONNECTION: is \"pgsql\", but only mysql and mariadb"),
        "{said}"
    );
    for wrong in [
        "mysql://me:s3cret@host",
        "mysql://me:1?s3cret@host/apps",
        "mysql://me:s3cret@host/apps?require_ssl=s3cret",
        "s3cret",
    ] {
        let said = place.fails(&["check-config", "--database-url", wrong]);
        assert!(
            said.starts_with("reverb-server: --database-url: this is no address of a database"),
            "{said}"
        );
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_table_from_before_may_2026_is_widened_when_that_is_asked_for() {
    in_runtime(async {
        let (url, mut conn) = php("plain-secret-of-shop").await;
        let narrow = "ALTER TABLE reverb_apps MODIFY app_secret VARCHAR(255) NOT NULL";
        conn.query_drop(narrow).await.expect("narrowed");
        let place = Place::new();
        place.write(".env", &env_of(&url));
        fn laravel<'a>(args: &[&'a str]) -> Vec<&'a str> {
            [args, &["--database-url", "laravel"]].concat()
        }
        let (code, said) = place.ends(&laravel(&["migrate", "--check"]));
        assert_eq!(code, 5, "{said}");
        place.succeeds(&laravel(&["migrate"]));
        let told = place.succeeds(&laravel(&["migrate", "--check"]));
        assert!(told.contains("The secrets of 2 apps are plain"), "{told}");
        let secret = "x".repeat(64);
        let change = ["app", "update", "app-shop", "--secret", &secret];
        let (code, said) = place.ends(&laravel(&change));
        assert_eq!(code, 1);
        assert!(
            said.contains("reverb-server migrate --widen-secrets"),
            "{said}"
        );
        let done = place.succeeds(&laravel(&["migrate", "--widen-secrets", "--seal-secrets"]));
        assert!(
            done.contains("app_secret is a TEXT now") && done.contains("anew: 2."),
            "{done}"
        );
        place.succeeds(&laravel(&change));
        let stored: Option<String> = conn
            .query_first("SELECT app_secret FROM reverb_apps WHERE app_id = 'app-shop'")
            .await
            .expect("a row");
        let keys = LaravelKeys::new(APP_KEY, "").expect("a key");
        assert_eq!(
            keys.decrypt(&stored.expect("a row")),
            Ok(Some(secret.clone()))
        );
    });
}

/// How long the database is away; `REVERB_OUTAGE_SECONDS` makes it longer.
fn outage() -> Duration {
    let seconds = std::env::var("REVERB_OUTAGE_SECONDS").ok();
    Duration::from_secs(
        seconds
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(8),
    )
}

#[test]
fn while_the_database_is_away_known_apps_are_served_and_no_client_gives_up() {
    let mut database = mariadb::Server::start(&[]);
    let url = in_runtime(mariadb::database_of(&database.url));
    let place = Place::new();
    let flags = ["--database-url", url.as_str()];
    for n in ["1", "2", "3"] {
        let (key, secret) = (format!("key-{n}"), "secret-of-all");
        let create = [
            "app", "create", "--id", n, "--key", &key, "--secret", secret,
        ];
        place.succeeds(&[&create, flags.as_slice()].concat());
    }
    let server = place.start(&flags);
    let mut client = server.knock("key-1");
    client.hears("connection_established");
    let published = AtomicU32::new(0);
    let publish_all = |id| {
        let answer = publish(server.address(), id);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        published.fetch_add(1, Ordering::AcqRel);
    };
    publish_all(1);
    publish_all(2);
    database.order("KILL");
    let (start, mut longest) = (SystemClock.now(), Duration::ZERO);
    while SystemClock.now() - start < outage() {
        let asked = SystemClock.now();
        publish_all(1);
        publish_all(2);
        longest = longest.max(SystemClock.now() - asked);
        let mut newcomer = server.knock("key-2");
        newcomer.hears("connection_established");
    }
    // Whether there is such an app nobody knows now: 4001 would end it for good.
    for key in ["key-3", "no-such-key"] {
        let mut unknown = server.knock(key);
        unknown.hears("4100");
        assert!(!unknown.has_heard("4001"));
    }
    let (code, said) = place.ends(&[&["app", "list"], flags.as_slice()].concat());
    assert_eq!(code, 1);
    assert!(said.contains("cannot use the database"), "{said}");
    database.order("start");
    let back = SystemClock.now();
    waits_until("the apps can be looked up again", || {
        let mut client = server.knock("key-3");
        client.hears("\"event\":\"pusher:");
        client.has_heard("connection_established")
    });
    println!(
        "{} publishes in {:?} without the database, the longest pair {longest:?}; back after {:?}",
        published.load(Ordering::Acquire),
        back - start,
        SystemClock.now() - back
    );
    place.succeeds(&[&["app", "deactivate", "1"], flags.as_slice()].concat());
    client.hears("4003");
}
