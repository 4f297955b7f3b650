//! What the server says at its start, to people at a terminal.

use std::net::SocketAddr;

use reverb_core::protocol::App;

use crate::apps::Database;
use crate::config::Config;
use crate::limits::Capacity;
use crate::snippets::{Address, snippets};

/// What the start has found, besides the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The database, and how many apps are in it.
    pub database: Option<(&'a Database, u64)>,
    /// The app that was made just now, because there was none.
    pub made: Option<&'a App>,
    /// How much the system lets us carry.
    pub capacity: Capacity,
}

/// The start-up lines, once the server listens; with everything to paste if an app was made just now.
///
/// The snippets stand first: they are long, and what a terminal still shows afterwards should be where we listen.
#[must_use]
pub fn greeting(config: &Config, listening: SocketAddr, found: Found<'_>) -> String {
    let mut text = format!("reverb-server {}\n\n", env!("CARGO_PKG_VERSION"));
    if let (Some(app), Some((database, _))) = (found.made, found.database) {
        text += &format!(
            "There was no app, so here is one, kept in {}.\nPaste what you need:\n\n",
            database.name
        );
        text += &snippets(app, &Address::new(config, listening.port()));
        text += "\n";
    }
    let mut apps = Vec::new();
    match config.apps.as_slice() {
        [] => {}
        [app] => {
            let from = config.origin(&format!("app {}", app.id));
            apps.push(format!("{} from {from}", app.id));
        }
        many => apps.push(format!("{} configured", many.len())),
    }
    if let Some((database, count)) = found.database {
        apps.push(format!("{count} in {}", database.name));
    }
    let id = match (config.apps.as_slice(), found.made) {
        ([app], _) | ([], Some(app)) => app.id.as_str(),
        _ => "ID",
    };
    let settings = match config.read_from.as_slice() {
        [] => "defaults".to_owned(),
        sources => sources.join(", "),
    };
    let lines = [
        ("listening", format!("http://{listening}{}", config.path)),
        ("apps", apps.join(", ")),
        ("capacity", found.capacity.to_string()),
        ("settings from", settings),
        (
            "snippets",
            format!("reverb-server app show {id}{}", config.same_flags),
        ),
        ("help", "reverb-server --help".to_owned()),
    ];
    for (name, value) in lines {
        text += &format!("  {name:<14} {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_said_and_no_secret() {
        let mut config = Config::default();
        config.apps = vec![App::new("1001", "app-key", "app-secret").expect("an app")];
        let address = SocketAddr::from(([127, 0, 0, 1], 6001));
        let found = Found {
            database: None,
            made: None,
            capacity: Capacity {
                connections: Some(4032),
            },
        };
        assert_eq!(
            greeting(&config, address, found),
            format!(
                "reverb-server {}\n\n  \
                 listening      http://127.0.0.1:6001\n  \
                 apps           1001 from default\n  \
                 capacity       4,032 connections\n  \
                 settings from  defaults\n  \
                 snippets       reverb-server app show 1001\n  \
                 help           reverb-server --help\n",
                env!("CARGO_PKG_VERSION")
            )
        );
    }
}
