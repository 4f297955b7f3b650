//! Apps of Laravel Reverb: its `.env`, and its configuration as JSON.

use std::time::Duration;

use reverb_core::protocol::{App, ClientEvents, Origins};
use serde_json::Value;

use super::entry::{self, Entry, is};
use crate::config::values;

/// The variables that describe its app, and what they are called in its configuration.
pub(super) const VARIABLES: [(&str, &str); 15] = [
    ("REVERB_APP_ID", "app_id"),
    ("REVERB_APP_KEY", "key"),
    ("REVERB_APP_SECRET", "secret"),
    ("REVERB_APP_ALLOWED_ORIGINS", "allowed_origins"),
    ("REVERB_APP_PING_INTERVAL", "ping_interval"),
    ("REVERB_APP_ACTIVITY_TIMEOUT", "activity_timeout"),
    ("REVERB_APP_MAX_CONNECTIONS", "max_connections"),
    ("REVERB_APP_MAX_MESSAGE_SIZE", "max_message_size"),
    ("REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM", FROM),
    ("REVERB_APP_RATE_LIMITING_ENABLED", "rate_limiting.enabled"),
    (
        "REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS",
        "rate_limiting.max_attempts",
    ),
    (
        "REVERB_APP_RATE_LIMIT_DECAY_SECONDS",
        "rate_limiting.decay_seconds",
    ),
    (
        "REVERB_APP_RATE_LIMIT_TERMINATE",
        "rate_limiting.terminate_on_limit",
    ),
    ("REVERB_MAX_REQUEST_SIZE", MAX_REQUEST_SIZE),
    ("APP_NAME", "name"),
];
/// What at least one of must be there for an app to be there.
pub(super) const PREFIX: &str = "REVERB_APP_";

pub(super) const FROM: &str = "accept_client_events_from";
/// Of the server there, in bytes.
pub(super) const MAX_REQUEST_SIZE: &str = "max_request_size";

/// What there are no limits of there.
const UNLIMITED: &str = "Laravel Reverb has no limits for these, and an app has some here: presence_members 100, \
                         channels_per_event 100, batch_size 10, client_events_per_second 10; app update ID --limit NAME=VALUE raises them";

pub(super) fn app(e: &mut Entry) -> Option<App> {
    let mut app = e.credentials("app_id", "key", "secret", "");
    let mut read = App::new("-", "-", "-").expect("it is good");
    let into = app.as_mut().unwrap_or(&mut read);
    settings(e, into);
    for found in e.rest() {
        e.note(format!(
            "{} is unknown, and not taken over",
            last(&found.shown)
        ));
    }
    app
}

fn settings(e: &mut Entry, app: &mut App) {
    if let Some(name) = e.text("name") {
        app.name = name;
    }
    match e.take_raw("allowed_origins") {
        None => {}
        // It lets nobody in then.
        Some(found) if found.value.is_null() => app.allowed_origins = Origins::new::<&str>([]),
        Some(found) => match entry::origins(&found.value) {
            Ok(hosts) => app.allowed_origins = Origins::new(hosts),
            Err(message) => e.refuse(&found, message),
        },
    }
    if app.allowed_origins.hosts().is_empty() {
        e.note("allowed_origins is empty: nobody is let in from a browser, as there");
    }
    if let Some(seconds) = e.number("activity_timeout", values::ACTIVITY_TIMEOUTS) {
        app.activity_timeout = Duration::from_secs(seconds);
    }
    if let Some(seconds) = e.number::<u64>("ping_interval", 1..=u32::MAX.into())
        && seconds != 60
        && Duration::from_secs(seconds) != app.activity_timeout
    {
        e.note("ping_interval has no counterpart: a silent client is asked after activity_timeout");
    }
    app.max_connections = e.parse("max_connections", |value| {
        entry::number(value, &values::CONNECTIONS)
            .map_err(|told| format!("{told}; left out or null is no limit"))
    });
    sizes(e, app);
    client_events(e, app);
    rates(e);
    // Where the backend finds the server: it stays there, and is needed there.
    e.take_raw("options");
    e.note(UNLIMITED);
}

/// Messages there are limited as they stand on the wire, and here it is the data of an event, from clients and backends alike.
/// The limit is never lower than what could be sent there.
fn sizes(e: &mut Entry, app: &mut App) {
    let bytes = 1..=u32::MAX.into();
    let message: Option<usize> = e.number("max_message_size", bytes.clone());
    let request: Option<usize> = e.number(MAX_REQUEST_SIZE, bytes);
    let ours = app.limits.event_bytes;
    let most = message.into_iter().chain(request).max().unwrap_or(ours);
    app.limits.event_bytes = most.max(ours);
    if let Some(message) = message.filter(|message| *message < 10_000) {
        let ours = app.limits.event_bytes;
        e.note(format!(
            "max_message_size is {message}: an event of a client may have {ours} bytes here, as one that is published (event_bytes)"
        ));
    }
}

fn client_events(e: &mut Entry, app: &mut App) {
    let said = e.parse(FROM, |value| {
        let text = entry::text(value)?;
        values::client_events(&text).map_err(|_| r#"must be "none", "members" or "all""#.to_owned())
    });
    match said {
        Some(ClientEvents::All) => {
            app.client_events = ClientEvents::All;
            e.note("accept_client_events_from is all: who sends must have subscribed to the channel here");
        }
        Some(ClientEvents::Members) => {
            app.client_events = ClientEvents::Members;
            e.note(
                "accept_client_events_from is members: here that is private and presence channels; app update ID \
                 --client-events all opens public ones too, as they are there",
            );
        }
        Some(off) => app.client_events = off,
        None => {
            app.client_events = ClientEvents::All;
            e.note("accept_client_events_from is left out, which is all there, and so here");
        }
    }
}

/// There every message of a connection counts.
fn rates(e: &mut Entry) {
    let mut said = Vec::new();
    if let Some(found) = e.take("rate_limiting") {
        match found.value {
            Value::Object(fields) => said.extend(fields),
            _ => e.refuse(&found, "must be an object"),
        }
    }
    for name in [
        "enabled",
        "max_attempts",
        "decay_seconds",
        "terminate_on_limit",
    ] {
        if let Some(found) = e.take(&format!("rate_limiting.{name}")) {
            said.push((name.to_owned(), found.value));
        }
    }
    let get = |name: &str| said.iter().find(|(other, _)| is(other, name));
    let is_on = get("enabled").is_some_and(|(_, value)| entry::flag(value) == Ok(true));
    if is_on {
        let number = |name: &str| {
            get(name)
                .and_then(|(_, value)| entry::whole(value))
                .unwrap_or(60)
        };
        let (most, seconds) = (number("max_attempts"), number("decay_seconds"));
        e.note(format!(
            "rate_limiting ({most} messages of a connection in {seconds} s) has no counterpart: here client events are limited, \
             by client_events_per_second"
        ));
    }
}

/// A name without what stands in front of it.
pub(super) fn last(shown: &str) -> &str {
    shown.rsplit(['.', ' ']).next().unwrap_or_default()
}
