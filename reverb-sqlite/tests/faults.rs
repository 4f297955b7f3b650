//! A database that others use as well, hold up, or take away.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reverb_core::app_store::{AppChanges, AppEditor, AppStore, EditError, Keyring, StoreError};
use reverb_core::protocol::App;
use reverb_sqlite::{Sqlite, SqliteApps};
use rusqlite::Connection;
use tempfile::TempDir;

fn open() -> (TempDir, PathBuf, SqliteApps) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reverb.sqlite3");
    let keyring = Keyring::parse(&Keyring::generate()).expect("a key");
    let apps = Sqlite::open(&path).expect("it opens").apps(keyring);
    (folder, path, apps)
}

fn app(n: u32) -> App {
    App::new(&n.to_string(), &format!("key-{n}"), "secret").expect("an app")
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "it is measured how long they wait"
)]
async fn who_reads_does_not_wait_for_a_write_lock_and_who_writes_is_told() {
    let (_folder, path, apps) = open();
    apps.create(app(1)).await.expect("created");
    let holder = Connection::open(&path).expect("it opens");
    holder.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let start = Instant::now();
    let writing = tokio::spawn({
        let apps = apps.clone();
        async move { apps.create(app(2)).await }
    });
    for _ in 0..100 {
        let found = apps.find_by_key("key-1").await.expect("an answer");
        assert!(found.is_some());
        apps.changes_since(0).await.expect("an answer");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "nobody waited");
    let refused = writing.await.expect("no panic").expect_err("it is locked");
    assert!(matches!(
        refused,
        EditError::Store(StoreError::Unavailable(_))
    ));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    holder.execute_batch("ROLLBACK").expect("free");
    apps.create(app(2)).await.expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_let_go_in_time_is_waited_for() {
    let (_folder, path, apps) = open();
    let holder = Connection::open(&path).expect("it opens");
    holder.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let letting_go = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        holder.execute_batch("ROLLBACK").expect("free");
    });
    apps.create(app(1)).await.expect("created");
    letting_go.join().expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_write_lose_nothing() {
    let (_folder, path, apps) = open();
    let keyring = Keyring::parse(&Keyring::generate()).expect("a key");
    let other = Sqlite::open(&path).expect("it opens").apps(keyring);
    let halves = [(apps.clone(), 0), (other, 1)].map(|(apps, half)| {
        tokio::spawn(async move {
            for n in (0..100).filter(|n| n % 2 == half) {
                apps.create(app(n)).await.expect("created");
            }
        })
    });
    for half in halves {
        half.await.expect("no panic");
    }
    let listed = apps.list(None, 1000).await.expect("a list");
    assert_eq!(listed.len(), 100);
    let changes = apps.changes_since(0).await.expect("an answer");
    assert_eq!(changes.revision, 100, "each change has its number");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_may_open_any_more_is_still_open() {
    let (folder, path, apps) = open();
    apps.create(app(1)).await.expect("created");
    apps.find_by_id("1").await.expect("an answer");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("set");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o000)).expect("set");
    let found = apps.find_by_id("1").await.expect("an answer");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("set");
    assert!(found.is_some());
}

#[tokio::test]
async fn who_goes_away_before_its_turn_has_nothing_done() {
    let (_folder, path, apps) = open();
    let holder = Connection::open(&path).expect("it opens");
    holder.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let first = apps.create(app(1));
    let second = apps.create(app(2));
    // The writer waits for the lock on behalf of the first; the second is still in the queue.
    let both = async { tokio::join!(first, second) };
    let gone = tokio::time::timeout(Duration::from_millis(200), both).await;
    assert!(gone.is_err());
    holder.execute_batch("ROLLBACK").expect("free");
    apps.create(app(3)).await.expect("created");
    assert!(apps.find_by_id("2").await.expect("an answer").is_none());
}
