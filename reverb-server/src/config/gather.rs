//! Lays the sources over each other: flags, environment with `.env`, file, defaults.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reverb_core::app_store::Keyring;

use super::database::{self, Said};
use super::env::Environment;
use super::file::{self, FileSettings};
use super::problem::Problem;
use super::table::Found;
use super::{Config, ConfigError, env_app, values};
use crate::api::Token;
use crate::cli::Flags;

/// The whole configuration.
pub(super) fn gather(flags: &Flags, env: &Environment) -> Result<Config, ConfigError> {
    let any_path = |text: &str| Ok(PathBuf::from(text));
    let any_text = |text: &str| Ok(text.to_owned());
    let mut problems = Vec::new();
    let file_name =
        flag("--config", &flags.config).or_else(|| env.parse("REVERB_CONFIG", any_path));
    let file = match &file_name {
        Some(file_name) => read_file(file_name, &mut problems)?,
        None => FileSettings::default(),
    };

    let mut config = Config::default();
    let mut origins = Origins::default();
    let port = |text: &str| values::number(text, values::PORTS);
    let public_port = |text: &str| values::number(text, values::PUBLIC_PORTS).map(Some);
    let threads = |text: &str| values::number(text, values::THREADS);
    let rounds = |text: &str| values::number(text, values::BCRYPT_ROUNDS);
    let host = env.parse("REVERB_SERVER_HOST", values::host);
    origins.lay(
        "host",
        &mut config.host,
        [flag("--host", &flags.host), host, file.host],
    );
    let port = env.parse("REVERB_SERVER_PORT", port);
    origins.lay(
        "port",
        &mut config.port,
        [flag("--port", &flags.port), port, file.port],
    );
    let path = env.parse("REVERB_SERVER_PATH", values::path);
    origins.lay("path", &mut config.path, [path, file.path]);
    origins.lay(
        "activity_timeout",
        &mut config.activity_timeout,
        [file.activity_timeout],
    );
    origins.lay(
        "trusted_proxies",
        &mut config.trusted_proxies,
        [file.trusted_proxies],
    );
    origins.lay(
        "defer_accept",
        &mut config.defer_accept,
        [file.defer_accept],
    );
    let data_dir = env.parse("REVERB_DATA_DIR", any_path);
    origins.lay(
        "data_dir",
        &mut config.data_dir,
        [flag("--data-dir", &flags.data_dir), data_dir],
    );
    let key = |text: &str| {
        Keyring::parse(text)
            .map(Some)
            .map_err(|error| error.to_string())
    };
    let key = env.parse("REVERB_ENCRYPTION_KEY", key);
    origins.lay("encryption_key", &mut config.keyring, [key]);
    let by_flag = flags.database_url.as_ref().and_then(|url| {
        let said = database::said(url.text());
        let said = said.map_err(|message| {
            problems.push(Problem {
                place: String::new(),
                key: "--database-url".to_owned(),
                message,
            });
        });
        Some(Found::new(said.ok()?, "--database-url"))
    });
    let said = by_flag
        .or_else(|| env.parse("REVERB_DATABASE_URL", database::said))
        .or(file.database_url);
    let is_php = said
        .as_ref()
        .is_some_and(|said| said.value == Said::Laravel);
    let url = said.and_then(|said| match said.value {
        Said::Url(url) => Some(Found::new(url, said.from)),
        Said::Laravel => database::of_laravel(env),
    });
    if url.is_some() {
        let keys = database::laravel_keys(env).map(|found| found.map(Some));
        origins.lay("APP_KEY", &mut config.database.laravel, [keys]);
    }
    let url = url.map(|found| found.map(Some));
    origins.lay("database_url", &mut config.database.url, [url]);
    let enforce = env.parse("REVERB_ENFORCE_MAX_CONNECTIONS", database::enforce);
    origins.lay(
        "enforce_max_connections",
        &mut config.database.enforce,
        [enforce, file.enforce_max_connections],
    );
    let token = env.parse("API_TOKEN", |text| Ok(Some(Token::new(text))));
    origins.lay("api_token", &mut config.api_token, [token]);
    let rounds = env.parse("BCRYPT_ROUNDS", rounds);
    origins.lay("bcrypt_rounds", &mut config.bcrypt_rounds, [rounds]);
    let log = env.parse("RUST_LOG", any_text);
    origins.lay("log", &mut config.log, [flag("--log", &flags.log), log]);
    let threads = env.parse("TOKIO_WORKER_THREADS", threads);
    origins.lay("worker_threads", &mut config.worker_threads, [threads]);
    let public = &mut config.public;
    let host = env.parse("REVERB_HOST", |text| values::host(text).map(Some));
    origins.lay("REVERB_HOST", &mut public.host, [host]);
    let port = env.parse("REVERB_PORT", public_port);
    origins.lay("REVERB_PORT", &mut public.port, [port]);
    let scheme = env.parse("REVERB_SCHEME", |text| values::scheme(text).map(Some));
    origins.lay("REVERB_SCHEME", &mut public.tls, [scheme]);

    if is_php {
        bind_as_php(&mut config, &mut origins);
    }

    let mut apps = file.apps;
    for app in &mut apps {
        app.value.activity_timeout = config.activity_timeout;
    }
    apps.extend(env_app::read(env, config.activity_timeout, &apps));
    problems.extend(env.problems());
    if !problems.is_empty() {
        return Err(ConfigError::Invalid(problems));
    }
    config.origins = origins.0;
    apps.into_iter().for_each(|app| config.add_app(app));
    config.warnings = env.without_effect();
    if config.api_token.as_ref().is_some_and(Token::is_short) {
        let advice = "API_TOKEN is short enough to be guessed: take a long random one, as `openssl rand -hex 32` makes";
        config.warnings.push(advice.to_owned());
    }
    config.same_flags = same_flags(flags);
    config.read_from = read_from(flags, env, file_name.map(|found| found.value));
    Ok(config)
}

/// In the PHP product's `.env` an IP address in `REVERB_HOST` is where it listens, on `REVERB_PORT`; a host name is where
/// clients find it, as in Laravel.
fn bind_as_php(config: &mut Config, origins: &mut Origins) {
    let public = &mut config.public;
    let address = public.host.take_if(|host| host.parse::<IpAddr>().is_ok());
    let Some(address) = address.map(|address| Found::new(address, "REVERB_HOST")) else {
        return;
    };
    if !origins.0.contains_key("host") {
        origins.lay("host", &mut config.host, [Some(address)]);
    }
    if !origins.0.contains_key("port") {
        let port = public
            .port
            .take()
            .map(|port| Found::new(port, "REVERB_PORT"));
        origins.lay("port", &mut config.port, [port]);
    }
}

/// Reads the configuration file. What is wrong in it is told later, together with what is wrong in the environment.
fn read_file(
    file: &Found<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Result<FileSettings, ConfigError> {
    let path = &file.value;
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.clone(),
        why: format!("{} names", file.from),
        source,
    })?;
    let settings = file::read(&path.display().to_string(), &text);
    Ok(settings.unwrap_or_else(|wrong| {
        problems.extend(wrong);
        FileSettings::default()
    }))
}

fn flag<T: Clone>(name: &str, value: &Option<T>) -> Option<Found<T>> {
    value.clone().map(|value| Found::new(value, name))
}

/// Where each value came from.
#[derive(Default)]
struct Origins(HashMap<String, String>);

impl Origins {
    /// Puts the first of these that is there in the place of the default.
    fn lay<T, const N: usize>(&mut self, key: &str, value: &mut T, over: [Option<Found<T>>; N]) {
        if let Some(found) = over.into_iter().flatten().next() {
            *value = found.value;
            self.0.insert(key.to_owned(), found.from);
        }
    }
}

fn same_flags(flags: &Flags) -> String {
    let word = |path: &Path| match path.display().to_string() {
        path if path.contains(char::is_whitespace) => format!("'{path}'"),
        path => path,
    };
    let files = [
        ("--config", &flags.config),
        ("--data-dir", &flags.data_dir),
        ("--env-file", &flags.env_file),
    ];
    let files = files
        .into_iter()
        .filter_map(|(name, path)| Some(format!(" {name} {}", word(path.as_ref()?))));
    // Where clients find the server is shown too. A free port is known only to the server that took it.
    let host = flags.host.as_ref().map(|host| format!(" --host {host}"));
    let port = flags
        .port
        .filter(|port| *port != 0)
        .map(|port| format!(" --port {port}"));
    host.into_iter().chain(port).chain(files).collect()
}

fn read_from(flags: &Flags, env: &Environment, file: Option<PathBuf>) -> Vec<String> {
    let (process, env_file) = env.used();
    let by_flag = flags.host.is_some() || flags.port.is_some() || flags.data_dir.is_some();
    let sources = [
        by_flag.then(|| "flags".to_owned()),
        process.then(|| "environment".to_owned()),
        env.file_name.clone().filter(|_| env_file),
        file.map(|file| file.display().to_string()),
    ];
    sources.into_iter().flatten().collect()
}
