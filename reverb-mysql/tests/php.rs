//! A database of the PHP product, in each of its historical states, and both at work in it.

mod support;

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params};
use reverb_core::app_store::{
    AppChanges, AppEditor, AppStore, Changed, EditError, Keyring, Listed, StoreError,
};
use reverb_core::protocol::{App, OldSecret, Secret};
use reverb_mysql::{EnforceMaxConnections, LaravelKeys, MySql, MySqlApps, Secrets};

const KEY: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "base64:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// The table as the product's migrations leave it. Since May 2026 secrets are a TEXT; before, a VARCHAR(255).
const TABLE: &str = "CREATE TABLE reverb_apps (
    id bigint unsigned NOT NULL AUTO_INCREMENT,
    name varchar(255) COLLATE utf8mb4_unicode_ci NOT NULL,
    app_id varchar(255) COLLATE utf8mb4_unicode_ci NOT NULL,
    app_key varchar(255) COLLATE utf8mb4_unicode_ci NOT NULL,
    app_secret SECRET COLLATE utf8mb4_unicode_ci NOT NULL,
    description text COLLATE utf8mb4_unicode_ci DEFAULT NULL,
    is_active tinyint(1) NOT NULL DEFAULT 1,
    max_connections int(11) NOT NULL DEFAULT 1000,
    allowed_origins longtext COLLATE utf8mb4_bin DEFAULT NULL,
    created_at timestamp NULL DEFAULT NULL,
    updated_at timestamp NULL DEFAULT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY reverb_apps_app_id_unique (app_id),
    UNIQUE KEY reverb_apps_app_key_unique (app_key),
    KEY reverb_apps_app_id_is_active_index (app_id, is_active)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci";

fn keys() -> LaravelKeys {
    LaravelKeys::new(KEY, "").expect("a key")
}

fn laravel() -> Secrets {
    Secrets::Laravel(keys(), None)
}

/// The PHP product's side of a database.
struct Php {
    conn: Conn,
    url: String,
}

impl Php {
    async fn new() -> Self {
        Self::with("text").await
    }

    async fn with(secret: &str) -> Self {
        let url = support::database().await;
        let mut conn = support::connect(&url).await;
        let table = TABLE.replace("SECRET", secret);
        conn.query_drop(table).await.expect("a table");
        Self { conn, url }
    }

    async fn run(&mut self, sql: &str, params: impl Into<Params> + Send) {
        self.conn.exec_drop(sql, params.into()).await.expect(sql);
    }

    /// An app that its panel has made.
    async fn app(&mut self, n: u32, secret: &str) {
        let insert = "INSERT INTO reverb_apps (name, app_id, app_key, app_secret, allowed_origins, created_at, updated_at)
            VALUES (?, ?, ?, ?, '[\"*\"]', '2026-05-20 10:00:30', '2026-05-20 10:00:30')";
        let values = (
            format!("App {n}"),
            format!("app-{n}"),
            format!("key-{n}"),
            secret,
        );
        self.run(insert, values).await;
    }

    async fn value<T: mysql_async::prelude::FromValue + Send + 'static>(&mut self, sql: &str) -> T {
        let value: Option<T> = self.conn.query_first(sql).await.expect(sql);
        value.expect("a row")
    }

    async fn apps(&self, secrets: Secrets) -> MySqlApps {
        MySql::open(&self.url)
            .await
            .expect("it opens")
            .apps(secrets)
    }
}

async fn find(apps: &MySqlApps, n: u32) -> App {
    let found = apps
        .find_by_id(&format!("app-{n}"))
        .await
        .expect("an answer");
    App::clone(&found.expect("the app"))
}

async fn wrong(apps: &MySqlApps, n: u32) -> String {
    match apps.find_by_id(&format!("app-{n}")).await {
        Err(StoreError::Corrupt(corrupt)) => corrupt.reason,
        other => panic!("it is stored wrongly, not {other:?}"),
    }
}

async fn told(apps: &MySqlApps, revision: u64) -> (BTreeSet<String>, u64) {
    let changes = apps.changes_since(revision).await.expect("an answer");
    let Changed::These(ids) = changes.apps else {
        panic!("it is known what has changed");
    };
    (
        ids.iter().map(ToString::to_string).collect(),
        changes.revision,
    )
}

fn these(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_apps_are_there_whatever_state_they_are_in() {
    let mut php = Php::new().await;
    php.app(1, &keys().encrypt("secret-of-app-1")).await;
    php.app(2, "plain-secret-of-2").await;
    let older = LaravelKeys::new(OTHER_KEY, "").expect("a key");
    php.app(3, &older.encrypt("secret-of-app-3")).await;
    php.app(
        4,
        &Keyring::parse(&Keyring::generate())
            .expect("a key")
            .seal("app-4", "x"),
    )
    .await;
    php.run("UPDATE reverb_apps SET description = 'It\\'s', is_active = 0, max_connections = 7 WHERE id = 2", ()).await;

    let apps = php.apps(laravel()).await;
    let first = find(&apps, 1).await;
    assert_eq!(
        (first.secret.reveal(), first.name.as_str()),
        ("secret-of-app-1", "App 1")
    );
    assert_eq!(
        (first.key.as_str(), first.max_connections),
        ("key-1", Some(1000))
    );
    assert!(first.active && first.allowed_origins.allow(None));
    let second = find(&apps, 2).await;
    assert_eq!(
        (second.secret.reveal(), second.description.as_str()),
        ("plain-secret-of-2", "It's")
    );
    assert_eq!((second.active, second.max_connections), (false, Some(7)));
    assert!(wrong(&apps, 3).await.contains("another APP_KEY"));
    assert!(
        wrong(&apps, 4)
            .await
            .contains("a key that is not configured")
    );
    let listed = apps.list(None, 10).await.expect("a list");
    let is_sealed = |listed: &Listed| listed.as_ref().is_err_and(|corrupt| corrupt.is_sealed);
    let sealed: Vec<bool> = listed.iter().map(is_sealed).collect();
    assert_eq!(
        sealed,
        [false, false, true, true],
        "one that cannot be read concerns no other"
    );

    let previous = LaravelKeys::new(KEY, OTHER_KEY).expect("keys");
    let apps = php.apps(Secrets::Laravel(previous, None)).await;
    assert_eq!(find(&apps, 3).await.secret.reveal(), "secret-of-app-3");
    let row = apps
        .row_of("app-1")
        .await
        .expect("an answer")
        .expect("the row");
    assert_eq!((row.number, row.created), (1, Some(1_779_271_230)));
    // Nothing of what was there has been touched.
    let hash = php
        .value::<u64>("SELECT COUNT(*) FROM reverb_apps WHERE updated_at = '2026-05-20 10:00:30'");
    assert_eq!(hash.await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_app_key_what_laravel_has_encrypted_cannot_be_read() {
    let mut php = Php::new().await;
    php.app(1, &keys().encrypt("secret")).await;
    php.app(2, "plain-secret").await;
    let keyring = Keyring::parse(&Keyring::generate()).expect("a key");
    let apps = php.apps(Secrets::Sealed(keyring.clone())).await;
    assert!(wrong(&apps, 1).await.contains("there is no APP_KEY"));
    let plain = find(&apps, 2).await;
    apps.save(plain).await.expect("saved");
    let stored: String = php
        .value("SELECT app_secret FROM reverb_apps WHERE id = 2")
        .await;
    assert!(stored.starts_with("aes256gcm:"));
    let both = php.apps(Secrets::Laravel(keys(), Some(keyring))).await;
    for n in [1, 2] {
        assert!(find(&both, n).await.secret.reveal().ends_with("secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_mean_what_they_meant_there() {
    let mut php = Php::new().await;
    let apps = php.apps(laravel()).await;
    let cases: [(Option<&str>, &str); 7] = [
        (None, "nobody"),
        (Some("null"), "nobody"),
        (Some("[]"), "nobody"),
        (Some(r#"["shop.test","*.shop.test"]"#), "shop"),
        (Some(r#"{"0":"shop.test","3":"*.shop.test"}"#), "shop"),
        (Some(r#"["*"]"#), "all"),
        (Some("["), "broken"),
    ];
    for (n, (origins, who)) in (1..).zip(cases) {
        php.app(n, "plain").await;
        php.run(
            "UPDATE reverb_apps SET allowed_origins = ? WHERE id = ?",
            (origins, n),
        )
        .await;
        if who == "broken" {
            assert!(wrong(&apps, n).await.contains("allowed_origins is no JSON"));
            continue;
        }
        let allowed = find(&apps, n).await.allowed_origins;
        let lets_in = [
            None,
            Some("https://a.shop.test"),
            Some("https://other.test"),
        ]
        .map(|origin| allowed.allow(origin));
        let expected = match who {
            "all" => [true; 3],
            "shop" => [false, true, false],
            _ => [false; 3],
        };
        assert_eq!(lets_in, expected, "{origins:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_panel_changes_is_told_and_in_force() {
    let mut php = Php::new().await;
    php.app(1, &keys().encrypt("secret")).await;
    php.app(2, &keys().encrypt("secret")).await;
    let apps = php.apps(laravel()).await;
    let other_node = php.apps(laravel()).await;
    let (all, now) = told(&apps, 0).await;
    assert_eq!(all, these(&["app-1", "app-2"]));
    assert_eq!(
        told(&other_node, 0).await.1,
        now,
        "what one node has found the other need not"
    );
    let held = apps
        .find_by_id("app-1")
        .await
        .expect("an answer")
        .expect("the app");

    // The same second, the same number of rows: neither count nor updated_at tell.
    let mut now = now;
    for change in [
        "name = 'Shop'",
        "app_key = 'key-9'",
        "is_active = 0",
        "is_active = 1",
        "max_connections = 5",
        "description = ''",
        "description = 'x'",
        "description = NULL",
        "allowed_origins = '[\"a.test\"]'",
        "allowed_origins = NULL",
        "app_secret = 'plain'",
    ] {
        php.run(&format!("UPDATE reverb_apps SET {change} WHERE id = 1"), ())
            .await;
        let (changed, then) = told(&other_node, now).await;
        assert_eq!(changed, these(&["app-1"]), "{change}");
        assert_eq!(told(&apps, now).await, (changed, then), "{change}");
        assert!(then > now);
        now = then;
    }
    let app = find(&apps, 1).await;
    assert!(app.revision > held.revision);
    assert_eq!(
        (app.name.as_str(), app.key.as_str(), app.secret.reveal()),
        ("Shop", "key-9", "plain")
    );
    php.run(
        "UPDATE reverb_apps SET updated_at = UTC_TIMESTAMP() WHERE id = 1",
        (),
    )
    .await;
    assert!(
        told(&apps, now).await.0.is_empty(),
        "that alone is no change"
    );
    php.run("UPDATE reverb_apps SET app_id = 'app-7' WHERE id = 1", ())
        .await;
    let (changed, now) = told(&apps, now).await;
    assert_eq!(changed, these(&["app-1", "app-7"]));
    php.run("DELETE FROM reverb_apps WHERE id = 2", ()).await;
    php.app(3, "plain").await;
    let (changed, now) = told(&apps, now).await;
    assert_eq!(changed, these(&["app-2", "app-3"]));
    assert!(told(&apps, now).await.0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_found_by_who_looks_the_app_up_before_it_is_told() {
    let mut php = Php::new().await;
    php.app(1, "plain").await;
    let apps = php.apps(laravel()).await;
    let before = find(&apps, 1).await;
    php.run("UPDATE reverb_apps SET name = 'Shop' WHERE id = 1", ())
        .await;
    let after = find(&apps, 1).await;
    assert_eq!(after.name, "Shop");
    assert!(after.revision > before.revision);
    // And who has read it before does not overwrite it.
    let refused = apps.save(before).await.expect_err("it was changed");
    assert!(matches!(refused, EditError::Outdated { .. }));
    php.app(2, "plain").await;
    assert!(
        apps.find_by_key("key-2")
            .await
            .expect("an answer")
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_write_can_be_read_there() {
    let mut php = Php::new().await;
    php.app(1, &keys().encrypt("secret-of-app-1")).await;
    let apps = php.apps(laravel()).await;
    let mut app = find(&apps, 1).await;
    let before: String = php
        .value("SELECT app_secret FROM reverb_apps WHERE id = 1")
        .await;
    app.name = "Shop".to_owned();
    app.allowed_origins = reverb_core::protocol::Origins::new(["shop.test"]);
    let saved = apps.save(app).await.expect("saved");
    let after: String = php
        .value("SELECT app_secret FROM reverb_apps WHERE id = 1")
        .await;
    assert_eq!(before, after, "a secret that stays is not encrypted anew");
    let mut app = App::clone(&saved);
    app.rotate_secret(
        Secret::new("another-secret-of-1").expect("a secret"),
        Some(4_000_000_000),
    );
    apps.save(app).await.expect("saved");
    let stored: String = php
        .value("SELECT app_secret FROM reverb_apps WHERE id = 1")
        .await;
    assert_eq!(
        keys().decrypt(&stored).expect("ours").as_deref(),
        Some("another-secret-of-1")
    );

    let new = App::new("app-9", "key-9", "secret-of-app-9").expect("an app");
    apps.create(new).await.expect("created");
    type Written = (String, Option<String>, bool, i64, Option<String>);
    let row: Option<Written> = php
        .conn
        .query_first("SELECT name, description, is_active, max_connections, allowed_origins FROM reverb_apps WHERE app_id = 'app-9'")
        .await
        .expect("a row");
    assert_eq!(
        row,
        Some((String::new(), None, true, 1000, Some(r#"["*"]"#.to_owned())))
    );
    let dated: u64 = php
        .value("SELECT COUNT(*) FROM reverb_apps WHERE ABS(TIMESTAMPDIFF(SECOND, updated_at, UTC_TIMESTAMP())) < 60")
        .await;
    assert_eq!(dated, 2);
    let dated: u64 = php
        .value("SELECT COUNT(*) FROM reverb_apps WHERE created_at > '2026-06-01'")
        .await;
    assert_eq!(dated, 1, "when it was made stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_its_panel_replaces_leaves_no_old_one_and_one_encrypted_anew_does() {
    let mut php = Php::new().await;
    php.app(1, &keys().encrypt("first-secret")).await;
    let apps = php.apps(laravel()).await;
    let mut app = find(&apps, 1).await;
    app.limits.event_bytes = 777;
    app.rotate_secret(
        Secret::new("second-secret").expect("a secret"),
        Some(4_000_000_000),
    );
    apps.save(app).await.expect("saved");
    let set = "UPDATE reverb_apps SET app_secret = ? WHERE id = 1";
    php.run(set, (keys().encrypt("second-secret"),)).await;
    let app = find(&apps, 1).await;
    let old = app.old_secret.expect("it is still accepted");
    assert_eq!(old.secret.reveal(), "first-secret");
    php.run(set, (keys().encrypt("third-secret"),)).await;
    let app = find(&apps, 1).await;
    assert!(app.old_secret.is_none(), "it was replaced without overlap");
    assert_eq!(
        (app.secret.reveal(), app.limits.event_bytes),
        ("third-secret", 777)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_takes_the_number_of_another_inherits_nothing() {
    let mut php = Php::new().await;
    php.app(1, "first-secret").await;
    let apps = php.apps(laravel()).await;
    let mut app = find(&apps, 1).await;
    app.limits.event_bytes = 777;
    app.max_connections = None;
    app.old_secret = Some(OldSecret::new(
        Secret::new("old").expect("a secret"),
        4_000_000_000,
    ));
    apps.save(app).await.expect("saved");
    php.run("DELETE FROM reverb_apps WHERE id = 1", ()).await;
    php.run("ALTER TABLE reverb_apps AUTO_INCREMENT = 1", ())
        .await;
    php.app(2, "other-secret").await;
    assert_eq!(php.value::<u64>("SELECT id FROM reverb_apps").await, 1);
    let app = find(&apps, 2).await;
    assert_eq!(
        (app.limits.event_bytes, app.max_connections),
        (10_240, Some(1000))
    );
    assert!(app.old_secret.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_nobody_enforced_is_enforced_once_the_app_is_changed_here() {
    let mut php = Php::new().await;
    php.app(1, "plain").await;
    let apps = php.apps(laravel()).await;
    let app = find(&apps, 1).await;
    assert_eq!(
        (app.max_connections, app.enforce_max_connections),
        (Some(1000), false)
    );
    let always = apps.clone().enforce(EnforceMaxConnections::Always);
    assert!(find(&always, 1).await.enforce_max_connections);
    let saved = apps.save(app).await.expect("saved");
    assert!(saved.enforce_max_connections && find(&apps, 1).await.enforce_max_connections);

    // No limit is something that its table cannot say.
    let mut app = App::clone(&saved);
    app.max_connections = None;
    apps.save(app).await.expect("saved");
    assert_eq!(find(&apps, 1).await.max_connections, None);
    assert_eq!(
        php.value::<i64>("SELECT max_connections FROM reverb_apps")
            .await,
        1000
    );
    php.run("UPDATE reverb_apps SET max_connections = 20", ())
        .await;
    assert_eq!(
        find(&apps, 1).await.max_connections,
        Some(20),
        "the panel has the last word"
    );
    php.run("UPDATE reverb_apps SET max_connections = -1", ())
        .await;
    assert!(wrong(&apps, 1).await.contains("max_connections is -1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_secrets_are_encrypted_when_that_is_asked_for_and_nothing_else_changes() {
    let mut php = Php::new().await;
    php.app(1, "plain-secret").await;
    php.app(2, &keys().encrypt("secret-of-app-2")).await;
    let older = LaravelKeys::new(OTHER_KEY, "").expect("a key");
    php.app(3, &older.encrypt("secret-of-app-3")).await;
    let both = LaravelKeys::new(KEY, OTHER_KEY).expect("keys");
    let apps = php.apps(Secrets::Laravel(both, None)).await;
    assert_eq!(apps.seal_secrets(true).await.expect("counted"), 2);
    assert_eq!(apps.seal_secrets(false).await.expect("sealed"), 2);
    assert_eq!(apps.seal_secrets(true).await.expect("counted"), 0);
    for (n, secret) in [
        (1, "plain-secret"),
        (2, "secret-of-app-2"),
        (3, "secret-of-app-3"),
    ] {
        let stored = format!("SELECT app_secret FROM reverb_apps WHERE id = {n}");
        let stored: String = php.value(&stored).await;
        assert_eq!(
            keys()
                .decrypt(&stored)
                .expect("by the key of today")
                .as_deref(),
            Some(secret)
        );
        let app = find(&apps, n).await;
        assert_eq!(
            (app.secret.reveal(), app.enforce_max_connections),
            (secret, false)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_emptied_and_filled_again_has_lost_nothing() {
    let mut php = Php::new().await;
    php.app(1, "plain-secret").await;
    let apps = php.apps(laravel()).await;
    let mut app = find(&apps, 1).await;
    app.force_tls = true;
    app.max_connections = None;
    app.rotate_secret(
        Secret::new("second-secret").expect("a secret"),
        Some(4_000_000_000),
    );
    let saved = apps.save(app).await.expect("saved");
    php.run("CREATE TABLE dump AS SELECT * FROM reverb_apps", ())
        .await;
    php.run("DELETE FROM reverb_apps", ()).await;
    let (gone, now) = told(&apps, saved.revision).await;
    assert_eq!(gone, these(&["app-1"]));
    assert!(apps.find_by_id("app-1").await.expect("an answer").is_none());
    assert!(
        apps.find_by_key("key-1")
            .await
            .expect("an answer")
            .is_none()
    );
    php.run("INSERT INTO reverb_apps SELECT * FROM dump", ())
        .await;
    assert_eq!(told(&apps, now).await.0, these(&["app-1"]));
    let app = find(&apps, 1).await;
    assert!(app.revision > saved.revision && app.force_tls);
    assert_eq!(app.max_connections, None);
    assert_eq!(
        app.old_secret.expect("still accepted").secret.reveal(),
        "plain-secret"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_very_many_rows_is_taken_in_by_and_by() {
    let mut php = Php::new().await;
    let fill = "INSERT INTO reverb_apps (name, app_id, app_key, app_secret)
        SELECT '', CONCAT('app-', seq), CONCAT('key-', seq), 'plain-secret' FROM seq_1_to_1000";
    php.run(fill, ()).await;
    let apps = php.apps(laravel()).await;
    let (all, now) = told(&apps, 0).await;
    assert_eq!(all.len(), 1000);
    php.run("UPDATE reverb_apps SET max_connections = 5", ())
        .await;
    assert_eq!(
        find(&apps, 700).await.max_connections,
        Some(5),
        "who asks for one need not wait for all"
    );
    assert_eq!(told(&apps, now).await.0.len(), 1000);
    php.run("DELETE FROM reverb_apps", ()).await;
    let (_, now) = told(&apps, 0).await;
    assert!(told(&apps, now).await.0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_app_that_is_wrong_otherwise_keeps_no_secret_plain() {
    let mut php = Php::new().await;
    for n in [1, 2] {
        php.app(n, "plain-secret").await;
    }
    php.run(
        "UPDATE reverb_apps SET max_connections = -1 WHERE id = 1",
        (),
    )
    .await;
    let apps = php.apps(laravel()).await;
    assert!(wrong(&apps, 1).await.contains("max_connections"));
    assert_eq!(apps.seal_secrets(false).await.expect("sealed"), 2);
    let plain = "SELECT COUNT(*) FROM reverb_apps WHERE app_secret = 'plain-secret'";
    assert_eq!(php.value::<u64>(plain).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_another_character_set_is_listed_too() {
    let mut php = Php::new().await;
    php.app(1, "plain-secret").await;
    php.run(
        "ALTER TABLE reverb_apps CONVERT TO CHARACTER SET utf8mb3",
        (),
    )
    .await;
    let apps = php.apps(laravel()).await;
    assert_eq!(apps.list(Some("app-0"), 10).await.expect("a list").len(), 1);
    apps.save(find(&apps, 1).await).await.expect("saved");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_hour_that_summer_time_leaves_out_apps_can_be_saved() {
    let server = tokio::task::spawn_blocking(|| support::start(&[]));
    let server = server.await.expect("a server");
    let mut conn = support::connect(&format!("{server}/mysql")).await;
    // A time zone in which it is always that hour, in which no time of day is.
    let zones = [
        "INSERT INTO time_zone_name VALUES ('Gap', 1)",
        "INSERT INTO time_zone (Time_zone_id, Use_leap_seconds) VALUES (1, 'N')",
        "INSERT INTO time_zone_transition_type VALUES (1, 0, 0, 0, 'A'), (1, 1, 3600, 1, 'B')",
        "INSERT INTO time_zone_transition SELECT 1, UNIX_TIMESTAMP() - 1800, 1",
        "INSERT INTO time_zone_transition VALUES (1, 0, 0)",
        "FLUSH TABLES",
        "SET GLOBAL time_zone = 'Gap'",
        "CREATE DATABASE php CHARACTER SET utf8mb4",
    ];
    for zone in zones {
        conn.query_drop(zone).await.expect(zone);
    }
    let url = format!("{server}/php");
    let conn = support::connect(&url).await;
    let mut php = Php { conn, url };
    php.run(
        "SET @@session.sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')",
        (),
    )
    .await;
    let apps = php.apps(laravel()).await;
    let app = App::new("1", "key", "secret").expect("an app");
    let refused = php.conn.query_drop("INSERT INTO reverb_apps (name, app_id, app_key, app_secret, created_at) VALUES ('', 'x', 'x', 'x', UTC_TIMESTAMP())");
    assert!(
        refused
            .await
            .expect_err("there is no such time")
            .to_string()
            .contains("1292")
    );
    apps.create(app).await.expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_too_short_is_named_with_the_remedy() {
    let mut php = Php::with("varchar(255)").await;
    php.app(1, "plain-secret").await;
    let apps = php.apps(laravel()).await;
    let mut app = find(&apps, 1).await;
    app.secret = Secret::new(&"x".repeat(32)).expect("a secret");
    let refused = apps.save(app.clone()).await.expect_err("256 characters");
    let said = refused.to_string();
    assert!(
        said.contains("migrate --widen-secrets") && said.contains("256 characters"),
        "{said}"
    );
    app.secret = Secret::new(&"x".repeat(31)).expect("a secret");
    let saved = apps.save(app).await.expect("it fits");
    let database = MySql::open(&php.url).await.expect("it opens");
    assert!(database.widen_secrets().await.expect("done"));
    assert!(!database.widen_secrets().await.expect("nothing to do"));
    let mut app = App::clone(&saved);
    app.secret = Secret::new(&"x".repeat(64)).expect("a secret");
    apps.save(app).await.expect("it fits now");
    assert_eq!(find(&apps, 1).await.secret.reveal().len(), 64);
    let mut app = find(&apps, 1).await;
    app.name = "x".repeat(256);
    let refused = apps.save(app).await.expect_err("too long").to_string();
    assert!(refused.contains("the name cannot be kept"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_told_apart_although_its_table_does_not() {
    let mut php = Php::new().await;
    php.app(1, "plain").await;
    let apps = php.apps(laravel()).await;
    for (id, key) in [
        ("APP-1", "KEY-1"),
        ("app-1 ", "key-1 "),
        ("\u{e0}pp-1", "k\u{e9}y-1"),
    ] {
        assert!(
            apps.find_by_id(id).await.expect("an answer").is_none(),
            "{id}"
        );
        assert!(
            apps.find_by_key(key).await.expect("an answer").is_none(),
            "{key}"
        );
        assert!(
            matches!(apps.remove(id).await, Err(EditError::Missing(_))),
            "{id}"
        );
        assert!(apps.last_use(id).await.expect("an answer").is_none());
    }
    let same = App::new("APP-1", "key-2", "secret").expect("an app");
    assert!(matches!(
        apps.create(same).await,
        Err(EditError::Taken { field: "id", .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_another_time_zone_reads_and_writes_the_same_times() {
    let server = tokio::task::spawn_blocking(|| support::start(&["--default-time-zone=+05:30"]));
    let server = server.await.expect("a server");
    let mut conn = support::connect(&server).await;
    conn.query_drop("CREATE DATABASE php CHARACTER SET utf8mb4")
        .await
        .expect("made");
    let url = format!("{server}/php");
    let mut conn = support::connect(&url).await;
    conn.query_drop(TABLE.replace("SECRET", "text"))
        .await
        .expect("a table");
    let mut php = Php { conn, url };
    php.app(1, "plain").await;
    let apps = php.apps(laravel()).await;
    let row = apps
        .row_of("app-1")
        .await
        .expect("an answer")
        .expect("the row");
    assert_eq!(row.created, Some(1_779_271_230));
    apps.save(find(&apps, 1).await).await.expect("saved");
    let age: i64 = php
        .value("SELECT TIMESTAMPDIFF(SECOND, updated_at, UTC_TIMESTAMP()) FROM reverb_apps")
        .await;
    assert!((0..60).contains(&age), "{age}");
    assert_eq!(
        php.value::<String>("SELECT @@session.time_zone").await,
        "+05:30"
    );
}
