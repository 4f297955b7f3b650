//! How many jobs a second go through a queue in a file, which is mostly how often the disk writes through.
//!
//! `cargo bench -p reverb-sqlite --bench queue`; the disk is that of `TMPDIR`. What the lines say stands in
//! [`reverb_core::contract::pace`].

use std::path::Path;

use reverb_core::contract::pace;
use reverb_sqlite::{Sqlite, SqliteQueue};
use rusqlite::Connection;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    for hands in [1, 16] {
        let path = folder.path().join(format!("{hands}.sqlite3"));
        runtime.block_on(pace::of_an_empty_queue(&open(&path), hands));
    }
    let path = folder.path().join("full.sqlite3");
    let queue = open(&path);
    fill(&path);
    println!("with 100,000 jobs of 100 kinds that are due, and 100,000 that are not:");
    runtime.block_on(pace::of_a_full_queue(&queue));
}

fn open(path: &Path) -> SqliteQueue {
    let database = Sqlite::open(path).expect("it opens");
    database.queue_with_limit(10_000_000)
}

fn fill(path: &Path) {
    let sql = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 200000)
        INSERT INTO jobs (kind, payload, due)
        SELECT 'kind-' || (n % 100), printf('%0100d', n), unixepoch() * 1000 + iif(n % 2, -n, 86400000) FROM n";
    let hand = Connection::open(path).expect("it opens");
    hand.execute(sql, ()).expect("filled");
}
