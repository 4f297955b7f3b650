//! The hub behind a TLS listener of one's own, and how both are shut down.
//!
//! ```sh
//! cargo run --example tls                          # makes a certificate for localhost, that nobody trusts
//! curl -k https://127.0.0.1:6443/
//! ```
//! Clients connect with `wss://127.0.0.1:6443/app/my-key`. Ctrl-C ends it: first no new connections, then the requests
//! that are under way, then the clients, who are told to come back.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Router, routing::get};
use reverb_core::app_store::MemoryApps;
use reverb_core::http::Secure;
use reverb_core::hub::Hub;
use reverb_core::protocol::App;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:6443");
    let mut app = App::new("1001", "my-key", "my-secret")?;
    // So that a client without TLS, on some other way in, is refused with 4000.
    app.force_tls = true;
    let hub = Hub::builder(MemoryApps::from([app])).build()?;
    let site = Router::new()
        .route("/", get(async || "Hello"))
        .fallback_service(hub.service())
        .layer(middleware::from_fn(came_by_tls));

    let listener = TlsListener::start(TcpListener::bind(address).await?, self_signed()?)?;
    println!("https://{}", listener.address);
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(async {
        axum::serve(listener, site)
            .with_graceful_shutdown(async { drop(stopped.await) })
            .await
    });
    tokio::signal::ctrl_c().await?;
    drop(stop);
    // Requests that are under way finish. axum would wait for ever for one that does not.
    let _ = tokio::time::timeout(Duration::from_secs(5), served).await;
    // It has let go of the clients when they shook hands: they are the hub's, and still there.
    hub.drain(Duration::from_secs(5)).await;
    Ok(())
}

/// Tells the hub that a client came by TLS, for apps that want that.
async fn came_by_tls(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Secure);
    next.run(request).await
}

/// Takes connections that have shaken hands as TLS wants it.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    /// Each shakes hands in a task of its own, and in ten seconds, so that a slow one holds up nobody.
    fn start(socket: TcpListener, acceptor: TlsAcceptor) -> std::io::Result<Self> {
        let address = socket.local_addr()?;
        let (done, ready) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = socket.accept() => accepted,
                    // axum takes no more.
                    () = done.closed() => return,
                };
                let Ok((stream, peer)) = accepted else {
                    // Out of file descriptors, for instance: that passes.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let (acceptor, done) = (acceptor.clone(), done.clone());
                tokio::spawn(async move {
                    let accepted = acceptor.accept(stream);
                    let accepted = tokio::time::timeout(Duration::from_secs(10), accepted).await;
                    if let Ok(Ok(stream)) = accepted {
                        let _ = done.send((stream, peer)).await;
                    }
                });
            }
        });
        Ok(Self { ready, address })
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A certificate of this program's own making. The provider is named, not installed for the whole process.
fn self_signed() -> Result<TlsAcceptor, Box<dyn Error>> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(Arc::new(config).into())
}
