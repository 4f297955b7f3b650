//! In SQLite.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reverb_server::panel::store::{PanelError, SQLITE_LEDGER, SessionKey, SqlitePanel};
use reverb_sqlite::rusqlite::Connection;
use reverb_sqlite::{OpenError, Sqlite};
use tempfile::TempDir;

use crate::contract::{
    NOW, Store, at, found, log_in, make, nothing_is_done_unnoted, other_hash, promises,
};

fn path() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reverb.sqlite3");
    (folder, path)
}

async fn open(path: &Path) -> Store {
    let database = Sqlite::open(path).expect("it opens");
    Arc::new(SqlitePanel::open(database).await.expect("a panel"))
}

/// The file goes with the process: its folder may be gone before.
async fn store() -> Store {
    let (_folder, path) = path();
    open(&path).await
}

promises!(store());

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_is_there_when_it_is_opened_again_by_two_at_once() {
    let (_folder, path) = path();
    let [one, two] = tokio::join!(open(&path), open(&path)).into();
    let ada = make(&one, "ada").await;
    let key = log_in(&two, &ada, "token", NOW).await;
    drop((one, two));
    let again = open(&path).await;
    assert!(found(&again, &key).await.is_some());
    assert!(
        Sqlite::pending(&path, &[SQLITE_LEDGER])
            .expect("told")
            .is_empty()
    );
}

#[tokio::test]
async fn what_a_newer_version_has_changed_is_refused() {
    let (_folder, path) = path();
    drop(open(&path).await);
    let connection = Connection::open(&path).expect("it opens");
    let newer =
        "INSERT INTO panel_migrations (number, name, checksum) VALUES (99, '099_later', 'x')";
    connection.execute(newer, ()).expect("noted");
    let database = Sqlite::open(&path).expect("the apps are as they were");
    let refused = SqlitePanel::open(database).await.expect_err("it is newer");
    assert!(matches!(refused, OpenError::Ledger(_)));
    assert!(refused.to_string().contains("099_later"), "{refused}");
}

#[tokio::test]
async fn rows_that_were_put_there_by_hand_are_read_as_far_as_they_go() {
    let (_folder, path) = path();
    let store = open(&path).await;
    let ada = make(&store, "ada").await;
    let connection = Connection::open(&path).expect("it opens");
    let rows = "
        INSERT INTO panel_users (id, name, email, verified_at, active, password_hash, created)
            VALUES (-7, 'negative', 'n@b', 0, 1, '', 0), (70, CAST(x'ff' AS TEXT), CAST(x'fe' AS TEXT), -1, 7, 'plain', -5);
        INSERT INTO panel_sessions VALUES (x'00', 1, x'', NULL, '', 0, 0, ''), (zeroblob(32), 1, x'00', 'nowhere', '', 0, 0, '');
        INSERT INTO panel_audit (at, actor_id, actor, ip, action, subject, details)
            VALUES (-1, -1, CAST(x'ff' AS TEXT), 'nowhere', '', '', 'no JSON')";
    connection.execute_batch(rows).expect("put there");
    let users = store.users(0, 10).await.expect("a list");
    assert_eq!(users.len(), 2);
    let (last, name) = (&users[1], "\u{fffd}");
    assert_eq!((last.id, last.name.as_str(), last.active), (70, name, true));
    assert_eq!((last.verified_at, last.created), (Some(0), Some(0)));
    let by_hand =
        "INSERT INTO panel_users (id, name, email, password_hash) VALUES (69, 'ä', 'ä@b', '')";
    connection.execute(by_hand, ()).expect("put there");
    let found_by = async |email| store.user_by_email(email).await.expect("an answer");
    assert_eq!(found_by("ä@B").await.map(|user| user.id), Some(69));
    assert_eq!(found_by("Ä@B").await, None);
    connection
        .execute("DELETE FROM panel_users WHERE id = 69", ())
        .expect("gone");
    assert!(store.sessions_of(ada.id).await.expect("a list").is_empty());
    assert_eq!(found(&store, &SessionKey::of("x")).await, None);
    let noted = store.entries(None, 10).await.expect("a list");
    assert_eq!((noted[0].entry.at, noted[0].entry.ip), (0, None));
    // It is a user like any other, who can be changed and removed.
    store
        .remove_user(ada.id, &at(NOW))
        .await
        .expect("70 is active");
    store.remove_user(70, &at(NOW)).await.expect("-7 is active");
}

#[tokio::test]
async fn what_fails_in_the_middle_leaves_nothing() {
    let (_folder, path) = path();
    let store = open(&path).await;
    let (ada, _) = (make(&store, "ada").await, make(&store, "bob").await);
    let key = log_in(&store, &ada, "token", NOW).await;
    let connection = Connection::open(&path).expect("it opens");
    let trigger =
        "CREATE TRIGGER no BEFORE DELETE ON panel_sessions BEGIN SELECT RAISE(ABORT, 'no'); END";
    connection.execute_batch(trigger).expect("made");
    let set = store
        .set_password(ada.id, &other_hash("abcd"), None, &at(NOW))
        .await;
    assert!(matches!(set, Err(PanelError::Store(_))), "{set:?}");
    let removed = store.remove_user(ada.id, &at(NOW)).await;
    assert!(matches!(removed, Err(PanelError::Store(_))), "{removed:?}");
    let (_, user) = found(&store, &key).await.expect("it is there");
    assert_eq!(user, ada);
    connection.execute_batch("DROP TRIGGER no").expect("gone");
    let trigger =
        "CREATE TRIGGER no BEFORE INSERT ON panel_audit BEGIN SELECT RAISE(ABORT, 'no'); END";
    connection.execute_batch(trigger).expect("made");
    nothing_is_done_unnoted(&store, &ada, &key).await;
    connection.execute_batch("DROP TRIGGER no").expect("gone");
    store.remove_user(ada.id, &at(NOW)).await.expect("removed");
}

#[tokio::test]
async fn a_chore_is_due_again_when_its_time_has_come_or_the_clock_was_put_back() {
    let (_folder, path) = path();
    let store = open(&path).await;
    let connection = Connection::open(&path).expect("it opens");
    let hour = Duration::from_secs(3600);
    let mut turns = Vec::new();
    for ago in [0, 3599, 3600, -5, -60] {
        store
            .claim("sweep", Duration::ZERO)
            .await
            .expect("an answer");
        let set = "UPDATE panel_chores SET at = unixepoch() - ?";
        connection.execute(set, [ago]).expect("set");
        turns.push(store.claim("sweep", hour).await.expect("an answer"));
    }
    // Within the second that 3599 has left it may pass.
    assert_eq!((turns[0], &turns[2..]), (false, &[true, false, true][..]));
}
