//! [`Rooms`]: who sits where on this shard. Joining and leaving move one guest at most.

use std::sync::Arc;
use std::time::Instant;

use crate::protocol::UserId;
use crate::session::{Chair, Seat};

use super::channel::Channel;
use super::desk::Desk;
use super::directory::Directory;

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
    /// As whom the guests sit here, place by place; on presence channels only.
    users: Vec<UserId>,
    /// From which number on notices are news for the guest, place by place; on numbered channels only.
    since: Vec<u64>,
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
        number == 0 || self.since.get(place).is_none_or(|since| *since < number)
    }

    /// The slots of those who sit here as this user.
    pub(super) fn slots_of(&self, user: &UserId) -> impl Iterator<Item = u32> {
        self.users
            .iter()
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
            users: Vec::new(),
            since: Vec::new(),
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
        entry.users.extend(user);
        if entry.channel.is_numbered() {
            entry.since.push(number);
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
        let user = (!room.users.is_empty()).then(|| room.users.swap_remove(place));
        if !room.since.is_empty() {
            room.since.swap_remove(place);
        }
        room.channel
            .leave(&self.directory, &room.desk, self.shard, user.as_ref(), now);
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

    /// Takes everybody out, in the directory too: the shard ends.
    pub(super) fn clear(&mut self, now: Instant) {
        for room in std::mem::take(&mut self.rooms).into_iter().flatten() {
            for place in 0..room.guests.len() {
                room.channel.leave(
                    &self.directory,
                    &room.desk,
                    self.shard,
                    room.users.get(place),
                    now,
                );
            }
        }
        self.free.clear();
    }
}
