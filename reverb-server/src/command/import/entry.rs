//! [`Entry`]: one app as a source describes it, field by field; [`Draft`]: what becomes of it here.

use std::ops::RangeInclusive;
use std::sync::Arc;

use reverb_core::protocol::App;
use serde_json::Value;

use crate::config::Problem;
use crate::config::values;

/// One app as a source describes it. Whoever reads it takes the fields out one by one; what is left then is unknown.
///
/// Reading goes on after a mistake, so that all are told at once. Messages never repeat a value: what stands in the wrong
/// place may be a secret.
#[derive(Debug)]
pub(super) struct Entry {
    source: Arc<str>,
    /// Where it begins, if the source has lines.
    line: Option<usize>,
    /// `apps[3]`, `app 1001`; empty if there is only one.
    path: String,
    fields: Vec<Field>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

/// A name, and what it says.
#[derive(Debug)]
struct Field {
    name: String,
    /// As messages call it, if it is not its name below that of the entry.
    shown: Option<String>,
    value: Value,
    line: Option<usize>,
}

/// An app that has been read, and what was lost on the way.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) app: App,
    pub(super) place: String,
    /// Sentences about what has no counterpart here.
    pub(super) notes: Vec<String>,
}

impl Entry {
    pub(super) fn new(source: &Arc<str>, line: Option<usize>, path: impl Into<String>) -> Self {
        Self {
            source: source.clone(),
            line,
            path: path.into(),
            fields: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, name: impl Into<String>, value: Value, line: Option<usize>) {
        self.fields.push(Field {
            name: name.into(),
            shown: None,
            value,
            line,
        });
    }

    /// The same for one that is called otherwise where it stands.
    pub(super) fn add_as(&mut self, name: &str, shown: &str, text: &str, line: usize) {
        self.fields.push(Field {
            name: name.to_owned(),
            shown: Some(shown.to_owned()),
            value: Value::String(text.to_owned()),
            line: Some(line),
        });
    }

    /// What holds for the whole source, if this app does not say otherwise.
    pub(super) fn add_default(&mut self, name: &str, value: Value) {
        if !self.fields.iter().any(|field| is(&field.name, name)) {
            self.add(name, value, self.line);
        }
    }

    /// Another name for a field, if there is none of that name.
    pub(super) fn rename(&mut self, name: &str, to: &str) {
        if self.fields.iter().any(|field| is(&field.name, to)) {
            return;
        }
        if let Some(field) = self.fields.iter_mut().find(|field| is(&field.name, name)) {
            field.name = to.to_owned();
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        match (self.line, self.path.as_str()) {
            (Some(line), _) => format!("{}:{line}", self.source),
            (None, "") => self.source.to_string(),
            (None, path) => format!("{}: {path}", self.source),
        }
    }

    /// What is known of a thing that is to be added.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A mistake that concerns the entry as a whole, or a field that it has not.
    pub(super) fn complain(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            place: match self.line {
                Some(line) => format!("{}:{line}", self.source),
                None => self.source.to_string(),
            },
            key: self.below(name),
            message: message.into(),
        });
    }

    fn complain_of(&mut self, found: &Found, message: impl Into<String>) {
        let place = match found.line {
            Some(line) => format!("{}:{line}", self.source),
            None => self.source.to_string(),
        };
        self.problems.push(Problem {
            place,
            key: found.shown.clone(),
            message: message.into(),
        });
    }

    fn below(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path if name.is_empty() => path.to_owned(),
            path if path.starts_with("app ") => format!("{path}: {name}"),
            path => format!("{path}.{name}"),
        }
    }

    /// The field of this name, whether it is null or not. How it is spelled does not matter: `maxConnections` is
    /// `max_connections`.
    pub(super) fn take_raw(&mut self, name: &str) -> Option<Found> {
        let at = self.fields.iter().position(|field| is(&field.name, name))?;
        let field = self.fields.remove(at);
        Some(Found {
            shown: field.shown.unwrap_or_else(|| self.below(&field.name)),
            value: field.value,
            line: field.line,
        })
    }

    /// The field of this name, if it says anything.
    pub(super) fn take(&mut self, name: &str) -> Option<Found> {
        self.take_raw(name).filter(|found| !found.value.is_null())
    }

    /// What a function makes of a field; its error is a sentence that does not repeat the value.
    pub(super) fn parse<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let found = self.take(name)?;
        match parse(&found.value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.complain_of(&found, message);
                None
            }
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.parse(name, text)
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.parse(name, flag)
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        self.parse(name, |value| number(value, &range))
    }

    /// An app with these credentials, just as they are, and defaults for the rest. `remedy` is for a secret that is missing.
    pub(super) fn credentials(
        &mut self,
        id: &str,
        key: &str,
        secret: &str,
        remedy: &str,
    ) -> Option<App> {
        type Check = fn(&str) -> Result<String, String>;
        let mut one = |name: &str, check: Check, remedy: &str| {
            if !self
                .fields
                .iter()
                .any(|f| is(&f.name, name) && !f.value.is_null())
            {
                self.complain(
                    name,
                    format!("is missing; an app has an id, a key and a secret{remedy}"),
                );
            }
            self.parse(name, |value| check(&text(value)?))
        };
        let id = one(id, values::id, "");
        let key = one(key, values::key, "");
        let secret = one(secret, values::secret, remedy);
        App::new(&id?, &key?, &secret?).ok()
    }

    /// Names of the fields that nobody has taken.
    pub(super) fn rest(&mut self) -> Vec<Found> {
        let names: Vec<String> = self.names().map(str::to_owned).collect();
        names
            .iter()
            .filter_map(|name| self.take_raw(name))
            .collect()
    }

    /// A mistake in a field that was taken.
    pub(super) fn refuse(&mut self, found: &Found, message: impl Into<String>) {
        self.complain_of(found, message);
    }

    /// The app, unless something is wrong with it.
    pub(super) fn finish(self, app: Option<App>) -> Result<Draft, Vec<Problem>> {
        let place = self.place();
        match app {
            Some(app) if self.problems.is_empty() => Ok(Draft {
                app,
                place,
                notes: self.notes,
            }),
            _ => Err(self.problems),
        }
    }
}

/// A field that was taken.
#[derive(Debug)]
pub(super) struct Found {
    /// As messages call it.
    pub(super) shown: String,
    pub(super) value: Value,
    line: Option<usize>,
}

/// Whether two names are the same but for their spelling.
pub(super) fn is(name: &str, other: &str) -> bool {
    let letters = |name: &str| -> String {
        name.chars()
            .filter(|c| !"_-".contains(*c))
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    name == other || letters(name) == letters(other)
}

/// Text; ids are often written as numbers.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if number.is_u64() => Ok(number.to_string()),
        _ => Err("must be text".to_owned()),
    }
}

/// True or false, as databases and spreadsheets write it too.
pub(super) fn flag(value: &Value) -> Result<bool, String> {
    let text = match value {
        Value::Bool(flag) => return Ok(*flag),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_ascii_lowercase(),
        _ => String::new(),
    };
    match text.as_str() {
        "true" | "1" | "yes" | "on" | "\u{1}" => Ok(true),
        "false" | "0" | "no" | "off" | "\0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A whole number, or one as text.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A whole number in this range.
pub(super) fn number<T: TryFrom<u64>>(
    value: &Value,
    range: &RangeInclusive<u64>,
) -> Result<T, String> {
    let number = whole(value).and_then(|number| u64::try_from(number).ok());
    let number = number.filter(|number| range.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("must be {}", values::number_in(range)))
}

/// Hosts that browsers may come from: a list, or text with commas or blanks between them.
pub(super) fn origins(value: &Value) -> Result<Vec<String>, String> {
    let told = || {
        r#"must be a list of hosts such as "example.com" or "*.example.com"; "*" is everybody"#
            .to_owned()
    };
    let hosts: Vec<String> = match value {
        Value::Array(hosts) => {
            let texts = hosts.iter().map(|host| host.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(told)?
        }
        // One that has a comma in it can only be written as JSON.
        Value::String(text) => match serde_json::from_str(text) {
            Ok(hosts) => hosts,
            Err(_) => text
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter(|host| !host.is_empty())
                .map(str::to_owned)
                .collect(),
        },
        _ => return Err(told()),
    };
    match hosts.iter().all(|host| values::origin(host).is_ok()) {
        true => Ok(hosts),
        false => Err(told()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_the_same_in_each_spelling() {
        for other in [
            "maxConnections",
            "MaxConnections",
            "MAX_CONNECTIONS",
            "max-connections",
        ] {
            assert!(is(other, "max_connections"), "{other}");
        }
        assert!(!is("max_connection", "max_connections"));
    }

    #[test]
    fn values_are_read_as_databases_and_spreadsheets_write_them() {
        for yes in [
            json!(true),
            json!(1),
            json!("1"),
            json!("TRUE"),
            json!("yes"),
            json!("\u{1}"),
        ] {
            assert_eq!(flag(&yes), Ok(true), "{yes}");
        }
        for no in [json!(false), json!(0), json!("0"), json!("no"), json!("\0")] {
            assert_eq!(flag(&no), Ok(false), "{no}");
        }
        assert!(flag(&json!("s3cret")).is_err_and(|told| !told.contains("s3cret")));
        assert_eq!(number::<u32>(&json!(" 7 "), &(1..=9)), Ok(7));
        for bad in [
            json!(0),
            json!(10),
            json!(7.5),
            json!("7.5"),
            json!(-7),
            json!([7]),
        ] {
            assert!(number::<u32>(&bad, &(1..=9)).is_err(), "{bad}");
        }
        let hosts = origins(&json!("a.test, *.b.test c.test")).expect("hosts");
        assert_eq!(hosts, ["a.test", "*.b.test", "c.test"]);
        assert_eq!(origins(&json!("[]")), Ok(Vec::new()));
        assert_eq!(origins(&json!("[\"a,b\"]")), Ok(vec!["a,b".to_owned()]));
        assert!(origins(&json!("https://")).is_err() && origins(&json!([7])).is_err());
    }
}
