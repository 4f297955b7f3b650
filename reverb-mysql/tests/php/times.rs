//! Database servers that live in other time zones.

use mysql_async::prelude::Queryable;
use reverb_core::app_store::AppEditor;
use reverb_core::protocol::App;

use crate::product::{Php, find, laravel};
use crate::support;

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
async fn a_server_in_another_time_zone_reads_and_writes_the_same_times() {
    let server = tokio::task::spawn_blocking(|| support::start(&["--default-time-zone=+05:30"]));
    let server = server.await.expect("a server");
    let mut php = Php::at(support::database_of(&server).await, "text").await;
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
