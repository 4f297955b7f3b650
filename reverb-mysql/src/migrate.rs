//! Bringing tables up to what a version needs, forwards only.
//!
//! MySQL commits with every change of a table, so that a step may be interrupted in the middle: each of its statements can be
//! run again. A named lock lets one node at a time take steps; each is noted with a checksum in the table of its [`Ledger`],
//! ours in `rp_migrations`. Tables of the PHP product are made where they are missing, and otherwise left as they are.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reverb_core::ledger::{Ledger, Step};

use crate::OpenError;

/// Every step of our own there ever was.
pub(crate) const OURS: Ledger = Ledger::new(
    "rp_migrations",
    &[
        Step::new("001_apps", include_str!("../migrations/001_apps.sql")),
        Step::new("002_queue", include_str!("../migrations/002_queue.sql")),
    ],
);

/// How long the whole may take, waiting for others included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is waited for another node, in seconds.
const LOCK: u32 = 50;

/// Takes the steps that are missing.
pub(crate) async fn migrate(conn: &mut Conn, ledger: &Ledger) -> Result<(), OpenError> {
    // A node that has nothing to do waits for nobody, and needs no right to change tables.
    if taken(conn, ledger).await? == ledger.steps().len() {
        return Ok(());
    }
    // A hash: a lock's name has at most 64 characters.
    let lock = "SELECT GET_LOCK(MD5(CONCAT(DATABASE(), '.', ?)), ?)";
    let is_locked: Option<Option<u8>> = conn.exec_first(lock, (ledger.table(), LOCK)).await?;
    if is_locked.flatten() != Some(1) {
        return Err(OpenError::TooSlow);
    }
    let done = take_steps(conn, ledger).await;
    let unlock = "SELECT RELEASE_LOCK(MD5(CONCAT(DATABASE(), '.', ?)))";
    let unlocked: Result<Option<Option<u8>>, _> = conn.exec_first(unlock, (ledger.table(),)).await;
    done?;
    unlocked?;
    Ok(())
}

async fn take_steps(conn: &mut Conn, ledger: &Ledger) -> Result<(), OpenError> {
    let table = ledger.table();
    let make = format!(
        "CREATE TABLE IF NOT EXISTS {table} (
             number   INT UNSIGNED NOT NULL PRIMARY KEY,
             name     VARCHAR(255) NOT NULL,
             checksum CHAR(64) NOT NULL,
             at       DATETIME NOT NULL
         ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4"
    );
    conn.query_drop(make).await?;
    let taken = taken(conn, ledger).await?;
    for (n, step) in ledger.steps().iter().enumerate().skip(taken) {
        for statement in step.statements() {
            conn.query_drop(statement).await?;
        }
        let note = format!("INSERT INTO {table} VALUES (?, ?, ?, UTC_TIMESTAMP())");
        conn.exec_drop(note, (n + 1, step.name(), step.checksum()))
            .await?;
    }
    Ok(())
}

/// How many steps were taken. Refuses what a newer version has been at.
pub(crate) async fn taken(conn: &mut Conn, ledger: &Ledger) -> Result<usize, OpenError> {
    const NO_SUCH_TABLE: u16 = 1146;
    let sql = format!(
        "SELECT name, checksum FROM {} ORDER BY number",
        ledger.table()
    );
    match conn.query(sql).await {
        Ok(noted) => Ok(ledger.check(&noted)?),
        Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_TABLE => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// How many characters fit into the column of secrets.
pub(crate) async fn room_for_secrets(conn: &mut impl Queryable) -> Result<u64, mysql_async::Error> {
    let sql = "SELECT CHARACTER_MAXIMUM_LENGTH FROM information_schema.columns
               WHERE table_schema = DATABASE() AND table_name = 'reverb_apps' AND column_name = 'app_secret'";
    let room: Option<Option<u64>> = conn.query_first(sql).await?;
    Ok(room.flatten().unwrap_or(u64::MAX))
}

/// What the product's own migration of May 2026 does.
pub(crate) async fn widen_secrets(conn: &mut Conn) -> Result<bool, OpenError> {
    const TEXT: u64 = 65_535;
    if room_for_secrets(conn).await? >= TEXT {
        return Ok(false);
    }
    let widen = "ALTER TABLE reverb_apps MODIFY app_secret TEXT NOT NULL";
    conn.query_drop(widen).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has been published must not change: a database that took the step would be refused.
    #[test]
    fn the_steps_are_as_they_were_published() {
        let published = [
            (
                "001_apps",
                "c05ccdb5d21f65f90caa9b1c9d570b8d7a3a187ae749807277868a705a89d9b4",
            ),
            (
                "002_queue",
                "dadd33b96509583de43a28df4380e96d9c691b95b3e1c9a554da5e733e156d2c",
            ),
        ];
        let steps = OURS.steps().iter();
        let steps = steps.map(|step| (step.name(), step.checksum()));
        assert!(steps.eq(published.map(|(name, sum)| (name, sum.to_owned()))));
    }

    #[test]
    fn every_statement_can_be_run_again() {
        for statement in OURS.steps().iter().flat_map(Step::statements) {
            let is_safe = ["CREATE TABLE IF NOT EXISTS ", "INSERT IGNORE INTO "];
            assert!(
                is_safe.iter().any(|start| statement.starts_with(start)),
                "{statement}"
            );
        }
    }
}
