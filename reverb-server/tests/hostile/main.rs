//! The built server among people who mean it harm: what they send, what it costs, and that nobody else notices.
//!
//! Each test starts the binary for itself, watches it from outside by what Linux tells of a process, and ends by seeing
//! that an honest client is still served within a second, that SIGTERM ends it with exit code 0, and that nothing in it
//! panicked. Figures go to standard error: `cargo test -p reverb-server --test hostile -- --nocapture`.
#![cfg(target_os = "linux")]

mod backend;
mod client;
mod server;
mod wire;

mod apps;
mod bodies;
mod bombs;
mod crowds;
mod floods;
mod forged_requests;
mod forged_subscriptions;
mod frames;
mod garbage;
mod members;
mod messages;
mod publishing;
mod requests;
mod shapes;
mod sizes;
mod slow_readers;
mod slow_senders;
mod smuggling;
mod visits;
