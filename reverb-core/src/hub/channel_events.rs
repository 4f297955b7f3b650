//! [`ChannelEvents`]: what is said in a channel, for code that lives in the same process.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_core::Stream;

use crate::hooks::{ChannelEvent, Feed, Missed, Reader};
use crate::protocol::ChannelName;

use super::channel::Channel;
use super::desk::Desk;

/// What is said in a channel. Made by [`AppHandle::subscribe`](super::AppHandle::subscribe).
///
/// A stream that ends with the hub. Where the reader was too slow, it says how many events were missed. Dropping it
/// ends the subscription.
pub struct ChannelEvents {
    reader: Reader<ChannelEvent>,
    desk: Weak<Desk>,
    channel: Weak<Channel>,
}

impl ChannelEvents {
    pub(super) fn open(
        desk: &Arc<Desk>,
        name: &ChannelName,
        capacity: usize,
        now: Instant,
    ) -> Self {
        let (mut feed, reader) = Feed::new(capacity);
        let channel = loop {
            let channel = desk.open(name);
            match channel.listen(feed, now) {
                Ok(()) => break channel,
                // The directory has forgotten it meanwhile.
                Err(back) => feed = back,
            }
        };
        Self {
            reader,
            desk: Arc::downgrade(desk),
            channel: Arc::downgrade(&channel),
        }
    }

    /// The next event, or how many were missed at this point; `None` once the hub has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<ChannelEvent, Missed>> {
        std::future::poll_fn(|context| Pin::new(&mut self.reader).poll_next(context)).await
    }

    /// How many events were missed from the beginning on.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.reader.all_missed()
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        if let (Some(desk), Some(channel)) = (self.desk.upgrade(), self.channel.upgrade()) {
            channel.stop_listening(&self.reader);
            if channel.is_bare() {
                desk.close(&channel);
            }
        }
    }
}

impl Stream for ChannelEvents {
    type Item = Result<ChannelEvent, Missed>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.reader).poll_next(context)
    }
}

impl Drop for ChannelEvents {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for ChannelEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelEvents")
            .field(
                "channel",
                &self.channel.upgrade().map(|channel| channel.name.clone()),
            )
            .finish_non_exhaustive()
    }
}
