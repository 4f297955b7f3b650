//! Connections that others have accepted: a host's upgraded ones, and those that speak a transport of the host's own.

use std::sync::atomic::Ordering;

use http::request::Parts;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::protocol::{Close, SocketId};
use crate::transport::Transport;

use super::admit::Admitted;
use super::connection::Codec;
use super::mailbox::{Entry, Newcomer};
use super::stream::{self, Stream};
use super::{Hub, Shared};

impl Hub {
    /// Lets a connection in that speaks a transport of yours, as a client of the app with this key.
    ///
    /// Whatever the two say to each other to open the connection is said by now; the greeting is the hub's.
    /// `request` is what an [`Authorizer`](crate::hooks::Authorizer) is shown. The app's `allowed_origins` and
    /// `force_tls` are rules for browsers and are not asked.
    ///
    /// # Errors
    /// The client may not come in. It is told so over the stream, and the connection is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it resolves, the stream is dropped with it.
    pub async fn connect(
        &self,
        key: &str,
        request: Option<Parts>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        transport: impl Transport,
    ) -> Result<SocketId, Close> {
        let shared = self.shared();
        let decided = match shared.is_ending() {
            true => Err(Close::SHUTTING_DOWN),
            false => {
                shared
                    .clone()
                    .decide(
                        Some(key.to_owned()),
                        crate::wire::upgrade::usable,
                        request.map(Box::new),
                    )
                    .await
            }
        };
        let result = match &decided {
            Ok(admitted) => Ok(admitted.socket_id),
            Err(close) => Err(close.clone()),
        };
        let codec = Codec::Other(Box::new(transport));
        shared.take_in(Stream::Boxed(Box::new(stream)), Vec::new(), decided, codec);
        result
    }
}

impl Shared {
    /// A connection whose handshake a host has answered moves into a shard.
    pub(crate) fn take_in_upgraded(&self, upgraded: Upgraded, decided: Result<Admitted, Close>) {
        let (stream, input) = stream_below(upgraded);
        if let Stream::Tcp(socket) = &stream {
            stream::prepare(socket);
        }
        self.take_in(stream, input, decided, Codec::default());
    }

    fn take_in(
        &self,
        stream: Stream,
        input: Vec<u8>,
        decided: Result<Admitted, Close>,
        codec: Codec,
    ) {
        let entry = Entry::Knocked(decided, codec);
        let shards = &self.directory.mailboxes;
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % shards.len();
        shards[shard].adopt(Newcomer {
            stream,
            input,
            entry,
        });
    }
}

/// The stream below, and what was read from it already: the client's first message may have come with its handshake.
fn stream_below(upgraded: Upgraded) -> (Stream, Vec<u8>) {
    // The hub's own listener.
    let upgraded = match upgraded.downcast::<TokioIo<stream::Rewind>>() {
        Ok(parts) => {
            let (mut input, stream) = parts.io.into_inner().into_parts();
            // What hyper has read came before what it has not.
            let mut all = parts.read_buf.to_vec();
            all.append(&mut input);
            return (stream, all);
        }
        Err(upgraded) => upgraded,
    };
    // hyper without more.
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return (Stream::Tcp(parts.io.into_inner()), parts.read_buf.to_vec()),
        Err(upgraded) => upgraded,
    };
    // hyper as axum and others run it, which finds out first what HTTP is spoken.
    match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => (Stream::Tcp(parts.io.into_inner()), parts.read_buf.to_vec()),
        Err(upgraded) => (Stream::Boxed(Box::new(TokioIo::new(upgraded))), Vec::new()),
    }
}
