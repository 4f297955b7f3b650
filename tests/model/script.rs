//! What may happen in a script, and how often each thing happens.

use std::fmt;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::cast::{CLIENTS, Channel, Named, Target, Tenant, User};

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
    /// Neither speaks nor hears for a moment, as a page that is busy. Only in bursts.
    Doze {
        client: usize,
    },
    /// A client event.
    Whisper {
        client: usize,
        channel: Channel,
    },
    /// One request. `backend` is one of three that publish at the same time.
    Publish {
        app: Tenant,
        backend: usize,
        posts: Posts,
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

/// What one request publishes.
#[derive(Clone)]
pub(crate) enum Posts {
    One(Post),
    /// Each goes to one channel or user.
    Batch(Vec<Post>),
}

/// An event: to whom, and without whom.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) to: Vec<Target>,
    pub(crate) except: Option<usize>,
}

/// How many backends each app has.
pub(crate) const BACKENDS: usize = 3;

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
            Self::Moment => 1_300,
            Self::Absence => 2_600,
            Self::Silence => 31_300,
        })
    }
}

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
            | Self::Doze { client }
            | Self::Whisper { client, .. } => Some(*client),
            Self::Publish { .. } | Self::Terminate { .. } | Self::Ask { .. } | Self::Pass(_) => {
                None
            }
        }
    }
}

impl Posts {
    pub(crate) fn events(&self) -> &[Post] {
        match self {
            Self::One(post) => std::slice::from_ref(post),
            Self::Batch(posts) => posts,
        }
    }
}

/// One line each, so that a script can be read.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(client) = self.client() {
            write!(f, "{} ", Named(client))?;
        }
        let name = |user: &Option<User>| {
            user.map_or("whoever it is".to_owned(), |user| format!("{user:?}"))
        };
        match self {
            Self::Connect { .. } => write!(f, "connects"),
            Self::Close { .. } => write!(f, "closes"),
            Self::Drop { .. } => write!(f, "hangs up"),
            Self::Subscribe { channel, user, .. } if channel.is_presence() => {
                write!(f, "joins {channel:?} as {}", name(user))
            }
            Self::Subscribe { channel, .. } => write!(f, "joins {channel:?}"),
            Self::Flap { channel, user, .. } => {
                write!(f, "comes and goes in {channel:?} as {}", name(user))
            }
            Self::Unsubscribe { channel, .. } => write!(f, "leaves {channel:?}"),
            Self::SignIn { user, watches, .. } => {
                write!(f, "signs in as {user:?}, watches {watches:?}")
            }
            Self::Doze { .. } => write!(f, "dozes"),
            Self::Whisper { channel, .. } => write!(f, "whispers in {channel:?}"),
            Self::Publish {
                app,
                backend,
                posts,
            } => write!(f, "{}'s backend {backend} publishes {posts:?}", app.id()),
            Self::Terminate { app, user } => write!(f, "{} terminates {user:?}", app.id()),
            Self::Ask { app } => write!(f, "{} asks", app.id()),
            Self::Pass(pass) => write!(f, "{:?} pass", pass.length()),
        }
    }
}

impl fmt::Debug for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(post) => write!(f, "{post:?}"),
            Self::Batch(posts) => {
                f.write_str("a batch")?;
                posts.iter().try_for_each(|post| write!(f, " {post:?}"))
            }
        }
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {:?}", self.to)?;
        match self.except {
            Some(client) => write!(f, " except {}", Named(client)),
            None => Ok(()),
        }
    }
}

/// Scripts to be played one operation at a time. They are not bounded from below, so that failures shrink to few lines.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Op>> {
    vec(
        prop_oneof![24 => at_once(), 1 => pass().prop_map(Op::Pass)],
        1..70,
    )
}

/// Scripts of bursts: everything in one happens at the same time.
pub(crate) fn bursts() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let user = proptest::option::weighted(0.8, user());
    let flap = (0..CLIENTS, channel(), user).prop_map(|(client, channel, user)| Op::Flap {
        client,
        channel,
        user,
    });
    let doze = (0..CLIENTS).prop_map(|client| Op::Doze { client });
    let op = prop_oneof![24 => at_once(), 2 => flap, 1 => doze];
    vec(vec(op, 1..85), 1..4)
}

fn pass() -> impl Strategy<Value = Pass> {
    prop_oneof![Just(Pass::Moment), Just(Pass::Absence), Just(Pass::Silence)]
}

fn channel() -> impl Strategy<Value = Channel> {
    select(&Channel::ALL[..])
}

fn user() -> impl Strategy<Value = User> {
    select(&User::ALL[..])
}

fn app() -> impl Strategy<Value = Tenant> {
    select(&Tenant::ALL[..])
}

fn at_once() -> impl Strategy<Value = Op> {
    let client = 0..CLIENTS;
    prop_oneof![
        2 => client.clone().prop_map(|client| Op::Connect { client }),
        2 => client.clone().prop_map(|client| Op::Close { client }),
        2 => client.clone().prop_map(|client| Op::Drop { client }),
        14 => (client.clone(), channel(), proptest::option::weighted(0.8, user()))
            .prop_map(|(client, channel, user)| Op::Subscribe { client, channel, user }),
        6 => (client.clone(), channel()).prop_map(|(client, channel)| Op::Unsubscribe { client, channel }),
        5 => (client.clone(), user(), subsequence(&User::ALL[..], 0..=3))
            .prop_map(|(client, user, watches)| Op::SignIn { client, user, watches }),
        4 => (client, channel()).prop_map(|(client, channel)| Op::Whisper { client, channel }),
        9 => (app(), 0..BACKENDS, posts())
            .prop_map(|(app, backend, posts)| Op::Publish { app, backend, posts }),
        1 => (app(), user()).prop_map(|(app, user)| Op::Terminate { app, user }),
        2 => app().prop_map(|app| Op::Ask { app }),
    ]
}

fn posts() -> impl Strategy<Value = Posts> {
    let target = || {
        prop_oneof![
            4 => channel().prop_map(Target::Channel),
            1 => user().prop_map(Target::User),
        ]
    };
    // Somebody of whatever app: the socket ids of other apps' clients name nobody.
    let except = || proptest::option::weighted(0.4, 0..CLIENTS);
    let one = (vec(target(), 1..4), except()).prop_map(|(mut to, except)| {
        to.sort();
        to.dedup();
        Posts::One(Post { to, except })
    });
    let entry = (target(), except()).prop_map(|(to, except)| Post {
        to: vec![to],
        except,
    });
    prop_oneof![2 => one, 1 => vec(entry, 1..5).prop_map(Posts::Batch)]
}
