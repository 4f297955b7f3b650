//! One operation after the other: each is settled before the next, so that every message can be foretold.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use crate::backend;
use crate::cast::{CLIENTS, Channel, Named, Tenant};
use crate::client::Client;
use crate::expect::World;
use crate::figures::{all_info, users};
use crate::heard::Heard;
use crate::publication::Publication;
use crate::script::{Op, Posts};
use crate::stage::{Stage, expect, expect_answer};

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
        if play.clients[client].is_some() {
            play.step(&leave).await?;
        }
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
            let what = format!("what {} heard when {op:?}", Named(number));
            expect(&what, heard, expected)?;
        }
        self.check_lists(op).await?;
        let sizes = self.stage.hub.sizes();
        let (sizes, expected) = (
            (sizes.connections, sizes.channels),
            (self.world.connections() as u64, self.world.channels()),
        );
        expect(
            &format!("connections, and channels known, after {op:?}"),
            sizes,
            expected,
        )
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
        match op {
            Op::Connect { .. } | Op::Flap { .. } | Op::Doze { .. } => {}
            Op::Close { client } => {
                world.leave(*client);
                let log = connected(clients, *client).close(stage).await;
                let what = "the answer to a close frame without a code";
                expect(what, log.closed(), Some(None))?;
                stage.await_connections(world.connections() as u64).await;
            }
            Op::Drop { client } => {
                world.leave(*client);
                connected(clients, *client).hang_up(stage);
                stage.await_connections(world.connections() as u64).await;
            }
            Op::Subscribe {
                client,
                channel,
                user,
            } => {
                world.subscribe(*client, *channel, *user);
                if let Some(client) = &mut clients[*client] {
                    client.subscribe(stage, *channel, *user).await;
                }
            }
            Op::Unsubscribe { client, channel } => {
                world.unsubscribe(*client, *channel);
                if let Some(client) = &mut clients[*client] {
                    client.unsubscribe(stage, *channel).await;
                }
            }
            Op::SignIn {
                client,
                user,
                watches,
            } => {
                world.sign_in(*client, *user, watches);
                if let Some(client) = &mut clients[*client] {
                    client.sign_in(stage, *user, watches).await;
                }
            }
            Op::Whisper { client, channel } => {
                *events += 1;
                let data = format!("{{\"whisper\":{events}}}");
                world.whisper(*client, *channel, &data);
                if let Some(client) = &mut clients[*client] {
                    client.whisper(stage, *channel, &data).await;
                }
            }
            Op::Publish {
                app,
                backend,
                posts,
            } => self.publish(*app, *backend, posts).await?,
            Op::Terminate { app, user } => {
                let answer = backend::terminate(stage, stage.app(*app), *user).await;
                expect_answer(&format!("what is answered when {op:?}"), answer, json!({}))?;
                for number in world.terminate(*app, *user) {
                    let client = connected(clients, number);
                    client.await_end().await;
                    // Before that it may have heard others go.
                    let heard = client.log.heard_since(0);
                    let last = heard[heard.len().saturating_sub(2)..].to_vec();
                    let farewell = vec![Heard::Error(Some(4009)), Heard::Closed(Some(4009))];
                    let what = format!("what {} heard last when {op:?}", Named(number));
                    expect(&what, last, farewell)?;
                }
                stage.await_connections(world.connections() as u64).await;
            }
            Op::Ask { app } => self.ask(*app).await?,
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

    async fn publish(
        &mut self,
        app: Tenant,
        backend: usize,
        posts: &Posts,
    ) -> Result<(), TestCaseError> {
        let (mut data, mut figures) = (Vec::new(), Vec::new());
        for post in posts.events() {
            self.events += 1;
            let text = format!("{{\"event\":{}}}", self.events);
            let targets = post.to.iter();
            let told = targets.map(|to| self.world.publish(app, *to, post.except, &text));
            figures.push(told.collect());
            data.push(text);
        }
        let publication = Publication::new(app, backend, posts);
        let socket_id = |client: usize| Some(self.clients[client].as_ref()?.socket_id.clone());
        let answer = publication.send(&self.stage, &data, socket_id).await;
        let expected = publication.answer(&figures);
        let what = format!(
            "what {}'s backend {backend} is told that publishes {posts:?}",
            app.id()
        );
        expect_answer(&what, answer, expected)
    }

    /// The lists of channels, which follow every operation, in every app.
    async fn check_lists(&self, op: &Op) -> Result<(), TestCaseError> {
        let Self { stage, world, .. } = self;
        for app in Tenant::ALL {
            let query = [("info", "subscription_count")];
            let list = backend::get(stage, stage.app(app), "channels", &query).await;
            let what = format!("the channels of {} after {op:?}", app.id());
            expect_answer(&what, list, world.list(app))?;
        }
        Ok(())
    }

    /// Everything else that can be asked.
    async fn ask(&self, app: Tenant) -> Result<(), TestCaseError> {
        let Self { stage, world, .. } = self;
        let get = async |path: &str, query: &[(&str, &str)]| -> Value {
            backend::get(stage, stage.app(app), path, query).await
        };
        let query = [
            ("filter_by_prefix", "presence-"),
            ("info", "user_count,subscription_count"),
        ];
        let list = get("channels", &query).await;
        let of_app = app.id();
        let what = format!("the presence channels of {of_app}");
        expect_answer(&what, list, world.presence_list(app))?;
        let connections = get("connections", &[]).await;
        let what = format!("the connections of {of_app}");
        expect_answer(&what, connections, world.connections_of_app(app))?;
        for channel in Channel::ALL {
            let path = format!("channels/{}", channel.name());
            let found = get(&path, &[("info", all_info(channel))]).await;
            let what = format!("{path} of {of_app}");
            expect_answer(&what, found, world.info(app, channel))?;
            if channel.is_presence() {
                let found = get(&format!("{path}/users"), &[]).await;
                let foretold = Some(world.users(app, channel));
                expect(&format!("the users of {what}"), users(&found), foretold)?;
            }
        }
        Ok(())
    }
}

/// Order counts within a channel; what is about none, and what happens at once, has no order.
fn by_channel(heard: Vec<Heard>, is_ordered: bool) -> Vec<Heard> {
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
    channels.into_values().flatten().collect()
}
