//! Arriving: sockets from listeners, dealt out to the shards in turn, and sockets that move in.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::connection::{Codec, Connection, FIRST_BYTE_TIMEOUT, Front, Leaving, Role, Stage};
use super::listener::Listener;
use super::mailbox::{Entry, Newcomer, SlotWaker};
use super::outbox::Outbox;
use super::shard::Shard;
use super::stream::Stream;

/// A listener, and the waker that says when somebody knocks.
pub(super) struct Listening {
    pub(super) listener: Arc<Listener>,
    waker: Waker,
    pub(super) wakes: Arc<SlotWaker>,
    /// Whether somebody may be waiting.
    pub(super) is_ready: bool,
    /// After an error, as when the process has no descriptors left: not before this.
    pub(super) rests_until: Option<Instant>,
    /// Whether it was said that accepting fails.
    complained: bool,
}

/// Most sockets that one turn accepts.
const MOST_ACCEPTED: usize = 64;
/// How long accepting rests after an error.
const REST: Duration = Duration::from_millis(100);
/// More than a process has files for, as a rule.
const MOST_LISTENERS: usize = 64 * 1024;
/// Wakers of listeners are told from those of connections by their numbers.
pub(super) const LISTENERS: u32 = u32::MAX - MOST_LISTENERS as u32;

impl Shard {
    pub(super) fn listen(&mut self, listener: Arc<Listener>) {
        let is_known = self
            .listeners
            .iter()
            .any(|known| Arc::ptr_eq(&known.listener, &listener));
        if is_known {
            return;
        }
        if self.listeners.len() == MOST_LISTENERS {
            tracing::error!(
                "a hub accepts from at most {MOST_LISTENERS} listeners: this one is not served"
            );
            return;
        }
        let wakes = SlotWaker::new(
            self.mailbox.clone(),
            LISTENERS + self.listeners.len() as u32,
        );
        let waker = Waker::from(wakes.clone());
        self.listeners.push(Listening {
            listener,
            waker,
            wakes,
            is_ready: true,
            rests_until: None,
            complained: false,
        });
    }

    /// Takes sockets from the listeners and deals them out in turn.
    pub(super) fn accept(&mut self) {
        let mut accepted = Vec::new();
        for listening in &mut self.listeners {
            listening.rests_until.take_if(|until| *until <= self.now);
            while listening.rests_until.is_none()
                && listening.is_ready
                && accepted.len() < MOST_ACCEPTED
            {
                match listening.listener.accept(&listening.waker) {
                    Poll::Ready(Ok((socket, peer))) => {
                        if std::mem::take(&mut listening.complained) {
                            tracing::info!("accepting connections again");
                        }
                        accepted.push((socket, peer, listening.listener.clone()))
                    }
                    Poll::Ready(Err(error)) => {
                        // The peer may have gone again; or no descriptor is left, and trying at once would only burn CPU.
                        if !listening.complained && self.shared.accept_log.is_due(self.now) {
                            tracing::warn!(%error, "cannot accept connections, trying again ten times a second");
                            listening.complained = true;
                        }
                        listening.rests_until = Some(self.now + REST);
                    }
                    Poll::Pending => listening.is_ready = false,
                }
            }
        }
        for (socket, peer, listener) in accepted {
            let entry = Entry::Unknown(listener, peer);
            let newcomer = Newcomer {
                stream: Stream::Tcp(socket),
                input: Vec::new(),
                entry,
            };
            let shards = self.shared.directory.mailboxes.len();
            let shard = self.next_shard % shards;
            self.next_shard = (shard + 1) % shards;
            match shard == self.index {
                true => self.adopt(newcomer),
                false => self.shared.directory.mailboxes[shard].adopt(newcomer),
            }
        }
    }

    /// A socket moves in.
    pub(super) fn adopt(&mut self, newcomer: Newcomer) {
        let Newcomer {
            stream,
            input,
            entry,
        } = newcomer;
        if self.stops {
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.due.push(u32::MAX);
            self.connections.len() as u32 - 1
        });
        let wakes = SlotWaker::new(self.mailbox.clone(), slot);
        let waker = Waker::from(wakes.clone());
        self.generation = self.generation.wrapping_add(1);
        let until = self.now + FIRST_BYTE_TIMEOUT;
        let mut codec = Codec::default();
        let (role, then) = match entry {
            Entry::Unknown(listener, peer) => (
                Role::Front(Box::new(Front {
                    listener,
                    peer,
                    until,
                    stage: Stage::Start,
                })),
                None,
            ),
            // The session comes with the greeting.
            Entry::Knocked(decided, own) => {
                codec = own;
                (Role::Leaving(Leaving::soon(self.now)), Some(decided))
            }
        };
        self.connections[slot as usize] = Some(Box::new(Connection {
            stream,
            waker,
            wakes,
            codec,
            role,
            outbox: Outbox::default(),
            tail: input,
            stuck_since: None,
            generation: self.generation,
            is_listed: false,
            is_held: false,
            awaits_reminder: false,
        }));
        self.arm(slot, until);
        match then {
            None => {}
            Some(Ok(admitted)) => self.seat(slot, admitted),
            Some(Err(close)) => self.refuse(slot, close),
        }
        self.ready.push_back(slot);
    }
}
