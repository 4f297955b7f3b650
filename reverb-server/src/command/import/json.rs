//! [`Json`]: the apps in a JSON document, each with the line it stands in.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Kind;
use super::entry::{Entry, is};
use super::text::{Lines, Unknown};
use crate::config::Problem;

type Object<'a> = BTreeMap<String, &'a RawValue>;

/// A JSON document that is well-formed.
#[derive(Debug)]
pub(super) struct Json<'a> {
    text: &'a str,
    lines: Lines,
    source: &'a Arc<str>,
}

/// Where apps may stand, the more telling first.
const PLACES: [&str; 3] = ["appManager.array.apps", "apps.apps", "apps"];

impl<'a> Json<'a> {
    /// # Errors
    /// It is no JSON.
    pub(super) fn new(source: &'a Arc<str>, text: &'a str) -> Result<Self, Problem> {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => Ok(Self {
                text,
                lines: Lines::of(text),
                source,
            }),
            Err(error) => Err(Problem {
                place: format!("{source}:{}:{}", error.line(), error.column()),
                key: String::new(),
                message: format!("not valid JSON: {error}"),
            }),
        }
    }

    /// The apps. Where there are none in any place, the document may be one itself.
    pub(super) fn apps(&self) -> Vec<Entry> {
        for path in PLACES {
            let Some(raw) = find(self.text, path) else {
                continue;
            };
            if let Some(list) = array(raw) {
                return self.numbered(path, &list);
            }
            // PHP writes a list whose numbers have a gap, or that has names, as an object.
            if path != "apps" || find(self.text, "apps.provider").is_none() {
                return self.named(path, raw);
            }
        }
        match (array(self.text), object(self.text)) {
            (Some(list), _) => self.numbered("", &list),
            (None, Some(fields)) if fields.keys().any(|name| is(name, "key")) => {
                vec![self.entry(String::new(), self.text)]
            }
            _ => Vec::new(),
        }
    }

    fn numbered(&self, path: &str, list: &[&'a RawValue]) -> Vec<Entry> {
        let entry =
            |(n, raw): (usize, &&'a RawValue)| self.entry(format!("{path}[{n}]"), raw.get());
        list.iter().enumerate().map(entry).collect()
    }

    fn named(&self, path: &str, raw: &'a str) -> Vec<Entry> {
        let apps = object(raw).unwrap_or_default();
        let entry = |(name, raw): (String, &'a RawValue)| {
            let name = name.escape_debug();
            self.entry(format!("{path}.{name}"), raw.get())
        };
        apps.into_iter().map(entry).collect()
    }

    fn entry(&self, path: String, raw: &'a str) -> Entry {
        let line = |raw: &str| Some(self.lines.number(self.text, raw.trim_start()));
        let mut entry = Entry::new(self.source, line(raw), path);
        match object(raw) {
            Some(fields) => {
                for (name, raw) in fields {
                    let name = name.escape_debug().to_string();
                    match serde_json::from_str(raw.get()) {
                        Ok(value) => entry.add(name, value, line(raw.get())),
                        Err(_) => entry.complain(&name, "is nested too deeply"),
                    }
                }
            }
            None => entry.complain("", "must be an object, as an app is"),
        }
        entry
    }

    /// What stands at a path, in any of its spellings: `a.b` may be an object in another, or one name.
    pub(super) fn value(&self, path: &str) -> Option<Value> {
        serde_json::from_str(find(self.text, path)?).ok()
    }

    /// All that the members of an object say under this name.
    pub(super) fn values_below(&self, path: &str, name: &str) -> Vec<Value> {
        let members = find(self.text, path).and_then(object).unwrap_or_default();
        let values = members.values().filter_map(|raw| find(raw.get(), name));
        values
            .filter_map(|raw| serde_json::from_str(raw).ok())
            .collect()
    }

    /// Whose document it is, as far as one can tell from where the apps stand and what they say.
    pub(super) fn kind(&self, apps: &[Entry]) -> Result<Kind, Unknown> {
        let top = object(self.text).unwrap_or_default();
        if top
            .keys()
            .any(|name| name.split('.').next() == Some("appManager"))
        {
            return Ok(Kind::Soketi);
        }
        if find(self.text, "apps.apps").is_some() || find(self.text, "apps.provider").is_some() {
            return Ok(Kind::Reverb);
        }
        let say = |known: &[&str]| {
            let mut names = apps.iter().flat_map(Entry::names);
            names.any(|name| known.iter().any(|known| is(name, known)))
        };
        if say(&["app_id", "accept_client_events_from", "ping_interval"]) {
            Ok(Kind::Reverb)
        } else if say(&super::soketi::TELLING) {
            Ok(Kind::Soketi)
        } else if say(&super::ours::telling()) {
            Ok(Kind::Json)
        } else if top.contains_key("apps") || !apps.is_empty() {
            Err(Unknown::Ambiguous(&[Kind::Json, Kind::Soketi]))
        } else {
            Err(Unknown::Nothing)
        }
    }
}

fn object(raw: &str) -> Option<Object<'_>> {
    serde_json::from_str(raw).ok()
}

fn array(raw: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw).ok()
}

fn find<'a>(raw: &'a str, path: &str) -> Option<&'a str> {
    let members = object(raw)?;
    members.iter().find_map(|(name, raw)| {
        let rest = path.strip_prefix(name.as_str())?;
        match rest.strip_prefix('.') {
            Some(rest) => find(raw.get(), rest),
            None => rest.is_empty().then(|| raw.get()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_found_wherever_they_stand_with_their_lines() {
        let source: Arc<str> = "f".into();
        let places = |text: &str| -> Vec<String> {
            let json = Json::new(&source, text).expect("JSON");
            json.apps().iter().map(Entry::place).collect()
        };
        for text in [
            "{\"appManager\":{\"array\":{\"apps\":\n[{},\n{}]}}}",
            "{\"appManager.array.apps\":\n[{},\n{}]}",
            "{\"appManager\":{\"array.apps\":\n[{},\n{}]}}",
            "{\"apps\":{\"provider\":\"config\",\"apps\":\n[{},\n{}]}}",
            "{\"apps\":{\"apps\":\n{\"1\":{},\n\"2\":{}}}}",
            "{\"apps\":\n[{},\n{}]}",
            "[\n{},\n{}]",
        ] {
            assert_eq!(places(text), ["f:2", "f:3"], "{text}");
        }
        assert_eq!(places("\n{\"id\":1,\"key\":2}"), ["f:2"]);
        assert!(places("{}").is_empty() && places("7").is_empty());
        assert!(places("{\"apps\":{\"provider\":\"x\"}}").is_empty());
    }
}
