//! [`Presence`]: the users of one presence channel, kept as the snapshot that newcomers get.

use std::collections::HashMap;

use crate::protocol::outgoing::{presence_entry, presence_id};
use crate::protocol::{Member, Outgoing, UserId};
use crate::session::Refusal;

/// The users of one presence channel.
///
/// The snapshot is kept encoded: a join copies it once, a leave drains its piece.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// How many connections each user has here.
    connections: HashMap<UserId, u32>,
    /// The users in the order of the snapshot, each with the length of its piece of both lists, comma included.
    order: Vec<(UserId, Piece)>,
    ids: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    ids: u32,
    hash: u32,
}

impl Presence {
    /// One more connection of this user. True if it is the user's first.
    pub(super) fn enter(&mut self, member: &Member, max: usize) -> Result<bool, Refusal> {
        if let Some(connections) = self.connections.get_mut(&member.id) {
            // What the others were told of the user stays true until it has left.
            *connections += 1;
            return Ok(false);
        }
        if self.order.len() >= max {
            return Err(Refusal::Full(max));
        }
        let (ids, hash) = (self.ids.len(), self.hash.len());
        presence_id(&mut self.ids, &member.id);
        presence_entry(&mut self.hash, member);
        self.ids.push(b',');
        self.hash.push(b',');
        let piece = Piece {
            ids: (self.ids.len() - ids) as u32,
            hash: (self.hash.len() - hash) as u32,
        };
        self.order.push((member.id.clone(), piece));
        self.connections.insert(member.id.clone(), 1);
        Ok(true)
    }

    /// One connection less. True if it was the user's last.
    pub(super) fn leave(&mut self, user: &UserId) -> bool {
        let Some(connections) = self.connections.get_mut(user) else {
            return false;
        };
        *connections -= 1;
        if *connections > 0 {
            return false;
        }
        self.connections.remove(user);
        let (mut ids, mut hash) = (0, 0);
        let Some(n) = self.order.iter().position(|(other, piece)| {
            let found = other == user;
            if !found {
                ids += piece.ids as usize;
                hash += piece.hash as usize;
            }
            found
        }) else {
            return false;
        };
        let (_, piece) = self.order.remove(n);
        self.ids.drain(ids..ids + piece.ids as usize);
        self.hash.drain(hash..hash + piece.hash as usize);
        true
    }

    /// How many users there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.order.iter().map(|(user, _)| user)
    }

    /// What a newcomer is told.
    pub(super) fn snapshot(&self, channel: &str) -> Outgoing {
        let list = |bytes: &'_ Vec<u8>| bytes.len().saturating_sub(1);
        Outgoing::presence_succeeded(
            channel,
            self.order.len(),
            &self.ids[..list(&self.ids)],
            &self.hash[..list(&self.hash)],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str) -> Member {
        Member {
            id: UserId::new(id).expect("an id"),
            info: serde_json::json!({ "n": id }).to_string().into(),
        }
    }

    fn ids(presence: &Presence) -> Vec<String> {
        let snapshot = presence.snapshot("presence-r");
        let outer: serde_json::Value = serde_json::from_str(snapshot.text()).expect("JSON");
        let inner: serde_json::Value =
            serde_json::from_str(outer["data"].as_str().expect("a string")).expect("JSON in it");
        let inner = &inner["presence"];
        let ids: Vec<String> = inner["ids"]
            .as_array()
            .expect("ids")
            .iter()
            .map(|id| id.as_str().expect("text").into())
            .collect();
        assert_eq!(inner["count"], ids.len());
        assert_eq!(
            inner["hash"].as_object().expect("an object").len(),
            ids.len()
        );
        ids.iter()
            .for_each(|id| assert_eq!(inner["hash"][id]["n"], **id));
        ids
    }

    #[test]
    fn the_snapshot_follows_who_comes_and_goes() {
        let mut presence = Presence::default();
        assert_eq!(ids(&presence), Vec::<String>::new());
        for id in ["a", "b\"", "c"] {
            assert!(presence.enter(&member(id), 3).expect("room"));
        }
        assert!(
            !presence
                .enter(&member("a"), 3)
                .expect("a member's second tab needs no room")
        );
        assert!(matches!(
            presence.enter(&member("d"), 3),
            Err(Refusal::Full(3))
        ));
        assert!(!presence.leave(&member("a").id));
        assert_eq!(ids(&presence), ["a", "b\"", "c"]);
        assert!(presence.leave(&member("b\"").id));
        assert_eq!(ids(&presence), ["a", "c"]);
        assert!(presence.leave(&member("a").id));
        assert!(presence.leave(&member("c").id));
        assert!(!presence.leave(&member("c").id));
        assert_eq!(ids(&presence), Vec::<String>::new());
    }
}
