//! Reading: bytes from a socket, and what a client's frames mean.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use crate::protocol::Close;
use crate::session::Now;
use crate::transport::Heard;
use crate::wire::websocket;

use super::connection::{Connection, Role, at};
use super::door::Took;
use super::outbox::Frame;
use super::shard::Shard;

/// A peer that has so much waiting and takes nothing is not read from: it shall hear our answers first.
const MOST_UNHEARD: usize = 64 * 1024;

impl Shard {
    /// The socket may have something to read, or take something again. Returns how many bytes were read.
    pub(super) fn hear(&mut self, slot: u32) -> usize {
        let Some(connection) = self.connection(slot) else {
            return 0;
        };
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
            if round == 0
                && self
                    .connection(slot)
                    .is_some_and(|connection| !connection.tail.is_empty())
            {
                let mut kept = self
                    .connection(slot)
                    .map(|connection| std::mem::take(&mut connection.tail))
                    .unwrap_or_default();
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
            let Some(connection) = self.connection(slot) else {
                break;
            };
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
                Poll::Ready(Ok(0)) => {
                    self.hear_end(slot);
                    break;
                }
                Poll::Ready(Err(_)) => {
                    self.end(slot);
                    break;
                }
                Poll::Ready(Ok(n)) => {
                    total += n;
                    let input = if kept == 0 {
                        &mut scratch[..n]
                    } else {
                        &mut tail[..kept + n]
                    };
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

    /// The peer says nothing more. Whoever waits for an answer still gets it.
    fn hear_end(&mut self, slot: u32) {
        let Some(connection) = self.connection(slot) else {
            return;
        };
        let is_owed = !connection.outbox.is_empty();
        match &mut connection.role {
            Role::Front(_) if is_owed => self.start_leaving(slot),
            Role::Leaving(_) if is_owed => self.is_through(slot),
            _ => self.end(slot),
        }
    }

    /// Keeps what is left of the input for later.
    fn keep(&mut self, slot: u32, mut tail: Vec<u8>, used: usize) {
        let Some(connection) = self.connection(slot) else {
            return;
        };
        tail.drain(..used.min(tail.len()));
        if tail.capacity() > 4 * tail.len() + 4096 {
            tail.shrink_to_fit();
        }
        connection.tail = tail;
    }

    /// Whether this connection is read from now.
    fn reads(&mut self, slot: u32) -> bool {
        let Some(connection) = self.connection(slot) else {
            return false;
        };
        if connection.is_paused()
            || (connection.is_stuck() && connection.outbox.weight() > MOST_UNHEARD)
        {
            return false;
        }
        match &connection.role {
            Role::Front(front) => front.reads(),
            Role::Guest(guest) => !guest.waits(),
            Role::Leaving(leaving) => leaving.patience > 0,
        }
    }

    /// Handles all that is whole in the input. Returns how many bytes it took.
    fn take_in(&mut self, slot: u32, input: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let Some(connection) = self.connection(slot) else {
                return input.len();
            };
            let is_paused = connection.is_paused();
            match &mut connection.role {
                _ if is_paused => return at,
                Role::Guest(guest) if guest.waits() => return at,
                // It shall hear our answers before it asks for more.
                Role::Guest(_) if connection.outbox.weight() > MOST_UNHEARD => {
                    if !connection.is_stuck() {
                        self.write(slot);
                    }
                    let blocked = |connection: &&mut Connection| connection.is_stuck();
                    if self.connection(slot).as_ref().is_some_and(blocked) {
                        return at;
                    }
                    continue;
                }
                Role::Front(front) if front.reads() => {
                    match self.take_request(slot, &input[at..]) {
                        Took::Bytes(used) => at += used,
                        Took::Nothing => return at,
                    }
                }
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
        let Self {
            connections,
            apps,
            wishes,
            now,
            unix_time,
            start,
            shared,
            ..
        } = self;
        let Some(Connection {
            role: Role::Guest(guest),
            codec,
            ..
        }) = at(connections, slot)
        else {
            return input.len();
        };
        let app = apps.get(guest.app).app.clone();
        let moment = Now {
            instant: *now,
            unix: *unix_time,
        };
        let echo = shared.settings.echo;
        let max = echo.unwrap_or_else(|| app.limits.message_bytes());
        // Decoding and judging touch nothing of the shard's: if they panic, this connection ends and no other.
        let step = catch_unwind(AssertUnwindSafe(|| {
            let (used, heard) = codec.decode(input, max);
            if !matches!(heard, Heard::More) {
                guest.session.handle_alive(*now);
            }
            let is_noise =
                used > 0 && used <= EMPTY || matches!(heard, Heard::Ping(_) | Heard::Pong);
            if is_noise && echo.is_none() && guest.noise.is_too_much(*now - *start) {
                return (used, Next::Close(Close::FLOOD));
            }
            let next = match heard {
                Heard::Text(text) if echo.is_some() => Next::echo(true, text.as_bytes()),
                Heard::Binary(data) if echo.is_some() => Next::echo(false, &data),
                Heard::Text(text) if guest.must_wait(&text) => {
                    guest.extra().deferred = Some(text.into_owned());
                    Next::Nothing
                }
                Heard::Text(text) => {
                    guest.session.handle_text(&app, &text, moment, wishes);
                    Next::Wishes
                }
                Heard::More | Heard::Fragment | Heard::Pong => Next::Nothing,
                Heard::Ping(payload) => Next::Write(codec.pong(payload)),
                Heard::Binary(_) => Next::Close(Close::UNSUPPORTED),
                Heard::Fail(close) => Next::Close(close),
                Heard::Close(code) => Next::Closed(codec.close_reply(code)),
            };
            (used, next)
        }));
        let Ok((used, next)) = step else {
            self.broke(slot);
            return input.len();
        };
        match next {
            Next::Nothing => {}
            Next::Wishes => {
                self.shared.metrics.received(&app.id);
                self.carry_out(slot, &app);
            }
            Next::Write(frame) => self.say(slot, frame),
            Next::Close(close) => self.close(slot, close),
            Next::Closed(reply) => {
                self.say(slot, reply);
                self.start_leaving(slot);
                self.is_through(slot);
            }
        }
        used
    }

    /// Handling a guest's message panicked: nobody else is concerned.
    pub(super) fn broke(&mut self, slot: u32) {
        self.shared.metrics.panicked();
        tracing::error!("handling a message panicked: the connection is closed");
        self.wishes.clear();
        self.close(slot, Close::INTERNAL);
    }
}

/// What follows from a frame.
enum Next {
    Nothing,
    Wishes,
    Write(Frame),
    Close(Close),
    /// The client has closed; this is the reply.
    Closed(Frame),
}

impl Next {
    fn echo(is_text: bool, payload: &[u8]) -> Self {
        Self::Write(
            [&*websocket::header(is_text, payload.len()), payload]
                .concat()
                .into(),
        )
    }
}

/// A client's frame with nothing in it: two bytes and a mask.
const EMPTY: usize = 6;
