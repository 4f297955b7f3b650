//! [`Worker`]: a thread with a connection of its own, which works off what it is given, in order.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::thread;
use std::time::Duration;

use reverb_core::app_store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// Ends when the last handle has gone.
pub(crate) struct Worker<W> {
    work: mpsc::Sender<W>,
}

impl<W> Clone for Worker<W> {
    fn clone(&self) -> Self {
        let work = self.work.clone();
        Self { work }
    }
}

impl<W> fmt::Debug for Worker<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// Most that waits for its turn. Whoever comes then waits outside, within its own patience.
const QUEUE: usize = 1024;
/// How long anybody waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an answer goes.
pub(crate) type Done<T> = oneshot::Sender<Result<T, StoreError>>;

impl<W: Send + 'static> Worker<W> {
    /// A thread that serves what comes until nothing can come any more.
    pub(crate) fn start(
        name: &str,
        mut connection: Connection,
        serve: fn(&mut Connection, mpsc::Receiver<W>),
    ) -> std::io::Result<Self> {
        let (work, queue) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&mut connection, queue))?;
        Ok(Self { work })
    }

    /// Has this done. Who goes away before its turn comes has nothing done; after that it is done all the same.
    pub(crate) async fn ask<T>(&self, work: impl FnOnce(Done<T>) -> W) -> Result<T, StoreError> {
        self.ask_within(PATIENCE, work).await
    }

    /// The same for who waits so long.
    pub(crate) async fn ask_within<T>(
        &self,
        patience: Duration,
        work: impl FnOnce(Done<T>) -> W,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        let work = work(done);
        let in_turn = async {
            let gone = || StoreError::Unavailable("its thread has ended".into());
            self.work.send(work).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        let answer = tokio::time::timeout(patience, in_turn).await;
        answer.unwrap_or_else(|late| Err(StoreError::Unavailable(Box::new(late))))
    }
}

/// A panic in what was asked is an answer too, and the thread goes on.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, StoreError> {
    // What a transaction or savepoint has begun is rolled back, so that the connection is as good as before.
    let result = std::panic::catch_unwind(AssertUnwindSafe(work));
    result.map_err(|_| StoreError::Unavailable("it panicked".into()))
}

pub(crate) fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}
