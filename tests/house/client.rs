//! A WebSocket client that speaks as the libraries do, through tungstenite.

use data_encoding::HEXLOWER;
use futures_util::{SinkExt, StreamExt};
use reverb_core::protocol::{App, auth};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::harness::soon;

/// A WebSocket client.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) app: App,
    pub(crate) socket_id: String,
}

impl Client {
    /// Takes the greeting, and returns its activity timeout.
    pub(crate) async fn greeted(&mut self) -> u64 {
        let greeting = self.next().await;
        assert_eq!(greeting["event"], "pusher:connection_established");
        let data: Value =
            serde_json::from_str(greeting["data"].as_str().expect("a string")).expect("JSON in it");
        self.socket_id = data["socket_id"].as_str().expect("a socket id").to_owned();
        data["activity_timeout"].as_u64().expect("a number")
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, message: &str) {
        self.send_frame(Message::text(message)).await;
    }

    pub(crate) async fn send_frame(&mut self, message: Message) {
        soon(self.socket.send(message))
            .await
            .expect("the socket takes it");
    }

    /// The next frame of any kind; `None` once the socket is closed.
    pub(crate) async fn next_frame(&mut self) -> Option<Message> {
        match soon(self.socket.next()).await {
            Some(Ok(message)) => Some(message),
            None | Some(Err(Error::ConnectionClosed)) => None,
            Some(Err(error)) => panic!("the connection broke: {error}"),
        }
    }

    /// The next text, byte for byte.
    pub(crate) async fn next_text(&mut self) -> String {
        match self.next_frame().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).expect("JSON")
    }

    /// The next event must be this one; the order of keys does not count, also within `data`.
    #[track_caller]
    pub(crate) fn expect<'a>(&'a mut self, expected: Value) -> impl Future<Output = ()> + use<'a> {
        let place = std::panic::Location::caller();
        async move {
            let got = sorted(self.next().await);
            assert_eq!(got, sorted(expected), "as expected at {place}");
        }
    }

    /// The next event must be this one of a channel.
    #[track_caller]
    pub(crate) fn expect_on<'a>(
        &'a mut self,
        channel: &str,
        event: &str,
        data: &str,
    ) -> impl Future<Output = ()> + use<'a> {
        self.expect(json!({"event": event, "channel": channel, "data": data}))
    }

    /// The next event must be an error with this code, that says something like this.
    #[track_caller]
    pub(crate) fn expect_error<'a>(
        &'a mut self,
        code: impl Into<Value>,
        says: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let (place, code) = (std::panic::Location::caller(), code.into());
        async move {
            let error = self.next().await;
            assert_eq!(error["event"], "pusher:error", "{error} at {place}");
            assert!(error.get("channel").is_none(), "{error} at {place}");
            assert_eq!(error["data"]["code"], code, "{error} at {place}");
            let message = error["data"]["message"].as_str().expect("text");
            assert!(
                message.contains(says),
                "{message:?} should say {says:?}, at {place}"
            );
        }
    }

    /// Asks whether the server is there; the answer must be the next thing heard.
    #[track_caller]
    pub(crate) fn ping(&mut self) -> impl Future<Output = ()> + '_ {
        let place = std::panic::Location::caller();
        async move {
            self.send(json!({"event": "pusher:ping", "data": {}})).await;
            assert_eq!(
                self.next().await,
                json!({"event": "pusher:pong", "data": {}}),
                "at {place}"
            );
        }
    }

    /// What the app's backend would answer for this channel.
    pub(crate) fn auth(&self, channel: &str, channel_data: Option<&str>) -> String {
        let socket_id = self.socket_id.parse().expect("an id");
        let signature = auth::channel_signature(&self.app.secret, socket_id, channel, channel_data);
        format!("{}:{}", self.app.key, HEXLOWER.encode(&signature))
    }

    /// Asks for a channel, as pusher-js does.
    pub(crate) async fn ask(&mut self, channel: &str, channel_data: Option<&str>) {
        let auth = match channel.starts_with("private-") || channel.starts_with("presence-") {
            true => self.auth(channel, channel_data),
            false => String::new(),
        };
        let mut data = json!({"auth": auth, "channel": channel});
        if let Some(channel_data) = channel_data {
            data["channel_data"] = channel_data.into();
        }
        self.send(json!({"event": "pusher:subscribe", "data": data}))
            .await;
    }

    /// Subscribes to a public or private channel.
    pub(crate) async fn subscribe(&mut self, channel: &str) {
        self.ask(channel, None).await;
        self.expect_on(channel, "pusher_internal:subscription_succeeded", "{}")
            .await;
    }

    /// Subscribes to a presence channel; returns who is there.
    pub(crate) async fn join(&mut self, channel: &str, channel_data: &Value) -> Value {
        self.ask(channel, Some(&channel_data.to_string())).await;
        self.snapshot(channel).await
    }

    /// The next event must be the success of a presence subscription; returns who is there.
    pub(crate) async fn snapshot(&mut self, channel: &str) -> Value {
        let event = self.next().await;
        assert_eq!(
            event["event"], "pusher_internal:subscription_succeeded",
            "{event}"
        );
        assert_eq!(event["channel"], channel, "{event}");
        let mut data: Value =
            serde_json::from_str(event["data"].as_str().expect("a string")).expect("JSON in it");
        data["presence"].take()
    }

    pub(crate) async fn unsubscribe(&mut self, channel: &str) {
        self.send(json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}))
            .await;
    }

    /// Asks to be signed in; `user_data` is signed as it is.
    pub(crate) async fn ask_to_sign_in(&mut self, user_data: &str) {
        let socket_id = self.socket_id.parse().expect("an id");
        let signature = auth::user_signature(&self.app.secret, socket_id, user_data);
        let auth = format!("{}:{}", self.app.key, HEXLOWER.encode(&signature));
        self.send(
            json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}),
        )
        .await;
    }

    /// Signs in.
    pub(crate) async fn sign_in(&mut self, user_data: &Value) {
        let user_data = user_data.to_string();
        self.ask_to_sign_in(&user_data).await;
        self.expect(json!({"event": "pusher:signin_success", "data": {"user_data": user_data}}))
            .await;
    }

    /// The next frame must close with this code; then nothing follows.
    pub(crate) async fn closed(&mut self) -> u16 {
        let frame = match self.next_frame().await {
            Some(Message::Close(Some(frame))) => frame,
            other => panic!("a close frame with a code was expected, not {other:?}"),
        };
        assert!(frame.reason.len() <= 123, "{frame:?}");
        assert!(self.next_frame().await.is_none());
        frame.code.into()
    }

    /// The server says goodbye: an error, and a close frame with the same code.
    #[track_caller]
    pub(crate) fn expect_close<'a>(
        &'a mut self,
        code: u16,
        says: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            self.expect_error(code, says).await;
            assert_eq!(self.closed().await, code, "at {place}");
        }
    }
}

fn sorted(mut event: Value) -> Value {
    let parsed = event["data"]
        .as_str()
        .and_then(|data| serde_json::from_str::<Value>(data).ok());
    if let Some(object @ Value::Object(_)) = parsed {
        event["data"] = object.to_string().into();
    }
    event
}
