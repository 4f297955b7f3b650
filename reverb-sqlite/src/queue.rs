//! [`SqliteQueue`]: jobs in a table.

use std::time::Duration;

use async_trait::async_trait;
use reverb_core::app_store::StoreError;
use reverb_core::queue::{Counts, DeadJob, Job, JobId, Leased, Queue, QueueError};

use self::table::Table;
use crate::Sqlite;
use crate::writer::Failed;

mod row;
mod table;

/// The queue in a database. Clones share it, and so do other processes that have the file open.
///
/// It holds so many jobs, by default 100,000, and refuses more ([`QueueError::Full`]). Beside them it keeps so many dead
/// letters again: of more than that, the ones that died first are removed, each with a line in the log.
///
/// # Rows by hand
/// The table `jobs` may be read and changed by hand: an `INSERT` with a kind and a payload is a push. A row that is no job,
/// because its kind is too long, say, or its payload no UTF-8, becomes a dead letter when its turn comes, and its reason
/// says what is wrong; it can be mended in its row, and revived. The others come as ever.
///
/// # The clock
/// Times are those of the system's clock, which may be set. When it is put back, whatever was delayed or leased by the clock
/// of before begins its time again with the next lease that anybody asks for: a delay of ten seconds may last ten seconds
/// longer, however far the clock went. When it is put forward, delays and leases end earlier by as much, as they do on a
/// machine that slept; a worker whose lease has ended may still finish while nobody else has the job.
#[derive(Clone, Debug)]
pub struct SqliteQueue {
    database: Sqlite,
    limit: usize,
}

impl SqliteQueue {
    pub(crate) fn new(database: Sqlite, limit: usize) -> Self {
        Self { database, limit }
    }

    /// Does this as one transaction, which is rolled back if it fails.
    async fn edit<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&Table<'_>) -> Result<T, Failed<QueueError>> + Send + 'static,
    ) -> Result<T, QueueError> {
        let limit = self.limit;
        let edited = self.database.writer.edit(move |connection| {
            let table = Table::now(connection, limit)?;
            edit(&table)
        });
        edited.await.map_err(unavailable)?
    }

    /// Reads, once every lease that ran out on its last attempt is a dead letter, as [`Queue`] promises. Who is listed as
    /// dead must be lost to its worker, so that it would not do to reckon with it here and leave the row as it is. But such
    /// rows are rare: mostly there is none, and then nobody who writes is waited for.
    async fn look<T: Send + 'static>(
        &self,
        look: impl Fn(&Table<'_>) -> rusqlite::Result<T> + Clone + Send + 'static,
    ) -> Result<T, QueueError> {
        let (limit, first) = (self.limit, look.clone());
        let seen = self.database.reader.run(move |connection| {
            let view = connection.transaction()?;
            let table = Table::now(&view, limit)?;
            match table.is_swept()? {
                true => first(&table).map(Some),
                false => Ok(None),
            }
        });
        if let Some(seen) = seen.await.map_err(unavailable)? {
            return Ok(seen);
        }
        self.edit(move |table| {
            table.sweep()?;
            Ok(look(table)?)
        })
        .await
    }
}

fn unavailable(error: StoreError) -> QueueError {
    match error {
        StoreError::Unavailable(source) => QueueError::Unavailable(source),
        other => QueueError::Unavailable(Box::new(other)),
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn push(&self, job: Job, delay: Duration) -> Result<JobId, QueueError> {
        self.edit(move |table| {
            table.make_room()?;
            Ok(table.insert(&job, delay)?)
        })
        .await
    }

    async fn lease(&self, kinds: &[&str], lasting: Duration) -> Result<Option<Leased>, QueueError> {
        let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
        self.edit(move |table| {
            table.sweep()?;
            while let Some(id) = table.next(&kinds)? {
                match table.read(id)? {
                    Ok(leased) => {
                        table.lease(&leased, lasting)?;
                        return Ok(Some(leased));
                    }
                    Err(reason) => {
                        tracing::warn!(job = %id, reason, "a row that is no job is made a dead letter");
                        table.bury_row(id, &reason)?;
                    }
                }
            }
            Ok(None)
        })
        .await
    }

    async fn extend(&self, leased: &Leased, lasting: Duration) -> Result<(), QueueError> {
        let (id, token) = (leased.id, leased.token);
        self.edit(move |table| is_held(id, table.extend(id, token, lasting)?))
            .await
    }

    async fn finish(&self, leased: &Leased) -> Result<(), QueueError> {
        let (id, token) = (leased.id, leased.token);
        self.edit(move |table| is_held(id, table.remove(id, token)?))
            .await
    }

    async fn retry(
        &self,
        leased: &Leased,
        after: Duration,
        reason: &str,
    ) -> Result<(), QueueError> {
        let (id, token, reason) = (leased.id, leased.token, reason.to_owned());
        self.edit(move |table| {
            let done = table.put_back(id, token, after)? || table.bury(id, token, &reason)?;
            is_held(id, done)
        })
        .await
    }

    async fn bury(&self, leased: &Leased, reason: &str) -> Result<(), QueueError> {
        let (id, token, reason) = (leased.id, leased.token, reason.to_owned());
        self.edit(move |table| is_held(id, table.bury(id, token, &reason)?))
            .await
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        self.look(|table| table.counts()).await
    }

    async fn dead(&self, after: Option<JobId>, most: usize) -> Result<Vec<DeadJob>, QueueError> {
        self.look(move |table| table.dead(after, most)).await
    }

    async fn revive(&self, id: JobId) -> Result<(), QueueError> {
        self.edit(move |table| {
            table.sweep()?;
            if !table.is_dead(id)? {
                return Err(Failed::Refused(QueueError::Missing(id)));
            }
            table.make_room()?;
            Ok(table.revive(id)?)
        })
        .await
    }

    async fn purge_dead(&self, id: Option<JobId>) -> Result<u64, QueueError> {
        self.edit(move |table| {
            table.sweep()?;
            Ok(table.purge(id)?)
        })
        .await
    }
}

/// What was done with a lease was done if it still counts.
fn is_held(id: JobId, done: bool) -> Result<(), Failed<QueueError>> {
    match done {
        true => Ok(()),
        false => Err(Failed::Refused(QueueError::Lost(id))),
    }
}
