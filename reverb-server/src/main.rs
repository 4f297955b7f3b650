//! The reverb-server binary: parse, load, run, exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use reverb_core::protocol::App;
use reverb_server::cli::{AppCommand, Cli, Command};
use reverb_server::config::Config;
use reverb_server::snippets::{Address, snippets};
use reverb_server::{limits, logging, run};
use tokio::runtime;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match obey(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&*error);
            ExitCode::FAILURE
        }
    }
}

fn obey(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let config = Config::load(&cli.flags)?;
    match cli.command.clone().unwrap_or_default() {
        Command::Serve => serve(config),
        Command::CheckConfig => {
            logging::parse(&config.log)?;
            config
                .warnings
                .iter()
                .for_each(|warning| eprintln!("warning: {warning}"));
            config
                .notes
                .iter()
                .for_each(|note| eprintln!("note: {note}"));
            print(&config.show())
        }
        Command::App {
            command: AppCommand::List,
        } => print(&list(&config)),
        Command::App {
            command: AppCommand::Show { id },
        } => {
            let app = find(&config, &id)?;
            print(&snippets(app, &Address::new(&config, config.port)))
        }
    }
}

fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    logging::start(&config.log)?;
    config
        .warnings
        .iter()
        .for_each(|warning| tracing::warn!("{warning}"));
    config
        .notes
        .iter()
        .for_each(|note| tracing::info!("{note}"));
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

fn list(config: &Config) -> String {
    if config.apps.is_empty() {
        return "no app yet: the first start of reverb-server makes one\n".to_owned();
    }
    let row = |id: &str, key: &str, state: &str, name: &str, from: &str| {
        let row = format!("{id:<12} {key:<24} {state:<8} {from:<24} {name}");
        format!("{}\n", row.trim_end())
    };
    let rows = config.apps.iter().map(|app| {
        let state = if app.active { "active" } else { "inactive" };
        let from = config.origin(&format!("app {}", app.id));
        row(app.id.as_str(), app.key.as_str(), state, &app.name, from)
    });
    row("ID", "KEY", "STATE", "NAME", "FROM") + &rows.collect::<String>()
}

fn find<'a>(config: &'a Config, id: &str) -> Result<&'a App, String> {
    let ids: Vec<&str> = config.apps.iter().map(|app| app.id.as_str()).collect();
    let app = config.apps.iter().find(|app| app.id.as_str() == id);
    app.ok_or_else(|| match ids.as_slice() {
        [] => "there is no app yet: the first start of reverb-server makes one".to_owned(),
        ids => format!("there is no app {id:?}; there is {}", ids.join(", ")),
    })
}

/// Writes to standard output; a reader that has gone, as in `| head`, is no error.
fn print(text: &str) -> Result<(), Box<dyn Error>> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
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
