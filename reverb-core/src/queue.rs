//! [`Queue`]: the back door, for work that is done once, by one worker: mail, webhooks, imports, clean-up.

use std::time::Duration;

use async_trait::async_trait;

use crate::app_store::BoxError;

mod job;
mod memory;

pub use self::job::{DeadJob, InvalidJob, InvalidJobId, Job, JobId, Leased, cut_reason};
pub use self::memory::MemoryQueue;

/// Why a job is a dead letter whose lease ran out on its last attempt.
pub const WENT_AWAY: &str = "the worker went away";

/// Jobs that wait to be done, each at least once.
///
/// A producer pushes, a worker asks for a lease, works, and says how it went. Nobody waits in here: where no job is due,
/// [`lease`](Self::lease) says so at once, and the worker asks again in a second or so. Many nodes may share one queue;
/// all times are the store's, so that their clocks need not agree. Implementations promise what the contract says
/// ([below](self#the-contract-of-queues)).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), reverb_core::queue::QueueError> {
/// use std::time::Duration;
/// use reverb_core::queue::{Job, MemoryQueue, Queue, backoff};
///
/// # async fn send(_: &str) -> Result<(), &'static str> { Ok(()) }
/// let queue = MemoryQueue::default();
/// queue.push(Job::new("mail", "ada@example.com")?, Duration::ZERO).await?;
///
/// // A worker: longer than the work may take, or it extends the lease meanwhile.
/// while let Some(leased) = queue.lease(&["mail"], Duration::from_secs(60)).await? {
///     match send(&leased.payload).await {
///         Ok(()) => queue.finish(&leased).await?,
///         Err(reason) => queue.retry(&leased, backoff(leased.attempt), reason).await?,
///     }
/// }
/// # assert_eq!(queue.counts().await?, Default::default());
/// # Ok(())
/// # }
/// ```
///
/// # The contract of queues
/// - When `push` has returned `Ok`, the job is as durable as the store is, and comes back to the byte. No id is given twice.
/// - The job that has been due longest comes first; of those due since the same time, the one with the lowest id.
/// - A job has one holder, until its lease runs out. Then it is due again, as the next attempt; after the last one it is
///   a dead letter ([`WENT_AWAY`]), at the latest when somebody asks for a lease, the counts or the dead letters.
/// - Who comes late, with a lease that has run out, may still finish, extend, retry or bury while nobody else was given the
///   job: what has been done is not done again without need. From then on it is [`QueueError::Lost`], for good.
/// - Delays and leases are kept to the millisecond or longer, never shorter, and those above a hundred years for a hundred.
/// - Kinds are told apart exactly, by every byte.
/// - Where there is a limit, all jobs count that are not done, leased ones too; beside them there are about as many dead
///   letters at the most, and those that died first are dropped.
///
/// # Dropped futures
/// A call that is dropped before it has returned, or returned [`QueueError::Unavailable`], may have taken place or not, but
/// never in part. A job that was leased for nobody is due again when that lease runs out. A `finish` that is
/// repeated says `Lost` if the first one took place.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Takes a job, due in so long; returns its id.
    ///
    /// # Errors
    /// The queue is full, or the store cannot take it.
    async fn push(&self, job: Job, delay: Duration) -> Result<JobId, QueueError>;

    /// The next job that is due among these kinds, or of any kind if the list is empty, for so long; `None` if there is
    /// none. That counts as an attempt, and nobody else is given the job meanwhile.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn lease(&self, kinds: &[&str], lasting: Duration) -> Result<Option<Leased>, QueueError>;

    /// Makes the lease end in so long from now, whether that is later than before or earlier.
    ///
    /// # Errors
    /// The lease is lost, or the store cannot do it.
    async fn extend(&self, leased: &Leased, lasting: Duration) -> Result<(), QueueError>;

    /// The work is done: removes the job.
    ///
    /// # Errors
    /// The lease is lost, or the store cannot do it.
    async fn finish(&self, leased: &Leased) -> Result<(), QueueError>;

    /// The work has failed: makes the job due again in so long, or a dead letter if this was its last attempt. The reason
    /// is kept for a dead letter only, the first thousand characters of it.
    ///
    /// # Errors
    /// The lease is lost, or the store cannot do it.
    async fn retry(&self, leased: &Leased, after: Duration, reason: &str)
    -> Result<(), QueueError>;

    /// Trying again cannot help: makes the job a dead letter, with the first thousand characters of the reason.
    ///
    /// # Errors
    /// The lease is lost, or the store cannot do it.
    async fn bury(&self, leased: &Leased, reason: &str) -> Result<(), QueueError>;

    /// How many jobs there are, by what they wait for.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn counts(&self) -> Result<Counts, QueueError>;

    /// The dead letters in the order of their ids, behind this one, and at most so many. Each comes with its payload, of up
    /// to 1 MiB: ask for pages.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn dead(&self, after: Option<JobId>, most: usize) -> Result<Vec<DeadJob>, QueueError>;

    /// Makes a dead letter a job again, under its id: due now, with no attempt made yet.
    ///
    /// # Errors
    /// No dead letter has this id, the queue is full, or the store cannot do it.
    async fn revive(&self, id: JobId) -> Result<(), QueueError>;

    /// Removes the dead letter with this id, or all of them; says how many those were, which may be none.
    ///
    /// # Errors
    /// The store cannot do it.
    async fn purge_dead(&self, id: Option<JobId>) -> Result<u64, QueueError>;
}

/// How many jobs a queue has. Each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Due now, and with nobody.
    pub waiting: u64,
    /// Due later.
    pub delayed: u64,
    /// With a worker.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// For how long the one that waits longest has been due: what to watch, and to raise an alarm by. `None` if none waits.
    pub oldest: Option<Duration>,
}

/// Why a queue has not done what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The store did not answer; asking again may help.
    #[error("the queue did not answer")]
    Unavailable(#[source] BoxError),
    /// The lease ran out and somebody else was given the job, or it is finished, put back or dead.
    #[error("the lease of job {0} is lost: leave the job alone, or use a longer lease next time")]
    Lost(JobId),
    /// There is no room for another job.
    #[error("the queue has {limit} jobs, which is its limit: push again later, or add workers")]
    Full {
        /// How many jobs there may be, without dead letters.
        limit: usize,
    },
    /// There is no dead letter with this id.
    #[error("no dead letter has the id {0}: list them to see which there are")]
    Missing(JobId),
    /// What was to be pushed is no job: for code that makes one and pushes it.
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
}

/// How long to wait after this attempt has failed, the first being 1: 1 s, 2 s, 4 s and so on up to 5 minutes.
///
/// It is always the same for the same attempt. Where many jobs fail at a time, as when a server that all of them need is
/// down, add a random part of your own, so that they do not come back at a time too.
///
/// ```
/// use std::time::Duration;
/// use reverb_core::queue::backoff;
///
/// assert_eq!(backoff(3), Duration::from_secs(4));
/// assert_eq!(backoff(100), Duration::from_secs(300));
/// ```
#[must_use]
pub fn backoff(attempt: u32) -> Duration {
    const LONGEST: u64 = 300;
    let doublings = attempt.saturating_sub(1);
    let seconds = 1_u64.checked_shl(doublings).unwrap_or(LONGEST);
    Duration::from_secs(seconds.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_five_minutes() {
        let seconds: Vec<u64> = (1..=11).map(|n| backoff(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        for attempt in [12, 63, 64, 65, 66, 1_000, u32::MAX] {
            assert_eq!(backoff(attempt), Duration::from_secs(300), "{attempt}");
        }
        assert_eq!(backoff(0), Duration::from_secs(1), "there is no attempt 0");
    }

    #[test]
    fn an_error_says_what_to_do() {
        let said = |error: QueueError| error.to_string();
        let full = said(QueueError::Full { limit: 3 });
        assert!(full.contains("3 jobs") && full.contains("later"), "{full}");
        let lost = said(QueueError::Lost(JobId::new(17)));
        assert!(lost.contains("job 17") && lost.contains("longer"), "{lost}");
        let missing = said(QueueError::Missing(JobId::new(17)));
        assert!(missing.contains("17"), "{missing}");
    }
}
