//! Secrets: encrypted by Laravel, plain, under another key, sealed by us, or too long for their column.

use reverb_core::app_store::{AppEditor, Keyring};
use reverb_core::protocol::{App, Secret};
use reverb_mysql::{LaravelKeys, MySql, Secrets};

use crate::product::{KEY, OTHER_KEY, Php, find, keys, laravel, wrong};

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
