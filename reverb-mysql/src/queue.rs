//! [`MySqlQueue`]: jobs in a table.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reverb_core::app_store::StoreError;
use reverb_core::queue::{Counts, DeadJob, Job, JobId, Leased, Queue, QueueError};

use self::size::Size;
use self::table::Table;
use crate::MySql;
use crate::database::{Failed, patiently};
use crate::doors::code;

mod next;
mod row;
mod size;
mod sweep;
mod table;

/// How a session of the queue is set up, whatever the server has for others: with locks by row alone, and with an end to each
/// wait for somebody else, in seconds, before ours. A transaction whose client has vanished ends after two minutes.
pub(crate) const SESSION: [&str; 3] = [
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION autocommit = 1, SESSION sql_mode = 'STRICT_ALL_TABLES',
         SESSION innodb_lock_wait_timeout = 2, SESSION lock_wait_timeout = 2, SESSION wait_timeout = 120",
];

/// So often something is tried that the database has broken off for another one.
const ATTEMPTS: usize = 3;

/// The queue in a database. Clones share it, and so do other nodes that use the same database.
///
/// It takes the next row by `SELECT … FOR UPDATE SKIP LOCKED` in a transaction that ends before the job is given out: workers
/// do not wait for each other. A row that somebody else is at in that very moment is passed over, and comes next time.
/// Ids come from `AUTO_INCREMENT`, which neither MySQL 8 nor MariaDB sets back when it starts (MySQL 5.7 did); a
/// `TRUNCATE` by hand does. A binary log must be by rows or mixed, as it is by default.
///
/// # Limits
/// It holds about so many jobs, by default 100,000, and refuses more ([`QueueError::Full`]). Each [`MySql::queue`] counts
/// once in a second in which something is pushed, and in between reckons with what is done by itself: by so much as
/// others push within a second, and by what is under way, the limit may be passed; and room that they make is seen within
/// that second. Beside them it keeps as many dead letters, and up to a hundredth more: then those that died first are removed,
/// each with a line in the log.
///
/// # Rows by hand
/// The table `rp_jobs` may be read and changed by hand: an `INSERT` with a kind and a payload is a push. A row that is no job,
/// because its kind is too long, say, or no UTF-8, becomes a dead letter when its turn comes, and its reason says what is
/// wrong; it can be mended in its row, and revived. The others come as ever.
///
/// # The clock
/// Times are those of the database's clock, which may be set. When it is put back, by more than ten seconds, whatever was
/// delayed or leased by the clock of before begins its time again with the next lease that anybody asks for: a delay of a
/// minute may last a minute longer, however far the clock went. By less than that delays and leases just become longer. When
/// it is put forward, they end earlier by as much; a worker whose lease has ended may still finish while nobody else
/// has the job.
#[derive(Clone, Debug)]
pub struct MySqlQueue {
    database: MySql,
    size: Arc<Size>,
}

impl MySqlQueue {
    pub(crate) fn new(database: MySql, limit: usize) -> Self {
        let size = Arc::new(Size::new(limit));
        Self { database, size }
    }

    /// What this comes to, if it does in time; once more where other transactions were in the way.
    async fn patiently<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        work: impl Fn(Table) -> F,
    ) -> Result<T, QueueError> {
        let worked = patiently(async {
            let mut attempt = 1;
            loop {
                let conn = self.database.queue_conn().await?;
                let size = self.size.clone();
                match work(Table { conn, size }).await {
                    Err(Failed::Database(error)) if may_help(&error) && attempt < ATTEMPTS => {
                        attempt += 1
                    }
                    worked => return worked,
                }
            }
        });
        worked.await.map_err(unavailable)
    }
}

/// Whether trying again may help. A lock that was kept for too long is a reason here: it was waited for two seconds and not four, so
/// there is time for it, and the transaction is dropped with the attempt.
fn may_help(error: &mysql_async::Error) -> bool {
    const LOCKED: u16 = 1205;
    MySql::is_passing(error) || code(error) == Some(LOCKED)
}

fn unavailable(failed: Failed) -> QueueError {
    match StoreError::from(failed) {
        StoreError::Unavailable(source) => QueueError::Unavailable(source),
        other => QueueError::Unavailable(Box::new(other)),
    }
}

#[async_trait]
impl Queue for MySqlQueue {
    async fn push(&self, job: Job, delay: Duration) -> Result<JobId, QueueError> {
        let job = &job;
        let pushed = self.patiently(|mut table| async move {
            if !table.reserve().await? {
                return Ok(None);
            }
            let id = table.insert(job, delay).await;
            let id = id.inspect_err(|_| table.size.left())?;
            Ok(Some(id))
        });
        pushed.await?.ok_or_else(|| self.size.full())
    }

    async fn lease(&self, kinds: &[&str], lasting: Duration) -> Result<Option<Leased>, QueueError> {
        self.patiently(|mut table| async move { table.lease(kinds, lasting).await })
            .await
    }

    async fn extend(&self, leased: &Leased, lasting: Duration) -> Result<(), QueueError> {
        let (id, token) = (leased.id, leased.token);
        let extended =
            self.patiently(|mut table| async move { table.extend(id, token, lasting).await });
        is_held(id, extended.await?)
    }

    async fn finish(&self, leased: &Leased) -> Result<(), QueueError> {
        let (id, token) = (leased.id, leased.token);
        let removed = self.patiently(|mut table| async move { table.remove(id, token).await });
        is_held(id, removed.await?)
    }

    async fn retry(
        &self,
        leased: &Leased,
        after: Duration,
        reason: &str,
    ) -> Result<(), QueueError> {
        let (id, token) = (leased.id, leased.token);
        let done = self.patiently(|mut table| async move {
            Ok(table.put_back(id, token, after).await? || table.bury(id, token, reason).await?)
        });
        is_held(id, done.await?)
    }

    async fn bury(&self, leased: &Leased, reason: &str) -> Result<(), QueueError> {
        let (id, token) = (leased.id, leased.token);
        let buried = self.patiently(|mut table| async move { table.bury(id, token, reason).await });
        is_held(id, buried.await?)
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        self.patiently(|mut table| async move { table.counts().await })
            .await
    }

    async fn dead(&self, after: Option<JobId>, most: usize) -> Result<Vec<DeadJob>, QueueError> {
        self.patiently(|mut table| async move { table.dead(after, most).await })
            .await
    }

    async fn revive(&self, id: JobId) -> Result<(), QueueError> {
        let revived = self.patiently(|mut table| async move {
            if !table.is_dead(id).await? {
                return Ok(Err(QueueError::Missing(id)));
            }
            if !table.reserve().await? {
                return Ok(Err(table.size.full()));
            }
            let revived = table.revive(id).await;
            if !matches!(revived, Ok(true)) {
                table.size.left();
            }
            Ok(match revived? {
                true => Ok(()),
                false => Err(QueueError::Missing(id)),
            })
        });
        revived.await?
    }

    async fn purge_dead(&self, id: Option<JobId>) -> Result<u64, QueueError> {
        self.patiently(|mut table| async move { table.purge(id).await })
            .await
    }
}

/// What was done with a lease was done if it still counts.
fn is_held(id: JobId, done: bool) -> Result<(), QueueError> {
    match done {
        true => Ok(()),
        false => Err(QueueError::Lost(id)),
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    #[test]
    fn a_lock_that_was_kept_for_too_long_is_waited_for_once_more() {
        let helps = [1020, 1213, 1205, 1062].map(|code| {
            let (message, state) = (String::new(), "HY000".to_owned());
            may_help(&mysql_async::Error::Server(ServerError {
                code,
                message,
                state,
            }))
        });
        assert_eq!(helps, [true, true, true, false]);
    }
}
