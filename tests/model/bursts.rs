//! Many operations at once: everybody acts without waiting for anybody. Then all is settled, and judged.
//!
//! In each app a witness sits in every channel from the beginning. What it hears of a presence or cache channel is the
//! order in which things happened there, and what everybody else heard must be a piece of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use crate::actors::{Actor, Backend, Sockets};
use crate::backend;
use crate::cast::{CLIENTS, Channel, Tenant, User};
use crate::client::Client;
use crate::compare::compare;
use crate::deeds::{Deeds, Life};
use crate::figures::{all_info, listed, users};
use crate::judge::Verdict;
use crate::script::{BACKENDS, Op, Pass};
use crate::stage::{Stage, expect, expect_answer};

/// All that takes part.
struct Play {
    stage: Arc<Stage>,
    clients: [Option<Client>; CLIENTS],
    witnesses: Vec<Client>,
    /// Every connection there was; the witnesses' come first.
    lives: Vec<Life>,
    deeds: Deeds,
    sockets: Sockets,
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
        self.lives.push(Life::of(&witness));
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
                sockets: self.sockets.clone(),
                burst: self.burst,
            };
            clients.push(tokio::spawn(actor.act(ops)));
        }
        let mut backends = Vec::new();
        // One more does what does not publish.
        for number in 0..=BACKENDS {
            let ops = chosen(burst, |op| match op {
                Op::Publish { backend, .. } => *backend == number,
                _ => number == BACKENDS,
            });
            let backend = Backend {
                stage: self.stage.clone(),
                sockets: self.sockets.clone(),
                burst: self.burst,
            };
            backends.push(tokio::spawn(backend.act(ops)));
        }
        for (number, actor) in clients.into_iter().enumerate() {
            let (client, lives) = actor.await.expect("no client panics");
            self.clients[number] = client;
            self.lives.extend(lives);
        }
        for backend in backends {
            let deeds = backend.await.expect("no backend panics");
            self.deeds.add(deeds.map_err(TestCaseError::fail)?);
        }
        self.settle().await?;
        self.judge().await
    }

    /// Waits until everybody who left is gone, everybody has heard everything, and absences have been told.
    async fn settle(&mut self) -> Result<(), TestCaseError> {
        self.hear_all().await;
        // The terminated have heard so by now.
        for client in &mut self.clients {
            client.take_if(|client| client.log.closed().is_some());
        }
        let open = self.clients.iter().flatten().count() + self.witnesses.len();
        self.stage.await_connections(open as u64).await;
        self.deeds.settled.push(self.stage.stamp());
        self.hear_all().await;
        // What is wrong already might have us wait in vain.
        let verdicts = self.compare()?;
        let online: BTreeSet<(Tenant, String)> = verdicts
            .iter()
            .filter(|verdict| verdict.is_open)
            .filter_map(Verdict::online)
            .collect();
        // The witnesses keep every channel known.
        let channels = Tenant::ALL.len() * Channel::ALL.len() + online.len();
        self.stage.pass(Pass::Absence.length(), channels).await;
        self.hear_all().await;
        Ok(())
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

    /// Looks for contradictions in what each heard, and among them.
    fn compare(&self) -> Result<Vec<Verdict>, TestCaseError> {
        let verdicts = self.lives.iter().map(|life| Verdict::on(life, &self.deeds));
        let verdicts: Vec<Verdict> = verdicts
            .collect::<Result<_, _>>()
            .map_err(TestCaseError::fail)?;
        compare(&verdicts, &self.deeds).map_err(TestCaseError::fail)?;
        Ok(verdicts)
    }

    /// Looks for contradictions in all that was heard, and with what the HTTP API says.
    async fn judge(&self) -> Result<(), TestCaseError> {
        let verdicts = self.compare()?;
        for app in Tenant::ALL {
            let here: Vec<&Verdict> = verdicts
                .iter()
                .filter(|verdict| verdict.app == app && verdict.is_open)
                .collect();
            self.check_figures(app, &here).await?;
        }
        Ok(())
    }

    /// Compares what the HTTP API says of an app, and what its clients believe, with where its connections are.
    async fn check_figures(&self, app: Tenant, here: &[&Verdict]) -> Result<(), TestCaseError> {
        let get = async |path: &str, query: &[(&str, &str)]| {
            backend::get(&self.stage, self.stage.app(app), path, query).await
        };
        let seats = |channel: Channel| {
            let seats = here.iter().flat_map(|verdict| verdict.seats());
            seats.filter(move |sitting| sitting.channel == channel.name())
        };
        // The witness sits everywhere, so every channel is occupied.
        let of_app = app.id();
        let list = get("channels", &[("info", "subscription_count")]).await;
        let counts = Channel::ALL.map(|channel| {
            (
                channel,
                json!({"subscription_count": seats(channel).count()}),
            )
        });
        expect_answer(
            &format!("the channels of {of_app}"),
            list,
            listed(counts.into_iter()),
        )?;
        let connections = get("connections", &[]).await;
        let what = format!("the connections of {of_app}");
        expect_answer(&what, connections, json!({"connections": here.len()}))?;
        for channel in Channel::ALL {
            let path = format!("channels/{}", channel.name());
            let what = format!("{path} of {of_app}");
            let mut info = json!({
                "occupied": true,
                "subscription_count": seats(channel).count(),
            });
            if channel.is_presence() {
                let present = seats(channel).filter_map(|sitting| sitting.user.as_ref());
                let present: BTreeSet<&String> = present.collect();
                info["user_count"] = present.len().into();
                let found = get(&format!("{path}/users"), &[]).await;
                let ids = present.iter().map(|user| (*user).clone()).collect();
                expect(&format!("the users of {what}"), users(&found), Some(ids))?;
                for sitting in seats(channel) {
                    let known: BTreeSet<&String> = sitting.members.keys().collect();
                    expect(
                        &format!("whom {:?} sees in {what}", sitting.user),
                        &known,
                        &present,
                    )?;
                }
            }
            if channel.is_cache() {
                info["cache"] = self.remembered(app, here[0].last_published(channel.name()));
            }
            let found = get(&path, &[("info", all_info(channel))]).await;
            expect_answer(&what, found, info)?;
        }
        let online = here.iter().filter_map(|verdict| verdict.online());
        let online: BTreeSet<String> = online.map(|(_, user)| user).collect();
        for verdict in here {
            for (user, is_online) in &verdict.watched {
                let what = format!("whether {user} is online for {}", verdict.name);
                expect(&what, *is_online, Some(online.contains(user)))?;
            }
        }
        Ok(())
    }

    /// What is said of a cache channel in which this was published last. No script is long enough for it to be forgotten.
    fn remembered(&self, app: Tenant, last: Option<&str>) -> Value {
        last.map_or(Value::Null, |data| {
            let until = self.deeds.published[data].time + app.memory();
            json!({"data": data, "ttl": (until - self.stage.now()).as_secs()})
        })
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
