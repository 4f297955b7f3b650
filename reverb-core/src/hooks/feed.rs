//! [`Feed`]: a bounded queue whose writer never waits and whose reader is told what it missed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use parking_lot::Mutex;

/// So many items came while there was no room for them, at this point of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} were missed: the reader was too slow")]
pub struct Missed(pub u64);

/// The writing end.
#[derive(Debug)]
pub(crate) struct Feed<T>(Arc<Mutex<Queue<T>>>);

/// The reading end.
#[derive(Debug)]
pub(crate) struct Reader<T>(Arc<Mutex<Queue<T>>>);

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<Result<T, Missed>>,
    capacity: usize,
    /// Missed since the last item in the queue.
    missed: u64,
    all_missed: u64,
    reader: Option<Waker>,
    /// One of the ends is gone.
    is_closed: bool,
}

impl<T> Feed<T> {
    /// Both ends of a feed that holds this many items, at least one.
    pub(crate) fn new(capacity: usize) -> (Self, Reader<T>) {
        let queue = Arc::new(Mutex::new(Queue {
            items: VecDeque::new(),
            capacity: capacity.max(1),
            missed: 0,
            all_missed: 0,
            reader: None,
            is_closed: false,
        }));
        (Self(queue.clone()), Reader(queue))
    }

    /// Adds an item, or counts it as missed if there is no room.
    pub(crate) fn push(&self, item: T) {
        let reader = {
            let mut queue = self.0.lock();
            if queue.is_closed {
                return;
            }
            if queue.items.len() >= queue.capacity {
                queue.missed += 1;
                queue.all_missed += 1;
                return;
            }
            let missed = std::mem::take(&mut queue.missed);
            if missed > 0 {
                queue.items.push_back(Err(Missed(missed)));
            }
            queue.items.push_back(Ok(item));
            queue.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Whether this is the other end of that reader.
    pub(crate) fn leads_to(&self, reader: &Reader<T>) -> bool {
        Arc::ptr_eq(&self.0, &reader.0)
    }
}

impl<T> Feed<T> {
    /// Nothing more will come.
    pub(crate) fn close(&self) {
        let reader = {
            let mut queue = self.0.lock();
            queue.is_closed = true;
            queue.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> Reader<T> {
    /// How much was missed from the beginning on.
    pub(crate) fn all_missed(&self) -> u64 {
        self.0.lock().all_missed
    }
}

impl<T> Stream for Reader<T> {
    type Item = Result<T, Missed>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.0.lock();
        if let Some(item) = queue.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        // Whoever has caught up is told at once.
        match std::mem::take(&mut queue.missed) {
            0 if queue.is_closed => Poll::Ready(None),
            0 => {
                queue.reader = Some(context.waker().clone());
                Poll::Pending
            }
            missed => Poll::Ready(Some(Err(Missed(missed)))),
        }
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.is_closed = true;
        queue.items.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next<T>(reader: &mut Reader<T>) -> Poll<Option<Result<T, Missed>>> {
        Pin::new(reader).poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_was_missed_is_told_where_it_is_missing() {
        let (feed, mut reader) = Feed::new(2);
        (1..=5).for_each(|n| feed.push(n));
        assert_eq!(next(&mut reader), Poll::Ready(Some(Ok(1))));
        feed.push(6);
        assert_eq!(next(&mut reader), Poll::Ready(Some(Ok(2))));
        assert_eq!(next(&mut reader), Poll::Ready(Some(Err(Missed(3)))));
        assert_eq!(next(&mut reader), Poll::Ready(Some(Ok(6))));
        assert_eq!(next(&mut reader), Poll::Pending);
        assert_eq!(reader.all_missed(), 3);
        (7..=9).for_each(|n| feed.push(n));
        drop(feed);
        let rest: Vec<_> = std::iter::from_fn(|| match next(&mut reader) {
            Poll::Ready(item) => item,
            Poll::Pending => panic!("the feed has ended"),
        })
        .collect();
        assert_eq!(rest, [Ok(7), Ok(8), Err(Missed(1))]);
    }
}
