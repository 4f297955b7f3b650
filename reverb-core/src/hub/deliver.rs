//! Handing out and writing: an event into the outboxes of a room, and outboxes onto the wire.

use std::sync::Arc;
use std::task::Poll;

use crate::protocol::{Close, Outgoing, SocketId, UserId};

use super::Desk;
use super::connection::{BEHIND, Codec, Connection, MOST_WAITING, NO_PROGRESS_TIMEOUT, Role, at};
use super::mailbox::Parcel;
use super::outbox::Frame;
use super::shard::Shard;

/// A room of at most so many is written with the answers: it shall not wait behind one of thousands.
const SMALL_ROOM: usize = 32;
impl Shard {
    /// Hands out a message that came by mail.
    pub(super) fn deliver(&mut self, parcel: Parcel) {
        let Parcel {
            desk,
            channel,
            message,
            number,
            except,
            release,
        } = parcel;
        self.hand_out(&desk, channel.as_str(), &message, number, except);
        if let Some(release) = release
            && let Some(app) = self.apps.find(&desk)
        {
            self.apps.follow(app, release);
        }
    }

    /// Hands out a message to everybody here who sits in this channel.
    pub(super) fn hand_out(
        &mut self,
        desk: &Arc<Desk>,
        channel: &str,
        message: &Outgoing,
        number: u64,
        except: Option<SocketId>,
    ) {
        let room = self
            .apps
            .find(desk)
            .and_then(|app| self.apps.get(app).rooms.get(channel).copied());
        if let Some(room) = room {
            self.fan_out(room, message, number, except);
        }
    }

    /// The same frame into every guest's outbox, and each socket onto a list, once.
    pub(super) fn fan_out(
        &mut self,
        room: u32,
        message: &Outgoing,
        number: u64,
        except: Option<SocketId>,
    ) {
        let Self {
            rooms,
            connections,
            answers,
            apps,
            spare,
            behind,
            touched,
            ..
        } = self;
        let Some(room) = rooms.get(room) else { return };
        let is_small = room.guests.len() <= SMALL_ROOM;
        let frame = message.shared();
        let mut delivered = 0;
        for (place, guest) in room.guests.iter().enumerate() {
            if !room.is_news(place, number) {
                continue;
            }
            let Some(connection) = at(connections, guest.slot) else {
                continue;
            };
            if except.is_some()
                && connection.guest().map(|guest| guest.session.socket_id()) == except
            {
                continue;
            }
            delivered += 1;
            let own = match &connection.codec {
                Codec::WebSocket(_) => frame.clone(),
                Codec::Other(_) => connection.codec.message(message),
            };
            connection.outbox.push(own, spare);
            if connection.outbox.weight() > BEHIND {
                behind.push(guest.slot);
            }
            if !connection.is_listed && !connection.is_stuck() {
                connection.is_listed = true;
                if is_small {
                    answers.push(guest.slot)
                } else {
                    apps.ride(room.app, guest.slot)
                }
            }
        }
        *touched += delivered;
        self.shared
            .metrics
            .delivered(&apps.get(room.app).app.id, delivered);
        self.look_after();
    }

    /// Looks at those who are far behind: what the peer takes is written at once; who takes nothing is cut in the end.
    fn look_after(&mut self) {
        let now = self.now;
        while let Some(slot) = self.behind.pop() {
            if self
                .connection(slot)
                .is_some_and(|connection| !connection.is_stuck())
            {
                self.write(slot);
            }
            let Some(connection) = self
                .connection(slot)
                .filter(|connection| connection.is_stuck())
            else {
                continue;
            };
            // One frame larger than the bound may drain.
            if connection.outbox.weight() > MOST_WAITING && connection.outbox.frames() > 1 {
                self.cut(slot);
            } else {
                let since = connection.stuck_since.unwrap_or(now);
                self.arm(slot, since + NO_PROGRESS_TIMEOUT);
            }
        }
    }

    /// Drops what waits for a peer who does not take it, and tells it so.
    pub(super) fn cut(&mut self, slot: u32) {
        if !self.is_guest(slot) {
            return self.end(slot);
        }
        let Some(connection) = self.connection(slot) else {
            return;
        };
        let lost = connection.outbox.cut();
        let app = connection.guest().map(|guest| guest.app);
        if let Some(app) = app {
            let id = self.apps.get(app).app.id.clone();
            self.shared.metrics.cut(&id, lost);
            tracing::info!(app = %id, bytes = lost, "a client read too slowly and was cut");
        }
        self.close(slot, Close::TOO_SLOW);
    }

    /// Tells those here who watch a user that it came or went.
    pub(super) fn deliver_watched(
        &mut self,
        desk: &Arc<Desk>,
        user: &UserId,
        message: &Outgoing,
        number: u64,
    ) {
        let Some(app) = self.apps.find(desk) else {
            return;
        };
        let watchers = self
            .apps
            .get(app)
            .watchers
            .get(user)
            .cloned()
            .unwrap_or_default();
        for (slot, since) in watchers {
            if since < number {
                self.say_message(slot, message);
            }
        }
    }

    /// Puts a message into a connection's outbox that it should hear at once.
    pub(super) fn say_message(&mut self, slot: u32, message: &Outgoing) {
        if let Some(connection) = self.connection(slot) {
            let frame = connection.codec.message(message);
            self.say(slot, frame);
        }
    }

    /// Puts something into a connection's outbox that it should hear at once.
    pub(super) fn say(&mut self, slot: u32, frame: Frame) {
        if let Some(connection) = self.push(slot, frame) {
            connection.is_listed = true;
            self.answers.push(slot);
        }
    }

    /// Puts an answer into a connection's outbox that shall be written behind what is in its app's ring.
    pub(super) fn say_in_ring(&mut self, slot: u32, app: u32, frame: Frame) {
        if let Some(connection) = self.push(slot, frame) {
            connection.is_listed = true;
            self.apps.ride(app, slot);
        }
    }

    /// The connection, if it must be put on a list now. One that leaves hears nothing any more.
    fn push(&mut self, slot: u32, frame: Frame) -> Option<&mut Connection> {
        let Self {
            connections, spare, ..
        } = self;
        let connection = at(connections, slot)?;
        if matches!(&connection.role, Role::Leaving(leaving) if !leaving.hears) {
            return None;
        }
        connection.outbox.push(frame, spare);
        (!connection.is_listed && !connection.is_stuck()).then_some(connection)
    }

    /// Writes every connection that has an answer to hear, or an event of a small room.
    pub(super) fn write_answers(&mut self) {
        let mut answers = std::mem::take(&mut self.answers);
        for slot in answers.drain(..) {
            self.write_listed(slot);
        }
        // What came meanwhile, as the next answer of a connection that was called back.
        answers.append(&mut self.answers);
        self.answers = answers;
    }

    /// Writes a slice of the ring whose turn it is.
    pub(super) fn write_slice(&mut self, length: usize) {
        let mut slots = std::mem::take(&mut self.slice);
        let mut releases = Vec::new();
        self.apps.next_slice(length, &mut slots, &mut releases);
        for slot in slots.drain(..) {
            self.write_listed(slot);
        }
        self.slice = slots;
        // Written is what was before them: now their publishers are told.
        drop(releases);
        if self.apps.are_idle() {
            self.joiner.clear();
        }
    }

    /// Writes a socket that was taken off its list.
    fn write_listed(&mut self, slot: u32) {
        if let Some(connection) = self.connection(slot) {
            connection.is_listed = false;
            self.write(slot);
        }
    }

    /// Writes what waits for a socket until there is no more, or it takes no more.
    pub(super) fn write(&mut self, slot: u32) {
        let Self {
            connections,
            joiner,
            spare,
            now,
            ..
        } = self;
        let Some(connection) = at(connections, slot) else {
            return;
        };
        while !connection.outbox.is_empty() {
            let bytes = joiner.next(&connection.outbox);
            match connection.stream.write(&connection.waker, bytes) {
                Poll::Ready(Ok(0) | Err(_)) => return self.end(slot),
                Poll::Ready(Ok(n)) => {
                    connection.outbox.advance(n, spare);
                    connection.stuck_since = None;
                }
                Poll::Pending => return self.is_blocked(slot),
            }
        }
        match connection.stream.flush(&connection.waker) {
            Poll::Ready(Ok(())) => connection.stuck_since = None,
            Poll::Ready(Err(_)) => return self.end(slot),
            Poll::Pending => {
                connection.stuck_since.get_or_insert(*now);
                return;
            }
        }
        match &mut connection.role {
            Role::Guest(_) => {}
            Role::Front(_) => self.written(slot),
            Role::Leaving(_) => self.shut(slot),
        }
    }

    /// The peer takes nothing more: its waker brings it back.
    fn is_blocked(&mut self, slot: u32) {
        let now = self.now;
        let Some(connection) = self.connection(slot) else {
            return;
        };
        connection.stuck_since.get_or_insert(now);
        if connection.outbox.weight() > BEHIND {
            self.arm(slot, now + NO_PROGRESS_TIMEOUT);
        }
    }
}
