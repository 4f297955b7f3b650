//! Apps of soketi: its configuration as JSON, its environment, and its table.

use reverb_core::protocol::{App, ClientEvents, Webhook, WebhookEvent};
use serde_json::{Map, Value, json};

use super::entry::{self, Entry};
use super::json::Json;
use super::reverb::last;

/// Names that nobody else has.
pub(super) const TELLING: [&str; 13] = [
    "enabled",
    "enable_client_messages",
    "enable_user_authentication",
    "max_backend_events_per_second",
    "max_backend_events_per_sec",
    "max_client_events_per_second",
    "max_client_events_per_sec",
    "max_read_requests_per_second",
    "max_read_req_per_sec",
    "max_presence_members_per_channel",
    "max_channel_name_length",
    "max_event_payload_in_kb",
    "max_event_batch_size",
];

/// The variables that describe its app, and the defaults of all apps.
pub(super) const VARIABLES: [(&str, &str); 18] = [
    ("SOKETI_DEFAULT_APP_ID", "id"),
    ("SOKETI_DEFAULT_APP_KEY", "key"),
    ("SOKETI_DEFAULT_APP_SECRET", "secret"),
    ("SOKETI_DEFAULT_APP_MAX_CONNS", "max_connections"),
    (
        "SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES",
        "enable_client_messages",
    ),
    ("SOKETI_DEFAULT_APP_ENABLED", "enabled"),
    (
        "SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC",
        "max_backend_events_per_sec",
    ),
    (
        "SOKETI_DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC",
        "max_client_events_per_sec",
    ),
    (
        "SOKETI_DEFAULT_APP_MAX_READ_REQ_PER_SEC",
        "max_read_req_per_sec",
    ),
    (
        "SOKETI_DEFAULT_APP_USER_AUTHENTICATION",
        "enable_user_authentication",
    ),
    ("SOKETI_DEFAULT_APP_WEBHOOKS", "webhooks"),
    (
        "SOKETI_PRESENCE_MAX_MEMBERS",
        "max_presence_members_per_channel",
    ),
    (
        "SOKETI_PRESENCE_MAX_MEMBER_SIZE",
        "max_presence_member_size_in_kb",
    ),
    (
        "SOKETI_CHANNEL_LIMITS_MAX_NAME_LENGTH",
        "max_channel_name_length",
    ),
    (
        "SOKETI_EVENT_MAX_CHANNELS_AT_ONCE",
        "max_event_channels_at_once",
    ),
    ("SOKETI_EVENT_MAX_NAME_LENGTH", "max_event_name_length"),
    ("SOKETI_EVENT_MAX_SIZE_IN_KB", "max_event_payload_in_kb"),
    ("SOKETI_EVENT_MAX_BATCH_SIZE", "max_event_batch_size"),
];
/// What at least one of must be there for an app to be there.
pub(super) const PREFIX: &str = "SOKETI_DEFAULT_APP_";

/// Where the configuration has the defaults of all apps.
const DEFAULTS: [(&str, &str); 8] = [
    (
        "presence.maxMembersPerChannel",
        "max_presence_members_per_channel",
    ),
    (
        "presence.maxMemberSizeInKb",
        "max_presence_member_size_in_kb",
    ),
    ("channelLimits.maxNameLength", "max_channel_name_length"),
    ("channelLimits.cacheTtl", "cache_ttl"),
    (
        "eventLimits.maxChannelsAtOnce",
        "max_event_channels_at_once",
    ),
    ("eventLimits.maxNameLength", "max_event_name_length"),
    ("eventLimits.maxPayloadInKb", "max_event_payload_in_kb"),
    ("eventLimits.maxBatchSize", "max_event_batch_size"),
];

/// Gives an app what the configuration says of all.
pub(super) fn add_defaults(json: &Json<'_>, entries: &mut [Entry]) {
    for (path, name) in DEFAULTS {
        let Some(value) = json.value(path) else {
            continue;
        };
        for entry in &mut *entries {
            entry.add_default(name, value.clone());
        }
    }
}

pub(super) fn app(e: &mut Entry) -> Option<App> {
    // So a document database calls them.
    for (other, name) in [
        ("app_id", "id"),
        ("app_key", "key"),
        ("app_secret", "secret"),
    ] {
        e.rename(other, name);
    }
    let mut app = e.credentials("id", "key", "secret", "");
    let mut read = App::new("-", "-", "-").expect("it is good");
    let into = app.as_mut().unwrap_or(&mut read);
    settings(e, into);
    if into.secret.reveal() == "app-secret" {
        e.note("its secret is the one that soketi comes with, which everybody knows: app rotate-secret ID");
    }
    for found in e.rest() {
        e.note(format!(
            "{} is unknown, and not taken over",
            last(&found.shown)
        ));
    }
    app
}

fn settings(e: &mut Entry, app: &mut App) {
    // Some panels have one.
    if let Some(name) = e.text("name") {
        app.name = name;
    }
    for name in ["created_at", "updated_at"] {
        e.take_raw(name);
    }
    if let Some(enabled) = e.flag("enabled") {
        app.active = enabled;
    }
    // Those of all channels may send there, once they have subscribed.
    app.client_events = match e.flag("enable_client_messages") {
        Some(true) => ClientEvents::All,
        _ => ClientEvents::Off,
    };
    if e.flag("enable_user_authentication") == Some(true) {
        e.note("enableUserAuthentication: here everybody may sign in, and who does not stays connected");
    }
    let connections = e.parse("max_connections", limit);
    app.max_connections = connections.flatten();
    let mut rate = |names: [&str; 2]| {
        let found = names.map(|name| e.parse(name, limit));
        found.into_iter().flatten().next().flatten().unwrap_or(0)
    };
    let limits = &mut app.limits;
    limits.events_per_second = rate([
        "max_backend_events_per_second",
        "max_backend_events_per_sec",
    ]);
    limits.client_events_per_second =
        rate(["max_client_events_per_second", "max_client_events_per_sec"]);
    limits.reads_per_second = rate(["max_read_requests_per_second", "max_read_req_per_sec"]);
    if limits.events_per_second > 0 {
        e.note("maxBackendEventsPerSecond counts an event once here, and not once for each of its channels");
    }
    let mut size = |name, default, unit| size(e, name, default, unit);
    limits.presence_members = size("max_presence_members_per_channel", 100.0, 1.0);
    limits.presence_member_bytes = size("max_presence_member_size_in_kb", 2.0, 1024.0);
    limits.channel_name_length = size("max_channel_name_length", 200.0, 1.0);
    limits.channels_per_event = size("max_event_channels_at_once", 100.0, 1.0);
    limits.event_name_length = size("max_event_name_length", 200.0, 1.0);
    limits.event_bytes = size("max_event_payload_in_kb", 100.0, 1024.0);
    limits.batch_size = size("max_event_batch_size", 10.0, 1.0);
    limits.cache_seconds = e.number("cache_ttl", 0..=u32::MAX.into()).unwrap_or(3600);
    webhooks(e, app);
}

/// A number, at least 1; a negative one is no limit.
fn limit(value: &Value) -> Result<Option<u32>, String> {
    match entry::whole(value) {
        Some(number) if number < 0 => Ok(None),
        Some(number) if number > 0 => Ok(Some(u32::try_from(number).unwrap_or(u32::MAX))),
        _ => Err("must be a whole number, at least 1, or -1 for no limit".to_owned()),
    }
}

/// A number of things, or of kilobytes, which may be broken.
fn size(e: &mut Entry, name: &str, default: f64, unit: f64) -> usize {
    const MOST: f64 = u32::MAX as f64;
    let said = e.parse(name, |value| {
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| number.is_finite() && *number != 0.0);
        number.ok_or_else(|| "must be a number above 0".to_owned())
    });
    let number = match said {
        Some(number) if number < 0.0 => {
            e.note(format!(
                "{name} is no limit: here there is one, {}",
                default * unit
            ));
            default
        }
        Some(number) => number,
        None => default,
    };
    (number * unit).ceil().min(MOST) as usize
}

fn webhooks(e: &mut Entry, app: &mut App) {
    let Some(found) = e.take("webhooks") else {
        return;
    };
    let parsed = match &found.value {
        Value::String(text) if text.trim().is_empty() => Ok(json!([])),
        Value::String(text) => serde_json::from_str(text),
        other => Ok(other.clone()),
    };
    let Ok(Value::Array(hooks)) = parsed else {
        e.refuse(
            &found,
            "must be a list of webhooks in JSON; in a .env file it stands in single quotes",
        );
        return;
    };
    for (n, hook) in hooks.iter().enumerate() {
        let name = format!("webhooks[{n}]");
        match hook.as_object().map(|hook| webhook(e, &name, hook)) {
            Some(Ok(hook)) => app.webhooks.extend(hook),
            Some(Err(message)) => e.refuse(&found, format!("[{n}]: {message}")),
            None => e.refuse(&found, format!("[{n}] must be an object")),
        }
    }
}

fn webhook(
    e: &mut Entry,
    name: &str,
    hook: &Map<String, Value>,
) -> Result<Option<Webhook>, String> {
    let get = |field: &str| hook.get(field).filter(|value| !value.is_null());
    let Some(url) = get("url") else {
        return match get("lambda_function") {
            Some(_) => {
                e.note(format!(
                    "{name} calls a Lambda function: left out, as only URLs are told here"
                ));
                Ok(None)
            }
            None => Err("has no url".to_owned()),
        };
    };
    let url = url.as_str().ok_or("its url must be text")?;
    if get("lambda_function").is_some() {
        e.note(format!(
            "{name} calls a Lambda function too: only its URL is told here"
        ));
    }
    let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    if let Some(headers) = get("headers").filter(|headers| !is_empty(headers)) {
        // What they say may be a secret.
        let names = headers.as_object().into_iter().flat_map(Map::keys);
        let names: Vec<String> = names.map(|name| name.escape_debug().to_string()).collect();
        e.note(format!(
            "{name}: its headers are not sent here: {}",
            names.join(", ")
        ));
    }
    if let Some(filter) = get("filter").filter(|filter| !is_empty(filter)) {
        let names = filter.as_object().into_iter().flat_map(Map::keys);
        let names: Vec<String> = names.map(|name| name.escape_debug().to_string()).collect();
        e.note(format!(
            "{name}: its filter has no counterpart, it hears of all channels here: {}",
            names.join(", ")
        ));
    }
    let known = [
        "url",
        "event_types",
        "headers",
        "filter",
        "lambda",
        "lambda_function",
    ];
    for field in hook.keys().filter(|field| !known.contains(&field.as_str())) {
        e.note(format!(
            "{name}: {} is unknown, and not taken over",
            field.escape_debug()
        ));
    }
    let types = get("event_types").and_then(Value::as_array);
    let mut events = Vec::new();
    for event in types.into_iter().flatten() {
        let text = event.as_str().unwrap_or_default();
        match text.parse::<WebhookEvent>() {
            Ok(event) => events.push(event),
            Err(_) => e.note(format!("{name}: there is no event {text:?} here")),
        }
    }
    if events.is_empty() {
        e.note(format!("{name} has no event that there is here: left out"));
        return Ok(None);
    }
    // The address may hold a secret.
    let told = "its url must begin with https:// or http:// and a host";
    Webhook::new(url, events)
        .map(Some)
        .map_err(|_| told.to_owned())
}
