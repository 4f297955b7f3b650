//! One operation after the other: each is settled before the next, so that every message can be foretold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use crate::backend;
use crate::client::Client;
use crate::expect::World;
use crate::heard::Heard;
use crate::script::{CLIENTS, Channel, Op, Target, Tenant};
use crate::stage::Stage;

/// The hub, and the model of it.
struct Play {
    stage: Arc<Stage>,
    clients: [Option<Client>; CLIENTS],
    world: World,
    /// Names every event.
    events: usize,
}

/// Plays a script, and then has everybody leave.
pub(crate) async fn play(shards: usize, script: &[Op]) -> Result<(), TestCaseError> {
    let stage = Arc::new(Stage::new(shards).await);
    let mut play = Play {
        stage,
        clients: Default::default(),
        world: World::default(),
        events: 0,
    };
    for op in script {
        play.step(op).await?;
    }
    for app in Tenant::ALL {
        play.ask(app).await?;
    }
    for client in 0..CLIENTS {
        let leave = if client % 2 == 0 {
            Op::Close { client }
        } else {
            Op::Drop { client }
        };
        play.step(&leave).await?;
    }
    play.stage.assert_empties().await;
    Ok(())
}

impl Play {
    async fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        if let Some(client) = op.client()
            && self.clients[client].is_none()
        {
            let app = Tenant::of(client);
            self.clients[client] = Some(Client::connect(&self.stage, client, app).await);
            self.world.connect(client);
        }
        let from: Vec<usize> = self
            .clients
            .iter()
            .map(|client| client.as_ref().map_or(0, |client| client.log.len()))
            .collect();
        self.perform(op).await?;
        let mut everybody: Vec<&mut Client> = self.clients.iter_mut().flatten().collect();
        self.stage.settle(&mut everybody).await;
        // Connections that end at once do so in any order.
        let is_ordered = !matches!(op, Op::Terminate { .. });
        let expected = self.world.take_heard();
        for (number, client) in self.clients.iter().enumerate() {
            let Some(client) = client else { continue };
            let heard = client.log.heard_since(from[number]);
            let (heard, expected) = (
                by_channel(heard, is_ordered),
                by_channel(expected[number].clone(), is_ordered),
            );
            prop_assert_eq!(heard, expected, "what client {} heard of {:?}", number, op);
        }
        self.check_lists(op).await
    }

    async fn perform(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let Self {
            stage,
            clients,
            world,
            events,
        } = self;
        let connected = |clients: &mut [Option<Client>; CLIENTS], client: usize| {
            clients[client].take().expect("whoever acts is connected")
        };
        match op.clone() {
            Op::Connect { .. } | Op::Flap { .. } => {}
            Op::Close { client } => {
                world.leave(client);
                let log = connected(clients, client).close(stage).await;
                prop_assert_eq!(
                    log.closed(),
                    Some(None),
                    "the answer to a close frame without a code"
                );
                stage.await_connections(world.connections() as u64).await;
            }
            Op::Drop { client } => {
                world.leave(client);
                connected(clients, client).hang_up(stage);
                stage.await_connections(world.connections() as u64).await;
            }
            Op::Subscribe {
                client,
                channel,
                user,
            } => {
                world.subscribe(client, channel, user);
                if let Some(client) = &mut clients[client] {
                    client.subscribe(stage, channel, user).await;
                }
            }
            Op::Unsubscribe { client, channel } => {
                world.unsubscribe(client, channel);
                if let Some(client) = &mut clients[client] {
                    client.unsubscribe(stage, channel).await;
                }
            }
            Op::SignIn {
                client,
                user,
                watches,
            } => {
                world.sign_in(client, user, &watches);
                if let Some(client) = &mut clients[client] {
                    client.sign_in(stage, user, &watches).await;
                }
            }
            Op::Whisper { client, channel } => {
                *events += 1;
                let data = format!("{{\"whisper\":{events}}}");
                world.whisper(client, channel, &data);
                if let Some(client) = &mut clients[client] {
                    client.whisper(stage, channel, &data).await;
                }
            }
            Op::Publish {
                app, to, except, ..
            } => {
                *events += 1;
                let data = format!("{{\"event\":{events}}}");
                let excepted = except.and_then(|client| clients[client].as_ref());
                let body = publication(&data, &to, excepted.map(|client| &*client.socket_id));
                let expected = world.publish(app, &to, except, &data);
                let answer = backend::post(stage, stage.app(app), "events", &body).await;
                let expected = if body["info"].is_null() {
                    json!({})
                } else {
                    expected
                };
                prop_assert_eq!(answer, expected, "the answer to {:?}", op);
            }
            Op::Terminate { app, user } => {
                let path = format!(
                    "users/{}/terminate_connections",
                    backend::escaped(user.id())
                );
                backend::post(stage, stage.app(app), &path, &json!({})).await;
                for client in world.terminate(app, user) {
                    let client = connected(clients, client);
                    client.await_end().await;
                    let heard = client.log.heard_since(0);
                    let farewell = [Heard::Error(Some(4009)), Heard::Closed(Some(4009))];
                    prop_assert!(heard.ends_with(&farewell), "the end of {:?}", heard);
                }
                stage.await_connections(world.connections() as u64).await;
            }
            Op::Ask { app } => self.ask(app).await?,
            Op::Pass(pass) => {
                world.pass(pass.length());
                stage.pass(pass.length(), world.channels()).await;
            }
        }
        // What was said is done when a ping after it is answered, on whatever shard.
        if let Some(client) = op.client().and_then(|client| self.clients[client].as_mut()) {
            client.ping(&self.stage).await;
            client.await_pongs().await;
        }
        Ok(())
    }

    /// The lists of channels, which follow every operation.
    async fn check_lists(&self, op: &Op) -> Result<(), TestCaseError> {
        for app in Tenant::ALL {
            let query = [("info", "subscription_count")];
            let list = backend::get(&self.stage, self.stage.app(app), "channels", &query).await;
            prop_assert_eq!(
                list,
                self.world.list(app, ""),
                "GET channels after {:?}",
                op
            );
        }
        let sizes = self.stage.hub.sizes();
        prop_assert_eq!(
            sizes.connections,
            self.world.connections() as u64,
            "connections after {:?}",
            op
        );
        prop_assert_eq!(
            sizes.channels,
            self.world.channels(),
            "channels known after {:?}",
            op
        );
        Ok(())
    }

    /// Every GET there is.
    async fn ask(&self, app: Tenant) -> Result<(), TestCaseError> {
        let Self { stage, world, .. } = self;
        let query = [
            ("filter_by_prefix", "presence-"),
            ("info", "user_count,subscription_count"),
        ];
        let list = backend::get(stage, stage.app(app), "channels", &query).await;
        prop_assert_eq!(
            list,
            world.list(app, "presence-"),
            "GET channels of {:?}",
            app
        );
        for channel in Channel::ALL {
            let path = format!("channels/{}", channel.name());
            let info = match (channel.is_presence(), channel.is_cache()) {
                (false, false) => "subscription_count",
                (true, false) => "subscription_count,user_count",
                (false, true) => "subscription_count,cache",
                (true, true) => "subscription_count,user_count,cache",
            };
            let found = backend::get(stage, stage.app(app), &path, &[("info", info)]).await;
            prop_assert_eq!(found, world.info(app, channel), "GET {} of {:?}", path, app);
            if channel.is_presence() {
                let found =
                    backend::get(stage, stage.app(app), &format!("{path}/users"), &[]).await;
                prop_assert_eq!(
                    users(&found),
                    world.users(app, channel),
                    "GET {}/users of {:?}",
                    path,
                    app
                );
            }
        }
        let connections = backend::get(stage, stage.app(app), "connections", &[]).await;
        let open =
            (0..CLIENTS).filter(|client| Tenant::of(*client) == app && world.is_connected(*client));
        prop_assert_eq!(
            connections,
            json!({"connections": open.count()}),
            "GET connections of {:?}",
            app
        );
        Ok(())
    }
}

/// The body of a publish. It asks for figures, unless it goes to a user: of those nobody is told.
pub(crate) fn publication(data: &str, to: &[Target], except: Option<&str>) -> Value {
    let channels: Vec<String> = to.iter().map(|target| target.name()).collect();
    let is_for_user = to.iter().any(|target| matches!(target, Target::User(_)));
    json!({
        "name": "published",
        "data": data,
        "channels": channels,
        "socket_id": except,
        "info": (!is_for_user).then_some("subscription_count,user_count"),
    })
}

/// The ids in the answer to `GET channels/{name}/users`.
pub(crate) fn users(answer: &Value) -> BTreeSet<String> {
    let users = answer["users"].as_array().expect("a list").iter();
    users
        .map(|user| user["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// Order counts within a channel; what is about none, and what happens at once, has no order.
fn by_channel(heard: Vec<Heard>, is_ordered: bool) -> BTreeMap<Option<String>, Vec<Heard>> {
    let mut channels: BTreeMap<Option<String>, Vec<Heard>> = BTreeMap::new();
    for heard in heard {
        channels
            .entry(heard.channel().map(str::to_owned))
            .or_default()
            .push(heard);
    }
    for (channel, heard) in &mut channels {
        if channel.is_none() || !is_ordered {
            heard.sort();
        }
    }
    channels
}
