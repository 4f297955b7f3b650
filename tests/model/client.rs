//! [`Client`]: one connection, everything it said and everything it heard, in order.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reverb_core::protocol::{SocketId, auth};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::cast::{CLIENTS, Channel, Named, Tenant, User};
use crate::heard::Heard;
use crate::stage::{Stage, in_time};

/// One connection. Dropping it drops the socket.
pub(crate) struct Client {
    pub(crate) app: Tenant,
    pub(crate) socket_id: String,
    out: SplitSink<WebSocketStream<TcpStream>, Message>,
    pub(crate) log: Arc<Log>,
    /// Held while it listens, and while it does not.
    ears: Arc<Mutex<()>>,
    reader: JoinHandle<()>,
    /// For presence and sign-in: what a user's info says, so that it shows whose came first.
    pub(crate) label: String,
    /// Before it connected, and when it was greeted, in [`Stage::stamp`]s.
    pub(crate) came: (u64, u64),
}

/// What a connection said and heard.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: std::sync::Mutex<Vec<Entry>>,
    grown: Notify,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// When, in [`Stage::stamp`]s: before it was sent, or after it was received.
    pub(crate) at: u64,
    pub(crate) what: What,
}

impl Entry {
    pub(crate) fn is_drop(&self) -> bool {
        self.what == What::Said(Said::Drop)
    }

    fn is_end(&self) -> bool {
        matches!(self.what, What::Heard(Heard::Closed(_)))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Said(Said),
    Heard(Heard),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Ping,
    Subscribe(Channel, Option<User>),
    Unsubscribe(Channel),
    SignIn(User, Vec<User>),
    /// The data names it.
    Whisper(Channel, String),
    Close,
    Drop,
}

/// How long a client dozes.
const DOZE: Duration = Duration::from_millis(10);

impl Log {
    fn add(&self, stage: &Stage, what: What) {
        let mut entries = self.entries.lock().expect("no reader panics with the log");
        entries.push(Entry {
            at: stage.stamp(),
            what,
        });
        drop(entries);
        self.grown.notify_waiters();
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries
            .lock()
            .expect("no reader panics with the log")
            .clone()
    }

    /// What was heard from the entry with this number on.
    pub(crate) fn heard_since(&self, from: usize) -> Vec<Heard> {
        let entries = self.entries();
        let heard = entries[from..]
            .iter()
            .filter_map(|entry| match &entry.what {
                What::Heard(heard) if *heard != Heard::Pong => Some(heard.clone()),
                _ => None,
            });
        heard.collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries
            .lock()
            .expect("no reader panics with the log")
            .len()
    }

    /// How the hub ended the connection, if it has ended.
    pub(crate) fn closed(&self) -> Option<Option<u16>> {
        self.entries()
            .iter()
            .rev()
            .find_map(|entry| match entry.what {
                What::Heard(Heard::Closed(code)) => Some(code),
                _ => None,
            })
    }

    /// Waits until the log fulfils this.
    async fn until(&self, what: &str, fulfilled: impl Fn(&[Entry]) -> bool) {
        let wait = async {
            loop {
                let grown = self.grown.notified();
                if fulfilled(&self.entries.lock().expect("no reader panics with the log")) {
                    return;
                }
                grown.await;
            }
        };
        in_time(what, wait).await;
    }
}

impl Client {
    /// Connects and waits for the greeting.
    pub(crate) async fn connect(stage: &Arc<Stage>, number: usize, app: Tenant) -> Self {
        let label = match number {
            CLIENTS => format!("{}'s witness", app.id()),
            _ => Named(number).to_string(),
        };
        let knocked = stage.stamp();
        in_time(&format!("the greeting of {label}"), async {
            let socket = TcpStream::connect(stage.at).await.expect("the hub listens");
            socket.set_nodelay(true).expect("a setting");
            let url = format!("ws://{}/app/{}?protocol=7", stage.at, stage.app(app).key);
            let (socket, _) = tokio_tungstenite::client_async(url, socket)
                .await
                .expect("a handshake");
            let (out, mut input) = socket.split();
            let greeting = input.next().await.expect("a greeting").expect("a frame");
            let greeting: Value =
                serde_json::from_str(greeting.to_text().expect("text")).expect("JSON");
            assert_eq!(greeting["event"], "pusher:connection_established");
            let data: Value =
                serde_json::from_str(greeting["data"].as_str().expect("text")).expect("JSON");
            let socket_id = data["socket_id"].as_str().expect("an id").to_owned();
            let log = Arc::<Log>::default();
            let ears = Arc::<Mutex<()>>::default();
            let reader = tokio::spawn(read(input, log.clone(), ears.clone(), stage.clone()));
            Self {
                app,
                socket_id,
                out,
                log,
                ears,
                reader,
                label,
                came: (knocked, stage.stamp()),
            }
        })
        .await
    }

    async fn say(&mut self, stage: &Stage, said: Said, message: &Value) {
        self.prepare(stage, said, message).await;
        let _ = self.out.flush().await;
    }

    /// Says it together with what follows. The hub may have closed: then the log says so.
    async fn prepare(&mut self, stage: &Stage, said: Said, message: &Value) {
        self.log.add(stage, What::Said(said));
        let _ = self.out.feed(Message::text(message.to_string())).await;
    }

    pub(crate) async fn ping(&mut self, stage: &Stage) {
        self.say(stage, Said::Ping, &ping()).await;
    }

    /// Subscribes, signed by the app where need be.
    pub(crate) async fn subscribe(&mut self, stage: &Stage, channel: Channel, user: Option<User>) {
        let message = self.subscription(stage, channel, user);
        self.say(stage, Said::Subscribe(channel, user), &message)
            .await;
    }

    pub(crate) async fn unsubscribe(&mut self, stage: &Stage, channel: Channel) {
        self.say(stage, Said::Unsubscribe(channel), &unsubscription(channel))
            .await;
    }

    /// Comes twice, leaves and comes again, all in one breath.
    pub(crate) async fn flap(&mut self, stage: &Stage, channel: Channel, user: Option<User>) {
        let come = self.subscription(stage, channel, user);
        self.prepare(stage, Said::Subscribe(channel, user), &come)
            .await;
        self.prepare(stage, Said::Subscribe(channel, user), &come)
            .await;
        self.prepare(stage, Said::Unsubscribe(channel), &unsubscription(channel))
            .await;
        self.prepare(stage, Said::Ping, &ping()).await;
        self.say(stage, Said::Subscribe(channel, user), &come).await;
    }

    fn subscription(&self, stage: &Stage, channel: Channel, user: Option<User>) -> Value {
        let user = user.filter(|_| channel.is_presence());
        let data = user.map(|user| {
            json!({"user_id": user.id(), "user_info": {"from": self.label}}).to_string()
        });
        let mut arguments = json!({"channel": channel.name()});
        if channel.is_signed() {
            let app = stage.app(self.app);
            let signature =
                auth::channel_signature(&app.secret, self.id(), channel.name(), data.as_deref());
            arguments["auth"] = format!("{}:{}", app.key, HEXLOWER.encode(&signature)).into();
        }
        if let Some(data) = data {
            arguments["channel_data"] = data.into();
        }
        json!({"event": "pusher:subscribe", "data": arguments})
    }

    pub(crate) async fn sign_in(&mut self, stage: &Stage, user: User, watches: &[User]) {
        let watchlist: Vec<&str> = watches.iter().map(|user| user.id()).collect();
        let data =
            json!({"id": user.id(), "user_info": {"from": self.label}, "watchlist": watchlist})
                .to_string();
        let app = stage.app(self.app);
        let signature = HEXLOWER.encode(&auth::user_signature(&app.secret, self.id(), &data));
        let arguments = json!({"auth": format!("{}:{signature}", app.key), "user_data": data});
        self.say(
            stage,
            Said::SignIn(user, watches.to_vec()),
            &json!({"event": "pusher:signin", "data": arguments}),
        )
        .await;
    }

    /// Sends a client event that pretends to come from somebody else.
    pub(crate) async fn whisper(&mut self, stage: &Stage, channel: Channel, data: &str) {
        let message = json!({
            "event": "client-whisper", "channel": channel.name(), "data": data, "user_id": "forged",
        });
        self.say(stage, Said::Whisper(channel, data.to_owned()), &message)
            .await;
    }

    /// Neither speaks nor hears: longer than a backend takes to ask for everything.
    pub(crate) async fn doze(&self) {
        let _ears = self.ears.lock().await;
        tokio::time::sleep(DOZE).await;
    }

    /// Closes with a close frame, and waits for the hub's.
    pub(crate) async fn close(mut self, stage: &Stage) -> Arc<Log> {
        self.log.add(stage, What::Said(Said::Close));
        let _ = self.out.send(Message::Close(None)).await;
        self.await_end().await;
        self.log.clone()
    }

    /// Drops the socket, whatever is under way.
    pub(crate) fn hang_up(self, stage: &Stage) -> Arc<Log> {
        self.log.add(stage, What::Said(Said::Drop));
        self.log.clone()
    }

    pub(crate) async fn await_end(&self) {
        let ended = |entries: &[Entry]| entries.iter().any(Entry::is_end);
        self.log.until("the hub to close", ended).await;
    }

    /// Waits until every ping was answered, or the hub has closed the connection.
    pub(crate) async fn await_pongs(&self) {
        let answered = |entries: &[Entry]| {
            let count = |what: &What| entries.iter().filter(|entry| entry.what == *what).count();
            count(&What::Heard(Heard::Pong)) >= count(&What::Said(Said::Ping))
                || entries.iter().any(Entry::is_end)
        };
        self.log.until("a pong", answered).await;
    }

    fn id(&self) -> SocketId {
        let (a, b) = self.socket_id.split_once('.').expect("two numbers");
        SocketId::new(a.parse().expect("a number"), b.parse().expect("a number"))
    }
}

fn ping() -> Value {
    json!({"event": "pusher:ping", "data": {}})
}

fn unsubscription(channel: Channel) -> Value {
    json!({"event": "pusher:unsubscribe", "data": {"channel": channel.name()}})
}

impl Drop for Client {
    fn drop(&mut self) {
        // The reader holds the other half of the socket.
        self.reader.abort();
    }
}

async fn read(
    mut input: SplitStream<WebSocketStream<TcpStream>>,
    log: Arc<Log>,
    ears: Arc<Mutex<()>>,
    stage: Arc<Stage>,
) {
    let mut code = None;
    while let Some(Ok(message)) = input.next().await {
        let _ears = ears.lock().await;
        match message {
            Message::Text(text) => {
                for heard in Heard::read(&text) {
                    log.add(&stage, What::Heard(heard));
                }
            }
            Message::Close(frame) => code = frame.map(|frame| frame.code.into()),
            _ => {}
        }
    }
    log.add(&stage, What::Heard(Heard::Closed(code)));
}
