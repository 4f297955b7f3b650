//! Apps that are looked up while the server runs. Source: `AppStore`; PROTOCOL 1.5.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reverb_core::app_store::{AppChanges, AppStore, Changed, Changes, CorruptApp, StoreError};
use reverb_core::hub::{AppCacheTimes, HubBuilder};
use reverb_core::protocol::App;
use serde_json::json;

use crate::harness::{House, app, app_with};
use crate::wire::frame;

/// A store whose answer the test changes, and which takes a moment, as a database would.
#[derive(Clone, Default)]
struct Changing {
    app: Arc<Mutex<Option<Arc<App>>>>,
    is_down: Arc<AtomicBool>,
    is_corrupt: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Changing {
    fn set(&self, app: Option<App>) {
        *self.app.lock().expect("no panic") = app.map(Arc::new);
    }

    fn find(&self, is_it: impl Fn(&App) -> bool) -> Found<'static> {
        let found = self
            .app
            .lock()
            .expect("no panic")
            .clone()
            .filter(|app| is_it(app));
        let is_down = self.is_down.load(Ordering::Acquire);
        let is_corrupt = self.is_corrupt.load(Ordering::Acquire);
        self.asked.fetch_add(1, Ordering::AcqRel);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if is_down {
                Err(StoreError::Unavailable("it is down".into()))
            } else if is_corrupt {
                Err(CorruptApp::new("1001", "its secret cannot be read").into())
            } else {
                Ok(found)
            }
        })
    }
}

impl AppStore for Changing {
    fn find_by_key<'a, 'k, 'f>(&'a self, key: &'k str) -> Found<'f>
    where
        'a: 'f,
        'k: 'f,
    {
        self.find(|app| app.key.as_str() == key)
    }

    fn find_by_id<'a, 'i, 'f>(&'a self, id: &'i str) -> Found<'f>
    where
        'a: 'f,
        'i: 'f,
    {
        self.find(|app| app.id.as_str() == id)
    }
}

/// Nothing of what the store says is remembered.
fn forgetful(builder: HubBuilder) -> HubBuilder {
    let never = Duration::ZERO;
    builder.app_cache(
        AppCacheTimes::default()
            .fresh(never)
            .absent(never)
            .stale(never),
    )
}

type Found<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<App>>, StoreError>> + Send + 'a>>;

#[tokio::test(flavor = "multi_thread")]
async fn apps_may_come_and_change_while_the_server_runs() {
    let store = Changing::default();
    let house = House::with_store(store.clone(), [app()], forgetful).await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4001, "")
        .await;
    let mut api = house.api().await;
    api.get("/channels", &[]).await.expect_error(404, "1001");
    store.set(Some(app()));
    let mut client = house.client().await;
    client.subscribe("a").await;
    api.publish("a", "e", "1").await;
    client.expect_on("a", "e", "1").await;
    // What a client says before its app is found is kept until then.
    let mut wire = house.wire().await;
    let hurry = frame(0x81, br#"{"event":"pusher:ping"}"#);
    wire.shake_hands("/app/app-key", &hurry).await;
    assert!(wire.text().await.contains("established"));
    assert!(wire.text().await.contains("pong"));
    store.set(Some(app_with(|app| app.active = false)));
    house
        .knock("/app/app-key")
        .await
        .expect_close(4003, "")
        .await;
    let event = json!({"name": "e", "channel": "a", "data": ""});
    api.post("/events", &event)
        .await
        .expect_error(403, "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_makes_nobody_give_up() {
    let store = Changing::default();
    store.set(Some(app()));
    let house = House::with_store(store.clone(), [app()], forgetful).await;
    let mut client = house.client().await;
    store.is_down.store(true, Ordering::Release);
    house
        .knock("/app/app-key")
        .await
        .expect_close(4100, "try again")
        .await;
    for mut api in [house.api().await, house.api().await] {
        let event = json!({"name": "e", "channel": "a", "data": ""});
        for reply in [
            api.post("/events", &event).await,
            api.get("/channels", &[]).await,
        ] {
            reply.expect_error(503, "try again");
            assert_eq!(reply.header("retry-after"), Some("1"));
            assert!(
                !reply.body.contains("it is down"),
                "what ails it is for the log"
            );
        }
    }
    // Who is inside stays inside.
    client.subscribe("a").await;
    store.is_down.store(false, Ordering::Release);
    house.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_known_by_its_id_is_known_by_its_key_while_the_store_is_away() {
    let store = Changing::default();
    store.set(Some(app()));
    let house = House::with_store(store.clone(), [app()], |builder| builder).await;
    assert_eq!(house.api().await.get("/channels", &[]).await.status, 200);
    store.is_down.store(true, Ordering::Release);
    house.client().await.ping().await;

    let other = House::with_store(store.clone(), [app()], |builder| builder).await;
    store.is_down.store(false, Ordering::Release);
    other.client().await.ping().await;
    store.is_down.store(true, Ordering::Release);
    assert_eq!(other.api().await.get("/channels", &[]).await.status, 200);
    // What was never asked in any way stays unknown.
    let mut unknown = other.knock("/app/no-such-key").await;
    unknown.expect_close(4100, "try again").await;
}

/// Nothing changes, and that is told.
struct Quiet;

#[async_trait::async_trait]
impl AppChanges for Quiet {
    async fn changes_since(&self, _: u64) -> Result<Changes, StoreError> {
        Ok(Changes::new(1, Changed::These(Vec::new())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_of_changes_asks_for_an_app_once_however_it_is_named() {
    let store = Changing::default();
    store.set(Some(app()));
    let times = AppCacheTimes::default().fresh(Duration::ZERO);
    let house = House::with_store(store.clone(), [app()], |builder| {
        builder.app_cache(times).changes(Quiet)
    })
    .await;
    // Two publishers at once, on connections that stay, and what they bring arrives.
    let (mut one, mut two) = (house.api().await, house.api().await);
    let event = json!({"name": "e", "channel": "a", "data": "1"});
    let (first, second) = tokio::join!(one.post("/events", &event), two.post("/events", &event));
    assert_eq!((first.status, second.status), (200, 200));
    // From the first look on.
    let known = async || {
        let before = store.asked.load(Ordering::Acquire);
        house.client().await.ping().await;
        store.asked.load(Ordering::Acquire) == before
    };
    crate::harness::soon(async { while !known().await {} }).await;
    let asked = store.asked.load(Ordering::Acquire);
    let mut client = house.client().await;
    client.subscribe("a").await;
    for mut api in [one, two] {
        assert_eq!(api.post("/events", &event).await.status, 200);
        client.expect_on("a", "e", "1").await;
    }
    assert_eq!(store.asked.load(Ordering::Acquire), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_stored_wrongly_is_off_whatever_it_was_before() {
    let store = Changing::default();
    store.set(Some(app()));
    let fresh_for_none =
        |builder: HubBuilder| builder.app_cache(AppCacheTimes::default().fresh(Duration::ZERO));
    let house = House::with_store(store.clone(), [app()], fresh_for_none).await;
    house.client().await.ping().await;
    store.is_corrupt.store(true, Ordering::Release);
    for _ in 0..2 {
        let mut refused = house.knock("/app/app-key").await;
        refused.expect_close(4003, "disabled").await;
    }
    let mut api = house.api().await;
    for _ in 0..2 {
        let refused = api.get("/channels", &[]).await;
        refused.expect_error(403, "disabled");
        assert!(!refused.body.contains("secret"));
    }
    let refused = house.hub.app("1001").await.expect_err("it is off");
    assert_eq!(refused.status(), 403);
    store.is_corrupt.store(false, Ordering::Release);
    house.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_is_asked_once_for_all_who_want_to_know() {
    let store = Changing::default();
    store.set(Some(app()));
    let house = House::with_store(store.clone(), [app()], |builder| builder).await;
    // Each shard may be the first to find out that the store is slow.
    house.client().await;
    let asked = store.asked.load(Ordering::Acquire);
    let house = Arc::new(house);
    let clients = (0..60).map(|_| {
        let house = house.clone();
        tokio::spawn(async move { house.client().await.ping().await })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client");
    }
    assert_eq!(store.asked.load(Ordering::Acquire), asked);
    // The same app by its id is another question; after that neither door asks.
    for n in 0..20 {
        let mut api = house.api().await;
        api.publish("a", "e", "1").await;
        api.get("/channels", &[]).await.ok();
        assert_eq!(store.asked.load(Ordering::Acquire), asked + 1, "{n}");
    }
    // Whoever asks for an app that there is not is told so from memory as well.
    let clients = (0..60).map(|_| {
        let house = house.clone();
        tokio::spawn(async move {
            let mut nobody = house.knock("/app/nobody").await;
            nobody.expect_close(4001, "").await;
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a refusal");
    }
    assert_eq!(store.asked.load(Ordering::Acquire), asked + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_grows_old_by_the_hubs_clock() {
    let (store, clock) = (Changing::default(), crate::harness::stopped_clock());
    store.set(Some(app()));
    let build = |builder: HubBuilder| builder.clock(clock.clone());
    let house = House::with_store(store.clone(), [app()], build).await;
    house.client().await;
    house.knock("/app/late").await.expect_close(4001, "").await;
    store.set(Some(app_with(|app| app.active = false)));
    clock.advance(Duration::from_millis(4900));
    house.client().await;
    clock.advance(Duration::from_millis(200));
    house
        .knock("/app/app-key")
        .await
        .expect_close(4003, "")
        .await;
    // An app that has changed is known at once when the hub is told to forget.
    store.set(Some(app()));
    house
        .knock("/app/app-key")
        .await
        .expect_close(4003, "")
        .await;
    house.hub.forget_apps();
    house.client().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_known_apps_go_on_and_unknown_ones_wait() {
    let (store, clock) = (Changing::default(), crate::harness::stopped_clock());
    store.set(Some(app()));
    let build = |builder: HubBuilder| builder.clock(clock.clone());
    let house = House::with_store(store.clone(), [app()], build).await;
    house.client().await;
    house.api().await.publish("a", "e", "1").await;
    house.knock("/app/late").await.expect_close(4001, "").await;
    store.is_down.store(true, Ordering::Release);
    clock.advance(Duration::from_secs(30));
    let mut client = house.client().await;
    client.subscribe("a").await;
    house.api().await.publish("a", "e", "2").await;
    client.expect_on("a", "e", "2").await;
    // Never 4001 now, whatever was true before.
    house
        .knock("/app/late")
        .await
        .expect_close(4100, "try again")
        .await;
    clock.advance(Duration::from_secs(600));
    house
        .knock("/app/app-key")
        .await
        .expect_close(4100, "try again")
        .await;
    store.is_down.store(false, Ordering::Release);
    house.client().await;
}

/// A store that breaks.
struct Panicking;

#[async_trait::async_trait]
impl AppStore for Panicking {
    async fn find_by_key(&self, _: &str) -> Result<Option<Arc<App>>, StoreError> {
        panic!("a bug in the store")
    }

    async fn find_by_id(&self, _: &str) -> Result<Option<Arc<App>>, StoreError> {
        tokio::task::yield_now().await;
        panic!("a bug in the store, later")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_panics_is_one_that_cannot_answer() {
    let house = House::with_store(Panicking, [app()], |builder| builder).await;
    for _ in 0..3 {
        house
            .knock("/app/app-key")
            .await
            .expect_close(4100, "try again")
            .await;
        let reply = house.api().await.get("/channels", &[]).await;
        reply.expect_error(503, "try again");
    }
}

/// A store that has to think, and a hub of one shard that has not asked it yet.
async fn unasked() -> (Changing, House) {
    let store = Changing::default();
    store.set(Some(app()));
    let house = House::with_store(store.clone(), [app()], |builder| builder.shards(1)).await;
    (store, house)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_of_all_asks_a_slow_store_once() {
    let (store, house) = unasked().await;
    house.api().await.get("/channels", &[]).await.ok();
    assert_eq!(store.asked.load(Ordering::Acquire), 1);
    let (store, house) = unasked().await;
    house.api().await.publish("a", "e", "1").await;
    assert_eq!(store.asked.load(Ordering::Acquire), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_client_of_all_asks_a_slow_store_once() {
    let (store, house) = unasked().await;
    house.client().await;
    assert_eq!(store.asked.load(Ordering::Acquire), 1);
}
