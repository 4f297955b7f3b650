//! The queue in a database: rows that were changed by hand, clocks that were set, limits, and others who use the table.

mod support;

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Row};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::{DeadJob, Job, JobId, Leased, Queue, QueueError};
use reverb_mysql::{MySql, MySqlQueue};

const NOW: Duration = Duration::ZERO;
const SHORT: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// An empty queue, and another connection to its database.
struct Case {
    queue: MySqlQueue,
    hand: Conn,
    url: String,
}

impl Case {
    async fn new() -> Self {
        Self::with_limit(100_000).await
    }

    async fn with_limit(limit: usize) -> Self {
        let url = support::database().await;
        let database = MySql::open(&url).await.expect("it opens");
        Self {
            queue: database.queue_with_limit(limit),
            hand: support::connect(&url).await,
            url,
        }
    }

    async fn change(&mut self, sql: &str) {
        self.hand.query_drop(sql).await.expect(sql);
        assert!(self.hand.affected_rows() > 0, "{sql}");
    }

    async fn ask<T: FromRow + Send + 'static>(&mut self, sql: &str) -> T {
        let row = self.hand.exec_first(sql, Params::Empty).await;
        row.expect(sql).expect("a row")
    }

    async fn push(&self, payload: &str) -> JobId {
        push(&self.queue, payload, 10).await.expect("pushed")
    }

    async fn next(&self) -> Option<Leased> {
        self.queue.lease(&[], HOUR).await.expect("an answer")
    }

    async fn leased(&self) -> Leased {
        self.next().await.expect("a job is due")
    }

    /// The next job, when there is one.
    async fn next_in_time(&self) -> Leased {
        in_time(async || self.next().await).await
    }

    async fn dead(&self) -> Vec<DeadJob> {
        self.queue.dead(None, usize::MAX).await.expect("a list")
    }

    /// How many are waiting, delayed, leased, and dead.
    async fn counted(&self) -> [u64; 4] {
        let counts = self.queue.counts().await.expect("counts");
        [counts.waiting, counts.delayed, counts.leased, counts.dead]
    }
}

async fn push(queue: &MySqlQueue, payload: &str, attempts: u32) -> Result<JobId, QueueError> {
    let job = Job::new("mail", payload).expect("a job");
    queue.push(job.with_max_attempts(attempts), NOW).await
}

/// What this gives as soon as it gives something.
async fn in_time<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come in ten seconds");
}

// ---- rows by hand ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_row_that_is_no_job_is_a_dead_letter_that_says_why_and_stops_no_other() {
    let mut case = Case::new().await;
    let cases = [
        ("kind = ''", "a job has 1 to 64 bytes, not 0"),
        ("kind = REPEAT('x', 65)", "a job has 1 to 64 bytes, not 65"),
        ("kind = x'6dff'", "its kind: invalid utf-8"),
        (
            // To the database a half of a character of UTF-16 is a character.
            "payload = _utf8mb4 x'eda080'",
            "its payload: invalid utf-8",
        ),
        ("payload = REPEAT('x', 1048577)", "has 1048577 bytes"),
        (
            "max_attempts = 0",
            "its max_attempts are 0, not from 1 to 4294967295",
        ),
        ("max_attempts = -1", "its max_attempts are -1"),
        (
            "max_attempts = 4294967296",
            "its max_attempts are 4294967296",
        ),
        ("attempts = -1", "it has had -1 of 10 attempts"),
        ("attempts = 10", "it has had 10 of 10 attempts"),
        (
            "attempts = 9223372036854775807",
            "it has had 9223372036854775807 of 10",
        ),
        (
            "token = 9223372036854775807",
            "its token is the last number",
        ),
    ];
    let mended = "UPDATE rp_jobs SET kind = 'mail', payload = 'good', max_attempts = 10, token = 0";
    for (change, reason) in cases {
        let bad = case.push("bad").await;
        case.change(&format!("UPDATE rp_jobs SET {change}")).await;
        let good = case.push("good").await;
        let leased = case.leased().await;
        assert_eq!(leased.id, good, "{change}");
        case.queue.finish(&leased).await.expect("finished");
        let dead = case.dead().await;
        assert_eq!((dead.len(), dead[0].id), (1, bad), "{change}");
        assert!(dead[0].reason.contains(reason), "{change}: {dead:?}");
        assert!(dead[0].payload.len() <= Job::MAX_PAYLOAD);
        // Revived as it is, it is dead again; mended, it is a job. Attempts are mended by reviving.
        case.queue.revive(bad).await.expect("revived");
        if !change.starts_with("attempts") {
            assert_eq!(case.next().await, None, "{change}");
            assert_eq!(case.counted().await, [0, 0, 0, 1], "{change}");
            case.change(mended).await;
            case.queue.revive(bad).await.expect("revived");
        }
        let leased = case.leased().await;
        assert_eq!((leased.id, leased.attempt), (bad, 1), "{change}");
        case.queue.finish(&leased).await.expect("finished");
    }
    assert_eq!(case.counted().await, [0; 4]);
}

#[tokio::test]
async fn many_rows_that_are_no_jobs_stop_no_other() {
    let mut case = Case::new().await;
    case.change(
        "INSERT INTO rp_jobs (kind)
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
         SELECT '' FROM n, (SELECT 1 UNION ALL SELECT 2) twice",
    )
    .await;
    let good = case.push("good").await;
    assert_eq!(case.counted().await, [2001, 0, 0, 0]);
    assert_eq!(case.leased().await.id, good);
    assert_eq!(case.counted().await, [0, 0, 1, 2000]);
}

#[tokio::test]
async fn any_time_in_a_row_is_a_time_and_any_other_state_is_refused() {
    let mut case = Case::new().await;
    let first = case.push("").await;
    case.change("UPDATE rp_jobs SET due = -9223372036854775808")
        .await;
    let second = case.push("").await;
    let counts = case.queue.counts().await.expect("counts");
    assert!(counts.oldest > Some(HOUR));
    let leased = case.leased().await;
    assert_eq!(leased.id, first);
    for change in [
        "since = -9223372036854775808 WHERE id = 1",
        "due = 9223372036854775807 WHERE id = 2",
    ] {
        case.change(&format!("UPDATE rp_jobs SET {change}")).await;
    }
    assert_eq!(case.next().await, None);
    case.change(
        "UPDATE rp_jobs SET since = 9223372036854775807, due = -9223372036854775808 WHERE id = 2",
    )
    .await;
    let leased = case.leased().await;
    assert_eq!(leased.id, second, "it is due since now");
    for state in ["'done'", "''", "NULL"] {
        let sql = format!("UPDATE rp_jobs SET state = {state}");
        assert!(case.hand.query_drop(sql).await.is_err(), "{state}");
    }
    // Where nobody minds, it is another state: a job like those that wait.
    case.hand
        .query_drop("SET SESSION sql_mode = ''")
        .await
        .expect("set");
    case.change("UPDATE rp_jobs SET state = 'done', due = 0 WHERE id = 2")
        .await;
    assert_eq!(case.leased().await.id, second);
}

#[tokio::test]
async fn a_row_that_was_put_here_by_hand_is_a_job_and_is_counted() {
    let mut case = Case::with_limit(1).await;
    // In a session of any time zone.
    case.hand
        .query_drop("SET SESSION time_zone = '+11:00'")
        .await
        .expect("set");
    let insert = "INSERT INTO rp_jobs (kind, payload) VALUES ('mail', 'by hand')";
    case.change(insert).await;
    let refused = push(&case.queue, "", 1).await;
    assert!(matches!(refused, Err(QueueError::Full { limit: 1 })));
    let leased = case.leased().await;
    assert_eq!((&*leased.payload, leased.max_attempts), ("by hand", 10));
    case.queue.finish(&leased).await.expect("finished");
    case.change(insert).await;
    let counts = case.queue.counts().await.expect("counts");
    assert!(counts.oldest < Some(HOUR), "{counts:?}");
    case.change("UPDATE rp_jobs SET state = 'dead'").await;
    case.push("").await;
    let dead = case.dead().await;
    assert_eq!((&*dead[0].payload, &*dead[0].reason), ("by hand", ""));
    case.change("DELETE FROM rp_jobs").await;
    assert_eq!(case.counted().await, [0; 4]);
    // What others have removed is seen within a second.
    in_time(async || push(&case.queue, "", 1).await.ok()).await;
}

#[tokio::test]
async fn a_dead_letter_is_listed_whatever_it_says() {
    let mut case = Case::new().await;
    let id = case.push("").await;
    let lease = case.leased().await;
    case.queue.bury(&lease, "no").await.expect("buried");
    case.change(
        "UPDATE rp_jobs SET kind = x'6dff', payload = REPEAT('\u{1f6d1}', 1000000), attempts = -5,
         reason = REPEAT('0', 2000), since = -1",
    )
    .await;
    let dead = case.dead().await.remove(0);
    assert_eq!((dead.id, &*dead.kind), (id, "m\u{fffd}"));
    assert_eq!((dead.payload.len(), dead.attempts), (Job::MAX_PAYLOAD, 0));
    assert_eq!((dead.reason.len(), dead.died_at), (1000, 0));
    let behind = case.queue.dead(Some(JobId::new(i64::MAX)), 1).await;
    assert_eq!(behind.expect("a page"), []);
    assert_eq!(case.queue.purge_dead(Some(id)).await.expect("purged"), 1);
}

// ---- the clock ------------------------------------------------------------------------------------------------------------

/// As if the clock had been an hour ahead when this was set.
const AHEAD: &str = "UPDATE rp_jobs SET due = due + 3600000, since = since + 3600000";

#[tokio::test]
async fn a_clock_that_is_put_back_holds_no_job_up_for_longer_than_its_own_time() {
    let mut case = Case::new().await;
    let delayed = Job::new("mail", "delayed").expect("a job");
    let delayed = case.queue.push(delayed, SHORT).await.expect("pushed");
    let (first, second) = (case.push("").await, case.push("").await);
    let long = Job::new("mail", "long").expect("a job");
    case.queue.push(long, HOUR * 2).await.expect("pushed");
    case.change(AHEAD).await;
    let start = SystemClock.now();
    assert_eq!(case.counted().await, [2, 2, 0, 0]);
    assert_eq!(case.leased().await.id, first);
    assert_eq!(case.leased().await.id, second);
    assert_eq!(case.next_in_time().await.id, delayed);
    assert!(
        SystemClock.now() - start >= SHORT,
        "it is not shorter either"
    );
    assert_eq!(case.next().await, None);
    let due = "SELECT due DIV 1000 - TIMESTAMPDIFF(SECOND, '1970-01-01', UTC_TIMESTAMP())
               FROM rp_jobs WHERE payload = 'long'";
    let due: i64 = case.ask(due).await;
    assert!((7100..=7201).contains(&due), "{due}");
}

#[tokio::test]
async fn a_clock_that_is_put_back_ends_no_lease_early_and_none_late() {
    let mut case = Case::new().await;
    let id = case.push("").await;
    let lease = case.queue.lease(&[], SHORT).await;
    let lease = lease.expect("an answer").expect("a job");
    case.change(AHEAD).await;
    let start = SystemClock.now();
    assert_eq!(case.next().await, None, "it has a worker");
    let again = case.next_in_time().await;
    assert!(SystemClock.now() - start >= SHORT);
    assert_eq!((again.id, again.attempt), (id, 2));
    let late = case.queue.finish(&lease).await;
    assert!(matches!(late, Err(QueueError::Lost(_))));
    // And who holds the job meanwhile finishes as ever.
    case.change(AHEAD).await;
    case.queue.finish(&again).await.expect("finished");
    assert_eq!(case.counted().await, [0; 4]);
}

#[tokio::test]
async fn a_clock_that_is_put_back_among_thousands_of_jobs_loses_none() {
    let mut case = Case::new().await;
    case.change(
        "INSERT INTO rp_jobs (kind, due)
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
         SELECT 'mail', 0 FROM n, (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) thrice",
    )
    .await;
    case.change(AHEAD).await;
    case.leased().await;
    assert_eq!(case.counted().await, [2999, 0, 1, 0]);
}

#[tokio::test]
async fn what_was_set_before_the_clock_was_ahead_is_left_alone() {
    let mut case = Case::new().await;
    let job = Job::new("mail", "").expect("a job");
    case.queue.push(job, HOUR).await.expect("pushed");
    let times = "SELECT due, since FROM rp_jobs WHERE id = 1";
    let before: (i64, i64) = case.ask(times).await;
    case.push("").await;
    case.change(&format!("{AHEAD} WHERE id = 2")).await;
    assert_eq!(case.leased().await.id.get(), 2);
    assert_eq!(case.ask::<(i64, i64)>(times).await, before);
}

#[tokio::test]
async fn a_clock_that_is_put_forward_ends_leases_but_late_work_counts() {
    let mut case = Case::new().await;
    case.push("").await;
    let lease = case.leased().await;
    case.change("UPDATE rp_jobs SET due = due - 7200000, since = since - 7200000")
        .await;
    assert_eq!(case.counted().await, [1, 0, 0, 0]);
    case.queue.finish(&lease).await.expect("finished");
    assert_eq!(case.counted().await, [0; 4]);
}

// ---- limits ---------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn what_another_node_does_counts_within_a_second_or_so() {
    let case = Case::with_limit(2).await;
    let other = MySql::open(&case.url).await.expect("it opens");
    let other = other.queue_with_limit(2);
    case.push("").await;
    push(&other, "", 1).await.expect("there is room");
    in_time(async || {
        let pushed = push(&case.queue, "", 1).await;
        matches!(pushed, Err(QueueError::Full { limit: 2 })).then_some(())
    })
    .await;
    while let Some(leased) = other.lease(&[], HOUR).await.expect("an answer") {
        other.finish(&leased).await.expect("finished");
    }
    in_time(async || push(&case.queue, "", 1).await.ok()).await;
}

// ---- others who use the table ---------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_else_is_at_is_passed_over_and_comes_next_time() {
    let mut case = Case::new().await;
    let (first, second) = (case.push("").await, case.push("").await);
    for sql in ["BEGIN", "SELECT id FROM rp_jobs WHERE id = 1 FOR UPDATE"] {
        case.hand.query_drop(sql).await.expect(sql);
    }
    let start = SystemClock.now();
    assert_eq!(case.leased().await.id, second);
    assert_eq!(case.next().await, None);
    let asked = SystemClock.now() - start;
    assert!(asked < Duration::from_secs(1), "{asked:?}");
    case.hand.query_drop("ROLLBACK").await.expect("free");
    assert_eq!(case.leased().await.id, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_is_found_by_an_index_and_nothing_is_sorted() {
    let mut case = Case::new().await;
    for (kinds, index) in [("", "rp_jobs_due"), ("kind = 'mail' AND", "rp_jobs_kind")] {
        let sql = format!(
            "EXPLAIN SELECT id FROM rp_jobs FORCE INDEX ({index})
             WHERE {kinds} next_due <= 0 AND last_until IS NULL
             ORDER BY next_due, id LIMIT 1 FOR UPDATE SKIP LOCKED"
        );
        let row: Row = case.ask(&sql).await;
        let told = |column: &str| row.get::<String, _>(column).expect("a text");
        assert_eq!((told("type"), told("key")), ("range".into(), index.into()));
        assert!(!told("Extra").contains("filesort"), "{}", told("Extra"));
    }
}
