//! Many operations at once: everybody acts without waiting for anybody. Then all is settled, and judged.
//!
//! In each app a witness sits in every channel from the beginning. What it hears of a presence or cache channel is the
//! order in which things happened there, and what everybody else heard must be a piece of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use crate::backend;
use crate::client::{Client, Log};
use crate::compare::compare;
use crate::judge::{Deeds, Life, Published, Terminated, Verdict};
use crate::script::{CLIENTS, Channel, Op, Pass, Tenant, User};
use crate::stage::Stage;
use crate::steps::{publication, users};

/// All that takes part.
struct Play {
    stage: Arc<Stage>,
    clients: [Option<Client>; CLIENTS],
    witnesses: Vec<Client>,
    /// Every connection there was; the witnesses' come first.
    lives: Vec<Life>,
    deeds: Deeds,
    /// The socket ids of those who are connected, for publishers who leave somebody out.
    sockets: Arc<Mutex<[Option<String>; CLIENTS]>>,
    burst: usize,
}

/// Plays the bursts, judging after each, and then has everybody leave at once.
pub(crate) async fn play(shards: usize, script: &[Vec<Op>]) -> Result<(), TestCaseError> {
    let stage = Arc::new(Stage::new(shards).await);
    let mut play = Play {
        stage,
        clients: Default::default(),
        witnesses: Vec::new(),
        lives: Vec::new(),
        deeds: Deeds::default(),
        sockets: Arc::default(),
        burst: 0,
    };
    for app in Tenant::ALL {
        play.seat_witness(app).await;
    }
    for burst in script {
        play.play(burst).await?;
    }
    play.leave().await;
    Ok(())
}

impl Play {
    async fn seat_witness(&mut self, app: Tenant) {
        let mut witness = Client::connect(&self.stage, CLIENTS, app).await;
        witness
            .sign_in(&self.stage, User::Witness, &User::ALL)
            .await;
        for channel in Channel::ALL {
            witness
                .subscribe(&self.stage, channel, Some(User::Witness))
                .await;
        }
        witness.ping(&self.stage).await;
        witness.await_pongs().await;
        self.lives.push(life(&witness));
        self.witnesses.push(witness);
    }

    async fn play(&mut self, burst: &[Op]) -> Result<(), TestCaseError> {
        self.burst += 1;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let ops = chosen(burst, |op| op.client() == Some(number));
            let actor = Actor {
                number,
                stage: self.stage.clone(),
                client: self.clients[number].take(),
                lives: Vec::new(),
                sockets: self.sockets.clone(),
                said: 0,
                burst: self.burst,
            };
            clients.push(tokio::spawn(actor.act(ops)));
        }
        let mut backends = Vec::new();
        for number in 0..3 {
            let ops = chosen(
                burst,
                |op| matches!(op, Op::Publish { backend, .. } if *backend == number),
            );
            let backend = Backend {
                stage: self.stage.clone(),
                sockets: self.sockets.clone(),
                burst: self.burst,
            };
            backends.push(tokio::spawn(backend.act(ops)));
        }
        let others = chosen(burst, |op| {
            matches!(op, Op::Terminate { .. } | Op::Ask { .. })
        });
        let backend = Backend {
            stage: self.stage.clone(),
            sockets: self.sockets.clone(),
            burst: self.burst,
        };
        backends.push(tokio::spawn(backend.act(others)));
        for (number, actor) in clients.into_iter().enumerate() {
            let (client, lives) = actor.await.expect("no client panics");
            self.clients[number] = client;
            self.lives.extend(lives);
        }
        for backend in backends {
            let deeds = backend.await.expect("no backend panics");
            self.deeds.published.extend(deeds.published);
            self.deeds.terminated.extend(deeds.terminated);
        }
        self.settle().await;
        self.judge().await
    }

    /// Waits until everybody who left is gone, everybody has heard everything, and absences have been told.
    async fn settle(&mut self) {
        self.hear_all().await;
        // The terminated have heard so by now.
        for client in &mut self.clients {
            client.take_if(|client| client.log.closed().is_some());
        }
        let open = self.clients.iter().flatten().count() + self.witnesses.len();
        self.stage.await_connections(open as u64).await;
        self.hear_all().await;
        let online: BTreeSet<(Tenant, String)> = self.verdicts().map_or_else(
            // The judge will say it again, to those who listen.
            |_| BTreeSet::new(),
            |verdicts| {
                verdicts
                    .iter()
                    .filter(|verdict| verdict.is_open)
                    .filter_map(Verdict::online)
                    .collect()
            },
        );
        if !online.is_empty() {
            // The witnesses keep every channel known.
            let channels = Tenant::ALL.len() * Channel::ALL.len() + online.len();
            self.stage.pass(Pass::Absence.length(), channels).await;
        }
        self.hear_all().await;
    }

    async fn hear_all(&mut self) {
        let mut everybody: Vec<&mut Client> = self
            .clients
            .iter_mut()
            .flatten()
            .chain(&mut self.witnesses)
            .collect();
        self.stage.settle(&mut everybody).await;
    }

    fn verdicts(&self) -> Result<Vec<Verdict>, String> {
        self.lives
            .iter()
            .map(|life| Verdict::on(life, &self.deeds))
            .collect()
    }

    /// Looks for contradictions in what each heard, among them, and with what the HTTP API says.
    async fn judge(&self) -> Result<(), TestCaseError> {
        let verdicts = self.verdicts().map_err(TestCaseError::fail)?;
        compare(&verdicts, &self.deeds).map_err(TestCaseError::fail)?;
        for app in Tenant::ALL {
            let here: Vec<&Verdict> = verdicts
                .iter()
                .filter(|verdict| verdict.app == app && verdict.is_open)
                .collect();
            self.check_figures(app, &here).await?;
        }
        Ok(())
    }

    async fn check_figures(&self, app: Tenant, here: &[&Verdict]) -> Result<(), TestCaseError> {
        let get = async |path: &str, query: &[(&str, &str)]| {
            backend::get(&self.stage, self.stage.app(app), path, query).await
        };
        let list = get("channels", &[("info", "subscription_count")]).await;
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        for sitting in here.iter().flat_map(|verdict| verdict.seats()) {
            if Channel::of(&sitting.channel).is_some() {
                *expected.entry(&sitting.channel).or_default() += 1;
            }
        }
        let expected: Value = expected
            .iter()
            .map(|(channel, count)| ((*channel).to_owned(), json!({"subscription_count": count})))
            .collect::<serde_json::Map<_, _>>()
            .into();
        prop_assert_eq!(&list["channels"], &expected, "GET channels of {:?}", app);
        for channel in Channel::ALL
            .into_iter()
            .filter(|channel| channel.is_presence())
        {
            let present: BTreeSet<String> = here
                .iter()
                .flat_map(|verdict| verdict.seats())
                .filter(|sitting| sitting.channel == channel.name())
                .filter_map(|sitting| sitting.user.clone())
                .collect();
            let found = get(&format!("channels/{}/users", channel.name()), &[]).await;
            prop_assert_eq!(&users(&found), &present, "GET users of {:?}", channel);
            for verdict in here {
                for sitting in verdict
                    .seats()
                    .filter(|sitting| sitting.channel == channel.name())
                {
                    let known: BTreeSet<String> = sitting.members.keys().cloned().collect();
                    prop_assert_eq!(
                        &known,
                        &present,
                        "whom {} sees in {:?}",
                        verdict.name,
                        channel
                    );
                }
            }
        }
        for channel in Channel::ALL
            .into_iter()
            .filter(|channel| channel.is_cache())
        {
            let found = get(
                &format!("channels/{}", channel.name()),
                &[("info", "cache")],
            )
            .await;
            let last = here[0].last_published(channel.name());
            // Nothing may have been published for longer than it is remembered.
            if !found["cache"].is_null() {
                prop_assert_eq!(
                    found["cache"]["data"].as_str(),
                    last,
                    "what {:?} remembers",
                    channel
                );
            }
        }
        let online: BTreeSet<String> = here
            .iter()
            .filter_map(|verdict| verdict.online())
            .map(|(_, user)| user)
            .collect();
        for verdict in here {
            for (user, is_online) in &verdict.watched {
                prop_assert_eq!(
                    *is_online,
                    Some(online.contains(user)),
                    "{} watches {}",
                    verdict.name,
                    user
                );
            }
        }
        Ok(())
    }

    /// Everybody leaves at the same time, every other one without a word.
    async fn leave(self) {
        let Self {
            stage,
            clients,
            witnesses,
            ..
        } = self;
        let mut leaving = Vec::new();
        for (number, client) in clients.into_iter().flatten().chain(witnesses).enumerate() {
            let stage = stage.clone();
            leaving.push(tokio::spawn(async move {
                match number % 2 {
                    0 => drop(client.close(&stage).await),
                    _ => drop(client.hang_up(&stage)),
                }
            }));
        }
        for leaving in leaving {
            leaving.await.expect("whoever leaves does not panic");
        }
        stage.assert_empties().await;
    }
}

fn chosen(burst: &[Op], is_theirs: impl Fn(&Op) -> bool) -> Vec<Op> {
    burst.iter().filter(|op| is_theirs(op)).cloned().collect()
}

fn life(client: &Client) -> Life {
    Life {
        app: client.app,
        name: client.label.clone(),
        socket_id: client.socket_id.clone(),
        log: client.log.clone(),
    }
}

/// A client that does its part of a burst.
struct Actor {
    number: usize,
    stage: Arc<Stage>,
    client: Option<Client>,
    lives: Vec<Life>,
    sockets: Arc<Mutex<[Option<String>; CLIENTS]>>,
    said: usize,
    burst: usize,
}

impl Actor {
    async fn act(mut self, ops: Vec<Op>) -> (Option<Client>, Vec<Life>) {
        for op in ops {
            self.perform(op).await;
        }
        if let Some(client) = &mut self.client {
            client.ping(&self.stage).await;
            client.await_pongs().await;
        }
        (self.client, self.lives)
    }

    /// Nothing but connecting waits for an answer; a ping marks where each unanswered command was done.
    async fn perform(&mut self, op: Op) {
        let Self { stage, .. } = self;
        let mut client = match self
            .client
            .take()
            .filter(|client| client.log.closed().is_none())
        {
            Some(client) => client,
            None => {
                let client = Client::connect(stage, self.number, Tenant::of(self.number)).await;
                self.lives.push(life(&client));
                self.sockets.lock().expect("nobody panics here")[self.number] =
                    Some(client.socket_id.clone());
                client
            }
        };
        match op {
            Op::Close { .. } => return drop::<Arc<Log>>(client.close(stage).await),
            Op::Drop { .. } => return drop(client.hang_up(stage)),
            Op::Subscribe { channel, user, .. } => client.subscribe(stage, channel, user).await,
            Op::Flap { channel, user, .. } => client.flap(stage, channel, user).await,
            Op::Unsubscribe { channel, .. } => {
                client.unsubscribe(stage, channel).await;
                client.ping(stage).await;
            }
            Op::SignIn { user, watches, .. } => client.sign_in(stage, user, &watches).await,
            Op::Whisper { channel, .. } => {
                self.said += 1;
                let data = format!("whisper:{}:{}:{:04}", self.number, self.burst, self.said);
                client.whisper(stage, channel, &data).await;
                client.ping(stage).await;
            }
            _ => {}
        }
        self.client = Some(client);
    }
}

/// A backend that does its part of a burst.
struct Backend {
    stage: Arc<Stage>,
    sockets: Arc<Mutex<[Option<String>; CLIENTS]>>,
    burst: usize,
}

impl Backend {
    async fn act(self, ops: Vec<Op>) -> Deeds {
        let Self { stage, .. } = &self;
        let mut deeds = Deeds::default();
        for (n, op) in ops.into_iter().enumerate() {
            match op {
                Op::Publish {
                    app,
                    backend,
                    to,
                    except,
                } => {
                    let data = format!("event:{}:{backend}:{}:{n:04}", app.id(), self.burst);
                    let except = except.and_then(|client| {
                        self.sockets.lock().expect("nobody panics here")[client].clone()
                    });
                    let body = publication(&data, &to, except.as_deref());
                    let begun = stage.stamp();
                    backend::post(stage, stage.app(app), "events", &body).await;
                    let done = stage.stamp();
                    let to = to.iter().map(|target| target.name()).collect();
                    deeds.published.insert(
                        data,
                        Published {
                            app,
                            to,
                            except,
                            begun,
                            done,
                        },
                    );
                }
                Op::Terminate { app, user } => {
                    let path = format!(
                        "users/{}/terminate_connections",
                        backend::escaped(user.id())
                    );
                    let begun = stage.stamp();
                    backend::post(stage, stage.app(app), &path, &json!({})).await;
                    deeds.terminated.push(Terminated {
                        app,
                        user: user.id().to_owned(),
                        begun,
                    });
                }
                Op::Ask { app } => {
                    let query = [
                        ("filter_by_prefix", "presence-"),
                        ("info", "user_count,subscription_count"),
                    ];
                    let list = backend::get(stage, stage.app(app), "channels", &query).await;
                    for (channel, figures) in list["channels"].as_object().expect("an object") {
                        let count = |name: &str| figures[name].as_u64().expect("a number");
                        let is_sane =
                            (1..=count("subscription_count")).contains(&count("user_count"));
                        assert!(is_sane, "{channel}: {figures}");
                    }
                    backend::get(stage, stage.app(app), "channels/presence-room/users", &[]).await;
                }
                _ => {}
            }
        }
        deeds
    }
}
