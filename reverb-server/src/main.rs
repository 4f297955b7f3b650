//! The reverb-server binary: parse, load, run, exit code.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use reverb_server::apps;
use reverb_server::cli::{Cli, Command};
use reverb_server::command::{self, CommandError};
use reverb_server::config::Config;
use reverb_server::{limits, logging, run};
use tokio::runtime;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match obey(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&*error);
            let code = error.downcast_ref().map(CommandError::exit_code);
            ExitCode::from(code.unwrap_or(1))
        }
    }
}

fn obey(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let config = Config::load(&cli.flags)?;
    match cli.command.clone().unwrap_or_default() {
        Command::Serve => serve(config),
        Command::CheckConfig => {
            logging::parse(&config.log)?;
            for warning in config.warnings.iter().chain(&apps::exposed_key(&config)) {
                eprintln!("warning: {warning}");
            }
            Ok(command::print(&config.show())?)
        }
        Command::Migrate(flags) => {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(command::migrate(&config, flags))?)
        }
        Command::Queue { command } => {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(command::obey_queue(&config, command))?)
        }
        Command::User { command } => {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(command::obey_user(&config, command))?)
        }
        Command::App { command } => {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(command::obey(&config, command))?)
        }
        Command::Export(flags) => Ok(wait_for(command::export(&config, &flags))??),
        Command::Import(flags) => Ok(wait_for(command::import(&config, &flags))??),
    }
}

fn wait_for<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let mut builder = runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?.block_on(work))
}

fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    logging::start(&config.log)?;
    for warning in config.warnings.iter().chain(&apps::exposed_key(&config)) {
        tracing::warn!("{warning}");
    }
    let capacity = limits::raise_open_files();
    if let Some(advice) = capacity.advice() {
        tracing::warn!("{advice}");
    }
    // With one thread there is nobody to share work with, and a runtime that never tries is faster.
    let mut builder = match config.worker_threads {
        1 => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(config.worker_threads)
        .enable_all()
        .build()?;
    Ok(runtime.block_on(run::serve(config, capacity))?)
}

/// Says what went wrong, and below that why.
fn tell(error: &dyn Error) {
    let (red, plain) = if logging::colours() {
        ("\x1b[31m", "\x1b[0m")
    } else {
        ("", "")
    };
    eprintln!("{red}reverb-server: {error}{plain}");
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors say what their source says.
        let text = cause.to_string();
        if text != told {
            eprintln!("  {text}");
        }
        told = text;
        source = cause.source();
    }
}
