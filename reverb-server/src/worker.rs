//! The worker: does what the queue holds, each job once, on one of the servers that share the database.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use reverb_core::app_store::BoxError;
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::{Leased, Queue, QueueError, backoff};
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

/// How long it is waited for work that others have pushed, or that was to be done later. What is pushed here is done at once.
const IDLE: Duration = Duration::from_secs(5);
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
    work_off(&database, &KINDS, perform, stops).await;
}

/// Pushes what is to be done every so often, if it is this server's turn. Asked for more often than that.
pub(crate) async fn push_chores(database: &Database) {
    let pushed: Result<(), BoxError> = async {
        if database.panel.claim(CLEAN_UP, CLEANED_EVERY).await? {
            database.push(CLEAN_UP).await?;
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
    database: &Database,
    kinds: &[&str],
    perform: impl Fn(Leased) -> W,
    stops: impl Future<Output = ()>,
) where
    W: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (mut stops, mut answers) = (pin!(stops), true);
    loop {
        let pause = match next(&*database.queue, kinds, &perform).await {
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
            () = database.pushed.notified() => {}
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
mod tests;
