//! Opening the socket that everybody comes in by.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

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

/// Listens on this address; port 0 takes any free one. A connection is not ours before its peer has sent something, or
/// `defer_accept` has passed; 0 for at once.
///
/// # Errors
/// The address cannot be listened on; the text says what to do.
pub fn listen(host: &str, port: u16, defer_accept: Duration) -> Result<TcpListener, ListenError> {
    let unknown = |source| ListenError::Host {
        host: host.to_owned(),
        source,
    };
    let mut addresses = (host, port).to_socket_addrs().map_err(unknown)?;
    let address = addresses
        .next()
        .ok_or_else(|| unknown(io::ErrorKind::AddrNotAvailable.into()))?;
    open(address, defer_accept).map_err(|source| ListenError::Refused {
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

fn open(address: SocketAddr, defer: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A server that starts again at once shall not wait for its old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Inherited by what is accepted. The hub sets it as well, but until it listens clients may have come, and it would
    // have to set it on each of them.
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket.set_tcp_notsent_lowat(reverb_core::hub::MOST_UNSENT);
    socket.bind(&address.into())?;
    // It only saves work: a system that cannot do it serves as well.
    let _ = defer_accept(&socket, defer);
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Has the kernel hand over connections only once their peers have sent something. Clients and backends speak first, so
/// that nobody who means it waits for that; it saves a wake-up and a read for each.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "none of std, socket2, rustix and nix has a safe way to set this option"
)]
fn defer_accept(socket: &Socket, defer: Duration) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let seconds = libc::c_int::try_from(defer.as_secs()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the value is an int that outlives the call, with
    // its right size; the kernel reads it and keeps no pointer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn defer_accept(_: &Socket, _: Duration) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_told_with_its_address() {
        let first = listen("127.0.0.1", 0, Duration::ZERO).expect("a free port");
        let port = first.local_addr().expect("an address").port();
        let error = listen("127.0.0.1", port, Duration::ZERO)
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
        let error = listen("192.0.2.1", 0, Duration::ZERO)
            .expect_err("not ours")
            .to_string();
        assert!(error.contains("--host 0.0.0.0"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn whoever_says_nothing_is_not_ours_yet() {
        use tokio::io::AsyncWriteExt;
        use tokio::time::timeout;

        let listener = listen("127.0.0.1", 0, Duration::from_secs(60)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut client = tokio::net::TcpStream::connect(address)
            .await
            .expect("a connection");
        let moment = Duration::from_millis(50);
        assert!(timeout(moment, listener.accept()).await.is_err());
        client.write_all(b"G").await.expect("it is sent");
        let accepted = timeout(Duration::from_secs(5), listener.accept()).await;
        accepted.expect("soon").expect("a connection");
    }
}
