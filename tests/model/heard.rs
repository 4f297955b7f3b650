//! [`Heard`]: what the hub says to a client, as far as it matters to the model.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// What the hub said.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heard {
    Pong,
    Error(Option<u64>),
    Joined {
        channel: String,
        members: Members,
    },
    Refused {
        channel: String,
        status: u64,
    },
    Missed {
        channel: String,
    },
    Count {
        channel: String,
        count: u64,
    },
    Added {
        channel: String,
        user: String,
        info: String,
    },
    Removed {
        channel: String,
        user: String,
    },
    SignedIn(String),
    Online(String),
    Offline(String),
    Event {
        channel: String,
        name: String,
        data: String,
        user: Option<String>,
    },
    /// With the code of the close frame, if there was one.
    Closed(Option<u16>),
    /// What cannot be understood.
    Nonsense(String),
}

/// Users of a presence channel, with what is known of each.
pub(crate) type Members = BTreeMap<String, String>;

impl Heard {
    /// The channel that it is about.
    pub(crate) fn channel(&self) -> Option<&str> {
        match self {
            Self::Joined { channel, .. }
            | Self::Refused { channel, .. }
            | Self::Missed { channel }
            | Self::Count { channel, .. }
            | Self::Added { channel, .. }
            | Self::Removed { channel, .. }
            | Self::Event { channel, .. } => Some(channel),
            _ => None,
        }
    }

    /// Reads a message; a list of users on- and offline becomes one item each. What is not exactly as it should be, with
    /// nothing left out and nothing more, is [`Self::Nonsense`].
    pub(crate) fn read(text: &str) -> Vec<Self> {
        Self::parse(text).unwrap_or_else(|| vec![Self::Nonsense(text.to_owned())])
    }

    fn parse(text: &str) -> Option<Vec<Self>> {
        let message: Value = serde_json::from_str(text).ok()?;
        let event = message["event"].as_str()?;
        let data = &message["data"];
        let parts: &[&str] = match event {
            "pusher:pong" | "pusher:error" | "pusher:signin_success" => &["event", "data"],
            "pusher_internal:watchlist_events" => &["event", "data"],
            _ if message.get("user_id").is_some() => &["event", "channel", "data", "user_id"],
            _ => &["event", "channel", "data"],
        };
        consists_of(&message, parts)?;
        let channel = || text_of(&message["channel"]);
        let heard = match event {
            "pusher:pong" => {
                consists_of(data, &[])?;
                Self::Pong
            }
            "pusher:error" => {
                consists_of(data, &["code", "message"])?;
                text_of(&data["message"])?;
                Self::Error(data["code"].as_u64())
            }
            "pusher:subscription_error" => {
                consists_of(data, &["type", "error", "status"])?;
                Self::Refused {
                    channel: channel()?,
                    status: data["status"].as_u64()?,
                }
            }
            "pusher:signin_success" => {
                consists_of(data, &["user_data"])?;
                Self::SignedIn(text_of(&within(&data["user_data"])?["id"])?)
            }
            "pusher_internal:watchlist_events" => return watched(&within(data)?),
            "pusher_internal:subscription_succeeded" => Self::Joined {
                channel: channel()?,
                members: members(&channel()?, &within(data)?)?,
            },
            "pusher:cache_miss" => {
                consists_of(&within(data)?, &[])?;
                Self::Missed {
                    channel: channel()?,
                }
            }
            "pusher_internal:subscription_count" => {
                let data = within(data)?;
                consists_of(&data, &["subscription_count"])?;
                Self::Count {
                    channel: channel()?,
                    count: data["subscription_count"].as_u64()?,
                }
            }
            "pusher_internal:member_added" => {
                let data = within(data)?;
                consists_of(&data, &["user_id", "user_info"])?;
                Self::Added {
                    channel: channel()?,
                    user: text_of(&data["user_id"])?,
                    info: data["user_info"].to_string(),
                }
            }
            "pusher_internal:member_removed" => {
                let data = within(data)?;
                consists_of(&data, &["user_id"])?;
                Self::Removed {
                    channel: channel()?,
                    user: text_of(&data["user_id"])?,
                }
            }
            "published" | "client-whisper" => Self::Event {
                channel: channel()?,
                name: event.to_owned(),
                data: text_of(data)?,
                user: match message.get("user_id") {
                    Some(user) => Some(text_of(user)?),
                    None => None,
                },
            },
            _ => return None,
        };
        Some(vec![heard])
    }
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The JSON in a text.
fn within(text: &Value) -> Option<Value> {
    serde_json::from_str(text.as_str()?).ok()
}

/// It must be an object with these keys and no others.
fn consists_of(value: &Value, keys: &[&str]) -> Option<()> {
    let object = value.as_object()?;
    let is_so = object.len() == keys.len() && keys.iter().all(|key| object.contains_key(*key));
    is_so.then_some(())
}

/// What watchers are told.
fn watched(data: &Value) -> Option<Vec<Heard>> {
    consists_of(data, &["events"])?;
    let mut all = Vec::new();
    for group in data["events"].as_array()? {
        consists_of(group, &["name", "user_ids"])?;
        for id in group["user_ids"].as_array()? {
            all.push(match group["name"].as_str()? {
                "online" => Heard::Online(text_of(id)?),
                "offline" => Heard::Offline(text_of(id)?),
                _ => return None,
            });
        }
    }
    Some(all)
}

/// A snapshot, which only presence channels have. Its count, list and object must name the same users.
fn members(channel: &str, data: &Value) -> Option<Members> {
    if !channel.starts_with("presence-") {
        consists_of(data, &[])?;
        return Some(Members::new());
    }
    consists_of(data, &["presence"])?;
    let presence = &data["presence"];
    consists_of(presence, &["count", "ids", "hash"])?;
    let hash = presence["hash"].as_object()?.iter();
    let members: Members = hash
        .map(|(id, info)| (id.clone(), info.to_string()))
        .collect();
    let ids = presence["ids"].as_array()?.iter();
    let mut ids: Vec<&str> = ids.map(Value::as_str).collect::<Option<_>>()?;
    ids.sort_unstable();
    let is_one = members.keys().eq(&ids) && presence["count"] == members.len();
    is_one.then_some(members)
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pong => write!(f, "pong"),
            Self::Error(code) => write!(f, "error {code:?}"),
            Self::Joined { channel, members } => write!(f, "{channel}: joined {members:?}"),
            Self::Refused { channel, status } => write!(f, "{channel}: refused with {status}"),
            Self::Missed { channel } => write!(f, "{channel}: cache miss"),
            Self::Count { channel, count } => write!(f, "{channel}: {count} subscribers"),
            Self::Added {
                channel,
                user,
                info,
            } => write!(f, "{channel}: + {user:?} {info}"),
            Self::Removed { channel, user } => write!(f, "{channel}: - {user:?}"),
            Self::SignedIn(user) => write!(f, "signed in as {user:?}"),
            Self::Online(user) => write!(f, "{user:?} is online"),
            Self::Offline(user) => write!(f, "{user:?} is offline"),
            Self::Event {
                channel,
                name,
                data,
                user,
            } => {
                write!(f, "{channel}: {name} {data:?} by {user:?}")
            }
            Self::Closed(code) => write!(f, "closed with {code:?}"),
            Self::Nonsense(text) => write!(f, "nonsense: {text}"),
        }
    }
}
