//! What the panel keeps: the same promises in SQLite, in MariaDB, and in a database of the PHP product.

#[path = "../../../reverb-mysql/tests/support/mod.rs"]
mod mariadb;

mod contract;
mod mysql;
mod php;
mod sqlite;
