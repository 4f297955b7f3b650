//! [`MemoryQueue`]: jobs in memory, for a single node whose jobs may be lost with it, and for tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Counts, DeadJob, Job, JobId, Leased, Queue, QueueError, WENT_AWAY, cut_reason};
use crate::clock::{Clock, SystemClock};

/// Jobs in memory, which end with the process. Clones share them.
///
/// It holds so many jobs, by default 100,000, and refuses more ([`QueueError::Full`]). Beside them it keeps so many dead
/// letters again: of more than that, the ones that died first are dropped, each with a line in the log. It is the number
/// that is bounded: payloads may have 1 MiB each.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), reverb_core::queue::QueueError> {
/// use std::time::Duration;
/// use reverb_core::queue::{Job, MemoryQueue, Queue, QueueError};
///
/// let queue = MemoryQueue::new(1);
/// queue.push(Job::new("mail", "ada")?, Duration::ZERO).await?;
/// let refused = queue.push(Job::new("mail", "bob")?, Duration::ZERO).await;
/// assert!(matches!(refused, Err(QueueError::Full { limit: 1 })));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryQueue {
    limit: usize,
    clock: Arc<dyn Clock>,
    jobs: Arc<Mutex<Jobs>>,
}

/// Everything there is. Times are the monotonic clock's, so that setting the wall's neither loses nor holds up a job.
#[derive(Default)]
struct Jobs {
    /// Those that are not dead.
    all: BTreeMap<JobId, Entry>,
    /// Those that nobody has, by kind, in the order in which they are due. No set is empty.
    due: HashMap<String, BTreeSet<(Instant, JobId)>>,
    /// Those that somebody has, in the order in which the leases end.
    held: BTreeSet<(Instant, JobId)>,
    dead: BTreeMap<JobId, Dead>,
    /// The dead in the order in which they died.
    deaths: BTreeMap<u64, JobId>,
    last_id: i64,
    last_token: i64,
    last_death: u64,
}

struct Entry {
    job: Job,
    attempts: u32,
    /// Of the last lease, for as long as it counts.
    token: Option<i64>,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Due(Instant),
    Held(Instant),
}

struct Dead {
    job: Job,
    attempts: u32,
    reason: String,
    died_at: u64,
    death: u64,
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
struct Moment {
    now: Instant,
    unix: u64,
}

impl Moment {
    fn and(self, later: Duration) -> Instant {
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        self.now + later.min(LONGEST)
    }
}

impl MemoryQueue {
    /// An empty queue for so many jobs, and as many dead letters.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self::with_clock(limit, SystemClock)
    }

    /// An empty queue for so many jobs, and as many dead letters, which takes its time from this clock.
    pub fn with_clock(limit: usize, clock: impl Clock) -> Self {
        Self {
            limit,
            clock: Arc::new(clock),
            jobs: Arc::default(),
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.clock.now(),
            unix: self.clock.unix_time().as_secs(),
        }
    }
}

/// For 100,000 jobs.
impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new(100_000)
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = self.jobs.lock();
        f.debug_struct("MemoryQueue")
            .field("limit", &self.limit)
            .field("jobs", &jobs.all.len())
            .field("dead", &jobs.dead.len())
            .finish_non_exhaustive()
    }
}

impl Jobs {
    fn put(&mut self, id: JobId, entry: Entry) {
        match entry.place {
            Place::Due(at) => match self.due.get_mut(&entry.job.kind) {
                Some(due) => _ = due.insert((at, id)),
                None => {
                    let due = BTreeSet::from([(at, id)]);
                    self.due.insert(entry.job.kind.clone(), due);
                }
            },
            Place::Held(until) => _ = self.held.insert((until, id)),
        }
        self.all.insert(id, entry);
    }

    fn take(&mut self, id: JobId) -> Option<Entry> {
        let entry = self.all.remove(&id)?;
        match entry.place {
            Place::Due(at) => {
                let due = self.due.get_mut(&entry.job.kind);
                let due = due.expect("a job that is due stands with its kind");
                due.remove(&(at, id));
                if due.is_empty() {
                    self.due.remove(&entry.job.kind);
                }
            }
            Place::Held(until) => _ = self.held.remove(&(until, id)),
        }
        Some(entry)
    }

    /// The job of a lease that still counts.
    fn take_leased(&mut self, leased: &Leased) -> Result<Entry, QueueError> {
        match self.all.get(&leased.id) {
            Some(entry) if entry.token == Some(leased.token) => self.take(leased.id),
            _ => None,
        }
        .ok_or(QueueError::Lost(leased.id))
    }

    fn has_room(&self, limit: usize) -> Result<(), QueueError> {
        match self.all.len() < limit {
            true => Ok(()),
            false => Err(QueueError::Full { limit }),
        }
    }

    fn bury(&mut self, id: JobId, entry: Entry, reason: &str, moment: Moment, limit: usize) {
        self.last_death += 1;
        let dead = Dead {
            job: entry.job,
            attempts: entry.attempts,
            reason: cut_reason(reason).to_owned(),
            died_at: moment.unix,
            death: self.last_death,
        };
        self.deaths.insert(dead.death, id);
        self.dead.insert(id, dead);
        while self.dead.len() > limit {
            let Some((_, first)) = self.deaths.pop_first() else {
                break;
            };
            if let Some(dropped) = self.dead.remove(&first) {
                let kind = dropped.job.kind;
                tracing::warn!(job = %first, kind, limit, "too many dead letters: the oldest is dropped");
            }
        }
    }

    /// Takes back what workers have kept for too long. Whoever asks what is to be done, or how things are, does this first.
    fn take_back(&mut self, moment: Moment, limit: usize) {
        while let Some((until, id)) = self.held.first().copied() {
            if until > moment.now {
                break;
            }
            let entry = self.take(id).expect("a job that is held is there");
            if entry.attempts >= entry.job.max_attempts {
                self.bury(id, entry, WENT_AWAY, moment, limit);
            } else {
                // The token stays: who comes late is not too late before somebody else has the job.
                let place = Place::Due(until);
                self.put(id, Entry { place, ..entry });
            }
        }
    }

    /// The job of these kinds that has been due longest.
    fn next(&self, kinds: &[&str], now: Instant) -> Option<JobId> {
        let first = |due: &BTreeSet<_>| due.first().copied();
        let next = if kinds.is_empty() {
            self.due.values().filter_map(first).min()
        } else {
            let due = kinds.iter().filter_map(|kind| self.due.get(*kind));
            due.filter_map(first).min()
        };
        next.filter(|(at, _)| *at <= now).map(|(_, id)| id)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn push(&self, job: Job, delay: Duration) -> Result<JobId, QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        jobs.take_back(moment, self.limit); // which may make room
        jobs.has_room(self.limit)?;
        jobs.last_id += 1;
        let id = JobId::new(jobs.last_id);
        let entry = Entry {
            job,
            attempts: 0,
            token: None,
            place: Place::Due(moment.and(delay)),
        };
        jobs.put(id, entry);
        Ok(id)
    }

    async fn lease(&self, kinds: &[&str], lasting: Duration) -> Result<Option<Leased>, QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        jobs.take_back(moment, self.limit);
        let Some(id) = jobs.next(kinds, moment.now) else {
            return Ok(None);
        };
        let mut entry = jobs.take(id).expect("a job that is due is there");
        jobs.last_token += 1;
        entry.attempts += 1;
        entry.token = Some(jobs.last_token);
        entry.place = Place::Held(moment.and(lasting));
        let leased = Leased {
            id,
            kind: entry.job.kind.clone(),
            payload: entry.job.payload.clone(),
            attempt: entry.attempts,
            max_attempts: entry.job.max_attempts,
            token: jobs.last_token,
        };
        jobs.put(id, entry);
        Ok(Some(leased))
    }

    async fn extend(&self, leased: &Leased, lasting: Duration) -> Result<(), QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        let entry = jobs.take_leased(leased)?;
        let place = Place::Held(moment.and(lasting));
        jobs.put(leased.id, Entry { place, ..entry });
        Ok(())
    }

    async fn finish(&self, leased: &Leased) -> Result<(), QueueError> {
        self.jobs.lock().take_leased(leased).map(drop)
    }

    async fn retry(
        &self,
        leased: &Leased,
        after: Duration,
        reason: &str,
    ) -> Result<(), QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        let mut entry = jobs.take_leased(leased)?;
        if entry.attempts >= entry.job.max_attempts {
            jobs.bury(leased.id, entry, reason, moment, self.limit);
        } else {
            entry.token = None;
            entry.place = Place::Due(moment.and(after));
            jobs.put(leased.id, entry);
        }
        Ok(())
    }

    async fn bury(&self, leased: &Leased, reason: &str) -> Result<(), QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        let entry = jobs.take_leased(leased)?;
        jobs.bury(leased.id, entry, reason, moment, self.limit);
        Ok(())
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        jobs.take_back(moment, self.limit);
        let now = (moment.now, JobId::new(i64::MAX));
        let due = jobs.due.values();
        let waiting: usize = due.clone().map(|due| due.range(..=now).count()).sum();
        let oldest = due.filter_map(BTreeSet::first).min();
        Ok(Counts {
            waiting: waiting as u64,
            delayed: (jobs.all.len() - jobs.held.len() - waiting) as u64,
            leased: jobs.held.len() as u64,
            dead: jobs.dead.len() as u64,
            oldest: oldest.and_then(|(at, _)| moment.now.checked_duration_since(*at)),
        })
    }

    async fn dead(&self, after: Option<JobId>, most: usize) -> Result<Vec<DeadJob>, QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        jobs.take_back(moment, self.limit);
        let behind = after.map_or(Unbounded, Excluded);
        let listed = jobs.dead.range((behind, Unbounded)).take(most);
        Ok(listed
            .map(|(id, dead)| DeadJob {
                id: *id,
                kind: dead.job.kind.clone(),
                payload: dead.job.payload.clone(),
                attempts: dead.attempts,
                reason: dead.reason.clone(),
                died_at: dead.died_at,
            })
            .collect())
    }

    async fn revive(&self, id: JobId) -> Result<(), QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        jobs.take_back(moment, self.limit);
        if !jobs.dead.contains_key(&id) {
            return Err(QueueError::Missing(id));
        }
        jobs.has_room(self.limit)?;
        if let Some(dead) = jobs.dead.remove(&id) {
            jobs.deaths.remove(&dead.death);
            let entry = Entry {
                job: dead.job,
                attempts: 0,
                token: None,
                place: Place::Due(moment.now),
            };
            jobs.put(id, entry);
        }
        Ok(())
    }

    async fn purge_dead(&self, id: Option<JobId>) -> Result<u64, QueueError> {
        let moment = self.moment();
        let mut jobs = self.jobs.lock();
        jobs.take_back(moment, self.limit);
        let Some(id) = id else {
            jobs.deaths.clear();
            return Ok(std::mem::take(&mut jobs.dead).len() as u64);
        };
        let purged = jobs.dead.remove(&id);
        if let Some(purged) = &purged {
            jobs.deaths.remove(&purged.death);
        }
        Ok(u64::from(purged.is_some()))
    }
}

#[cfg(test)]
mod tests;
