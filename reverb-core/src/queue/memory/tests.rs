//! What the contract cannot ask, since it has no clock to set and does not look inside.

use super::*;
use crate::clock::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn clock() -> ManualClock {
    ManualClock::new(Duration::from_secs(1_700_000_000))
}

fn job(payload: &str) -> Job {
    Job::new("mail", payload).expect("a job")
}

async fn pushed(queue: &MemoryQueue, job: Job) -> JobId {
    queue.push(job, Duration::ZERO).await.expect("pushed")
}

async fn leased(queue: &MemoryQueue, lasting: Duration) -> Option<Leased> {
    queue.lease(&[], lasting).await.expect("an answer")
}

/// The ids of the dead.
async fn dead(queue: &MemoryQueue) -> Vec<JobId> {
    let dead = queue.dead(None, usize::MAX).await.expect("a list");
    dead.iter().map(|dead| dead.id).collect()
}

#[tokio::test]
async fn delays_and_leases_end_to_the_millisecond() {
    let clock = clock();
    let queue = MemoryQueue::with_clock(10, clock.clone());
    queue.push(job("a"), SECOND).await.expect("pushed");
    clock.advance(SECOND - MILLI);
    assert_eq!(leased(&queue, SECOND).await, None);
    let delayed = queue.counts().await.expect("counts");
    assert_eq!((delayed.delayed, delayed.oldest), (1, None));
    clock.advance(MILLI);
    let first = leased(&queue, SECOND).await.expect("it is due");
    assert_eq!(first.attempt, 1);
    clock.advance(SECOND - MILLI);
    assert_eq!(leased(&queue, SECOND).await, None);
    assert_eq!(queue.counts().await.expect("counts").leased, 1);
    clock.advance(MILLI);
    assert_eq!(queue.counts().await.expect("counts").waiting, 1);
    let second = leased(&queue, SECOND).await.expect("the lease is over");
    assert_eq!((second.id, second.attempt), (first.id, 2));
    clock.advance(SECOND - MILLI);
    queue.extend(&second, SECOND).await.expect("extended");
    clock.advance(SECOND - MILLI);
    assert_eq!(leased(&queue, SECOND).await, None);
    clock.advance(MILLI);
    assert!(leased(&queue, SECOND).await.is_some());
}

#[tokio::test]
async fn who_has_waited_longest_is_known_and_comes_first() {
    let clock = clock();
    let queue = MemoryQueue::with_clock(10, clock.clone());
    let delayed = queue.push(job("a"), MINUTE).await.expect("pushed");
    clock.advance(SECOND);
    let first = pushed(&queue, job("b")).await;
    clock.advance(HOUR);
    let counts = queue.counts().await.expect("counts");
    assert_eq!((counts.waiting, counts.oldest), (2, Some(HOUR)));
    assert_eq!(leased(&queue, SECOND).await.expect("a job").id, first);
    assert_eq!(leased(&queue, SECOND).await.expect("a job").id, delayed);
    // A job that was taken back has been due since its lease ended.
    clock.advance(MINUTE);
    let counts = queue.counts().await.expect("counts");
    assert_eq!(counts.oldest, Some(MINUTE - SECOND));
}

/// A clock whose wall can be set back.
#[derive(Clone)]
struct SetBack(ManualClock, Arc<Mutex<Duration>>);

impl Clock for SetBack {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn unix_time(&self) -> Duration {
        self.0.unix_time() - *self.1.lock()
    }
}

#[tokio::test]
async fn a_wall_clock_set_back_holds_nothing_up() {
    let clock = SetBack(clock(), Arc::default());
    let queue = MemoryQueue::with_clock(10, clock.clone());
    let held = pushed(&queue, job("held")).await;
    assert!(leased(&queue, SECOND).await.is_some());
    let last = pushed(&queue, job("last").with_max_attempts(1)).await;
    assert!(leased(&queue, SECOND).await.is_some());
    let delayed = queue.push(job("delayed"), SECOND).await.expect("pushed");
    let waiting = pushed(&queue, job("waiting")).await;
    *clock.1.lock() = HOUR;
    clock.0.advance(SECOND);
    for id in [waiting, held, delayed] {
        assert_eq!(leased(&queue, MINUTE).await.expect("it is due").id, id);
    }
    let dead = queue.dead(None, 10).await.expect("a list");
    assert_eq!((dead.len(), dead[0].id), (1, last));
    assert_eq!(dead[0].died_at, 1_700_000_001 - 60 * 60);
}

#[tokio::test]
async fn what_was_purged_or_revived_is_not_dropped_again() {
    let queue = MemoryQueue::new(3);
    let mut died = Vec::new();
    for n in 0..5 {
        died.push(pushed(&queue, job("x")).await);
        let leased = leased(&queue, HOUR).await.expect("a job");
        queue.bury(&leased, "no").await.expect("buried");
        if n == 2 {
            assert_eq!(queue.purge_dead(Some(died[1])).await.expect("purged"), 1);
            queue.revive(died[2]).await.expect("revived");
            let leased = self::leased(&queue, HOUR).await.expect("a job");
            queue.finish(&leased).await.expect("finished");
        }
    }
    assert_eq!(dead(&queue).await, [died[0], died[3], died[4]]);
}

#[tokio::test]
async fn clones_share_the_jobs_and_no_payload_is_printed() {
    let queue = MemoryQueue::default();
    let id = pushed(&queue.clone(), job("canary-7f3a")).await;
    assert_eq!(leased(&queue, HOUR).await.expect("a job").id, id);
    let printed = format!("{queue:?}");
    assert!(!printed.contains("canary"), "{printed}");
    assert!(
        printed.contains("limit: 100000, jobs: 1, dead: 0"),
        "{printed}"
    );
}

#[tokio::test]
async fn nothing_is_left_over_of_what_is_done() {
    let queue = MemoryQueue::default();
    for n in 0..100 {
        let kind = format!("kind-{n}");
        let job = Job::new(kind, "x").expect("a job");
        queue.push(job, Duration::ZERO).await.expect("pushed");
        let leased = leased(&queue, HOUR).await.expect("a job");
        match n % 2 {
            0 => queue.finish(&leased).await.expect("finished"),
            _ => queue.bury(&leased, "no").await.expect("buried"),
        }
    }
    assert_eq!(queue.purge_dead(None).await.expect("purged"), 50);
    let jobs = queue.jobs.lock();
    assert!(jobs.all.is_empty() && jobs.due.is_empty() && jobs.held.is_empty());
    assert!(jobs.dead.is_empty() && jobs.deaths.is_empty());
}
