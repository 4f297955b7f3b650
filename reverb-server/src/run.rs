//! Runs the server: [`serve`] as the command line asks, [`run`] on a socket of one's own.

use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

use reverb_core::app_store::{SecretUse, StoreError};
use reverb_core::clock::SystemClock;
use reverb_core::hub::{BuildError, Hub};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::api::Api;
use crate::apps::{Apps, AppsError, Database};
use crate::config::Config;
use crate::limits::Capacity;
use crate::listen::{self, ListenError};
use crate::memory;
use crate::shutdown::Shutdown;
use crate::site::Site;
use crate::startup;
use crate::worker;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Nobody can come in.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The apps cannot be had.
    #[error(transparent)]
    Apps(#[from] AppsError),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hub does not take what it is told.
    #[error(transparent)]
    Hub(#[from] BuildError),
    /// The system does not let us do what every server needs.
    #[error("cannot start")]
    System(#[from] io::Error),
}

/// How long a stop waits for the job that is being done.
const LAST_JOB: Duration = Duration::from_secs(10);

/// Listens, greets and serves until it is told to stop; told twice, it stops at once.
///
/// The database is opened, and an app made, only once we listen: a start that fails leaves nothing behind, and the one that
/// succeeds shows it.
///
/// # Errors
/// It cannot listen, or the apps cannot be had.
pub async fn serve(config: Config, capacity: Capacity) -> Result<(), RunError> {
    let mut shutdown = Shutdown::new()?;
    let listener = listen::listen(&config.host, config.port, config.defer_accept)?;
    let apps = Apps::open(&config).await?;
    let made = apps.make_first(&config).await?;
    let database = match apps.database() {
        Some(database) => Some((database, database.apps.count().await?)),
        None => None,
    };
    let found = startup::Found {
        database,
        made: made.as_deref(),
        capacity,
    };
    let greeting = startup::greeting(&config, listener.local_addr()?, found);
    // Nobody may be reading.
    let _ = io::stdout().write_all(greeting.as_bytes());
    for clash in apps.clashes(&config).await? {
        tracing::warn!("{clash}");
    }
    if config.api_token.is_some() && apps.database().is_none() {
        tracing::warn!(
            "API_TOKEN opens /api, but there is no database for its apps: name one with --data-dir or --database-url"
        );
    }
    let (stop, stops) = oneshot::channel();
    let mut running = std::pin::pin!(run(&config, apps, capacity, listener, async {
        let _ = stops.await;
    }));
    tokio::select! {
        ended = &mut running => return ended,
        signal = shutdown.signal() => tracing::info!("stopping after {signal}; another one stops at once"),
    }
    let _ = stop.send(());
    tokio::select! {
        ended = running => ended,
        signal = shutdown.signal() => {
            tracing::warn!("stopping at once after {signal}");
            Ok(())
        }
    }
}

/// Serves clients and backends from this socket until `stops` resolves, and then says good-bye to all of them.
///
/// # Errors
/// The hub does not take what the configuration says.
pub async fn run(
    config: &Config,
    apps: Apps,
    capacity: Capacity,
    listener: TcpListener,
    stops: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let database = apps.database().cloned();
    let mut owed = Vec::new();
    let (stop_work, work_stops) = watch::channel(());
    let worker = database
        .clone()
        .map(|database| tokio::spawn(worker::work(database, work_stops)));
    let api = Api::new(config, apps.clone(), SystemClock);
    let hub = wire(config, apps, capacity)?;
    let site = Site::new(hub.service(), api, &config.path);
    hub.listen(listener, site);
    tokio::select! {
        () = stops => {}
        () = memory::give_back(&hub) => {}
        () = look_after(&hub, database.as_ref(), &mut owed) => {}
    }
    drop(stop_work);
    let connections = hub.sizes().connections;
    tracing::info!(connections, "telling every client to reconnect (4200)");
    hub.drain(farewell(connections)).await;
    if let Some(worker) = worker
        && tokio::time::timeout(LAST_JOB, worker).await.is_err()
    {
        tracing::warn!("a job was left: another server does it, or the next start");
    }
    if let Some(database) = &database {
        note_use(&hub, database, &mut owed).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Joins the house together. Read this to see what a server is made of.
fn wire(config: &Config, apps: Apps, capacity: Capacity) -> Result<Hub, BuildError> {
    let has_database = apps.database().is_some();
    let mut hub = Hub::builder(apps.clone())
        .path(&config.path)
        .trusted_proxies(config.trusted_proxies.iter().copied());
    if has_database {
        hub = hub.changes(apps);
    }
    match capacity.connections {
        // A client that is told why waits; one that meets a server without open files only sees a broken connection.
        Some(connections) => hub.max_connections(connections).build(),
        None => hub.build(),
    }
}

/// Says what is wrong in the database; then once a minute notes which secrets are used, and sees whether there is anything to
/// clean up. It never resolves.
async fn look_after(hub: &Hub, database: Option<&Database>, owed: &mut Vec<SecretUse>) {
    let Some(database) = database else {
        return std::future::pending().await;
    };
    database.name_oddities().await;
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    minutes.tick().await;
    loop {
        minutes.tick().await;
        note_use(hub, database, owed).await;
        worker::push_chores(database).await;
    }
}

/// Notes which secrets were used, some at a time. What cannot be noted now is `owed`, and noted later.
async fn note_use(hub: &Hub, database: &Database, owed: &mut Vec<SecretUse>) {
    const SOME: usize = 100;
    const MOST: usize = 20_000;
    owed.extend(hub.take_secrets_used());
    owed.truncate(MOST);
    while !owed.is_empty() {
        let some = owed.len().min(SOME);
        if let Err(error) = database.apps.record_use(&owed[..some]).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "when secrets were used last is not noted yet"
            );
            return;
        }
        owed.drain(..some);
    }
}

/// How long saying good-bye takes: clients come back at once, and whoever takes them shall not get all in one moment.
fn farewell(connections: u64) -> Duration {
    const PER_SECOND: u64 = 500;
    Duration::from_secs(connections.div_ceil(PER_SECOND).saturating_sub(1).min(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_clients_leave_at_once_and_many_over_ten_seconds() {
        let seconds = |connections| farewell(connections).as_secs();
        assert_eq!(
            (seconds(0), seconds(500), seconds(2500), seconds(100_000)),
            (0, 0, 4, 10)
        );
    }
}
