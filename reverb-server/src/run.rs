//! Runs the server: [`serve`] as the command line asks, [`run`] on a socket of one's own.

use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

use reverb_core::app_store::MemoryApps;
use reverb_core::hub::{BuildError, Hub};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::first_app::FirstAppError;
use crate::limits::Capacity;
use crate::listen::{self, ListenError};
use crate::memory;
use crate::shutdown::Shutdown;
use crate::site::Site;
use crate::startup;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Nobody can come in.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is no app, and none can be made.
    #[error(transparent)]
    FirstApp(#[from] FirstAppError),
    /// The hub does not take what it is told.
    #[error(transparent)]
    Hub(#[from] BuildError),
    /// The system does not let us do what every server needs.
    #[error("cannot start")]
    System(#[from] io::Error),
}

/// Listens, greets and serves until it is told to stop; told twice, it stops at once.
///
/// An app is made only once we listen: a start that fails leaves nothing behind, and the one that succeeds shows it.
///
/// # Errors
/// It cannot listen, or there is no app and none can be made.
pub async fn serve(mut config: Config, capacity: Capacity) -> Result<(), RunError> {
    let mut shutdown = Shutdown::new()?;
    let listener = listen::listen(&config.host, config.port, config.defer_accept)?;
    let made_app = config.make_app()?;
    let greeting = startup::greeting(&config, listener.local_addr()?, capacity, made_app);
    // Nobody may be reading.
    let _ = io::stdout().write_all(greeting.as_bytes());
    let (stop, stops) = oneshot::channel();
    let mut running = std::pin::pin!(run(&config, capacity, listener, async {
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
    capacity: Capacity,
    listener: TcpListener,
    stops: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let hub = wire(config, capacity)?;
    hub.listen(listener, Site::new(hub.service(), &config.path));
    tokio::select! {
        () = stops => {}
        () = memory::give_back(&hub) => {}
    }
    let connections = hub.sizes().connections;
    tracing::info!(connections, "telling every client to reconnect (4200)");
    hub.drain(farewell(connections)).await;
    tracing::info!("stopped");
    Ok(())
}

/// Joins the house together. Read this to see what a server is made of.
fn wire(config: &Config, capacity: Capacity) -> Result<Hub, BuildError> {
    let hub = Hub::builder(MemoryApps::new(config.apps.iter().cloned()))
        .path(&config.path)
        .trusted_proxies(config.trusted_proxies.iter().copied());
    match capacity.connections {
        // A client that is told why waits; one that meets a server without open files only sees a broken connection.
        Some(connections) => hub.max_connections(connections).build(),
        None => hub.build(),
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
