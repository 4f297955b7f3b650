//! [`Reader`]: the worker that reads.

use std::io;

use reverb_core::app_store::StoreError;
use rusqlite::Connection;

use crate::worker::{Done, Worker, caught, unavailable};

pub(crate) type Reader = Worker<Read>;

pub(crate) type Read = Box<dyn FnOnce(&mut Connection) + Send>;

pub(crate) fn start(connection: Connection) -> io::Result<Reader> {
    Worker::start("sqlite-reader", connection, |connection, mut queue| {
        while let Some(read) = queue.blocking_recv() {
            read(connection);
        }
    })
}

impl Reader {
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(|done: Done<T>| -> Read {
            Box::new(move |connection| {
                if !done.is_closed() {
                    let result = caught(|| read(connection).map_err(unavailable));
                    let _ = done.send(result.flatten());
                }
            })
        })
        .await
    }
}
