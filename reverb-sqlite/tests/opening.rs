//! Opening a file: what is there already, who else is there, and whose it is.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reverb_core::app_store::{AppEditor, Keyring};
use reverb_core::ledger::LedgerError;
use reverb_core::protocol::App;
use reverb_sqlite::{OpenError, Sqlite};
use rusqlite::Connection;
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reverb.sqlite3");
    (folder, path)
}

fn keyring() -> Keyring {
    Keyring::parse(&Keyring::generate()).expect("a key")
}

async fn count(path: &Path) -> usize {
    let apps = Sqlite::open(path).expect("it opens").apps(keyring());
    apps.list(None, 10).await.expect("a list").len()
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again_and_nobody_else_can_read_it() {
    let (folder, path) = folder();
    let keyring = keyring();
    let apps = Sqlite::open(&path).expect("it opens").apps(keyring.clone());
    let app = App::new("1", "key", "very-secret").expect("an app");
    apps.create(app).await.expect("created");
    for file in fs::read_dir(folder.path()).expect("the folder") {
        let file = file.expect("a file").path();
        let mode = fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        let bytes = fs::read(&file).expect("its bytes");
        let secret = b"very-secret";
        assert!(!bytes.windows(secret.len()).any(|part| part == secret));
    }
    drop(apps);
    let apps = Sqlite::open(&path).expect("it opens").apps(keyring);
    let app = apps
        .list(None, 10)
        .await
        .expect("a list")
        .remove(0)
        .app
        .expect("an app");
    assert_eq!(app.secret.reveal(), "very-secret");
}

#[test]
fn many_who_open_a_new_file_at_once_all_get_it() {
    for _ in 0..40 {
        let (_folder, path) = folder();
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Sqlite::open(&path)))
                .collect();
            for opened in opening {
                opened.join().expect("no panic").expect("it opens");
            }
        });
        let connection = Connection::open(&path).expect("it opens");
        let steps: i64 = connection
            .query_row("SELECT count(*) FROM migrations", (), |row| row.get(0))
            .expect("a number");
        assert_eq!(steps, 2, "each step was taken once");
    }
}

#[tokio::test]
async fn a_step_that_was_interrupted_is_taken_again() {
    let (_folder, path) = folder();
    {
        let connection = Connection::open(&path).expect("it opens");
        let step = include_str!("../migrations/001_apps.sql");
        let (half, _) = step.split_at(step.find("CREATE TRIGGER").expect("a trigger"));
        connection
            .execute_batch(&format!("BEGIN; {half}"))
            .expect("half of it");
    }
    assert_eq!(count(&path).await, 0);
}

#[tokio::test]
async fn what_a_newer_version_has_changed_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    drop(Sqlite::open(&path).expect("it opens"));
    let connection = Connection::open(&path).expect("it opens");
    let newer = "INSERT INTO migrations (number, name, checksum) VALUES (99, '099_later', 'x')";
    connection.execute(newer, ()).expect("noted");
    let refused = Sqlite::open(&path).expect_err("it is newer");
    assert!(refused.to_string().contains("099_later"), "{refused}");
    let other = "UPDATE migrations SET checksum = 'x' WHERE number = 1";
    connection.execute(other, ()).expect("changed");
    let refused = Sqlite::open(&path).expect_err("it is another one");
    assert!(
        matches!(refused, OpenError::Ledger(LedgerError::Different { name }) if name == "001_apps")
    );
}

#[test]
fn the_file_of_another_program_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    Connection::open(&path)
        .and_then(|connection| connection.execute_batch("CREATE TABLE users (id INTEGER)"))
        .expect("a database");
    let before = fs::read(&path).expect("its bytes");
    assert!(matches!(Sqlite::open(&path), Err(OpenError::Foreign)));
    assert_eq!(fs::read(&path).expect("its bytes"), before);

    fs::write(
        &path,
        "this is a letter to a friend, and no database at all",
    )
    .expect("written");
    let refused = Sqlite::open(&path).expect_err("it is no database");
    assert!(matches!(refused, OpenError::Sqlite(_)), "{refused:?}");
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let (folder, path) = folder();
    let refused = Sqlite::open(&folder.path().join("missing/reverb.sqlite3"));
    let refused = refused.expect_err("no such folder");
    assert!(
        refused.to_string().contains("missing/reverb.sqlite3"),
        "{refused}"
    );
    fs::create_dir(&path).expect("a folder");
    assert!(Sqlite::open(&path).is_err());
    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("set");
}
