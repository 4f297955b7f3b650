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
    source: Option<ParseError>,
}

/// Starts logging what the filter lets through, once per process.
///
/// # Errors
/// The filter cannot be understood.
pub fn start(filter: &str) -> Result<(), LogError> {
    let parsed = parse(filter)?;
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(parsed)
        .with_target(false)
        .with_ansi(colours())
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

/// Reads a filter.
///
/// # Errors
/// It cannot be understood.
pub fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let wrong = |source| LogError {
        filter: filter.to_owned(),
        source,
    };
    // A word that is no level would be taken for a module, and nothing be logged.
    let is_level =
        |word: &str| word.contains('=') || LEVELS.contains(&word.to_ascii_lowercase().as_str());
    if !filter.split(',').all(|word| is_level(word.trim())) {
        return Err(wrong(None));
    }
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| wrong(Some(source)))
}

/// Whether standard error may be colourful: it is a terminal, and nobody objects (<https://no-color.org>).
#[must_use]
pub fn colours() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_no_filter() {
        for filter in ["info", "WARN", "warn,reverb_core=debug", "off"] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in ["inf", "", "reverb_core", "reverb_core=loud"] {
            assert!(parse(filter).is_err(), "{filter}");
        }
    }
}
