//! Workers that are killed while they have a job, and the table that they had in use.

mod support;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use reverb_core::contract::killed;
use reverb_mysql::{MySql, MySqlQueue};

async fn open(url: &str) -> MySqlQueue {
    MySql::open(url).await.expect("it opens").queue()
}

#[tokio::test]
async fn a_worker_works_if_this_is_one() {
    killed::works_if_this_is_a_worker(open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_lost_when_workers_are_killed_a_hundred_times() {
    let url = support::database().await;
    let folder = tempfile::tempdir().expect("a folder");
    killed::no_job_is_lost_when_workers_are_killed(&url, folder.path(), open).await;
    let mut hand = support::connect(&url).await;
    let sound: Option<Row> = hand
        .query_first("CHECK TABLE rp_jobs EXTENDED")
        .await
        .expect("a verdict");
    let sound: Option<String> = sound.expect("a row").get("Msg_text");
    assert_eq!(sound.as_deref(), Some("OK"));
}
