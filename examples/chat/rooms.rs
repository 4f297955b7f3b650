//! The rooms, who may enter them, and what was said in them.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use serde::Serialize;

use crate::people::Person;

/// A room, and the presence channel of the same name.
#[derive(Debug, Serialize)]
pub(crate) struct Room {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    /// Who may enter; everybody if it is empty.
    #[serde(skip)]
    only: &'static [&'static str],
}

pub(crate) const ROOMS: [Room; 3] = [
    Room {
        id: "lobby",
        title: "Lobby",
        about: "Where everybody comes in",
        only: &[],
    },
    Room {
        id: "garden",
        title: "Garden",
        about: "Fresh air and small talk",
        only: &[],
    },
    Room {
        id: "workshop",
        title: "Workshop",
        about: "For Ada and Grace",
        only: &["Ada", "Grace"],
    },
];

impl Room {
    pub(crate) fn find(id: &str) -> Option<&'static Self> {
        ROOMS.iter().find(|room| room.id == id)
    }

    pub(crate) fn channel(&self) -> String {
        format!("presence-{}", self.id)
    }

    pub(crate) fn lets_in(&self, person: &Person) -> bool {
        let is_person =
            |name: &&str| Person::named(name).is_some_and(|other| other.id == person.id);
        self.only.is_empty() || self.only.iter().any(is_person)
    }
}

/// The channel on which a person is told of what concerns nobody else.
pub(crate) fn inbox(person: &Person) -> String {
    format!("private-inbox-{}", person.id)
}

/// Whether this person may hear what is said in this channel.
pub(crate) fn may_hear(person: &Person, channel: &str) -> bool {
    match channel.strip_prefix("presence-").and_then(Room::find) {
        Some(room) => room.lets_in(person),
        None => channel == inbox(person),
    }
}

/// Something that was said.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Message {
    /// Counts up, so that the page knows what it has.
    pub(crate) id: u64,
    pub(crate) room: &'static str,
    pub(crate) from: Person,
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
}

impl Message {
    /// Longest text in bytes.
    pub(crate) const LONGEST: usize = 2000;

    /// Whom it mentions, as in `@Ada`.
    pub(crate) fn mentions(&self) -> impl Iterator<Item = Person> {
        let words = self.text.split_whitespace();
        let names = words.filter_map(|word| word.strip_prefix('@'));
        names
            .filter_map(|name| Person::named(name.trim_end_matches(|c: char| !c.is_alphanumeric())))
    }
}

/// What was said lately, for those who come later.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last_id: u64,
    rooms: HashMap<&'static str, VecDeque<Message>>,
}

impl History {
    /// So many messages of each room are kept.
    const KEPT: usize = 50;

    pub(crate) fn add(&self, room: &'static Room, from: Person, text: String, at: u64) -> Message {
        let mut said = self.0.lock().expect("nobody panics with the lock");
        said.last_id += 1;
        let message = Message {
            id: said.last_id,
            room: room.id,
            from,
            text,
            at,
        };
        let messages = said.rooms.entry(room.id).or_default();
        if messages.len() == Self::KEPT {
            messages.pop_front();
        }
        messages.push_back(message.clone());
        message
    }

    pub(crate) fn of(&self, room: &Room) -> Vec<Message> {
        let said = self.0.lock().expect("nobody panics with the lock");
        let messages = said.rooms.get(room.id);
        messages.into_iter().flatten().cloned().collect()
    }
}
