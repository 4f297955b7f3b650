//! [`World`]: the model. It foretells what everybody hears of an operation; `figures` adds what the HTTP API says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cast::{CLIENTS, Channel, Named, Target, Tenant, User};
use crate::heard::{Heard, Members};

/// All apps and all clients, as they should be.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) apps: [App; 3],
    pub(crate) clients: [Option<Connected>; CLIENTS],
    /// What each client hears of the operation that is under way.
    heard: [Vec<Heard>; CLIENTS],
}

#[derive(Default)]
pub(crate) struct App {
    pub(crate) channels: BTreeMap<Channel, Occupied>,
    watched: BTreeMap<User, Watched>,
}

#[derive(Default)]
pub(crate) struct Occupied {
    /// Clients, and as whom they sit here.
    pub(crate) seats: BTreeMap<usize, Option<User>>,
    /// Users with what their first connection said of them.
    pub(crate) members: BTreeMap<User, String>,
    pub(crate) cached: Option<Cached>,
}

pub(crate) struct Cached {
    event: Heard,
    pub(crate) data: String,
    pub(crate) until: Duration,
}

/// A user whom somebody watches.
struct Watched {
    is_online: bool,
    gone_at: Option<Duration>,
    watchers: BTreeSet<usize>,
}

#[derive(Default)]
pub(crate) struct Connected {
    user: Option<User>,
    watches: Vec<User>,
}

/// How long a user may be away before watchers hear of it.
const GRACE: Duration = Duration::from_secs(2);

impl World {
    /// What everybody hears of the operations since the last call.
    pub(crate) fn take_heard(&mut self) -> [Vec<Heard>; CLIENTS] {
        std::mem::take(&mut self.heard)
    }

    pub(crate) fn connect(&mut self, client: usize) {
        self.clients[client] = Some(Connected::default());
    }

    /// A connection ends, however it does.
    pub(crate) fn leave(&mut self, client: usize) {
        let app = Tenant::of(client);
        let Some(left) = self.clients[client].take() else {
            return;
        };
        for user in left.watches {
            let watched = &mut self.apps[app as usize].watched;
            if let Some(entry) = watched.get_mut(&user) {
                entry.watchers.remove(&client);
                if entry.watchers.is_empty() {
                    watched.remove(&user);
                }
            }
        }
        for channel in Channel::ALL {
            self.unsubscribe(client, channel);
        }
        if let Some(user) = left.user
            && !self.is_signed_in(app, user)
            && let Some(entry) = self.apps[app as usize].watched.get_mut(&user)
        {
            entry.gone_at = Some(self.now + GRACE);
        }
        self.heard[client].clear();
    }

    pub(crate) fn subscribe(&mut self, client: usize, channel: Channel, user: Option<User>) {
        let app = Tenant::of(client);
        let signed_in = self.clients[client]
            .as_ref()
            .and_then(|connected| connected.user);
        let user = if channel.is_presence() {
            user.or(signed_in)
        } else {
            None
        };
        if channel.is_presence() && user.is_none() {
            return self.refuse(client, channel, 4009, 401);
        }
        let here = self.apps[app as usize].channels.entry(channel).or_default();
        if let Some(seat) = here.seats.get(&client) {
            return match *seat == user {
                true => self.welcome(client, channel),
                false => self.refuse(client, channel, 4009, 401),
            };
        }
        let mut added = None;
        if let Some(user) = user
            && !here.members.contains_key(&user)
        {
            if here.members.len() >= app.most_members() {
                return self.refuse(client, channel, 4100, 4100);
            }
            let info = json!({"from": Named(client).to_string()}).to_string();
            here.members.insert(user, info.clone());
            let (channel, user) = (channel.name().to_owned(), user.id().to_owned());
            added = Some(Heard::Added {
                channel,
                user,
                info,
            });
        }
        if let Some(added) = added {
            self.tell(app, channel, &added);
        }
        self.apps[app as usize]
            .channels
            .entry(channel)
            .or_default()
            .seats
            .insert(client, user);
        self.welcome(client, channel);
        self.tell_count(app, channel);
    }

    pub(crate) fn unsubscribe(&mut self, client: usize, channel: Channel) {
        let app = Tenant::of(client);
        let here = self.apps[app as usize].channels.entry(channel).or_default();
        let Some(user) = here.seats.remove(&client) else {
            return;
        };
        if let Some(user) = user
            && !here.seats.values().any(|other| *other == Some(user))
        {
            here.members.remove(&user);
            let (name, user) = (channel.name().to_owned(), user.id().to_owned());
            self.tell(
                app,
                channel,
                &Heard::Removed {
                    channel: name,
                    user,
                },
            );
        }
        self.tell_count(app, channel);
    }

    pub(crate) fn sign_in(&mut self, client: usize, user: User, watches: &[User]) {
        let app = Tenant::of(client);
        let was_online = self.is_signed_in(app, user);
        let Some(connected) = &mut self.clients[client] else {
            return;
        };
        if let Some(known) = connected.user {
            let is_same = known == user;
            let heard = if is_same {
                Heard::SignedIn(user.id().to_owned())
            } else {
                Heard::Error(Some(4009))
            };
            return self.heard[client].push(heard);
        }
        let watches = if app.has_watchlists() { watches } else { &[] };
        connected.user = Some(user);
        connected.watches = watches.to_vec();
        self.heard[client].push(Heard::SignedIn(user.id().to_owned()));
        if !was_online && let Some(entry) = self.apps[app as usize].watched.get_mut(&user) {
            entry.gone_at = None;
            if !std::mem::replace(&mut entry.is_online, true) {
                let watchers = entry.watchers.clone();
                watchers.iter().for_each(|watcher| {
                    self.heard[*watcher].push(Heard::Online(user.id().to_owned()))
                });
            }
        }
        for watched in watches {
            let is_online = self.is_signed_in(app, *watched);
            let entry = self.apps[app as usize]
                .watched
                .entry(*watched)
                .or_insert_with(|| Watched {
                    is_online,
                    gone_at: None,
                    watchers: BTreeSet::new(),
                });
            entry.watchers.insert(client);
            let id = watched.id().to_owned();
            self.heard[client].push(if entry.is_online {
                Heard::Online(id)
            } else {
                Heard::Offline(id)
            });
        }
    }

    /// A client event that carries this data.
    pub(crate) fn whisper(&mut self, client: usize, channel: Channel, data: &str) {
        let app = Tenant::of(client);
        if !app.allows_whispers(channel) {
            return self.heard[client].push(Heard::Error(Some(4301)));
        }
        let here = self.apps[app as usize].channels.entry(channel).or_default();
        let Some(user) = here.seats.get(&client) else {
            return self.heard[client].push(Heard::Error(Some(4009)));
        };
        let event = Heard::Event {
            channel: channel.name().to_owned(),
            name: "client-whisper".to_owned(),
            data: data.to_owned(),
            user: user.map(|user| user.id().to_owned()),
        };
        let others: Vec<usize> = here
            .seats
            .keys()
            .copied()
            .filter(|other| *other != client)
            .collect();
        others
            .into_iter()
            .for_each(|other| self.heard[other].push(event.clone()));
    }

    /// A backend publishes an event; the figures of its target are returned.
    pub(crate) fn publish(
        &mut self,
        app: Tenant,
        target: Target,
        except: Option<usize>,
        data: &str,
    ) -> Value {
        let event = Heard::Event {
            channel: target.name(),
            name: "published".to_owned(),
            data: data.to_owned(),
            user: None,
        };
        let (receivers, figures) = match target {
            Target::Channel(channel) => {
                let until = self.now + app.memory();
                let here = self.apps[app as usize].channels.entry(channel).or_default();
                if channel.is_cache() {
                    here.cached = Some(Cached {
                        event: event.clone(),
                        data: data.to_owned(),
                        until,
                    });
                }
                (here.seats.keys().copied().collect(), here.figures(channel))
            }
            Target::User(user) => (self.connections_of(app, user), json!({})),
        };
        for receiver in receivers {
            if Some(receiver) != except {
                self.heard[receiver].push(event.clone());
            }
        }
        figures
    }

    /// Which clients are closed when this user is terminated. They leave.
    pub(crate) fn terminate(&mut self, app: Tenant, user: User) -> Vec<usize> {
        let mut doomed: BTreeSet<usize> = self.connections_of(app, user).into_iter().collect();
        for here in self.apps[app as usize].channels.values() {
            doomed.extend(
                here.seats
                    .iter()
                    .filter(|(_, seat)| **seat == Some(user))
                    .map(|(client, _)| *client),
            );
        }
        doomed.iter().for_each(|client| self.leave(*client));
        doomed.iter().for_each(|client| self.heard[*client].clear());
        doomed.into_iter().collect()
    }

    pub(crate) fn pass(&mut self, length: Duration) {
        self.now += length;
        for app in &mut self.apps {
            for here in app.channels.values_mut() {
                here.cached.take_if(|cached| cached.until <= self.now);
            }
            for (user, entry) in &mut app.watched {
                if entry.gone_at.take_if(|at| *at <= self.now).is_some() {
                    entry.is_online = false;
                    for watcher in &entry.watchers {
                        self.heard[*watcher].push(Heard::Offline(user.id().to_owned()));
                    }
                }
            }
        }
    }

    fn connections_of(&self, app: Tenant, user: User) -> Vec<usize> {
        let is_theirs = |client: &usize| {
            let connected = self.clients[*client].as_ref();
            Tenant::of(*client) == app
                && connected.is_some_and(|connected| connected.user == Some(user))
        };
        (0..CLIENTS).filter(is_theirs).collect()
    }

    pub(crate) fn is_signed_in(&self, app: Tenant, user: User) -> bool {
        !self.connections_of(app, user).is_empty()
    }

    fn refuse(&mut self, client: usize, channel: Channel, code: u64, status: u64) {
        let channel = channel.name().to_owned();
        self.heard[client].extend([Heard::Error(Some(code)), Heard::Refused { channel, status }]);
    }

    /// What a subscriber is told first.
    fn welcome(&mut self, client: usize, channel: Channel) {
        let here = &self.apps[Tenant::of(client) as usize].channels[&channel];
        let members: Members = here
            .members
            .iter()
            .map(|(user, info)| (user.id().to_owned(), info.clone()))
            .collect();
        let name = channel.name().to_owned();
        self.heard[client].push(Heard::Joined {
            channel: name.clone(),
            members,
        });
        if channel.is_cache() {
            let missed = Heard::Missed { channel: name };
            self.heard[client].push(
                here.cached
                    .as_ref()
                    .map_or(missed, |cached| cached.event.clone()),
            );
        }
    }

    /// Everybody in the channel hears this.
    fn tell(&mut self, app: Tenant, channel: Channel, heard: &Heard) {
        let seats: Vec<usize> = self.apps[app as usize].channels[&channel]
            .seats
            .keys()
            .copied()
            .collect();
        seats
            .into_iter()
            .for_each(|client| self.heard[client].push(heard.clone()));
    }

    fn tell_count(&mut self, app: Tenant, channel: Channel) {
        if app.counts(channel) {
            let count = self.apps[app as usize].channels[&channel].seats.len() as u64;
            self.tell(
                app,
                channel,
                &Heard::Count {
                    channel: channel.name().to_owned(),
                    count,
                },
            );
        }
    }
}
