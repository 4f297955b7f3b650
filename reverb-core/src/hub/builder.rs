//! [`HubBuilder`]: what a hub needs, and its defaults.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};

pub use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::app_store::{AppChanges, AppStore};
use crate::clock::{Clock, SystemClock};
use crate::hooks::{Authorizer, Observer};
use crate::metrics::{Metrics, NoMetrics};

use super::app_cache::AppCache;
use super::directory::Directory;
use super::shards::Shards;
use super::{AppCacheTimes, Hub, Sampled, Shared};

/// Makes a [`Hub`]. Where apps come from must be said; the rest has a default.
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reverb_core::app_store::MemoryApps;
/// use reverb_core::hub::Hub;
///
/// let hub = Hub::builder(MemoryApps::default())
///     .path("/reverb")
///     .trusted_proxies(["10.0.0.0/8".parse()?])
///     .max_connections(20_000)
///     .build()?;
/// # Ok(())
/// # }
/// ```
pub struct HubBuilder {
    store: Arc<dyn AppStore>,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    authorizer: Option<Arc<dyn Authorizer>>,
    observers: Vec<Observer>,
    changes: Option<Arc<dyn AppChanges>>,
    app_cache: AppCacheTimes,
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
    /// Every message is answered with itself; the largest has so many bytes.
    pub(crate) echo: Option<usize>,
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
            authorizer: None,
            observers: Vec::new(),
            changes: None,
            app_cache: AppCacheTimes::default(),
            shards: None,
            settings: Settings::default(),
        }
    }

    /// How many tasks share the connections, 1 to 63; by default as many as the runtime has workers.
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

    /// Who is asked before a client comes in and before it is seated in a channel; nobody by default, beyond what the
    /// protocol asks for.
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Some(Arc::new(authorizer));
        self
    }

    /// Adds one who sees who comes and goes: the first half of [`hooks::observer`](crate::hooks::observer). None by default.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observers.push(observer);
        self
    }

    /// How long the answers of an app store that has to think are remembered.
    #[must_use]
    pub fn app_cache(mut self, times: AppCacheTimes) -> Self {
        self.app_cache = times;
        self
    }

    /// Where to hear that apps have changed; nowhere by default, and then an app that the hub knows is in force as it was
    /// read last. Usually another handle to the app store.
    #[must_use]
    pub fn changes(mut self, changes: impl AppChanges) -> Self {
        self.changes = Some(Arc::new(changes));
        self
    }

    /// Speaks no protocol, but answers every message with itself, up to so many bytes: for suites that test the
    /// WebSocket side alone, on the very path that the product uses.
    #[doc(hidden)]
    #[must_use]
    pub fn echo(mut self, max_message_bytes: usize) -> Self {
        self.settings.echo = Some(max_message_bytes);
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
            authorizer,
            observers,
            changes,
            app_cache,
            settings,
            ..
        } = self;
        let hub = Hub::start(Shared {
            directory,
            apps: AppCache::new(store, clock.clone(), app_cache),
            authorizer,
            observers,
            clock,
            metrics,
            settings,
            listeners: Mutex::default(),
            drains: OnceLock::new(),
            stops: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            ended: tokio::sync::Notify::new(),
            next_shard: AtomicUsize::new(0),
            accept_log: Sampled::default(),
            refusal_log: Sampled::default(),
        });
        if let Some(changes) = changes {
            hub.follow(changes);
        }
        Ok(hub)
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
