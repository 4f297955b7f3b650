//! What stands on the wire, below any meaning: HTTP heads, the WebSocket handshake, frames, and how an error is told.
//!
//! [`front`] reads the first bytes of a connection, [`upgrade`] the handshake, [`websocket`] the frames after it.

pub(crate) mod error;
pub(crate) mod front;
pub(crate) mod upgrade;
pub(crate) mod websocket;

use std::net::SocketAddr;
use std::time::Duration;

/// How long a request's body may take to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The client came by TLS, which the host has taken off itself: put it into the request's extensions, for
/// [`App::force_tls`](crate::protocol::App::force_tls).
#[derive(Clone, Copy, Debug, Default)]
pub struct Secure;

/// Whom a request came from, if whoever accepted the connection knows: put it into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);
