//! How many jobs a second go through a queue in a database: here a MariaDB that the bench starts, on this machine and with the
//! settings it has by itself, so that each change is written through to the disk.
//!
//! `cargo bench -p reverb-mysql --bench queue`; the disk is that of `TMPDIR`. What the lines say stands in
//! [`reverb_core::contract::pace`].

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests share a server")]
mod support;

use mysql_async::prelude::Queryable;
use reverb_core::contract::pace;
use reverb_mysql::{MySql, MySqlQueue};

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
    for hands in [1, 16] {
        let queue = open(&support::database_of(server).await).await;
        pace::of_an_empty_queue(&queue, hands).await;
    }
    let url = support::database_of(server).await;
    let queue = open(&url).await;
    fill(&url).await;
    println!("with 100,000 jobs of 100 kinds that are due, and 100,000 that are not:");
    pace::of_a_full_queue(&queue).await;
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
