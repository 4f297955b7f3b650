//! [`Table`]: reads one table of a TOML file, key by key.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Page, did_you_mean};
use super::values;

/// One table of the file. Each key is taken out once; [`Table::finish`] complains about those that nobody wanted.
pub(super) struct Table<'a> {
    page: &'a Page<'a>,
    /// What stands in front of its keys, such as `apps[0].`.
    prefix: String,
    keys: DeTable<'a>,
    /// Where it begins.
    span: Range<usize>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn whole(page: &'a Page<'a>, keys: DeTable<'a>) -> Self {
        Self {
            page,
            prefix: String::new(),
            keys,
            span: 0..0,
        }
    }

    /// `reverb.toml:12`, the line on which this table begins.
    pub(super) fn origin(&self) -> String {
        self.page.origin(&self.span)
    }

    /// Notes a mistake in the table as such.
    pub(super) fn complain(&self, message: String) {
        self.page
            .complain(&self.span, self.prefix.trim_end_matches('.'), message);
    }

    /// Notes a mistake at these bytes, in the value of this key.
    pub(super) fn complain_at(&self, span: &Range<usize>, key: &str, message: String) {
        self.page
            .complain(span, format!("{}{key}", self.prefix), message);
    }

    /// Whether this key is there and was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The value of a key, if it is there and this function can read it.
    ///
    /// The function's error is the sentence for whoever wrote the file.
    pub(super) fn take<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, String>,
    ) -> Option<Found<T>> {
        let value = self.keys.remove(key)?;
        let span = value.span();
        match read(value.get_ref()) {
            Ok(value) => Some(Found {
                value,
                from: self.page.origin(&span),
                span,
            }),
            Err(message) => {
                self.complain_at(&span, key, message);
                None
            }
        }
    }

    /// Text that this function accepts.
    pub(super) fn text<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Found<T>> {
        self.take(key, |value| match value {
            DeValue::String(text) => parse(text),
            DeValue::Integer(number) => {
                Err(format!("must be text, in quotes: {key} = \"{number}\""))
            }
            _ => Err(format!("must be text, in quotes: {key} = \"…\"")),
        })
    }

    /// A whole number in this range.
    pub(super) fn number<T: TryFrom<u64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<Found<T>> {
        self.take(key, |value| {
            let number = match value {
                DeValue::Integer(number) => {
                    u64::from_str_radix(number.as_str(), number.radix()).ok()
                }
                _ => None,
            };
            number
                .filter(|number| range.contains(number))
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| {
                    let hint = if value.is_str() {
                        ", without quotes"
                    } else {
                        ""
                    };
                    format!("must be {}{hint}", values::number_in(&range))
                })
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str) -> Option<Found<bool>> {
        self.take(key, |value| {
            value
                .as_bool()
                .ok_or_else(|| "must be true or false, without quotes".to_owned())
        })
    }

    /// A list of texts that this function accepts.
    pub(super) fn texts<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Found<Vec<T>>> {
        self.take(key, |value| {
            let shape = || format!("must be a list of texts: {key} = [\"…\", \"…\"]");
            let list = value.as_array().ok_or_else(shape)?;
            list.iter()
                .map(|entry| parse(entry.get_ref().as_str().ok_or_else(shape)?))
                .collect()
        })
    }

    /// The table under this key.
    pub(super) fn table(&mut self, key: &str) -> Option<Self> {
        let value = self.keys.remove(key)?;
        Self::of(self.page, format!("{}{key}", self.prefix), value)
    }

    /// The tables of a list such as `[[apps]]`.
    pub(super) fn tables(&mut self, key: &str) -> Vec<Self> {
        let shape = || format!("must be a list of tables: [[{key}]], with two brackets");
        let tables = self.take(key, |value| match value {
            DeValue::Array(tables) => Ok(tables.to_vec()),
            _ => Err(shape()),
        });
        let tables = tables.into_iter().flat_map(|found| found.value);
        let numbered = tables
            .enumerate()
            .map(|(n, table)| (format!("{key}[{n}]"), table));
        numbered
            .filter_map(|(path, table)| Self::of(self.page, path, table))
            .collect()
    }

    fn of(page: &'a Page<'a>, path: String, value: Spanned<DeValue<'a>>) -> Option<Self> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(keys) => Some(Self {
                page,
                prefix: format!("{path}."),
                keys,
                span,
            }),
            _ => {
                page.complain(&span, path, "must be a table".to_owned());
                None
            }
        }
    }

    /// Complains about every key that was not taken; `known` are those that could have been.
    ///
    /// `elsewhere` says of a key that has its place in another table where that is.
    pub(super) fn finish(self, known: &[&str], elsewhere: impl Fn(&str) -> Option<&'static str>) {
        for key in self.keys.keys() {
            let name: &str = key.get_ref();
            let remedy = match (did_you_mean(name, known), elsewhere(name)) {
                (_, Some(place)) => format!("it belongs {place}"),
                (Some(meant), None) => format!("did you mean {meant}?"),
                (None, None) => format!("known here: {}", known.join(", ")),
            };
            let path = format!("{}{name}", self.prefix);
            self.page
                .complain(&key.span(), path, format!("unknown key; {remedy}"));
        }
    }
}

/// A value, and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    /// `reverb.toml:3`, `--port`, `REVERB_SERVER_PORT`, `.env:4`; for people.
    pub(super) from: String,
    /// Its bytes in the file; empty if it is from none.
    pub(super) span: Range<usize>,
}

impl<T> Found<T> {
    /// Found outside a file of ours.
    pub(super) fn new(value: T, from: impl Into<String>) -> Self {
        Self {
            value,
            from: from.into(),
            span: 0..0,
        }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        Found {
            value: change(self.value),
            from: self.from,
            span: self.span,
        }
    }
}
