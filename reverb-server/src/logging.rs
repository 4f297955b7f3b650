//! The log: what happens, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The filter is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log (RUST_LOG) {filter:?} is no log filter; write error, warn, info, debug, trace, or module=level,…"
)]
pub struct LogError {
    filter: String,
    #[source]
    source: ParseError,
}

/// Starts logging what the filter lets through, once per process.
///
/// # Errors
/// The filter cannot be understood.
pub fn start(filter: &str) -> Result<(), LogError> {
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError {
            filter: filter.to_owned(),
            source,
        })?;
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(parsed)
        .with_target(false)
        .with_ansi(colours())
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

/// Whether standard error may be colourful: it is a terminal, and nobody objects (<https://no-color.org>).
#[must_use]
pub fn colours() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
