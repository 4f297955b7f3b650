//! The command line: [`Cli`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// In 80 columns, so that it wraps nowhere.
const AFTER_HELP: &str = "\
Examples:
  reverb-server                              makes an app and prints snippets
  reverb-server --host 0.0.0.0 --port 6001   listens on all addresses
  reverb-server --config reverb.toml         takes apps and settings from a file
  reverb-server check-config                 is all well, and what is in force?
  reverb-server app show 123456              what to paste where

Environment, also read from .env (flags win, then environment, .env, file):
  REVERB_SERVER_HOST, REVERB_SERVER_PORT     same as --host and --port
  REVERB_SERVER_PATH                         prefix in front of /app and /apps
  REVERB_CONFIG, REVERB_DATA_DIR             same as --config and --data-dir
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
  RUST_LOG, NO_COLOR                         same as --log; no colours";

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
    /// List the apps, or show what the clients and backends of one need
    App {
        /// Which of it.
        #[command(subcommand)]
        command: AppCommand,
    },
}

/// What to do with apps.
#[derive(Clone, Debug, Subcommand)]
pub enum AppCommand {
    /// List the apps
    List,
    /// Show an app's .env lines, Echo, pusher-js and curl, with its secret
    Show {
        /// Id of the app
        id: String,
    },
}

/// Settings on the command line: they win over environment, `.env` and file.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = crate::config::values::host)]
    pub host: Option<String>,
    /// Port to listen on; 0 for any free one [default: 8080]
    #[arg(long, global = true)]
    pub port: Option<u16>,
    /// Configuration file, in TOML [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the server keeps its own app [default: data]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
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
