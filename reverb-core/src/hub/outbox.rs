//! [`Outbox`]: frames waiting for one socket, and the buffer in which several become one write.

use std::sync::Arc;

/// Bytes for a socket, shared by all that get the same.
pub(super) type Frame = Arc<[u8]>;

/// Frames waiting for one socket, first in, first out. With one frame waiting it allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    first: Option<Frame>,
    rest: Vec<Frame>,
    /// How much of the first frame is written.
    written: usize,
    /// What is left to write.
    bytes: usize,
}

/// What a frame costs besides its bytes, so that very many small ones count as well.
const ENTRY: usize = size_of::<Frame>();

impl Outbox {
    /// Adds a frame at the end.
    pub(super) fn push(&mut self, frame: Frame, spare: &mut Vec<Vec<Frame>>) {
        if frame.is_empty() {
            return;
        }
        self.bytes += frame.len();
        if self.first.is_none() {
            self.first = Some(frame);
            return;
        }
        if self.rest.capacity() == 0
            && let Some(list) = spare.pop()
        {
            self.rest = list;
        }
        self.rest.push(frame);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many frames are not yet written to their end.
    pub(super) fn frames(&self) -> usize {
        self.rest.len() + usize::from(self.first.is_some())
    }

    /// What the waiting frames hold, their entries included.
    pub(super) fn weight(&self) -> usize {
        self.bytes + self.rest.len() * ENTRY
    }

    /// Takes `n` written bytes off the front. An emptied list goes back to `spare`.
    pub(super) fn advance(&mut self, n: usize, spare: &mut Vec<Vec<Frame>>) {
        self.bytes -= n;
        if self.bytes == 0 {
            (self.first, self.written) = (None, 0);
            let mut list = std::mem::take(&mut self.rest);
            list.clear();
            if (1..=256).contains(&list.capacity()) && spare.len() < 4096 {
                spare.push(list);
            }
            return;
        }
        self.written += n;
        let mut done = 0;
        while let Some(frame) = self.frame(done)
            && self.written >= frame.len()
        {
            self.written -= frame.len();
            done += 1;
        }
        if done > 0 {
            self.first = self.rest.drain(..done).next_back();
        }
    }

    /// Drops everything but a frame that is partly written. Returns how many bytes are lost.
    pub(super) fn cut(&mut self) -> usize {
        self.rest = Vec::new();
        let kept = match &self.first {
            Some(first) if self.written > 0 => first.len() - self.written,
            _ => {
                self.first = None;
                0
            }
        };
        let lost = self.bytes - kept;
        self.bytes = kept;
        lost
    }

    fn frame(&self, n: usize) -> Option<&Frame> {
        if n == 0 {
            self.first.as_ref()
        } else {
            self.rest.get(n - 1)
        }
    }
}

/// The buffer in which several frames become one write.
///
/// While a ring is served, many sockets wait for the same frames: then the buffer serves the next one as it stands.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    buffer: Vec<u8>,
    /// What the buffer holds, if it begins with a whole frame. Held, so that an address means one frame only.
    frames: Vec<Frame>,
}

/// Most bytes that are joined for one write.
const MOST_JOINED: usize = 256 * 1024;

impl Joiner {
    /// The bytes to write next for this outbox; empty if nothing waits.
    pub(super) fn next<'a>(&'a mut self, outbox: &'a Outbox) -> &'a [u8] {
        let Some(first) = &outbox.first else {
            return &[];
        };
        if outbox.rest.is_empty() {
            return &first[outbox.written..];
        }
        if outbox.written > 0 || !self.holds(first, &outbox.rest) {
            self.join(first, outbox);
        }
        &self.buffer
    }

    fn holds(&self, first: &Frame, rest: &[Frame]) -> bool {
        let Some((held, others)) = self.frames.split_first() else {
            return false;
        };
        others.len() == rest.len()
            && Arc::ptr_eq(held, first)
            && others
                .iter()
                .zip(rest)
                .all(|(held, frame)| Arc::ptr_eq(held, frame))
    }

    fn join(&mut self, first: &Frame, outbox: &Outbox) {
        self.clear();
        self.buffer.extend_from_slice(&first[outbox.written..]);
        self.frames.push(first.clone());
        for frame in &outbox.rest {
            if self.buffer.len() + frame.len() > MOST_JOINED {
                break;
            }
            self.buffer.extend_from_slice(frame);
            self.frames.push(frame.clone());
        }
        if outbox.written > 0 || self.frames.len() <= outbox.rest.len() {
            // Only part of it: good for one write.
            self.frames.clear();
        }
    }

    /// Lets go of the frames it holds.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.frames.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Frame {
        bytes.into()
    }

    /// Writes everything in pieces of `piece` bytes.
    fn drain(outbox: &mut Outbox, piece: usize) -> Vec<u8> {
        let (mut joiner, mut spare, mut out) = (Joiner::default(), Vec::new(), Vec::new());
        while !outbox.is_empty() {
            let bytes = joiner.next(outbox);
            let n = bytes.len().min(piece);
            out.extend_from_slice(&bytes[..n]);
            outbox.advance(n, &mut spare);
        }
        assert_eq!((outbox.weight(), outbox.frames()), (0, 0));
        out
    }

    #[test]
    fn frames_leave_in_order_whatever_a_write_takes() {
        for piece in 1..12 {
            let (mut outbox, mut spare) = (Outbox::default(), Vec::new());
            for part in ["ab", "c", "defg", "", "hi"] {
                outbox.push(frame(part.as_bytes()), &mut spare);
            }
            assert_eq!(drain(&mut outbox, piece), b"abcdefghi", "{piece}");
        }
    }

    #[test]
    fn the_joined_buffer_serves_the_next_socket_with_the_same_frames() {
        let (a, b, c) = (frame(b"a"), frame(b"b"), frame(b"c"));
        let (mut one, mut two, mut three) =
            (Outbox::default(), Outbox::default(), Outbox::default());
        let mut spare = Vec::new();
        for (outbox, frames) in [
            (&mut one, [&a, &b]),
            (&mut two, [&a, &b]),
            (&mut three, [&a, &c]),
        ] {
            frames
                .into_iter()
                .for_each(|frame| outbox.push(frame.clone(), &mut spare));
        }
        let mut joiner = Joiner::default();
        assert_eq!(joiner.next(&one), b"ab");
        assert!(joiner.holds(&a, &two.rest));
        assert_eq!(joiner.next(&two), b"ab");
        assert_eq!(joiner.next(&three), b"ac");
    }

    #[test]
    fn a_cut_keeps_the_half_written_frame() {
        let (mut outbox, mut spare) = (Outbox::default(), Vec::new());
        outbox.push(frame(b"abc"), &mut spare);
        outbox.push(frame(b"defg"), &mut spare);
        outbox.advance(1, &mut spare);
        assert_eq!(outbox.cut(), 4);
        outbox.push(frame(b"!"), &mut spare);
        assert_eq!(drain(&mut outbox, 100), b"bc!");
    }
}
