//! The built binary, as people meet it in a terminal.

#[path = "../../../reverb-mysql/tests/support/mod.rs"]
mod mariadb;
mod place;

mod apps;
mod config;
mod database;
mod faults;
mod import;
mod mysql;
mod queue;
mod users;
