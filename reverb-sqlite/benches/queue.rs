//! How many jobs a second go through a queue in a file, which is mostly how often the disk writes through.
//!
//! `cargo bench -p reverb-sqlite --bench queue`; the disk is that of `TMPDIR`. Each line is about three seconds' work, with
//! payloads of 100 bytes; the worst is the longest that anybody waited for an answer.

use std::path::Path;
use std::time::{Duration, Instant};

use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::{Job, Queue};
use reverb_sqlite::{Sqlite, SqliteQueue};
use rusqlite::Connection;

const RUN: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    for many in [1, 16] {
        let path = folder.path().join(format!("{many}.sqlite3"));
        let queue = open(&path);
        runtime.block_on(measure(&queue, "push", many, push));
        runtime.block_on(measure(&queue, "lease and finish", many, lease_and_finish));
    }
    let path = folder.path().join("full.sqlite3");
    let queue = open(&path);
    fill(&path);
    println!("with 100,000 jobs of 100 kinds that are due, and 100,000 that are not:");
    runtime.block_on(measure(&queue, "lease and finish", 1, lease_and_finish));
    runtime.block_on(measure(&queue, "of one kind", 1, of_one_kind));
    runtime.block_on(measure(&queue, "of no kind there is", 1, of_no_kind));
    runtime.block_on(measure(&queue, "counts", 1, counts));
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

/// Has so many do this again and again, and says how often it was done.
async fn measure<F: Future<Output = bool> + Send + 'static>(
    queue: &SqliteQueue,
    what: &str,
    many: usize,
    work: fn(SqliteQueue) -> F,
) {
    let start = SystemClock.now();
    let hands: Vec<_> = (0..many)
        .map(|_| tokio::spawn(repeat(queue.clone(), start, work)))
        .collect();
    let (mut done, mut worst) = (0, Duration::ZERO);
    for hand in hands {
        let (times, longest) = hand.await.expect("no panic");
        (done, worst) = (done + times, worst.max(longest));
    }
    let rate = f64::from(done) / (SystemClock.now() - start).as_secs_f64();
    println!("{what:<20} {many:>2} at a time {rate:>8.0}/s   worst {worst:.1?}");
}

/// How often it was done, and how long it took at most.
async fn repeat<F: Future<Output = bool>>(
    queue: SqliteQueue,
    start: Instant,
    work: fn(SqliteQueue) -> F,
) -> (u32, Duration) {
    let (mut done, mut worst) = (0, Duration::ZERO);
    loop {
        let before = SystemClock.now();
        if before - start > RUN || !work(queue.clone()).await {
            return (done, worst);
        }
        worst = worst.max(SystemClock.now() - before);
        done += 1;
    }
}

async fn push(queue: SqliteQueue) -> bool {
    let job = Job::new("mail", "x".repeat(100)).expect("a job");
    queue.push(job, Duration::ZERO).await.expect("pushed");
    true
}

async fn lease_and_finish(queue: SqliteQueue) -> bool {
    let leased = queue.lease(&[], LEASE).await.expect("an answer");
    if let Some(leased) = &leased {
        queue.finish(leased).await.expect("finished");
    }
    leased.is_some()
}

async fn of_one_kind(queue: SqliteQueue) -> bool {
    let leased = queue.lease(&["kind-99"], LEASE).await.expect("an answer");
    if let Some(leased) = &leased {
        queue.finish(leased).await.expect("finished");
    }
    leased.is_some()
}

async fn of_no_kind(queue: SqliteQueue) -> bool {
    let leased = queue.lease(&["none"], LEASE).await.expect("an answer");
    leased.is_none()
}

async fn counts(queue: SqliteQueue) -> bool {
    queue.counts().await.is_ok()
}
