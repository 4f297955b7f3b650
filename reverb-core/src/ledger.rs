//! [`Ledger`]: the steps that bring a database's tables up to date, and what of them is noted in it.
//!
//! It only says which steps are missing and what may not be; adapters take them, each as its database can. Steps go forwards
//! only. What was published never changes: each is noted with a checksum, and a database that has taken another one is refused.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The steps of some tables, in order, and the table in which those that were taken are noted.
///
/// ```
/// use reverb_core::ledger::{Ledger, Step};
///
/// static NOTES: Ledger = Ledger::new(
///     "notes_migrations",
///     &[Step::new("001_notes", "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n")],
/// );
/// assert_eq!(NOTES.check(&[])?, 0);
/// assert_eq!(NOTES.missing(0).next(), Some("001_notes"));
/// # Ok::<(), reverb_core::ledger::LedgerError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    table: &'static str,
    steps: &'static [Step],
}

/// Something that is done to the tables, once.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    name: &'static str,
    sql: &'static str,
}

impl Ledger {
    /// Steps, and the table in which they are noted. Each ledger of a database has a table of its own.
    ///
    /// # Panics
    /// The name has other characters than letters, digits and `_`: it stands in SQL. In a constant it does not compile.
    #[must_use]
    pub const fn new(table: &'static str, steps: &'static [Step]) -> Self {
        let bytes = table.as_bytes();
        let mut n = 0;
        while n < bytes.len() {
            assert!(
                bytes[n].is_ascii_alphanumeric() || bytes[n] == b'_',
                "a table's name has letters, digits and _"
            );
            n += 1;
        }
        Self { table, steps }
    }

    /// The table in which they are noted.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        self.table
    }

    /// Every step there ever was, in order.
    #[must_use]
    pub const fn steps(&self) -> &'static [Step] {
        self.steps
    }

    /// How many of the steps were taken, by what is noted: name and checksum of each, in order.
    ///
    /// # Errors
    /// Something is noted that is not known here, or was another step.
    pub fn check(&self, noted: &[(String, String)]) -> Result<usize, LedgerError> {
        for (n, (name, checksum)) in noted.iter().enumerate() {
            match self.steps.get(n) {
                None => {
                    return Err(LedgerError::Newer {
                        name: name.clone(),
                        known: self.steps.len(),
                    });
                }
                Some(step) if step.name != name || step.checksum() != *checksum => {
                    return Err(LedgerError::Different { name: name.clone() });
                }
                Some(_) => {}
            }
        }
        Ok(noted.len())
    }

    /// The names of the steps behind the first so many.
    pub fn missing(&self, taken: usize) -> impl Iterator<Item = &'static str> + use<> {
        self.steps.iter().skip(taken).map(Step::name)
    }
}

impl Step {
    /// A name, which begins with its number by custom, and what is done.
    #[must_use]
    pub const fn new(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql }
    }

    /// What it is noted by.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// All of its statements.
    #[must_use]
    pub const fn sql(&self) -> &'static str {
        self.sql
    }

    /// The statements one by one: each ends with a semicolon at the end of a line.
    pub fn statements(&self) -> impl Iterator<Item = &'static str> + use<> {
        let statements = self.sql.split(";\n").map(str::trim);
        statements.filter(|statement| !statement.is_empty())
    }

    /// SHA-256 of its SQL, in hexadecimal.
    #[must_use]
    pub fn checksum(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.sql))
    }
}

/// Why tables cannot be used by this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A newer version has changed the tables.
    #[error(
        "a newer version of reverb has changed the database ({name}, the version here knows {known} steps): use that one, or a backup from before"
    )]
    Newer {
        /// The first step that is not known here.
        name: String,
        /// How many are.
        known: usize,
    },
    /// A step of their making was another one than here.
    #[error(
        "the database was made by another build of reverb: its step {name} is not the one here"
    )]
    Different {
        /// Which.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: Ledger = Ledger::new(
        "steps",
        &[
            Step::new("001_a", "CREATE a;\n\nCREATE b;\n"),
            Step::new("002_b", ""),
        ],
    );

    fn noted(steps: &[(&str, &str)]) -> Vec<(String, String)> {
        let steps = steps.iter();
        steps
            .map(|(name, sql)| ((*name).to_owned(), Step::new("", leak(sql)).checksum()))
            .collect()
    }

    fn leak(sql: &str) -> &'static str {
        Box::leak(sql.to_owned().into_boxed_str())
    }

    #[test]
    #[should_panic(expected = "letters, digits and _")]
    fn a_table_whose_name_would_be_other_sql_is_refused() {
        let _ = Ledger::new("steps; DROP TABLE apps", &[]);
    }

    #[test]
    fn what_is_noted_says_what_is_missing() {
        let missing = |steps: &[(&str, &str)]| {
            let taken = LEDGER.check(&noted(steps)).expect("they are known");
            LEDGER.missing(taken).collect::<Vec<_>>()
        };
        let [a, b] = LEDGER.steps() else {
            panic!("two steps")
        };
        assert_eq!(missing(&[]), ["001_a", "002_b"]);
        assert_eq!(missing(&[("001_a", a.sql())]), ["002_b"]);
        assert!(missing(&[("001_a", a.sql()), ("002_b", b.sql())]).is_empty());
        assert_eq!(a.statements().collect::<Vec<_>>(), ["CREATE a", "CREATE b"]);
        assert_eq!(b.statements().count(), 0);
    }

    #[test]
    fn what_a_newer_version_or_another_build_has_noted_is_refused() {
        let refused = |steps: &[(&str, &str)]| LEDGER.check(&noted(steps)).expect_err("refused");
        let [a, b] = LEDGER.steps() else {
            panic!("two steps")
        };
        let all = [("001_a", a.sql()), ("002_b", b.sql())];
        let newer = [all.as_slice(), &[("099_later", "")]].concat();
        assert!(
            matches!(refused(&newer), LedgerError::Newer { name, known: 2 } if name == "099_later")
        );
        for different in [("001_a", "other"), ("001_b", a.sql())] {
            assert!(matches!(
                refused(&[different]),
                LedgerError::Different { .. }
            ));
        }
    }
}
