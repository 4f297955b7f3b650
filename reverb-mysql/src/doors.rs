//! Doors to a database for whoever keeps tables of its own in it.

use mysql_async::{Conn, Error};
use reverb_core::app_store::StoreError;
use reverb_core::ledger::Ledger;

use crate::database::PATIENCE;
use crate::{MySql, OpenError, migrate};

impl MySql {
    /// Brings tables of the caller's own up to date, by the rules of ours: of nodes that start together one takes the steps, and
    /// where nothing is missing nobody waits. Tables and their ledger should have a prefix of their own.
    ///
    /// MySQL commits with every change of a table. So a step may be broken off in the middle, and is then taken again from its
    /// first statement: each must be one that can be run again, such as `CREATE TABLE IF NOT EXISTS` or `INSERT IGNORE`. It ends
    /// with a semicolon at the end of its line.
    ///
    /// # Errors
    /// A newer version has been at these tables, a step fails, or all of it has not been done within a minute.
    pub async fn migrate(&self, ledger: Ledger) -> Result<(), OpenError> {
        let migrated = tokio::time::timeout(migrate::PATIENCE, async {
            let mut conn = self.conn().await?;
            migrate::migrate(&mut conn, &ledger).await
        });
        migrated.await.map_err(|_| OpenError::TooSlow)?
    }

    /// A connection for tables of the caller's own, one of those that the apps share: give it back soon, by dropping it. It is
    /// waited for at most two seconds.
    ///
    /// Its session is as the server has it, time zone and SQL mode too, but for two things: an `UPDATE` counts the rows that it
    /// has found, and nobody waits longer than four seconds for the lock of a row. What is set in it is forgotten when it is
    /// dropped, and a transaction that was begun is rolled back. What is to end in time goes through [`Self::patiently`]:
    ///
    /// ```no_run
    /// # use reverb_core::app_store::BoxError;
    /// # async fn example(database: reverb_mysql::MySql) -> Result<(), BoxError> {
    /// use reverb_mysql::MySql;
    /// use reverb_mysql::mysql_async::prelude::Queryable;
    ///
    /// let notes = MySql::patiently(async {
    ///     let mut connection = database.connection().await?;
    ///     let notes: Option<u64> = connection.query_first("SELECT COUNT(*) FROM my_notes").await?;
    ///     Ok::<_, BoxError>(notes)
    /// });
    /// println!("{:?}", notes.await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is none in time, or none at all.
    pub async fn connection(&self) -> Result<Conn, StoreError> {
        Ok(self.conn().await?)
    }

    /// What this comes to, if it does within five seconds: nobody waits longer for this database.
    ///
    /// # Errors
    /// Its own, or [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// Whatever it was at is dropped: a transaction is rolled back, and a connection that was waiting for an answer is closed.
    pub async fn patiently<T, E: From<StoreError>>(
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let done = tokio::time::timeout(PATIENCE, work).await;
        done.unwrap_or_else(|late| Err(StoreError::Unavailable(Box::new(late)).into()))
    }

    /// Whether another transaction was in the way of this one, which was rolled back for it: nothing has happened, and trying again
    /// from its beginning may help. It is a deadlock, or a row that somebody has changed since this transaction began to read
    /// (MariaDB's `innodb_snapshot_isolation`).
    ///
    /// That the lock of a row was waited for in vain is not among it. Only the statement is undone then, and four seconds of the
    /// five that [`Self::patiently`] allows are over.
    #[must_use]
    pub fn is_passing(error: &Error) -> bool {
        const CHANGED_MEANWHILE: u16 = 1020;
        const DEADLOCK: u16 = 1213;
        matches!(code(error), Some(CHANGED_MEANWHILE | DEADLOCK))
    }

    /// Whether the session's time zone has no such time of day, as in the hour that summer time leaves out: the columns of the PHP
    /// product take the time in UTC as if it were the server's. An hour later there is one.
    #[must_use]
    pub fn has_no_such_time(error: &Error) -> bool {
        const WRONG_VALUE: u16 = 1292;
        code(error) == Some(WRONG_VALUE)
    }
}

/// The number of the server's error.
pub(crate) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Server(error) => Some(error.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::{DriverError, ServerError};

    use super::*;

    #[test]
    fn what_another_transaction_was_in_the_way_of_is_passing() {
        let server = |code| {
            let (message, state) = (String::new(), "HY000".to_owned());
            Error::Server(ServerError {
                code,
                message,
                state,
            })
        };
        let errors = [1020, 1213, 1205, 1062, 1292].map(server);
        let passing = errors.each_ref().map(MySql::is_passing);
        assert_eq!(passing, [true, true, false, false, false]);
        let timeless = errors.each_ref().map(MySql::has_no_such_time);
        assert_eq!(timeless, [false, false, false, false, true]);
        let gone = Error::Driver(DriverError::PoolDisconnected);
        assert!(!MySql::is_passing(&gone) && !MySql::has_no_such_time(&gone));
    }
}
