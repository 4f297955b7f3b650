//! [`Table`]: what is done with rows. Every statement finds them by their id or by the index that it names, so that none
//! reads everything, whatever SQLite thinks of the table; the counts read an index from end to end.

use std::time::Duration;

use reverb_core::queue::{Counts, DeadJob, Job, JobId, Leased, QueueError, WENT_AWAY, cut_reason};
use rusqlite::{Connection, OptionalExtension, Params, named_params};

use super::row;
use crate::writer::Failed;

/// The rows within one transaction, at one moment.
pub(super) struct Table<'a> {
    connection: &'a Connection,
    /// The database's time in milliseconds since 1970, cut down to a whole one. It stays the same throughout, so that what
    /// was no longer leased for the sweep is not leased again a millisecond later.
    now: i64,
    limit: usize,
}

/// The database's time, as in the defaults of the table. Its seconds are a float, which is exact to the millisecond.
const NOW: &str = "SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";
/// The longest delay and lease: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Milliseconds from a moment that was cut down to the millisecond until so much has passed.
fn millis(time: Duration) -> i64 {
    let millis = time.min(LONGEST).as_nanos().div_ceil(1_000_000) as i64;
    match millis {
        0 => 0,
        _ => millis + 1,
    }
}

impl<'a> Table<'a> {
    pub(super) fn now(connection: &'a Connection, limit: usize) -> rusqlite::Result<Self> {
        let now = connection
            .prepare_cached(NOW)?
            .query_row((), |row| row.get(0))?;
        Ok(Self {
            connection,
            now,
            limit,
        })
    }

    /// How many rows this has changed.
    fn change(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    fn size(&self, column: &str) -> rusqlite::Result<u64> {
        let sql = format!("SELECT {column} FROM queue_size");
        let mut size = self.connection.prepare_cached(&sql)?;
        let size: i64 = size.query_row((), |row| row.get(0))?;
        Ok(size.max(0) as u64)
    }

    // ---- what time has done -------------------------------------------------------------------------------------------

    /// Whether [`sweep`](Self::sweep) would find nothing to do.
    pub(super) fn is_swept(&self) -> rusqlite::Result<bool> {
        let mut found = self.connection.prepare_cached(
            "SELECT 1 FROM jobs INDEXED BY jobs_since
             WHERE state IN ('waiting', 'leased') AND since > :now
             UNION ALL
             SELECT 1 FROM jobs INDEXED BY jobs_last
             WHERE state = 'leased' AND attempts >= max_attempts AND due <= :now",
        )?;
        Ok(!found.exists(named_params! { ":now": self.now })?)
    }

    /// Whoever asks what is to be done, or how things are, does this first.
    pub(super) fn sweep(&self) -> rusqlite::Result<()> {
        // A time that was set in the future was set before the clock was put back, nobody knows how long before. It
        // begins again: it is not shorter than it should be, and not longer than twice. What was set before the clock
        // was ahead is right again by itself.
        let begin_again = "UPDATE jobs INDEXED BY jobs_since
             SET due = :now + min(max(due - since, 0), :longest), since = :now
             WHERE state IN ('waiting', 'leased') AND since > :now";
        let times = named_params! { ":now": self.now, ":longest": millis(LONGEST) };
        self.change(begin_again, times)?;
        // Leases that ran out earlier than on the last attempt stay as they are: due, and still good for who comes late.
        let last = "UPDATE jobs INDEXED BY jobs_last
             SET state = 'dead', since = :now, reason = :reason
             WHERE state = 'leased' AND attempts >= max_attempts AND due <= :now";
        let died = named_params! { ":now": self.now, ":reason": WENT_AWAY };
        match self.change(last, died)? {
            0 => Ok(()),
            _ => self.drop_oldest(),
        }
    }

    /// Keeps dead letters within the limit.
    fn drop_oldest(&self) -> rusqlite::Result<()> {
        let over = self.size("dead")?.saturating_sub(self.limit as u64);
        if over == 0 {
            return Ok(());
        }
        let mut dropped = self.connection.prepare_cached(
            "DELETE FROM jobs WHERE id IN
               (SELECT id FROM jobs INDEXED BY jobs_since WHERE state = 'dead'
                ORDER BY since, id LIMIT ?)
             RETURNING id, kind",
        )?;
        let mut dropped = dropped.query([over as i64])?;
        while let Some(dropped) = dropped.next()? {
            let (id, kind) = (dropped.get::<_, i64>("id")?, row::bytes(dropped, "kind")?);
            let (kind, limit) = (row::lossy(kind), self.limit);
            tracing::warn!(
                job = id,
                kind,
                limit,
                "too many dead letters: the oldest is dropped"
            );
        }
        Ok(())
    }

    // ---- jobs ---------------------------------------------------------------------------------------------------------

    /// Sees that there is room for another job.
    pub(super) fn make_room(&self) -> Result<(), Failed<QueueError>> {
        let limit = self.limit;
        if self.size("alive")? >= limit as u64 {
            self.sweep()?; // which may make some
            if self.size("alive")? >= limit as u64 {
                return Err(Failed::Refused(QueueError::Full { limit }));
            }
        }
        Ok(())
    }

    pub(super) fn insert(&self, job: &Job, delay: Duration) -> rusqlite::Result<JobId> {
        let insert = "INSERT INTO jobs (kind, max_attempts, due, since, payload)
             VALUES (:kind, :max_attempts, :due, :now, :payload)";
        self.change(
            insert,
            named_params! {
                ":kind": job.kind(),
                ":max_attempts": job.max_attempts(),
                ":due": self.now + millis(delay),
                ":now": self.now,
                ":payload": job.payload(),
            },
        )?;
        Ok(JobId::new(self.connection.last_insert_rowid()))
    }

    /// The job of these kinds that has been due longest. Each kind is looked up by itself: for a list of them SQLite would
    /// sort all that are due, or read past all others.
    pub(super) fn next(&self, kinds: &[String]) -> rusqlite::Result<Option<JobId>> {
        let place = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        if kinds.is_empty() {
            let mut any = self.connection.prepare_cached(
                "SELECT due, id FROM jobs INDEXED BY jobs_due WHERE state <> 'dead' AND due <= ?
                 ORDER BY due, id LIMIT 1",
            )?;
            let first: Option<(i64, i64)> = any.query_row([self.now], place).optional()?;
            return Ok(first.map(|(_, id)| JobId::new(id)));
        }
        let mut of_kind = self.connection.prepare_cached(
            "SELECT due, id FROM jobs INDEXED BY jobs_kind WHERE state <> 'dead' AND kind = ? AND due <= ?
             ORDER BY due, id LIMIT 1",
        )?;
        let mut first: Option<(i64, i64)> = None;
        for kind in kinds {
            let found = of_kind.query_row((kind, self.now), place).optional()?;
            first = first.into_iter().chain(found).min();
        }
        Ok(first.map(|(_, id)| JobId::new(id)))
    }

    /// The next lease of this job, or why its row is no job.
    pub(super) fn read(&self, id: JobId) -> rusqlite::Result<Result<Leased, String>> {
        let sql = format!("SELECT {} FROM jobs WHERE id = ?", row::JOB);
        let mut read = self.connection.prepare_cached(&sql)?;
        read.query_row([id.get()], row::leased)
    }

    pub(super) fn lease(&self, leased: &Leased, lasting: Duration) -> rusqlite::Result<()> {
        let lease = "UPDATE jobs SET state = 'leased', attempts = :attempt, token = :token,
             due = :due, since = :now WHERE id = :id";
        let row = named_params! {
            ":attempt": leased.attempt,
            ":token": leased.token,
            ":due": self.now + millis(lasting),
            ":now": self.now,
            ":id": leased.id.get(),
        };
        self.change(lease, row).map(|_| ())
    }

    // ---- with a lease: whether it still counted -----------------------------------------------------------------------

    pub(super) fn extend(
        &self,
        id: JobId,
        token: i64,
        lasting: Duration,
    ) -> rusqlite::Result<bool> {
        let extend = "UPDATE jobs SET due = :due, since = :now
             WHERE id = :id AND token = :token AND state = 'leased'";
        let due = self.now + millis(lasting);
        let row = named_params! { ":due": due, ":now": self.now, ":id": id.get(), ":token": token };
        Ok(self.change(extend, row)? > 0)
    }

    pub(super) fn remove(&self, id: JobId, token: i64) -> rusqlite::Result<bool> {
        let remove = "DELETE FROM jobs WHERE id = ? AND token = ? AND state = 'leased'";
        Ok(self.change(remove, (id.get(), token))? > 0)
    }

    /// Not after the last attempt either.
    pub(super) fn put_back(
        &self,
        id: JobId,
        token: i64,
        after: Duration,
    ) -> rusqlite::Result<bool> {
        let put_back = "UPDATE jobs SET state = 'waiting', due = :due, since = :now
             WHERE id = :id AND token = :token AND state = 'leased' AND attempts < max_attempts";
        let due = self.now + millis(after);
        let row = named_params! { ":due": due, ":now": self.now, ":id": id.get(), ":token": token };
        Ok(self.change(put_back, row)? > 0)
    }

    pub(super) fn bury(&self, id: JobId, token: i64, reason: &str) -> rusqlite::Result<bool> {
        let held = "SELECT 1 FROM jobs WHERE id = ? AND token = ? AND state = 'leased'";
        let mut held = self.connection.prepare_cached(held)?;
        let held = held.exists((id.get(), token))?;
        if held {
            self.bury_row(id, reason)?;
        }
        Ok(held)
    }

    // ---- dead letters -------------------------------------------------------------------------------------------------

    pub(super) fn bury_row(&self, id: JobId, reason: &str) -> rusqlite::Result<()> {
        let bury = "UPDATE jobs SET state = 'dead', since = ?, reason = ? WHERE id = ?";
        self.change(bury, (self.now, cut_reason(reason), id.get()))?;
        self.drop_oldest()
    }

    pub(super) fn dead(&self, after: Option<JobId>, most: usize) -> rusqlite::Result<Vec<DeadJob>> {
        let first = after.map_or(Some(i64::MIN), |after| after.get().checked_add(1));
        let Some(first) = first else {
            return Ok(Vec::new());
        };
        let sql = format!(
            "SELECT {} FROM jobs INDEXED BY jobs_dead WHERE state = 'dead' AND id >= ?
             ORDER BY id LIMIT ?",
            row::DEAD
        );
        let mut dead = self.connection.prepare_cached(&sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        dead.query_map((first, most), row::dead)?.collect()
    }

    pub(super) fn is_dead(&self, id: JobId) -> rusqlite::Result<bool> {
        let dead = "SELECT 1 FROM jobs WHERE id = ? AND state = 'dead'";
        self.connection.prepare_cached(dead)?.exists([id.get()])
    }

    pub(super) fn revive(&self, id: JobId) -> rusqlite::Result<()> {
        let revive = "UPDATE jobs SET state = 'waiting', attempts = 0, due = :now, since = :now,
             reason = NULL WHERE id = :id";
        let row = named_params! { ":now": self.now, ":id": id.get() };
        self.change(revive, row).map(|_| ())
    }

    pub(super) fn purge(&self, id: Option<JobId>) -> rusqlite::Result<u64> {
        let purged = match id {
            Some(id) => self.change(
                "DELETE FROM jobs WHERE id = ? AND state = 'dead'",
                [id.get()],
            )?,
            None => self.change(
                "DELETE FROM jobs INDEXED BY jobs_dead WHERE state = 'dead'",
                (),
            )?,
        };
        Ok(purged as u64)
    }

    // ---- figures ------------------------------------------------------------------------------------------------------

    pub(super) fn counts(&self) -> rusqlite::Result<Counts> {
        let mut counts = self.connection.prepare_cached(
            "SELECT count(*) FILTER (WHERE due <= :now),
                    count(*) FILTER (WHERE due > :now AND state = 'waiting'),
                    count(*) FILTER (WHERE due > :now AND state = 'leased'),
                    min(due)
             FROM jobs INDEXED BY jobs_due WHERE state <> 'dead'",
        )?;
        let counted = counts.query_row(named_params! { ":now": self.now }, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
        let (waiting, delayed, leased, first): (i64, i64, i64, Option<i64>) = counted;
        let first = first.filter(|due| *due <= self.now);
        let mut counts = Counts::default();
        counts.waiting = waiting as u64;
        counts.delayed = delayed as u64;
        counts.leased = leased as u64;
        counts.dead = self.size("dead")?;
        counts.oldest = first.map(|due| Duration::from_millis(self.now.saturating_sub(due) as u64));
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_shorter_than_it_was_wished() {
        assert_eq!(millis(Duration::ZERO), 0);
        // The moment it is counted from may be nearly a millisecond later than it says.
        assert_eq!(millis(Duration::from_nanos(1)), 2);
        assert_eq!(millis(Duration::from_millis(1)), 2);
        assert_eq!(millis(Duration::from_micros(1001)), 3);
        let century = 100 * 365 * 24 * 60 * 60 * 1000;
        for long in [LONGEST, LONGEST * 2, Duration::MAX] {
            assert_eq!(millis(long), century + 1);
        }
    }
}
