//! How many jobs a second go through a queue, printed: no promise, but measured in one way for all.
//!
//! Each line is about three seconds' work, with payloads of 100 bytes; the worst is the longest that anybody waited for an
//! answer.

use std::time::{Duration, Instant};

use crate::clock::{Clock, SystemClock};
use crate::queue::{Job, Queue};

const RUN: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(60);

/// One that is empty at first, and has room for millions.
pub async fn of_an_empty_queue(queue: &(impl Queue + Clone), hands: usize) {
    measure(queue, "push", hands, push).await;
    measure(queue, "lease and finish", hands, lease_and_finish).await;
}

/// One in which jobs of a hundred kinds are due, from `kind-0` to `kind-99`.
pub async fn of_a_full_queue(queue: &(impl Queue + Clone)) {
    for hands in [1, 16] {
        of_an_empty_queue(queue, hands).await;
    }
    measure(queue, "of one kind", 1, of_one_kind).await;
    measure(queue, "of three kinds", 1, of_three_kinds).await;
    measure(queue, "of no kind there is", 1, of_no_kind).await;
    measure(queue, "counts", 1, counts).await;
}

/// Has so many do this again and again, and says how often it was done.
async fn measure<Q: Queue + Clone, F: Future<Output = bool> + Send + 'static>(
    queue: &Q,
    what: &str,
    hands: usize,
    work: fn(Q) -> F,
) {
    let start = SystemClock.now();
    let working: Vec<_> = (0..hands)
        .map(|_| tokio::spawn(repeat(queue.clone(), start, work)))
        .collect();
    let (mut done, mut worst) = (0, Duration::ZERO);
    for hand in working {
        let (times, longest) = hand.await.expect("no panic");
        (done, worst) = (done + times, worst.max(longest));
    }
    let rate = f64::from(done) / (SystemClock.now() - start).as_secs_f64();
    println!("{what:<20} {hands:>2} at a time {rate:>8.0}/s   worst {worst:.1?}");
}

/// How often it was done, and how long it took at most.
async fn repeat<Q: Queue + Clone, F: Future<Output = bool>>(
    queue: Q,
    start: Instant,
    work: fn(Q) -> F,
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

async fn push(queue: impl Queue) -> bool {
    let job = Job::new("mail", "x".repeat(100)).expect("a job");
    queue.push(job, Duration::ZERO).await.expect("pushed");
    true
}

async fn lease_and_finish(queue: impl Queue) -> bool {
    of(queue, &[]).await
}

async fn of_one_kind(queue: impl Queue) -> bool {
    of(queue, &["kind-99"]).await
}

async fn of_three_kinds(queue: impl Queue) -> bool {
    of(queue, &["kind-1", "kind-2", "kind-3"]).await
}

async fn of(queue: impl Queue, kinds: &[&str]) -> bool {
    let leased = queue.lease(kinds, LEASE).await.expect("an answer");
    if let Some(leased) = &leased {
        queue.finish(leased).await.expect("finished");
    }
    leased.is_some()
}

async fn of_no_kind(queue: impl Queue) -> bool {
    let leased = queue.lease(&["none"], LEASE).await.expect("an answer");
    leased.is_none()
}

async fn counts(queue: impl Queue) -> bool {
    queue.counts().await.is_ok()
}
