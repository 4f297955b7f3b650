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

    /// Reads a message; a list of users on- and offline becomes one item each.
    pub(crate) fn read(text: &str) -> Vec<Self> {
        let message: Value = serde_json::from_str(text).expect("the hub sends JSON");
        let field = |name: &str| message[name].as_str().map(str::to_owned);
        let channel = || field("channel").unwrap_or_else(|| panic!("no channel: {text}"));
        let data = || {
            let data = field("data").unwrap_or_else(|| panic!("the data must be text: {text}"));
            serde_json::from_str::<Value>(&data)
                .unwrap_or_else(|_| panic!("no JSON in the data: {text}"))
        };
        let text_of = |value: &Value| {
            value
                .as_str()
                .unwrap_or_else(|| panic!("no text: {text}"))
                .to_owned()
        };
        let event = field("event").expect("an event's name");
        let heard = match &*event {
            "pusher:pong" => Self::Pong,
            "pusher:error" => Self::Error(message["data"]["code"].as_u64()),
            "pusher_internal:subscription_succeeded" => {
                let members = if channel().starts_with("presence-") {
                    members(&data())
                } else {
                    Members::new()
                };
                Self::Joined {
                    channel: channel(),
                    members,
                }
            }
            "pusher:subscription_error" => {
                let status = message["data"]["status"].as_u64().expect("a status");
                Self::Refused {
                    channel: channel(),
                    status,
                }
            }
            "pusher:cache_miss" => Self::Missed { channel: channel() },
            "pusher_internal:subscription_count" => {
                let count = data()["subscription_count"].as_u64().expect("a count");
                Self::Count {
                    channel: channel(),
                    count,
                }
            }
            "pusher_internal:member_added" => {
                let data = data();
                let (user, info) = (text_of(&data["user_id"]), data["user_info"].to_string());
                Self::Added {
                    channel: channel(),
                    user,
                    info,
                }
            }
            "pusher_internal:member_removed" => Self::Removed {
                channel: channel(),
                user: text_of(&data()["user_id"]),
            },
            "pusher:signin_success" => {
                let user_data: Value =
                    serde_json::from_str(&text_of(&message["data"]["user_data"])).expect("JSON");
                Self::SignedIn(text_of(&user_data["id"]))
            }
            "pusher_internal:watchlist_events" => {
                let users = |group: &Value| -> Vec<Self> {
                    let ids = group["user_ids"].as_array().expect("ids").iter();
                    match group["name"].as_str() {
                        Some("online") => ids.map(|id| Self::Online(text_of(id))).collect(),
                        Some("offline") => ids.map(|id| Self::Offline(text_of(id))).collect(),
                        _ => panic!("neither online nor offline: {text}"),
                    }
                };
                return data()["events"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .flat_map(users)
                    .collect();
            }
            _ => {
                let data = field("data").unwrap_or_else(|| panic!("the data must be text: {text}"));
                Self::Event {
                    channel: channel(),
                    name: event,
                    data,
                    user: field("user_id"),
                }
            }
        };
        vec![heard]
    }
}

/// Count, list and object of a snapshot must name the same users.
fn members(data: &Value) -> Members {
    let presence = &data["presence"];
    let hash = presence["hash"].as_object().expect("an object");
    let members: Members = hash
        .iter()
        .map(|(id, info)| (id.clone(), info.to_string()))
        .collect();
    let mut ids: Vec<&str> = presence["ids"]
        .as_array()
        .expect("ids")
        .iter()
        .map(|id| id.as_str().expect("text"))
        .collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        members.keys().collect::<Vec<_>>(),
        "ids and hash differ"
    );
    assert_eq!(
        presence["count"].as_u64(),
        Some(members.len() as u64),
        "the count differs"
    );
    members
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
        }
    }
}
