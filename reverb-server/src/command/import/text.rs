//! Sources that are text: which kind they are, their lines, and the entries of a `.env` file and of CSV.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::Kind;
use super::entry::{Entry, is};
use crate::config::{self, Problem};

/// Where the lines of a text begin.
#[derive(Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(breaks).collect())
    }

    /// The number of the line in which a part of the text begins, from 1.
    pub(super) fn number(&self, text: &str, part: &str) -> usize {
        let at = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        self.0.partition_point(|start| *start <= at)
    }
}

/// Why a source is of no kind.
#[derive(Debug)]
pub(super) enum Unknown {
    /// It is nothing we know.
    Nothing,
    /// It may be each of these.
    Ambiguous(&'static [Kind]),
}

/// Which kind a text is that is no JSON.
pub(super) fn kind(text: &str) -> Result<Kind, Unknown> {
    if separator(text).is_some() {
        return Ok(Kind::Csv);
    }
    let has = |start: &str| {
        let mut lines = text.lines().map(|line| {
            let line = line.trim_start();
            line.strip_prefix("export ").unwrap_or(line).trim_start()
        });
        lines.any(|line| line.starts_with(start) && line.contains('='))
    };
    match (has("REVERB_APP_"), has("SOKETI_")) {
        (true, false) => Ok(Kind::Reverb),
        (false, true) => Ok(Kind::Soketi),
        (true, true) => Err(Unknown::Ambiguous(&[Kind::Reverb, Kind::Soketi])),
        (false, false) => Err(Unknown::Nothing),
    }
}

/// The app that the variables of a `.env` file describe: each of these names is a field under another.
pub(super) fn env(
    source: &Arc<str>,
    text: &str,
    names: &[(&str, &str)],
    prefix: &str,
) -> Option<Entry> {
    let lines = config::lines(text);
    let mut entry = Entry::new(source, None, "");
    let mut is_there = false;
    for (variable, name) in names {
        let Some(line) = lines.get(*variable) else {
            continue;
        };
        if let Some(doubt) = line.doubt {
            entry.add_as(name, variable, "", line.number);
            let found = entry.take_raw(name).expect("it was added");
            entry.refuse(&found, doubt);
        } else if !line.value.is_empty() {
            entry.add_as(name, variable, &line.value, line.number);
        }
        is_there |=
            variable.starts_with(prefix) && (line.doubt.is_some() || !line.value.is_empty());
    }
    let is_known = |name: &str| names.iter().any(|(variable, _)| *variable == name);
    let mut others: Vec<(&String, usize)> = lines
        .iter()
        .filter(|(name, line)| {
            name.starts_with(prefix) && !is_known(name) && !line.value.is_empty()
        })
        .map(|(name, line)| (name, line.number))
        .collect();
    others.sort_unstable_by_key(|(_, number)| *number);
    for (name, number) in others {
        entry.add_as(name, name, "", number);
    }
    is_there.then_some(entry)
}

/// The separator of a CSV, if its first line names columns for ids and keys.
fn separator(text: &str) -> Option<u8> {
    let text = text.trim_start_matches('\u{feff}');
    let head = text.lines().find(|line| !line.trim().is_empty())?;
    [',', ';', '\t'].into_iter().find_map(|separator| {
        let names: Vec<&str> = head.split(separator).map(column).collect();
        let has = |name: &str| names.iter().any(|other| is(other, name));
        let has_id = has("id") || has("app_id");
        (has_id && (has("key") || has("app_key"))).then_some(separator as u8)
    })
}

/// A name in the header, without what surrounds it.
fn column(name: &str) -> &str {
    name.trim().trim_matches('"').trim()
}

/// The apps of a CSV, one in each row under the header.
///
/// # Errors
/// There is no header, a column is there twice, or rows cannot be read.
pub(super) fn csv(source: &Arc<str>, text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let problem = |line: u64, message: String| Problem {
        place: format!("{source}:{line}"),
        key: String::new(),
        message,
    };
    let Some(separator) = separator(text) else {
        let told = "the first line must name the columns: id,key,secret and others as export --format csv has them";
        return Err(vec![problem(1, told.to_owned())]);
    };
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .from_reader(text.as_bytes());
    let mut problems = Vec::new();
    let header = match reader.headers() {
        Ok(header) => header
            .iter()
            .map(|name| column(name).to_owned())
            .collect::<Vec<_>>(),
        Err(_) => return Err(vec![problem(1, "the header cannot be read".to_owned())]),
    };
    let mut seen = HashMap::new();
    for name in header.iter().filter(|name| !name.is_empty()) {
        if seen.insert(name.to_ascii_lowercase(), ()).is_some() {
            problems.push(problem(1, format!("the column {name:?} is there twice")));
        }
    }
    let mut entries = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                // A spreadsheet leaves rows behind in which nothing stands.
                if record.iter().all(|cell| cell.trim().is_empty()) {
                    continue;
                }
                let line = usize::try_from(line).ok();
                let mut entry = Entry::new(source, line, "");
                for (name, cell) in header.iter().zip(record.iter()) {
                    if !cell.is_empty() && !name.is_empty() {
                        entry.add(name.as_str(), Value::String(cell.to_owned()), line);
                    } else if !cell.is_empty() {
                        entry.complain("", "a cell has no name above it in the header");
                    }
                }
                entries.push(entry);
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                problems.push(problem(line, of_csv(&error)));
            }
        }
    }
    match problems.is_empty() {
        true => Ok(entries),
        false => Err(problems),
    }
}

/// What is wrong with a row, without what stands in it.
fn of_csv(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!(
            "has {len} cells where the header has {expected_len}; a cell with a separator, a quote or a line break in it \
             stands in double quotes"
        ),
        _ => "cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_shows_in_the_first_line_or_in_the_names() {
        for text in [
            "id,key,secret",
            "\u{feff}App_ID;Key;x\n",
            "\n\"key\"\t\"id\"\r\n",
        ] {
            assert!(matches!(kind(text), Ok(Kind::Csv)), "{text}");
        }
        for text in ["A=1\nexport REVERB_APP_ID=1", "  REVERB_APP_KEY=x"] {
            assert!(matches!(kind(text), Ok(Kind::Reverb)), "{text}");
        }
        assert!(matches!(kind("SOKETI_DEBUG=1"), Ok(Kind::Soketi)));
        assert!(matches!(
            kind("SOKETI_DEBUG=1\nREVERB_APP_ID=1"),
            Err(Unknown::Ambiguous(_))
        ));
        for text in [
            "",
            "id,secret",
            "A=1",
            "# REVERB_APP_ID=1",
            "PUSHER_APP_ID=1",
        ] {
            assert!(matches!(kind(text), Err(Unknown::Nothing)), "{text}");
        }
    }
}
