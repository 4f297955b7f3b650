//! [`Table`]: what is done with rows. Every statement finds them by their id or by the index that it names, so that none
//! reads everything, whatever the database thinks of the table; the counts read an index from end to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, IsolationLevel, Row, Transaction, TxOpts, Value};
use reverb_core::app_store::StoreError;
use reverb_core::queue::{Counts, DeadJob, Job, JobId, Leased, WENT_AWAY, cut_reason};

use super::row;
use super::size::Size;
use crate::database::Failed;

/// The rows, by one connection. Outside of a transaction each statement is one.
pub(super) struct Table {
    pub(super) conn: Conn,
    pub(super) size: Arc<Size>,
}

/// The database's time in milliseconds since 1970, cut down to a whole one: the same throughout a statement, and neither
/// moved by a time zone nor by daylight saving.
macro_rules! now {
    () => {
        "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000"
    };
}

/// The longest delay and lease: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// So many rows are changed at a time, where there may be any number: each time is a step that stays taken.
const BATCH: usize = 1000;
/// So many kinds are asked for at a time.
const KINDS: usize = 16;

/// Milliseconds from a moment that was cut down to the millisecond until so much has passed.
fn millis(time: Duration) -> i64 {
    let millis = time.min(LONGEST).as_nanos().div_ceil(1_000_000) as i64;
    match millis {
        0 => 0,
        _ => millis + 1,
    }
}

/// What there is at a moment.
#[derive(Clone, Copy)]
struct Look {
    now: i64,
    /// Something was set by a clock that was ahead.
    is_put_back: bool,
    /// Somebody has gone away with a last attempt.
    is_gone: bool,
    is_due: bool,
}

/// How it went to lease a job of a kind.
enum Tried {
    Leased(Leased),
    Nothing,
    /// What came next was no job, and is buried. There may be one behind it.
    NoJobYet,
}

impl Table {
    // ---- what time has done -------------------------------------------------------------------------------------------

    async fn look(&mut self) -> Result<Look, Failed> {
        // Who set a time may have looked at the clock later than this statement, but not that much.
        const LOOK: &str = concat!(
            "SELECT ",
            now!(),
            ",
             EXISTS (SELECT 1 FROM rp_jobs FORCE INDEX (rp_jobs_since)
                     WHERE state IN ('waiting', 'leased') AND since > ",
            now!(),
            " + 10000),
             EXISTS (SELECT 1 FROM rp_jobs FORCE INDEX (rp_jobs_last) WHERE last_until <= ",
            now!(),
            "),
             EXISTS (SELECT 1 FROM rp_jobs FORCE INDEX (rp_jobs_due) WHERE next_due <= ",
            now!(),
            ")"
        );
        let look: Option<(i64, bool, bool, bool)> = self.conn.exec_first(LOOK, ()).await?;
        let (now, is_put_back, is_gone, is_due) = look.unwrap_or_default();
        Ok(Look {
            now,
            is_put_back,
            is_gone,
            is_due,
        })
    }

    /// Whoever asks what is to be done, or how things are, does this first.
    async fn sweep(&mut self) -> Result<Look, Failed> {
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
             WHERE state IN ('waiting', 'leased') AND since > ? + 10000 LIMIT ? FOR UPDATE SKIP LOCKED";
        loop {
            let mut transaction = self.conn.start_transaction(TxOpts::default()).await?;
            let ids: Vec<i64> = transaction.exec(FIND, (now, BATCH)).await?;
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
    async fn keep_dead_within_limit(&mut self) {
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

    // ---- jobs ---------------------------------------------------------------------------------------------------------

    pub(super) async fn insert(&mut self, job: &Job, delay: Duration) -> Result<JobId, Failed> {
        const INSERT: &str = concat!(
            "INSERT INTO rp_jobs (kind, max_attempts, due, since, payload)
             VALUES (?, ?, ",
            now!(),
            " + ?, ",
            now!(),
            ", ?)"
        );
        let row = (job.kind(), job.max_attempts(), millis(delay), job.payload());
        self.conn.exec_drop(INSERT, row).await?;
        let id = self.conn.last_insert_id().unwrap_or_default();
        Ok(JobId::new(id as i64))
    }

    pub(super) async fn lease(
        &mut self,
        kinds: &[&str],
        lasting: Duration,
    ) -> Result<Option<Leased>, Failed> {
        let look = self.sweep().await?;
        if !look.is_due {
            return Ok(None);
        }
        for kind in self.due_kinds(kinds, look.now).await? {
            loop {
                match self.try_lease(kind, look.now, lasting).await? {
                    Tried::Leased(leased) => return Ok(Some(leased)),
                    Tried::Nothing => break,
                    Tried::NoJobYet => {}
                }
            }
        }
        Ok(None)
    }

    /// Of these kinds those that have a job that is due, in the order of their first ones; `None` stands for any. Each kind
    /// is looked up by itself: for a list of them the database would sort all that are due, or read past all others. And
    /// nothing is locked yet: of several rows that were, all but one would be passed over by others for nothing.
    async fn due_kinds<'a>(
        &mut self,
        kinds: &[&'a str],
        now: i64,
    ) -> Result<Vec<Option<&'a str>>, Failed> {
        if let [] | [_] = kinds {
            return Ok(vec![kinds.first().copied()]);
        }
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        let mut due = Vec::new();
        for (chunk, some) in kinds.chunks(KINDS).enumerate() {
            let first = |n| {
                format!(
                    "(SELECT next_due, id, {n} FROM rp_jobs FORCE INDEX (rp_jobs_kind)
                      WHERE kind = ? AND next_due <= ? ORDER BY next_due, id LIMIT 1)"
                )
            };
            let firsts: Vec<String> = (0..some.len()).map(|n| first(chunk * KINDS + n)).collect();
            let values = some
                .iter()
                .flat_map(|kind| [Value::from(*kind), now.into()]);
            let values: Vec<Value> = values.collect();
            let found: Vec<(i64, i64, usize)> =
                self.conn.exec(firsts.join(" UNION ALL "), values).await?;
            due.extend(found);
        }
        due.sort_unstable();
        Ok(due.into_iter().map(|(_, _, n)| Some(kinds[n])).collect())
    }

    async fn try_lease(
        &mut self,
        kind: Option<&str>,
        now: i64,
        lasting: Duration,
    ) -> Result<Tried, Failed> {
        const LEASE: &str =
            "UPDATE rp_jobs SET state = 'leased', attempts = ?, token = ?, due = ?, since = ?
             WHERE id = ?";
        let mut transaction = self.conn.start_transaction(TxOpts::default()).await?;
        let Some(mut row) = next(&mut transaction, kind, now).await? else {
            transaction.rollback().await?;
            return Ok(Tried::Nothing);
        };
        let leased = match row::leased(&mut row) {
            Ok(leased) => leased,
            Err(reason) => {
                let wrong = HashMap::from([(reason, vec![row::id(&row)])]);
                let buried = bury_wrong(&mut transaction, wrong, now).await?
                    + bury_wrong_next(&mut transaction, kind, now).await?;
                transaction.commit().await?;
                self.size.died(buried);
                self.keep_dead_within_limit().await;
                return Ok(Tried::NoJobYet);
            }
        };
        let until = now + millis(lasting);
        let id = leased.id.get();
        let lease = (leased.attempt, leased.token, until, now, id);
        transaction.exec_drop(LEASE, lease).await?;
        transaction.commit().await?;
        Ok(Tried::Leased(leased))
    }

    // ---- with a lease: whether it still counted -----------------------------------------------------------------------

    pub(super) async fn extend(
        &mut self,
        id: JobId,
        token: i64,
        lasting: Duration,
    ) -> Result<bool, Failed> {
        const EXTEND: &str = concat!(
            "UPDATE rp_jobs SET due = ",
            now!(),
            " + ?, since = ",
            now!(),
            "
             WHERE id = ? AND token = ? AND state = 'leased'"
        );
        let row = (millis(lasting), id.get(), token);
        Ok(self.change(EXTEND, row).await? > 0)
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
        const PUT_BACK: &str = concat!(
            "UPDATE rp_jobs SET state = 'waiting', due = ",
            now!(),
            " + ?, since = ",
            now!(),
            "
             WHERE id = ? AND token = ? AND state = 'leased' AND attempts < max_attempts"
        );
        let row = (millis(after), id.get(), token);
        Ok(self.change(PUT_BACK, row).await? > 0)
    }

    pub(super) async fn bury(
        &mut self,
        id: JobId,
        token: i64,
        reason: &str,
    ) -> Result<bool, Failed> {
        const BURY: &str = concat!(
            "UPDATE rp_jobs SET state = 'dead', since = ",
            now!(),
            ", reason = ?
             WHERE id = ? AND token = ? AND state = 'leased'"
        );
        let row = (cut_reason(reason), id.get(), token);
        let is_buried = self.change(BURY, row).await? > 0;
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
        const DEAD: &str = concat!(
            "SELECT ",
            row::dead_columns!(),
            " FROM (
                 SELECT id FROM rp_jobs FORCE INDEX (rp_jobs_since) WHERE state = 'dead' AND id >= ?
                 ORDER BY id LIMIT ?
             ) page STRAIGHT_JOIN rp_jobs USING (id) WHERE state = 'dead' ORDER BY id"
        );
        let first = after.map_or(Some(i64::MIN), |after| after.get().checked_add(1));
        let Some(first) = first else {
            return Ok(Vec::new());
        };
        self.sweep().await?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows: Vec<Row> = self.conn.exec(DEAD, (first, most)).await?;
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
        const REVIVE: &str = concat!(
            "UPDATE rp_jobs SET state = 'waiting', attempts = 0, due = ",
            now!(),
            ", since = ",
            now!(),
            ",
             reason = NULL WHERE id = ? AND state = 'dead'"
        );
        let is_revived = self.change(REVIVE, (id.get(),)).await? > 0;
        if is_revived {
            self.size.dead_left(1);
        }
        Ok(is_revived)
    }

    pub(super) async fn purge(&mut self, id: Option<JobId>) -> Result<u64, Failed> {
        const ONE: &str = "DELETE FROM rp_jobs WHERE id = ? AND state = 'dead'";
        const ALL: &str = "DELETE FROM rp_jobs WHERE state = 'dead'";
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
        const COUNT: &str = concat!(
            "SELECT COUNT(CASE WHEN next_due <= ",
            now!(),
            " THEN 1 END),
                    COUNT(CASE WHEN next_due > ",
            now!(),
            " AND state <> 'leased' THEN 1 END),
                    COUNT(CASE WHEN next_due > ",
            now!(),
            " AND state = 'leased' THEN 1 END),
                    (SELECT COUNT(*) FROM rp_jobs FORCE INDEX (rp_jobs_since) WHERE state = 'dead'),
                    MIN(next_due), ",
            now!(),
            "
             FROM rp_jobs FORCE INDEX (rp_jobs_due) WHERE next_due IS NOT NULL"
        );
        type Counted = (u64, u64, u64, u64, Option<i64>, i64);
        self.sweep().await?;
        let counted: Option<Counted> = self.conn.exec_first(COUNT, ()).await?;
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

/// The rows that are due, those that have been so longest first, but for the ones that somebody else is at; they are locked.
/// Whose last lease ran out a moment ago is for who sweeps next.
macro_rules! due {
    ($columns:expr, $index:literal, $of_kind:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM rp_jobs FORCE INDEX (",
            $index,
            ")
             WHERE ",
            $of_kind,
            " next_due <= ? AND last_until IS NULL
             ORDER BY next_due, id LIMIT ? FOR UPDATE SKIP LOCKED"
        )
    };
}

/// The row of this kind that comes next.
async fn next(
    transaction: &mut Transaction<'_>,
    kind: Option<&str>,
    now: i64,
) -> Result<Option<Row>, Failed> {
    const ANY: &str = due!(row::job_columns!(), "rp_jobs_due", "");
    const OF_KIND: &str = due!(row::job_columns!(), "rp_jobs_kind", "kind = ? AND");
    Ok(match kind {
        None => transaction.exec_first(ANY, (now, 1)).await?,
        Some(kind) => transaction.exec_first(OF_KIND, (kind, now, 1)).await?,
    })
}

/// Makes dead letters of those among the next rows that can be seen to be no jobs without their payload. One by one each
/// would be looked for behind all that were buried before.
async fn bury_wrong_next(
    transaction: &mut Transaction<'_>,
    kind: Option<&str>,
    now: i64,
) -> Result<usize, Failed> {
    const ANY: &str = due!(row::checked_columns!(), "rp_jobs_due", "");
    const OF_KIND: &str = due!(row::checked_columns!(), "rp_jobs_kind", "kind = ? AND");
    let rows: Vec<Row> = match kind {
        None => transaction.exec(ANY, (now, BATCH)).await?,
        Some(kind) => transaction.exec(OF_KIND, (kind, now, BATCH)).await?,
    };
    let mut wrong: Wrong = HashMap::new();
    for mut row in rows {
        if let Err(reason) = row::leased(&mut row) {
            wrong.entry(reason).or_default().push(row::id(&row));
        }
    }
    bury_wrong(transaction, wrong, now).await
}

/// Rows that are no jobs, by what is wrong with them.
type Wrong = HashMap<String, Vec<JobId>>;

/// Makes dead letters of them; returns how many they are.
async fn bury_wrong(
    transaction: &mut Transaction<'_>,
    wrong: Wrong,
    now: i64,
) -> Result<usize, Failed> {
    for (reason, jobs) in &wrong {
        for job in jobs {
            tracing::warn!(%job, reason, "a row that is no job is made a dead letter");
        }
        let ids: Vec<i64> = jobs.iter().map(|job| job.get()).collect();
        bury(transaction, &ids, reason, now).await?;
    }
    Ok(wrong.values().map(Vec::len).sum())
}

async fn bury(
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
fn list(ids: &[i64]) -> String {
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
