//! [`Stream`]: the bytes below a connection, polled by its shard.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Bytes that the kernel takes for a client beyond what it can send at once: the `TCP_NOTSENT_LOWAT` of every TCP
/// connection of a hub on Linux. It would take 4 MiB; what waits in the hub is bounded, and counted.
///
/// [`Hub::listen`](super::Hub::listen) sets it. Who sets it, and `TCP_NODELAY`, before the socket listens saves two system
/// calls for each of the first connections.
pub const MOST_UNSENT: u32 = 128 * 1024;

/// Sets what every connection needs. What is accepted from a socket that listens inherits it. A system that cannot do it
/// serves as well.
pub(super) fn prepare<'a>(socket: impl Into<SockRef<'a>>) {
    let socket = socket.into();
    // Small frames must not wait for each other's acknowledgement.
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket.set_tcp_notsent_lowat(MOST_UNSENT);
}

/// Whether somebody has done so, or better.
pub(super) fn is_prepared<'a>(socket: impl Into<SockRef<'a>>) -> bool {
    let socket = socket.into();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if !socket
        .tcp_notsent_lowat()
        .is_ok_and(|bytes| (1..=MOST_UNSENT).contains(&bytes))
    {
        return false;
    }
    socket.tcp_nodelay().unwrap_or_default()
}

/// Anything that reads and writes bytes.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// The bytes below a connection: plain TCP without a detour, anything else boxed.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Boxed(Box<dyn Bytes>),
}

impl Stream {
    fn pinned(&mut self) -> Pin<&mut dyn Bytes> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Boxed(stream) => Pin::new(&mut **stream),
        }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Reads what is there; 0 is the end.
    pub(crate) fn read(&mut self, waker: &Waker, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(waker);
        let mut buffer = ReadBuf::new(into);
        let read = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(&mut context, &mut buffer),
            Self::Boxed(stream) => {
                safely(|| Pin::new(&mut **stream).poll_read(&mut context, &mut buffer))
            }
        };
        read.map_ok(|()| buffer.filled().len())
    }

    /// Writes what can be taken now.
    pub(crate) fn write(&mut self, waker: &Waker, from: &[u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(waker);
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(&mut context, from),
            Self::Boxed(stream) => {
                safely(|| Pin::new(&mut **stream).poll_write(&mut context, from))
                    // It would put us beyond the end of what we have.
                    .map_ok(|n| n.min(from.len()))
            }
        }
    }

    /// Pushes out what a layer in between, as TLS, holds back. TCP holds nothing.
    pub(crate) fn flush(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        let mut context = Context::from_waker(waker);
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Boxed(stream) => safely(|| Pin::new(&mut **stream).poll_flush(&mut context)),
        }
    }

    /// Ends the writing side.
    pub(crate) fn shutdown(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        let mut context = Context::from_waker(waker);
        safely(|| self.pinned().poll_shutdown(&mut context))
    }
}

/// A stream of somebody else's that panics is broken; it shall not take the shard's other clients with it.
fn safely<T>(poll: impl FnOnce() -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_| {
        tracing::error!("a stream panicked: its connection ends");
        Poll::Ready(Err(io::Error::other("the stream panicked")))
    })
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Boxed(_) => "Boxed",
        })
    }
}

/// A stream of which some bytes were read already: they come first. A peer that takes nothing of what is written for
/// [`WRITE_TIMEOUT`] is given up.
#[derive(Debug)]
pub(crate) struct Rewind {
    read: Vec<u8>,
    at: usize,
    stream: Stream,
    /// Runs while the peer takes nothing.
    patience: Option<Pin<Box<Sleep>>>,
}

/// How long a peer may take nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

impl Rewind {
    pub(crate) fn new(read: Vec<u8>, stream: Stream) -> Self {
        Self {
            read,
            at: 0,
            stream,
            patience: None,
        }
    }

    /// The stream, and the bytes that were not read again.
    pub(crate) fn into_parts(mut self) -> (Vec<u8>, Stream) {
        self.read.drain(..self.at);
        (self.read, self.stream)
    }

    /// What became of a try to write, unless the peer has taken nothing for too long.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        tried: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.patience = None;
            return tried;
        }
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        patience
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.read[self.at..];
        if left.is_empty() {
            return self.stream.pinned().poll_read(cx, buf);
        }
        let taken = left.len().min(buf.remaining());
        buf.put_slice(&left[..taken]);
        self.at += taken;
        if self.at == self.read.len() {
            (self.read, self.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = self.stream.pinned().poll_write(cx, buf);
        self.in_time(cx, tried)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = self.stream.pinned().poll_flush(cx);
        self.in_time(cx, tried)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.pinned().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = self.stream.pinned().poll_write_vectored(cx, bufs);
        self.in_time(cx, tried)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Boxed(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_of_an_answer_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut stream = Rewind::new(Vec::new(), Stream::Boxed(Box::new(ours)));
        let answer = [0; 4096];
        // As long as it takes a little now and then it may have the rest.
        let slow = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                let mut taken = [0; 1024];
                tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut taken)
                    .await
                    .expect("an answer");
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(&answer), slow);
        written.expect("it has taken enough");
        let error = stream
            .write_all(&answer)
            .await
            .expect_err("it takes nothing");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
