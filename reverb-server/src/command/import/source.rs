//! [`read`]: the apps of one source, of whatever kind it is.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use reverb_core::protocol::App;
use serde_json::{Value, json};

use super::entry::{Draft, Entry};
use super::json::Json;
use super::text::{self, Unknown};
use super::{Kind, ours, reverb, soketi};
use crate::config::{self, DatabaseUrl, Problem, Said};

/// What was found in a source.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// What it is, for people.
    pub(super) what: String,
    pub(super) drafts: Vec<Draft>,
    pub(super) problems: Vec<Problem>,
}

/// Reads a file, standard input or a table.
pub(super) async fn read(name: &str, from: Option<Kind>) -> Contents {
    let source: Arc<str> = match name {
        "-" => "standard input".into(),
        name => name.into(),
    };
    if name.contains("://") {
        return table(name, from).await;
    }
    match load(name) {
        Ok(text) => of_text(&source, &text, from),
        Err(message) => failed(&source, message),
    }
}

fn failed(source: &str, message: impl Into<String>) -> Contents {
    Contents {
        problems: vec![Problem {
            place: source.to_owned(),
            key: String::new(),
            message: message.into(),
        }],
        ..Contents::default()
    }
}

fn load(name: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = match name {
        "-" => io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes),
        name => fs::read(Path::new(name)),
    };
    let bytes = read.map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8; save it as that, and try again".to_owned())
}

fn of_text(source: &Arc<str>, text: &str, from: Option<Kind>) -> Contents {
    let trimmed = text.trim_start_matches('\u{feff}').trim_start();
    if trimmed.starts_with(['{', '[']) {
        let text = text.trim_start_matches('\u{feff}');
        return match Json::new(source, text) {
            Ok(json) => of_json(source, &json, from),
            Err(problem) => Contents {
                problems: vec![problem],
                ..Contents::default()
            },
        };
    }
    let kind = match (from, text::kind(text)) {
        (Some(kind), _) => kind,
        (None, Ok(kind)) => kind,
        (None, Err(unknown)) => return failed(source, of_unknown(&unknown)),
    };
    match kind {
        Kind::Json => failed(source, "is no JSON: that begins with { or ["),
        Kind::Csv => match text::csv(source, text) {
            Ok(entries) => drafts(source, Kind::Csv, "CSV", entries, |e| ours::app(e, true)),
            Err(problems) => Contents {
                problems,
                ..Contents::default()
            },
        },
        Kind::Reverb => {
            let entry = text::env(source, text, &reverb::VARIABLES, reverb::PREFIX);
            let entries = entry.into_iter().map(|mut entry| {
                // So says its configuration where the variable is not set.
                entry.add_default(reverb::FROM, json!("members"));
                entry
            });
            drafts(
                source,
                kind,
                ".env of Laravel Reverb",
                entries.collect(),
                reverb::app,
            )
        }
        Kind::Soketi => {
            let entry = text::env(source, text, &soketi::VARIABLES, soketi::PREFIX);
            let entries = entry.into_iter().collect();
            drafts(source, kind, "environment of soketi", entries, soketi::app)
        }
    }
}

fn of_json(source: &Arc<str>, json: &Json<'_>, from: Option<Kind>) -> Contents {
    let mut entries = json.apps();
    let kind = match (from, json.kind(&entries)) {
        (Some(kind), _) => kind,
        (None, Ok(kind)) => kind,
        (None, Err(unknown)) => return failed(source, of_unknown(&unknown)),
    };
    match kind {
        Kind::Csv => failed(source, "is no CSV, but JSON"),
        Kind::Json => drafts(source, kind, "JSON of reverb-server", entries, |e| {
            ours::app(e, false)
        }),
        Kind::Reverb => {
            let sizes = json.values_below("servers", reverb::MAX_REQUEST_SIZE);
            let most = sizes.iter().filter_map(super::entry::whole).max();
            for entry in &mut entries {
                entry.add_default(
                    reverb::MAX_REQUEST_SIZE,
                    most.map_or(Value::Null, Value::from),
                );
            }
            drafts(
                source,
                kind,
                "configuration of Laravel Reverb",
                entries,
                reverb::app,
            )
        }
        Kind::Soketi => {
            soketi::add_defaults(json, &mut entries);
            drafts(
                source,
                kind,
                "configuration of soketi",
                entries,
                soketi::app,
            )
        }
    }
}

/// The table of soketi, `apps`, unless `?table=` names another.
async fn table(address: &str, from: Option<Kind>) -> Contents {
    let (address, name) = split(address);
    let url = match config::said(&address) {
        Ok(Said::Url(url)) => url,
        Ok(Said::Laravel) => return failed("laravel", "is no source"),
        // The sentence does not repeat the address.
        Err(told) => return failed("the database", told),
    };
    if from.is_some_and(|kind| kind != Kind::Soketi) {
        return failed(
            &url.to_string(),
            "is a database: only soketi's can be read; leave --from out",
        );
    }
    match rows(&url, &name).await {
        Ok(entries) => {
            let source = url.to_string().into();
            let what = format!("table {name} of soketi");
            drafts(&source, Kind::Soketi, &what, entries, soketi::app)
        }
        Err(told) => failed(&url.to_string(), told),
    }
}

async fn rows(url: &DatabaseUrl, name: &str) -> Result<Vec<Entry>, String> {
    let rows = reverb_mysql::read_table(url.reveal(), name).await;
    let rows = rows.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        format!("the table {name} of soketi cannot be read: {cause}; ?table=NAME behind the address names another")
    })?;
    let source: Arc<str> = url.to_string().into();
    let entry = |(n, row): (usize, reverb_mysql::ForeignRow)| {
        let id = row.iter().find(|(column, _)| column == "id");
        let id = id
            .and_then(|(_, id)| id.as_deref())
            .map(|id| id.escape_debug().to_string());
        let path = id.map_or_else(|| format!("row {}", n + 1), |id| format!("app {id}"));
        let mut entry = Entry::new(&source, None, path);
        for (column, value) in row {
            entry.add(column, value.map_or(Value::Null, Value::String), None);
        }
        entry
    };
    Ok(rows.into_iter().enumerate().map(entry).collect())
}

/// The address, and the table that it names.
fn split(address: &str) -> (String, String) {
    let (rest, query) = address.split_once('?').unwrap_or((address, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let (tables, others): (Vec<&str>, Vec<&str>) =
        pairs.partition(|pair| pair.starts_with("table="));
    let table = tables.first().and_then(|pair| pair.strip_prefix("table="));
    let address = match others.is_empty() {
        true => rest.to_owned(),
        false => format!("{rest}?{}", others.join("&")),
    };
    (address, table.unwrap_or("apps").to_owned())
}

fn drafts(
    source: &Arc<str>,
    kind: Kind,
    what: &str,
    entries: Vec<Entry>,
    app: impl Fn(&mut Entry) -> Option<App>,
) -> Contents {
    let mut found = Contents {
        what: what.to_owned(),
        ..Contents::default()
    };
    if entries.is_empty() {
        let hint = match kind {
            Kind::Soketi => {
                "; where soketi has its apps in MySQL, import mysql://user:password@host/database"
            }
            Kind::Reverb => {
                ": REVERB_APP_ID, REVERB_APP_KEY and REVERB_APP_SECRET, or apps in JSON"
            }
            Kind::Json | Kind::Csv => "",
        };
        let told = format!("there is no app in it ({what}){hint}");
        found.problems = failed(source, told).problems;
    }
    for mut entry in entries {
        let app = app(&mut entry);
        match entry.finish(app) {
            Ok(draft) => found.drafts.push(draft),
            Err(problems) => found.problems.extend(problems),
        }
    }
    found
}

fn of_unknown(unknown: &Unknown) -> String {
    match unknown {
        Unknown::Ambiguous(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("--from {}", kind.name())).collect();
            format!("may be more than one thing: say {}", kinds.join(" or "))
        }
        Unknown::Nothing => "is nothing that is known here. There are: the .env of Laravel Reverb (REVERB_APP_ID), or \
             config('reverb') as JSON; soketi's JSON, its environment (SOKETI_DEFAULT_APP_ID), or mysql://user:password@host/database; \
             CSV whose first line names id, key and secret; JSON as export writes it"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_a_table() {
        let both = |address: &str| split(address);
        assert_eq!(
            both("mysql://h/d"),
            ("mysql://h/d".to_owned(), "apps".to_owned())
        );
        assert_eq!(
            both("mysql://h/d?table=push&require_ssl=true"),
            ("mysql://h/d?require_ssl=true".to_owned(), "push".to_owned())
        );
    }
}
