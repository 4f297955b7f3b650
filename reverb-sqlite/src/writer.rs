//! [`Writer`]: the worker that writes. Edits that wait at the same time share a transaction.
//!
//! What takes long is the disk, once per commit, however much was written. So up to 64 edits are done in one transaction,
//! each in a savepoint: one that fails is rolled back by itself, and the others know nothing of it. They are answered when
//! all of it has been written through; if that fails, all of them have failed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use reverb_core::app_store::StoreError;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::worker::{Done, Worker, caught, unavailable};

pub(crate) type Writer = Worker<Box<dyn Edit>>;

/// Most that share a transaction: nobody else can write meanwhile.
const SHARE: usize = 64;

/// Why something was not written.
#[derive(Debug)]
pub enum Failed<E> {
    /// SQLite cannot.
    Sqlite(rusqlite::Error),
    /// It was not to happen.
    Refused(E),
}

impl<E> From<rusqlite::Error> for Failed<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

pub(crate) fn start(connection: Connection) -> io::Result<Writer> {
    Worker::start("sqlite-writer", connection, |connection, mut queue| {
        let mut edits = Vec::new();
        while queue.blocking_recv_many(&mut edits, SHARE) > 0 {
            write(connection, &mut edits);
        }
    })
}

impl Writer {
    /// Does this within a transaction, all of it or nothing: nothing if it fails or is refused.
    pub(crate) async fn edit<T: Send + 'static, E: Send + 'static>(
        &self,
        edit: impl FnOnce(&Connection) -> Result<T, Failed<E>> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError> {
        self.ask(|done| asked(edit, done)).await
    }

    /// The same for who waits so long.
    pub(crate) async fn edit_within<T: Send + 'static, E: Send + 'static>(
        &self,
        patience: Duration,
        edit: impl FnOnce(&Connection) -> Result<T, Failed<E>> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError> {
        self.ask_within(patience, |done| asked(edit, done)).await
    }
}

/// Does these in one transaction, and answers them.
fn write(connection: &mut Connection, edits: &mut Vec<Box<dyn Edit>>) {
    let written = run(connection, edits).map_err(Arc::new);
    for edit in edits.drain(..) {
        edit.answer(written.clone());
    }
}

fn run(connection: &mut Connection, edits: &mut [Box<dyn Edit>]) -> rusqlite::Result<()> {
    // Locked from the start: what is read here is what will be changed.
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for edit in edits {
        // After some errors, such as a full disk, SQLite has rolled back everything. The commit will say so.
        if transaction.is_autocommit() {
            break;
        }
        edit.run(&mut transaction);
    }
    transaction.commit()
}

/// An edit and whoever asked for it.
pub(crate) trait Edit: Send {
    fn run(&mut self, transaction: &mut Transaction<'_>);

    /// Says how it went, now that it is known whether the transaction was written.
    fn answer(self: Box<Self>, written: Result<(), Arc<rusqlite::Error>>);
}

struct Asked<F, T, E> {
    edit: Option<F>,
    result: Option<Result<Result<T, E>, StoreError>>,
    done: Done<Result<T, E>>,
}

fn asked<T: Send + 'static, E: Send + 'static>(
    edit: impl FnOnce(&Connection) -> Result<T, Failed<E>> + Send + 'static,
    done: Done<Result<T, E>>,
) -> Box<dyn Edit> {
    Box::new(Asked {
        edit: Some(edit),
        result: None,
        done,
    })
}

impl<F, T: Send, E: Send> Edit for Asked<F, T, E>
where
    F: FnOnce(&Connection) -> Result<T, Failed<E>> + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) {
        let Some(edit) = self.edit.take_if(|_| !self.done.is_closed()) else {
            return;
        };
        let done = caught(|| {
            let savepoint = transaction.savepoint()?;
            let done = edit(&savepoint)?;
            savepoint.commit()?;
            Ok(done)
        });
        self.result = Some(done.and_then(|done| match done {
            Ok(done) => Ok(Ok(done)),
            Err(Failed::Refused(refused)) => Ok(Err(refused)),
            Err(Failed::Sqlite(error)) => Err(unavailable(error)),
        }));
    }

    fn answer(self: Box<Self>, written: Result<(), Arc<rusqlite::Error>>) {
        let answer = match (self.result, written) {
            (Some(Err(error)), _) => Err(error),
            // A refusal too: what it had looked at may have been another edit's.
            (_, Err(error)) => Err(StoreError::Unavailable(Box::new(error))),
            (Some(result), Ok(())) => result,
            // It was not run, since nobody waits for it.
            (None, Ok(())) => return,
        };
        let _ = self.done.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::{self, Receiver};

    use super::*;

    type Answer = Receiver<Result<Result<(), &'static str>, StoreError>>;

    /// Edits that share a transaction, and what is there afterwards.
    struct Case {
        connection: Connection,
        edits: Vec<Box<dyn Edit>>,
    }

    impl Case {
        fn new() -> Self {
            let connection = Connection::open_in_memory().expect("a database");
            let tables = "PRAGMA foreign_keys = ON;
                CREATE TABLE numbers (n INTEGER PRIMARY KEY,
                    other INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)";
            connection.execute_batch(tables).expect("made");
            let edits = Vec::new();
            Self { connection, edits }
        }

        fn edit(
            &mut self,
            edit: impl FnOnce(&Connection) -> Result<(), Failed<&'static str>> + Send + 'static,
        ) -> Answer {
            let (done, answer) = oneshot::channel();
            self.edits.push(asked(edit, done));
            answer
        }

        fn insert(&mut self, n: i64) -> Answer {
            self.edit(move |connection| insert(connection, n))
        }

        fn written(&mut self) -> Vec<i64> {
            write(&mut self.connection, &mut self.edits);
            assert!(self.connection.is_autocommit(), "the transaction has ended");
            let mut all = self
                .connection
                .prepare("SELECT n FROM numbers ORDER BY n")
                .expect("a statement");
            let all = all.query_map((), |row| row.get(0)).expect("rows");
            all.collect::<Result<_, _>>().expect("numbers")
        }
    }

    fn insert(connection: &Connection, n: i64) -> Result<(), Failed<&'static str>> {
        connection.execute("INSERT INTO numbers (n) VALUES (?)", [n])?;
        Ok(())
    }

    fn went_well(mut answer: Answer) -> bool {
        matches!(answer.try_recv(), Ok(Ok(Ok(()))))
    }

    /// Why it has failed.
    fn failure(mut answer: Answer) -> String {
        match answer.try_recv().expect("an answer") {
            Err(StoreError::Unavailable(source)) => source.to_string(),
            other => panic!("it has not failed: {other:?}"),
        }
    }

    #[test]
    fn an_edit_that_fails_or_is_refused_leaves_nothing_and_the_others_are_written() {
        let mut case = Case::new();
        let first = case.insert(1);
        let mut refused = case.edit(|connection| {
            insert(connection, 2)?;
            Err(Failed::Refused("no"))
        });
        let failed = case.edit(|connection| {
            insert(connection, 3)?;
            insert(connection, 1)
        });
        let panicked = case.edit(|connection| {
            let _ = insert(connection, 4);
            panic!("on purpose")
        });
        let (gone, last) = (case.insert(5), case.insert(6));
        drop(gone);
        assert_eq!(case.written(), [1, 6]);
        assert!(went_well(first) && went_well(last));
        assert!(matches!(refused.try_recv(), Ok(Ok(Err("no")))));
        assert!(failure(failed).contains("UNIQUE"));
        assert!(failure(panicked).contains("panicked"));
    }

    #[test]
    fn a_commit_that_fails_fails_them_all() {
        let mut case = Case::new();
        let first = case.insert(1);
        let refused = case.edit(|_| Err(Failed::Refused("it was there already")));
        let breaks_it = case.edit(|connection| {
            connection.execute("INSERT INTO numbers VALUES (2, 99)", ())?;
            Ok(())
        });
        let last = case.insert(3);
        assert!(case.written().is_empty());
        for answer in [first, refused, breaks_it, last] {
            assert!(failure(answer).contains("FOREIGN KEY"));
        }
        let again = case.insert(1);
        assert_eq!(case.written(), [1]);
        assert!(went_well(again));
    }

    #[test]
    fn when_everything_was_rolled_back_nothing_more_is_done() {
        let mut case = Case::new();
        let first = case.insert(1);
        let breaks_it = case.edit(|connection| Ok(connection.execute_batch("ROLLBACK")?));
        let last = case.insert(2);
        assert!(case.written().is_empty());
        for answer in [first, breaks_it, last] {
            failure(answer);
        }
    }
}
