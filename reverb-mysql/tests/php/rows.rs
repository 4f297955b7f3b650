//! What its rows mean here.

use reverb_core::app_store::{AppEditor, AppRow, AppStore, EditError, Keyring};
use reverb_core::protocol::App;
use reverb_mysql::{LaravelKeys, Secrets};

use crate::product::{KEY, OTHER_KEY, Php, find, keys, laravel, wrong};

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
    let is_sealed = |row: &AppRow| row.app.as_ref().is_err_and(|corrupt| corrupt.is_sealed);
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
        assert!(apps.row_of(id).await.expect("an answer").is_none());
    }
    let same = App::new("APP-1", "key-2", "secret").expect("an app");
    assert!(matches!(
        apps.create(same).await,
        Err(EditError::Taken { field: "id", .. })
    ));
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
