//! How many jobs a second go through a queue in a database: here a MariaDB that the bench starts, on this machine and with the
//! settings it has by itself, so that each change is written through to the disk.
//!
//! `cargo bench -p reverb-mysql --bench queue`; the disk is that of `TMPDIR`. Each line is about three seconds' work, with
//! payloads of 100 bytes; the worst is the longest that anybody waited for an answer.

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests share a server")]
mod support;

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::{Job, Queue};
use reverb_mysql::{MySql, MySqlQueue};

const RUN: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // MariaDB's own default, four times as much as tests need.
    let server = support::Server::start(&["--innodb-buffer-pool-size=128M"]);
    runtime.block_on(run(&server.url));
}

async fn run(server: &str) {
    for many in [1, 16] {
        let queue = open(&support::database_of(server).await).await;
        measure(&queue, "push", many, push).await;
        measure(&queue, "lease and finish", many, lease_and_finish).await;
    }
    let url = support::database_of(server).await;
    let queue = open(&url).await;
    fill(&url).await;
    println!("with 100,000 jobs of 100 kinds that are due, and 100,000 that are not:");
    for many in [1, 16] {
        measure(&queue, "push", many, push).await;
        measure(&queue, "lease and finish", many, lease_and_finish).await;
    }
    measure(&queue, "of one kind", 1, of_one_kind).await;
    measure(&queue, "of three kinds", 1, of_three_kinds).await;
    measure(&queue, "of no kind there is", 1, of_no_kind).await;
    measure(&queue, "counts", 1, counts).await;
}

async fn open(url: &str) -> MySqlQueue {
    let database = MySql::open(url).await.expect("it opens");
    database.queue_with_limit(10_000_000)
}

async fn fill(url: &str) {
    let sql = "INSERT INTO rp_jobs (kind, payload, due)
        WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 999)
        SELECT CONCAT('kind-', i.n % 100), REPEAT('x', 100), UNIX_TIMESTAMP() * 1000 + IF(o.n % 2, -i.n, 86400000)
        FROM n i, n o WHERE o.n < 200";
    let mut hand = support::connect(url).await;
    hand.query_drop(sql).await.expect("filled");
}

/// Has so many do this again and again, and says how often it was done.
async fn measure<F: Future<Output = bool> + Send + 'static>(
    queue: &MySqlQueue,
    what: &str,
    many: usize,
    work: fn(MySqlQueue) -> F,
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
    queue: MySqlQueue,
    start: Instant,
    work: fn(MySqlQueue) -> F,
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

async fn push(queue: MySqlQueue) -> bool {
    let job = Job::new("mail", "x".repeat(100)).expect("a job");
    queue.push(job, Duration::ZERO).await.expect("pushed");
    true
}

async fn lease_and_finish(queue: MySqlQueue) -> bool {
    of(queue, &[]).await
}

async fn of_one_kind(queue: MySqlQueue) -> bool {
    of(queue, &["kind-99"]).await
}

async fn of_three_kinds(queue: MySqlQueue) -> bool {
    of(queue, &["kind-1", "kind-2", "kind-3"]).await
}

async fn of(queue: MySqlQueue, kinds: &[&str]) -> bool {
    let leased = queue.lease(kinds, LEASE).await.expect("an answer");
    if let Some(leased) = &leased {
        queue.finish(leased).await.expect("finished");
    }
    leased.is_some()
}

async fn of_no_kind(queue: MySqlQueue) -> bool {
    let leased = queue.lease(&["none"], LEASE).await.expect("an answer");
    leased.is_none()
}

async fn counts(queue: MySqlQueue) -> bool {
    queue.counts().await.is_ok()
}
