//! [`Worker`]: a thread with a connection of its own, which works off what it is given, in order.

use std::panic::AssertUnwindSafe;
use std::thread;
use std::time::Duration;

use reverb_core::app_store::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

/// Ends when the last handle has gone.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    work: mpsc::Sender<Work>,
}

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// Most that waits for its turn. Whoever comes then waits outside, within its own patience.
const QUEUE: usize = 1024;
/// How long anybody waits.
const PATIENCE: Duration = Duration::from_secs(5);

impl Worker {
    pub(crate) fn start(name: &str, mut connection: Connection) -> std::io::Result<Self> {
        let (work, mut queue) = mpsc::channel::<Work>(QUEUE);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(work) = queue.blocking_recv() {
                    work(&mut connection);
                }
            })?;
        Ok(Self { work })
    }

    /// Has this done. Who goes away before its turn comes has nothing done; after that it is done all the same.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            if done.is_closed() {
                return;
            }
            // A transaction that is unwound is rolled back, so that the connection is as good as before.
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| work(connection)));
            let result = result.map_err(|_| StoreError::Unavailable("it panicked".into()));
            let result = result.and_then(|done| done.map_err(unavailable));
            let _ = done.send(result);
        });
        let in_turn = async {
            let gone = || StoreError::Unavailable("its thread has ended".into());
            self.work.send(work).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        let answer = tokio::time::timeout(PATIENCE, in_turn).await;
        answer.unwrap_or_else(|late| Err(StoreError::Unavailable(Box::new(late))))
    }

    /// Does this as one transaction, which is rolled back if it fails.
    pub(crate) async fn edit<T: Send + 'static, E: Send + 'static>(
        &self,
        edit: impl FnOnce(&Connection) -> Result<T, Failed<E>> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError> {
        self.run(move |connection| {
            // Locked from the start: what is read here is what will be changed.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            match edit(&transaction) {
                Ok(done) => {
                    transaction.commit()?;
                    Ok(Ok(done))
                }
                Err(Failed::Sqlite(error)) => Err(error),
                Err(Failed::Refused(error)) => Ok(Err(error)),
            }
        })
        .await
    }
}

/// Why an edit has not happened.
pub(crate) enum Failed<E> {
    Sqlite(rusqlite::Error),
    Refused(E),
}

impl<E> From<rusqlite::Error> for Failed<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

pub(crate) fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}
