//! A hub is a guest of whoever embeds it: any runtime, several at a time, gone when it is dropped. Source: RELIABILITY 59.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use reverb_core::app_store::MemoryApps;
use reverb_core::hub::{BuildError, Hub};
use reverb_core::metrics::Metrics;
use reverb_core::protocol::AppId;

use crate::harness::{House, app, soon};

#[test]
fn outside_of_a_runtime_there_is_no_hub_and_an_error_says_so() {
    let error = Hub::builder(MemoryApps::default())
        .build()
        .expect_err("no runtime");
    assert!(matches!(error, BuildError::NoRuntime(_)), "{error:?}");
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

#[test]
fn what_makes_no_sense_is_named() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    for (build, says) in [
        (
            Hub::builder(MemoryApps::default()).shards(0),
            "1 to 63 shards, not 0",
        ),
        (Hub::builder(MemoryApps::default()).shards(64), "not 64"),
        (Hub::builder(MemoryApps::default()).path("x/"), "\"x/\""),
    ] {
        let error = build.build().expect_err("a mistake").to_string();
        assert!(error.contains(says), "{error}");
    }
}

async fn works(house: &House) {
    let (mut a, mut b) = (house.client().await, house.client().await);
    a.subscribe("private-a").await;
    b.subscribe("private-a").await;
    house.api().await.publish("private-a", "e", "1").await;
    a.expect_on("private-a", "e", "1").await;
    b.expect_on("private-a", "e", "1").await;
}

/// Two hubs know nothing of each other, and dropping one leaves the other alone and no task behind.
async fn two_hubs(runtime: &tokio::runtime::Handle) {
    let before = runtime.metrics().num_alive_tasks();
    let (one, two) = (House::plain().await, House::plain().await);
    works(&one).await;
    works(&two).await;
    let (mut here, mut there) = (one.client().await, two.client().await);
    here.subscribe("a").await;
    there.subscribe("a").await;
    one.api().await.publish("a", "e", "1").await;
    here.expect_on("a", "e", "1").await;
    there.ping().await;
    let address = one.address;
    drop(one);
    let end = soon(here.socket.next()).await;
    assert!(
        !matches!(end, Some(Ok(_))),
        "dropped without a farewell, not {end:?}"
    );
    let refused = tokio::time::timeout(Duration::from_secs(5), async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    refused.await.expect("nobody listens any more");
    works(&two).await;
    there.ping().await;
    drop(two);
    drop((here, there));
    let gone = tokio::time::timeout(Duration::from_secs(5), async {
        while runtime.metrics().num_alive_tasks() > before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    gone.await.expect("no task is left");
}

#[test]
fn two_hubs_live_side_by_side_on_a_multi_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let handle = runtime.handle().clone();
    runtime.block_on(async move { two_hubs(&handle).await });
}

#[test]
fn two_hubs_live_side_by_side_on_a_current_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let handle = runtime.handle().clone();
    runtime.block_on(async move { two_hubs(&handle).await });
}

/// The runtime may go first; whatever is left of the hub then must not panic or hang.
#[test]
fn a_hub_may_outlive_its_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (hub, handle) = runtime.block_on(async {
        let house = House::open([app()]).await;
        works(&house).await;
        let handle = house.hub.app("1001").await.expect("the app");
        (house.hub, handle)
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    let event = reverb_core::protocol::Event::new("e", "1").to("private-a");
    let _ = handle.try_publish(event);
    assert!(
        hub.sizes().connections == 0,
        "the shards took their guests with them"
    );
    drop((hub, handle));
}

/// A drain says when everybody has gone; it may be asked for twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_resolves_when_the_last_client_has_gone() {
    let house = House::plain().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(house.client().await);
    }
    let both = async {
        tokio::join!(
            house.hub.drain(Duration::from_millis(500)),
            house.hub.drain(Duration::from_secs(100))
        )
    };
    let farewells = async {
        for client in &mut clients {
            client.expect_close(4200, "reconnect").await;
        }
        clients.clear();
    };
    let all = async { tokio::join!(both, farewells) };
    tokio::time::timeout(Duration::from_secs(10), all)
        .await
        .expect("all have gone");
    assert_eq!(house.hub.sizes().connections, 0);
}

/// Counts panics, and panics itself when a client of its app speaks.
#[derive(Clone, Default)]
struct Fragile {
    breaks: Arc<AtomicBool>,
    panics: Arc<AtomicUsize>,
    inside: Arc<AtomicIsize>,
}

impl Metrics for Fragile {
    fn connected(&self, _: &AppId) {
        self.inside.fetch_add(1, Ordering::AcqRel);
    }

    fn disconnected(&self, _: &AppId) {
        self.inside.fetch_sub(1, Ordering::AcqRel);
    }

    fn received(&self, _: &AppId) {
        assert!(
            !self.breaks.swap(false, Ordering::AcqRel),
            "a bug in the metrics"
        );
    }

    fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::AcqRel);
    }
}

/// What breaks a shard costs its own clients their connection. It starts again, with nothing of theirs left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_panics_starts_again() {
    let metrics = Fragile::default();
    let house = House::with([app()], |builder| builder.metrics(metrics.clone())).await;
    let mut clients = Vec::new();
    for n in 0..9 {
        let mut client = house.client().await;
        client
            .join("presence-a", &serde_json::json!({"user_id": n.to_string()}))
            .await;
        clients.push(client);
    }
    metrics.breaks.store(true, Ordering::Release);
    clients[0]
        .send(serde_json::json!({"event": "pusher:ping"}))
        .await;
    // Three of nine sat on that shard.
    house.settles(|sizes| sizes.connections == 6).await;
    assert_eq!(metrics.panics.load(Ordering::Acquire), 1);
    let handle = house.hub.app("1001").await.expect("the app");
    assert_eq!(handle.users("presence-a").len(), 6, "no ghosts");
    for _ in 0..6 {
        works(&house).await;
    }
    drop(clients);
    house
        .settles(|sizes| sizes.connections == 0 && sizes.channels == 0)
        .await;
    assert_eq!(metrics.inside.load(Ordering::Acquire), 0);
}
