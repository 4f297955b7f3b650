//! What a body may say of an app: [`Wanted`], or the [`Mistakes`] in it, in Laravel's words.
//!
//! As there, texts are trimmed and empty ones count as `null` before anything is looked at, and whatever else stands in a body
//! is passed over.

use reverb_core::protocol::{App, AppKey, Secret};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::settings::Settings;

/// What a body sets of an app; the rest stays as it is.
#[derive(Default)]
pub(super) struct Wanted {
    name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) key: Option<String>,
    secret: Option<String>,
    description: Option<String>,
    active: Option<bool>,
    max_connections: Option<Option<u32>>,
    origins: Option<Vec<String>>,
    settings: Settings,
}

/// What is wrong with a body, by field, in the order in which it was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Mistakes(Vec<(String, Vec<String>)>);

const NAME: usize = 255;
const IDENTIFIER: (usize, usize) = (8, 255);
const SECRET: (usize, usize) = (16, 255);
/// As far as the column of a MySQL table goes.
const CONNECTIONS: i128 = i32::MAX as i128;

impl Wanted {
    /// What this body wants, for a new app or for one that there is, shown so. What that has already may be said again, though
    /// it was made elsewhere by other rules.
    pub(super) fn read(body: &Map<String, Value>, before: Option<&Value>) -> (Self, Mistakes) {
        let is_new = before.is_none();
        let mut form = Form {
            body,
            before,
            mistakes: Mistakes::default(),
        };
        let wanted = Self {
            name: form.name(is_new),
            id: form.credential("app_id", IDENTIFIER),
            key: form.credential("app_key", IDENTIFIER),
            secret: form.credential("app_secret", SECRET),
            description: form.description(),
            active: form.flag("is_active"),
            max_connections: form.max_connections(),
            origins: form.origins(),
            settings: form.settings(),
        };
        (wanted, form.mistakes)
    }

    /// Whether this body says anything of an app that is not as it is shown.
    pub(super) fn is_news(body: &Map<String, Value>, before: &Value) -> bool {
        const FIELDS: [&str; 9] = [
            "name",
            "app_id",
            "app_key",
            "app_secret",
            "description",
            "is_active",
            "max_connections",
            "allowed_origins",
            "settings",
        ];
        let said = FIELDS
            .iter()
            .filter_map(|field| Some((field, body.get(*field)?)));
        said.into_iter()
            .any(|(field, value)| before.get(*field) != Some(value))
    }

    /// Whether it names this, `id` or `key`, rather than have one made.
    pub(super) fn gives(&self, field: &str) -> bool {
        match field {
            "key" => self.key.is_some(),
            _ => self.id.is_some(),
        }
    }

    /// Sets it, all but the id, which an app keeps.
    pub(super) fn apply_to(&self, app: &mut App) {
        const CHECKED: &str = "letters, digits, hyphens and underscores will do";
        if let Some(key) = &self.key {
            app.key = AppKey::new(key).expect(CHECKED);
        }
        if let Some(secret) = &self.secret
            && app.secret.reveal() != secret
        {
            app.rotate_secret(Secret::new(secret).expect(CHECKED), None);
        }
        let mut settings = self.settings.of_app();
        settings.name.clone_from(&self.name);
        settings.description.clone_from(&self.description);
        settings.active = self.active;
        settings.max_connections = self.max_connections;
        settings.allowed_origins.clone_from(&self.origins);
        settings.apply_to(app);
        self.settings.limit(app);
    }
}

impl Mistakes {
    /// Notes one in this field.
    pub(super) fn add(&mut self, field: &str, message: impl Into<String>) {
        match self.0.iter_mut().find(|(name, _)| name == field) {
            Some((_, messages)) => messages.push(message.into()),
            None => self.0.push((field.to_owned(), vec![message.into()])),
        }
    }

    /// Just this one.
    pub(super) fn one(field: &str, message: impl Into<String>) -> Self {
        Self(vec![(field.to_owned(), vec![message.into()])])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| name == field)
    }

    /// The first one, and how many more there are.
    fn summary(&self) -> String {
        let mut all = self.0.iter().flat_map(|(_, messages)| messages);
        let first = all.next().map_or("", String::as_str);
        match all.count() {
            0 => first.to_owned(),
            1 => format!("{first} (and 1 more error)"),
            more => format!("{first} (and {more} more errors)"),
        }
    }
}

impl Serialize for Mistakes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Errors<'a>(&'a Mistakes);
        impl Serialize for Errors<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let fields = self.0.0.iter().map(|(name, messages)| (name, messages));
                serializer.collect_map(fields)
            }
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("message", &self.summary())?;
        map.serialize_entry("errors", &Errors(self))?;
        map.end()
    }
}

/// That another app has this.
pub(super) fn taken(field: &str) -> String {
    let name = spoken(field);
    format!("The {name} has already been taken.")
}

/// That the store has no room for this.
pub(super) fn unfit(field: &str, reason: &str) -> String {
    let name = spoken(field);
    format!("The {name} field cannot be kept: {reason}.")
}

/// A field's name in a sentence.
fn spoken(field: &str) -> String {
    field.replace('_', " ")
}

/// A body, and what is wrong with it so far.
struct Form<'a> {
    body: &'a Map<String, Value>,
    before: Option<&'a Value>,
    mistakes: Mistakes,
}

impl<'a> Form<'a> {
    /// The value of a field that is there; an empty text is `null`.
    fn get(&self, field: &str) -> Option<Given<'a>> {
        self.body.get(field).map(Given::of)
    }

    /// What the app has in this field, if there is one.
    fn before(&self, field: &str) -> Option<&'a Value> {
        self.before?.get(field)
    }

    fn complain(&mut self, field: &str, what: &str) {
        let name = spoken(field);
        self.mistakes.add(field, format!("The {name} field {what}"));
    }

    /// A text; one that is wrong is none.
    fn text(&mut self, field: &str) -> Option<&'a str> {
        match self.get(field)? {
            Given::Text(text) => Some(text),
            Given::Null => None,
            Given::Other(_) => {
                self.complain(field, "must be a string.");
                None
            }
        }
    }

    fn name(&mut self, is_new: bool) -> Option<String> {
        match self.get("name") {
            None if !is_new => None,
            None | Some(Given::Null) => {
                self.complain("name", "is required.");
                None
            }
            Some(_) => {
                let name = self.text("name")?;
                if name.chars().count() > NAME {
                    let what = format!("must not be greater than {NAME} characters.");
                    self.complain("name", &what);
                }
                self.refuse_nul("name", name);
                Some(name.to_owned())
            }
        }
    }

    fn description(&mut self) -> Option<String> {
        let is_null = matches!(self.get("description"), Some(Given::Null));
        let text = self.text("description");
        self.refuse_nul("description", text.unwrap_or_default());
        text.or_else(|| is_null.then_some("")).map(str::to_owned)
    }

    /// Not every database can keep it.
    fn refuse_nul(&mut self, field: &str, text: &str) {
        if text.contains('\0') {
            self.complain(field, "format is invalid.");
        }
    }

    fn credential(&mut self, field: &str, (least, most): (usize, usize)) -> Option<String> {
        let text = self.text(field)?;
        if self.before(field).and_then(Value::as_str) == Some(text) {
            return Some(text.to_owned());
        }
        let length = text.chars().count();
        if length < least {
            self.complain(field, &format!("must be at least {least} characters."));
        }
        if length > most {
            let what = format!("must not be greater than {most} characters.");
            self.complain(field, &what);
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !text.bytes().all(is_plain) {
            self.complain(field, "format is invalid.");
        }
        Some(text.to_owned())
    }

    fn flag(&mut self, field: &str) -> Option<bool> {
        let number = |value: &Value| value.as_u64().filter(|number| *number < 2);
        let flag = match self.get(field)? {
            Given::Text("1") => Some(true),
            Given::Text("0") => Some(false),
            Given::Other(Value::Bool(flag)) => Some(*flag),
            Given::Other(value) => number(value).map(|number| number == 1),
            Given::Text(_) | Given::Null => None,
        };
        if flag.is_none() {
            self.complain(field, "must be true or false.");
        }
        flag
    }

    fn max_connections(&mut self) -> Option<Option<u32>> {
        const FIELD: &str = "max_connections";
        let value = self.body.get(FIELD)?;
        // Only what really says so lifts the limit: an empty text is a form's field that nobody has filled in.
        if value.is_null() {
            return Some(None);
        }
        match integer(value) {
            None => self.complain(FIELD, "must be an integer."),
            Some(number) if number < 1 => self.complain(FIELD, "must be at least 1."),
            Some(number) if number > CONNECTIONS => {
                let what = format!("must not be greater than {CONNECTIONS}.");
                self.complain(FIELD, &what);
            }
            Some(number) => return u32::try_from(number).ok().map(Some),
        }
        None
    }

    fn origins(&mut self) -> Option<Vec<String>> {
        const FIELD: &str = "allowed_origins";
        let list = match self.get(FIELD)? {
            Given::Null => return Some(Vec::new()),
            Given::Other(Value::Array(list)) => list,
            Given::Text(_) | Given::Other(_) => {
                self.complain(FIELD, "must be an array.");
                return None;
            }
        };
        let before = self.before(FIELD).and_then(Value::as_array);
        let is_there = |entry| before.is_some_and(|before| before.contains(entry));
        let mut origins = Vec::new();
        for (n, entry) in list.iter().enumerate() {
            match Given::of(entry) {
                Given::Text(text) if text == "*" || is_host(text) || is_there(entry) => {
                    origins.push(text.to_owned());
                }
                _ => {
                    let field = format!("{FIELD}.{n}");
                    let message =
                        format!("The {field} field must be a domain (e.g. example.com) or '*'.");
                    self.mistakes.add(&field, message);
                }
            }
        }
        Some(origins)
    }

    fn settings(&mut self) -> Settings {
        let settings = match self.get("settings") {
            None | Some(Given::Null) => return Settings::default(),
            Some(Given::Other(Value::Object(settings))) => settings,
            Some(_) => {
                self.complain("settings", "must be an object.");
                return Settings::default();
            }
        };
        Settings::read(settings).unwrap_or_else(|why| {
            self.complain("settings", &format!("is invalid: {why}."));
            Settings::default()
        })
    }
}

/// A value, as it is looked at.
enum Given<'a> {
    Null,
    Text(&'a str),
    Other(&'a Value),
}

impl<'a> Given<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::String(text) => match trim(text) {
                "" => Self::Null,
                text => Self::Text(text),
            },
            other => Self::Other(other),
        }
    }
}

/// Takes off what is not seen at both ends.
fn trim(text: &str) -> &str {
    let unseen = ['\0', '\u{feff}', '\u{200b}', '\u{200e}'];
    text.trim_matches(|c: char| c.is_whitespace() || unseen.contains(&c))
}

/// A whole number, also as a text, and also as `10.0`.
fn integer(value: &Value) -> Option<i128> {
    // Beyond, not every whole number has a floating one of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number.as_i64().map(i128::from);
            let whole = whole.or_else(|| number.as_u64().map(i128::from));
            let float = number.as_f64().filter(|float| float.abs() < EXACT);
            whole.or_else(|| {
                float
                    .filter(|float| float.fract() == 0.0)
                    .map(|float| float as i128)
            })
        }
        Value::String(text) => {
            let text = trim(text);
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let is_plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let is_led = digits.len() > 1 && digits.starts_with('0');
            text.parse().ok().filter(|_| is_plain && !is_led)
        }
        _ => None,
    }
}

/// A name of RFC 1123: letters, digits and hyphens between dots.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
