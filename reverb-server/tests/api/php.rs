//! The API at a database of the PHP product, on a server whose time zone is not UTC.

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::product::{KEY, Php, keys};
use crate::support;

const APPS: &str = "/api/reverb-apps";
/// When its panel has made its apps.
const MADE: &str = "2026-05-20T10:00:30.000000Z";

/// Its table, without apps.
async fn php() -> Php {
    let server = tokio::task::spawn_blocking(|| support::start(&["--default-time-zone=+05:30"]));
    let server = server.await.expect("a server");
    Php::at(support::database_of(&server).await, "text").await
}

/// A desk with the `.env` of the product.
fn desk(php: &Php) -> Desk {
    let env = format!("APP_KEY={KEY}\nREVERB_DATABASE_URL={}\n", php.url);
    Desk::with(&env, "")
}

/// A row as the product reads it: times of day are in UTC.
struct Row {
    number: u64,
    secret: String,
    created: String,
    updated: String,
}

impl Row {
    async fn of(php: &mut Php, app: &Value) -> Self {
        let id = app["app_id"].as_str().expect("text");
        let time = |column| format!("DATE_FORMAT({column}, '%Y-%m-%dT%H:%i:%s.000000Z')");
        let sql = format!(
            "SELECT id, app_secret, {}, {} FROM reverb_apps WHERE app_id = ?",
            time("created_at"),
            time("updated_at")
        );
        let row = php.conn.exec_first(&sql, (id,)).await.expect(&sql);
        let (number, secret, created, updated) = row.expect("a row");
        Self {
            number,
            secret,
            created,
            updated,
        }
    }

    /// What the product makes of its secret.
    fn opened(&self) -> Option<String> {
        keys().decrypt(&self.secret).expect("encrypted by its key")
    }

    /// The app as the API shows it has the same number and times.
    fn is_that_of(&self, app: &Value) {
        assert_eq!(app["id"], json!(self.number));
        assert_eq!(app["created_at"], json!(self.created));
        assert_eq!(app["updated_at"], json!(self.updated));
    }
}

/// How many seconds ago this row was changed, by the clock of the database.
async fn age(php: &mut Php, column: &str, number: u64) -> i64 {
    let sql = format!(
        "SELECT TIMESTAMPDIFF(SECOND, {column}, UTC_TIMESTAMP()) FROM reverb_apps WHERE id = {number}"
    );
    php.value(&sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_panel_has_made_is_shown_by_the_numbers_of_the_rows() {
    let mut php = php().await;
    for n in 1..=3 {
        php.app(n, &keys().encrypt("secret-of-the-panel")).await;
    }
    php.run("DELETE FROM reverb_apps WHERE id = 2", ()).await;
    let desk = desk(&php);
    let listed = desk.get(APPS).ok(200)["data"].clone();
    let shown = |n: usize| {
        let app = &listed[n];
        (
            app["id"].clone(),
            app["app_id"].clone(),
            app["name"].clone(),
        )
    };
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert_eq!(shown(0), (json!(1), json!("app-1"), json!("App 1")));
    assert_eq!(shown(1), (json!(3), json!("app-3"), json!("App 3")));
    for app in listed.as_array().expect("a list") {
        assert_eq!(
            (&app["created_at"], &app["updated_at"]),
            (&json!(MADE), &json!(MADE))
        );
        Row::of(&mut php, app).await.is_that_of(app);
    }
    desk.get(&format!("{APPS}/2")).ok(404);
    desk.call("DELETE", &format!("{APPS}/3"), Value::Null)
        .ok(204);
    assert_eq!(
        php.value::<u64>("SELECT COUNT(*) FROM reverb_apps").await,
        1
    );

    // Its panel goes on, and what it changes is shown.
    php.app(4, "plain-secret-of-the-panel").await;
    let set =
        "UPDATE reverb_apps SET name = 'Store', updated_at = '2026-06-01 23:59:59' WHERE id = 4";
    php.run(set, ()).await;
    let app = desk.get(&format!("{APPS}/4")).ok(200)["data"].clone();
    assert_eq!(
        (&app["app_id"], &app["name"]),
        (&json!("app-4"), &json!("Store"))
    );
    assert_eq!(app["updated_at"], "2026-06-01T23:59:59.000000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_here_is_an_app_there() {
    let mut php = php().await;
    php.app(1, &keys().encrypt("secret-of-the-panel")).await;
    let desk = desk(&php);
    let app = desk.made(json!({
        "name": "Laden", "app_id": "made-here", "app_key": "key-made-here", "app_secret": "secret-made-here",
        "description": "Text", "is_active": false, "max_connections": 7, "allowed_origins": ["shop.test"],
    }));
    let row = Row::of(&mut php, &app).await;
    assert_eq!(row.number, 2);
    row.is_that_of(&app);
    assert!((0..60).contains(&age(&mut php, "created_at", 2).await));
    assert_eq!(row.opened().as_deref(), Some("secret-made-here"));
    let sql = "SELECT name, app_key, description, is_active, max_connections, allowed_origins FROM reverb_apps WHERE id = 2";
    type Columns = (String, String, String, bool, i64, String);
    let columns: Option<Columns> = php.conn.query_first(sql).await.expect(sql);
    let (name, key, description, active, max, origins) = columns.expect("a row");
    assert_eq!(
        (&*name, &*key, &*description),
        ("Laden", "key-made-here", "Text")
    );
    assert_eq!((active, max, &*origins), (false, 7, r#"["shop.test"]"#));
    // Who gives no secret is given one.
    let app = desk.made(json!({}));
    let row = Row::of(&mut php, &app).await;
    assert_eq!(row.opened().as_deref(), app["app_secret"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_here_is_changed_there_and_nothing_else_is() {
    let mut php = php().await;
    php.app(1, &keys().encrypt("secret-of-the-panel")).await;
    php.app(2, "plain-secret-of-the-panel").await;
    let desk = desk(&php);
    let path = format!("{APPS}/1");
    let before = desk.get(&path).ok(200)["data"].clone();
    let secret = Row::of(&mut php, &before).await.secret;
    let app = desk.patch(&path, json!({"description": "Text"})).ok(200)["data"].clone();
    let row = Row::of(&mut php, &app).await;
    row.is_that_of(&app);
    assert_eq!((&*row.created, &row.secret), (MADE, &secret));
    assert!((0..60).contains(&age(&mut php, "updated_at", 1).await));
    for number in [1, 2] {
        let path = format!("{APPS}/{number}/rotate-secret");
        let app = desk.post(&path, Value::Null).ok(200)["data"].clone();
        let row = Row::of(&mut php, &app).await;
        row.is_that_of(&app);
        assert_eq!(row.opened().as_deref(), app["app_secret"].as_str());
        assert_eq!((row.number, &*row.created), (number, MADE));
    }
    let key = desk.post(&format!("{path}/rotate-key"), Value::Null);
    let key = key.ok(200)["data"]["app_key"].clone();
    let stored: String = php
        .value("SELECT app_key FROM reverb_apps WHERE id = 1")
        .await;
    assert_eq!(json!(stored), key);
}
