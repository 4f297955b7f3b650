//! What the server says at its start, to people at a terminal.

use std::net::SocketAddr;

use crate::config::Config;
use crate::first_app;
use crate::limits::Capacity;
use crate::snippets::{Address, snippets};

/// The start-up lines, once the server listens; with everything to paste if it `made_app` just now.
///
/// The snippets stand first: they are long, and what a terminal still shows afterwards should be where we listen.
#[must_use]
pub fn greeting(
    config: &Config,
    listening: SocketAddr,
    capacity: Capacity,
    made_app: bool,
) -> String {
    let mut text = format!("reverb-server {}\n\n", env!("CARGO_PKG_VERSION"));
    if made_app {
        let file = first_app::path(&config.data_dir);
        text += &format!(
            "No app was configured, so here is one, kept in {}.\nPaste what you need:\n\n",
            file.display()
        );
        let address = Address::new(config, listening.port());
        for app in &config.apps {
            text += &snippets(app, &address);
            text += "\n";
        }
    }
    let (apps, id) = match config.apps.as_slice() {
        [app] => {
            let from = config.origin(&format!("app {}", app.id));
            (format!("1, id {} from {from}", app.id), app.id.as_str())
        }
        apps => (apps.len().to_string(), "ID"),
    };
    let settings = match config.read_from.as_slice() {
        [] => "defaults".to_owned(),
        sources => sources.join(", "),
    };
    let lines = [
        ("listening", format!("http://{listening}{}", config.path)),
        ("apps", apps),
        ("capacity", capacity.to_string()),
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
    use reverb_core::protocol::App;

    #[test]
    fn secrets_are_shown_by_the_start_that_makes_the_app_and_by_no_other() {
        let mut config = Config::default();
        config.apps = vec![App::new("1001", "app-key", "app-secret").expect("an app")];
        let address = SocketAddr::from(([127, 0, 0, 1], 6001));
        let capacity = Capacity {
            connections: Some(4032),
        };
        let first = greeting(&config, address, capacity, true);
        assert!(first.contains("REVERB_APP_SECRET=app-secret\n") && first.contains("wsPort: 6001"));
        let later = greeting(&config, address, capacity, false);
        assert_eq!(
            later,
            format!(
                "reverb-server {}\n\n  \
                 listening      http://127.0.0.1:6001\n  \
                 apps           1, id 1001 from default\n  \
                 capacity       4,032 connections\n  \
                 settings from  defaults\n  \
                 snippets       reverb-server app show 1001\n  \
                 help           reverb-server --help\n",
                env!("CARGO_PKG_VERSION")
            )
        );
    }
}
