//! The PHP product's side: its table, its secrets, and what its panel does to them; and what we then find.

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params};
use reverb_core::app_store::{AppChanges, AppStore, Changed, StoreError};
use reverb_core::protocol::App;
use reverb_mysql::{LaravelKeys, MySql, MySqlApps, Secrets};

use crate::support;

pub(crate) const KEY: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const OTHER_KEY: &str = "base64:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// The table as the product's migrations leave it. Since May 2026 secrets are a TEXT; before, a VARCHAR(255).
pub(crate) const TABLE: &str = "CREATE TABLE reverb_apps (
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

pub(crate) fn keys() -> LaravelKeys {
    LaravelKeys::new(KEY, "").expect("a key")
}

pub(crate) fn laravel() -> Secrets {
    Secrets::Laravel(keys(), None)
}

/// The PHP product's side of a database.
pub(crate) struct Php {
    pub(crate) conn: Conn,
    pub(crate) url: String,
}

impl Php {
    pub(crate) async fn new() -> Self {
        Self::with("text").await
    }

    pub(crate) async fn with(secret: &str) -> Self {
        Self::at(support::database().await, secret).await
    }

    /// In this database, which is empty.
    pub(crate) async fn at(url: String, secret: &str) -> Self {
        let mut conn = support::connect(&url).await;
        let table = TABLE.replace("SECRET", secret);
        conn.query_drop(table).await.expect("a table");
        Self { conn, url }
    }

    pub(crate) async fn run(&mut self, sql: &str, params: impl Into<Params> + Send) {
        self.conn.exec_drop(sql, params.into()).await.expect(sql);
    }

    /// An app that its panel has made.
    pub(crate) async fn app(&mut self, n: u32, secret: &str) {
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

    pub(crate) async fn value<T: mysql_async::prelude::FromValue + Send + 'static>(
        &mut self,
        sql: &str,
    ) -> T {
        let value: Option<T> = self.conn.query_first(sql).await.expect(sql);
        value.expect("a row")
    }

    pub(crate) async fn apps(&self, secrets: Secrets) -> MySqlApps {
        MySql::open(&self.url)
            .await
            .expect("it opens")
            .apps(secrets)
    }
}

pub(crate) async fn find(apps: &MySqlApps, n: u32) -> App {
    let found = apps
        .find_by_id(&format!("app-{n}"))
        .await
        .expect("an answer");
    App::clone(&found.expect("the app"))
}

pub(crate) async fn wrong(apps: &MySqlApps, n: u32) -> String {
    match apps.find_by_id(&format!("app-{n}")).await {
        Err(StoreError::Corrupt(corrupt)) => corrupt.reason,
        other => panic!("it is stored wrongly, not {other:?}"),
    }
}

pub(crate) async fn told(apps: &MySqlApps, revision: u64) -> (BTreeSet<String>, u64) {
    let changes = apps.changes_since(revision).await.expect("an answer");
    let Changed::These(ids) = changes.apps else {
        panic!("it is known what has changed");
    };
    (
        ids.iter().map(ToString::to_string).collect(),
        changes.revision,
    )
}

pub(crate) fn these(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}
