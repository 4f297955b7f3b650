//! In a database of the PHP product, in the states that its migrations have left it in.

use std::sync::Arc;

use reverb_mysql::mysql_async::prelude::Queryable;
use reverb_mysql::mysql_async::{Conn, Row};
use reverb_mysql::{MySql, OpenError};
use reverb_server::panel::store::{MySqlPanel, NewUser, PanelError, PanelStore};
use reverb_server::password;

use crate::contract::{
    HASH, NOW, Store, at, change, found, hash, is_last_active, log_in, make, other_hash, promises,
};
use crate::mariadb;
use crate::mysql::panel;

/// What the product's migrations make besides apps; of the one of October 2025 the rest is below.
const TABLES: [&str; 8] = [
    "CREATE TABLE migrations (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, migration VARCHAR(255) NOT NULL, batch INT NOT NULL)",
    APPS,
    "CREATE TABLE users (
         id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL, email VARCHAR(255) NOT NULL,
         email_verified_at TIMESTAMP NULL, password VARCHAR(255) NOT NULL, remember_token VARCHAR(100) NULL,
         created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, UNIQUE KEY users_email_unique (email)
     ) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci",
    "CREATE TABLE sessions (id VARCHAR(255) PRIMARY KEY, user_id BIGINT UNSIGNED NULL, ip_address VARCHAR(45) NULL,
         user_agent TEXT NULL, payload LONGTEXT NOT NULL, last_activity INT NOT NULL)",
    "CREATE TABLE cache (`key` VARCHAR(255) PRIMARY KEY, value MEDIUMTEXT NOT NULL, expiration INT NOT NULL)",
    "CREATE TABLE jobs (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, queue VARCHAR(255) NOT NULL, payload LONGTEXT NOT NULL)",
    "INSERT INTO sessions VALUES ('s', 1, '192.0.2.1', 'x', 'x', 1)",
    "INSERT INTO cache VALUES ('laravel:reverb:restart', 'i:1716200000;', 2000000000)",
];
const ACTIVE: [&str; 1] = [
    "ALTER TABLE users ADD COLUMN active TINYINT(1) NOT NULL DEFAULT 1 AFTER email_verified_at, ADD KEY users_active_index (active)",
];
const APPS: &str = "CREATE TABLE reverb_apps (
         id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL, app_id VARCHAR(255) NOT NULL,
         app_key VARCHAR(255) NOT NULL, app_secret TEXT NOT NULL, description TEXT NULL, is_active TINYINT(1) NOT NULL DEFAULT 1,
         max_connections INT NOT NULL DEFAULT 1000, allowed_origins JSON NULL, created_at TIMESTAMP NULL,
         updated_at TIMESTAMP NULL, UNIQUE KEY reverb_apps_app_id_unique (app_id), UNIQUE KEY reverb_apps_app_key_unique (app_key)
     ) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci";

/// A database as it was before October 2025.
async fn old() -> (String, Conn) {
    let url = mariadb::database().await;
    let mut conn = mariadb::connect(&url).await;
    run(&mut conn, &TABLES).await;
    (url, conn)
}

/// As it is since.
async fn new() -> (String, Conn) {
    let (url, mut conn) = old().await;
    run(&mut conn, &ACTIVE).await;
    (url, conn)
}

async fn run(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        conn.query_drop(*statement).await.expect("done");
    }
}

async fn store() -> Store {
    let (url, _) = new().await;
    let panel = panel(&url).await;
    assert!(panel.is_php());
    Arc::new(panel)
}

promises!(store());

async fn dump(conn: &mut Conn) -> String {
    let mut all = String::new();
    for table in ["migrations", "sessions", "cache", "jobs"] {
        let rows: Vec<Row> = conn
            .query(format!("SELECT * FROM {table}"))
            .await
            .expect("rows");
        all += &format!("{rows:?}");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_as_laravel_writes_it_and_what_is_its_own_stays() {
    let (url, mut conn) = new().await;
    let before = dump(&mut conn).await;
    let store: Store = Arc::new(panel(&url).await);
    let mut user = NewUser::new(
        "Ada",
        "Ada@Example.com",
        password::hash("password 1", 4).expect("a hash"),
    );
    user.verified = true;
    let ada = store.create_user(&user, &at(NOW)).await.expect("made");
    let texts = "SELECT name, email, CAST(email_verified_at AS CHAR), password, remember_token, CAST(created_at AS CHAR),
                        CAST(updated_at AS CHAR) FROM users";
    type Texts = (
        String,
        String,
        Option<String>,
        String,
        Option<String>,
        Option<String>,
        Option<String>,
    );
    let row: Option<Texts> = conn.query_first(texts).await.expect("a row");
    let (name, email, verified, stored, token, created, updated) = row.expect("a row");
    assert_eq!((name.as_str(), email.as_str()), ("Ada", "Ada@Example.com"));
    assert!(stored.starts_with("$2y$04$") && password::fits("password 1", &stored));
    let then = Some("2026-05-20 10:00:30".to_owned());
    assert_eq!(
        (verified, created, updated, token),
        (then.clone(), then.clone(), then, None)
    );

    let remember = "UPDATE users SET remember_token = 'remembered'";
    conn.query_drop(remember).await.expect("set");
    let set = store
        .set_password(ada.id, &other_hash("abcd"), None, &at(NOW + 60))
        .await;
    set.expect("set");
    let row: Option<Texts> = conn.query_first(texts).await.expect("a row");
    let (.., stored, token, created, updated) = row.expect("a row");
    assert_eq!(stored, other_hash("abcd").reveal());
    let token = token.expect("a token");
    assert!(token.len() == 60 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(created.as_deref(), Some("2026-05-20 10:00:30"));
    assert_eq!(updated.as_deref(), Some("2026-05-20 10:01:30"));
    make(&store, "bob").await;
    store.remove_user(ada.id, &at(NOW)).await.expect("removed");
    assert_eq!(dump(&mut conn).await, before);
    let ours: Option<u64> = conn
        .query_first("SELECT COUNT(*) FROM rp_panel_users")
        .await
        .expect("a number");
    assert_eq!(ours, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_october_2025_everybody_is_active_and_nobody_can_be_deactivated() {
    let (url, mut conn) = old().await;
    let store: Store = Arc::new(panel(&url).await);
    let ada = make(&store, "ada").await;
    assert!(ada.active && is_last_active(&store.remove_user(ada.id, &at(NOW)).await));
    let off = change(|change| change.active = Some(false));
    let on = change(|change| change.active = Some(true));
    let refused = store
        .update_user(ada.id, &off, &at(NOW))
        .await
        .expect_err("no column");
    assert!(
        matches!(refused, PanelError::NoColumn) && refused.to_string().contains("artisan migrate")
    );
    store
        .update_user(ada.id, &on, &at(NOW))
        .await
        .expect("it is so");
    let mut bob = NewUser::new("bob", "bob@example.com", hash(HASH));
    bob.active = false;
    let refused = store.create_user(&bob, &at(NOW)).await;
    assert!(matches!(refused, Err(PanelError::NoColumn)));
    bob.active = true;
    let bob = store.create_user(&bob, &at(NOW)).await.expect("made");
    store
        .remove_user(bob.id, &at(NOW))
        .await
        .expect("ada is active");
    // The product's own migration, while we are at work.
    run(&mut conn, &ACTIVE).await;
    make(&store, "eve").await;
    let ada = store
        .update_user(ada.id, &off, &at(NOW))
        .await
        .expect("there is a column now");
    assert!(!ada.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_panel_changes_holds_here_at_once() {
    let (url, mut conn) = new().await;
    let store: Store = Arc::new(panel(&url).await);
    let (ada, bob) = (make(&store, "ada").await, make(&store, "bob").await);
    let [one, two] = [
        log_in(&store, &ada, "1", NOW).await,
        log_in(&store, &bob, "2", NOW).await,
    ];
    let off = format!("UPDATE users SET active = 0 WHERE id = {}", ada.id);
    conn.query_drop(off).await.expect("changed");
    let (_, user) = found(&store, &one).await.expect("it is there");
    assert!(!user.active);
    assert!(is_last_active(&store.remove_user(bob.id, &at(NOW)).await));
    // Another password ends the session, and so does another user who got the same number.
    let other = other_hash("abcd");
    let set = format!(
        "UPDATE users SET password = '{}' WHERE id = {}",
        other.reveal(),
        ada.id
    );
    conn.query_drop(set).await.expect("changed");
    assert_eq!(found(&store, &one).await, None);
    assert!(store.sessions_of(ada.id).await.expect("a list").is_empty());
    let gone = format!("DELETE FROM users WHERE id = {}", bob.id);
    conn.query_drop(gone).await.expect("removed");
    assert_eq!(found(&store, &two).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_all_ages_are_read() {
    let (url, mut conn) = new().await;
    run(
        &mut conn,
        &[
            "SET sql_mode = ''",
            "INSERT INTO users (id, name, email, email_verified_at, active, password, created_at) VALUES
                 (1, 'Zoë', 'zoë@example.com', '0000-00-00 00:00:00', 1, 'plain', NULL),
                 (18446744073709551000, '', '', NULL, 5, '', '2026-05-20 10:00:30')",
        ],
    )
    .await;
    let store: Store = Arc::new(panel(&url).await);
    let users = store.users(0, 10).await.expect("a list");
    assert_eq!(users.len(), 2);
    let zoe = &users[0];
    assert_eq!(
        (zoe.verified_at, zoe.created, zoe.active),
        (None, None, true)
    );
    assert!(!password::fits("plain", zoe.password.reveal()));
    assert_eq!(
        (users[1].id, users[1].created),
        (18_446_744_073_709_551_000, Some(NOW))
    );
    // Its collation takes these two for the same; whoever logs in must not.
    assert_eq!(
        store
            .user_by_email("zoe@example.com")
            .await
            .expect("an answer"),
        None
    );
    assert!(
        store
            .user_by_email("ZOë@example.com")
            .await
            .expect("an answer")
            .is_some()
    );
    let taken = store
        .create_user(
            &NewUser::new("Zoe", "zoe@example.com", hash(HASH)),
            &at(NOW),
        )
        .await;
    assert!(matches!(taken, Err(PanelError::Taken(_))));
    // What would not be taken today may stay, and what is not changed is not written.
    let name = change(|change| {
        change.name = Some("Zoë L".to_owned());
        change.email = Some("zoë@example.com".to_owned());
    });
    let after = store
        .update_user(1, &name, &at(NOW))
        .await
        .expect("changed");
    assert_eq!(
        (after.name.as_str(), after.email.as_str()),
        ("Zoë L", "zoë@example.com")
    );
    let verified: Option<String> = conn
        .query_first("SELECT CAST(email_verified_at AS CHAR) FROM users WHERE id = 1")
        .await
        .expect("a row");
    assert_eq!(verified.as_deref(), Some("0000-00-00 00:00:00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_utc_whatever_the_servers_time_zone_and_its_summer_time() {
    // By its rule of 2026 the hour from 2:00 to 3:00 on 29 March is left out there.
    let server = tokio::task::spawn_blocking(|| mariadb::start(&["--default-time-zone=+00:00"]));
    let server = server.await.expect("a server");
    let mut root = mariadb::connect(&server).await;
    zone(&mut root).await;
    root.query_drop("SET GLOBAL time_zone = 'Test/Summer'")
        .await
        .expect("set");
    let url = mariadb::database_of(&server).await;
    let mut conn = mariadb::connect(&url).await;
    run(&mut conn, &TABLES).await;
    run(&mut conn, &ACTIVE).await;
    let store: Store = Arc::new(panel(&url).await);
    let ada = make(&store, "ada").await;
    let text: Option<String> = conn
        .query_first("SELECT CAST(created_at AS CHAR) FROM users")
        .await
        .expect("a row");
    assert_eq!(text.as_deref(), Some("2026-05-20 10:00:30"));
    assert_eq!(ada.created, Some(NOW));
    let left_out = 1_774_751_400; // 2026-03-29 02:30 UTC
    let verified = change(|change| change.verified = Some(true));
    let after = store
        .update_user(ada.id, &verified, &at(left_out))
        .await
        .expect("changed");
    assert_eq!(after.verified_at, Some(left_out + 3600));
    assert_eq!(store.user(ada.id).await.expect("an answer"), Some(after));
}

/// A time zone with summer time in 2026.
async fn zone(root: &mut Conn) {
    run(
        root,
        &[
            "INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (900, 'N')",
            "INSERT INTO mysql.time_zone_name VALUES ('Test/Summer', 900)",
            "INSERT INTO mysql.time_zone_transition_type VALUES (900, 0, 3600, 0, 'CET'), (900, 1, 7200, 1, 'CEST')",
            "INSERT INTO mysql.time_zone_transition VALUES (900, 1761440400, 0), (900, 1774746000, 1), (900, 1792890000, 0)",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_of_another_laravel_application_are_none_of_ours() {
    let is_php = |url: String| async move {
        let database = MySql::open(&url).await.expect("it opens");
        MySqlPanel::open(database).await.expect("a panel").is_php()
    };
    // It has no reverb_apps: that table is there because we have made it.
    let (url, mut conn) = new().await;
    run(&mut conn, &["DROP TABLE reverb_apps"]).await;
    assert!(!is_php(url.clone()).await);
    assert!(!is_php(url).await);
    let (url, mut conn) = new().await;
    run(&mut conn, &["ALTER TABLE users DROP COLUMN remember_token"]).await;
    assert!(!is_php(url).await);
}

const TO_PHP: &str =
    "ALTER TABLE reverb_apps CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci";
const TO_OURS: &str =
    "ALTER TABLE reverb_apps CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

#[tokio::test(flavor = "multi_thread")]
async fn whose_the_users_are_is_decided_once() {
    // The database of another application, with a customer.
    let (url, mut conn) = new().await;
    let customer = format!(
        "INSERT INTO users (name, email, password) VALUES ('Eve', 'eve@example.com', '{HASH}')"
    );
    run(&mut conn, &["DROP TABLE reverb_apps", &customer]).await;
    assert!(!panel(&url).await.is_php());
    run(&mut conn, &[TO_PHP]).await;
    let store = panel(&url).await;
    assert!(!store.is_php());
    let eve = store.user_by_email("eve@example.com").await;
    assert_eq!(eve.expect("an answer"), None);
    // Nor does the product's become another one.
    let (url, mut conn) = new().await;
    assert!(panel(&url).await.is_php());
    run(&mut conn, &[TO_OURS]).await;
    assert!(panel(&url).await.is_php());
    // Whoever runs the database can say otherwise.
    let ours = "UPDATE rp_panel_guard SET users_table = 'rp_panel_users'";
    run(&mut conn, &[ours, TO_PHP]).await;
    assert!(!panel(&url).await.is_php());
    // A row that has gone is made again.
    run(&mut conn, &["DELETE FROM rp_panel_guard"]).await;
    assert!(panel(&url).await.is_php());
    run(&mut conn, &[TO_OURS]).await;
    assert!(panel(&url).await.is_php());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_whose_table_has_gone_are_missed_at_once() {
    let (url, mut conn) = new().await;
    panel(&url).await;
    let refused = || async {
        let database = MySql::open(&url).await.expect("the apps are as they were");
        let refused = MySqlPanel::open(database).await.expect_err("refused");
        assert!(matches!(refused, OpenError::Own(_)), "{refused:?}");
        refused.to_string()
    };
    run(&mut conn, &["RENAME TABLE users TO gone"]).await;
    let told = refused().await;
    let remedy = "UPDATE rp_panel_guard SET users_table = 'rp_panel_users'";
    assert!(
        told.contains("its table users has gone") && told.contains(remedy),
        "{told}"
    );
    run(&mut conn, &["RENAME TABLE gone TO users"]).await;
    assert!(panel(&url).await.is_php());
    run(&mut conn, &["DROP TABLE users", remedy]).await;
    assert!(!panel(&url).await.is_php());
    let other = "UPDATE rp_panel_guard SET users_table = 'Users'";
    run(&mut conn, &[other]).await;
    let told = refused().await;
    assert!(told.contains("\"Users\""), "{told}");
}
