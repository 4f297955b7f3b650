//! Bringing our tables up to what this version needs, forwards only.
//!
//! MySQL commits with every change of a table, so that a step may be interrupted in the middle: each of its statements can be
//! run again. A named lock lets one node at a time take steps; each is noted with a checksum in `rp_migrations`. Tables of
//! the PHP product are made where they are missing, and otherwise left as they are.

use std::time::Duration;

use data_encoding::HEXLOWER;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sha2::{Digest, Sha256};

use crate::OpenError;

/// Every step there ever was, in order.
const STEPS: [Step; 2] = [
    Step::new("001_apps", include_str!("../migrations/001_apps.sql")),
    Step::new("002_queue", include_str!("../migrations/002_queue.sql")),
];

/// How long the whole may take, waiting for others included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is waited for another node, in seconds.
const LOCK: u32 = 50;

struct Step {
    name: &'static str,
    sql: &'static str,
}

impl Step {
    const fn new(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql }
    }

    fn checksum(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.sql))
    }

    /// The statements in it: each ends with a semicolon at the end of a line.
    fn statements(&self) -> impl Iterator<Item = &'static str> {
        let statements = self.sql.split(";\n").map(str::trim);
        statements.filter(|statement| !statement.is_empty())
    }
}

/// The names of the steps that are missing.
pub(crate) async fn pending(conn: &mut Conn) -> Result<Vec<&'static str>, OpenError> {
    let done = match is_noted(conn).await? {
        true => check(conn).await?,
        false => 0,
    };
    Ok(STEPS.iter().skip(done).map(|step| step.name).collect())
}

/// Takes the steps that are missing.
pub(crate) async fn migrate(conn: &mut Conn) -> Result<(), OpenError> {
    // A node that has nothing to do waits for nobody, and needs no right to change tables.
    if is_noted(conn).await? && check(conn).await? == STEPS.len() {
        return Ok(());
    }
    let lock = "SELECT GET_LOCK(CONCAT(DATABASE(), '.rp_migrations'), ?)";
    let is_locked: Option<Option<u8>> = conn.exec_first(lock, (LOCK,)).await?;
    if is_locked.flatten() != Some(1) {
        return Err(OpenError::TooSlow);
    }
    let taken = take_steps(conn).await;
    let unlock = "SELECT RELEASE_LOCK(CONCAT(DATABASE(), '.rp_migrations'))";
    let unlocked: Result<Option<Option<u8>>, _> = conn.query_first(unlock).await;
    taken?;
    unlocked?;
    Ok(())
}

async fn take_steps(conn: &mut Conn) -> Result<(), OpenError> {
    conn.query_drop(
        "CREATE TABLE IF NOT EXISTS rp_migrations (
             number   INT UNSIGNED NOT NULL PRIMARY KEY,
             name     VARCHAR(255) NOT NULL,
             checksum CHAR(64) NOT NULL,
             at       DATETIME NOT NULL
         ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4",
    )
    .await?;
    for (n, step) in STEPS.iter().enumerate().skip(check(conn).await?) {
        for statement in step.statements() {
            conn.query_drop(statement).await?;
        }
        let note = "INSERT INTO rp_migrations VALUES (?, ?, ?, UTC_TIMESTAMP())";
        conn.exec_drop(note, (n + 1, step.name, step.checksum()))
            .await?;
    }
    Ok(())
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

async fn is_noted(conn: &mut Conn) -> Result<bool, OpenError> {
    let sql = "SELECT COUNT(*) FROM information_schema.tables
               WHERE table_schema = DATABASE() AND table_name = 'rp_migrations'";
    let tables: Option<u64> = conn.query_first(sql).await?;
    Ok(tables == Some(1))
}

/// How many steps were taken. Refuses what a newer version has been at.
async fn check(conn: &mut Conn) -> Result<usize, OpenError> {
    let sql = "SELECT name, checksum FROM rp_migrations ORDER BY number";
    let noted: Vec<(String, String)> = conn.query(sql).await?;
    for (n, (name, checksum)) in noted.iter().enumerate() {
        match STEPS.get(n) {
            None => {
                return Err(OpenError::Newer {
                    name: name.clone(),
                    known: STEPS.len(),
                });
            }
            Some(step) if step.name != name || step.checksum() != *checksum => {
                return Err(OpenError::Different { name: name.clone() });
            }
            Some(_) => {}
        }
    }
    Ok(noted.len())
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
        let steps = STEPS.iter().map(|step| (step.name, step.checksum()));
        assert!(steps.eq(published.map(|(name, sum)| (name, sum.to_owned()))));
    }

    #[test]
    fn every_statement_can_be_run_again() {
        for statement in STEPS.iter().flat_map(Step::statements) {
            let is_safe = ["CREATE TABLE IF NOT EXISTS ", "INSERT IGNORE INTO "];
            assert!(
                is_safe.iter().any(|start| statement.starts_with(start)),
                "{statement}"
            );
        }
    }
}
