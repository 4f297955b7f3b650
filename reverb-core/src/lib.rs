//! Reverb Pusher
pub mod protocol;
pub mod session;
