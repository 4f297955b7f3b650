//! Apps that are looked up while the server runs. Source: `AppStore`; PROTOCOL 1.5.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use reverb_core::app_store::{AppStore, StoreError};
use reverb_core::protocol::App;
use serde_json::json;

use crate::harness::{House, app, app_with};
use crate::wire::frame;

/// A store whose answer the test changes, and which takes a moment, as a database would.
#[derive(Clone, Default)]
struct Changing {
    app: Arc<Mutex<Option<Arc<App>>>>,
    is_down: Arc<AtomicBool>,
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
        Box::pin(async move {
            tokio::task::yield_now().await;
            if is_down {
                Err(StoreError::Unavailable("it is down".into()))
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

type Found<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<App>>, StoreError>> + Send + 'a>>;

#[tokio::test(flavor = "multi_thread")]
async fn apps_may_come_and_change_while_the_server_runs() {
    let store = Changing::default();
    let house = House::with_store(store.clone(), [app()], |builder| builder).await;
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
    let house = House::with_store(store.clone(), [app()], |builder| builder).await;
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
