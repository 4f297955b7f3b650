//! Apps as `export`, `app show --json` and `app list --json` write them, and those of a CSV.

use std::time::Duration;

use reverb_core::protocol::{App, Limits, OldSecret, Origins, Secret, Webhook};
use serde_json::{Map, Value};

use super::entry::{self, Entry};
use super::reverb::last;
use crate::command::values::{set_limits, webhook};
use crate::config::{did_you_mean, values};

/// What there is to say of an app besides its limits, in the order in which an export has the columns.
pub(in crate::command) const COLUMNS: [&str; 16] = [
    "id",
    "key",
    "secret",
    "old_secret",
    "old_secret_until",
    "name",
    "description",
    "active",
    "allowed_origins",
    "client_events",
    "max_connections",
    "subscription_count",
    "watchlist",
    "force_tls",
    "activity_timeout",
    "webhooks",
];
/// Those that an export has only if it is asked for them.
pub(in crate::command) const SECRETS: [&str; 3] = ["secret", "old_secret", "old_secret_until"];
/// All limits in one, which are columns of their own in a CSV.
const LIMITS: &str = "limits";
/// Names that others have as well, where an app is not one of Laravel Reverb.
const COMMON: [&str; 5] = ["id", "key", "secret", "max_connections", "webhooks"];
/// What others say for it: the PHP product, and the dashboard of Pusher.
const OTHER_NAMES: [(&str, &str); 4] = [
    ("app_id", "id"),
    ("app_key", "key"),
    ("app_secret", "secret"),
    ("is_active", "active"),
];
/// What `app show` says besides.
const BESIDES: [&str; 4] = ["from", "read_only", "secret_used", "old_secret_used"];

/// Names that nobody else has.
pub(super) fn telling() -> Vec<&'static str> {
    let telling = |name: &&str| !COMMON.contains(name);
    [&COLUMNS[..], &[LIMITS]]
        .concat()
        .into_iter()
        .filter(telling)
        .collect()
}

pub(super) fn app(e: &mut Entry, is_csv: bool) -> Option<App> {
    for (other, name) in OTHER_NAMES {
        e.rename(other, name);
    }
    let remedy = "; export writes it with --with-secrets";
    if let Some(found) = e.take("unreadable") {
        e.refuse(
            &found,
            "it was stored wrongly where it comes from, and has no settings",
        );
    }
    let mut app = e.credentials("id", "key", "secret", remedy);
    let mut read = App::new("-", "-", "-").expect("it is good");
    let into = app.as_mut().unwrap_or(&mut read);
    settings(e, into, is_csv);
    if is_csv && let Some(found) = e.take("cluster") {
        e.note(format!(
            "{} has no counterpart: there is one server",
            last(&found.shown)
        ));
    }
    BESIDES.iter().for_each(|name| drop(e.take_raw(name)));
    for found in e.rest() {
        if found.value.is_null() {
            continue;
        }
        let name = last(&found.shown).to_owned();
        let known = [&COLUMNS[..], &[LIMITS]].concat();
        let told = match did_you_mean(&name, &known) {
            Some(meant) => format!("is unknown; did you mean {meant}?"),
            None => format!("is unknown; known: {}", known.join(", ")),
        };
        e.refuse(&found, told);
    }
    app
}

fn settings(e: &mut Entry, app: &mut App, is_csv: bool) {
    let old = e.parse("old_secret", |value| values::secret(&entry::text(value)?));
    let until = e.number("old_secret_until", 0..=u64::MAX);
    match (old, until) {
        (Some(old), Some(until)) => {
            let old = Secret::new(&old).expect("it was checked");
            app.old_secret = Some(OldSecret::new(old, until));
        }
        (Some(_), None) => e.complain(
            "old_secret_until",
            "is missing: until when is old_secret accepted?",
        ),
        // An export without secrets says no more.
        (None, _) => {}
    }
    let text = |e: &mut Entry, name| {
        let text = e.text(name)?;
        Some(if is_csv { unguarded(text) } else { text })
    };
    set(&mut app.name, text(e, "name"));
    set(&mut app.description, text(e, "description"));
    set(&mut app.active, e.flag("active"));
    let origins = e.parse("allowed_origins", entry::origins);
    set(&mut app.allowed_origins, origins.map(Origins::new));
    let client_events = e.parse("client_events", |value| {
        values::client_events(&entry::text(value)?)
            .map_err(|_| r#"must be "off", "members" or "all""#.to_owned())
    });
    set(&mut app.client_events, client_events);
    app.max_connections = e
        .parse("max_connections", |value| match value.as_str() {
            Some("none") => Ok(None),
            _ => entry::number(value, &values::CONNECTIONS)
                .map(Some)
                .map_err(|told| format!("{told}; left out or none is no limit")),
        })
        .flatten();
    set(&mut app.subscription_count, e.flag("subscription_count"));
    set(&mut app.watchlist, e.flag("watchlist"));
    set(&mut app.force_tls, e.flag("force_tls"));
    let seconds = e.number("activity_timeout", values::ACTIVITY_TIMEOUTS);
    set(&mut app.activity_timeout, seconds.map(Duration::from_secs));
    limits(e, &mut app.limits, is_csv);
    set(&mut app.webhooks, e.parse("webhooks", webhooks));
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Names of all limits.
pub(in crate::command) fn limit_names() -> Vec<String> {
    let limits = serde_json::to_value(Limits::default()).expect("limits are JSON");
    limits
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .cloned()
        .collect()
}

fn limits(e: &mut Entry, limits: &mut Limits, is_csv: bool) {
    let one = |limits: &mut Limits, name: &str, value: &Value| {
        let number: u32 = entry::number(value, &(0..=u32::MAX.into()))?;
        set_limits(limits, &[(name.to_owned(), number)])
    };
    if let Some(found) = e.take(LIMITS) {
        match &found.value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Err(told) = one(limits, name, value) {
                        e.refuse(&found, format!("{}: {told}", name.escape_debug()));
                    }
                }
            }
            _ => e.refuse(
                &found,
                "must be an object, with names of limits and numbers",
            ),
        }
    }
    if is_csv {
        for name in limit_names() {
            if let Some(found) = e.take(&name)
                && let Err(told) = one(limits, &name, &found.value)
            {
                e.refuse(&found, told);
            }
        }
    }
}

/// JSON, or as in `--webhook`, with blanks in between.
fn webhooks(value: &Value) -> Result<Vec<Webhook>, String> {
    match value {
        Value::Array(hooks) => {
            let read = |(n, hook): (usize, &Value)| {
                let is_known = |name: &String| ["url", "events"].contains(&name.as_str());
                match hook.as_object() {
                    Some(fields) if fields.keys().all(is_known) => {
                        serde_json::from_value(hook.clone())
                    }
                    _ => serde_json::from_value(Value::Null),
                }
                // Its own words may repeat the address.
                .map_err(|_| {
                    format!(
                        "[{n}] must have a url, with https:// or http://, and events that there are"
                    )
                })
            };
            hooks.iter().enumerate().map(read).collect()
        }
        Value::String(text) => {
            let told =
                "must be URL=EVENTS, with commas between events and a blank between webhooks";
            let hooks = text
                .split_whitespace()
                .map(|hook| webhook(hook).map_err(|_| told.to_owned()));
            hooks.collect()
        }
        _ => Err("must be a list of webhooks".to_owned()),
    }
}

/// A spreadsheet takes text that begins so for a formula.
fn begins_formula(text: &str) -> bool {
    text.trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// Text of which a spreadsheet makes no formula.
pub(in crate::command) fn guarded(text: &str) -> String {
    match begins_formula(text) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

fn unguarded(text: String) -> String {
    match text.strip_prefix('\'') {
        Some(rest) if begins_formula(rest) => rest.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula_and_all_text_comes_back() {
        for text in [
            "", "Shop", "'", "'quoted'", "=1+1", "'=1+1", "''-", "@a", "\tx", "a=b",
        ] {
            let written = guarded(text);
            assert!(
                !written.starts_with(['=', '+', '-', '@', '\t', '\r']),
                "{text}"
            );
            assert_eq!(unguarded(written), text);
        }
    }
}
