//! [`Stream`]: the bytes below a connection, polled by its shard.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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

    /// Reads what is there; 0 is the end.
    pub(crate) fn read(&mut self, waker: &Waker, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(waker);
        let mut buffer = ReadBuf::new(into);
        let read = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(&mut context, &mut buffer),
            Self::Boxed(stream) => Pin::new(&mut **stream).poll_read(&mut context, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }

    /// Writes what can be taken now.
    pub(crate) fn write(&mut self, waker: &Waker, from: &[u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(waker);
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(&mut context, from),
            Self::Boxed(stream) => Pin::new(&mut **stream).poll_write(&mut context, from),
        }
    }

    /// Pushes out what a layer in between, as TLS, holds back. TCP holds nothing.
    pub(crate) fn flush(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Boxed(stream) => {
                Pin::new(&mut **stream).poll_flush(&mut Context::from_waker(waker))
            }
        }
    }

    /// Ends the writing side.
    pub(crate) fn shutdown(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        self.pinned().poll_shutdown(&mut Context::from_waker(waker))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Boxed(_) => "Boxed",
        })
    }
}

/// A stream of which some bytes were read already: they come first.
#[derive(Debug)]
pub(crate) struct Rewind {
    read: Vec<u8>,
    at: usize,
    stream: Stream,
}

impl Rewind {
    pub(crate) fn new(read: Vec<u8>, stream: Stream) -> Self {
        Self {
            read,
            at: 0,
            stream,
        }
    }

    /// The stream, and the bytes that were not read again.
    pub(crate) fn into_parts(mut self) -> (Vec<u8>, Stream) {
        self.read.drain(..self.at);
        (self.read, self.stream)
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
        self.stream.pinned().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.pinned().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.pinned().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.pinned().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Boxed(stream) => stream.is_write_vectored(),
        }
    }
}
