//! [`Stage`]: a hub with three apps, its clock, and ways to know that everything that was said has arrived.

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::test_runner::TestCaseError;
use reverb_core::app_store::MemoryApps;
use reverb_core::clock::{Clock, ManualClock};
use reverb_core::hub::{Hub, Sizes};
use reverb_core::metrics::Metrics;
use reverb_core::protocol::App;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::backend;
use crate::cast::Tenant;
use crate::client::Client;

/// A hub, and what is needed to use it.
pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) at: SocketAddr,
    clock: ManualClock,
    apps: [App; 3],
    canary: App,
    panics: Arc<AtomicUsize>,
    stamps: AtomicU64,
    /// How much time has passed.
    passed: Mutex<Duration>,
    /// A backend's connection that nobody uses just now.
    pub(crate) kept: Mutex<Option<TcpStream>>,
}

/// What the tests wait for comes within milliseconds, or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the canary's event is remembered.
const CANARY: Duration = Duration::from_secs(1);

/// The output of `wait`, which must come soon.
pub(crate) async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// What was found must be what the model foretells.
pub(crate) fn expect<T: Debug + PartialEq>(
    what: &str,
    found: T,
    foretold: T,
) -> Result<(), TestCaseError> {
    match found == foretold {
        true => Ok(()),
        false => Err(differs(what, format!("{found:?}"), format!("{foretold:?}"))),
    }
}

/// The same for what the HTTP API has answered.
pub(crate) fn expect_answer(
    what: &str,
    found: Value,
    foretold: Value,
) -> Result<(), TestCaseError> {
    match found == foretold {
        true => Ok(()),
        false => Err(differs(what, found.to_string(), foretold.to_string())),
    }
}

fn differs(what: &str, found: String, foretold: String) -> TestCaseError {
    TestCaseError::fail(format!(
        "{what}\n     found: {found}\n  foretold: {foretold}\n"
    ))
}

impl Stage {
    /// Must be called on a runtime, where the shards will run.
    pub(crate) async fn new(shards: usize) -> Self {
        let apps = Tenant::ALL.map(Tenant::app);
        let mut canary = App::new("canary", "canary-key", "canary-secret").expect("an app");
        canary.limits.cache_seconds = CANARY.as_secs() as u32;
        let clock = ManualClock::new(Duration::from_secs(1_700_000_000));
        let panics = Arc::new(AtomicUsize::new(0));
        let hub = Hub::builder(MemoryApps::new(apps.iter().chain([&canary]).cloned()))
            .shards(shards)
            .clock(clock.clone())
            .metrics(CountsPanics(panics.clone()))
            .build()
            .expect("a hub");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = socket.local_addr().expect("an address");
        hub.listen(socket, hub.service());
        let stage = Self {
            hub,
            at,
            clock,
            apps,
            canary,
            panics,
            stamps: AtomicU64::new(1),
            passed: Mutex::default(),
            kept: Mutex::default(),
        };
        // The shards count their ticks from when they start: that is before any time passes.
        backend::get(&stage, &stage.canary, "connections", &[]).await;
        stage
    }

    pub(crate) fn app(&self, tenant: Tenant) -> &App {
        &self.apps[tenant as usize]
    }

    pub(crate) fn unix_time(&self) -> u64 {
        self.clock.unix_time().as_secs()
    }

    /// A number larger than all before: what has the smaller one was seen first.
    pub(crate) fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::SeqCst)
    }

    /// How much time has passed.
    pub(crate) fn now(&self) -> Duration {
        *self.passed.lock().expect("nobody panics here")
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        *self.passed.lock().expect("nobody panics here") += by;
        self.clock.advance(by);
    }

    /// Lets time pass, and waits until the hub has done what is due then; it looks every quarter of a second.
    ///
    /// `channels` is how many it knows afterwards. Another app's channel that remembers an event until this very moment
    /// shows that the hub has looked: it is forgotten after everything that was due before.
    pub(crate) async fn pass(&self, length: Duration, channels: usize) {
        self.advance(length - CANARY);
        let body = json!({"name": "canary", "channel": "cache-canary", "data": ""});
        backend::post(self, &self.canary, "events", &body).await;
        self.advance(CANARY);
        in_time(&format!("{channels} channels to be left"), async {
            while self.hub.sizes().channels != channels {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        })
        .await;
    }

    /// Waits until this many connections are open.
    pub(crate) async fn await_connections(&self, count: u64) {
        in_time(&format!("{count} connections to be left"), async {
            while self.hub.sizes().connections != count {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        })
        .await;
    }

    /// Returns once everybody has heard all that was posted before.
    ///
    /// A shard reads its sockets before its mail. So a first ping may be answered ahead of mail that lies there already,
    /// a second one too if it came while that turn began; the third finds everything delivered.
    pub(crate) async fn settle(&self, clients: &mut [&mut Client]) {
        for _ in 0..3 {
            for client in clients.iter_mut() {
                client.ping(self).await;
            }
            for client in clients.iter() {
                client.await_pongs().await;
            }
        }
        assert_eq!(self.panics.load(Ordering::SeqCst), 0, "the hub panicked");
    }

    /// Nobody is connected any more: once everything due later is done, nothing may be left.
    pub(crate) async fn assert_empties(&self) {
        self.await_connections(0).await;
        let longest = Tenant::ALL.map(Tenant::memory).into_iter().max();
        self.advance(longest.unwrap_or_default() + Duration::from_secs(2));
        let empty = Sizes::default();
        let emptied = tokio::time::timeout(PATIENCE, async {
            while self.hub.sizes() != empty {
                // The hub tidies up at whole seconds.
                let now = self.now();
                self.advance(Duration::from_secs(now.as_secs() + 1) - now);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(emptied.await.is_ok(), "left over: {:?}", self.hub.sizes());
        assert_eq!(self.panics.load(Ordering::SeqCst), 0, "the hub panicked");
    }
}

#[derive(Debug)]
struct CountsPanics(Arc<AtomicUsize>);

impl Metrics for CountsPanics {
    fn panicked(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
