//! What `check-config` shows.

use std::fmt::{Display, Write};

use reverb_core::app_store::Keyring;
use reverb_core::protocol::{App, ClientEvents};
use reverb_mysql::EnforceMaxConnections;

use super::Config;

/// Everything in force, in the shape of the file.
pub(super) fn show(config: &Config) -> String {
    let mut lines =
        Lines("# What is in force, and where it comes from; secrets are hidden.\n".to_owned());
    lines.add("host", text(&config.host), config.origin("host"));
    lines.add("port", config.port, config.origin("port"));
    lines.add("path", text(&config.path), config.origin("path"));
    let seconds = config.activity_timeout.as_secs();
    lines.add(
        "activity_timeout",
        seconds,
        config.origin("activity_timeout"),
    );
    let proxies = list(&config.trusted_proxies);
    lines.add("trusted_proxies", proxies, config.origin("trusted_proxies"));
    let seconds = config.defer_accept.as_secs();
    lines.add("defer_accept", seconds, config.origin("defer_accept"));

    let enforce = match config.database.enforce {
        EnforceMaxConnections::Auto => text("auto"),
        EnforceMaxConnections::Always => "true".to_owned(),
    };
    lines.add(
        "enforce_max_connections",
        enforce,
        config.origin("enforce_max_connections"),
    );

    let public = &config.public;
    let others = [
        (
            "data folder",
            Some(config.data_dir.display().to_string()),
            "data_dir",
        ),
        (
            "threads",
            Some(config.worker_threads.to_string()),
            "worker_threads",
        ),
        (
            "database",
            config.database.url.as_ref().map(ToString::to_string),
            "database_url",
        ),
        (
            "Laravel's keys",
            config.database.laravel.as_ref().map(|_| "***".to_owned()),
            "APP_KEY",
        ),
        (
            "encryption key",
            config.keyring.as_ref().map(Keyring::ids),
            "encryption_key",
        ),
        (
            "API_TOKEN",
            Some(
                match config.api_token {
                    Some(_) => "***",
                    None => "not set, /api is closed",
                }
                .to_owned(),
            ),
            "api_token",
        ),
        (
            "bcrypt rounds",
            Some(config.bcrypt_rounds.to_string()),
            "bcrypt_rounds",
        ),
        ("log", Some(config.log.clone()), "log"),
        ("public host", public.host.clone(), "REVERB_HOST"),
        (
            "public port",
            public.port.map(|port| port.to_string()),
            "REVERB_PORT",
        ),
        (
            "public scheme",
            public
                .tls
                .map(|tls| if tls { "https" } else { "http" }.to_owned()),
            "REVERB_SCHEME",
        ),
    ];
    lines.0.push('\n');
    for (name, value, key) in others {
        if let Some(value) = value {
            lines.comment(&format!("# {name}: {value}"), config.origin(key));
        }
    }
    for app in &config.apps {
        lines.app(app, config.origin(&format!("app {}", app.id)));
        if app.activity_timeout != config.activity_timeout {
            let seconds = app.activity_timeout.as_secs();
            let _ = writeln!(lines.0, "# activity_timeout: {seconds} (of this app)");
        }
    }
    lines.0
}

struct Lines(String);

impl Lines {
    fn add(&mut self, key: &str, value: impl Display, from: &str) {
        self.comment(&format!("{key} = {value}"), from);
    }

    fn comment(&mut self, line: &str, from: &str) {
        let _ = writeln!(self.0, "{line:<40} # {from}");
    }

    fn plain(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn app(&mut self, app: &App, from: &str) {
        self.0.push('\n');
        self.comment("[[apps]]", from);
        self.plain("id", text(app.id.as_str()));
        self.plain("key", text(app.key.as_str()));
        self.plain("secret", text("***"));
        self.plain("name", text(&app.name));
        self.plain("active", app.active);
        self.plain("allowed_origins", list(app.allowed_origins.hosts()));
        let client_events = match app.client_events {
            ClientEvents::Off => "off",
            ClientEvents::Members => "members",
            ClientEvents::All => "all",
        };
        self.plain("client_events", text(client_events));
        match app.max_connections {
            Some(most) => self.plain("max_connections", most),
            None => self.0.push_str("# max_connections: no limit\n"),
        }
        self.plain("subscription_count", app.subscription_count);
        self.plain("watchlist", app.watchlist);
        self.plain("force_tls", app.force_tls);
        self.0.push_str("[apps.limits]\n");
        self.0
            .push_str(&toml::to_string(&app.limits).expect("limits are numbers"));
    }
}

fn text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    toml::Value::from(items).to_string()
}
