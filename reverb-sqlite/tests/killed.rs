//! Workers that are killed while they have a job, and the file that they had in use.

use std::path::Path;

use reverb_core::contract::killed;
use reverb_sqlite::{Sqlite, SqliteQueue};
use rusqlite::Connection;

async fn open(path: &str) -> SqliteQueue {
    Sqlite::open(Path::new(path)).expect("it opens").queue()
}

#[tokio::test]
async fn a_worker_works_if_this_is_one() {
    killed::works_if_this_is_a_worker(open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_lost_when_workers_are_killed_a_hundred_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reverb.sqlite3");
    let place = path.to_str().expect("text");
    killed::no_job_is_lost_when_workers_are_killed(place, folder.path(), open).await;
    let hand = Connection::open(&path).expect("it opens");
    let sound: String = hand
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .expect("a verdict");
    assert_eq!(sound, "ok");
}
