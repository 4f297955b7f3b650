//! Who acts in a burst, each in a task of its own: clients and backends.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::backend;
use crate::cast::{CLIENTS, Channel, Tenant};
use crate::client::{Client, Log};
use crate::deeds::{Deeds, Life, Published, Terminated};
use crate::figures::users;
use crate::publication::Publication;
use crate::script::{Op, Posts};
use crate::stage::Stage;
use crate::tally::{Figure, Tally};

/// The socket ids of those who are connected, for publishers who leave somebody out.
pub(crate) type Sockets = Arc<Mutex<[Option<String>; CLIENTS]>>;

/// A client that does its part of a burst.
pub(crate) struct Actor {
    pub(crate) number: usize,
    pub(crate) stage: Arc<Stage>,
    pub(crate) client: Option<Client>,
    pub(crate) sockets: Sockets,
    pub(crate) burst: usize,
}

impl Actor {
    /// Returns its connection, if it is open, and all that it began.
    pub(crate) async fn act(mut self, ops: Vec<Op>) -> (Option<Client>, Vec<Life>) {
        let mut lives = Vec::new();
        for (n, op) in ops.into_iter().enumerate() {
            self.perform(n, op, &mut lives).await;
        }
        if let Some(client) = &mut self.client {
            client.ping(&self.stage).await;
            client.await_pongs().await;
        }
        (self.client, lives)
    }

    /// Nothing but connecting waits for an answer; a ping marks where each unanswered command was done.
    async fn perform(&mut self, n: usize, op: Op, lives: &mut Vec<Life>) {
        let Self { stage, .. } = self;
        let mut client = match self
            .client
            .take()
            .filter(|client| client.log.closed().is_none())
        {
            Some(client) => client,
            None => {
                let client = Client::connect(stage, self.number, Tenant::of(self.number)).await;
                lives.push(Life::of(&client));
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
            Op::Doze { .. } => client.doze().await,
            Op::Whisper { channel, .. } => {
                let data = format!("whisper:{}:{}:{n:04}", self.number, self.burst);
                client.whisper(stage, channel, &data).await;
                client.ping(stage).await;
            }
            _ => {}
        }
        self.client = Some(client);
    }
}

/// A backend that does its part of a burst, for whichever app.
pub(crate) struct Backend {
    pub(crate) stage: Arc<Stage>,
    pub(crate) sockets: Sockets,
    pub(crate) burst: usize,
}

impl Backend {
    pub(crate) async fn act(self, ops: Vec<Op>) -> Result<Deeds, String> {
        let mut deeds = Deeds::default();
        for (n, op) in ops.into_iter().enumerate() {
            match op {
                Op::Publish {
                    app,
                    backend,
                    posts,
                } => self.publish(app, backend, &posts, n, &mut deeds).await?,
                Op::Terminate { app, user } => {
                    let begun = self.stage.stamp();
                    let answer = backend::terminate(&self.stage, self.stage.app(app), user).await;
                    if answer != json!({}) {
                        return Err(format!("terminating {user:?} was answered by {answer}"));
                    }
                    deeds.terminated.push(Terminated {
                        app,
                        user: user.id().to_owned(),
                        begun,
                    });
                }
                Op::Ask { app } => self.ask(app, &mut deeds).await?,
                _ => {}
            }
        }
        Ok(deeds)
    }

    async fn publish(
        &self,
        app: Tenant,
        backend: usize,
        posts: &Posts,
        n: usize,
        deeds: &mut Deeds,
    ) -> Result<(), String> {
        let publication = Publication::new(app, backend, posts);
        let events = posts.events();
        let publisher = format!("event:{}:{}:{backend}", app.id(), self.burst);
        let data: Vec<String> = (0..events.len())
            .map(|entry| format!("{publisher}:{n:04}-{entry}"))
            .collect();
        // Whoever connects anew meanwhile has another one: all events must leave the same one out.
        let sockets = self.sockets.lock().expect("nobody panics here").clone();
        let (begun, time) = (self.stage.stamp(), self.stage.now());
        let answer = publication
            .send(&self.stage, &data, |client| sockets[client].clone())
            .await;
        let done = self.stage.stamp();
        for (post, data) in events.iter().zip(data) {
            let published = Published {
                app,
                to: post.to.iter().map(|target| target.name()).collect(),
                except: post.except.and_then(|client| sockets[client].clone()),
                begun,
                done,
                time,
            };
            deeds.published.insert(data, published);
        }
        let figures = publication.figures(&answer);
        if answer != publication.answer(&figures) {
            return Err(format!("{posts:?} was answered by {answer}"));
        }
        for (post, figures) in events.iter().zip(figures) {
            for (target, figures) in post.to.iter().zip(figures) {
                let read = Figure::read_target(*target, &figures)?;
                note(deeds, app, (begun, done), read);
            }
        }
        Ok(())
    }

    async fn ask(&self, app: Tenant, deeds: &mut Deeds) -> Result<(), String> {
        let get = async |path: &str, query: &[(&str, &str)]| {
            let begun = self.stage.stamp();
            let answer = backend::get(&self.stage, self.stage.app(app), path, query).await;
            (answer, (begun, self.stage.stamp()))
        };
        let rooms = [Channel::Room, Channel::Hall];
        let query = [
            ("filter_by_prefix", "presence-"),
            ("info", "user_count,subscription_count"),
        ];
        let (list, at) = get("channels", &query).await;
        note(deeds, app, at, Figure::read_list(&rooms, &list)?);
        for channel in Channel::ALL {
            let info = match channel.is_presence() {
                true => "subscription_count,user_count",
                false => "subscription_count",
            };
            let path = format!("channels/{}", channel.name());
            let (mut found, at) = get(&path, &[("info", info)]).await;
            let occupied = found
                .as_object_mut()
                .and_then(|found| found.remove("occupied"));
            if occupied != Some(true.into()) {
                return Err(format!("{channel:?} is not occupied: {occupied:?}"));
            }
            note(deeds, app, at, Figure::read(channel, &found)?);
        }
        for channel in rooms {
            let (found, at) = get(&format!("channels/{}/users", channel.name()), &[]).await;
            let names = users(&found).ok_or_else(|| format!("users: {found}"))?;
            note(deeds, app, at, vec![Figure::Names(channel, names)]);
        }
        let (found, at) = get("connections", &[]).await;
        let count = found["connections"]
            .as_u64()
            .ok_or("a number of connections")?;
        note(deeds, app, at, vec![Figure::Connections(count)]);
        Ok(())
    }
}

fn note(deeds: &mut Deeds, app: Tenant, (begun, done): (u64, u64), figures: Vec<Figure>) {
    deeds.told.extend(figures.into_iter().map(|figure| Tally {
        app,
        begun,
        done,
        figure,
    }));
}
