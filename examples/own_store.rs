//! Apps from a place of your own: from memory that changes while the server runs, and from a service far away.
//!
//! ```sh
//! cargo run --example own_store
//! ```
//! A store that answers at once is asked every time, so what it says holds at once. One that has to wait needs no cache of
//! its own: the hub asks once for all who want to know, remembers the answer, and goes on with it while the store is
//! away. Each `[…]` counts the questions that have reached the store.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::join_all;
use reverb_core::app_store::{AppStore, StoreError};
use reverb_core::hub::{AppCacheTimes, Hub, PublishError};
use reverb_core::protocol::{App, Event};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    a_store_in_memory().await?;
    a_store_far_away().await
}

/// A map that the rest of the program changes.
#[derive(Clone, Default)]
struct Shelf(Arc<RwLock<HashMap<String, Arc<App>>>>);

impl Shelf {
    fn put(&self, app: App) {
        let mut apps = self.0.write().expect("nobody panics with the lock");
        apps.insert(app.id.as_str().to_owned(), Arc::new(app));
    }

    fn find(&self, is_it: impl Fn(&App) -> bool) -> Option<Arc<App>> {
        let apps = self.0.read().expect("nobody panics with the lock");
        apps.values().find(|app| is_it(app)).cloned()
    }
}

#[async_trait]
impl AppStore for Shelf {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        Ok(self.find(|app| app.key.as_str() == key))
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        Ok(self.find(|app| app.id.as_str() == id))
    }
}

async fn a_store_in_memory() -> Result<(), Box<dyn Error>> {
    println!("A map in memory:");
    let shelf = Shelf::default();
    let hub = Hub::builder(shelf.clone()).build()?;
    let address = listen(&hub).await?;

    assert!(first_words(address, "shop").await?.contains("4001"));
    println!("  there is no app \"shop\": its clients are told so");

    let shop = App::new("1", "shop", "secret")?;
    shelf.put(shop.clone());
    assert!(
        first_words(address, "shop")
            .await?
            .contains("connection_established")
    );
    println!("  now there is one: they come in");

    let mut closed = shop;
    closed.active = false;
    shelf.put(closed);
    assert!(first_words(address, "shop").await?.contains("4003"));
    let refused = hub.publish("1", Event::new("news", "1").to("all")).await;
    assert!(matches!(refused, Err(PublishError::Disabled)));
    println!("  now it is switched off: nobody new comes in, and nothing is published");
    Ok(())
}

/// A service far away, as the program sees it: questions go out, answers come back after a while.
#[derive(Clone)]
struct Remote {
    questions: mpsc::Sender<(String, oneshot::Sender<Option<Arc<App>>>)>,
    asked: Arc<AtomicUsize>,
    is_away: Arc<AtomicBool>,
}

impl Remote {
    fn start(rows: Shelf) -> Self {
        let (questions, mut inbox) = mpsc::channel::<(String, oneshot::Sender<_>)>(64);
        tokio::spawn(async move {
            while let Some((name, answer)) = inbox.recv().await {
                let rows = rows.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let is_it = |app: &App| app.key.as_str() == name || app.id.as_str() == name;
                    let _ = answer.send(rows.find(is_it));
                });
            }
        });
        Self {
            questions,
            asked: Arc::default(),
            is_away: Arc::default(),
        }
    }

    async fn ask(&self, name: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        if self.is_away.load(Ordering::Acquire) {
            // Never `Ok(None)` for "I do not know": clients that are told of no app do not come back.
            return Err(StoreError::Unavailable("connection refused".into()));
        }
        let (answer, answered) = oneshot::channel();
        let gone = |_| StoreError::Unavailable("the service has ended".into());
        let question = (name.to_owned(), answer);
        self.questions
            .send(question)
            .await
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        answered.await.map_err(gone)
    }

    /// The questions since this was last called.
    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::AcqRel)
    }
}

#[async_trait]
impl AppStore for Remote {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.ask(key).await
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.ask(id).await
    }
}

async fn a_store_far_away() -> Result<(), Box<dyn Error>> {
    println!("A service far away, 50 ms for each question:");
    let rows = Shelf::default();
    let shop = App::new("1", "shop", "secret")?;
    rows.put(shop.clone());
    let remote = Remote::start(rows.clone());
    // Long enough for what follows on a slow machine, too; the defaults are 5 s for an app, 1 s for none.
    let long = Duration::from_secs(30);
    let times = AppCacheTimes::default().fresh(long).absent(long);
    let hub = Hub::builder(remote.clone()).app_cache(times).build()?;
    let address = listen(&hub).await?;

    hub.app("1").await?;
    println!("  [{}] the app by its id", remote.asked());

    let words = join_all((0..100).map(|_| first_words(address, "shop"))).await;
    assert!(
        words
            .iter()
            .flatten()
            .all(|word| word.contains("established"))
    );
    let asked = remote.asked();
    assert_eq!((words.len(), asked), (100, 1));
    println!("  [{asked}] a hundred clients come at the same moment");

    for n in 0..100 {
        first_words(address, "shop").await?;
        hub.publish("1", Event::new("news", n.to_string()).to("all"))
            .await?;
    }
    assert_eq!(remote.asked(), 0);
    println!("  [0] a hundred more, one by one, and as many events");

    let words = join_all((0..100).map(|_| first_words(address, "typo"))).await;
    assert!(words.iter().flatten().all(|word| word.contains("4001")));
    assert_eq!(remote.asked(), 1);
    println!("  [1] a hundred clients with a key that nobody has");

    let mut closed = shop.clone();
    closed.active = false;
    rows.put(closed);
    assert!(first_words(address, "shop").await?.contains("established"));
    println!("  [0] it is switched off, but the hub need not know yet");
    hub.forget_apps();
    assert!(first_words(address, "shop").await?.contains("4003"));
    assert_eq!(remote.asked(), 1);
    println!("  [1] forget_apps: now it knows");

    rows.put(shop);
    let times = AppCacheTimes::default().fresh(Duration::from_millis(100));
    let hub = Hub::builder(remote.clone()).app_cache(times).build()?;
    let address = listen(&hub).await?;
    first_words(address, "shop").await?;
    remote.is_away.store(true, Ordering::Release);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(first_words(address, "shop").await?.contains("established"));
    assert!(first_words(address, "unknown").await?.contains("4100"));
    println!(
        "  the service is away: a known app is as it was; of another, clients shall try again"
    );
    Ok(())
}

async fn listen(hub: &Hub) -> Result<SocketAddr, Box<dyn Error>> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    hub.listen(socket, hub.service());
    Ok(address)
}

/// The first thing that a client with this key is told.
async fn first_words(address: SocketAddr, key: &str) -> Result<String, Box<dyn Error>> {
    let url = format!("ws://{address}/app/{key}");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    let first = socket.next().await.ok_or("it ended")??;
    Ok(first.into_text()?.to_string())
}
