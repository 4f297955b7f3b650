//! The command line: [`Cli`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use reverb_core::protocol::{ClientEvents, Webhook};
use reverb_core::queue::JobId;

use crate::config::HiddenUrl;

/// In 80 columns, so that it wraps nowhere.
const AFTER_HELP: &str = "\
Examples:
  reverb-server                              makes an app and prints snippets
  reverb-server --host 0.0.0.0 --port 6001   listens on all addresses
  reverb-server --config reverb.toml         takes apps and settings from a file
  reverb-server check-config                 is all well, and what is in force?
  reverb-server app show 123456              what to paste where
  reverb-server app create --name Shop       one more app, in force at once
  reverb-server app rotate-secret 123456     a new secret, the old one for a day
  reverb-server user create --help           who may log in to the panel
  reverb-server import .env                  apps of Laravel Reverb or soketi
  reverb-server export --with-secrets        all apps as JSON, for import

Environment, also read from .env (flags win, then environment, .env, file):
  REVERB_SERVER_HOST, REVERB_SERVER_PORT     same as --host and --port
  REVERB_SERVER_PATH                         prefix in front of /app and /apps
  REVERB_CONFIG, REVERB_DATA_DIR             same as --config and --data-dir
  REVERB_DATABASE_URL                        same as --database-url: apps are in
                                             MySQL or MariaDB; laravel is that
                                             of the PHP product, by DB_HOST,
                                             DB_PORT, DB_DATABASE, DB_USERNAME,
                                             DB_PASSWORD, DB_SOCKET or DB_URL
  REVERB_ENFORCE_MAX_CONNECTIONS             auto (default), or true: also for
                                             apps that only PHP has written
  APP_KEY, APP_PREVIOUS_KEYS                 of the PHP product: secrets in that
                                             database are kept with them
  REVERB_ENCRYPTION_KEY                      seals secrets in the database;
                                             default: secrets.key beside it
  API_TOKEN                                  opens /api/reverb-apps to those
                                             who show it; default: closed
  BCRYPT_ROUNDS                              4 to 31: how much work a password
                                             is to hash; default: 12
  REVERB_HOST, REVERB_PORT, REVERB_SCHEME    what clients connect to, if it is
                                             another address; for `app show`
  REVERB_APP_ID, REVERB_APP_KEY,
  REVERB_APP_SECRET                          an app, besides those in the file;
                                             the next four are settings of it
  REVERB_APP_MAX_CONNECTIONS                 default: no limit
  REVERB_APP_ACTIVITY_TIMEOUT                seconds; default: 30
  REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM       none, members (default) or all
  REVERB_APP_ALLOWED_ORIGINS                 hosts, with commas; default: *
  TOKIO_WORKER_THREADS                       default: one per processor
  RUST_LOG, NO_COLOR                         same as --log; no colours

Exit codes:
  0 done   1 failed   2 wrong command line   3 no such app, job or user
  4 refused: taken, configured in a file, not confirmed, a wrong password,
    or the last active user
  5 something is left to do: migrate --check has found it, or export or
    import could not do all of it";

/// What was asked for on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "reverb-server",
    version,
    about = "A WebSocket server for Pusher clients and Laravel Echo",
    after_help = AFTER_HELP
)]
pub struct Cli {
    /// What to do; [`Command::Serve`] if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings that win over all others.
    #[command(flatten)]
    pub flags: Flags,
}

/// What to do.
#[derive(Clone, Debug, Default, Subcommand)]
pub enum Command {
    /// Run the server; also what happens without a command
    #[default]
    Serve,
    /// Check the configuration; show what is in force, and from where
    CheckConfig,
    /// Bring the database up to date, as every start does; or check it
    Migrate(MigrateFlags),
    /// See what waits in the queue, or deal with what could not be done
    Queue {
        /// Which of it.
        #[command(subcommand)]
        command: QueueCommand,
    },
    /// List, make, change and delete the panel's users
    User {
        /// Which of it.
        #[command(subcommand)]
        command: UserCommand,
    },
    /// List, show, make, change and delete apps, live
    App {
        /// Which of it.
        #[command(subcommand)]
        command: AppCommand,
    },
    /// Write the apps of the database as JSON or CSV
    Export(crate::command::ExportFlags),
    /// Take apps over from Laravel Reverb, soketi, CSV or an export
    Import(crate::command::ImportFlags),
}

/// What to do with the queue.
#[derive(Clone, Debug, Subcommand)]
pub enum QueueCommand {
    /// Say how many jobs there are, and which could not be done
    List {
        /// As JSON, with what the dead letters carry
        #[arg(long)]
        json: bool,
        /// Most dead letters to show
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        most: usize,
    },
    /// Make dead letters due again
    Retry {
        /// Id of one
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<JobId>,
        /// All of them
        #[arg(long)]
        all: bool,
    },
    /// Delete dead letters
    Purge {
        /// Id of one
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<JobId>,
        /// All of them
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// What to do with users.
#[derive(Clone, Debug, Subcommand)]
pub enum UserCommand {
    /// List the users
    List {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Make a user
    Create {
        /// For people
        #[arg(long)]
        name: String,
        /// What the user logs in with
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        /// At least 8 characters; others on this machine
        /// can see it while this runs [default: asked for]
        #[arg(long, value_name = "TEXT", verbatim_doc_comment)]
        password: Option<String>,
        /// The user may not log in yet
        #[arg(long)]
        inactive: bool,
        /// It is known that the address is the user's
        #[arg(long)]
        verified: bool,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Change a user; what is not said stays as it is
    #[command(override_usage = "reverb-server user update [OPTIONS] <EMAIL>")]
    Update {
        /// E-mail address of the user
        #[arg(value_name = "EMAIL")]
        user: String,
        /// What can be changed.
        #[command(flatten)]
        change: UserFlags,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Give a user another password, and end its sessions
    Password {
        /// E-mail address of the user
        #[arg(value_name = "EMAIL")]
        user: String,
        /// At least 8 characters; others on this machine
        /// can see it while this runs [default: asked for]
        #[arg(long, value_name = "TEXT", verbatim_doc_comment)]
        password: Option<String>,
    },
    /// Let a user log in again
    Activate {
        /// E-mail address of the user
        #[arg(value_name = "EMAIL")]
        user: String,
    },
    /// Let a user in no more; the last active one stays
    Deactivate {
        /// E-mail address of the user
        #[arg(value_name = "EMAIL")]
        user: String,
    },
    /// Delete a user; the last active one stays
    Delete {
        /// E-mail address of the user
        #[arg(value_name = "EMAIL")]
        user: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Check the password of a user, which is asked for
    Verify {
        /// E-mail address of the user
        #[arg(value_name = "EMAIL")]
        user: String,
    },
}

/// What can be changed of a user.
#[derive(Clone, Debug, Default, Args)]
#[group(required = true, multiple = true)]
pub struct UserFlags {
    /// For people
    #[arg(long)]
    pub name: Option<String>,
    /// What the user logs in with
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// It is known that the address is the user's
    #[arg(long)]
    pub verified: bool,
    /// It is not known
    #[arg(long, conflicts_with = "verified")]
    pub unverified: bool,
}

/// What to do with the tables of the database.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct MigrateFlags {
    /// Change nothing; say what there is to do, and end with 5 if there is
    #[arg(long)]
    pub check: bool,
    /// Make room for longer secrets in a table of the PHP product from before May 2026
    #[arg(long)]
    pub widen_secrets: bool,
    /// Write secrets anew that are plain, or sealed with an older key
    #[arg(long)]
    pub seal_secrets: bool,
}

/// What to do with apps.
#[derive(Clone, Debug, Subcommand)]
pub enum AppCommand {
    /// List the apps
    List {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Show an app's .env lines, Echo, pusher-js and curl, with its secret
    Show {
        /// Id of the app
        id: String,
        /// As JSON, with its settings and its secret
        #[arg(long)]
        json: bool,
    },
    /// Make an app in the database; show it, with its secret
    Create {
        /// Id [default: six random digits]
        #[arg(long)]
        id: Option<String>,
        /// What can be set.
        #[command(flatten)]
        settings: Box<AppFlags>,
        /// As JSON, with its settings and its secret
        #[arg(long)]
        json: bool,
    },
    /// Change an app; what is not said stays as it is
    Update {
        /// Id of the app
        id: String,
        /// What can be set.
        #[command(flatten)]
        settings: Box<AppFlags>,
        /// As JSON, with its settings
        #[arg(long)]
        json: bool,
    },
    /// Give an app another secret; show that
    RotateSecret {
        /// Id of the app
        id: String,
        /// How long the old one is accepted beside it: 30m, 24h, 7d, or 0
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = crate::command::duration)]
        overlap: std::time::Duration,
        /// Even if a secret from before is still accepted, which ends with it
        #[arg(long)]
        force: bool,
        /// The new secret [default: 32 random characters]
        #[arg(long)]
        secret: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let clients and backends use an app again
    Activate {
        /// Id of the app
        id: String,
    },
    /// Send an app's clients away (4003), and refuse its backends
    Deactivate {
        /// Id of the app
        id: String,
    },
    /// Delete an app; its clients are sent away for good (4001)
    Delete {
        /// Id of the app
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// What can be set of an app.
#[derive(Clone, Debug, Default, Args)]
pub struct AppFlags {
    /// What clients connect with [default: 20 random characters]
    #[arg(long, help_heading = "The app")]
    pub key: Option<String>,
    /// What its backends sign with [default: 32 random characters]
    #[arg(long, help_heading = "The app")]
    pub secret: Option<String>,
    /// For people
    #[arg(long, help_heading = "The app")]
    pub name: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT", help_heading = "The app")]
    pub description: Option<String>,
    /// Where clients may send events: off, members or all [default: members]
    #[arg(long, value_name = "WHERE", help_heading = "The app", value_parser = crate::config::values::client_events)]
    pub client_events: Option<ClientEvents>,
    /// Most connections at a time, or none [default: none]
    #[arg(long, value_name = "NUMBER", help_heading = "The app", value_parser = crate::command::max_connections)]
    pub max_connections: Option<MaxConnections>,
    /// Host that browsers may come from; may be repeated [default: *]
    #[arg(long = "allowed-origin", value_name = "HOST", help_heading = "The app", value_parser = crate::config::values::origin)]
    pub allowed_origins: Option<Vec<String>>,
    /// A limit, as in [apps.limits] of the file; may be repeated
    #[arg(long = "limit", value_name = "NAME=VALUE", help_heading = "The app", value_parser = crate::command::limit)]
    pub limits: Vec<(String, u32)>,
    /// Who is told what happens: EVENTS with commas, or all; may be repeated
    #[arg(long = "webhook", value_name = "URL=EVENTS", help_heading = "The app", value_parser = crate::command::webhook)]
    pub webhooks: Option<Vec<Webhook>>,
    /// Tell subscribers how many they are [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "The app")]
    pub subscription_count: Option<bool>,
    /// Let users watch others come and go [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "The app")]
    pub watchlist: Option<bool>,
    /// Refuse clients without TLS [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "The app")]
    pub force_tls: Option<bool>,
    /// Seconds of silence before a connection is checked [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = "The app", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub activity_timeout: Option<u32>,
}

/// A limit of connections, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxConnections(pub Option<u32>);

/// Settings on the command line: they win over environment, `.env` and file.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = crate::config::values::host)]
    pub host: Option<String>,
    /// Port to listen on; 0: any free one [default: 8080]
    #[arg(long, global = true)]
    pub port: Option<u16>,
    /// Configuration file, in TOML [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the database with the apps is [default: data]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// mysql://user:password@host/name, or laravel
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<HiddenUrl>,
    /// Read this file instead of .env in the working folder
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_stand_before_or_after_the_command() {
        for line in [
            "reverb-server --port 1 app show 5",
            "reverb-server app show 5 --port 1",
        ] {
            let cli = Cli::parse_from(line.split(' '));
            assert_eq!(cli.flags.port, Some(1));
        }
    }
}
