//! Jobs that go well, fail, panic or hang, and queues that do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use async_trait::async_trait;
use reverb_core::app_store::{AppChanges, Changed, MemoryApps};
use reverb_core::clock::ManualClock;
use reverb_core::queue::{Counts, DeadJob, Job, JobId, MemoryQueue};
use reverb_sqlite::Sqlite;

use super::*;
use crate::panel::store::{NewEntry, PanelStore, SqlitePanel};

async fn push(queue: &MemoryQueue, job: Job) {
    queue.push(job, Duration::ZERO).await.expect("pushed");
}

fn database(apps: &MemoryApps, queue: &MemoryQueue, panel: SqlitePanel) -> Database {
    Database {
        apps: Arc::new(apps.clone()),
        queue: Arc::new(queue.clone()),
        panel: Arc::new(panel),
        name: "memory".to_owned(),
        pushed: Arc::default(),
    }
}

fn job(kind: &str) -> Job {
    Job::new(kind, "").expect("a job")
}

#[tokio::test]
async fn a_reload_is_announced_once_and_what_is_unknown_waits() {
    let (apps, queue) = (MemoryApps::default(), MemoryQueue::default());
    let database = database(&apps, &queue, SqlitePanel::nowhere());
    push(&queue, job("from-a-later-version")).await;
    push(&queue, job(RELOAD)).await;
    work_until(database, async {
        while queue.counts().await.expect("counts").waiting > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let changes = apps.changes_since(0).await.expect("an answer");
    assert_eq!((changes.revision, changes.apps), (1, Changed::Any));
    let counts = queue.counts().await.expect("counts");
    assert_eq!((counts.waiting, counts.dead), (1, 0));
}

#[tokio::test]
async fn of_several_servers_one_cleans_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Sqlite::open(&folder.path().join("panel.sqlite3")).expect("it opens");
    let panel = SqlitePanel::open(file).await.expect("a panel");
    let long_ago = NewEntry::new(1, "somebody", "something", "of 1970");
    panel.note(&long_ago).await.expect("noted");
    let queue = MemoryQueue::default();
    let database = database(&MemoryApps::default(), &queue, panel.clone());
    for _ in 0..3 {
        push_chores(&database).await;
    }
    assert_eq!(queue.counts().await.expect("counts").waiting, 1);
    work_until(database, async {
        while queue.counts().await.expect("counts") != Counts::default() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(panel.entries(None, 1).await.expect("entries").is_empty());
}

/// Works off one job that can be attempted twice, each attempt like this; returns how many there were and what is left.
async fn worked_off<W>(work: impl Fn() -> W) -> (u32, Counts, String)
where
    W: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let clock = ManualClock::new(Duration::ZERO);
    let queue = MemoryQueue::with_clock(10, clock.clone());
    push(&queue, job("mail").with_max_attempts(2)).await;
    let attempts = AtomicU32::new(0);
    for _ in 0..2 {
        let perform = |_| {
            attempts.fetch_add(1, Relaxed);
            work()
        };
        next(&queue, &["mail"], perform).await.expect("an answer");
        clock.advance(Duration::from_secs(2));
    }
    let dead = queue.dead(None, 1).await.expect("dead letters");
    let reason = dead
        .first()
        .map_or_else(String::new, |dead| dead.reason.clone());
    (
        attempts.into_inner(),
        queue.counts().await.expect("counts"),
        reason,
    )
}

#[tokio::test]
async fn what_is_done_is_done_once() {
    let (attempts, left, _) = worked_off(|| async { Ok(()) }).await;
    assert_eq!((attempts, left), (1, Counts::default()));
}

#[tokio::test]
async fn what_fails_is_tried_again_and_then_a_dead_letter_with_the_reason() {
    let (attempts, left, reason) = worked_off(|| async { Err("no route".into()) }).await;
    assert_eq!((attempts, left.dead), (2, 1));
    assert_eq!(reason, "no route");
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let (attempts, left, reason) = worked_off(|| async { panic!("on purpose") }).await;
    assert_eq!((attempts, left.dead), (2, 1));
    assert!(reason.contains("on purpose"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_given_up() {
    let (attempts, left, reason) = worked_off(std::future::pending).await;
    assert_eq!((attempts, left.dead), (2, 1));
    assert!(reason.contains("50 s"), "{reason}");
}

/// A queue that panics at first.
struct Faulty(MemoryQueue, AtomicU32);

#[async_trait]
impl Queue for Faulty {
    async fn push(&self, job: Job, delay: Duration) -> Result<JobId, QueueError> {
        self.0.push(job, delay).await
    }

    async fn lease(&self, kinds: &[&str], time: Duration) -> Result<Option<Leased>, QueueError> {
        assert_ne!(self.1.fetch_add(1, Relaxed), 0, "on purpose");
        self.0.lease(kinds, time).await
    }

    async fn extend(&self, leased: &Leased, time: Duration) -> Result<(), QueueError> {
        self.0.extend(leased, time).await
    }

    async fn finish(&self, leased: &Leased) -> Result<(), QueueError> {
        self.0.finish(leased).await
    }

    async fn retry(&self, leased: &Leased, after: Duration, why: &str) -> Result<(), QueueError> {
        self.0.retry(leased, after, why).await
    }

    async fn bury(&self, leased: &Leased, why: &str) -> Result<(), QueueError> {
        self.0.bury(leased, why).await
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        self.0.counts().await
    }

    async fn dead(&self, after: Option<JobId>, most: usize) -> Result<Vec<DeadJob>, QueueError> {
        self.0.dead(after, most).await
    }

    async fn revive(&self, id: JobId) -> Result<(), QueueError> {
        self.0.revive(id).await
    }

    async fn purge_dead(&self, id: Option<JobId>) -> Result<u64, QueueError> {
        self.0.purge_dead(id).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_panics_is_asked_again_until_the_worker_is_stopped() {
    let queue = MemoryQueue::default();
    let mut database = database(&MemoryApps::default(), &queue, SqlitePanel::nowhere());
    database.queue = Arc::new(Faulty(queue.clone(), AtomicU32::new(0)));
    push(&queue, job(RELOAD)).await;
    let (stop, stops) = watch::channel(());
    let worker = tokio::spawn(work(database, stops));
    while queue.counts().await.expect("counts") != Counts::default() {
        tokio::time::sleep(IDLE).await;
    }
    drop(stop);
    worker.await.expect("it has ended well");
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_here_is_done_at_once() {
    let queue = MemoryQueue::default();
    let database = database(&MemoryApps::default(), &queue, SqlitePanel::nowhere());
    let (_stop, stops) = watch::channel(());
    tokio::spawn(work(database.clone(), stops));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pushed = tokio::time::Instant::now();
    database.push(RELOAD).await.expect("pushed");
    while queue.counts().await.expect("counts") != Counts::default() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(pushed.elapsed() < Duration::from_secs(1));
}

#[test]
fn what_failed_together_comes_back_apart() {
    let pauses: Vec<Duration> = (0..20).map(|_| after(3)).collect();
    let (least, most) = (Duration::from_secs(4), Duration::from_secs(6));
    assert!(pauses.iter().all(|pause| (least..most).contains(pause)));
    assert!(pauses.iter().any(|pause| *pause != pauses[0]));
}
