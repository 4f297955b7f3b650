//! Leasing: which job comes next, and what becomes of rows that are none.

use std::collections::HashMap;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Row, Transaction, TxOpts, Value};
use reverb_core::queue::{JobId, Leased};

use super::row::{self, CHECKED, JOB};
use super::table::{BATCH, Table, bury, millis};
use crate::database::Failed;

/// So many kinds are asked for at a time.
const KINDS: usize = 16;

/// How it went to lease a job of a kind.
enum Tried {
    Leased(Leased),
    Nothing,
    /// What came next was no job, and is buried. There may be one behind it.
    NoJobYet,
}

impl Table {
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
        let first = next(&mut transaction, JOB, kind, now, 1).await?;
        let Some(mut row) = first.into_iter().next() else {
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
}

/// The rows of this kind that are due, at most so many, those that have been so longest first, but for the ones that somebody
/// else is at; they are locked. Whose last lease ran out a moment ago is for who sweeps next.
async fn next(
    transaction: &mut Transaction<'_>,
    columns: &str,
    kind: Option<&str>,
    now: i64,
    most: usize,
) -> Result<Vec<Row>, Failed> {
    let (index, of_kind) = match kind {
        None => ("rp_jobs_due", ""),
        Some(_) => ("rp_jobs_kind", "kind = ? AND"),
    };
    let sql = format!(
        "SELECT {columns} FROM rp_jobs FORCE INDEX ({index})
         WHERE {of_kind} next_due <= ? AND last_until IS NULL
         ORDER BY next_due, id LIMIT ? FOR UPDATE SKIP LOCKED"
    );
    Ok(match kind {
        None => transaction.exec(sql, (now, most)).await?,
        Some(kind) => transaction.exec(sql, (kind, now, most)).await?,
    })
}

/// Makes dead letters of those among the next rows that can be seen to be no jobs without their payload. One by one each
/// would be looked for behind all that were buried before.
async fn bury_wrong_next(
    transaction: &mut Transaction<'_>,
    kind: Option<&str>,
    now: i64,
) -> Result<usize, Failed> {
    let rows = next(transaction, CHECKED, kind, now, BATCH).await?;
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
