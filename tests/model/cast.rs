//! The cast: three apps with channels and users of the same names, and the clients of each.

use std::fmt;
use std::time::Duration;

use reverb_core::protocol::{App, ClientEvents};

/// Clients that act: the first four belong to the shop, the next three to the blog, the last two to the club.
pub(crate) const CLIENTS: usize = 9;

/// One of three apps. Only their ids and keys tell them apart: their backends share a secret, so that a mix-up shows in
/// what is heard, not in a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tenant {
    /// Defaults.
    Shop,
    /// Counts of subscribers, client events everywhere, three users in a presence channel.
    Blog,
    /// No client events, no watchlists, a longer memory.
    Club,
}

impl Tenant {
    pub(crate) const ALL: [Self; 3] = [Self::Shop, Self::Blog, Self::Club];

    pub(crate) fn of(client: usize) -> Self {
        match client {
            0..4 => Self::Shop,
            4..7 => Self::Blog,
            _ => Self::Club,
        }
    }

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Blog => "blog",
            Self::Club => "club",
        }
    }

    /// As the hub is told of it.
    pub(crate) fn app(self) -> App {
        let id = self.id();
        let mut app = App::new(id, &format!("{id}-key"), "secret").expect("an app");
        app.limits.client_events_per_second = 0;
        app.limits.cache_seconds = self.memory().as_secs() as u32;
        app.limits.presence_members = self.most_members();
        app.subscription_count = self == Self::Blog;
        app.watchlist = self.has_watchlists();
        app.client_events = match self {
            Self::Shop => ClientEvents::Members,
            Self::Blog => ClientEvents::All,
            Self::Club => ClientEvents::Off,
        };
        app
    }

    /// Whether subscribers of this channel are told how many they are.
    pub(crate) fn counts(self, channel: Channel) -> bool {
        self == Self::Blog && !channel.is_presence()
    }

    /// Whether client events may be sent in this channel.
    pub(crate) fn allows_whispers(self, channel: Channel) -> bool {
        match self {
            Self::Shop => channel.is_signed(),
            Self::Blog => true,
            Self::Club => false,
        }
    }

    pub(crate) fn has_watchlists(self) -> bool {
        self != Self::Club
    }

    /// Most users in a presence channel.
    pub(crate) fn most_members(self) -> usize {
        match self {
            Self::Blog => 3,
            Self::Shop | Self::Club => 100,
        }
    }

    /// How long cache channels remember.
    pub(crate) fn memory(self) -> Duration {
        Duration::from_secs(match self {
            Self::Shop | Self::Blog => 10,
            Self::Club => 20,
        })
    }
}

/// A client by its number, and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct Named(pub(crate) usize);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}'s client {}", Tenant::of(self.0).id(), self.0)
    }
}

/// A channel that clients subscribe to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    News,
    Desk,
    Room,
    Prices,
    Hall,
}

impl Channel {
    /// The channel of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    pub(crate) const ALL: [Self; 5] =
        [Self::News, Self::Desk, Self::Room, Self::Prices, Self::Hall];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::News => "news",
            Self::Desk => "private-desk",
            Self::Room => "presence-room",
            Self::Prices => "cache-prices",
            Self::Hall => "presence-cache-hall",
        }
    }

    pub(crate) fn is_presence(self) -> bool {
        matches!(self, Self::Room | Self::Hall)
    }

    pub(crate) fn is_cache(self) -> bool {
        matches!(self, Self::Prices | Self::Hall)
    }

    pub(crate) fn is_signed(self) -> bool {
        !matches!(self, Self::News | Self::Prices)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of the users that each app has. The last one's id needs escaping wherever it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum User {
    Ann,
    Bob,
    Zoe,
    /// Sits everywhere from beginning to end of a script of bursts; never in a script itself.
    Witness,
}

impl User {
    pub(crate) const ALL: [Self; 3] = [Self::Ann, Self::Bob, Self::Zoe];

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Ann => "ann",
            Self::Bob => "7",
            Self::Zoe => "zoë\"\\&",
            Self::Witness => "witness",
        }
    }
}

/// Where a published event goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Channel(Channel),
    User(User),
}

impl Target {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Channel(channel) => channel.name().to_owned(),
            Self::User(user) => format!("#server-to-user-{}", user.id()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(channel) => write!(f, "{channel:?}"),
            Self::User(user) => write!(f, "{user:?}"),
        }
    }
}
