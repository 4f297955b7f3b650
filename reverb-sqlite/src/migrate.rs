//! Bringing the file's tables up to what a version needs: forwards only, a step per transaction.
//!
//! Each step is noted with a checksum in the table of its [`Ledger`], as ours, the files in `migrations`, are in the table
//! `migrations`. A step that was interrupted has not happened; of two processes that start together one does it, and the other
//! finds it done. A setting added to `AppSettings` needs a step as well, an empty one if need be: an older version would else
//! take the app for broken.

use reverb_core::ledger::{Ledger, Step};
use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;

/// Every step of our own there ever was.
pub(crate) const OURS: Ledger = Ledger::new(
    "migrations",
    &[
        Step::new("001_apps", include_str!("../migrations/001_apps.sql")),
        Step::new("002_queue", include_str!("../migrations/002_queue.sql")),
    ],
);

/// Marks a file as ours: the letters "RvPu".
const APPLICATION: i64 = 0x5276_5075;

/// Takes those of our own that are missing, before anybody else has the connection.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    // The steps are few; a start that has nothing to do should not write.
    if check(connection)? == OURS.steps().len() {
        return Ok(());
    }
    loop {
        // Locked before it is looked, so that nobody takes the same step at the same time.
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if check(&step)? == 0 {
            step.pragma_update(None, "application_id", APPLICATION)?;
        }
        if !take_next(&step, &OURS)? {
            return Ok(());
        }
        step.commit()?;
    }
}

/// Takes the next step, in whose transaction nobody else writes; `false` if there is none.
pub(crate) fn take_next(connection: &Connection, ledger: &Ledger) -> Result<bool, OpenError> {
    let (table, taken) = (ledger.table(), taken(connection, ledger)?);
    let Some(next) = ledger.steps().get(taken) else {
        return Ok(false);
    };
    if taken == 0 {
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                 number   INTEGER PRIMARY KEY,
                 name     TEXT NOT NULL,
                 checksum TEXT NOT NULL,
                 at       INTEGER NOT NULL DEFAULT (unixepoch())
             ) STRICT"
        ))?;
    }
    connection.execute_batch(next.sql())?;
    connection.execute(
        &format!("INSERT INTO {table} (number, name, checksum) VALUES (?, ?, ?)"),
        (taken as i64 + 1, next.name(), next.checksum()),
    )?;
    Ok(true)
}

/// How many steps of our own were taken. Refuses a file of somebody else, and one that a newer version has been at.
pub(crate) fn check(connection: &Connection) -> Result<usize, OpenError> {
    // In one statement, so that nobody takes the first step between the two.
    let (application, tables): (i64, i64) = connection.query_row(
        "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id",
        (),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    match application {
        APPLICATION => taken(connection, &OURS),
        0 if tables == 0 => Ok(0),
        _ => Err(OpenError::Foreign),
    }
}

/// How many steps of a ledger were taken, in a file of ours. Refuses one that a newer version has been at.
pub(crate) fn taken(connection: &Connection, ledger: &Ledger) -> Result<usize, OpenError> {
    // Asked by a statement: what the connection remembers of the schema may be older than another process's step.
    let mut is_there = connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?")?;
    if !is_there.exists([ledger.table()])? {
        return Ok(0);
    }
    let sql = format!(
        "SELECT name, checksum FROM {} ORDER BY number",
        ledger.table()
    );
    let mut noted = connection.prepare(&sql)?;
    let noted = noted.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let noted: Vec<(String, String)> = noted.collect::<Result<_, _>>()?;
    Ok(ledger.check(&noted)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has been published must not change: a file that took the step would be refused.
    #[test]
    fn the_steps_are_as_they_were_published() {
        let published = [
            (
                "001_apps",
                "abecc120097d78799687f142048c6e53f66a70279548792bc01c81d681b58999",
            ),
            (
                "002_queue",
                "f38d6f150986ab78d62e547e87f4c36eb56bdbf70c3baaffcf91cfbffaecd4f1",
            ),
        ];
        let steps = OURS.steps().iter();
        let steps = steps.map(|step| (step.name(), step.checksum()));
        assert!(steps.eq(published.map(|(name, sum)| (name, sum.to_owned()))));
    }
}
