//! Rows that were changed by hand, well and badly.

use std::path::PathBuf;
use std::sync::Arc;

use reverb_core::app_store::{
    AppChanges, AppEditor, AppStore, Changed, CorruptApp, EditError, Keyring, StoreError,
};
use reverb_core::protocol::App;
use reverb_sqlite::{Sqlite, SqliteApps};
use rusqlite::{Connection, Params};
use tempfile::TempDir;

/// Two apps, and another connection to their file.
struct Case {
    apps: SqliteApps,
    hand: Connection,
    keyring: Keyring,
    _folder: TempDir,
}

impl Case {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path: PathBuf = folder.path().join("reverb.sqlite3");
        let keyring = Keyring::parse(&Keyring::generate()).expect("a key");
        let apps = Sqlite::open(&path).expect("it opens").apps(keyring.clone());
        for id in ["1", "2"] {
            let app = App::new(id, &format!("key-{id}"), "secret").expect("an app");
            apps.create(app).await.expect("created");
        }
        Self {
            apps,
            hand: Connection::open(&path).expect("it opens"),
            keyring,
            _folder: folder,
        }
    }

    fn change(&self, sql: &str, params: impl Params) {
        assert_eq!(self.hand.execute(sql, params).expect("changed"), 1, "{sql}");
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.apps.find_by_id(id).await
    }

    /// What is wrong with this app, as every door says it.
    async fn wrong(&self, id: &str) -> String {
        let Err(StoreError::Corrupt(found)) = self.find(id).await else {
            panic!("it is found although it is stored wrongly");
        };
        let listed = self.apps.list(None, 10).await.expect("a list");
        let listed: Vec<CorruptApp> = listed.into_iter().filter_map(|row| row.app.err()).collect();
        assert_eq!(
            listed,
            std::slice::from_ref(&found),
            "it stands in the list, and the other one does too"
        );
        let other = self
            .find("2")
            .await
            .expect("an answer")
            .expect("the other app");
        assert_eq!(other.secret.reveal(), "secret");
        found.reason
    }
}

#[tokio::test]
async fn a_change_by_hand_is_told_and_read() {
    let case = Case::new().await;
    let told = async |revision| {
        let changes = case.apps.changes_since(revision).await.expect("an answer");
        let Changed::These(ids) = changes.apps else {
            panic!("it is known what has changed");
        };
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        (ids.join(" "), changes.revision)
    };
    let (_, now) = told(0).await;
    let held = case.find("1").await.expect("an answer").expect("the app");
    case.change(
        r#"UPDATE apps SET secret = 'by-hand', settings = '{"name":"Shop"}' WHERE id = '1'"#,
        (),
    );
    let app = case.find("1").await.expect("an answer").expect("the app");
    assert_eq!(
        (app.secret.reveal(), app.name.as_str()),
        ("by-hand", "Shop")
    );
    assert!(app.revision > held.revision);
    let (changed, now) = told(now).await;
    assert_eq!(changed, "1");
    case.change(
        "INSERT INTO apps (id, key, secret) VALUES ('3', 'key-3', 'plain')",
        (),
    );
    assert!(
        case.apps
            .find_by_key("key-3")
            .await
            .expect("an answer")
            .is_some()
    );
    case.change("UPDATE apps SET id = '4' WHERE id = '2'", ());
    let (changed, now) = told(now).await;
    let mut changed: Vec<_> = changed.split(' ').collect();
    changed.sort_unstable();
    assert_eq!(changed, ["2", "3", "4"]);
    case.change("DELETE FROM apps WHERE id = '1'", ());
    let (changed, _) = told(now).await;
    assert_eq!(changed, "1");
}

#[tokio::test]
async fn a_row_that_is_no_app_says_why_and_concerns_no_other() {
    let case = Case::new().await;
    let other_key = Keyring::parse(&Keyring::generate()).expect("a key");
    let foreign = other_key.seal("1", "secret");
    let swapped = case.keyring.seal("2", "secret");
    let good = case.keyring.seal("1", "secret");
    let cases = [
        ("secret", foreign.as_str(), "was sealed with the key"),
        ("secret", &swapped, "that of another app"),
        ("secret", &good[..good.len() - 4], "was changed"),
        ("secret", "aes256gcm:", "was changed"),
        ("secret", "", "must have 1 to 255 bytes, not 0"),
        ("secret", "with a space", "must not contain ' '"),
        ("key", "a:b", "must not contain ':'"),
        ("key", "", "must have 1 to 255 bytes, not 0"),
        ("old_secret", "aes256gcm:0:x", "was sealed with the key 0"),
        ("settings", "", "its settings: EOF"),
        ("settings", "[]", "its settings: "),
        ("settings", r#"{"nmae":"Shop"}"#, "unknown field `nmae`"),
        (
            "settings",
            r#"{"max_connections":-1}"#,
            "its settings: invalid value",
        ),
        (
            "settings",
            r#"{"limits":{"event_bytes":"many"}}"#,
            "its settings: invalid type",
        ),
        (
            "settings",
            r#"{"webhooks":[{"url":"x","events":["cache_miss"]}]}"#,
            "is no address",
        ),
        (
            "settings",
            r#"{"client_events":"everybody"}"#,
            "unknown variant `everybody`",
        ),
    ];
    for (column, value, reason) in cases {
        let before: Option<String> = case
            .hand
            .query_row(
                &format!("SELECT {column} FROM apps WHERE id = '1'"),
                (),
                |row| row.get(0),
            )
            .expect("a value");
        let set = format!("UPDATE apps SET {column} = ?, old_secret_until = 1 WHERE id = '1'");
        case.change(&set, [value]);
        let wrong = case.wrong("1").await;
        assert!(wrong.contains(reason), "{column} = {value:?}: {wrong}");
        case.change(&set, [before]);
        assert!(case.find("1").await.expect("an answer").is_some());
    }
    case.change("UPDATE apps SET id = 'a/b' WHERE id = '1'", ());
    assert!(case.wrong("a/b").await.contains("must not contain '/'"));
}

#[tokio::test]
async fn a_plain_secret_is_sealed_when_that_is_asked_for() {
    let case = Case::new().await;
    case.change(
        "UPDATE apps SET secret = 'plain', old_secret = 'old', old_secret_until = 9 WHERE id = '1'",
        (),
    );
    let other = Keyring::parse(&Keyring::generate()).expect("a key");
    case.change(
        "UPDATE apps SET secret = ? WHERE id = '2'",
        [other.seal("2", "lost")],
    );
    assert_eq!(case.apps.seal_secrets(true).await.expect("counted"), 1);
    let plain = || {
        let sql = "SELECT count(*) FROM apps WHERE secret = 'plain' OR old_secret = 'old'";
        case.hand
            .query_row(sql, (), |row| row.get::<_, i64>(0))
            .expect("a number")
    };
    assert_eq!(plain(), 1, "that was only counted");
    assert_eq!(case.apps.seal_secrets(false).await.expect("sealed"), 1);
    assert_eq!(plain(), 0);
    let app = case.find("1").await.expect("an answer").expect("the app");
    let old = app.old_secret.as_ref().expect("it had one");
    assert_eq!((app.secret.reveal(), old.secret.reveal()), ("plain", "old"));
    assert_eq!(
        case.apps.seal_secrets(true).await.expect("counted"),
        0,
        "what cannot be opened stays"
    );
}

#[tokio::test]
async fn half_an_old_secret_is_none() {
    let case = Case::new().await;
    for half in [
        "old_secret = 'old', old_secret_until = NULL",
        "old_secret = NULL, old_secret_until = 9",
    ] {
        case.change(&format!("UPDATE apps SET {half} WHERE id = '1'"), ());
        let app = case.find("1").await.expect("an answer").expect("the app");
        assert!(app.old_secret.is_none());
    }
}

#[tokio::test]
async fn a_row_that_is_no_app_can_be_removed_but_not_saved_over_by_accident() {
    let case = Case::new().await;
    let app = case.find("1").await.expect("an answer").expect("the app");
    case.change("UPDATE apps SET settings = '' WHERE id = '1'", ());
    let refused = case
        .apps
        .save(App::clone(&app))
        .await
        .expect_err("it is unreadable");
    assert!(matches!(refused, EditError::Store(StoreError::Corrupt(_))));
    case.apps.remove("1").await.expect("removed");
    case.apps.create(App::clone(&app)).await.expect("created");
}

#[tokio::test]
async fn who_has_heard_more_than_there_is_looks_at_everything() {
    let case = Case::new().await;
    let changes = case.apps.changes_since(1_000_000).await.expect("an answer");
    assert_eq!((changes.revision, changes.apps), (2, Changed::Any));
    let long_ago = "UPDATE revision SET n = n + 20000";
    case.change(long_ago, ());
    let changes = case.apps.changes_since(1).await.expect("an answer");
    assert_eq!(changes.apps, Changed::Any);
}
