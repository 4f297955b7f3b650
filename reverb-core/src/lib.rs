//! The Pusher Channels protocol as a library: sessions, a hub that holds all connections, and the HTTP API.
//!
//! # The house, and how an event walks through it
//!
//! ```text
//!  clients ──WebSocket──┐                              ┌──HTTP── backends
//!                       ▼                              ▼
//!              hub::hear (bytes)   hub::door   http (hyper, or any host's)
//!                       │                              │  signed? valid?      protocol::auth, protocol::event
//!                       ▼                              ▼
//!                 session (rules)               hub::publish                  written out once: protocol::outgoing
//!                       │ wishes                       │ mail to every shard that holds the channel
//!                       ▼                              ▼
//!                hub::perform ──directory──▶ hub::deliver ──outbox──▶ the wire
//! ```
//!
//! Dependencies point downwards only; what lies below knows nothing of what lies above:
//!
//! - [`http`] is the door for backends and for hosts like axum; it asks the hub.
//! - [`hub`] owns the connections. Its documentation says why it is built as it is, with the prices measured.
//! - [`app_store`], [`clock`], [`metrics`], [`hooks`] and [`transport`] are what a hub is given: traits, each with a default.
//! - [`queue`] is the back door: jobs that are done once, by one worker. The hub neither needs it nor knows of it.
//! - `wire` reads what stands on the wire: HTTP heads, the handshake, WebSocket frames.
//! - [`session`] is one connection's rules. It decides and never waits: no clock, no lock, no runtime.
//! - [`ledger`] says of a database's tables which steps bring them up to date; adapters take those.
//! - [`protocol`] is everything that can be said, read from borrowed text and written once as finished frames.
//!
//! Follow one event: a request comes in by `hub::door` (a plain signed publish, read by the shard that holds the
//! connection) or by [`http::HubService`] (everything else). `hub::accepted` reads the body of a signed request into
//! [`protocol::Event`]s. `hub::publish` writes each out as a [`protocol::Outgoing`], makes room on all shards concerned
//! and posts it to their mailboxes. `hub::shard` takes it in; `hub::deliver` puts the same bytes into the outbox of every
//! guest in the room, and writes them when it is that socket's turn. The publisher is answered when every shard has put
//! its events into the outboxes, and, while few wait to be written, when they are written too; but at once where many wait
//! in the shard that it is connected to.
//!
//! # Embedding
//!
//! ```no_run
//! use reverb_core::app_store::MemoryApps;
//! use reverb_core::hub::Hub;
//! use reverb_core::protocol::App;
//! use tokio::net::TcpListener;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let app = App::new("1001", "my-key", &std::env::var("APP_SECRET")?)?;
//!     let hub = Hub::builder(MemoryApps::from([app])).build()?;
//!     hub.listen(TcpListener::bind("127.0.0.1:6001").await?, hub.service());
//!     std::future::pending().await
//! }
//! ```
//! In axum, `hub.service()` is a fallback service beside your own routes. [`embedding`] is the whole guide.
//!
//! # Features
//!
//! - `hub` (default): the hub, its WebSocket transport and the HTTP API, on tokio. Without it the crate is the pure
//!   protocol: [`protocol`] and [`session`], which need no runtime.
//! - `contract`: what adapters promise, as tests that an adapter's own tests run.

pub mod ledger;
pub mod protocol;
pub mod session;

/// For implementations of [`AppStore`](app_store::AppStore), [`Authorizer`](hooks::Authorizer) and [`Queue`](queue::Queue).
#[cfg(feature = "hub")]
pub use async_trait::async_trait;

#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;

#[cfg(feature = "hub")]
pub mod app_store;
#[cfg(feature = "hub")]
pub mod clock;
#[cfg(feature = "contract")]
pub mod contract;
#[doc = include_str!("../docs/embedding.md")]
#[cfg(feature = "hub")]
pub mod embedding {}
#[cfg(feature = "hub")]
pub mod hooks;
#[cfg(feature = "hub")]
pub mod http;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "hub")]
pub mod metrics;
#[cfg(feature = "hub")]
pub mod queue;
#[cfg(feature = "hub")]
pub mod transport;
#[cfg(feature = "hub")]
mod wire;
