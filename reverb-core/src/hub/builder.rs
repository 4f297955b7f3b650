//! [`HubBuilder`]: what a hub needs, and its defaults.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

pub use ipnet::IpNet;
use tokio::runtime::Handle;

use crate::app_store::AppStore;
use crate::clock::{Clock, SystemClock};
use crate::metrics::{Metrics, NoMetrics};

use super::directory::{Directory, Shards};
use super::{Hub, Shared};

/// Makes a [`Hub`]. Where apps come from must be said; the rest has a default.
pub struct HubBuilder {
    store: Arc<dyn AppStore>,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    shards: Option<usize>,
    settings: Settings,
}

/// What the hub is told about the world around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// What all paths begin with; empty, or `/prefix`.
    pub(crate) path: String,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Most connections of all apps together.
    pub(crate) max_connections: Option<u64>,
}

impl Settings {
    /// The path below the prefix.
    pub(crate) fn within<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.path)
            .filter(|inner| inner.starts_with('/'))
    }

    /// Whether this peer is a proxy that is believed.
    pub(crate) fn trusts(&self, peer: SocketAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|net| net.contains(&peer.ip().to_canonical()))
    }

    /// Whether the client came by TLS, as far as a believed proxy says.
    pub(crate) fn is_tls(&self, peer: Option<SocketAddr>, forwarded: Option<&str>) -> bool {
        peer.is_some_and(|peer| self.trusts(peer))
            && forwarded.is_some_and(crate::wire::upgrade::is_tls)
    }
}

/// Why there is no hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A hub's shards are tasks: they need a runtime to run on.
    #[error("a hub must be built within a tokio runtime")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// None, or more than there can be.
    #[error("a hub has 1 to {max} shards, not {0}", max = Shards::MAX)]
    Shards(usize),
    /// Something that no path begins with.
    #[error("the path {0:?} must be empty or begin with a slash and not end with one")]
    Path(String),
}

impl HubBuilder {
    pub(super) fn new(store: impl AppStore) -> Self {
        Self {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(NoMetrics),
            shards: None,
            settings: Settings::default(),
        }
    }

    /// How many tasks share the connections, 1 to 64; by default as many as the runtime has workers.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// What the paths `/app` and `/apps` stand behind, as `/reverb`; nothing by default. In axum, mount the service with
    /// `fallback_service` rather than `nest_service`, which takes the prefix off: paths are signed whole.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.settings.path = path.into();
        self
    }

    /// The proxies whose `X-Forwarded-Proto` is believed, for [`App::force_tls`](crate::protocol::App::force_tls); none by
    /// default. A host tells whom a request came from by putting a [`Peer`](crate::http::Peer) into its extensions.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: impl IntoIterator<Item = IpNet>) -> Self {
        self.settings.trusted_proxies = proxies.into_iter().collect();
        self
    }

    /// Most connections of all apps together, close code 4100 beyond; no limit by default.
    #[must_use]
    pub fn max_connections(mut self, max: u64) -> Self {
        self.settings.max_connections = Some(max);
        self
    }

    /// Where the time comes from; the system by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who is told what can be counted; nobody by default.
    #[must_use]
    pub fn metrics(mut self, metrics: impl Metrics) -> Self {
        self.metrics = Arc::new(metrics);
        self
    }

    /// Starts the hub on the current runtime.
    ///
    /// # Errors
    /// There is no runtime, or a setting makes no sense.
    pub fn build(self) -> Result<Hub, BuildError> {
        let runtime = Handle::try_current().map_err(BuildError::NoRuntime)?;
        let shards = self
            .shards
            .unwrap_or_else(|| runtime.metrics().num_workers().min(Shards::MAX));
        if !(1..=Shards::MAX).contains(&shards) {
            return Err(BuildError::Shards(shards));
        }
        let path = &self.settings.path;
        if !path.is_empty() && (!path.starts_with('/') || path.ends_with('/')) {
            return Err(BuildError::Path(path.clone()));
        }
        let directory = Arc::new(Directory::new(shards));
        let Self {
            store,
            clock,
            metrics,
            settings,
            ..
        } = self;
        Ok(Hub::start(Shared::new(
            directory, store, clock, metrics, settings,
        )))
    }
}

impl fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBuilder")
            .field("shards", &self.shards)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
