//! [`Config`]: all that the server is told, gathered from flags, environment, `.env`, file and defaults.
//!
//! Each wins over those after it. Whatever is wrong stops the start, with place, key and remedy; what only has no effect
//! is a warning.

mod database;
mod env;
mod env_app;
mod file;
mod gather;
mod problem;
mod show;
mod table;
pub(crate) mod values;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use ipnet::IpNet;
use reverb_core::app_store::Keyring;
use reverb_core::protocol::App;

pub use self::database::{DatabaseSettings, DatabaseUrl, HiddenUrl};
pub use self::problem::Problem;

pub(crate) use self::database::{Said, said};

pub(crate) use self::env::lines;
pub(crate) use self::problem::did_you_mean;

use self::env::Environment;
use self::table::Found;
use crate::api::Token;
use crate::cli::Flags;

/// All that the server is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Address or host name to listen on; `127.0.0.1` by default.
    pub host: String,
    /// Port to listen on, 0 for any free one; 8080 by default.
    pub port: u16,
    /// What stands in front of `/app` and `/apps`: empty, or `/prefix`.
    pub path: String,
    /// The apps that are configured, beside those in the database.
    pub apps: Vec<App>,
    /// After how much silence a connection is checked; 30 s by default. Already set in all `apps`.
    pub activity_timeout: Duration,
    /// Whose `X-Forwarded-Proto` counts, for `force_tls`, and whose `X-Forwarded-For` for the management API's throttle.
    pub trusted_proxies: Vec<IpNet>,
    /// How long the system keeps a connection to itself until the peer has sent something; 5 s by default, 0 not at
    /// all. Whoever connects and says nothing costs nothing that long, and everybody else a wake-up less. Linux
    /// only.
    pub defer_accept: Duration,
    /// Where clients find us, if it is not where we listen; only snippets use it.
    pub public: PublicAddress,
    /// Where the database and its key are; `data` by default.
    pub data_dir: PathBuf,
    /// Another database than that in the data folder.
    pub database: DatabaseSettings,
    /// What seals the secrets in the database; by default the key in a file beside it.
    pub keyring: Option<Keyring>,
    /// What callers of the management API must show; without one it is closed to everybody.
    pub api_token: Option<Token>,
    /// How much work a new password is to hash: each more doubles it; 12 by default, as in Laravel.
    pub bcrypt_rounds: u32,
    /// Threads that carry the connections; one per processor by default.
    pub worker_threads: usize,
    /// What to log, as `RUST_LOG`; `info` by default.
    pub log: String,
    /// The files and other places that had a say, for the start-up lines.
    pub read_from: Vec<String>,
    /// The flags with which another command finds the same configuration, as in ` --config reverb.toml`.
    pub same_flags: String,
    /// Things without effect: one sentence each, for the log.
    pub warnings: Vec<String>,
    /// Where each value came from; see [`Config::origin`].
    origins: HashMap<String, String>,
}

/// Where clients find the server, as far as it was said: `REVERB_HOST`, `REVERB_PORT` and `REVERB_SCHEME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicAddress {
    /// Without scheme and port.
    pub host: Option<String>,
    /// Of the proxy in front, as a rule.
    pub port: Option<u16>,
    /// Whether clients speak TLS.
    pub tls: Option<bool>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Something in it is wrong; all of it that can be told at once.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
    /// A file cannot be read.
    #[error("cannot read {}, which {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why we wanted to, as in `--config names`.
        why: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

fn list(problems: &[Problem]) -> String {
    match problems {
        [one] => one.to_string(),
        many => many.iter().fold(
            format!("the configuration has {} mistakes", many.len()),
            |all, problem| format!("{all}\n  {problem}"),
        ),
    }
}

impl Default for Config {
    /// What is in force when nothing is said.
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            path: String::new(),
            apps: Vec::new(),
            activity_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            defer_accept: Duration::from_secs(5),
            public: PublicAddress::default(),
            data_dir: PathBuf::from("data"),
            database: DatabaseSettings::default(),
            keyring: None,
            api_token: None,
            bcrypt_rounds: 12,
            worker_threads: available_parallelism().map_or(1, usize::from),
            log: "info".to_owned(),
            read_from: Vec::new(),
            same_flags: String::new(),
            warnings: Vec::new(),
            origins: HashMap::new(),
        }
    }
}

impl Config {
    /// Gathers everything, and changes nothing: no variable is set, no file is written.
    ///
    /// # Errors
    /// A file cannot be read, or something that was said makes no sense.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let environment = Environment::new(std::env::vars_os(), flags.env_file.as_deref())?;
        gather::gather(flags, &environment)
    }

    /// Where a value came from: `reverb.toml:3`, `--port`, `REVERB_SERVER_PORT`, `.env:4` or `default`.
    ///
    /// Keys are those of the file; an app's is `app` and its id, as in `app 1001`.
    #[must_use]
    pub fn origin(&self, key: &str) -> &str {
        self.origins.get(key).map_or("default", String::as_str)
    }

    /// Everything in force as the lines of a configuration file, with where it came from; secrets as `***`.
    #[must_use]
    pub fn show(&self) -> String {
        show::show(self)
    }

    fn add_app(&mut self, app: Found<App>) {
        self.origins
            .insert(format!("app {}", app.value.id), app.from);
        self.apps.push(app.value);
    }
}
