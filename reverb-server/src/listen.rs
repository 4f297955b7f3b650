//! Opening the socket that everybody comes in by.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// How many connections may wait to be accepted. The kernel lowers it to `net.core.somaxconn`; when all clients come
/// back at once, a short queue turns some of them away.
const BACKLOG: i32 = 4096;

/// Why nobody can come in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The name of the host stands for no address.
    #[error(
        "cannot listen on {host:?}: it is no address of this machine; use 127.0.0.1, or 0.0.0.0 for all addresses \
         (--host, REVERB_SERVER_HOST)"
    )]
    Host {
        /// What was asked for.
        host: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system does not let us.
    #[error("cannot listen on {address}: {remedy}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What is wrong and what to do.
        remedy: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Listens on this address; port 0 takes any free one.
///
/// # Errors
/// The address cannot be listened on; the text says what to do.
pub fn listen(host: &str, port: u16) -> Result<TcpListener, ListenError> {
    let unknown = |source| ListenError::Host {
        host: host.to_owned(),
        source,
    };
    let mut addresses = (host, port).to_socket_addrs().map_err(unknown)?;
    let address = addresses
        .next()
        .ok_or_else(|| unknown(io::ErrorKind::AddrNotAvailable.into()))?;
    open(address).map_err(|source| ListenError::Refused {
        address,
        remedy: remedy(source.kind()),
        source,
    })
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "another program listens there already, maybe another reverb-server; stop it, or choose another port with \
             --port (REVERB_SERVER_PORT)"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges; choose another with --port (REVERB_SERVER_PORT), or grant \
             CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no such address on this machine; --host 0.0.0.0 (REVERB_SERVER_HOST) listens on all of them"
        }
        _ => "check --host (REVERB_SERVER_HOST) and --port (REVERB_SERVER_PORT)",
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A server that starts again at once shall not wait for its old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Inherited by what is accepted.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_told_with_its_address() {
        let first = listen("127.0.0.1", 0).expect("a free port");
        let port = first.local_addr().expect("an address").port();
        let error = listen("127.0.0.1", port)
            .expect_err("the port is taken")
            .to_string();
        assert!(
            error.starts_with(&format!(
                "cannot listen on 127.0.0.1:{port}: another program"
            )),
            "{error}"
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_with_advice() {
        let error = listen("192.0.2.1", 0).expect_err("not ours").to_string();
        assert!(error.contains("--host 0.0.0.0"), "{error}");
    }
}
