//! Apps that change while clients are connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reverb_core::app_store::{
    AppChanges, AppEditor, AppStore, Changed, Changes, MemoryApps, StoreError,
};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::{App, Origins};
use serde_json::json;

use crate::harness::{House, app, app_with, soon};

fn other() -> App {
    App::new("1002", "other-key", "other-secret").expect("an app")
}

/// A house whose apps can be changed by what is returned with it.
async fn changing() -> (House, MemoryApps) {
    let apps = MemoryApps::new([app(), other()]);
    let house = House::with_store(apps.clone(), [app(), other()], |builder| {
        builder.changes(apps.clone())
    });
    (house.await, apps)
}

/// Changes the first app.
async fn change(apps: &MemoryApps, change: impl FnOnce(&mut App)) -> App {
    let found = apps.find_by_id("1001").await.expect("an answer");
    let mut app = App::clone(&found.expect("the app"));
    change(&mut app);
    App::clone(&*apps.save(app).await.expect("saved"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_switched_off_loses_its_clients_and_no_other_does() {
    let (house, apps) = changing().await;
    let (mut client, mut neighbour) = (house.client().await, house.client_of(&other()).await);
    change(&apps, |app| app.active = false).await;
    client.expect_close(4003, "disabled").await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4003, "disabled")
        .await;
    let reply = house.api().await.get("/channels", &[]).await;
    reply.expect_error(403, "disabled");
    neighbour.ping().await;
    change(&apps, |app| app.active = true).await;
    house.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_removed_loses_its_clients_for_good() {
    let (house, apps) = changing().await;
    let mut client = house.client().await;
    apps.remove("1001").await.expect("removed");
    client.expect_close(4001, "does not exist").await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4001, "does not exist")
        .await;
    apps.create(app()).await.expect("made again");
    house.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_by_a_key_that_was_changed_has_to_go() {
    let (house, apps) = changing().await;
    let mut client = house.client().await;
    let mut changed = app();
    changed.key = change(&apps, |app| {
        app.key = App::new("1", "new-key", "s").expect("an app").key;
    })
    .await
    .key;
    let mut newcomer = house.client_of(&changed).await;
    client.expect_close(4001, "does not exist").await;
    newcomer.ping().await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4001, "does not exist")
        .await;
    newcomer.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_origins_and_limits_hold_for_newcomers_and_nobody_is_dropped() {
    let (house, apps) = changing().await;
    let mut client = house.client().await;
    change(&apps, |app| {
        app.allowed_origins = Origins::new(["shop.example"]);
        app.max_connections = Some(2);
    })
    .await;
    let origin = |origin| [("Origin", origin)];
    let (mut refused, _) = house
        .knock_with("/app/app-key", &origin("https://evil.example"))
        .await;
    refused.expect_close(4009, "Origin").await;
    let (mut second, _) = house
        .knock_with("/app/app-key", &origin("https://shop.example"))
        .await;
    second.greeted().await;
    let (mut third, _) = house
        .knock_with("/app/app-key", &origin("https://shop.example"))
        .await;
    third.expect_close(4004, "max_connections").await;
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_edits_fail_no_publish_and_drop_nobody() {
    let (house, apps) = changing().await;
    let mut client = house.client().await;
    client.subscribe("news").await;
    let mut api = house.api().await;
    for n in 0..200 {
        change(&apps, |app| app.name = format!("Shop {n}")).await;
        let event = json!({"name": "tick", "channels": ["news"], "data": n.to_string()});
        api.post("/events", &event).await.ok();
        client
            .expect(json!({"event": "tick", "channel": "news", "data": n.to_string()}))
            .await;
    }
}

/// A store that has to think, and may be away.
#[derive(Clone)]
struct Remote {
    apps: MemoryApps,
    is_away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Remote {
    fn new() -> Self {
        Self {
            apps: MemoryApps::new([app(), other()]),
            is_away: Arc::default(),
            asked: Arc::default(),
        }
    }

    async fn think(&self) -> Result<(), StoreError> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        tokio::task::yield_now().await;
        match self.is_away.load(Ordering::Acquire) {
            true => Err(StoreError::Unavailable("away".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl AppStore for Remote {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.think().await?;
        self.apps.find_by_key(key).await
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.think().await?;
        self.apps.find_by_id(id).await
    }
}

#[async_trait]
impl AppChanges for Remote {
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        self.think().await?;
        self.apps.changes_since(revision).await
    }
}

async fn remote() -> (House, Remote) {
    let store = Remote::new();
    let house = House::with_store(store.clone(), [app(), other()], |builder| {
        builder.changes(store.clone())
    });
    (house.await, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_of_a_slow_store_does_not_outlive_a_change() {
    let (house, store) = remote().await;
    let mut client = house.client().await;
    change(&store.apps, |app| app.active = false).await;
    client.expect_close(4003, "disabled").await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4003, "disabled")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_while_the_store_is_away_is_in_force_when_it_is_back() {
    let (house, store) = remote().await;
    let mut client = house.client().await;
    store.is_away.store(true, Ordering::Release);
    change(&store.apps, |app| app.active = false).await;
    // It has been asked in vain, and the client may stay.
    let asked = store.asked.load(Ordering::Acquire);
    soon(async {
        while store.asked.load(Ordering::Acquire) < asked + 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.ping().await;
    store.is_away.store(false, Ordering::Release);
    client.expect_close(4003, "disabled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_looked_up_yet_is_not_forgotten() {
    let store = Remote::new();
    let house = House::with_store(store.clone(), [app(), other()], |builder| {
        builder.changes(store.apps.clone())
    })
    .await;
    let mut client = house.client().await;
    store.is_away.store(true, Ordering::Release);
    let asked = store.asked.load(Ordering::Acquire);
    change(&store.apps, |app| app.active = false).await;
    soon(async {
        while store.asked.load(Ordering::Acquire) < asked + 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The last good answer holds until there is a better one.
    client.ping().await;
    house.client().await.ping().await;
    store.is_away.store(false, Ordering::Release);
    client.expect_close(4003, "disabled").await;
}

/// Tells that something has changed, but not what.
struct Vague(MemoryApps);

#[async_trait]
impl AppChanges for Vague {
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        let known = self.0.changes_since(revision).await?;
        Ok(Changes::new(known.revision, Changed::Any))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_know_what_has_changed_has_all_apps_looked_at() {
    let apps = MemoryApps::new([app(), app_with(|app| *app = other())]);
    let house = House::with_store(apps.clone(), [app(), other()], |builder| {
        builder.changes(Vague(apps.clone()))
    })
    .await;
    let (mut client, mut neighbour) = (house.client().await, house.client_of(&other()).await);
    change(&apps, |app| app.active = false).await;
    client.expect_close(4003, "disabled").await;
    neighbour.ping().await;
}

/// A store that an operator replaces by a backup of it.
#[derive(Clone)]
struct Replaced {
    apps: Arc<std::sync::Mutex<MemoryApps>>,
    /// The revision that the hub has heard.
    heard: Arc<AtomicUsize>,
}

impl Replaced {
    fn now(&self) -> MemoryApps {
        self.apps.lock().expect("no panic").clone()
    }
}

#[async_trait]
impl AppStore for Replaced {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.now().find_by_key(key).await
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.now().find_by_id(id).await
    }
}

#[async_trait]
impl AppChanges for Replaced {
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        self.heard.store(revision as usize, Ordering::Release);
        self.now().changes_since(revision).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_put_back_to_an_earlier_state_is_followed_there() {
    let apps = MemoryApps::new([app(), other()]);
    let backup = MemoryApps::new([app(), other()]);
    change(&backup, |app| app.active = false).await;
    for n in 0..5 {
        change(&apps, |app| app.name = n.to_string()).await;
    }
    let store = Replaced {
        apps: Arc::new(std::sync::Mutex::new(apps)),
        heard: Arc::default(),
    };
    let house = House::with_store(store.clone(), [app(), other()], |builder| {
        builder.changes(store.clone())
    })
    .await;
    let (mut client, mut neighbour) = (house.client().await, house.client_of(&other()).await);
    soon(async {
        while store.heard.load(Ordering::Acquire) < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    *store.apps.lock().expect("no panic") = backup;
    client.expect_close(4003, "disabled").await;
    neighbour.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_puts_in_force_what_no_store_has_told_and_drops_nobody_else() {
    let store = Remote::new();
    let house = House::with_store(store.clone(), [app(), other()], |builder| builder).await;
    let (mut client, mut neighbour) = (house.client().await, house.client_of(&other()).await);
    house.hub.reload_apps().await.expect("reloaded");
    client.ping().await;
    change(&store.apps, |app| app.active = false).await;

    // While the store is away everything stays as it was.
    store.is_away.store(true, Ordering::Release);
    let refused = house.hub.reload_apps().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    client.ping().await;
    house.client().await.ping().await;

    store.is_away.store(false, Ordering::Release);
    house.hub.reload_apps().await.expect("reloaded");
    client.expect_close(4003, "disabled").await;
    house
        .knock("/app/app-key")
        .await
        .expect_close(4003, "disabled")
        .await;
    neighbour.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn following_ends_with_the_hub() {
    let (house, apps) = changing().await;
    let held = Arc::new(());
    struct Watched(MemoryApps, #[expect(dead_code, reason = "counted")] Arc<()>);
    #[async_trait]
    impl AppChanges for Watched {
        async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
            self.0.changes_since(revision).await
        }
    }
    let watched = Watched(apps.clone(), held.clone());
    let second = House::with_store(apps, [app()], |builder| builder.changes(watched)).await;
    drop((second, house));
    soon(async {
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The hub has had some looks since.
async fn heard(store: &Remote) {
    let asked = store.asked.load(Ordering::Acquire);
    soon(async {
        while store.asked.load(Ordering::Acquire) < asked + 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_heard_is_not_taken_back_while_the_store_is_away() {
    let (house, store) = remote().await;
    let mut client = house.client().await;
    assert_eq!(house.api().await.get("/channels", &[]).await.status, 200);
    change(&store.apps, |app| {
        let secret = reverb_core::protocol::Secret::new("another-secret");
        app.rotate_secret(secret.expect("a secret"), None);
    })
    .await;
    heard(&store).await;
    client.ping().await;
    store.is_away.store(true, Ordering::Release);
    let refused = house.api().await.get("/channels", &[]).await;
    refused.expect_error(401, "Invalid signature");
    store.is_away.store(false, Ordering::Release);

    change(&store.apps, |app| app.active = false).await;
    client.expect_close(4003, "disabled").await;
    heard(&store).await;
    store.is_away.store(true, Ordering::Release);
    let now = app_with(|app| {
        let secret = reverb_core::protocol::Secret::new("another-secret");
        app.secret = secret.expect("a secret");
    });
    let refused = house.api_of(&now).await.get("/channels", &[]).await;
    refused.expect_error(403, "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_nobody_uses_and_that_was_removed_does_not_come_back_without_the_store() {
    let (house, store) = remote().await;
    // Not signed by the app, so that the hub only remembers it.
    let stranger = App::new("1001", "app-key", "wrong-secret").expect("an app");
    let mut refused = house.api_of(&stranger).await;
    assert_eq!(refused.get("/channels", &[]).await.status, 401);
    store.apps.remove("1001").await.expect("removed");
    heard(&store).await;
    store.is_away.store(true, Ordering::Release);
    let mut client = house.knock("/app/app-key").await;
    client.expect_close(4100, "try again").await;
}

/// A store in which everything takes its time.
struct Slow(MemoryApps);

/// How long a look-up takes.
const A_WHILE: Duration = Duration::from_millis(20);

#[async_trait]
impl AppStore for Slow {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        tokio::time::sleep(A_WHILE).await;
        self.0.find_by_key(key).await
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        tokio::time::sleep(A_WHILE).await;
        self.0.find_by_id(id).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_changed_does_not_wait_for_all_that_may_have() {
    const MANY: u32 = 1000;
    let many = (0..MANY).map(|n| App::new(&format!("0-{n}"), &format!("key-{n}"), "s"));
    let many: Vec<App> = many.map(|app| app.expect("an app")).collect();
    let apps = MemoryApps::new(many.iter().cloned().chain([app(), other()]));
    let house = House::with_store(Slow(apps.clone()), [app(), other()], |builder| {
        builder.changes(apps.clone())
    })
    .await;
    // They are in use, so that there is something to look at.
    let mut used = Vec::new();
    for app in &many {
        let hub = house.hub.clone();
        let id = app.id.clone();
        used.push(tokio::spawn(async move {
            hub.app(id.as_str()).await.expect("it is there")
        }));
    }
    let mut held = Vec::new();
    for handle in used {
        held.push(handle.await.expect("no panic"));
    }
    let mut client = house.client().await;
    let start = SystemClock.now();
    apps.announce_all().await.expect("announced");
    tokio::time::sleep(Duration::from_millis(600)).await;
    change(&apps, |app| app.active = false).await;
    client.expect_close(4003, "disabled").await;
    // One after another they take 20 s, and four at a time five.
    let took = SystemClock.now() - start;
    assert!(took < Duration::from_secs(4), "{took:?}");
}
