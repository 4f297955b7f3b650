//! [`Client`]: speaks as the libraries do, and lets one see every byte of what it hears.

use data_encoding::HEXLOWER;
use reverb_core::protocol::{App, SocketId, auth};
use serde_json::{Value, json};

use crate::server::Server;
use crate::wire::{TEXT, Wire, frame};

/// A client that has been let in.
pub(crate) struct Client {
    pub(crate) wire: Wire,
    pub(crate) app: App,
    pub(crate) socket_id: String,
}

impl Client {
    /// A client of this app, greeted.
    #[track_caller]
    pub(crate) fn enter(server: &Server, app: &App) -> Self {
        Self::enter_on(Wire::connect(server), app)
    }

    /// The same on a connection that there is already.
    #[track_caller]
    pub(crate) fn enter_on(mut wire: Wire, app: &App) -> Self {
        wire.shake_hands(&format!(
            "/app/{}?protocol=7&client=js&version=8.6.0",
            app.key
        ));
        let mut client = Self {
            wire,
            app: app.clone(),
            socket_id: String::new(),
        };
        let greeting = client.hear();
        assert_eq!(
            greeting["event"], "pusher:connection_established",
            "{greeting}"
        );
        let data = greeting["data"].as_str().expect("a string");
        let data: Value = serde_json::from_str(data).expect("JSON in it");
        client.socket_id = data["socket_id"].as_str().expect("a socket id").to_owned();
        client
    }

    #[track_caller]
    pub(crate) fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string());
    }

    #[track_caller]
    pub(crate) fn say_text(&mut self, message: &str) {
        self.wire.send(frame(TEXT, message.as_bytes()));
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> Value {
        serde_json::from_str(&self.wire.text()).expect("JSON")
    }

    /// The next event must be this one.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: Value) {
        assert_eq!(self.hear(), expected);
    }

    /// The next event must be this one of a channel.
    #[track_caller]
    pub(crate) fn expect_on(&mut self, channel: &str, event: &str, data: &str) {
        self.expect(json!({"event": event, "channel": channel, "data": data}));
    }

    /// The next event must be a `pusher:error`; its data.
    #[track_caller]
    pub(crate) fn hear_error(&mut self) -> Value {
        let mut error = self.hear();
        assert_eq!(error["event"], "pusher:error", "{error}");
        assert!(error["data"]["message"].is_string(), "{error}");
        error["data"].take()
    }

    /// Everything heard until the answer to a ping: as much as there was to hear.
    #[track_caller]
    pub(crate) fn hear_all(&mut self) -> Vec<Value> {
        self.say_text(r#"{"event":"pusher:ping","data":{}}"#);
        let mut heard = Vec::new();
        loop {
            let event = self.hear();
            if event["event"] == "pusher:pong" {
                return heard;
            }
            heard.push(event);
        }
    }

    /// Nothing more must have been said to it.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self) {
        let heard = self.hear_all();
        assert!(heard.is_empty(), "{heard:?}");
    }

    pub(crate) fn id(&self) -> SocketId {
        self.socket_id.parse().expect("a socket id")
    }

    /// What the app's backend answers for this channel.
    pub(crate) fn auth(&self, channel: &str, channel_data: Option<&str>) -> String {
        let secret = &self.app.secret;
        let signature = auth::channel_signature(secret, self.id(), channel, channel_data);
        format!("{}:{}", self.app.key, HEXLOWER.encode(&signature))
    }

    /// Asks for a channel, signed if it has to be.
    #[track_caller]
    pub(crate) fn ask(&mut self, channel: &str, channel_data: Option<&str>) {
        let needs_auth = channel.starts_with("private-") || channel.starts_with("presence-");
        let auth = needs_auth.then(|| self.auth(channel, channel_data));
        self.ask_with(channel, &auth.unwrap_or_default(), channel_data);
    }

    /// Asks for a channel with this `auth`.
    #[track_caller]
    pub(crate) fn ask_with(&mut self, channel: &str, auth: &str, channel_data: Option<&str>) {
        let mut data = json!({"channel": channel, "auth": auth});
        if let Some(channel_data) = channel_data {
            data["channel_data"] = channel_data.into();
        }
        self.say(&json!({"event": "pusher:subscribe", "data": data}));
    }

    /// Subscribes to a channel that is no presence channel.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, channel: &str) {
        self.ask(channel, None);
        self.expect_on(channel, "pusher_internal:subscription_succeeded", "{}");
    }

    /// Subscribes to a presence channel; how many are there.
    #[track_caller]
    pub(crate) fn join(&mut self, channel: &str, channel_data: &str) -> u64 {
        self.ask(channel, Some(channel_data));
        let event = self.hear();
        assert_eq!(
            event["event"], "pusher_internal:subscription_succeeded",
            "{event}"
        );
        let data = event["data"].as_str().expect("a string");
        let data: Value = serde_json::from_str(data).expect("JSON in it");
        data["presence"]["count"].as_u64().expect("a number")
    }

    /// Asks to be signed in as what this says.
    #[track_caller]
    pub(crate) fn ask_to_sign_in(&mut self, user_data: &str) {
        let signature = auth::user_signature(&self.app.secret, self.id(), user_data);
        let auth = format!("{}:{}", self.app.key, HEXLOWER.encode(&signature));
        let data = json!({"auth": auth, "user_data": user_data});
        self.say(&json!({"event": "pusher:signin", "data": data}));
    }
}
