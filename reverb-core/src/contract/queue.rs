//! The promises of [`Queue`], each of which is given an empty one.
//!
//! Stores have clocks of their own, which nobody can set here, and which may be as coarse as a second. So what has to come
//! with time is waited for, and what must not come early is allowed to be early by that second.

#![expect(missing_docs, reason = "the names say it")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::clock::{Clock, SystemClock};
use crate::queue::{Counts, DeadJob, Job, JobId, Leased, Queue, QueueError, WENT_AWAY};

mod dead;
mod limits;
mod shared;

pub use self::dead::*;
pub use self::limits::*;
pub use self::shared::*;

const NOW: Duration = Duration::ZERO;
/// For what is to end while the test waits.
const SHORT: Duration = Duration::from_millis(300);
/// For what is not to end as long as the test lasts.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How coarse a store's clock may be.
const COARSE: Duration = Duration::from_secs(1);

fn job(kind: &str, payload: &str) -> Job {
    Job::new(kind, payload).expect("a job")
}

async fn pushed(queue: &impl Queue, job: Job) -> JobId {
    queue.push(job, NOW).await.expect("pushed")
}

/// The next job of any kind, if one is due.
async fn next(queue: &impl Queue, lasting: Duration) -> Option<Leased> {
    queue.lease(&[], lasting).await.expect("an answer")
}

/// The next job of any kind, which is due.
async fn leased(queue: &impl Queue, lasting: Duration) -> Leased {
    next(queue, lasting).await.expect("a job is due")
}

/// What this gives as soon as it gives something.
async fn in_time<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = SystemClock.now();
    while SystemClock.now() - start < Duration::from_secs(20) {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come in 20 seconds");
}

fn since(start: Instant) -> Duration {
    SystemClock.now() - start
}

async fn all_dead(queue: &impl Queue) -> Vec<DeadJob> {
    queue.dead(None, usize::MAX).await.expect("a list")
}

/// How many are waiting, delayed, leased, and dead.
async fn counted(queue: &impl Queue) -> [u64; 4] {
    let counts = queue.counts().await.expect("counts");
    assert_eq!(counts.oldest.is_some(), counts.waiting > 0);
    [counts.waiting, counts.delayed, counts.leased, counts.dead]
}

async fn is_empty(queue: &impl Queue) {
    let counts = queue.counts().await.expect("counts");
    assert_eq!(counts, Counts::default(), "nothing is left over");
}

/// All that can be done with a lease is refused, since it is lost.
async fn is_lost(queue: &impl Queue, leased: &Leased) {
    for refused in [
        queue.finish(leased).await,
        queue.extend(leased, HOUR).await,
        queue.retry(leased, NOW, "late").await,
        queue.bury(leased, "late").await,
    ] {
        assert!(
            matches!(refused, Err(QueueError::Lost(id)) if id == leased.id),
            "{refused:?}"
        );
    }
}

pub async fn a_job_is_leased_to_one_worker_and_finished(queue: impl Queue) {
    is_empty(&queue).await;
    assert_eq!(next(&queue, HOUR).await, None);
    let id = pushed(&queue, job("mail", "ada").with_max_attempts(3)).await;
    assert!(id.get() > 0);
    assert_eq!(counted(&queue).await, [1, 0, 0, 0]);
    let lease = leased(&queue, HOUR).await;
    assert_eq!((lease.id, lease.kind.as_str()), (id, "mail"));
    assert_eq!(lease.payload, "ada");
    assert_eq!((lease.attempt, lease.max_attempts), (1, 3));
    assert_eq!(counted(&queue).await, [0, 0, 1, 0]);
    assert_eq!(next(&queue, HOUR).await, None, "somebody has it");
    queue.finish(&lease).await.expect("finished");
    is_lost(&queue, &lease).await;
    is_empty(&queue).await;
}

pub async fn every_payload_comes_back_to_the_byte(queue: impl Queue) {
    let planes: String = (0..=16)
        .filter_map(|plane| char::from_u32(plane * 0x1_0000 + 0xa9))
        .collect();
    assert_eq!(planes.chars().count(), 17);
    let payloads = [
        "",
        " ",
        "  between spaces \t\r\n",
        "\0 \u{1} \u{7f} \u{feff} \u{fffd} \u{10ffff}",
        r#"{"a":"it's \"said\" \\ `so`; -- %_ ? $1 :x"}"#,
        "e\u{301} is not \u{e9}",
        &planes,
    ];
    for payload in payloads {
        pushed(&queue, job("mail", payload)).await;
        let lease = leased(&queue, HOUR).await;
        assert_eq!(lease.payload, payload);
        queue.bury(&lease, payload).await.expect("buried");
        let dead = all_dead(&queue).await;
        assert_eq!((&*dead[0].payload, &*dead[0].reason), (payload, payload));
        queue.purge_dead(None).await.expect("purged");
    }
    is_empty(&queue).await;
}

pub async fn the_largest_job_there_may_be_is_taken(queue: impl Queue) {
    let kind = "\u{1f4e8}".repeat(Job::MAX_KIND / 4);
    let payload = "\u{1f4e8}".repeat(Job::MAX_PAYLOAD / 4);
    pushed(&queue, job(&kind, &payload)).await;
    let lease = leased(&queue, HOUR).await;
    assert_eq!(lease.kind, kind);
    assert!(lease.payload == payload);
    queue.finish(&lease).await.expect("finished");
    is_empty(&queue).await;
}

pub async fn what_has_been_due_longest_comes_first(queue: impl Queue) {
    let late = queue.push(job("mail", ""), SHORT).await.expect("pushed");
    let mut expected = Vec::new();
    for kind in ["webhook", "mail"].repeat(5) {
        expected.push(pushed(&queue, job(kind, "")).await);
    }
    expected.push(late);
    in_time(async || (counted(&queue).await[0] == 11).then_some(())).await;
    let mut came = Vec::new();
    while let Some(lease) = next(&queue, HOUR).await {
        queue.finish(&lease).await.expect("finished");
        came.push(lease.id);
    }
    assert_eq!(came, expected);
    is_empty(&queue).await;
}

pub async fn a_delayed_job_comes_when_it_is_due(queue: impl Queue) {
    let start = SystemClock.now();
    let delay = COARSE + SHORT;
    let soon = queue.push(job("mail", ""), delay).await.expect("pushed");
    queue.push(job("mail", ""), HOUR).await.expect("pushed");
    assert_eq!(queue.counts().await.expect("counts").delayed, 2);
    let lease = in_time(async || next(&queue, HOUR).await).await;
    assert_eq!((lease.id, lease.attempt), (soon, 1));
    assert!(since(start) >= delay - COARSE, "{:?}", since(start));
    assert_eq!(next(&queue, HOUR).await, None);
    assert_eq!(counted(&queue).await, [0, 1, 1, 0]);
}

pub async fn only_the_kinds_that_were_asked_for_are_leased(queue: impl Queue) {
    let kinds = ["mail", "Mail", "mail ", "ma\u{ef}l", "m%", "a,b", "'"];
    let mut ids = Vec::new();
    for kind in kinds {
        ids.push(pushed(&queue, job(kind, "")).await);
    }
    for none in ["MAIL", " mail", "m", "m_", "a", "%", "", "\""] {
        let lease = queue.lease(&[none], HOUR).await.expect("an answer");
        assert_eq!(lease, None, "{none:?}");
    }
    // Of several kinds the one that is due longest, in whatever order they are named.
    let lease = queue
        .lease(&["x", kinds[2], kinds[1], kinds[2]], HOUR)
        .await;
    let lease = lease.expect("an answer").expect("a job");
    assert_eq!((lease.id, &*lease.kind), (ids[1], kinds[1]));
    queue.finish(&lease).await.expect("finished");
    for n in [6, 5, 4, 3, 2, 0] {
        let lease = queue.lease(&[kinds[n]], HOUR).await.expect("an answer");
        let lease = lease.expect("a job of this kind");
        assert_eq!((lease.id, &*lease.kind), (ids[n], kinds[n]));
        queue.finish(&lease).await.expect("finished");
    }
    is_empty(&queue).await;
}

pub async fn a_lease_that_ran_out_is_lost_to_the_next_worker(queue: impl Queue) {
    let id = pushed(&queue, job("mail", "ada")).await;
    let start = SystemClock.now();
    let lasting = COARSE + SHORT;
    let first = leased(&queue, lasting).await;
    let second = in_time(async || next(&queue, HOUR).await).await;
    assert!(since(start) >= lasting - COARSE, "{:?}", since(start));
    assert_eq!((second.id, second.attempt), (id, 2));
    assert_eq!(second.payload, "ada");
    is_lost(&queue, &first).await;
    assert_eq!(counted(&queue).await, [0, 0, 1, 0], "as before");
    queue.finish(&second).await.expect("finished");
    is_lost(&queue, &first).await;
    is_empty(&queue).await;
}

pub async fn late_work_counts_while_nobody_else_has_the_job(queue: impl Queue) {
    for n in 0..4 {
        pushed(&queue, job("mail", "")).await;
        let lease = leased(&queue, SHORT).await;
        in_time(async || (counted(&queue).await[0] == 1).then_some(())).await;
        match n {
            0 => queue.finish(&lease).await.expect("finished"),
            1 => queue.bury(&lease, "no").await.expect("buried"),
            2 => queue.retry(&lease, HOUR, "no").await.expect("put back"),
            _ => queue.extend(&lease, HOUR).await.expect("extended"),
        }
        assert_eq!(next(&queue, HOUR).await, None);
    }
    assert_eq!(counted(&queue).await, [0, 1, 1, 1]);
}

pub async fn an_extended_lease_lasts_longer(queue: impl Queue) {
    pushed(&queue, job("mail", "")).await;
    let long = leased(&queue, SHORT).await;
    queue.extend(&long, HOUR).await.expect("extended");
    let other = pushed(&queue, job("mail", "")).await;
    leased(&queue, SHORT).await;
    // The other lease began later, so that the first one would have ended before it.
    let lease = in_time(async || next(&queue, HOUR).await).await;
    assert_eq!((lease.id, lease.attempt), (other, 2));
    assert_eq!(next(&queue, HOUR).await, None);
    // It may be made shorter too, and what was extended is finished as ever.
    queue.extend(&lease, SHORT).await.expect("made shorter");
    let lease = in_time(async || next(&queue, HOUR).await).await;
    assert_eq!((lease.id, lease.attempt), (other, 3));
    queue.finish(&lease).await.expect("finished");
    queue.finish(&long).await.expect("finished");
    is_empty(&queue).await;
}

pub async fn a_job_that_fails_comes_again_and_is_dead_in_the_end(queue: impl Queue) {
    let id = pushed(&queue, job("mail", "ada").with_max_attempts(3)).await;
    let first = leased(&queue, HOUR).await;
    queue.retry(&first, NOW, "one").await.expect("put back");
    is_lost(&queue, &first).await;
    let second = leased(&queue, HOUR).await;
    assert_eq!((second.id, second.attempt), (id, 2));
    let start = SystemClock.now();
    let after = COARSE + SHORT;
    queue.retry(&second, after, "two").await.expect("put back");
    assert_eq!(counted(&queue).await, [0, 1, 0, 0]);
    let third = in_time(async || next(&queue, HOUR).await).await;
    assert!(since(start) >= after - COARSE, "{:?}", since(start));
    assert!(third.is_last() && !second.is_last());
    queue.retry(&third, NOW, "three").await.expect("given up");
    is_lost(&queue, &third).await;
    assert_eq!(next(&queue, HOUR).await, None);
    assert_eq!(counted(&queue).await, [0, 0, 0, 1]);
    let dead = all_dead(&queue).await;
    assert_eq!((dead[0].id, dead[0].attempts), (id, 3));
    assert_eq!((&*dead[0].kind, &*dead[0].payload), ("mail", "ada"));
    assert_eq!(dead[0].reason, "three");
}

pub async fn a_worker_that_goes_away_on_the_last_attempt_leaves_a_dead_letter(queue: impl Queue) {
    let id = pushed(&queue, job("mail", "").with_max_attempts(1)).await;
    let lease = leased(&queue, SHORT).await;
    let dead = in_time(async || all_dead(&queue).await.pop()).await;
    assert_eq!((dead.id, dead.attempts), (id, 1));
    assert_eq!(dead.reason, WENT_AWAY);
    is_lost(&queue, &lease).await;
    assert_eq!(next(&queue, HOUR).await, None);
    // The counts know of it too, without anybody asking for the dead letters before.
    pushed(&queue, job("mail", "").with_max_attempts(1)).await;
    leased(&queue, SHORT).await;
    in_time(async || (counted(&queue).await == [0, 0, 0, 2]).then_some(())).await;
}

pub async fn any_length_of_time_is_taken(queue: impl Queue) {
    let ages = [Duration::MAX, HOUR * 24 * 365 * 200];
    for (n, age) in (1..).zip(ages) {
        queue.push(job("mail", ""), age).await.expect("pushed");
        pushed(&queue, job("mail", "")).await;
        let lease = leased(&queue, age).await;
        assert_eq!(next(&queue, HOUR).await, None);
        queue.extend(&lease, age).await.expect("extended");
        assert_eq!(next(&queue, HOUR).await, None);
        queue.retry(&lease, age, "no").await.expect("put back");
        assert_eq!(counted(&queue).await, [0, 2 * n, 0, 0]);
    }
    // And no time at all: such a lease is over at once, even where the clock is coarse.
    let id = pushed(&queue, job("mail", "")).await;
    leased(&queue, NOW).await;
    let again = in_time(async || next(&queue, HOUR).await).await;
    assert_eq!((again.id, again.attempt), (id, 2));
}

pub async fn many_workers_do_every_job_once(queue: impl Queue) {
    work_together(&[Arc::new(queue)]).await;
}

/// Has many workers push and work at the same time, each at the next of these, which are one queue.
async fn work_together<Q: Queue>(queues: &[Arc<Q>]) {
    const WORKERS: usize = 16;
    const JOBS: usize = 200;
    let (start, finished) = (SystemClock.now(), Arc::new(AtomicUsize::new(0)));
    let work = |n: usize| {
        let (queue, finished) = (queues[n % queues.len()].clone(), finished.clone());
        // They push while others work already, and work until everything has been done.
        async move {
            for n in (n..JOBS).step_by(WORKERS) {
                let kind = ["mail", "webhook"][n % 2];
                pushed(&*queue, job(kind, &n.to_string())).await;
            }
            let kinds: &[&str] = match n % 3 {
                0 => &["mail"],
                1 => &["webhook", "mail"],
                _ => &[],
            };
            let mut done = Vec::new();
            while finished.load(Relaxed) < JOBS {
                assert!(since(start) < Duration::from_secs(120), "a job was lost");
                let lease = queue.lease(kinds, HOUR).await.expect("an answer");
                let Some(lease) = lease else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                assert_eq!(lease.attempt, 1, "two had it at a time");
                queue.finish(&lease).await.expect("nobody else has it");
                done.push(lease.payload);
                finished.fetch_add(1, Relaxed);
            }
            done
        }
    };
    let workers: Vec<_> = (0..WORKERS).map(|n| tokio::spawn(work(n))).collect();
    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.expect("no panic"));
    }
    assert_eq!(done.len(), JOBS);
    let different: HashSet<&String> = done.iter().collect();
    assert_eq!(different.len(), JOBS);
    is_empty(&*queues[0]).await;
}
