//! [`Listener`]: a socket that the hub accepts from, and who serves what the shards do not answer themselves.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app_store::BoxError;
use crate::wire::Peer;

use super::connection::IDLE_TIMEOUT;
use super::stream::{self, Rewind, Stream};

/// Most that may wait in a socket's queue when it comes here: `net.core.somaxconn` is seldom a sixteenth of it.
const LONGEST_QUEUE: u32 = 65_536;

/// A socket that the hub accepts from.
pub(crate) struct Listener {
    /// Gone once the hub drains, so that newcomers are turned away rather than left waiting.
    socket: Mutex<Option<Open>>,
    /// Serves a connection that is no WebSocket and no plain publish.
    site: Box<dyn Fn(Rewind, SocketAddr, Drains) + Send + Sync>,
    /// Heard by every connection that is served.
    drains: watch::Sender<Option<Instant>>,
}

/// A socket that listens.
#[derive(Debug)]
struct Open {
    socket: TcpListener,
    /// How many may still come that are older than what is set on `socket`. Those after them inherit it.
    early: u32,
}

/// Hears that the hub drains, and until when what is under way may take.
type Drains = watch::Receiver<Option<Instant>>;

/// How long requests under way may take when the hub has ended without being drained.
const LAST_REQUESTS: Duration = Duration::from_secs(30);

impl Listener {
    /// Accepts from `socket`; `site` answers every request that the shards leave.
    pub(super) fn new<S, B>(socket: TcpListener, site: S) -> Arc<Self>
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let early = match stream::is_prepared(&socket) {
            // It was before anybody could come.
            true => 0,
            false => LONGEST_QUEUE,
        };
        stream::prepare(&socket);
        let site = move |stream, peer, drains| {
            let site = WithPeer {
                site: site.clone(),
                peer,
            };
            tokio::spawn(serve(stream, site, drains));
        };
        Arc::new(Self {
            socket: Mutex::new(Some(Open { socket, early })),
            site: Box::new(site),
            drains: watch::Sender::new(None),
        })
    }

    /// Takes one connection, if one waits.
    pub(super) fn accept(&self, waker: &Waker) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let mut listening = self.socket.lock();
        let Some(Open { socket, early }) = &mut *listening else {
            return Poll::Pending;
        };
        let accepted = socket.poll_accept(&mut Context::from_waker(waker));
        if let Poll::Ready(Ok((stream, _))) = &accepted
            && *early > 0
        {
            *early -= 1;
            stream::prepare(stream);
        }
        accepted
    }

    /// Hands a connection to the site, with what was read from it.
    pub(super) fn hand_over(&self, read: Vec<u8>, stream: Stream, peer: SocketAddr) {
        (self.site)(Rewind::new(read, stream), peer, self.drains.subscribe());
    }

    /// Turns newcomers away, and tells the connections that the site serves to finish what they do in this time.
    pub(super) fn drain(&self, grace: Duration) {
        self.socket.lock().take();
        self.drains.send_replace(Some(Instant::now() + grace));
    }

    /// How many connections the site serves.
    pub(super) fn served(&self) -> usize {
        self.drains.receiver_count()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

async fn serve<S, B>(stream: Rewind, site: WithPeer<S>, mut drains: Drains)
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // Whoever has said all it has to say still hears the answer.
        .half_close(true)
        // It also runs while a kept connection is idle. The first head was whole before it came here.
        .header_read_timeout(IDLE_TIMEOUT)
        .max_headers(64)
        .max_buf_size(32 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(site))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let draining = async {
        let until = drains.wait_for(Option::is_some).await;
        let until = until.ok().and_then(|until| *until);
        until.unwrap_or_else(|| Instant::now() + LAST_REQUESTS)
    };
    let ended = tokio::select! {
        // First of all the request that was read already: before that hyper has nothing to finish.
        biased;
        ended = connection.as_mut() => Ok(ended),
        until = draining => Err(until),
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(until) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout_at(until, connection)
                .await
                .unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection broke off");
    }
}

/// Puts the peer's address where the hub's service finds it.
#[derive(Clone)]
struct WithPeer<S> {
    site: S,
    peer: SocketAddr,
}

impl<S: tower_service::Service<Request<Incoming>>> tower_service::Service<Request<Incoming>>
    for WithPeer<S>
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.site.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Peer(self.peer));
        self.site.call(request)
    }
}
