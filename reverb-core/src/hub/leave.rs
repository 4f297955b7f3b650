//! The way out: deadlines, closing, the farewell, and [`Shard::end`], through which everybody goes in the end.

use std::sync::Arc;
use std::time::Duration;

use crate::hooks::Pass;
use crate::protocol::{Close, SocketId, UserId};

use super::Desk;
use super::connection::{
    BEHIND, CLOSE_TIMEOUT, Connection, FAREWELL_TIMEOUT, Guest, Leaving, NO_PROGRESS_TIMEOUT, Role,
    Stage, at,
};
use super::mailbox::PassTest;
use super::shard::Shard;

impl Shard {
    /// Closes a connection with this code; what was said before goes out first.
    pub(super) fn close(&mut self, slot: u32, close: Close) {
        if let Some(announcement) = close.announcement() {
            self.say_message(slot, &announcement);
        }
        self.say_close(slot, &close);
    }

    /// The close frame, and nothing after it.
    pub(super) fn say_close(&mut self, slot: u32, close: &Close) {
        if let Some(connection) = self.connection(slot) {
            let frame = connection.codec.close(close);
            self.say(slot, frame);
        }
        self.start_leaving(slot);
    }

    /// From now on the connection only hears what is left for it.
    pub(super) fn start_leaving(&mut self, slot: u32) {
        let now = self.now;
        let Some(connection) = self.connection(slot) else {
            return;
        };
        if let Role::Leaving(leaving) = &mut connection.role {
            leaving.hears = false;
            return;
        }
        connection.tail = Vec::new();
        let role = std::mem::replace(&mut connection.role, Role::Leaving(Leaving::new(now)));
        self.arm(slot, now + FAREWELL_TIMEOUT);
        if let Role::Guest(guest) = role {
            self.see_off(slot, guest);
        }
    }

    /// The peer has said its last word: once everything is written nobody waits for it.
    pub(super) fn is_through(&mut self, slot: u32) {
        if let Some(Role::Leaving(leaving)) = self.connection(slot).map(|it| &mut it.role) {
            leaving.patience = 0;
        }
    }

    /// Everything is written: shuts the writing side, and waits a moment for the peer to close.
    pub(super) fn shut(&mut self, slot: u32) {
        let until = self.now + CLOSE_TIMEOUT;
        let Some(connection) = self.connection(slot) else {
            return;
        };
        let Connection {
            role: Role::Leaving(leaving),
            stream,
            waker,
            ..
        } = connection
        else {
            return;
        };
        if !std::mem::replace(&mut leaving.is_shut, true) {
            leaving.until = leaving.until.min(until);
            let is_through = leaving.patience == 0;
            // Closing a TCP socket shuts it as well.
            if !(is_through && stream.is_tcp()) {
                let _ = stream.shutdown(waker);
            }
            if is_through {
                return self.end(slot);
            }
            self.arm(slot, until);
            self.ready.push_back(slot);
        }
    }

    /// Takes a connection out of the list of connections; its slot is free at the end of the turn.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Connection>> {
        let connection = self.connections.get_mut(slot as usize)?.take()?;
        self.left.push(slot);
        Some(connection)
    }

    /// Ends a connection, whatever it was: the only way out.
    pub(super) fn end(&mut self, slot: u32) {
        let Some(connection) = self.remove(slot) else {
            return;
        };
        if let Role::Guest(guest) = connection.role {
            self.see_off(slot, guest);
        }
    }

    /// A connection's place in everything but the list of connections is free again.
    pub(super) fn see_off(&mut self, slot: u32, guest: Guest) {
        let Guest {
            app,
            session,
            extra,
            ..
        } = &guest;
        let app = *app;
        let local = self.apps.get_mut(app);
        for user in extra.iter().flat_map(|extra| &extra.watches) {
            if let Some(watchers) = local.watchers.get_mut(user) {
                watchers.remove(&slot);
                if watchers.is_empty() {
                    local.watchers.remove(user);
                }
            }
            super::users::unwatch(&local.desk, user, self.index);
        }
        let seats = session
            .subscriptions()
            .iter()
            .map(|subscription| subscription.seat);
        for seat in seats.chain(session.user().and_then(|user| user.seat)) {
            self.give_up(seat);
        }
        self.shared
            .is_gone(&self.apps.get(app).app.id, session.socket_id());
        for ride in self.apps.leave(app) {
            if let super::apps::Ride::Slot(slot) = ride {
                self.answers.push(slot);
            }
        }
    }

    /// Whether the connection is a guest's.
    pub(super) fn is_guest(&mut self, slot: u32) -> bool {
        self.connection(slot)
            .is_some_and(|connection| matches!(connection.role, Role::Guest(_)))
    }

    /// A deadline may have passed.
    pub(super) fn time_out(&mut self, slot: u32) {
        let Self {
            connections,
            apps,
            wishes,
            now,
            ..
        } = self;
        let now = *now;
        let Some(connection) = at(connections, slot) else {
            return;
        };
        let owes_much = connection.outbox.weight() > BEHIND;
        if owes_much
            && connection
                .stuck_since
                .is_some_and(|since| now >= since + NO_PROGRESS_TIMEOUT)
        {
            return self.cut(slot);
        }
        let stuck = connection
            .stuck_since
            .filter(|_| owes_much)
            .map(|since| since + NO_PROGRESS_TIMEOUT);
        let next = match &mut connection.role {
            Role::Guest(guest) => {
                let app = apps.get(guest.app).app.clone();
                guest.session.handle_timeout(&app, now, wishes);
                let next = guest.session.next_timeout(&app);
                self.carry_out(slot, &app);
                // If it answers a ping it is to be asked again sooner than it would have been given up.
                next.min(now + app.activity_timeout)
            }
            Role::Leaving(leaving) if now >= leaving.until => return self.end(slot),
            Role::Leaving(leaving) => leaving.until,
            Role::Front(front) if now >= front.until => {
                let is_begun = matches!(front.stage, Stage::Head | Stage::Body);
                return self.give_up_on(slot, is_begun);
            }
            Role::Front(front) => front.until,
        };
        self.arm(slot, stuck.map_or(next, |stuck| stuck.min(next)));
    }

    /// A request did not come in time.
    fn give_up_on(&mut self, slot: u32, is_begun: bool) {
        if !is_begun {
            return self.end(slot);
        }
        self.say(
            slot,
            super::reply::response(&crate::wire::error::ApiError::too_slow(), true),
        );
        self.start_leaving(slot);
    }

    /// Closes every connection of this user: those that have signed in, and, as at Reverb, those that are present by
    /// this id.
    pub(super) fn terminate(&mut self, desk: &Arc<Desk>, user: &UserId) {
        let Some(app) = self.apps.find(desk) else {
            return;
        };
        let mut slots: Vec<u32> = self
            .rooms
            .of_app(app)
            .flat_map(|room| room.slots_of(user))
            .collect();
        let channel = crate::protocol::ChannelName::of_user(user.as_str());
        if let Some(room) = self
            .apps
            .get(app)
            .rooms
            .get(channel.as_str())
            .and_then(|room| self.rooms.get(*room))
        {
            slots.extend(room.guests.iter().map(|guest| guest.slot));
        }
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            self.close(slot, Close::TERMINATED);
        }
    }

    /// Closes the connection of this name.
    pub(super) fn close_socket(&mut self, desk: &Arc<Desk>, socket_id: SocketId) {
        self.close_guests(desk, &Close::TERMINATED, |guest| {
            guest.session.socket_id() == socket_id
        });
    }

    /// Closes every connection that was given such a pass.
    pub(super) fn terminate_where(&mut self, desk: &Arc<Desk>, is_it: &PassTest) {
        let none = Pass::default();
        self.close_guests(desk, &Close::TERMINATED, |guest| {
            is_it.is_it(guest.extra.as_ref().map_or(&none, |extra| &extra.pass))
        });
    }

    /// The app of this desk may have changed: who may not stay is told so, and for all others it is from now on as it is.
    pub(super) fn renew(&mut self, desk: &Arc<Desk>) {
        let before = self.apps.renew(desk);
        if let Some(close) = before.and_then(|before| desk.outdated(&before)) {
            self.close_guests(desk, &close, |_| true);
        }
    }

    /// Closes those connections of an app that are meant.
    fn close_guests(&mut self, desk: &Arc<Desk>, close: &Close, is_it: impl Fn(&Guest) -> bool) {
        let Some(app) = self.apps.find(desk) else {
            return;
        };
        let is_meant = |connection: &Connection| match &connection.role {
            Role::Guest(guest) => guest.app == app && is_it(guest),
            _ => false,
        };
        let connections = self.connections.iter().enumerate();
        let meant: Vec<u32> = connections
            .filter(|(_, connection)| connection.as_deref().is_some_and(is_meant))
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in meant {
            self.close(slot, close.clone());
        }
    }

    /// Says good-bye to as many as must go in this tick for all to be gone in time.
    pub(super) fn drain_some(&mut self) {
        let Some(until) = self.drain else { return };
        let all = 0..self.connections.len() as u32;
        if self.now >= until + FAREWELL_TIMEOUT {
            return all.for_each(|slot| self.end(slot));
        }
        let guests: Vec<u32> = all.clone().filter(|slot| self.is_guest(*slot)).collect();
        let now = guests.len().div_ceil(self.ticks_until(until) as usize);
        guests
            .into_iter()
            .take(now)
            .for_each(|slot| self.close(slot, Close::SHUTTING_DOWN));
        // Backends that publish are told with their next answer; the others are between two requests.
        if self.now >= until + IDLE_GRACE {
            all.for_each(|slot| self.end_idle(slot));
        }
    }

    /// Ends a connection on which no request is under way.
    fn end_idle(&mut self, slot: u32) {
        let Some(connection) = self.connection(slot) else {
            return;
        };
        let is_owed = !connection.outbox.is_empty();
        if connection
            .front()
            .is_some_and(|front| matches!(front.stage, Stage::Start))
        {
            // The last answer may not be written yet.
            if is_owed {
                self.start_leaving(slot)
            } else {
                self.end(slot)
            }
        }
    }
}

/// How long a backend's connection is kept for its next request once the hub has drained.
const IDLE_GRACE: Duration = Duration::from_secs(1);
