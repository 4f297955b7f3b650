//! Tables of an embedder's own in the same file.

use std::path::{Path, PathBuf};

use reverb_core::app_store::StoreError;
use reverb_core::ledger::{Ledger, LedgerError, Step};
use reverb_sqlite::{Failed, OpenError, Sqlite};
use rusqlite::Connection;
use tempfile::TempDir;

const NOTES: Step = Step::new(
    "001_notes",
    "CREATE TABLE notes (text TEXT NOT NULL UNIQUE) STRICT; INSERT INTO notes VALUES ('first');",
);
const FIRST: Ledger = Ledger::new("notes_migrations", &[NOTES]);
const SECOND: Ledger = Ledger::new(
    "notes_migrations",
    &[
        NOTES,
        Step::new("002_when", "ALTER TABLE notes ADD COLUMN at INTEGER;"),
    ],
);
const BROKEN: Ledger = Ledger::new(
    "notes_migrations",
    &[
        NOTES,
        Step::new("002_broken", "DELETE FROM notes; DELETE FROM nowhere;"),
    ],
);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reverb.sqlite3");
    (folder, path)
}

async fn notes(database: &Sqlite) -> i64 {
    let notes = database.read(|connection| {
        connection.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))
    });
    notes.await.expect("a number")
}

fn pending(path: &Path, ledger: Ledger) -> Vec<&'static str> {
    Sqlite::pending(path, &[ledger]).expect("it can be told")
}

#[tokio::test]
async fn tables_of_ones_own_are_brought_up_to_date_and_what_is_missing_is_told() {
    let (_folder, path) = folder();
    assert_eq!(
        pending(&path, FIRST),
        ["001_apps", "002_queue", "001_notes"]
    );
    assert!(!path.exists());
    let database = Sqlite::open(&path).expect("it opens");
    assert_eq!(pending(&path, FIRST), ["001_notes"]);
    for _ in 0..2 {
        database.migrate(FIRST).await.expect("up to date");
    }
    assert_eq!(notes(&database).await, 1);
    assert_eq!(pending(&path, SECOND), ["002_when"]);
    database.migrate(SECOND).await.expect("up to date");
    assert!(pending(&path, SECOND).is_empty());

    let newer = database.migrate(FIRST).await.expect_err("it is newer");
    assert!(
        matches!(newer, OpenError::Ledger(LedgerError::Newer { name, known: 1 }) if name == "002_when")
    );
    let refused = Sqlite::pending(&path, &[FIRST]).expect_err("it is newer");
    assert!(matches!(
        refused,
        OpenError::Ledger(LedgerError::Newer { .. })
    ));
    let other = database.migrate(BROKEN).await.expect_err("another step");
    assert!(
        matches!(other, OpenError::Ledger(LedgerError::Different { name }) if name == "002_when")
    );
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing_and_those_before_it_are_taken() {
    let (_folder, path) = folder();
    let database = Sqlite::open(&path).expect("it opens");
    let failed = database.migrate(BROKEN).await.expect_err("it fails");
    assert!(matches!(failed, OpenError::Sqlite(_)), "{failed:?}");
    assert_eq!(notes(&database).await, 1);
    assert_eq!(pending(&path, SECOND), ["002_when"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_start_together_do_not_race() {
    let (_folder, path) = folder();
    let starting = (0..8).map(|_| {
        let database = Sqlite::open(&path).expect("it opens");
        tokio::spawn(async move { database.migrate(SECOND).await })
    });
    for started in starting.collect::<Vec<_>>() {
        started.await.expect("no panic").expect("up to date");
    }
    let connection = Connection::open(&path).expect("it opens");
    let steps = "SELECT count(*) FROM notes_migrations";
    let steps: i64 = connection
        .query_row(steps, (), |row| row.get(0))
        .expect("a number");
    assert_eq!(steps, 2, "each step was taken once");
}

#[tokio::test]
async fn what_fails_or_is_refused_is_not_written() {
    let (_folder, path) = folder();
    let database = Sqlite::open(&path).expect("it opens");
    database.migrate(FIRST).await.expect("up to date");
    let insert = |connection: &Connection, text: &str| {
        connection.execute("INSERT INTO notes VALUES (?)", [text])
    };
    let written = database.write(move |connection| {
        insert(connection, "second")?;
        Ok::<_, Failed<&str>>(7)
    });
    assert_eq!(written.await.expect("an answer"), Ok(7));
    let refused = database.write(move |connection| {
        insert(connection, "third")?;
        Err::<(), _>(Failed::Refused("no"))
    });
    assert_eq!(refused.await.expect("an answer"), Err("no"));
    let failed = database.write(move |connection| {
        insert(connection, "fourth")?;
        insert(connection, "first")?;
        Ok::<_, Failed<&str>>(())
    });
    assert!(matches!(failed.await, Err(StoreError::Unavailable(_))));
    let only_reads = database.read(move |connection| insert(connection, "fifth"));
    assert!(matches!(only_reads.await, Err(StoreError::Unavailable(_))));
    assert_eq!(notes(&database).await, 2);
}
