//! [`Rooms`]: who sits where on this shard. Joining and leaving move one guest at most.

use std::sync::Arc;
use std::time::Instant;

use crate::protocol::UserId;
use crate::session::{Chair, Seat};

use super::channel::Channel;
use super::desk::Desk;
use super::directory::Directory;
use super::shards::Shards;

/// The channels that this shard holds.
#[derive(Debug)]
pub(super) struct Rooms {
    directory: Arc<Directory>,
    shard: usize,
    rooms: Vec<Option<Box<Room>>>,
    free: Vec<u32>,
}

/// One channel on this shard.
#[derive(Debug)]
pub(super) struct Room {
    /// The number of the app on this shard.
    pub(super) app: u32,
    pub(super) channel: Arc<Channel>,
    desk: Arc<Desk>,
    pub(super) guests: Vec<Guest>,
    /// What is known of the guests of a numbered channel beside.
    numbered: Option<Box<Numbered>>,
}

/// What is known of the guests of a presence or cache channel, place by place.
#[derive(Debug, Default)]
struct Numbered {
    /// From which number on notices are news for the guest.
    since: Vec<u64>,
    /// As whom the guests sit here; on presence channels only.
    users: Vec<UserId>,
}

/// A connection in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    pub(super) slot: u32,
    chair: u32,
}

/// The mark of the user's seat, where others have their place in the session's list.
const USER: u32 = u32::MAX;

impl Guest {
    pub(super) fn new(slot: u32, chair: Chair) -> Self {
        let chair = match chair {
            Chair::Subscription(n) => n,
            Chair::User => USER,
        };
        Self { slot, chair }
    }

    pub(super) fn chair(self) -> Chair {
        if self.chair == USER {
            Chair::User
        } else {
            Chair::Subscription(self.chair)
        }
    }
}

impl Room {
    /// Whether a notice of this number is news for the guest at this place; 0 is news for everybody.
    pub(super) fn is_news(&self, place: usize, number: u64) -> bool {
        let since = || self.numbered.as_ref()?.since.get(place);
        number == 0 || since().is_none_or(|since| *since < number)
    }

    /// The slots of those who sit here as this user.
    pub(super) fn slots_of(&self, user: &UserId) -> impl Iterator<Item = u32> {
        let users = self.numbered.iter().flat_map(|numbered| &numbered.users);
        users
            .zip(&self.guests)
            .filter(move |(other, _)| *other == user)
            .map(|(_, guest)| guest.slot)
    }
}

impl Rooms {
    pub(super) fn new(directory: Arc<Directory>, shard: usize) -> Self {
        Self {
            directory,
            shard,
            rooms: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Opens a room for a channel.
    pub(super) fn open(&mut self, app: u32, channel: Arc<Channel>, desk: Arc<Desk>) -> u32 {
        let room = Room {
            app,
            channel,
            desk,
            guests: Vec::new(),
            numbered: None,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.rooms.push(None);
            self.rooms.len() as u32 - 1
        });
        self.rooms[index as usize] = Some(Box::new(room));
        index
    }

    pub(super) fn get(&self, room: u32) -> Option<&Room> {
        self.rooms.get(room as usize)?.as_deref()
    }

    /// All rooms of this app.
    pub(super) fn of_app(&self, app: u32) -> impl Iterator<Item = &Room> {
        self.rooms
            .iter()
            .flatten()
            .map(|room| &**room)
            .filter(move |room| room.app == app)
    }

    /// Seats a guest who has joined the channel; `number` is that of what it was told.
    pub(super) fn seat(
        &mut self,
        room: u32,
        guest: Guest,
        user: Option<UserId>,
        number: u64,
    ) -> Seat {
        let entry = self.rooms[room as usize]
            .as_mut()
            .expect("a room is open while somebody comes");
        let place = entry.guests.len() as u32;
        if place == 0 {
            entry.guests.reserve_exact(1);
        }
        entry.guests.push(guest);
        if entry.channel.is_numbered() {
            let numbered = entry.numbered.get_or_insert_default();
            numbered.since.push(number);
            numbered.users.extend(user);
        }
        Seat { room, place }
    }

    /// Gives up a seat. The guest who sat last in the room takes it: its new seat is returned. An emptied room is closed
    /// and returned too.
    pub(super) fn leave(
        &mut self,
        seat: Seat,
        now: Instant,
    ) -> (Option<(Guest, Seat)>, Option<Box<Room>>) {
        let Some(room) = self.rooms[seat.room as usize].as_mut() else {
            return (None, None);
        };
        let place = seat.place as usize;
        room.guests.swap_remove(place);
        let mut user = None;
        if let Some(numbered) = &mut room.numbered {
            (place < numbered.since.len()).then(|| numbered.since.swap_remove(place));
            user = (place < numbered.users.len()).then(|| numbered.users.swap_remove(place));
        }
        let emptied = match room.guests.is_empty() {
            true => Shards::one(self.shard),
            false => Shards::default(),
        };
        room.channel
            .leave(&self.directory, &room.desk, user.as_ref(), emptied, now);
        let moved = room.guests.get(place).map(|guest| (*guest, seat));
        if !room.guests.is_empty() {
            return (moved, None);
        }
        self.free.push(seat.room);
        (None, self.rooms[seat.room as usize].take())
    }

    /// The chair of a guest has another place in its session's list.
    pub(super) fn set_chair(&mut self, seat: Seat, chair: Chair) {
        let room = self.rooms[seat.room as usize].as_mut();
        if let Some(guest) = room.and_then(|room| room.guests.get_mut(seat.place as usize)) {
            *guest = Guest::new(guest.slot, chair);
        }
    }

    fn last_place(&self, room: u32) -> Option<u32> {
        (self.get(room)?.guests.len() as u32).checked_sub(1)
    }

    /// Takes everybody out, in the directory too: the shard ends.
    pub(super) fn clear(&mut self, now: Instant) {
        for room in 0..self.rooms.len() as u32 {
            while let Some(place) = self.last_place(room) {
                self.leave(Seat { room, place }, now);
            }
        }
    }
}
