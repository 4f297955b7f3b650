//! Those who listen to a channel in this process. They are no subscribers: they do not occupy it, but keep it known.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::hooks::{ChannelEvent, Feed, Reader};

use super::super::shards::Shards;
use super::Channel;

impl Channel {
    /// Adds somebody who listens in this process.
    ///
    /// # Errors
    /// The directory has forgotten this channel: it must be looked up again.
    pub(in super::super) fn listen(
        &self,
        feed: Feed<ChannelEvent>,
        now: Instant,
    ) -> Result<(), Feed<ChannelEvent>> {
        let mut state = self.state.lock();
        if state.retired {
            return Err(feed);
        }
        if let Some(remembered) = state.remembered.as_ref().filter(|last| last.until > now) {
            feed.push(ChannelEvent::new(&remembered.message));
        }
        let mut listeners = std::mem::take(&mut state.listeners).into_vec();
        listeners.push(feed);
        state.listeners = listeners.into();
        self.shards.fetch_or(Shards::LISTENERS.0, Ordering::AcqRel);
        Ok(())
    }

    /// Somebody listens no more.
    pub(in super::super) fn stop_listening(&self, reader: &Reader<ChannelEvent>) {
        self.keep_listeners(|feed| !feed.leads_to(reader));
    }

    /// Nobody listens any more: the hub has ended.
    pub(in super::super) fn end_listening(&self) {
        self.keep_listeners(|_| false);
    }

    fn keep_listeners(&self, keep: impl FnMut(&Feed<ChannelEvent>) -> bool) {
        let mut state = self.state.lock();
        let mut listeners = std::mem::take(&mut state.listeners).into_vec();
        listeners.retain(keep);
        state.listeners = listeners.into();
        if state.listeners.is_empty() {
            self.shards
                .fetch_and(!Shards::LISTENERS.0, Ordering::AcqRel);
        }
    }
}
