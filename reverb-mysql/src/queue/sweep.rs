//! What has to be seen to before anybody is told how things are: leases that ran out, clocks that were set, limits.

use mysql_async::prelude::Queryable;
use mysql_async::{IsolationLevel, Row, TxOpts};
use reverb_core::app_store::StoreError;
use reverb_core::queue::WENT_AWAY;

use super::row;
use super::table::{BATCH, LONGEST, NOW, Table, bury, list, millis};
use crate::database::Failed;

/// A time that was set by so many milliseconds in the future was set by a clock that was ahead. Less does not say so: whoever
/// set it may have looked at the clock later than who reads it.
const AHEAD: i64 = 10_000;

/// What there is at a moment.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) now: i64,
    /// Something was set by a clock that was ahead.
    is_put_back: bool,
    /// Somebody has gone away with a last attempt.
    is_gone: bool,
    pub(super) is_due: bool,
}

impl Table {
    async fn look(&mut self) -> Result<Look, Failed> {
        let sql = format!(
            "SELECT {NOW},
             EXISTS (SELECT 1 FROM rp_jobs FORCE INDEX (rp_jobs_since)
                     WHERE state IN ('waiting', 'leased') AND since > {NOW} + ?),
             EXISTS (SELECT 1 FROM rp_jobs FORCE INDEX (rp_jobs_last) WHERE last_until <= {NOW}),
             EXISTS (SELECT 1 FROM rp_jobs FORCE INDEX (rp_jobs_due) WHERE next_due <= {NOW})"
        );
        let look: Option<(i64, bool, bool, bool)> = self.conn.exec_first(sql, (AHEAD,)).await?;
        let (now, is_put_back, is_gone, is_due) = look.unwrap_or_default();
        Ok(Look {
            now,
            is_put_back,
            is_gone,
            is_due,
        })
    }

    /// Whoever asks what is to be done, or how things are, does this first.
    pub(super) async fn sweep(&mut self) -> Result<Look, Failed> {
        let look = self.look().await?;
        if !look.is_put_back && !look.is_gone {
            return Ok(look);
        }
        if look.is_put_back {
            self.begin_again(look.now).await?;
        }
        if look.is_gone {
            self.bury_gone(look.now).await?;
            self.keep_dead_within_limit().await;
        }
        self.look().await
    }

    /// A time that was set in the future was set before the clock was put back, nobody knows how long before. It begins
    /// again: it is not shorter than it should be, and not longer than twice. What was set before the clock was ahead
    /// is right again by itself.
    async fn begin_again(&mut self, now: i64) -> Result<(), Failed> {
        const FIND: &str = "SELECT id FROM rp_jobs FORCE INDEX (rp_jobs_since)
             WHERE state IN ('waiting', 'leased') AND since > ? LIMIT ? FOR UPDATE SKIP LOCKED";
        loop {
            let mut transaction = self.conn.start_transaction(TxOpts::default()).await?;
            let ids: Vec<i64> = transaction.exec(FIND, (now + AHEAD, BATCH)).await?;
            if !ids.is_empty() {
                // By hand they may be any numbers, whose difference is none.
                let begin = format!(
                    "UPDATE rp_jobs SET due = {now} + LEAST(GREATEST(CAST(due AS DECIMAL(30)) - since, 0), {}), since = {now}
                     WHERE id IN ({})",
                    millis(LONGEST),
                    list(&ids)
                );
                transaction.query_drop(begin).await?;
            }
            transaction.commit().await?;
            if ids.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Leases that ran out earlier than on the last attempt stay as they are: due, and still good for who comes late.
    async fn bury_gone(&mut self, now: i64) -> Result<(), Failed> {
        const FIND: &str = "SELECT id FROM rp_jobs FORCE INDEX (rp_jobs_last)
             WHERE last_until <= ? LIMIT ? FOR UPDATE SKIP LOCKED";
        loop {
            let mut transaction = self.conn.start_transaction(TxOpts::default()).await?;
            let ids: Vec<i64> = transaction.exec(FIND, (now, BATCH)).await?;
            if !ids.is_empty() {
                bury(&mut transaction, &ids, WENT_AWAY, now).await?;
            }
            transaction.commit().await?;
            self.size.died(ids.len());
            if ids.len() < BATCH {
                return Ok(());
            }
        }
    }

    // ---- how many -----------------------------------------------------------------------------------------------------

    async fn count_if_stale(&mut self) -> Result<(), Failed> {
        if self.size.is_stale() {
            let counted = self.count_roughly().await;
            let (alive, dead) = counted.inspect_err(|_| self.size.count_again())?;
            self.size.counted(alive, dead);
        }
        Ok(())
    }

    /// About how many jobs and how many dead letters there are. To leave out what is not committed yet, the database would
    /// look up nearly every row.
    async fn count_roughly(&mut self) -> Result<(i64, i64), Failed> {
        const COUNT: &str = "SELECT
             (SELECT COUNT(*) FROM rp_jobs FORCE INDEX (rp_jobs_due) WHERE next_due IS NOT NULL),
             (SELECT COUNT(*) FROM rp_jobs FORCE INDEX (rp_jobs_since) WHERE state = 'dead')";
        let mut roughly = TxOpts::default();
        roughly.with_isolation_level(IsolationLevel::ReadUncommitted);
        let mut transaction = self.conn.start_transaction(roughly).await?;
        let counted: Option<(i64, i64)> = transaction.exec_first(COUNT, ()).await?;
        transaction.commit().await?;
        Ok(counted.unwrap_or_default())
    }

    /// Takes room for another job, if there is some.
    pub(super) async fn reserve(&mut self) -> Result<bool, Failed> {
        self.count_if_stale().await?;
        if self.size.reserve() {
            return Ok(true);
        }
        self.sweep().await?; // which may make some
        Ok(self.size.reserve())
    }

    /// For who has just made a dead letter: that stays done, whether this succeeds or not.
    pub(super) async fn keep_dead_within_limit(&mut self) {
        if let Err(failed) = self.drop_oldest().await {
            let error = StoreError::from(failed);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "too many dead letters, and the oldest could not be dropped"
            );
        }
    }

    async fn drop_oldest(&mut self) -> Result<(), Failed> {
        // The last one that has to go: two who find out at a time drop the same ones.
        const LAST: &str =
            "SELECT since, id FROM rp_jobs FORCE INDEX (rp_jobs_since) WHERE state = 'dead'
             ORDER BY since DESC, id DESC LIMIT 1 OFFSET ?";
        const FIND: &str = "SELECT id, kind FROM rp_jobs FORCE INDEX (rp_jobs_since)
             WHERE state = 'dead' AND since <= ? AND (since < ? OR id <= ?)
             ORDER BY since, id LIMIT ? FOR UPDATE SKIP LOCKED";
        self.count_if_stale().await?;
        if !self.size.has_too_many_dead() {
            return Ok(());
        }
        let limit = self.size.limit();
        let last: Option<(i64, i64)> = self.conn.exec_first(LAST, (limit as u64,)).await?;
        let Some((since, id)) = last else {
            self.size.count_again();
            return Ok(());
        };
        let mut transaction = self.conn.start_transaction(TxOpts::default()).await?;
        let mut dropped: Vec<Row> = transaction.exec(FIND, (since, since, id, BATCH)).await?;
        let mut ids = Vec::new();
        for row in &mut dropped {
            let (job, kind) = (row::id(row), row::lossy(row::bytes(row, "kind")));
            tracing::warn!(%job, kind, limit, "too many dead letters: the oldest is dropped");
            ids.push(job.get());
        }
        if !ids.is_empty() {
            let sql = format!("DELETE FROM rp_jobs WHERE id IN ({})", list(&ids));
            transaction.query_drop(sql).await?;
        }
        transaction.commit().await?;
        self.size.dead_left(ids.len() as u64);
        Ok(())
    }
}
