//! Apps as a table for people and as JSON for scripts.

use reverb_core::app_store::AppSettings;
use reverb_core::protocol::App;
use serde::Serialize;
use time::OffsetDateTime;

use super::app::Row;

/// An app as scripts see it. The shape is a promise: keys are added, never renamed.
#[derive(Serialize)]
struct Json<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<u64>,
    /// What is wrong with the app; all of its settings are missing then.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<&'a str>,
    from: &'a str,
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_used: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    settings: Option<AppSettings>,
}

impl<'a> Json<'a> {
    fn of(row: &'a Row<'_>, with_secret: bool) -> Self {
        let app = row.app.ok();
        Self {
            id: match row.app {
                Ok(app) => app.id.as_str(),
                Err(corrupt) => &corrupt.id,
            },
            key: app.map(|app| app.key.as_str()),
            secret: app.filter(|_| with_secret).map(|app| app.secret.reveal()),
            old_secret_until: app
                .and_then(|app| app.old_secret.as_ref())
                .map(|old| old.until),
            unreadable: row.app.err().map(|corrupt| corrupt.reason.as_str()),
            from: &row.from,
            read_only: row.is_configured,
            secret_used: row.last_use.secret,
            old_secret_used: row.last_use.old_secret,
            settings: app.map(AppSettings::of),
        }
    }
}

/// One app as a JSON object on lines of its own.
pub(super) fn json_of(row: &Row<'_>, with_secret: bool) -> String {
    let json = serde_json::to_string_pretty(&Json::of(row, with_secret));
    json.expect("an app is JSON") + "\n"
}

/// A list of apps.
pub(super) enum Lines {
    /// An array of objects, each on one line.
    Json(Vec<String>),
    /// Columns, under their names.
    Table(Vec<[String; 6]>),
}

const COLUMNS: [&str; 6] = ["ID", "KEY", "STATE", "SECRET USED", "FROM", "NAME"];

impl Lines {
    pub(super) fn json() -> Self {
        Self::Json(Vec::new())
    }

    pub(super) fn table() -> Self {
        Self::Table(Vec::new())
    }

    pub(super) fn add(&mut self, row: &Row<'_>) {
        match self {
            Self::Json(lines) => {
                let json = serde_json::to_string(&Json::of(row, false));
                lines.push(json.expect("an app is JSON"));
            }
            Self::Table(rows) => rows.push(columns(row)),
        }
    }

    pub(super) fn finish(self) -> String {
        match self {
            Self::Json(lines) if lines.is_empty() => "[]\n".to_owned(),
            Self::Json(lines) => format!("[\n{}\n]\n", lines.join(",\n")),
            Self::Table(rows) if rows.is_empty() => {
                "no app yet: the first start of reverb-server makes one, and so does app create\n"
                    .to_owned()
            }
            Self::Table(rows) => aligned(COLUMNS, &rows),
        }
    }
}

fn columns(row: &Row<'_>) -> [String; 6] {
    let used = row.last_use.secret.map_or_else(String::new, time);
    match row.app {
        Ok(app) => [
            app.id.to_string(),
            app.key.to_string(),
            state(app).to_owned(),
            used,
            row.from.clone(),
            one_line(&app.name),
        ],
        Err(corrupt) => [
            one_line(&corrupt.id),
            String::new(),
            "unreadable".to_owned(),
            used,
            row.from.clone(),
            one_line(&corrupt.reason),
        ],
    }
}

fn state(app: &App) -> &'static str {
    match app.active {
        true => "active",
        false => "inactive",
    }
}

/// A name with line breaks, or with what moves a terminal's cursor, would forge rows.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Columns, under their names.
pub(super) fn aligned<const N: usize>(names: [&str; N], rows: &[[String; N]]) -> String {
    let names = names.map(str::to_owned);
    let all = || std::iter::once(&names).chain(rows);
    let width = |column: usize| {
        all()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:<width$}  "))
            .collect();
        line.trim_end().to_owned() + "\n"
    };
    all().map(line).collect()
}

/// A time as `2026-11-27 01:45 UTC`.
pub(super) fn time(unix: u64) -> String {
    let at = i64::try_from(unix).ok();
    match at.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()) {
        Some(at) => {
            let (hours, minutes, _) = at.to_hms();
            format!("{} {hours:02}:{minutes:02} UTC", at.date())
        }
        None => "never".to_owned(),
    }
}
