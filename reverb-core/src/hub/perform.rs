//! Carrying out what a session wishes: saying, asking the directory, pinging, closing.

use std::sync::Arc;

use crate::hooks::{ChannelEvent, Observed};
use crate::protocol::{App, ChannelName, Member, Outgoing, UserId};
use crate::session::{Chair, Command, Outcome, Refusal, Seat, Welcome, Wish};

use super::Shared;
use super::channel::Channel;
use super::connection::{Connection, Guest, at};
use super::mailbox::Slot;
use super::publish::{Charges, Done, Item, Release};
use super::rooms::Guest as RoomGuest;
use super::shard::Shard;

impl Shard {
    /// Carries out the wishes of this connection's session, in order; what is answered may make more.
    pub(super) fn carry_out(&mut self, slot: u32, app: &Arc<App>) {
        while let Some(wish) = self.wishes.next() {
            match wish {
                Wish::Say(message) => self.say_message(slot, &message),
                Wish::Ping => {
                    if let Some(connection) = self.connection(slot) {
                        let ping = connection.codec.ping();
                        self.say(slot, ping);
                    }
                }
                Wish::Close(close) => {
                    self.say_close(slot, &close);
                }
                Wish::Ask(command) => {
                    let Some(outcome) = self.perform(slot, app, command) else {
                        continue;
                    };
                    let Self {
                        connections,
                        wishes,
                        ..
                    } = self;
                    let connection = at(connections, slot);
                    if let Some(guest) = connection.and_then(Connection::guest) {
                        guest.session.handle_outcome(outcome, wishes);
                    }
                }
            }
        }
    }

    fn perform(&mut self, slot: u32, app: &Arc<App>, command: Command) -> Option<Outcome> {
        match command {
            Command::Subscribe { channel, member } => {
                match self.authorize(slot, app, &channel, member.as_ref())? {
                    Ok(()) => Some(self.subscribe(slot, app, channel, member)),
                    Err(denied) => Some(Outcome::Refused {
                        channel,
                        refusal: denied.into(),
                    }),
                }
            }
            Command::Remind { seat, .. } => {
                let generation = self.connection(slot)?.generation;
                let channel = self.rooms.get(seat.room)?.channel.clone();
                let at = Slot {
                    index: slot,
                    generation,
                };
                let welcome = channel.remind(&self.shared.directory, self.index, at, self.now);
                if welcome.is_none() {
                    self.connection(slot)?.awaits_reminder = true;
                }
                welcome.map(Outcome::Reminded)
            }
            Command::SignIn { user, watchlist } => Some(self.sign_in(slot, app, &user, watchlist)),
            Command::Unsubscribe { seat, moved } => {
                if let Some((chair, seat)) = moved {
                    self.rooms.set_chair(seat, chair);
                }
                if let Some(room) = self.rooms.get(seat.room) {
                    let channel = room.channel.name.clone();
                    let socket_id = self.guest(slot).session.socket_id();
                    self.shared.observe(|| Observed::Unsubscribed {
                        app: app.id.clone(),
                        socket_id,
                        channel,
                    });
                }
                self.give_up(seat);
                None
            }
            Command::ClientEvent { seat, message } => {
                self.pass_on(slot, seat, message);
                None
            }
        }
    }

    /// A reminder has come, behind what it must not overtake.
    pub(super) fn remind(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        number: u64,
        welcome: Welcome,
    ) {
        let Self {
            connections,
            wishes,
            apps,
            rooms,
            ..
        } = self;
        let connection = at(connections, slot.index);
        let Some(same) = connection.filter(|it| it.generation == slot.generation) else {
            return;
        };
        same.awaits_reminder = false;
        self.ready.push_back(slot.index);
        let Some(guest) = same.guest() else {
            return;
        };
        // It may have left the channel meanwhile, or have come back and been told something newer.
        let mut subscriptions = guest.session.subscriptions().iter();
        let seat = subscriptions
            .find(|subscription| subscription.channel == *channel)
            .map(|found| found.seat);
        let is_news = |seat: Seat| {
            rooms
                .get(seat.room)
                .is_some_and(|room| room.is_news(seat.place as usize, number))
        };
        if seat.is_some_and(is_news) {
            guest
                .session
                .handle_outcome(Outcome::Reminded(welcome), wishes);
            let app = apps.get(guest.app).app.clone();
            self.carry_out(slot.index, &app);
        }
    }

    /// Joins the channel in the directory and takes a seat in its room, in one step of one owner: the welcome is on its
    /// way before anything that is said in the channel.
    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        app: &Arc<App>,
        channel: ChannelName,
        member: Option<Member>,
    ) -> Outcome {
        let chair = Chair::Subscription(self.guest(slot).session.subscriptions().len() as u32);
        let joined = self.take_seat(slot, app, &channel, member.as_ref(), chair);
        match joined {
            Ok((channel, seat, welcome)) => {
                let user = member.map(|member| member.id);
                let socket_id = self.guest(slot).session.socket_id();
                self.shared.observe(|| Observed::Subscribed {
                    app: app.id.clone(),
                    socket_id,
                    channel: channel.clone(),
                    user: user.clone(),
                });
                Outcome::Subscribed {
                    channel,
                    seat,
                    user,
                    welcome,
                }
            }
            Err(refusal) => Outcome::Refused { channel, refusal },
        }
    }

    fn take_seat(
        &mut self,
        slot: u32,
        app: &Arc<App>,
        name: &ChannelName,
        member: Option<&Member>,
        chair: Chair,
    ) -> Result<(ChannelName, Seat, Welcome), Refusal> {
        let number = self.guest(slot).app;
        let desk = self.apps.get(number).desk.clone();
        let directory = self.shared.directory.clone();
        let joined = Channel::join(&directory, &desk, app, name, self.index, member, self.now)?;
        let channel = joined.channel.name.clone();
        let rooms = &mut self.apps.get_mut(number).rooms;
        let room = *rooms
            .entry(channel.clone())
            .or_insert_with(|| self.rooms.open(number, joined.channel, desk));
        let user = member.map(|member| member.id.clone());
        let seat = self
            .rooms
            .seat(room, RoomGuest::new(slot, chair), user, joined.number);
        Ok((channel, seat, joined.welcome))
    }

    /// The guest whose session has a wish.
    pub(super) fn guest(&mut self, slot: u32) -> &mut Guest {
        let guest = self.connection(slot).and_then(Connection::guest);
        guest.expect("only a guest's session has wishes")
    }

    /// Seats the connection in its user's channel, and has it watch whom it wants to.
    fn sign_in(
        &mut self,
        slot: u32,
        app: &Arc<App>,
        user: &UserId,
        watchlist: Vec<UserId>,
    ) -> Outcome {
        let channel = ChannelName::of_user(user.as_str());
        let joined = self.take_seat(slot, app, &channel, None, Chair::User);
        let (_, seat, _) = joined.expect("a user's channel refuses nobody");
        let number = self.guest(slot).app;
        let (mut online, mut offline) = (Vec::new(), Vec::new());
        for watched in &watchlist {
            let local = self.apps.get_mut(number);
            let (is_online, since) =
                super::users::watch(&self.shared.directory, &local.desk, watched, self.index);
            local
                .watchers
                .entry(watched.clone())
                .or_default()
                .insert(slot, since);
            if is_online { &mut online } else { &mut offline }.push(watched.clone());
        }
        if !watchlist.is_empty() {
            self.guest(slot).extra().watches = watchlist.into();
        }
        Outcome::SignedIn {
            seat,
            online,
            offline,
        }
    }

    /// Gives up a seat, and tells the session of whoever has moved where it sits now.
    pub(super) fn give_up(&mut self, seat: Seat) {
        let (moved, closed) = self.rooms.leave(seat, self.now);
        if let Some((guest, seat)) = moved
            && let Some(connection) = self.connection(guest.slot)
            && let Some(other) = connection.guest()
        {
            other.session.reseat(guest.chair(), seat);
        }
        if let Some(room) = closed {
            self.apps
                .get_mut(room.app)
                .rooms
                .remove(room.channel.name.as_str());
        }
    }

    /// Passes a client's event on to everybody else in the channel.
    fn pass_on(&mut self, slot: u32, seat: Seat, message: Outgoing) {
        let Some(room) = self.rooms.get(seat.room) else {
            return;
        };
        let channel = room.channel.clone();
        let guest = self.guest(slot);
        let (socket_id, number) = (guest.session.socket_id(), guest.app);
        let except = Some(socket_id);
        let desk = self.apps.get(number).desk.clone();
        self.shared.observe(|| Observed::ClientEvent {
            app: desk.app().id.clone(),
            socket_id,
            channel: channel.name.clone(),
            event: ChannelEvent::new(&message),
        });
        let item = Item {
            channel,
            message,
            data: 0..0,
            except,
            ttl: Default::default(),
            is_client_event: true,
        };
        let to = item.mailed(Some(self.index));
        if !to.is_empty() || item.channel.is_listened_to() {
            let Shared { directory, .. } = &*self.shared;
            let bytes = item.message.frame().len();
            // What a client said cannot be refused any more: it is brought, and a sender who finds a shard full is
            // not read from until there is room again.
            let charges = to
                .into_iter()
                .map(|shard| directory.mailboxes[shard].charge(bytes))
                .collect();
            let is_over = to
                .into_iter()
                .any(|shard| directory.mailboxes[shard].is_over());
            let release = Release::new(Charges::new(charges), Done::Nobody);
            item.channel
                .post(directory, &desk, &item, to, Some(&release), self.now);
            if is_over && let Some(connection) = self.connection(slot) {
                connection.is_held = true;
                self.held.push(slot);
            }
        }
        if !item.direct(Some(self.index)).is_empty() {
            self.fan_out(seat.room, &item.message, 0, except);
        }
    }
}
