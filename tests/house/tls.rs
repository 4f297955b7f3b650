//! The hub behind a TLS listener of the host's: its service in axum, its clients and backends over TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use futures_util::{SinkExt, StreamExt};
use reverb_core::app_store::MemoryApps;
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::http::Secure;
use reverb_core::hub::{Hub, HubBuilder};
use reverb_core::protocol::Event;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::api::{md5, pairs, sign};
use crate::harness::{app, app_with, soon};
use crate::wire::{frame, handshake};

/// Takes connections that have shaken hands. Each does that in a task of its own, so that a slow one holds up nobody.
struct TlsListener {
    ready: mpsc::Receiver<(server::TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    fn start(socket: TcpListener, acceptor: TlsAcceptor) -> Self {
        let address = socket.local_addr().expect("an address");
        let (done, ready) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = socket.accept().await {
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
        Self { ready, address }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = server::TlsStream<TcpStream>;
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

/// A hub that axum hosts behind TLS.
struct TlsHouse {
    hub: Hub,
    address: SocketAddr,
    connector: TlsConnector,
}

impl TlsHouse {
    async fn open() -> Self {
        let apps = MemoryApps::from([app()]);
        Self::with(apps, |builder| builder, |site| site).await
    }

    async fn with(
        apps: MemoryApps,
        build: impl FnOnce(HubBuilder) -> HubBuilder,
        around: impl FnOnce(Router) -> Router,
    ) -> Self {
        let hub = build(Hub::builder(apps).shards(2)).build().expect("a hub");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let (acceptor, connector) = trust();
        let site = around(Router::new().fallback_service(hub.service()));
        let listener = TlsListener::start(socket, acceptor);
        tokio::spawn(async move { axum::serve(listener, site).await });
        Self {
            hub,
            address,
            connector,
        }
    }

    /// A connection that has shaken hands as TLS wants it.
    async fn stream(&self) -> client::TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().expect("a socket");
        // A client that does not read shall not have megabytes in its kernel first.
        socket.set_recv_buffer_size(16 * 1024).expect("a size");
        let stream = soon(socket.connect(self.address)).await.expect("a server");
        let name = ServerName::try_from("localhost").expect("a name");
        soon(self.connector.connect(name, stream))
            .await
            .expect("a certificate that it trusts")
    }

    /// A client that has shaken hands and heard nothing yet.
    async fn knock(&self, path: &str) -> TlsClient {
        let url = format!("wss://localhost{path}");
        let stream = self.stream().await;
        let (socket, _) = soon(tokio_tungstenite::client_async(url, stream))
            .await
            .expect("a handshake");
        TlsClient { socket }
    }

    /// A client that is in the channel.
    async fn subscriber(&self, channel: &str) -> TlsClient {
        let mut client = self.knock("/app/app-key").await;
        client.next("pusher:connection_established").await;
        client
            .send(json!({"event": "pusher:subscribe", "data": {"channel": channel}}))
            .await;
        client.next("pusher_internal:subscription_succeeded").await;
        client
    }

    /// Publishes as a backend does; the response, whole.
    async fn publish(&self, body: &Value) -> String {
        let (body, app) = (body.to_string(), app());
        let (time, md5) = (
            SystemClock.unix_time().as_secs().to_string(),
            md5(body.as_bytes()),
        );
        let query = pairs(&[
            ("auth_key", app.key.as_str()),
            ("auth_timestamp", &time),
            ("auth_version", "1.0"),
            ("body_md5", &md5),
        ]);
        let signature = sign(&app, &format!("POST\n/apps/1001/events\n{query}"));
        let request = format!(
            "POST /apps/1001/events?{query}&auth_signature={signature} HTTP/1.1\r\nHost: localhost\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = self.stream().await;
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it is taken");
        let mut response = String::new();
        soon(stream.read_to_string(&mut response))
            .await
            .expect("a response, and a proper end");
        response
    }
}

/// Both ends of TLS, with a certificate that the server has made itself and the client trusts. What encrypts is chosen
/// here and nowhere else: nothing is installed for the process.
fn trust() -> (TlsAcceptor, TlsConnector) {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a key that fits");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), Arc::new(client).into())
}

/// A WebSocket client over TLS.
struct TlsClient {
    socket: WebSocketStream<client::TlsStream<TcpStream>>,
}

impl TlsClient {
    async fn send(&mut self, message: Value) {
        soon(self.socket.send(Message::text(message.to_string())))
            .await
            .expect("the socket takes it");
    }

    /// The next message, which must be this event.
    #[track_caller]
    fn next<'a>(&'a mut self, event: &'a str) -> impl Future<Output = Value> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let message = match soon(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => text,
                other => panic!("{event} was expected at {place}, not {other:?}"),
            };
            let message: Value = serde_json::from_str(&message).expect("JSON");
            assert_eq!(message["event"], event, "{message} at {place}");
            message
        }
    }

    /// The next frame must close with this code; then TLS and TCP end as they should.
    #[track_caller]
    fn closed(&mut self, code: u16) -> impl Future<Output = ()> + '_ {
        let place = std::panic::Location::caller();
        async move {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    assert_eq!(u16::from(frame.code), code, "at {place}");
                }
                other => panic!("a close frame was expected at {place}, not {other:?}"),
            }
            let end = soon(self.socket.next()).await;
            let is_end = matches!(end, None | Some(Err(Error::ConnectionClosed)));
            assert!(is_end, "{end:?} at {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_backends_may_come_over_tls() {
    let house = TlsHouse::open().await;
    let mut ann = house.subscriber("news").await;
    let mut bob = house.subscriber("news").await;
    let large = "x".repeat(10 * 1024);
    for data in ["1", &large] {
        let response = house
            .publish(&json!({"name": "e", "channel": "news", "data": data}))
            .await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        for client in [&mut ann, &mut bob] {
            assert_eq!(client.next("e").await["data"], data);
        }
    }
    // In process it is the same hub.
    let event = Event::new("e", "2").to("news");
    let published = house.hub.publish("1001", event).await.expect("it is sent");
    assert_eq!(published.subscriptions, 2);
    ann.next("e").await;
    ann.send(json!({"event": "pusher:ping"})).await;
    ann.next("pusher:pong").await;
    soon(ann.socket.close(None)).await.expect("a close frame");
    while let Some(Ok(_)) = soon(ann.socket.next()).await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_with_the_handshake_is_heard_over_tls() {
    let house = TlsHouse::open().await;
    let mut stream = house.stream().await;
    let hurry = frame(0x81, br#"{"event":"pusher:ping"}"#);
    let bytes = [handshake("/app/app-key").as_bytes(), &hurry].concat();
    soon(stream.write_all(&bytes)).await.expect("it is taken");
    let mut heard = Vec::new();
    while !heard.windows(11).any(|part| part == b"pusher:pong") {
        let read = soon(stream.read_buf(&mut heard)).await.expect("an answer");
        assert!(read > 0, "{:?}", String::from_utf8_lossy(&heard));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn close_codes_arrive_over_tls() {
    let house = TlsHouse::open().await;
    let mut stranger = house.knock("/app/nobody").await;
    assert_eq!(stranger.next("pusher:error").await["data"]["code"], 4001);
    stranger.closed(4001).await;
    let mut lost = house.knock("/elsewhere").await;
    assert_eq!(lost.next("pusher:error").await["data"]["code"], 4005);
    lost.closed(4005).await;
    let mut binary = house.subscriber("news").await;
    let sent = binary.socket.send(Message::binary(vec![1])).await;
    sent.expect("the socket takes it");
    binary.closed(1003).await;
    let mut last = house.subscriber("news").await;
    let event = Event::new("last", "").to("news");
    house
        .hub
        .publish("1001", event)
        .await
        .expect("it is published");
    let drained = tokio::spawn({
        let hub = house.hub.clone();
        async move { hub.drain(Duration::ZERO).await }
    });
    last.next("last").await;
    last.next("pusher:error").await;
    last.closed(4200).await;
    drop((stranger, lost, binary, last));
    soon(drained).await.expect("it has drained");
}

/// TLS keeps what the socket does not take: that must not hide from the hub who takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_over_tls_is_cut_and_told() {
    let house = TlsHouse::open().await;
    let mut slow = house.subscriber("news").await;
    let large = "x".repeat(10 * 1024);
    let mut sent = 0;
    // What the kernel and TLS take of it, and the mebibyte that may wait.
    while house.hub.sizes().connections > 0 {
        assert!(sent < 5000, "it is still there after 50 MB");
        let event = Event::new("e", &*large).to("news");
        let published = house.hub.publish("1001", event).await;
        published.expect("nobody else is held up");
        sent += 1;
    }
    let mut heard = 0;
    let told = loop {
        match soon(slow.socket.next()).await {
            Some(Ok(Message::Text(text))) if text.starts_with(r#"{"event":"e""#) => heard += 1,
            Some(Ok(Message::Text(text))) => break text,
            other => panic!("events or an error were expected, not {other:?}"),
        }
    };
    assert!(heard < sent, "{heard} of {sent}");
    assert!(told.contains("4100") && told.contains("too slow"), "{told}");
    slow.closed(4100).await;
    house.subscriber("news").await;
}

/// The host says that a client came by TLS.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_wants_tls_gets_it_from_its_host() {
    let apps = || MemoryApps::from([app_with(|app| app.force_tls = true)]);
    let unsaid = TlsHouse::with(apps(), |builder| builder, |site| site).await;
    let mut client = unsaid.knock("/app/app-key").await;
    client.next("pusher:error").await;
    client.closed(4000).await;

    async fn came_by_tls(mut request: Request, next: Next) -> axum::response::Response {
        request.extensions_mut().insert(Secure);
        next.run(request).await
    }
    let said = TlsHouse::with(
        apps(),
        |builder| builder,
        |site| site.layer(middleware::from_fn(came_by_tls)),
    );
    said.await.subscriber("news").await;
}
