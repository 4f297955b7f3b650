//! The server around [`reverb_core`]: what it is told, what it says, and how it starts and stops.
//!
//! The binary is a thin shell: it reads its command line ([`cli`]), loads a [`config`], raises its open-file limit
//! ([`limits`]) and runs ([`run`]), or obeys another [`command`]. Everything is in this library, so that tests start the same server on a free port.
//!
//! ```
//! use reverb_server::cli::Flags;
//! use reverb_server::config::Config;
//!
//! let config = Config::load(&Flags { port: Some(0), ..Flags::default() })?;
//! assert_eq!(config.port, 0);
//! # Ok::<(), reverb_server::config::ConfigError>(())
//! ```

pub mod api;
pub mod apps;
pub mod cli;
pub mod command;
pub mod config;
pub mod limits;
pub mod listen;
pub mod logging;
pub mod memory;
pub mod panel;
pub mod password;
pub mod run;
pub mod shutdown;
pub mod site;
pub mod snippets;
pub mod startup;
mod worker;
