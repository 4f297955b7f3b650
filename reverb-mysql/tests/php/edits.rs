//! What its panel changes, and what becomes of that here.

use reverb_core::app_store::{AppEditor, AppStore, EditError};
use reverb_core::protocol::{OldSecret, Secret};

use crate::product::{Php, find, keys, laravel, these, told};

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
