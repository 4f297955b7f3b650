//! The hub as its users meet it: real WebSocket and HTTP, over real sockets.

mod api;
mod client;
mod harness;
mod wire;

mod app_changes;
mod app_store;
mod apps;
mod cache;
mod channels;
mod client_events;
mod connection;
mod drain;
mod embed;
mod frames;
mod hooks;
mod http_api;
mod http_bounds;
mod http_wire;
mod in_process;
mod liveness;
mod presence;
mod properties;
mod public_types;
mod publishing;
mod runtimes;
mod secrets;
mod signatures;
mod tls;
mod transport;
mod users;
