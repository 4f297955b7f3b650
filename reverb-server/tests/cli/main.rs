//! The built binary, as people meet it in a terminal.

mod place;

mod apps;
mod config;
mod database;
