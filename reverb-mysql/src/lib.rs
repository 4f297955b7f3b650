//! Apps and the queue of Reverb Pusher in MySQL (8.0.13 or later) or MariaDB (10.6 or later), for several servers that share
//! them.
//!
//! [`MySql`] is the database; [`MySqlApps`] are the apps in it, and [`MySqlQueue`] is the queue. All are cheap to clone.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use reverb_core::app_store::{AppEditor, Keyring};
//! use reverb_core::hub::Hub;
//! use reverb_core::protocol::App;
//! use reverb_mysql::{MySql, Secrets};
//!
//! let keyring = Keyring::parse(&std::env::var("REVERB_ENCRYPTION_KEY")?)?;
//! let database = MySql::open("mysql://reverb:password@127.0.0.1:3306/reverb").await?;
//! let apps = database.apps(Secrets::Sealed(keyring));
//! apps.create(App::new("1001", "app-key", "app-secret")?).await?;
//! let hub = Hub::builder(apps.clone()).changes(apps).build()?;
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
//! # The database of the PHP product
//! Apps stand in the table `reverb_apps` of the PHP product that this server replaces, and are written so that it can still
//! read them; with [`Secrets::Laravel`] their secrets too. What that table has no place for, second secrets and limits among
//! it, stands in tables of our own, which begin with `rp_`. Both may be in use at the same time: every edit that
//! the PHP panel makes, or somebody with SQL, is found by a hash over each row.
//!
//! # Tables of your own
//! [`MySql::migrate`] makes tables in the same database, and [`MySql::connection`] is the door to them, with [`mysql_async`] as it
//! is used here.
//!
//! # When the database is away
//! Each node has up to eight connections for apps and eight more for the queue. Nobody waits longer than two seconds for one
//! of them, and five for an answer: after that a store or a queue is `Unavailable`. Connections are made anew by themselves.
//!
//! Tested with MariaDB 10.11. What is used is the same in MySQL 8, but has not been run there.

mod adopt;
mod apps;
mod database;
mod doors;
mod foreign;
mod kept;
mod laravel;
mod migrate;
mod queue;
mod row;
mod secrets;
mod vanished;

pub use apps::{EnforceMaxConnections, MySqlApps};
pub use database::{MySql, OpenError};
pub use foreign::{ForeignRow, read_table};
pub use laravel::{InvalidLaravelKey, LaravelKeys, NotDecrypted};
pub use mysql_async;
pub use queue::MySqlQueue;
pub use secrets::Secrets;
