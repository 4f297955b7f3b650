//! Reading: what a socket's bytes mean, first as HTTP, then as a client's messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use crate::app_store::StoreError;
use crate::http::error::ApiError;
use crate::http::events::Accepted;
use crate::http::front::{self, Publish, Request};
use crate::http::upgrade::Knock;
use crate::http::websocket::{self, Heard};
use crate::protocol::{App, Close};
use crate::session::Session;

use super::connection::{Guest, Leaving, Role, Stage};
use super::directory::Quota;
use super::mailbox::{Letter, Slot};
use super::outbox::Frame;
use super::publish::{Done, Overloaded, Release};
use super::shard::Shard;

use std::sync::Arc;

/// A peer that has so much waiting and takes nothing is not read from: it shall hear our answers first.
const MOST_UNHEARD: usize = 64 * 1024;

/// What became of a front's input.
enum Read {
    /// It took so many bytes, and there may be more to do.
    Some(usize),
    /// Not now.
    Nothing,
}

impl Shard {
    /// The socket may have something to read, or take something again. Returns how many bytes were read.
    pub(super) fn hear(&mut self, slot: u32) -> usize {
        let Some(connection) = self.connection(slot) else { return 0 };
        if connection.is_stuck() {
            self.write(slot);
        }
        let mut buffer = std::mem::take(&mut self.scratch);
        let read = self.read_into(slot, &mut buffer);
        self.scratch = buffer;
        read
    }

    /// Reads until there is no more, or the buffer has been filled a few times: the rest is for the next turn.
    fn read_into(&mut self, slot: u32, scratch: &mut [u8]) -> usize {
        let mut total = 0;
        for round in 0.. {
            // Bytes that were kept when something had to be waited for may be a message by now.
            if round == 0 && self.connection(slot).is_some_and(|connection| !connection.tail.is_empty()) {
                let mut kept = self.connection(slot).map(|connection| std::mem::take(&mut connection.tail)).unwrap_or_default();
                let used = self.take_in(slot, &mut kept);
                self.keep(slot, kept, used);
            }
            if !self.reads(slot) {
                break;
            }
            if round == 4 {
                self.ready.push_back(slot);
                break;
            }
            let Some(connection) = self.connection(slot) else { break };
            let mut tail = std::mem::take(&mut connection.tail);
            // A message that comes in pieces is put together where it stays.
            let kept = tail.len();
            let into = match kept {
                0 => &mut *scratch,
                _ => {
                    tail.resize(kept + kept.clamp(4096, scratch.len()), 0);
                    &mut tail[kept..]
                }
            };
            match connection.stream.read(&connection.waker, into) {
                Poll::Pending => {
                    tail.truncate(kept);
                    if let Some(connection) = self.connection(slot) {
                        connection.tail = tail;
                    }
                    break;
                }
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.end(slot);
                    break;
                }
                Poll::Ready(Ok(n)) => {
                    total += n;
                    let input = if kept == 0 { &mut scratch[..n] } else { &mut tail[..kept + n] };
                    let used = self.take_in(slot, input);
                    if kept == 0 && used < n {
                        tail = scratch[used..n].to_vec();
                        self.keep(slot, tail, 0);
                    } else if kept > 0 {
                        tail.truncate(kept + n);
                        self.keep(slot, tail, used);
                    }
                }
            }
        }
        total
    }

    /// Keeps what is left of the input for later.
    fn keep(&mut self, slot: u32, mut tail: Vec<u8>, used: usize) {
        let Some(connection) = self.connection(slot) else { return };
        tail.drain(..used.min(tail.len()));
        if tail.capacity() > 4 * tail.len() + 4096 {
            tail.shrink_to_fit();
        }
        connection.tail = tail;
    }

    /// Whether this connection is read from now.
    fn reads(&mut self, slot: u32) -> bool {
        let Some(connection) = self.connection(slot) else { return false };
        if connection.is_held || (connection.is_stuck() && connection.outbox.weight() > MOST_UNHEARD) {
            return false;
        }
        match &connection.role {
            Role::Front(front) => front.reads(),
            Role::Guest(_) => true,
            Role::Leaving(leaving) => leaving.patience > 0,
        }
    }

    /// Handles all that is whole in the input. Returns how many bytes it took.
    fn take_in(&mut self, slot: u32, input: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let Some(connection) = self.connection(slot) else { return input.len() };
            match &mut connection.role {
                _ if connection.is_held => return at,
                Role::Front(front) if front.reads() => match self.take_request(slot, &input[at..]) {
                    Read::Some(used) => at += used,
                    Read::Nothing => return at,
                },
                // What follows has to wait for the answer.
                Role::Front(_) => return at,
                Role::Guest(_) => match self.take_frame(slot, &mut input[at..]) {
                    0 => return at,
                    used => at += used,
                },
                Role::Leaving(leaving) => {
                    leaving.patience = leaving.patience.saturating_sub(input.len() - at);
                    return input.len();
                }
            }
            if at == input.len() {
                return at;
            }
        }
    }

    /// Handles the frame at the front of a guest's input. Returns how many bytes it took.
    fn take_frame(&mut self, slot: u32, input: &mut [u8]) -> usize {
        let Self { connections, apps, wishes, now, .. } = self;
        let connection = connections[slot as usize].as_deref_mut();
        let Some(guest) = connection.and_then(super::connection::Connection::guest) else { return input.len() };
        let app = apps.get(guest.app).app.clone();
        let Guest { session, socket, .. } = guest;
        // Decoding and judging touch nothing of the shard's: if they panic, this connection ends and no other.
        let step = catch_unwind(AssertUnwindSafe(|| {
            let (used, heard) = socket.decode(input, app.limits.message_bytes());
            if !matches!(heard, Heard::More) {
                session.handle_alive(*now);
            }
            let next = match heard {
                Heard::Text(text) => {
                    session.handle_text(&app, &text, *now, wishes);
                    Next::Wishes
                }
                Heard::More | Heard::Fragment | Heard::Pong => Next::Nothing,
                Heard::Ping(payload) => Next::Write(websocket::pong(payload)),
                Heard::Binary(_) => Next::Close(Close::UNSUPPORTED),
                Heard::Fail(close) => Next::Close(close),
                Heard::Close(code) => Next::Closed(websocket::close_reply(code)),
            };
            (used, next)
        }));
        let Ok((used, next)) = step else {
            self.shared.metrics.panicked();
            tracing::error!("handling a message panicked: the connection is closed");
            while self.wishes.next().is_some() {}
            self.close(slot, Close::INTERNAL);
            return input.len();
        };
        match next {
            Next::Nothing => {}
            Next::Wishes => {
                self.shared.metrics.received(&app.id);
                self.carry_out(slot, &app);
            }
            Next::Write(bytes) => self.say(slot, bytes.into()),
            Next::Close(close) => self.close(slot, close),
            Next::Closed(reply) => {
                self.say(slot, reply.into());
                self.start_leaving(slot);
            }
        }
        used
    }

    /// Handles the request at the front of a connection that speaks HTTP.
    fn take_request(&mut self, slot: u32, input: &[u8]) -> Read {
        let now = self.now;
        let shared = self.shared.clone();
        let Some(connection) = self.connection(slot) else { return Read::Nothing };
        let has_answers = !connection.outbox.is_empty();
        let Some(front) = connection.front() else { return Read::Nothing };
        if input.is_empty() {
            return Read::Nothing;
        }
        let is_trusted = shared.settings.trusts(front.peer);
        let (used, request) = front::read(input, &shared.settings.path, is_trusted);
        match request {
            Request::More { has_head } => {
                let stage = if has_head { Stage::Body } else { Stage::Head };
                if std::mem::discriminant(&front.stage) != std::mem::discriminant(&stage) {
                    front.enter(stage, now);
                    self.rearm(slot);
                }
                Read::Nothing
            }
            Request::Knock(knock) => {
                self.knock(slot, knock);
                Read::Some(used)
            }
            Request::Publish(publish) => match self.publish(slot, &publish) {
                true => Read::Some(used),
                false => self.hand_over(slot, input, has_answers),
            },
            Request::Other => self.hand_over(slot, input, has_answers),
            Request::Refuse(error) => {
                self.say(slot, response(&error, true));
                self.start_leaving(slot);
                Read::Some(used)
            }
        }
    }

    /// Gives the stream to hyper, with what was read from it.
    fn hand_over(&mut self, slot: u32, input: &[u8], has_answers: bool) -> Read {
        let now = self.now;
        if has_answers {
            if let Some(front) = self.connection(slot).and_then(|connection| connection.front()) {
                front.enter(Stage::HandOver, now);
                self.rearm(slot);
            }
            return Read::Nothing;
        }
        let Some(connection) = self.remove(slot) else { return Read::Nothing };
        if let Role::Front(front) = connection.role {
            front.listener.hand_over(input.to_vec(), connection.stream, front.peer);
        }
        Read::Nothing
    }

    /// A client wants in: its app is looked up, at once if the store can.
    fn knock(&mut self, slot: u32, knock: Box<Knock>) {
        let Some(key) = knock.key().map(str::to_owned) else { return self.open(slot, &knock, Ok(None)) };
        let store = self.shared.store.clone();
        let lookup = async move { store.find_by_key(&key).await };
        let (now, shared) = (self.now, self.shared.clone());
        match super::poll_once(Box::pin(lookup)) {
            Ok(found) => self.open(slot, &knock, found),
            Err(lookup) => {
                let Some(connection) = self.connection(slot) else { return };
                let at = Slot { index: slot, generation: connection.generation };
                if let Some(front) = connection.front() {
                    front.enter(Stage::Lookup, now);
                }
                self.rearm(slot);
                let mailbox = self.mailbox.clone();
                tokio::spawn(async move {
                    let found = shared.in_time(lookup).await;
                    mailbox.send(Letter::Answer { slot: at, knock, found });
                });
            }
        }
    }

    /// The app store has answered: the client comes in, or is told over the socket why not.
    pub(super) fn open(&mut self, slot: u32, knock: &Knock, found: Result<Option<Arc<App>>, StoreError>) {
        let admitted = self.shared.admit(knock.decide(found));
        let mut head = String::with_capacity(192);
        head.push_str("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        for (name, value) in knock.answer() {
            [name, ": ", value, "\r\n"].iter().for_each(|part| head.push_str(part));
        }
        head.push_str("\r\n");
        self.say(slot, head.into_bytes().into());
        match admitted {
            Ok((app, quota)) => self.seat(slot, app, quota),
            Err(close) => self.refuse(slot, close),
        }
        // A client need not wait for the greeting before it speaks.
        self.ready.push_back(slot);
    }

    /// The client is in: its session begins.
    pub(super) fn seat(&mut self, slot: u32, app: Arc<App>, quota: Quota) {
        let now = self.now;
        self.shared.metrics.connected(&app.id);
        let number = self.apps.enter(quota.desk(), app.clone());
        let session = Session::new(&app, Self::new_socket_id(), now, &mut self.wishes);
        let until = session.next_timeout(&app);
        if let Some(connection) = self.connection(slot) {
            let socket = websocket::WebSocket::default();
            connection.role =
                Role::Guest(Guest { app: number, session, socket, _quota: quota, watches: Box::default() });
        }
        self.arm(slot, until);
        self.carry_out(slot, &app);
    }

    /// The client is told why it may not come in.
    pub(super) fn refuse(&mut self, slot: u32, close: Close) {
        self.shared.metrics.refused(&close);
        self.close(slot, close);
    }

    /// A backend publishes. False if somebody else has to see to it.
    fn publish(&mut self, slot: u32, publish: &Publish<'_>) -> bool {
        let Publish { app_id, request, is_batch } = *publish;
        let store = self.shared.store.clone();
        let id = app_id.to_owned();
        let lookup: super::Lookup = Box::pin(async move { store.find_by_id(&id).await });
        let Ok(found) = super::poll_once(lookup) else { return false };
        let shared = self.shared.clone();
        let accepted = found.map_err(ApiError::from).and_then(|app| {
            let app = app.ok_or_else(|| ApiError::no_app(app_id))?;
            shared.check_signed(&app, &request)?;
            Accepted::read(&shared.directory, app, request.body, is_batch, self.now)
        });
        match accepted {
            Ok(accepted) => self.send_out(slot, &accepted),
            Err(error) => self.reply(slot, response(&error, false)),
        }
        true
    }

    fn send_out(&mut self, slot: u32, accepted: &Accepted<'_>) {
        let directory = self.shared.directory.clone();
        let publication = accepted.publication(&directory);
        let answer = ok(&accepted.answer());
        let own = Some(self.index);
        let generation = self.connection(slot).map_or(0, |connection| connection.generation);
        let at = Slot { index: slot, generation };
        let Some(charges) = publication.reserve(&directory, own) else {
            // Some shard has enough to do: wait for it, but not here.
            let (mailbox, now) = (self.mailbox.clone(), self.now);
            tokio::spawn(async move {
                let result = publication.send(directory, now).await;
                mailbox.send(Letter::Published { slot: at, result });
            });
            return self.await_delivery(slot, answer);
        };
        let waits = !charges.is_empty();
        let done = if waits { Done::Slot(self.mailbox.clone(), at) } else { Done::Nobody };
        let release = waits.then(|| Release::new(charges, done));
        let now = self.now;
        let desk = publication.desk().clone();
        publication.post(&directory, own, release.as_ref(), now, |item| {
            self.hand_out(&desk, item.channel.name.as_str(), &item.message, 0, item.except);
        });
        match waits {
            true => self.await_delivery(slot, answer),
            false => self.reply_behind(slot, &desk, answer),
        }
    }

    fn await_delivery(&mut self, slot: u32, answer: Frame) {
        let now = self.now;
        if let Some(front) = self.connection(slot).and_then(|connection| connection.front()) {
            front.enter(Stage::Delivery(answer), now);
            self.rearm(slot);
        }
    }

    /// What a connection published is with all its receivers, or was not taken.
    pub(super) fn published(&mut self, slot: Slot, result: Result<(), Overloaded>) {
        let now = self.now;
        let Some(front) = self.same(slot).and_then(|connection| connection.front()) else { return };
        let Stage::Delivery(answer) = std::mem::replace(&mut front.stage, Stage::Start) else { return };
        front.enter(Stage::Start, now);
        self.rearm(slot.index);
        match result {
            Ok(()) => self.say(slot.index, answer),
            Err(overloaded) => self.say(slot.index, response(&overloaded.into(), false)),
        }
        self.ready.push_back(slot.index);
    }

    /// Answers a request; the next one may follow.
    fn reply(&mut self, slot: u32, answer: Frame) {
        self.await_next(slot);
        self.say(slot, answer);
    }

    /// Answers a request once what it published is written, unless much waits to be written.
    fn reply_behind(&mut self, slot: u32, desk: &Arc<super::Desk>, answer: Frame) {
        self.await_next(slot);
        match self.apps.find(desk).filter(|app| self.apps.is_short(*app)) {
            Some(app) => self.say_in_ring(slot, app, answer),
            None => self.say(slot, answer),
        }
    }

    fn await_next(&mut self, slot: u32) {
        let now = self.now;
        if let Some(front) = self.connection(slot).and_then(|connection| connection.front()) {
            front.enter(Stage::Start, now);
            self.rearm(slot);
        }
    }

    /// The deadline of a front has moved.
    fn rearm(&mut self, slot: u32) {
        if let Some(until) = self.connection(slot).and_then(|connection| connection.front()).map(|front| front.until) {
            self.arm(slot, until);
        }
    }

    /// Calls back a front that waited for its answers to be written.
    pub(super) fn written(&mut self, slot: u32) {
        let now = self.now;
        let Some(connection) = self.connection(slot) else { return };
        let Some(front) = connection.front() else { return };
        if matches!(front.stage, Stage::HandOver) {
            front.enter(Stage::Start, now);
            self.ready.push_back(slot);
        }
    }

    /// From now on the connection only hears what is left for it.
    pub(super) fn start_leaving(&mut self, slot: u32) {
        let now = self.now;
        let Some(connection) = self.connection(slot) else { return };
        if let Role::Leaving(leaving) = &mut connection.role {
            leaving.hears = false;
            return;
        }
        connection.tail = Vec::new();
        let role = std::mem::replace(&mut connection.role, Role::Leaving(Leaving::new(now)));
        self.arm(slot, now + super::connection::FAREWELL_TIMEOUT);
        if let Role::Guest(guest) = role {
            self.see_off(slot, guest);
        }
    }
}

/// What follows from a frame.
enum Next {
    Nothing,
    Wishes,
    Write(Vec<u8>),
    Close(Close),
    /// The client has closed; this is the reply.
    Closed(Vec<u8>),
}

/// A response 200.
fn ok(body: &str) -> Frame {
    if body == "{}" {
        return EMPTY.with(Frame::clone);
    }
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes().into()
}

thread_local! {
    /// What nearly every publisher gets.
    static EMPTY: Frame = Frame::from(&b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"[..]);
}

/// A response that tells an error.
fn response(error: &ApiError, closes: bool) -> Frame {
    let body = error.body();
    let retry = error.retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let close = if closes { "connection: close\r\n" } else { "" };
    let (status, length) = (error.status, body.len());
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{retry}{close}content-length: {length}\r\n\r\n");
    [head.as_bytes(), &body].concat().into()
}
