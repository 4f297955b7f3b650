//! What may happen in a script, who takes part, and how often each thing happens.

use std::fmt;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

/// Clients that act. The first five belong to the shop, the others to the blog.
pub(crate) const CLIENTS: usize = 8;

/// One of two apps with channels of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tenant {
    /// Defaults.
    Shop,
    /// Counts of subscribers, client events everywhere, three users in a presence channel.
    Blog,
}

impl Tenant {
    pub(crate) const ALL: [Self; 2] = [Self::Shop, Self::Blog];
    /// Most users in a presence channel of the blog.
    pub(crate) const BLOG_MEMBERS: usize = 3;

    pub(crate) fn of(client: usize) -> Self {
        if client < 5 { Self::Shop } else { Self::Blog }
    }

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Blog => "blog",
        }
    }

    pub(crate) fn counts(self) -> bool {
        self == Self::Blog
    }

    pub(crate) fn most_members(self) -> usize {
        match self {
            Self::Shop => 100,
            Self::Blog => Self::BLOG_MEMBERS,
        }
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

/// One of the apps' users. The last one's id needs escaping wherever it goes.
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
        f.write_str(&self.name())
    }
}

/// One thing that happens. What a client does that is not connected, it does after connecting.
#[derive(Clone)]
pub(crate) enum Op {
    Connect {
        client: usize,
    },
    /// With a close frame.
    Close {
        client: usize,
    },
    /// Without a word.
    Drop {
        client: usize,
    },
    /// On presence channels as this user, or else as whoever has signed in.
    Subscribe {
        client: usize,
        channel: Channel,
        user: Option<User>,
    },
    /// Subscribes twice, unsubscribes and subscribes, all in one breath. Only in bursts.
    Flap {
        client: usize,
        channel: Channel,
        user: Option<User>,
    },
    Unsubscribe {
        client: usize,
        channel: Channel,
    },
    SignIn {
        client: usize,
        user: User,
        watches: Vec<User>,
    },
    /// A client event.
    Whisper {
        client: usize,
        channel: Channel,
    },
    /// `backend` is one of three that publish at the same time.
    Publish {
        app: Tenant,
        backend: usize,
        to: Vec<Target>,
        except: Option<usize>,
    },
    Terminate {
        app: Tenant,
        user: User,
    },
    /// GETs everything there is to know.
    Ask {
        app: Tenant,
    },
    /// Time passes.
    Pass(Pass),
}

/// How much time. No sum of these is a time at which something is due, so that nothing depends on the order within one
/// instant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pass {
    /// A user who went is still waited for.
    Moment,
    /// Longer than a page takes to load again.
    Absence,
    /// Clients are asked whether they are there, and cached events are forgotten.
    Silence,
}

impl Pass {
    pub(crate) fn length(self) -> Duration {
        Duration::from_millis(match self {
            Self::Moment => 1_200,
            Self::Absence => 2_600,
            Self::Silence => 31_300,
        })
    }
}

/// How long the apps' cache channels remember.
pub(crate) const CACHE_SECONDS: u32 = 10;

impl Op {
    /// Which client does it, if it is one.
    pub(crate) fn client(&self) -> Option<usize> {
        match self {
            Self::Connect { client }
            | Self::Close { client }
            | Self::Drop { client }
            | Self::Subscribe { client, .. }
            | Self::Flap { client, .. }
            | Self::Unsubscribe { client, .. }
            | Self::SignIn { client, .. }
            | Self::Whisper { client, .. } => Some(*client),
            Self::Publish { .. } | Self::Terminate { .. } | Self::Ask { .. } | Self::Pass(_) => {
                None
            }
        }
    }
}

/// One line each, so that a script can be read.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { client } => write!(f, "client {client} connects"),
            Self::Close { client } => write!(f, "client {client} closes"),
            Self::Drop { client } => write!(f, "client {client} hangs up"),
            Self::Subscribe {
                client,
                channel,
                user,
            } if channel.is_presence() => {
                write!(f, "client {client} joins {channel:?} as ")?;
                match user {
                    Some(user) => write!(f, "{user:?}"),
                    None => f.write_str("whoever it is"),
                }
            }
            Self::Subscribe {
                client, channel, ..
            } => write!(f, "client {client} joins {channel:?}"),
            Self::Flap {
                client,
                channel,
                user,
            } => write!(
                f,
                "client {client} comes and goes in {channel:?} as {user:?}"
            ),
            Self::Unsubscribe { client, channel } => {
                write!(f, "client {client} leaves {channel:?}")
            }
            Self::SignIn {
                client,
                user,
                watches,
            } => {
                write!(
                    f,
                    "client {client} signs in as {user:?}, watches {watches:?}"
                )
            }
            Self::Whisper { client, channel } => {
                write!(f, "client {client} whispers in {channel:?}")
            }
            Self::Publish {
                app,
                backend,
                to,
                except,
            } => {
                write!(f, "backend {backend} of {app:?} publishes to {to:?}")?;
                except.map_or(Ok(()), |except| write!(f, " except client {except}"))
            }
            Self::Terminate { app, user } => write!(f, "{app:?} terminates {user:?}"),
            Self::Ask { app } => write!(f, "{app:?} asks"),
            Self::Pass(pass) => write!(f, "{:?} pass", pass.length()),
        }
    }
}

/// Scripts to be played one operation at a time.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Op>> {
    vec(
        prop_oneof![24 => at_once(), 1 => pass().prop_map(Op::Pass)],
        10..60,
    )
}

/// Scripts of bursts: everything in one happens at the same time.
pub(crate) fn bursts() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let channel = proptest::sample::select(&Channel::ALL[..]);
    let user = proptest::option::weighted(0.8, proptest::sample::select(&User::ALL[..]));
    let flap = (0..CLIENTS, channel, user).prop_map(|(client, channel, user)| Op::Flap {
        client,
        channel,
        user,
    });
    vec(vec(prop_oneof![12 => at_once(), 1 => flap], 8..80), 1..4)
}

fn pass() -> impl Strategy<Value = Pass> {
    prop_oneof![Just(Pass::Moment), Just(Pass::Absence), Just(Pass::Silence)]
}

fn at_once() -> impl Strategy<Value = Op> {
    let client = 0..CLIENTS;
    let channel = || proptest::sample::select(&Channel::ALL[..]);
    let user = || proptest::sample::select(&User::ALL[..]);
    let app = || proptest::sample::select(&Tenant::ALL[..]);
    let target = prop_oneof![
        4 => channel().prop_map(Target::Channel),
        1 => user().prop_map(Target::User),
    ];
    let targets = vec(target, 1..4).prop_map(|mut targets| {
        targets.sort();
        targets.dedup();
        targets
    });
    prop_oneof![
        2 => client.clone().prop_map(|client| Op::Connect { client }),
        2 => client.clone().prop_map(|client| Op::Close { client }),
        2 => client.clone().prop_map(|client| Op::Drop { client }),
        14 => (client.clone(), channel(), proptest::option::weighted(0.8, user()))
            .prop_map(|(client, channel, user)| Op::Subscribe { client, channel, user }),
        6 => (client.clone(), channel()).prop_map(|(client, channel)| Op::Unsubscribe { client, channel }),
        5 => (client.clone(), user(), proptest::sample::subsequence(&User::ALL[..], 0..=3))
            .prop_map(|(client, user, watches)| Op::SignIn { client, user, watches }),
        4 => (client.clone(), channel()).prop_map(|(client, channel)| Op::Whisper { client, channel }),
        8 => (app(), 0..3_usize, targets, proptest::option::weighted(0.4, client))
            .prop_map(|(app, backend, to, except)| Op::Publish { app, backend, to, except }),
        1 => (app(), user()).prop_map(|(app, user)| Op::Terminate { app, user }),
        2 => app().prop_map(|app| Op::Ask { app }),
    ]
}
