//! Publishing and listening within the program, without HTTP and without a socket of one's own.
//!
//! ```sh
//! cargo run --example in_process
//! ```
//! Two clients are there as well, so that one sees what reaches them.

use std::error::Error;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use reverb_core::app_store::MemoryApps;
use reverb_core::hooks::Missed;
use reverb_core::hub::{AppHandle, Hub, PublishError};
use reverb_core::protocol::{App, Event, InvalidEvent, SocketId, UserId, auth};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = App::new("shop", "shop-key", "secret")?;
    let mut strict = App::new("strict", "strict-key", "secret")?;
    strict.limits.event_bytes = 100;
    strict.limits.events_per_second = 3;
    let mut closed = App::new("closed", "closed-key", "secret")?;
    closed.active = false;
    let hub = Hub::builder(MemoryApps::from([shop.clone(), strict, closed])).build()?;
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    hub.listen(socket, hub.service());

    publishing(&hub, &shop, address).await?;
    listening(&hub.app("shop").await?).await?;
    refusals(&hub).await
}

async fn publishing(hub: &Hub, shop: &App, address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut ann = Client::connect(address, shop).await?;
    let mut bob = Client::connect(address, shop).await?;
    for client in [&mut ann, &mut bob] {
        client.subscribe("news").await?;
    }

    // By the app's id. It says how many were there to hear it.
    let published = hub
        .publish("shop", Event::new("opened", r#"{"at":9}"#).to("news"))
        .await?;
    assert_eq!(published.subscriptions, 2);
    // Whoever publishes more than once keeps a handle: clones are cheap.
    let app = hub.app("shop").await?;
    app.publish(Event::new("sale", "1").to("news").to("offers"))
        .await?;
    // Code that cannot wait, as on a thread without a runtime, tries.
    let thread = {
        let app = app.clone();
        std::thread::spawn(move || app.try_publish(Event::new("sale", "2").to("news")))
    };
    thread.join().map_err(|_| "the thread panicked")??;
    // All of them, or none.
    app.publish_batch((3..6).map(|n| Event::new("sale", n.to_string()).to("news")))
        .await?;
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.next("opened").await?, json!(r#"{"at":9}"#));
        for n in 1..6 {
            assert_eq!(client.next("sale").await?, json!(n.to_string()));
        }
    }
    println!("Ann and Bob have heard six events, in the order in which they were published");

    // Whoever has caused an event need not hear it: its client has sent its socket id along.
    app.publish(Event::new("order", "by Ann").to("news").except(ann.id))
        .await?;
    bob.next("order").await?;
    println!("Bob hears of Ann's order; Ann, who knows, does not");

    ann.sign_in("ann").await?;
    let user = UserId::new("ann")?;
    app.publish(Event::new("invoice", "no. 7").to_user(&user))
        .await?;
    assert_eq!(ann.next("invoice").await?, "no. 7");
    println!("Ann's invoice reaches every device that she has signed in on, and nobody else's");
    Ok(())
}

async fn listening(app: &AppHandle) -> Result<(), Box<dyn Error>> {
    // A listener is a stream of what is said in a channel. It is no subscriber, and does not count as one.
    let mut events = app.subscribe("orders", 100)?;
    app.publish(Event::new("placed", r#"{"id":1}"#).to("orders"))
        .await?;
    let event = events.next().await.ok_or("the hub has ended")??;
    assert_eq!((&*event.name(), &*event.data()), ("placed", r#"{"id":1}"#));
    assert_eq!(app.subscriptions("orders"), 0);
    println!("the program hears {}", event.json());

    // Who has room for two and does not read meanwhile is told what it has missed, and where.
    let mut slow = app.subscribe("orders", 2)?;
    for n in 0..5 {
        app.publish(Event::new("placed", n.to_string()).to("orders"))
            .await?;
    }
    assert_eq!(slow.next().await.ok_or("ended")??.data(), "0");
    assert_eq!(slow.next().await.ok_or("ended")??.data(), "1");
    assert_eq!(slow.next().await, Some(Err(Missed(3))));
    println!(
        "one that reads too slowly hears two events, and that it has missed {}",
        slow.missed()
    );
    drop(slow);

    // It is a `Stream`, so everything that works on streams works here.
    let all: Vec<_> = events.by_ref().take(5).collect().await;
    assert_eq!(all.iter().filter(|event| event.is_ok()).count(), 5);
    println!("the other one, with room for a hundred, has missed nothing");
    Ok(())
}

async fn refusals(hub: &Hub) -> Result<(), Box<dyn Error>> {
    fn show<T>(result: Result<T, PublishError>) -> PublishError {
        let Err(error) = result else {
            panic!("this should be refused")
        };
        println!("refused: {error}");
        error
    }
    let event = |data: &str| Event::new("e", data.to_owned()).to("news");

    let error = show(hub.publish("nobody", event("")).await);
    assert!(matches!(error, PublishError::NoApp(_)));
    let error = show(hub.publish("closed", event("")).await);
    assert!(matches!(error, PublishError::Disabled));

    let strict = hub.app("strict").await?;
    let error = show(strict.publish(event(&"x".repeat(101))).await);
    assert!(matches!(
        error,
        PublishError::Invalid(InvalidEvent::TooLarge {
            length: 101,
            max: 100
        })
    ));
    let error = show(
        strict
            .publish(Event::new("pusher:ping", "").to("news"))
            .await,
    );
    assert!(matches!(
        error,
        PublishError::Invalid(InvalidEvent::Reserved(_))
    ));
    let error = show(strict.publish(Event::new("e", "")).await);
    assert!(matches!(
        error,
        PublishError::Invalid(InvalidEvent::Missing("channels"))
    ));
    let error = show(strict.publish(Event::new("e", "").to("no spaces")).await);
    assert!(matches!(
        error,
        PublishError::Invalid(InvalidEvent::Channel(_))
    ));
    let error = show(
        strict
            .publish_batch([event(""), event(&"x".repeat(101))])
            .await,
    );
    assert!(matches!(
        error,
        PublishError::Invalid(InvalidEvent::InBatch { index: 1, .. })
    ));

    // What was refused has cost nothing: three a second are still free.
    strict.try_publish_batch([event(""), event(""), event("")])?;
    let error = show(strict.try_publish(event("")));
    let PublishError::TooOften { limit: 3, wait } = error else {
        panic!("{error}")
    };
    assert!(wait.as_millis() <= 1000, "{wait:?}");

    hub.drain(std::time::Duration::ZERO).await;
    let error = show(strict.try_publish(event("")));
    assert!(matches!(error, PublishError::Ended));
    Ok(())
}

/// A WebSocket client, with its app's secret at hand, as its backend would have it.
struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    id: SocketId,
    app: App,
}

impl Client {
    async fn connect(address: SocketAddr, app: &App) -> Result<Self, Box<dyn Error>> {
        let url = format!("ws://{address}/app/{}?protocol=7", app.key);
        let (socket, _) = tokio_tungstenite::connect_async(url).await?;
        let mut client = Self {
            socket,
            id: SocketId::new(0, 0),
            app: app.clone(),
        };
        let data = client.next("pusher:connection_established").await?;
        let data: Value = serde_json::from_str(data.as_str().unwrap_or_default())?;
        client.id = data["socket_id"].as_str().unwrap_or_default().parse()?;
        Ok(client)
    }

    async fn subscribe(&mut self, channel: &str) -> Result<(), Box<dyn Error>> {
        self.say(json!({"event": "pusher:subscribe", "data": {"channel": channel}}))
            .await?;
        self.next("pusher_internal:subscription_succeeded").await?;
        Ok(())
    }

    async fn sign_in(&mut self, user: &str) -> Result<(), Box<dyn Error>> {
        let user_data = json!({ "id": user }).to_string();
        let auth = auth::user_auth(&self.app, self.id, &user_data);
        self.say(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}))
            .await?;
        self.next("pusher:signin_success").await?;
        Ok(())
    }

    async fn say(&mut self, message: Value) -> Result<(), Box<dyn Error>> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// The data of the next message, which must be this event.
    async fn next(&mut self, event: &str) -> Result<Value, Box<dyn Error>> {
        let message = self.socket.next().await.ok_or("the connection ended")??;
        let mut message: Value = serde_json::from_str(message.to_text()?)?;
        assert_eq!(message["event"], event, "{message}");
        Ok(message["data"].take())
    }
}
