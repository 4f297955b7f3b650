//! [`Config`]: all that the server is told, gathered from flags, environment, `.env`, file and defaults.
//!
//! Each wins over those after it. Whatever is wrong stops the start, with place, key and remedy; what only has no effect
//! is a warning.

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
use reverb_core::protocol::App;

pub use self::problem::Problem;

use self::env::Environment;
use self::table::Found;
use crate::cli::Flags;
use crate::first_app;

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
    /// The apps. Empty if none was configured and the data folder has none yet: [`Config::make_app`] mends that.
    pub apps: Vec<App>,
    /// After how much silence a connection is checked; 30 s by default. Already set in all `apps`.
    pub activity_timeout: Duration,
    /// Whose `X-Forwarded-Proto` counts, for `force_tls`.
    pub trusted_proxies: Vec<IpNet>,
    /// How long the system keeps a connection to itself until the peer has sent something; 5 s by default, 0 not at
    /// all. Whoever connects and says nothing costs nothing that long, and everybody else a wake-up less. Linux
    /// only.
    pub defer_accept: Duration,
    /// Where clients find us, if it is not where we listen; only snippets use it.
    pub public: PublicAddress,
    /// Where the server keeps its own app; `data` by default.
    pub data_dir: PathBuf,
    /// Threads that carry the connections; one per processor by default.
    pub worker_threads: usize,
    /// What to log, as `RUST_LOG`; `info` by default.
    pub log: String,
    /// The files and other places that had a say, for the start-up lines.
    pub read_from: Vec<String>,
    /// The flags with which another command finds the same configuration, as in ` --config reverb.toml`.
    pub same_flags: String,
    /// Things without effect, and secrets that others can read: one sentence each, for the log.
    pub warnings: Vec<String>,
    /// What is good to know, but nothing to mend: one sentence each, for the log.
    pub notes: Vec<String>,
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
            worker_threads: available_parallelism().map_or(1, usize::from),
            log: "info".to_owned(),
            read_from: Vec::new(),
            same_flags: String::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
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
        let config = gather::gather(flags, &environment)?;
        config.with_app_of_data_folder()
    }

    /// Where a value came from: `reverb.toml:3`, `--port`, `REVERB_SERVER_PORT`, `.env:4` or `default`.
    ///
    /// Keys are those of the file; an app's is `app` and its id, as in `app 1001`.
    #[must_use]
    pub fn origin(&self, key: &str) -> &str {
        self.origins.get(key).map_or("default", String::as_str)
    }

    /// Makes an app and keeps it in the data folder, if there is no app at all; says whether it did.
    ///
    /// # Errors
    /// The data folder cannot be written.
    pub fn make_app(&mut self) -> Result<bool, first_app::FirstAppError> {
        if !self.apps.is_empty() {
            return Ok(false);
        }
        let mut app = first_app::make(&self.data_dir)?;
        app.activity_timeout = self.activity_timeout;
        let path = first_app::path(&self.data_dir).display().to_string();
        self.add_app(Found::new(app, path));
        Ok(true)
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

    /// The app that an earlier start has made counts only where nobody configured one.
    fn with_app_of_data_folder(mut self) -> Result<Self, ConfigError> {
        use io::ErrorKind::{NotADirectory, NotFound};
        let path = first_app::path(&self.data_dir);
        let name = path.display().to_string();
        if !self.apps.is_empty() {
            if path.exists() {
                let note = format!("apps are configured, so the one in {name} is not used");
                self.notes.push(note);
            }
            return Ok(self);
        }
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // Of a folder that can be none, whoever wants to write there will tell.
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(self),
            Err(source) => {
                let why = "holds the server's own app".to_owned();
                return Err(ConfigError::Unreadable { path, why, source });
            }
        };
        let apps = file::read_apps(&name, &text).map_err(ConfigError::Invalid)?;
        if apps.is_empty() {
            return Err(ConfigError::Invalid(vec![Problem {
                place: name,
                key: String::new(),
                message: "holds no app; delete the file, and the next start makes a new one"
                    .to_owned(),
            }]));
        }
        self.warnings.extend(first_app::exposed(&path));
        for mut app in apps {
            app.value.activity_timeout = self.activity_timeout;
            self.add_app(app);
        }
        Ok(self)
    }
}
