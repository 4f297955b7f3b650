//! What we write, and how its panel and its server read it.

use mysql_async::prelude::Queryable;
use reverb_core::app_store::AppEditor;
use reverb_core::protocol::{App, Secret};
use reverb_mysql::EnforceMaxConnections;

use crate::product::{Php, find, keys, laravel, wrong};

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
