//! The worker: does what the queue holds, each job once, on one of the servers that share the database.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use reverb_core::app_store::BoxError;
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::{Job, Leased, Queue, QueueError, backoff};

use tokio::sync::watch;

use crate::apps::Database;
use crate::panel::store::{Retention, Swept};

/// Has every server look at every app anew. It carries nothing.
pub(crate) const RELOAD: &str = "reload";

/// Removes sessions and entries of the audit log that are too old. It carries nothing.
const CLEAN_UP: &str = "clean-up";

/// What this version can do. Other jobs wait for a server that can do them.
const KINDS: [&str; 2] = [RELOAD, CLEAN_UP];

/// How often it is cleaned up, by one of the servers.
const CLEANED_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long it is waited for work where there was none.
const IDLE: Duration = Duration::from_millis(500);
/// The same where the queue did not answer.
const AWAY: Duration = Duration::from_secs(2);
/// How long a job may take.
const PATIENCE: Duration = Duration::from_secs(50);
/// After this a job whose worker has vanished is given to another.
const LEASE: Duration = Duration::from_secs(60);

/// Works until whoever holds the other end of `stops` lets go of it, and then ends what it is at: within fifty seconds,
/// mostly at once.
///
/// A job that panics is tried again, by any server, and so is one whose worker was dropped. A queue that panics is asked again.
pub(crate) async fn work(database: Database, stops: watch::Receiver<()>) {
    loop {
        let stopped = stopped(stops.clone());
        let worker = tokio::spawn(work_until(database.clone(), stopped));
        match worker.await {
            Ok(()) => return,
            Err(panicked) => tracing::error!(%panicked, "the worker has ended: another one begins"),
        }
        tokio::time::sleep(AWAY).await;
    }
}

/// Resolves when the other end is gone.
async fn stopped(mut stops: watch::Receiver<()>) {
    while stops.changed().await.is_ok() {}
}

async fn work_until(database: Database, stops: impl Future<Output = ()>) {
    let perform = |leased: Leased| {
        let database = database.clone();
        async move { perform(&database, &leased).await }
    };
    work_off(&*database.queue, &KINDS, perform, stops).await;
}

/// Pushes what is to be done every so often, if it is this server's turn. Asked for more often than that.
pub(crate) async fn push_chores(database: &Database) {
    let pushed: Result<(), BoxError> = async {
        if database.panel.claim(CLEAN_UP, CLEANED_EVERY).await? {
            let job = Job::new(CLEAN_UP, "").expect("it is short");
            database.queue.push(job, Duration::ZERO).await?;
        }
        Ok(())
    }
    .await;
    if let Err(error) = pushed {
        tracing::warn!(error = &*error as &dyn Error, "nothing is cleaned up now");
    }
}

async fn perform(database: &Database, leased: &Leased) -> Result<(), BoxError> {
    match leased.kind.as_str() {
        RELOAD => {
            database.apps.announce_all().await?;
            tracing::info!("every server is told to look up all apps anew");
            Ok(())
        }
        CLEAN_UP => {
            let now = SystemClock.unix_time().as_secs();
            let swept = database.panel.sweep(now, &Retention::default()).await?;
            if swept != Swept::default() {
                let Swept {
                    sessions, entries, ..
                } = swept;
                tracing::info!(sessions, entries, "what was too old was removed");
            }
            Ok(())
        }
        other => Err(format!("there is nobody here who can do {other:?}").into()),
    }
}

async fn work_off<W>(
    queue: &dyn Queue,
    kinds: &[&str],
    perform: impl Fn(Leased) -> W,
    stops: impl Future<Output = ()>,
) where
    W: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (mut stops, mut answers) = (pin!(stops), true);
    loop {
        let pause = match next(queue, kinds, &perform).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => IDLE,
            Err(error) => {
                // Once, not every time.
                if answers {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "the queue does not answer: what waits there waits on"
                    );
                }
                AWAY
            }
        };
        answers = pause != AWAY;
        tokio::select! {
            biased;
            () = &mut stops => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Does the next job, if there is one.
async fn next<W>(
    queue: &dyn Queue,
    kinds: &[&str],
    perform: impl Fn(Leased) -> W,
) -> Result<bool, QueueError>
where
    W: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let Some(leased) = queue.lease(kinds, LEASE).await? else {
        return Ok(false);
    };
    let told = match attempt(perform(leased.clone())).await {
        Ok(()) => queue.finish(&leased).await,
        Err(reason) => {
            let (job, kind, attempt) = (leased.id, &leased.kind, leased.attempt);
            if leased.is_last() {
                tracing::error!(%job, kind, attempt, reason, "a job has failed for good: queue list shows it, queue retry has it tried again");
            } else {
                tracing::warn!(%job, kind, attempt, reason, "a job has failed, and is tried again");
            }
            queue.retry(&leased, after(attempt), &reason).await
        }
    };
    match told {
        // It took too long, and somebody else has it.
        Err(QueueError::Lost(_)) => Ok(true),
        told => told.map(|()| true),
    }
}

/// One attempt, in a task of its own: one that panics takes nobody along.
async fn attempt(
    work: impl Future<Output = Result<(), BoxError>> + Send + 'static,
) -> Result<(), String> {
    let mut task = tokio::spawn(work);
    match tokio::time::timeout(PATIENCE, &mut task).await {
        Ok(Ok(done)) => done.map_err(|error| all_of(&*error)),
        Ok(Err(panicked)) => Err(panicked.to_string()),
        Err(_) => {
            task.abort();
            Err(format!("it took longer than {} s", PATIENCE.as_secs()))
        }
    }
}

/// What an error says, and what it says of its causes.
fn all_of(error: &dyn Error) -> String {
    let (mut said, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        said += &format!(": {cause}");
        source = cause.source();
    }
    said
}

/// When to try again. A random part more, so that what failed together does not come back together.
fn after(attempt: u32) -> Duration {
    backoff(attempt).mul_f64(rand::random_range(1.0..1.5))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use async_trait::async_trait;
    use reverb_core::app_store::{AppChanges, Changed, MemoryApps};
    use reverb_core::clock::ManualClock;
    use reverb_core::queue::{Counts, DeadJob, JobId, MemoryQueue};
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

        async fn lease(
            &self,
            kinds: &[&str],
            time: Duration,
        ) -> Result<Option<Leased>, QueueError> {
            assert_ne!(self.1.fetch_add(1, Relaxed), 0, "on purpose");
            self.0.lease(kinds, time).await
        }

        async fn extend(&self, leased: &Leased, time: Duration) -> Result<(), QueueError> {
            self.0.extend(leased, time).await
        }

        async fn finish(&self, leased: &Leased) -> Result<(), QueueError> {
            self.0.finish(leased).await
        }

        async fn retry(
            &self,
            leased: &Leased,
            after: Duration,
            why: &str,
        ) -> Result<(), QueueError> {
            self.0.retry(leased, after, why).await
        }

        async fn bury(&self, leased: &Leased, why: &str) -> Result<(), QueueError> {
            self.0.bury(leased, why).await
        }

        async fn counts(&self) -> Result<Counts, QueueError> {
            self.0.counts().await
        }

        async fn dead(
            &self,
            after: Option<JobId>,
            most: usize,
        ) -> Result<Vec<DeadJob>, QueueError> {
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

    #[test]
    fn what_failed_together_comes_back_apart() {
        let pauses: Vec<Duration> = (0..20).map(|_| after(3)).collect();
        let (least, most) = (Duration::from_secs(4), Duration::from_secs(6));
        assert!(pauses.iter().all(|pause| (least..most).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
