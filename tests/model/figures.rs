//! What the HTTP API must say of the [`World`].

use serde_json::{Value, json};

use crate::cast::{CLIENTS, Channel, Tenant, User};
use crate::expect::{Occupied, World};

impl World {
    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.clients.iter().flatten().count()
    }

    /// How many channels the hub has to know of.
    pub(crate) fn channels(&self) -> usize {
        let of_app = |app: Tenant| {
            let channels = self.apps[app as usize].channels.values();
            let known = channels
                .filter(|here| !here.seats.is_empty() || here.cached.is_some())
                .count();
            let signed_in = |user: &&User| self.is_signed_in(app, **user);
            known + User::ALL.iter().filter(signed_in).count()
        };
        Tenant::ALL.into_iter().map(of_app).sum()
    }

    /// The answer to `GET connections`.
    pub(crate) fn connections_of_app(&self, app: Tenant) -> Value {
        let open = (0..CLIENTS)
            .filter(|client| Tenant::of(*client) == app && self.clients[*client].is_some());
        json!({"connections": open.count()})
    }

    /// The answer to `GET channels` with the subscription counts.
    pub(crate) fn list(&self, app: Tenant) -> Value {
        let occupied = self.occupied(app);
        listed(
            occupied
                .map(|(channel, here)| (channel, json!({"subscription_count": here.seats.len()}))),
        )
    }

    /// The answer to `GET channels` with both counts of presence channels.
    pub(crate) fn presence_list(&self, app: Tenant) -> Value {
        let occupied = self
            .occupied(app)
            .filter(|(channel, _)| channel.is_presence());
        listed(occupied.map(|(channel, here)| (channel, here.figures(channel))))
    }

    fn occupied(&self, app: Tenant) -> impl Iterator<Item = (Channel, &Occupied)> {
        let channels = self.apps[app as usize].channels.iter();
        let occupied = channels.filter(|(_, here)| !here.seats.is_empty());
        occupied.map(|(channel, here)| (*channel, here))
    }

    /// The answer to `GET channels/{name}` with everything the channel has.
    pub(crate) fn info(&self, app: Tenant, channel: Channel) -> Value {
        let nobody = Occupied::default();
        let here = self.apps[app as usize]
            .channels
            .get(&channel)
            .unwrap_or(&nobody);
        let mut info = here.figures(channel);
        info["occupied"] = (!here.seats.is_empty()).into();
        if channel.is_cache() {
            info["cache"] = here.cached.as_ref().map_or(
                Value::Null,
                |cached| json!({"data": cached.data, "ttl": (cached.until - self.now).as_secs()}),
            );
        }
        info
    }

    /// The ids in the answer to `GET channels/{name}/users`, in order.
    pub(crate) fn users(&self, app: Tenant, channel: Channel) -> Vec<String> {
        let here = self.apps[app as usize].channels.get(&channel);
        let members = here.into_iter().flat_map(|here| here.members.keys());
        let mut ids: Vec<String> = members.map(|user| user.id().to_owned()).collect();
        ids.sort_unstable();
        ids
    }
}

impl Occupied {
    /// What a publisher is told of the channel.
    pub(crate) fn figures(&self, channel: Channel) -> Value {
        let mut figures = json!({"subscription_count": self.seats.len()});
        if channel.is_presence() {
            figures["user_count"] = self.members.len().into();
        }
        figures
    }
}

/// A list of channels, as it is answered.
pub(crate) fn listed(channels: impl Iterator<Item = (Channel, Value)>) -> Value {
    let channels = channels.map(|(channel, figures)| (channel.name().to_owned(), figures));
    json!({"channels": channels.collect::<serde_json::Map<_, _>>()})
}

/// The figures that `GET channels/{name}` can be asked for.
pub(crate) fn all_info(channel: Channel) -> &'static str {
    match (channel.is_presence(), channel.is_cache()) {
        (false, false) => "subscription_count",
        (true, false) => "subscription_count,user_count",
        (false, true) => "subscription_count,cache",
        (true, true) => "subscription_count,user_count,cache",
    }
}

/// The ids in an answer to `GET channels/{name}/users`, in order. One that comes twice stays in twice.
pub(crate) fn users(answer: &Value) -> Option<Vec<String>> {
    let users = answer["users"].as_array()?.iter();
    let ids = users.map(|user| {
        let is_plain = user.as_object()?.len() == 1;
        user["id"].as_str().filter(|_| is_plain).map(str::to_owned)
    });
    let mut ids: Vec<String> = ids.collect::<Option<_>>()?;
    ids.sort_unstable();
    Some(ids)
}
