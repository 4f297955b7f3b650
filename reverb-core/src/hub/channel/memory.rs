//! The last event of a cache channel: what it remembers, for how long, and within which bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::protocol::Outgoing;

use super::super::chores::Chore;
use super::super::desk::Desk;
use super::super::directory::Directory;
use super::super::publish::Item;
use super::{Channel, State};

/// The last event of a cache channel.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) message: Outgoing,
    /// Where the event's data stands in the message.
    pub(super) data: std::ops::Range<usize>,
    pub(super) until: Instant,
}

/// What a remembered event costs besides its bytes: its channel, with a name and a place in the directory, and the chore
/// that forgets it. Measured with a million channels of one byte each.
const REMEMBERED_ENTRY: usize = 384;

/// Most bytes that an app's cache channels may remember together.
const MOST_REMEMBERED: usize = 64 << 20;

/// What remembering this message takes of [`MOST_REMEMBERED`].
fn weight(message: &Outgoing) -> usize {
    message.frame().len() + REMEMBERED_ENTRY
}

impl Channel {
    /// The JSON of the last event's data, and how long it will be remembered.
    pub(crate) fn remembered(&self, now: Instant) -> Option<(String, Duration)> {
        let state = self.state.lock();
        let remembered = state
            .remembered
            .as_ref()
            .filter(|remembered| remembered.until > now)?;
        Some((
            remembered.message.text()[remembered.data.clone()].to_owned(),
            remembered.until - now,
        ))
    }

    /// Remembers an event, instead of the last one.
    pub(super) fn remember(
        self: &Arc<Self>,
        directory: &Directory,
        desk: &Arc<Desk>,
        state: &mut State,
        item: &Item,
        now: Instant,
    ) {
        let freed = state
            .remembered
            .take()
            .map_or(0, |old| weight(&old.message));
        let used = desk.remembered.fetch_sub(freed, Ordering::AcqRel) - freed;
        let size = weight(&item.message);
        if item.ttl.is_zero() {
            return;
        }
        if used + size > MOST_REMEMBERED {
            // Better none than an old one: newcomers get a cache_miss and ask their backend.
            if desk.cache_log.is_due(now) {
                tracing::warn!(app = %desk.app().id, channel = %self.name, bytes = used, "cache channels are full: event not remembered");
            }
            return;
        }
        desk.remembered.fetch_add(size, Ordering::AcqRel);
        let until = now + item.ttl;
        let (message, data) = (item.message.clone(), item.data.clone());
        state.remembered = Some(Box::new(Remembered {
            message,
            data,
            until,
        }));
        if !std::mem::replace(&mut state.is_due, true) {
            directory.chores.add(
                until,
                Chore::Forget {
                    desk: desk.clone(),
                    channel: self.clone(),
                },
            );
        }
    }

    /// The remembered event may be too old by now.
    pub(in super::super) fn forget(
        self: &Arc<Self>,
        directory: &Directory,
        desk: &Arc<Desk>,
        now: Instant,
    ) {
        let mut state = self.state.lock();
        if let Some(remembered) = &state.remembered {
            if remembered.until > now {
                let until = remembered.until;
                return directory.chores.add(
                    until,
                    Chore::Forget {
                        desk: desk.clone(),
                        channel: self.clone(),
                    },
                );
            }
            desk.remembered
                .fetch_sub(weight(&remembered.message), Ordering::AcqRel);
            state.remembered = None;
        }
        state.is_due = false;
        drop(state);
        if !self.is_heard() {
            desk.close(self);
        }
    }
}
