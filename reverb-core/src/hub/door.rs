//! The door: connections that speak HTTP. A client is let in or told why not, a plain publish is answered, and anything
//! else goes to hyper.

use std::borrow::Cow;
use std::sync::Arc;

use crate::hooks::Observed;
use crate::protocol::Close;
use crate::session::Session;
use crate::wire::error::ApiError;
use crate::wire::front::{self, Publish, Request};
use crate::wire::upgrade::Knock;

use super::accepted::Accepted;
use super::admit::Admitted;
use super::connection::{Connection, Extra, Guest, Noise, Role, Stage};
use super::desk::Desk;
use super::mailbox::{Letter, Slot};
use super::outbox::Frame;
use super::publish::{Done, Overloaded, Release};
use super::reply::{ok, response};
use super::shard::Shard;

/// What became of a front's input.
pub(super) enum Took {
    /// It took so many bytes, and there may be more to do.
    Bytes(usize),
    /// Not now.
    Nothing,
}

/// What has become of a request.
enum Dealt {
    /// It is answered, or will be.
    Done,
    /// It stays where it is until more is known.
    Later,
    /// Somebody else has to see to it.
    NotHere,
}

impl Shard {
    /// Handles the request at the front of a connection that speaks HTTP.
    pub(super) fn take_request(&mut self, slot: u32, input: &[u8]) -> Took {
        let now = self.now;
        let shared = self.shared.clone();
        let Some(connection) = self.connection(slot) else {
            return Took::Nothing;
        };
        let has_answers = !connection.outbox.is_empty();
        let Some(front) = connection.front() else {
            return Took::Nothing;
        };
        if input.is_empty() {
            return Took::Nothing;
        }
        let is_trusted = shared.settings.trusts(front.peer);
        let (used, request) = front::read(
            input,
            &shared.settings.path,
            is_trusted,
            shared.authorizer.as_ref().map(|_| front.peer),
        );
        match request {
            Request::More { has_head } => {
                let stage = if has_head { Stage::Body } else { Stage::Head };
                if std::mem::discriminant(&front.stage) != std::mem::discriminant(&stage) {
                    front.enter(stage, now);
                    self.rearm(slot);
                }
                Took::Nothing
            }
            Request::Knock(knock) => {
                self.knock(slot, knock);
                Took::Bytes(used)
            }
            Request::Publish(publish) => match self.publish(slot, &publish) {
                Dealt::Done => Took::Bytes(used),
                Dealt::Later => Took::Nothing,
                Dealt::NotHere => self.hand_over(slot, input, has_answers),
            },
            Request::Other => self.hand_over(slot, input, has_answers),
            Request::Refuse(error) => {
                self.say(slot, response(&error, true));
                self.start_leaving(slot);
                Took::Bytes(used)
            }
        }
    }

    /// Gives the stream to hyper, with what was read from it.
    fn hand_over(&mut self, slot: u32, input: &[u8], has_answers: bool) -> Took {
        let now = self.now;
        if has_answers {
            if let Some(front) = self.connection(slot).and_then(Connection::front) {
                front.enter(Stage::HandOver, now);
                self.rearm(slot);
            }
            return Took::Nothing;
        }
        let Some(connection) = self.remove(slot) else {
            return Took::Nothing;
        };
        if let Role::Front(front) = connection.role {
            front
                .listener
                .hand_over(input.to_vec(), connection.stream, front.peer);
        }
        Took::Nothing
    }

    /// A client wants in: whether it may is known at once, if nobody has to think about it.
    fn knock(&mut self, slot: u32, knock: Box<Knock>) {
        match self.shared.knock_at_once(knock) {
            Ok((decided, knock)) => self.open(slot, &knock, decided),
            Err(asked) => {
                let now = self.now;
                let Some(connection) = self.connection(slot) else {
                    return;
                };
                let at = Slot {
                    index: slot,
                    generation: connection.generation,
                };
                if let Some(front) = connection.front() {
                    front.enter(Stage::Lookup, now);
                }
                self.rearm(slot);
                let mailbox = self.mailbox.clone();
                tokio::spawn(async move {
                    let (decided, knock) = asked.await;
                    mailbox.send(Letter::Answer {
                        slot: at,
                        knock,
                        decided,
                    });
                });
            }
        }
    }

    /// It is known whether the client comes in; if not, it is told over the socket why.
    pub(super) fn open(&mut self, slot: u32, knock: &Knock, decided: Result<Admitted, Close>) {
        let mut head = String::with_capacity(192);
        head.push_str(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        for (name, value) in knock.answer() {
            [name, ": ", value, "\r\n"]
                .iter()
                .for_each(|part| head.push_str(part));
        }
        head.push_str("\r\n");
        self.say(slot, head.into_bytes().into());
        match decided {
            Ok(admitted) => self.seat(slot, admitted),
            Err(close) => self.refuse(slot, close),
        }
        // A client need not wait for the greeting before it speaks.
        self.ready.push_back(slot);
    }

    /// The client is in: its session begins.
    pub(super) fn seat(&mut self, slot: u32, admitted: Admitted) {
        let Admitted {
            app,
            quota,
            socket_id,
            pass,
        } = admitted;
        // The app may have changed while the client was on its way.
        if let Some(close) = quota.desk().outdated(&app) {
            return self.refuse(slot, close);
        }
        // Who came before it changed goes first: it is the last time that they can be told apart.
        self.renew(quota.desk());
        let now = self.now;
        self.shared.metrics.connected(&app.id);
        self.shared.observe(|| Observed::Connected {
            app: app.id.clone(),
            socket_id,
        });
        let number = self.apps.enter(quota.desk());
        let session = Session::new(&app, socket_id, now, &mut self.wishes);
        let until = session.next_timeout(&app);
        if self.shared.settings.echo.is_some() {
            self.wishes.clear();
        }
        if let Some(connection) = self.connection(slot) {
            let extra = Extra {
                pass,
                ..Extra::default()
            };
            connection.role = Role::Guest(Guest {
                app: number,
                noise: Noise::default(),
                session,
                _quota: quota,
                extra: (!extra.pass.is_empty()).then(|| Box::new(extra)),
            });
        }
        self.arm(slot, until);
        self.carry_out(slot, &app);
    }

    /// The client is told why it may not come in.
    pub(super) fn refuse(&mut self, slot: u32, close: Close) {
        self.shared.metrics.refused(&close);
        // One line a second is enough to see what is wrong, and not enough to fill a disk.
        if self.shared.refusal_log.is_due(self.now) {
            tracing::info!(code = close.code, "a client was refused: {}", close.reason);
        }
        self.close(slot, close);
    }

    /// A backend publishes.
    fn publish(&mut self, slot: u32, publish: &Publish<'_>) -> Dealt {
        let Publish {
            app_id,
            request,
            is_batch,
            is_tls,
        } = *publish;
        let shared = self.shared.clone();
        let Some(found) = shared.apps.known_by_id(app_id) else {
            return self.look_up(slot, app_id);
        };
        let accepted = found.map_err(ApiError::from).and_then(|app| {
            let app = app.ok_or_else(|| ApiError::no_app(app_id))?;
            if app.force_tls && !is_tls {
                return Err(ApiError::not_by_tls());
            }
            shared.check_signed(&app, &request)?;
            Accepted::read(&shared, app, request.body, is_batch, self.now)
        });
        match accepted {
            Ok(accepted) => self.send_out(slot, &accepted),
            Err(error) => self.reply(slot, response(&error, self.drain.is_some())),
        }
        Dealt::Done
    }

    /// Has the app store asked, while the request stays where it is. If that does not help, hyper's task deals with it, and
    /// with everything that follows on this connection.
    fn look_up(&mut self, slot: u32, app_id: &str) -> Dealt {
        let now = self.now;
        let Some(connection) = self.connection(slot) else {
            return Dealt::NotHere;
        };
        let at = Slot {
            index: slot,
            generation: connection.generation,
        };
        match connection.front() {
            Some(front) if !matches!(front.stage, Stage::LookedUp) => {
                front.enter(Stage::Lookup, now);
            }
            _ => return Dealt::NotHere,
        }
        self.rearm(slot);
        let (apps, mailbox) = (self.shared.apps.clone(), self.mailbox.clone());
        let app_id = app_id.to_owned();
        tokio::spawn(async move {
            // What was said is remembered, and taken from there.
            let _ = apps.find_by_id(&app_id).await;
            mailbox.send(Letter::LookedUp { slot: at });
        });
        Dealt::Later
    }

    /// It is known whose request waits in this connection.
    pub(super) fn looked_up(&mut self, slot: Slot) {
        let now = self.now;
        let Some(front) = self.same(slot).and_then(Connection::front) else {
            return;
        };
        if matches!(front.stage, Stage::Lookup) {
            front.enter(Stage::LookedUp, now);
            self.rearm(slot.index);
            self.ready.push_back(slot.index);
        }
    }

    fn send_out(&mut self, slot: u32, accepted: &Accepted<'_>) {
        let directory = self.shared.directory.clone();
        let publication = accepted.publication();
        let answer = accepted.answer();
        let own = Some(self.index);
        let generation = self
            .connection(slot)
            .map_or(0, |connection| connection.generation);
        let at = Slot {
            index: slot,
            generation,
        };
        let Ok(charges) = publication.reserve(&directory, own) else {
            // Some shard has enough to do: wait for it, but not here.
            let (mailbox, now) = (self.mailbox.clone(), self.now);
            tokio::spawn(async move {
                let result = publication.send(directory, now).await;
                mailbox.send(Letter::Published { slot: at, result });
            });
            return self.await_delivery(slot, answer);
        };
        let desk = publication.desk().clone();
        // Behind a long ring the publisher is answered at once, as on this shard: nothing is won by waiting for the turn of
        // the others, which may come late. What they owe is bounded all the same.
        let is_long = self
            .apps
            .find(&desk)
            .is_some_and(|app| !self.apps.is_short(app));
        let waits = !charges.is_empty() && !is_long;
        let done = if waits {
            Done::Slot(self.mailbox.clone(), at)
        } else {
            Done::Nobody
        };
        let release = (!charges.is_empty()).then(|| Release::new(charges, done));
        let now = self.now;
        publication.post(&directory, own, release.as_ref(), now, |item| {
            self.hand_out(
                &desk,
                item.channel.name.as_str(),
                &item.message,
                0,
                item.except,
            );
        });
        match waits {
            true => self.await_delivery(slot, answer),
            false => self.reply_behind(slot, &desk, &answer),
        }
    }

    fn await_delivery(&mut self, slot: u32, answer: Cow<'static, str>) {
        let now = self.now;
        if let Some(front) = self.connection(slot).and_then(Connection::front) {
            front.enter(Stage::Delivery(answer), now);
            self.rearm(slot);
        }
    }

    /// What a connection published is with all its receivers, or was not taken.
    pub(super) fn published(&mut self, slot: Slot, result: Result<(), Overloaded>) {
        let Some(front) = self.same(slot).and_then(Connection::front) else {
            return;
        };
        let Stage::Delivery(answer) = std::mem::replace(&mut front.stage, Stage::Start) else {
            return;
        };
        let closes = self.drain.is_some();
        match result {
            Ok(()) => self.reply(slot.index, ok(&answer, closes)),
            Err(overloaded) => {
                let error = super::PublishError::from(overloaded).into();
                self.reply(slot.index, response(&error, closes));
            }
        }
        self.ready.push_back(slot.index);
    }

    /// Answers a request; the next one may follow, unless the hub drains.
    fn reply(&mut self, slot: u32, answer: Frame) {
        self.await_next(slot);
        self.say(slot, answer);
        if self.drain.is_some() {
            self.start_leaving(slot);
        }
    }

    /// Answers a request once what it published is written, unless much waits to be written.
    fn reply_behind(&mut self, slot: u32, desk: &Arc<Desk>, answer: &str) {
        let closes = self.drain.is_some();
        match self
            .apps
            .find(desk)
            .filter(|app| !closes && self.apps.is_short(*app))
        {
            Some(app) => {
                self.await_next(slot);
                self.say_in_ring(slot, app, ok(answer, false));
            }
            None => self.reply(slot, ok(answer, closes)),
        }
    }

    fn await_next(&mut self, slot: u32) {
        let now = self.now;
        if let Some(front) = self.connection(slot).and_then(Connection::front) {
            front.enter(Stage::Start, now);
            self.rearm(slot);
        }
    }

    /// The deadline of a front has moved.
    fn rearm(&mut self, slot: u32) {
        if let Some(until) = self
            .connection(slot)
            .and_then(Connection::front)
            .map(|front| front.until)
        {
            self.arm(slot, until);
        }
    }

    /// Calls back a front that waited for its answers to be written.
    pub(super) fn written(&mut self, slot: u32) {
        let now = self.now;
        let Some(connection) = self.connection(slot) else {
            return;
        };
        let Some(front) = connection.front() else {
            return;
        };
        if matches!(front.stage, Stage::HandOver) {
            front.enter(Stage::Start, now);
            self.ready.push_back(slot);
        }
    }
}
