//! The web panel; so far what it keeps.

pub mod store;
