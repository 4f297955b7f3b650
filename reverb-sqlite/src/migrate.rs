//! Bringing the file's tables up to what this version needs: forwards only, a step per transaction.
//!
//! Each step is a file in `migrations`, and noted in the table `migrations` with a checksum. A step that was interrupted
//! has not happened; of two processes that start together one does it, and the other finds it done. A setting added to
//! `AppSettings` needs a step as well, an empty one if need be: an older version would else take the app for broken.

use data_encoding::HEXLOWER;
use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest, Sha256};

use crate::OpenError;

/// Every step there ever was, in order.
const STEPS: [Step; 2] = [
    Step::new("001_apps", include_str!("../migrations/001_apps.sql")),
    Step::new("002_queue", include_str!("../migrations/002_queue.sql")),
];

/// Marks a file as ours: the letters "RvPu".
const APPLICATION: i64 = 0x5276_5075;

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
}

/// The names of all steps.
pub(crate) fn steps() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.name)
}

/// Takes the steps that are missing.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    // The steps are few; a start that has nothing to do should not write.
    if check(connection)? == STEPS.len() {
        return Ok(());
    }
    loop {
        // Locked before it is looked, so that nobody takes the same step at the same time.
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = check(&step)?;
        let Some(next) = STEPS.get(done) else {
            return Ok(());
        };
        if done == 0 {
            step.pragma_update(None, "application_id", APPLICATION)?;
            step.execute_batch(
                "CREATE TABLE IF NOT EXISTS migrations (
                     number   INTEGER PRIMARY KEY,
                     name     TEXT NOT NULL,
                     checksum TEXT NOT NULL,
                     at       INTEGER NOT NULL DEFAULT (unixepoch())
                 ) STRICT",
            )?;
        }
        step.execute_batch(next.sql)?;
        step.execute(
            "INSERT INTO migrations (number, name, checksum) VALUES (?, ?, ?)",
            (done as i64 + 1, next.name, next.checksum()),
        )?;
        step.commit()?;
    }
}

/// How many steps were taken. Refuses a file of somebody else, and one that a newer version has been at.
pub(crate) fn check(connection: &Connection) -> Result<usize, OpenError> {
    // In one statement, so that nobody takes the first step between the two.
    let (application, tables): (i64, i64) = connection.query_row(
        "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id",
        (),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    match application {
        APPLICATION => {}
        0 if tables == 0 => return Ok(0),
        _ => return Err(OpenError::Foreign),
    }
    let mut noted = connection.prepare("SELECT name, checksum FROM migrations ORDER BY number")?;
    let noted = noted.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let noted: Vec<(String, String)> = noted.collect::<Result<_, _>>()?;
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
        let steps = STEPS.iter().map(|step| (step.name, step.checksum()));
        assert!(steps.eq(published.map(|(name, sum)| (name, sum.to_owned()))));
    }
}
