//! Apps and the queue of Reverb Pusher in one SQLite file: what a server without a database server keeps them in.
//!
//! [`Sqlite`] is the open file; [`SqliteApps`] are the apps in it, and [`SqliteQueue`] is the queue. All are cheap to clone.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("reverb.sqlite3");
//! use reverb_core::app_store::{AppEditor, Keyring};
//! use reverb_core::hub::Hub;
//! use reverb_core::protocol::App;
//! use reverb_sqlite::Sqlite;
//!
//! let keyring = Keyring::parse(&Keyring::generate())?; // keep the key: without it no secret can be read
//! let database = Sqlite::open(&path)?;
//! let apps = database.apps(keyring);
//! apps.create(App::new("1001", "app-key", "app-secret")?).await?;
//! let hub = Hub::builder(apps.clone()).changes(apps).build()?;
//! # drop(hub);
//!
//! use std::time::Duration;
//! use reverb_core::queue::{Job, Queue};
//!
//! let queue = database.queue();
//! queue.push(Job::new("mail", "ada@example.com")?, Duration::ZERO).await?;
//! let leased = queue.lease(&["mail"], Duration::from_secs(60)).await?.expect("a job");
//! queue.finish(&leased).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The file is in WAL mode with `synchronous = FULL`: what was answered has been written through to the disk. Other
//! processes may read and write it meanwhile, as a command line or a worker does, on the same machine. Its rows may also be
//! changed by hand: triggers number every change of an app, so that it is in force within a second, and count the jobs.
//!
//! The file has room for tables of your own: [`Sqlite::migrate`] makes them, [`Sqlite::read`] and [`Sqlite::write`] are the
//! doors to them, with [`rusqlite`] as it is used here.
//!
//! Two threads do the work, one that writes and one that reads; each has a bounded queue, and nobody waits longer than
//! five seconds for either. What waits to be written shares a transaction, so that many who write at a time do not wait for
//! the disk one by one.

mod apps;
mod database;
mod migrate;
mod queue;
mod reader;
mod worker;
mod writer;

pub use apps::SqliteApps;
pub use database::{OpenError, Sqlite};
pub use queue::SqliteQueue;
pub use rusqlite;
pub use writer::Failed;
