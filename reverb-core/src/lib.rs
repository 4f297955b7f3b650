//! Reverb Pusher: the Pusher Channels protocol as a library.
pub mod protocol;
pub mod session;

#[cfg(feature = "hub")]
pub mod app_store;
#[cfg(feature = "hub")]
pub mod clock;
#[cfg(feature = "hub")]
pub mod http;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "hub")]
pub mod metrics;
