//! A hub on a socket of its own.
//!
//! Tests wait for messages, never for time. That something is *not* heard is shown by a later event that is: events of
//! one channel come in the order in which they were published, and a publisher is answered after the delivery.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::ProptestConfig;
use reverb_core::app_store::{AppStore, MemoryApps};
use reverb_core::clock::{Clock, ManualClock, SystemClock};
use reverb_core::hub::{Hub, HubBuilder};
use reverb_core::protocol::App;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;

use crate::api::Api;
use crate::client::Client;
use crate::wire::Wire;

/// Whatever is waited for must come within this.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(5), future)
        .await
        .expect("it comes within five seconds")
}

/// Runs one case of a property test, as `#[tokio::test]` runs a test.
pub(crate) fn in_runtime(case: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(case);
}

/// So many cases of a property test. A failure prints its input; nothing is written beside the sources.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// An app with all the defaults.
pub(crate) fn app() -> App {
    App::new("1001", "app-key", "app-secret").expect("an app")
}

/// The defaults, but for what `change` changes.
pub(crate) fn app_with(change: impl FnOnce(&mut App)) -> App {
    let mut app = app();
    change(&mut app);
    app
}

/// A hub that listens.
pub(crate) struct House {
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
    pub(crate) apps: Vec<App>,
}

impl House {
    /// These apps, three shards, the system's clock.
    pub(crate) async fn open(apps: impl IntoIterator<Item = App>) -> Self {
        Self::with(apps, |builder| builder).await
    }

    /// One app with the defaults.
    pub(crate) async fn plain() -> Self {
        Self::open([app()]).await
    }

    /// These apps and a clock that only the test moves.
    pub(crate) async fn at(clock: &ManualClock, apps: impl IntoIterator<Item = App>) -> Self {
        Self::with(apps, |builder| builder.clock(clock.clone())).await
    }

    pub(crate) async fn with(
        apps: impl IntoIterator<Item = App>,
        build: impl FnOnce(HubBuilder) -> HubBuilder,
    ) -> Self {
        let apps: Vec<App> = apps.into_iter().collect();
        Self::with_store(MemoryApps::new(apps.clone()), apps, build).await
    }

    /// Apps from this store; those named are whom clients and backends belong to.
    pub(crate) async fn with_store(
        store: impl AppStore,
        apps: impl IntoIterator<Item = App>,
        build: impl FnOnce(HubBuilder) -> HubBuilder,
    ) -> Self {
        let hub = build(Hub::builder(store).shards(3)).build().expect("a hub");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        hub.listen(socket, hub.service());
        let apps = apps.into_iter().collect();
        Self { hub, address, apps }
    }

    /// A client of the first app, greeted.
    pub(crate) async fn client(&self) -> Client {
        self.client_of(&self.apps[0]).await
    }

    /// A client of this app, greeted.
    pub(crate) async fn client_of(&self, app: &App) -> Client {
        let mut client = self
            .knock(&format!(
                "/app/{}?protocol=7&client=js&version=8.6.0&flash=false",
                app.key
            ))
            .await;
        client.app = app.clone();
        client.greeted().await;
        client
    }

    /// A client that has shaken hands and heard nothing yet.
    pub(crate) async fn knock(&self, target: &str) -> Client {
        self.knock_with(target, &[]).await.0
    }

    /// The same with more headers; and the response.
    pub(crate) async fn knock_with(
        &self,
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> (Client, Response) {
        let mut request = format!("ws://{}{target}", self.address)
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a header"));
        }
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (socket, response) = soon(tokio_tungstenite::client_async(request, stream))
            .await
            .expect("a handshake");
        let app = self.apps[0].clone();
        (
            Client {
                socket,
                app,
                socket_id: String::new(),
            },
            response,
        )
    }

    /// A backend of the first app.
    pub(crate) async fn api(&self) -> Api {
        self.api_of(&self.apps[0]).await
    }

    /// A backend of this app.
    pub(crate) async fn api_of(&self, app: &App) -> Api {
        Api::new(self.wire().await, app)
    }

    /// Bytes to and from the hub.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Waits until the hub's own figures are as they should be. Some of them follow a quarter of a second later.
    pub(crate) async fn settles(&self, is_settled: impl Fn(reverb_core::hub::Sizes) -> bool) {
        let settled = async {
            while !is_settled(self.hub.sizes()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), settled)
            .await
            .is_err()
        {
            panic!("the hub does not come to rest: {:?}", self.hub.sizes());
        }
    }
}

/// A clock that stands still, at the system's time.
pub(crate) fn stopped_clock() -> ManualClock {
    ManualClock::new(SystemClock.unix_time())
}
