//! [`Guest`]: a healthy client, that keeps its books.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reverb_core::protocol::{App, SocketId, auth};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::ledger::{Channels, Ears, Totals, count};

/// What healthy clients wait for comes within this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Where a client or backend belongs.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) at: SocketAddr,
    pub(crate) app: App,
    pub(crate) channels: Arc<Channels>,
    pub(crate) totals: Arc<Totals>,
}

/// A connection. Dropping it drops the socket.
pub(crate) struct Guest {
    home: Home,
    id: SocketId,
    out: SplitSink<WebSocketStream<TcpStream>, Message>,
    pub(crate) ears: Arc<Ears>,
    /// How many messages it has heard; closed when the connection has ended.
    heard: watch::Receiver<u64>,
    reader: JoinHandle<()>,
}

impl Guest {
    /// Connects, and takes the greeting; `None` if it does not come. With `rude` it will leave by a reset.
    pub(crate) async fn connect(home: &Home, rude: bool) -> Option<Self> {
        timeout(PATIENCE, Self::try_connect(home, rude))
            .await
            .ok()?
    }

    async fn try_connect(home: &Home, rude: bool) -> Option<Self> {
        let socket = TcpStream::connect(home.at).await.ok()?;
        socket.set_nodelay(true).ok()?;
        if rude {
            socket.set_zero_linger().ok()?;
        }
        let url = format!("ws://{}/app/{}?protocol=7", home.at, home.app.key);
        let (socket, _) = tokio_tungstenite::client_async(url, socket).await.ok()?;
        let (out, mut input) = socket.split();
        let id = greeting(input.next().await?.ok()?.to_text().ok()?)?;
        let ears = Arc::new(Ears::new(home.channels.clone(), home.totals.clone()));
        let (tell, heard) = watch::channel(0);
        let reader = tokio::spawn(read(input, ears.clone(), tell));
        Some(Self {
            home: home.clone(),
            id,
            out,
            ears,
            heard,
            reader,
        })
    }

    async fn say(&mut self, message: &Value) {
        // If it is gone, its reader knows.
        let _ = self.out.send(Message::text(message.to_string())).await;
    }

    /// Subscribes; on presence channels as this user.
    pub(crate) async fn subscribe(&mut self, channel: &str, user: &str) {
        let is_presence = channel.starts_with("presence-");
        let data =
            is_presence.then(|| json!({"user_id": user, "user_info": {"name": user}}).to_string());
        let secret = &self.home.app.secret;
        let signature = auth::channel_signature(secret, self.id, channel, data.as_deref());
        let mut arguments = json!({
            "channel": channel,
            "auth": format!("{}:{}", self.home.app.key, HEXLOWER.encode(&signature)),
        });
        if let Some(data) = data {
            arguments["channel_data"] = data.into();
        }
        self.ears.ask(channel);
        self.say(&json!({"event": "pusher:subscribe", "data": arguments}))
            .await;
    }

    /// Hears what it must hear, and leaves the channel. Once a ping after that is answered, nothing comes from it.
    pub(crate) async fn unsubscribe(&mut self, channel: &str) {
        self.await_all(Some(channel)).await;
        self.ears.forget(channel);
        self.say(&json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}))
            .await;
        let pongs = self.ears.pongs();
        self.say(&json!({"event": "pusher:ping", "data": {}})).await;
        let answered =
            async { while self.ears.pongs() == pongs && self.heard.changed().await.is_ok() {} };
        if timeout(PATIENCE, answered).await.is_err() {
            self.home.totals.wrong("a ping was not answered");
        }
    }

    /// Signs in, and hears what is sent to the user.
    pub(crate) async fn sign_in(&mut self, user: &str) {
        let data = json!({"id": user, "watchlist": ["user-0", "user-5", "nobody"]}).to_string();
        let signature = auth::user_signature(&self.home.app.secret, self.id, &data);
        let auth = format!("{}:{}", self.home.app.key, HEXLOWER.encode(&signature));
        let channel = format!("#server-to-user-{user}");
        self.ears.ask(&channel);
        self.say(&json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": data}}))
            .await;
        // As pusher-js does; the answer tells from when on it hears what is sent to its user.
        let arguments = json!({"channel": channel, "auth": ""});
        self.say(&json!({"event": "pusher:subscribe", "data": arguments}))
            .await;
    }

    /// Sends the next client event in a channel of which it is the only whisperer.
    pub(crate) async fn whisper(&mut self, channel: &str) {
        self.ears.speaks(channel);
        let series = self.home.channels[channel].clone();
        let number = series.whispers.begin();
        let data = json!({"n": {channel: number}});
        count(&self.home.totals.sent, 1);
        self.say(&json!({"event": "client-event", "channel": channel, "data": data}))
            .await;
        series.whispers.end(number);
    }

    /// Waits until it has heard everything that is done; what does not come in time is lost.
    pub(crate) async fn await_all(&mut self, channel: Option<&str>) {
        let waits =
            async { while self.ears.owed(channel) > 0 && self.heard.changed().await.is_ok() {} };
        if timeout(PATIENCE, waits).await.is_err() || self.is_cut() {
            let owed = self.ears.owed(channel);
            self.home.totals.lost(owed, "that were still to come");
        }
    }

    /// Whether the connection has ended.
    pub(crate) fn is_cut(&self) -> bool {
        self.reader.is_finished()
    }

    /// Closes with a close frame, and waits for the answer. Whoever is just dropped leaves without a word.
    pub(crate) async fn close(mut self) {
        let _ = self.out.send(Message::Close(None)).await;
        let _ = timeout(PATIENCE, &mut self.reader).await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It holds the other half of the socket.
        self.reader.abort();
    }
}

fn greeting(text: &str) -> Option<SocketId> {
    let greeting: Value = serde_json::from_str(text).ok()?;
    let data: Value = serde_json::from_str(greeting["data"].as_str()?).ok()?;
    data["socket_id"].as_str()?.parse().ok()
}

async fn read(
    mut input: SplitStream<WebSocketStream<TcpStream>>,
    ears: Arc<Ears>,
    tell: watch::Sender<u64>,
) {
    while let Some(Ok(message)) = input.next().await {
        if let Message::Text(text) = message {
            ears.hear(&serde_json::from_str(&text).unwrap_or_default());
            tell.send_modify(|heard| *heard += 1);
        }
    }
}
