//! [`Problem`]: one mistake in the configuration, and where it is.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// One mistake in the configuration: where, which key, what is wrong and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `reverb.toml:12:3`, `.env:4`; empty for flags and the process environment, which have no lines.
    pub place: String,
    /// `apps[0].limits.event_bytes`, `REVERB_SERVER_PORT`, `--host`; empty if there is none.
    pub key: String,
    /// What is wrong, and the remedy. Never the value of a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.key] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// A file's text under its name, and the mistakes found in it so far.
///
/// Reading goes on after a mistake, so that whoever mends the file sees all of them at once.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) name: &'a str,
    text: &'a str,
    found: RefCell<Vec<(usize, Problem)>>,
}

impl<'a> Page<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        Self {
            name,
            text,
            found: RefCell::default(),
        }
    }

    /// Notes a mistake at these bytes.
    pub(super) fn complain(&self, at: &Range<usize>, key: impl Into<String>, message: String) {
        let before = &self.text[..self.text.floor_char_boundary(at.start)];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let problem = Problem {
            place: format!("{}:{}:{column}", self.name, self.line(at)),
            key: key.into(),
            message,
        };
        self.found.borrow_mut().push((at.start, problem));
    }

    /// The number of the line at these bytes, from 1.
    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        self.text[..self.text.floor_char_boundary(at.start)]
            .matches('\n')
            .count()
            + 1
    }

    /// `reverb.toml:12`.
    pub(super) fn origin(&self, at: &Range<usize>) -> String {
        format!("{}:{}", self.name, self.line(at))
    }

    /// The key that the line at these bytes sets; empty if it sets none.
    pub(super) fn key_at(&self, at: &Range<usize>) -> &'a str {
        let line = self.text.lines().nth(self.line(at) - 1).unwrap_or_default();
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        let is_key = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if is_key { key } else { "" }
    }

    /// All mistakes, from top to bottom.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// Which of these names was probably meant.
pub(crate) fn did_you_mean<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let closest = known
        .iter()
        .map(|known| (distance(name, known), *known))
        .min()?;
    (closest.0 <= (1 + name.len() / 4).min(3)).then_some(closest.1)
}

/// How many letters must be changed, put in or taken out to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_recognised_and_other_words_are_not() {
        let known = ["event_bytes", "port", "path"];
        assert_eq!(did_you_mean("event_bites", &known), Some("event_bytes"));
        assert_eq!(did_you_mean("eventbytes", &known), Some("event_bytes"));
        assert_eq!(did_you_mean("prot", &known), Some("port"));
        assert_eq!(did_you_mean("Port", &known), Some("port"));
        assert_eq!(did_you_mean("secret", &known), None);
    }

    #[test]
    fn mistakes_are_told_from_top_to_bottom_with_line_and_column() {
        let page = Page::new("f", "a = 1\nä = 2\n");
        page.complain(&(11..12), "", "second".to_owned());
        page.complain(&(0..1), "a", "first".to_owned());
        let told: Vec<String> = page
            .into_problems()
            .iter()
            .map(Problem::to_string)
            .collect();
        assert_eq!(told, ["f:1:1: a: first", "f:2:5: second"]);
    }
}
