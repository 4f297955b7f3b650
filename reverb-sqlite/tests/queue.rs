//! The queue in a file: rows that were changed by hand, clocks that were set, and others who use the file.

use std::time::Duration;

use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::{DeadJob, Job, JobId, Leased, Queue, QueueError};
use reverb_sqlite::{Sqlite, SqliteQueue};
use rusqlite::{Connection, Params};
use tempfile::TempDir;

const NOW: Duration = Duration::ZERO;
const SHORT: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// An empty queue, and another connection to its file.
struct Case {
    queue: SqliteQueue,
    hand: Connection,
    _folder: TempDir,
}

impl Case {
    fn new() -> Self {
        Self::with_limit(100_000)
    }

    fn with_limit(limit: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reverb.sqlite3");
        let database = Sqlite::open(&path).expect("it opens");
        Self {
            queue: database.queue_with_limit(limit),
            hand: Connection::open(&path).expect("it opens"),
            _folder: folder,
        }
    }

    fn change(&self, sql: &str, params: impl Params) {
        let changed = self.hand.execute(sql, params);
        assert!(changed.expect("changed") > 0, "{sql}");
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
        for _ in 0..500 {
            if let Some(leased) = self.next().await {
                return leased;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not come in ten seconds");
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

async fn push(queue: &SqliteQueue, payload: &str, attempts: u32) -> Result<JobId, QueueError> {
    let job = Job::new("mail", payload).expect("a job");
    queue.push(job.with_max_attempts(attempts), NOW).await
}

// ---- rows by hand ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_row_that_is_no_job_is_a_dead_letter_that_says_why_and_stops_no_other() {
    let case = Case::new();
    let cases = [
        ("kind = ''", "a job has 1 to 64 bytes, not 0"),
        (
            "kind = printf('%065d', 0)",
            "a job has 1 to 64 bytes, not 65",
        ),
        ("kind = CAST(x'6dff' AS TEXT)", "its kind: invalid utf-8"),
        (
            "payload = CAST(x'6dff' AS TEXT)",
            "its payload: invalid utf-8",
        ),
        ("payload = printf('%01048577d', 0)", "has 1048577 bytes"),
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
    let mended = "UPDATE jobs SET kind = 'mail', payload = 'good', max_attempts = 10, token = 0";
    for (change, reason) in cases {
        let bad = case.push("bad").await;
        case.change(&format!("UPDATE jobs SET {change}"), ());
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
            case.change(mended, ());
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
    let case = Case::new();
    let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
        INSERT INTO jobs (kind) SELECT '' FROM n";
    case.change(many, ());
    let good = case.push("good").await;
    assert_eq!(case.counted().await, [2001, 0, 0, 0]);
    assert_eq!(case.leased().await.id, good);
    assert_eq!(case.counted().await, [0, 0, 1, 2000]);
}

#[tokio::test]
async fn any_time_in_a_row_is_a_time_and_any_other_state_is_refused() {
    let case = Case::new();
    let first = case.push("").await;
    case.change("UPDATE jobs SET due = -9223372036854775808", ());
    let second = case.push("").await;
    let counts = case.queue.counts().await.expect("counts");
    assert!(counts.oldest > Some(HOUR));
    let leased = case.leased().await;
    assert_eq!(leased.id, first);
    case.change(
        "UPDATE jobs SET since = -9223372036854775808 WHERE id = 1",
        (),
    );
    case.change("UPDATE jobs SET due = 9223372036854775807 WHERE id = 2", ());
    assert_eq!(case.next().await, None);
    case.change(
        "UPDATE jobs SET since = 9223372036854775807, due = -9223372036854775808 WHERE id = 2",
        (),
    );
    let leased = case.leased().await;
    assert_eq!(leased.id, second, "it is due since now");
    for state in ["'done'", "''", "NULL", "1"] {
        let refused = case
            .hand
            .execute(&format!("UPDATE jobs SET state = {state}"), ());
        assert!(refused.is_err(), "{state}");
    }
}

#[tokio::test]
async fn a_row_that_was_put_here_by_hand_is_a_job_and_is_counted() {
    let case = Case::with_limit(1);
    let insert = "INSERT INTO jobs (kind, payload) VALUES ('mail', 'by hand')";
    case.change(insert, ());
    let refused = push(&case.queue, "", 1).await;
    assert!(matches!(refused, Err(QueueError::Full { limit: 1 })));
    let leased = case.leased().await;
    assert_eq!((&*leased.payload, leased.max_attempts), ("by hand", 10));
    case.queue.finish(&leased).await.expect("finished");
    case.change(insert, ());
    case.change("UPDATE jobs SET state = 'dead'", ());
    case.push("").await;
    let dead = case.dead().await;
    assert_eq!((&*dead[0].payload, &*dead[0].reason), ("by hand", ""));
    case.change("DELETE FROM jobs", ());
    assert_eq!(case.counted().await, [0; 4]);
    case.push("").await;
}

#[tokio::test]
async fn a_dead_letter_is_listed_whatever_it_says() {
    let case = Case::new();
    let id = case.push("").await;
    let lease = case.leased().await;
    case.queue.bury(&lease, "no").await.expect("buried");
    case.change(
        "UPDATE jobs SET kind = CAST(x'6dff' AS TEXT), payload = CAST(x'ff00' AS TEXT), attempts = -5,
         reason = printf('%02000d', 0), since = -1",
        (),
    );
    let dead = case.dead().await.remove(0);
    assert_eq!((dead.id, &*dead.kind), (id, "m\u{fffd}"));
    assert_eq!((&*dead.payload, dead.attempts), ("\u{fffd}\0", 0));
    assert_eq!((dead.reason.len(), dead.died_at), (1000, 0));
    let behind = case.queue.dead(Some(JobId::new(i64::MAX)), 1).await;
    assert_eq!(behind.expect("a page"), []);
    assert_eq!(case.queue.purge_dead(Some(id)).await.expect("purged"), 1);
}

// ---- the clock ------------------------------------------------------------------------------------------------------------

/// As if the clock had been an hour ahead when this was set.
const AHEAD: &str = "UPDATE jobs SET due = due + 3600000, since = since + 3600000";

#[tokio::test]
async fn a_clock_that_is_put_back_holds_no_job_up_for_longer_than_its_own_time() {
    let case = Case::new();
    let delayed = Job::new("mail", "delayed").expect("a job");
    let delayed = case.queue.push(delayed, SHORT).await.expect("pushed");
    let (first, second) = (case.push("").await, case.push("").await);
    let long = Job::new("mail", "long").expect("a job");
    case.queue.push(long, HOUR * 2).await.expect("pushed");
    case.change(AHEAD, ());
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
    let due: i64 = case
        .hand
        .query_row(
            "SELECT (due - unixepoch() * 1000) / 1000 FROM jobs WHERE payload = 'long'",
            (),
            |row| row.get(0),
        )
        .expect("a time");
    assert!((7100..=7201).contains(&due), "{due}");
}

#[tokio::test]
async fn a_clock_that_is_put_back_ends_no_lease_early_and_none_late() {
    let case = Case::new();
    let id = case.push("").await;
    let lease = case.queue.lease(&[], SHORT).await;
    let lease = lease.expect("an answer").expect("a job");
    case.change(AHEAD, ());
    let start = SystemClock.now();
    assert_eq!(case.next().await, None, "it has a worker");
    let again = case.next_in_time().await;
    assert!(SystemClock.now() - start >= SHORT);
    assert_eq!((again.id, again.attempt), (id, 2));
    let late = case.queue.finish(&lease).await;
    assert!(matches!(late, Err(QueueError::Lost(_))));
    // And who holds the job meanwhile finishes as ever.
    case.change(AHEAD, ());
    case.queue.finish(&again).await.expect("finished");
    assert_eq!(case.counted().await, [0; 4]);
}

#[tokio::test]
async fn what_was_set_before_the_clock_was_ahead_is_left_alone() {
    let case = Case::new();
    let job = Job::new("mail", "").expect("a job");
    case.queue.push(job, HOUR).await.expect("pushed");
    let times = || {
        let sql = "SELECT due, since FROM jobs WHERE id = 1";
        let times = case
            .hand
            .query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?)));
        times.expect("a row")
    };
    let before: (i64, i64) = times();
    case.push("").await;
    case.change(&format!("{AHEAD} WHERE id = 2"), ());
    assert_eq!(case.leased().await.id.get(), 2);
    assert_eq!(times(), before);
}

#[tokio::test]
async fn a_clock_that_is_put_forward_ends_leases_but_late_work_counts() {
    let case = Case::new();
    case.push("").await;
    let lease = case.leased().await;
    case.change(
        "UPDATE jobs SET due = due - 7200000, since = since - 7200000",
        (),
    );
    assert_eq!(case.counted().await, [1, 0, 0, 0]);
    case.queue.finish(&lease).await.expect("finished");
    assert_eq!(case.counted().await, [0; 4]);
}

// ---- others who use the file ----------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_while_somebody_holds_the_lock_is_told_in_time_and_nothing_is_lost() {
    let case = Case::new();
    let (first, second) = (case.push("").await, case.push("").await);
    let lease = case.leased().await;
    case.hand.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let start = SystemClock.now();
    let queue = &case.queue;
    let refused = tokio::join!(
        push(queue, "", 1),
        queue.lease(&[], HOUR),
        queue.finish(&lease)
    );
    assert!(matches!(refused.0, Err(QueueError::Unavailable(_))));
    assert!(matches!(refused.1, Err(QueueError::Unavailable(_))));
    assert!(matches!(refused.2, Err(QueueError::Unavailable(_))));
    let waited = SystemClock.now() - start;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!(case.counted().await, [1, 0, 1, 0], "who reads is answered");
    assert_eq!(case.dead().await, []);
    case.hand.execute_batch("ROLLBACK").expect("free");
    assert_eq!(case.leased().await.id, second);
    assert_eq!(lease.id, first);
    queue.finish(&lease).await.expect("finished");
    assert_eq!(case.counted().await, [0, 0, 1, 0]);
}
