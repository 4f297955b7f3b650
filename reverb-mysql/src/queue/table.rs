//! [`Table`]: what is done with rows. Every statement finds them by their id or by the index that it names, so that none
//! reads everything, whatever the database thinks of the table; the counts read an index from end to end.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Transaction, Value};
use reverb_core::queue::{Counts, DeadJob, Job, JobId, cut_reason};

use super::row::{self, DEAD};
use super::size::Size;
use crate::database::Failed;

/// The rows, by one connection. Outside of a transaction each statement is one.
pub(super) struct Table {
    pub(super) conn: Conn,
    pub(super) size: Arc<Size>,
}

/// The database's time in milliseconds since 1970, cut down to a whole one: the same throughout a statement, and neither
/// moved by a time zone nor by daylight saving.
pub(super) const NOW: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000";
/// The longest delay and lease: a hundred years.
pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// So many rows are changed at a time, where there may be any number: each time is a step that stays taken.
pub(super) const BATCH: usize = 1000;

/// Milliseconds from a moment that was cut down to the millisecond until so much has passed.
pub(super) fn millis(time: Duration) -> i64 {
    let millis = time.min(LONGEST).as_nanos().div_ceil(1_000_000) as i64;
    match millis {
        0 => 0,
        _ => millis + 1,
    }
}

impl Table {
    pub(super) async fn insert(&mut self, job: &Job, delay: Duration) -> Result<JobId, Failed> {
        let sql = format!(
            "INSERT INTO rp_jobs (kind, max_attempts, due, since, payload)
             VALUES (?, ?, {NOW} + ?, {NOW}, ?)"
        );
        let row = (job.kind(), job.max_attempts(), millis(delay), job.payload());
        self.conn.exec_drop(sql, row).await?;
        let id = self.conn.last_insert_id().unwrap_or_default();
        Ok(JobId::new(id as i64))
    }

    // ---- with a lease: whether it still counted -----------------------------------------------------------------------

    pub(super) async fn extend(
        &mut self,
        id: JobId,
        token: i64,
        lasting: Duration,
    ) -> Result<bool, Failed> {
        let sql = format!(
            "UPDATE rp_jobs SET due = {NOW} + ?, since = {NOW}
             WHERE id = ? AND token = ? AND state = 'leased'"
        );
        let row = (millis(lasting), id.get(), token);
        Ok(self.change(&sql, row).await? > 0)
    }

    pub(super) async fn remove(&mut self, id: JobId, token: i64) -> Result<bool, Failed> {
        const REMOVE: &str = "DELETE FROM rp_jobs WHERE id = ? AND token = ? AND state = 'leased'";
        let is_removed = self.change(REMOVE, (id.get(), token)).await? > 0;
        if is_removed {
            self.size.left();
        }
        Ok(is_removed)
    }

    /// Not after the last attempt either.
    pub(super) async fn put_back(
        &mut self,
        id: JobId,
        token: i64,
        after: Duration,
    ) -> Result<bool, Failed> {
        let sql = format!(
            "UPDATE rp_jobs SET state = 'waiting', due = {NOW} + ?, since = {NOW}
             WHERE id = ? AND token = ? AND state = 'leased' AND attempts < max_attempts"
        );
        let row = (millis(after), id.get(), token);
        Ok(self.change(&sql, row).await? > 0)
    }

    pub(super) async fn bury(
        &mut self,
        id: JobId,
        token: i64,
        reason: &str,
    ) -> Result<bool, Failed> {
        let sql = format!(
            "UPDATE rp_jobs SET state = 'dead', since = {NOW}, reason = ?
             WHERE id = ? AND token = ? AND state = 'leased'"
        );
        let row = (cut_reason(reason), id.get(), token);
        let is_buried = self.change(&sql, row).await? > 0;
        if is_buried {
            self.size.died(1);
            self.keep_dead_within_limit().await;
        }
        Ok(is_buried)
    }

    /// How many rows this has changed, or found to be so already.
    async fn change(
        &mut self,
        sql: &str,
        params: impl Into<mysql_async::Params> + Send,
    ) -> Result<u64, Failed> {
        self.conn.exec_drop(sql, params).await?;
        Ok(self.conn.affected_rows())
    }

    // ---- dead letters -------------------------------------------------------------------------------------------------

    pub(super) async fn dead(
        &mut self,
        after: Option<JobId>,
        most: usize,
    ) -> Result<Vec<DeadJob>, Failed> {
        // First which ones, by an index without their payloads.
        let sql = format!(
            "SELECT {DEAD} FROM (
                 SELECT id AS page_id FROM rp_jobs FORCE INDEX (rp_jobs_since) WHERE state = 'dead' AND id >= ?
                 ORDER BY id LIMIT ?
             ) page STRAIGHT_JOIN rp_jobs ON id = page_id WHERE state = 'dead' ORDER BY id"
        );
        let first = after.map_or(Some(i64::MIN), |after| after.get().checked_add(1));
        let Some(first) = first else {
            return Ok(Vec::new());
        };
        self.sweep().await?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows: Vec<Row> = self.conn.exec(sql, (first, most)).await?;
        Ok(rows.into_iter().map(row::dead).collect())
    }

    pub(super) async fn is_dead(&mut self, id: JobId) -> Result<bool, Failed> {
        const IS_DEAD: &str =
            "SELECT EXISTS (SELECT 1 FROM rp_jobs WHERE id = ? AND state = 'dead')";
        self.sweep().await?;
        let is_dead: Option<bool> = self.conn.exec_first(IS_DEAD, (id.get(),)).await?;
        Ok(is_dead == Some(true))
    }

    /// Whether it was dead.
    pub(super) async fn revive(&mut self, id: JobId) -> Result<bool, Failed> {
        let sql = format!(
            "UPDATE rp_jobs SET state = 'waiting', attempts = 0, due = {NOW}, since = {NOW},
             reason = NULL WHERE id = ? AND state = 'dead'"
        );
        let is_revived = self.change(&sql, (id.get(),)).await? > 0;
        if is_revived {
            self.size.dead_left(1);
        }
        Ok(is_revived)
    }

    pub(super) async fn purge(&mut self, id: Option<JobId>) -> Result<u64, Failed> {
        const ONE: &str = "DELETE FROM rp_jobs WHERE id = ? AND state = 'dead'";
        const ALL: &str =
            "DELETE j FROM rp_jobs j FORCE INDEX (rp_jobs_since) WHERE j.state = 'dead'";
        self.sweep().await?;
        let purged = match id {
            Some(id) => self.change(ONE, (id.get(),)).await?,
            None => self.change(ALL, ()).await?,
        };
        self.size.dead_left(purged);
        Ok(purged)
    }

    // ---- figures ------------------------------------------------------------------------------------------------------

    pub(super) async fn counts(&mut self) -> Result<Counts, Failed> {
        let sql = format!(
            "SELECT COUNT(CASE WHEN next_due <= {NOW} THEN 1 END),
                    COUNT(CASE WHEN next_due > {NOW} AND state <> 'leased' THEN 1 END),
                    COUNT(CASE WHEN next_due > {NOW} AND state = 'leased' THEN 1 END),
                    (SELECT COUNT(*) FROM rp_jobs FORCE INDEX (rp_jobs_since) WHERE state = 'dead'),
                    MIN(next_due), {NOW}
             FROM rp_jobs FORCE INDEX (rp_jobs_due) WHERE next_due IS NOT NULL"
        );
        type Counted = (u64, u64, u64, u64, Option<i64>, i64);
        self.sweep().await?;
        let counted: Option<Counted> = self.conn.exec_first(sql, ()).await?;
        let (waiting, delayed, leased, dead, first, now) = counted.unwrap_or_default();
        let first = first.filter(|due| *due <= now);
        let mut counts = Counts::default();
        counts.waiting = waiting;
        counts.delayed = delayed;
        counts.leased = leased;
        counts.dead = dead;
        counts.oldest = first.map(|due| Duration::from_millis(now.saturating_sub(due) as u64));
        Ok(counts)
    }
}

/// Makes dead letters of these rows.
pub(super) async fn bury(
    transaction: &mut Transaction<'_>,
    ids: &[i64],
    reason: &str,
    now: i64,
) -> Result<(), Failed> {
    let reason = Value::from(cut_reason(reason)).as_sql(false);
    let ids = list(ids);
    let bury = format!(
        "UPDATE rp_jobs SET state = 'dead', since = {now}, reason = {reason} WHERE id IN ({ids})"
    );
    Ok(transaction.query_drop(bury).await?)
}

/// Numbers as they stand in an `IN (…)`.
pub(super) fn list(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    ids.join(", ")
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
