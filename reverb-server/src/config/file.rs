//! The TOML file: [`FileSettings`]. This shape is a promise; keys are added, never renamed.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;
use reverb_core::protocol::{App, Limits, Origins};
use reverb_mysql::EnforceMaxConnections;
use toml::de::DeTable;

use super::database::{self, Said};
use super::problem::{Page, Problem};
use super::table::{Found, Table};
use super::values;

const TOP: [&str; 9] = [
    "host",
    "port",
    "path",
    "activity_timeout",
    "trusted_proxies",
    "defer_accept",
    "database_url",
    "enforce_max_connections",
    "apps",
];
const APP: [&str; 12] = [
    "id",
    "key",
    "secret",
    "name",
    "active",
    "allowed_origins",
    "client_events",
    "max_connections",
    "subscription_count",
    "watchlist",
    "force_tls",
    "limits",
];
const LIMITS: [&str; 12] = [
    "client_events_per_second",
    "events_per_second",
    "reads_per_second",
    "channel_name_length",
    "event_name_length",
    "event_bytes",
    "channels_per_event",
    "batch_size",
    "channels_per_connection",
    "presence_members",
    "presence_member_bytes",
    "cache_seconds",
];

/// What a file says; what it leaves out is `None`.
#[derive(Debug, Default)]
pub(super) struct FileSettings {
    pub(super) host: Option<Found<String>>,
    pub(super) port: Option<Found<u16>>,
    pub(super) path: Option<Found<String>>,
    pub(super) activity_timeout: Option<Found<Duration>>,
    pub(super) trusted_proxies: Option<Found<Vec<IpNet>>>,
    pub(super) defer_accept: Option<Found<Duration>>,
    pub(super) database_url: Option<Found<Said>>,
    pub(super) enforce_max_connections: Option<Found<EnforceMaxConnections>>,
    pub(super) apps: Vec<Found<App>>,
}

/// Reads a configuration file. `name` is what messages call it.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(name: &str, text: &str) -> Result<FileSettings, Vec<Problem>> {
    let page = Page::new(name, text);
    let settings = match DeTable::parse(text) {
        Ok(keys) => {
            let mut top = Table::whole(&page, keys.into_inner());
            let mut settings = FileSettings {
                host: top.text("host", values::host),
                port: top.number("port", values::PORTS),
                path: top.text("path", values::path),
                activity_timeout: top
                    .number("activity_timeout", values::ACTIVITY_TIMEOUTS)
                    .map(|found| found.map(Duration::from_secs)),
                trusted_proxies: top.texts("trusted_proxies", values::network),
                defer_accept: top
                    .number("defer_accept", values::DEFERRALS)
                    .map(|found| found.map(Duration::from_secs)),
                database_url: top.text("database_url", database::said),
                enforce_max_connections: top.take("enforce_max_connections", |value| {
                    match (value.as_bool(), value.as_str()) {
                        (Some(always), _) => database::enforce(&always.to_string()),
                        (None, text) => database::enforce(text.unwrap_or_default()),
                    }
                }),
                ..FileSettings::default()
            };
            let mut taken = HashMap::new();
            let tables = top.tables("apps").into_iter();
            settings.apps = tables.map(|table| app(table, &mut taken)).collect();
            top.finish(&TOP, |key| {
                if APP.contains(&key) {
                    Some("under [[apps]]")
                } else if LIMITS.contains(&key) {
                    Some("under [apps.limits]")
                } else {
                    None
                }
            });
            settings
        }
        Err(error) => {
            let at = error.span().unwrap_or_default();
            // What one writes for an address, and would look at for long.
            let hint = match error.message().starts_with("invalid float") {
                true => "; text, such as an address, stands in quotes",
                false => "",
            };
            let message = format!("not valid TOML: {}{hint}", error.message());
            page.complain(&at, page.key_at(&at), message);
            FileSettings::default()
        }
    };
    match page.into_problems() {
        problems if problems.is_empty() => Ok(settings),
        problems => Err(problems),
    }
}

/// Ids and keys so far, and where they stand.
type Taken = HashMap<(&'static str, String), String>;

/// Reads one app. What is wrong with it has become a problem of the page, so that any app will do then.
fn app(mut table: Table<'_>, taken: &mut Taken) -> Found<App> {
    let mut credential = |key: &'static str, parse: fn(&str) -> Result<String, String>| {
        if !table.has(key) {
            table.complain(format!(
                "{key} is missing; an app has an id, a key and a secret"
            ));
        }
        let found = table.text(key, parse)?;
        let name = (key, found.value.clone());
        if let Some(first) = taken.get(&name).filter(|_| key != "secret") {
            let message = format!(
                "{:?} is taken by the app at {first}; each app has its own",
                found.value
            );
            table.complain_at(&found.span, key, message);
        }
        taken.entry(name).or_insert(found.from);
        Some(found.value)
    };
    let id = credential("id", values::id);
    let key = credential("key", values::key);
    let secret = credential("secret", values::secret);
    let [id, key, secret] = [id, key, secret].map(|text| text.unwrap_or_else(|| "-".to_owned()));
    let mut app = App::new(&id, &key, &secret).expect("each was checked");

    set(
        &mut app.name,
        table.text("name", |name| Ok(name.to_owned())),
    );
    set(&mut app.active, table.flag("active"));
    if let Some(origins) = table.texts("allowed_origins", values::origin) {
        app.allowed_origins = Origins::new(origins.value);
    }
    set(
        &mut app.client_events,
        table.text("client_events", values::client_events),
    );
    app.max_connections = table
        .number("max_connections", values::CONNECTIONS)
        .map(|found| found.value);
    set(
        &mut app.subscription_count,
        table.flag("subscription_count"),
    );
    set(&mut app.watchlist, table.flag("watchlist"));
    set(&mut app.force_tls, table.flag("force_tls"));
    if let Some(table) = table.table("limits") {
        limits(table, &mut app.limits);
    }

    let from = table.origin();
    table.finish(&APP, |key| {
        if LIMITS.contains(&key) {
            Some("under [apps.limits]")
        } else if TOP.contains(&key) {
            Some("at the top of the file, above [[apps]]")
        } else {
            None
        }
    });
    Found::new(app, from)
}

fn limits(mut table: Table<'_>, limits: &mut Limits) {
    // For a rate 0 is "no limit"; elsewhere it would let nothing through, which nobody means.
    let rate = 0..=u32::MAX.into();
    let size = 1..=u32::MAX.into();
    let l = limits;
    set(
        &mut l.client_events_per_second,
        table.number("client_events_per_second", rate.clone()),
    );
    set(
        &mut l.events_per_second,
        table.number("events_per_second", rate.clone()),
    );
    set(
        &mut l.reads_per_second,
        table.number("reads_per_second", rate.clone()),
    );
    set(
        &mut l.channel_name_length,
        table.number("channel_name_length", size.clone()),
    );
    set(
        &mut l.event_name_length,
        table.number("event_name_length", size.clone()),
    );
    set(
        &mut l.event_bytes,
        table.number("event_bytes", size.clone()),
    );
    set(
        &mut l.channels_per_event,
        table.number("channels_per_event", size.clone()),
    );
    set(&mut l.batch_size, table.number("batch_size", size.clone()));
    set(
        &mut l.channels_per_connection,
        table.number("channels_per_connection", size.clone()),
    );
    set(
        &mut l.presence_members,
        table.number("presence_members", size.clone()),
    );
    set(
        &mut l.presence_member_bytes,
        table.number("presence_member_bytes", size),
    );
    // 0 s: cache channels remember nothing.
    set(&mut l.cache_seconds, table.number("cache_seconds", rate));
    table.finish(&LIMITS, |key| {
        if APP.contains(&key) {
            Some("above [apps.limits], under [[apps]]")
        } else if TOP.contains(&key) {
            Some("at the top of the file, above [[apps]]")
        } else {
            None
        }
    });
}

fn set<T>(field: &mut T, found: Option<Found<T>>) {
    if let Some(found) = found {
        *field = found.value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reverb_core::protocol::ClientEvents;

    /// Every key there is, none with its default.
    const WHOLE: &str = r#"
        host = "0.0.0.0"
        port = 6001
        path = "/x"
        activity_timeout = 60
        trusted_proxies = ["10.0.0.0/8"]
        [[apps]]
        id = "1001"
        key = "app-key"
        secret = "app-secret"
        name = "Shop"
        active = false
        allowed_origins = ["shop.test"]
        client_events = "all"
        max_connections = 400
        subscription_count = true
        watchlist = false
        force_tls = true
        [apps.limits]
        client_events_per_second = 1
        events_per_second = 2
        reads_per_second = 3
        channel_name_length = 4
        event_name_length = 5
        event_bytes = 6
        channels_per_event = 7
        batch_size = 8
        channels_per_connection = 9
        presence_members = 10
        presence_member_bytes = 11
        cache_seconds = 12
    "#;

    #[test]
    fn every_key_of_the_file_arrives() {
        let file = read("reverb.toml", WHOLE).expect("a good file");
        assert_eq!(
            file.host.map(|found| found.value).as_deref(),
            Some("0.0.0.0")
        );
        assert_eq!(
            file.port.map(|found| (found.value, found.from)),
            Some((6001, "reverb.toml:3".to_owned()))
        );
        assert_eq!(file.path.map(|found| found.value).as_deref(), Some("/x"));
        assert_eq!(
            file.activity_timeout.map(|found| found.value.as_secs()),
            Some(60)
        );
        assert_eq!(file.trusted_proxies.map(|found| found.value.len()), Some(1));
        let app = &file.apps[0].value;
        assert_eq!(
            (app.id.as_str(), app.key.as_str(), app.secret.reveal()),
            ("1001", "app-key", "app-secret")
        );
        assert_eq!(
            (app.name.as_str(), app.active, app.client_events),
            ("Shop", false, ClientEvents::All)
        );
        assert_eq!(
            (app.allowed_origins.hosts(), app.max_connections),
            (&["shop.test".to_owned()][..], Some(400))
        );
        assert_eq!(
            (app.subscription_count, app.watchlist, app.force_tls),
            (true, false, true)
        );
        let limits = toml::to_string(&app.limits).expect("limits are numbers");
        let written = WHOLE.split_once("[apps.limits]").expect("limits").1;
        assert_eq!(
            limits.split_whitespace().collect::<Vec<_>>(),
            written.split_whitespace().collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_known_keys_are_those_that_there_are() {
        let limits = toml::Table::try_from(Limits::default()).expect("limits are numbers");
        let mut known = LIMITS.to_vec();
        known.sort_unstable();
        assert_eq!(limits.keys().collect::<Vec<_>>(), known);
    }

    #[test]
    fn an_empty_file_says_nothing_and_a_rate_may_be_lifted() {
        assert!(read("f", "").expect("a good file").apps.is_empty());
        let text = "[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret = \"s\"\n[apps.limits]\nclient_events_per_second = 0\n";
        let file = read("f", text).expect("a good file");
        assert_eq!(file.apps[0].value.limits.client_events_per_second, 0);
        assert_eq!(
            file.apps[0].value.limits.event_bytes,
            Limits::default().event_bytes
        );
    }
}
