//! `export`: the apps of the database as JSON, or as CSV for spreadsheets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use reverb_core::app_store::AppSettings;
use reverb_core::protocol::{App, Webhook};
use serde::Serialize;
use serde_json::Value;

use super::CommandError;
use super::import::ours;
use crate::apps::Apps;
use crate::config::Config;

/// What to write, and where.
#[derive(Clone, Debug, Args)]
pub struct ExportFlags {
    /// How
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub format: Format,
    /// With secrets, so that import can take it; keep it as safe as those
    #[arg(long)]
    pub with_secrets: bool,
    /// Where to, for its owner alone [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How apps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One document, with an app on each line
    Json,
    /// A table for spreadsheets
    Csv,
}

/// Why apps were not written, or not all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file cannot be written.
    #[error("cannot write {}; there is no such file now, or the one from before", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Some apps are stored wrongly.
    #[error("{}", left_out(.0))]
    LeftOut(Vec<String>),
}

fn left_out(reasons: &[String]) -> String {
    let number = match reasons.len() {
        1 => "1 app is".to_owned(),
        number => format!("{number} apps are"),
    };
    format!("{number} left out:\n  {}", reasons.join("\n  "))
}

/// Writes them; what is stored wrongly is left out, and told as an error behind that.
pub(super) async fn obey(config: &Config, flags: &ExportFlags) -> Result<(), CommandError> {
    let apps = Apps::existing(config).await?;
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    if let Some(database) = apps.database() {
        let mut after = None;
        loop {
            let page = database.page(&mut after).await?;
            if page.is_empty() {
                break;
            }
            for row in page {
                match row.app {
                    Ok(app) => rows.push(app),
                    Err(corrupt) => wrong.push(corrupt.to_string().escape_debug().to_string()),
                }
            }
        }
    }
    for app in &config.apps {
        let from = config.origin(&format!("app {}", app.id));
        eprintln!("the app {} is not in the export: it is in {from}", app.id);
    }
    let text = match flags.format {
        Format::Json => json(&rows, flags.with_secrets),
        Format::Csv => csv(&rows, flags.with_secrets),
    };
    match flags.output.as_deref() {
        None => super::print(&text)?,
        Some(path) if path == Path::new("-") => super::print(&text)?,
        Some(path) => write_whole(path, &text).map_err(|source| ExportError::File {
            path: path.to_owned(),
            source,
        })?,
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(ExportError::LeftOut(wrong).into()),
    }
}

/// An app in an export. The shape is a promise, that of `app show --json`.
#[derive(Serialize)]
struct Exported<'a> {
    id: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<u64>,
    #[serde(flatten)]
    settings: AppSettings,
}

impl<'a> Exported<'a> {
    fn of(app: &'a App, with_secrets: bool) -> Self {
        let old = app.old_secret.as_ref().filter(|_| with_secrets);
        Self {
            id: app.id.as_str(),
            key: app.key.as_str(),
            secret: with_secrets.then(|| app.secret.reveal()),
            old_secret: old.map(|old| old.secret.reveal()),
            old_secret_until: old.map(|old| old.until),
            settings: AppSettings::of(app),
        }
    }
}

fn json(apps: &[Arc<App>], with_secrets: bool) -> String {
    let line = |app: &Arc<App>| {
        serde_json::to_string(&Exported::of(app, with_secrets)).expect("an app is JSON")
    };
    match apps.is_empty() {
        true => "{\"apps\":[]}\n".to_owned(),
        false => {
            let lines: Vec<String> = apps.iter().map(line).collect();
            format!("{{\"apps\":[\n{}\n]}}\n", lines.join(",\n"))
        }
    }
}

/// The columns of a CSV: limits have one each.
fn columns(with_secrets: bool) -> Vec<String> {
    let shown = |name: &&str| with_secrets || !ours::SECRETS.contains(name);
    let before = ours::COLUMNS.into_iter().filter(shown).map(str::to_owned);
    before.chain(ours::limit_names()).collect()
}

fn csv(apps: &[Arc<App>], with_secrets: bool) -> String {
    let columns = columns(with_secrets);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns).expect("memory takes it");
    for app in apps {
        let exported = Exported::of(app, with_secrets);
        let all = serde_json::to_value(&exported).expect("an app is JSON");
        let cell = |name: &String| match name.as_str() {
            "name" => ours::guarded(&app.name),
            "description" => ours::guarded(&app.description),
            "allowed_origins" => origins(app.allowed_origins.hosts()),
            "webhooks" => webhooks(&app.webhooks),
            name => plain(all.get(name).or_else(|| all["limits"].get(name))),
        };
        writer
            .write_record(columns.iter().map(cell))
            .expect("memory takes it");
    }
    let bytes = writer.into_inner().expect("memory takes it");
    String::from_utf8(bytes).expect("it was text")
}

fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn origins(hosts: &[String]) -> String {
    let is_plain = |host: &String| !host.contains(|c: char| c == ',' || c.is_whitespace());
    match hosts.iter().all(is_plain) && !hosts.is_empty() {
        true => hosts.join(" "),
        // An empty cell would be everybody, and no host is nobody.
        false => serde_json::to_string(hosts).expect("texts are JSON"),
    }
}

fn webhooks(hooks: &[Webhook]) -> String {
    let one = |hook: &Webhook| {
        let events: Vec<&str> = hook.events.iter().map(|event| event.as_str()).collect();
        format!("{}={}", hook.url, events.join(","))
    };
    hooks.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Writes a file whole or not at all, for its owner alone.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one.
    let path = match fs::canonicalize(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
        return Err(io::Error::other("it is no file; - is standard output"));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let unfinished = folder.join(format!(".export.{:016x}", rand::random::<u64>()));
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reverb_core::protocol::{OldSecret, Secret};

    #[test]
    fn what_is_said_of_an_app_is_the_same_in_json_in_csv_and_to_import() {
        let mut app = App::new("1", "key", "secret").expect("an app");
        let old = Secret::new("old").expect("a secret");
        app.old_secret = Some(OldSecret::new(old, 4_000_000_000));
        for with_secrets in [true, false] {
            let json = serde_json::to_value(Exported::of(&app, with_secrets)).expect("JSON");
            let mut said: Vec<&String> = json.as_object().expect("an object").keys().collect();
            let limits = json["limits"].as_object().expect("an object").keys();
            said.retain(|name| *name != "limits");
            said.extend(limits);
            said.sort_unstable();
            let mut columns = columns(with_secrets);
            columns.sort_unstable();
            assert_eq!(said, columns.iter().collect::<Vec<_>>());
        }
    }
}
