//! [`AppColumns`]: a row of `reverb_apps` with what we keep beside it, and the app in it.

use mysql_async::{Row, Value};
use reverb_core::app_store::{AppSettings, CorruptApp, LastUse};
use reverb_core::protocol::{App, AppId, OldSecret, Origins, Secret};

use crate::EnforceMaxConnections;
use crate::secrets::Secrets;

/// What is selected, from [`FROM`].
pub(crate) const COLUMNS: &str = "a.id AS row_id, a.name, a.app_id, a.app_key, a.app_secret, a.description, a.is_active, \
     a.max_connections, a.allowed_origins, a.created_at, a.updated_at, x.secret, x.old_secret, x.old_secret_until, x.settings, \
     x.unlimited_at, x.edited_here, x.secret_used, x.old_secret_used, x.revision";
pub(crate) const FROM: &str = "reverb_apps a LEFT JOIN rp_apps x ON x.row_id = a.id";

/// A hash of everything in a row of `reverb_apps` that makes the app: it shows changes that others have made, which neither
/// their number nor the latest `updated_at` does. Lengths stand in front, so that nothing can move from one column to another.
pub(crate) const HASH: &str = "UNHEX(MD5(CONCAT(\
     LENGTH(a.name), ':', CAST(a.name AS BINARY), LENGTH(a.app_id), ':', CAST(a.app_id AS BINARY), \
     LENGTH(a.app_key), ':', CAST(a.app_key AS BINARY), LENGTH(a.app_secret), ':', CAST(a.app_secret AS BINARY), \
     IFNULL(CONCAT(LENGTH(a.description), ':', CAST(a.description AS BINARY)), '-'), a.is_active, ':', a.max_connections, ':', \
     IFNULL(CONCAT(LENGTH(a.allowed_origins), ':', CAST(a.allowed_origins AS BINARY)), '-'))))";

/// One row, taken out of the driver's hands.
#[derive(Debug)]
pub(crate) struct AppColumns {
    pub(crate) row_id: u64,
    pub(crate) app_id: String,
    pub(crate) app_secret: String,
    /// The secret's column as we saw it last; `None` if we never did.
    pub(crate) seen_secret: Option<String>,
    pub(crate) revision: u64,
    pub(crate) created: Option<u64>,
    pub(crate) updated: Option<u64>,
    pub(crate) max_connections: i64,
    pub(crate) edited_here: bool,
    pub(crate) used: LastUse,
    name: String,
    pub(crate) app_key: String,
    description: Option<String>,
    is_active: bool,
    allowed_origins: Option<String>,
    pub(crate) old_secret: Option<String>,
    old_secret_until: Option<u64>,
    settings: Option<String>,
    unlimited_at: Option<i64>,
}

impl AppColumns {
    /// A row that was selected by [`COLUMNS`].
    pub(crate) fn take(mut row: Row) -> Self {
        let mut text = |column: &str| as_text(row.take::<Value, _>(column));
        let texts = [
            "name",
            "app_id",
            "app_key",
            "app_secret",
            "description",
            "allowed_origins",
            "secret",
            "old_secret",
            "settings",
        ];
        let [
            name,
            app_id,
            app_key,
            app_secret,
            description,
            allowed_origins,
            seen_secret,
            old_secret,
            settings,
        ] = texts.map(&mut text);
        let mut number = |column: &str| as_number(row.take::<Value, _>(column));
        let numbers = [
            "row_id",
            "is_active",
            "max_connections",
            "old_secret_until",
            "unlimited_at",
            "edited_here",
            "secret_used",
            "old_secret_used",
            "revision",
        ];
        let [
            row_id,
            is_active,
            max_connections,
            old_secret_until,
            unlimited_at,
            edited_here,
            secret_used,
            old_secret_used,
            revision,
        ] = numbers.map(&mut number);
        let mut time = |column: &str| as_time(row.take::<Value, _>(column));
        let seconds = |number: Option<i64>| number.map(|number| number.max(0) as u64);
        Self {
            row_id: row_id.unwrap_or_default() as u64,
            app_id: app_id.unwrap_or_default(),
            app_secret: app_secret.unwrap_or_default(),
            seen_secret,
            revision: revision.unwrap_or_default() as u64,
            created: time("created_at"),
            updated: time("updated_at"),
            max_connections: max_connections.unwrap_or_default(),
            edited_here: edited_here.unwrap_or_default() != 0,
            used: LastUse::new(seconds(secret_used), seconds(old_secret_used)),
            name: name.unwrap_or_default(),
            app_key: app_key.unwrap_or_default(),
            description,
            is_active: is_active.unwrap_or_default() != 0,
            allowed_origins,
            old_secret,
            old_secret_until: seconds(old_secret_until),
            settings,
            unlimited_at,
        }
    }

    /// Whether a secret can be opened, but is not kept as it would be written today.
    pub(crate) fn is_kept_otherwise(&self, secrets: &Secrets) -> bool {
        let stored = std::iter::once(&self.app_secret).chain(&self.old_secret);
        let mut otherwise = stored.filter(|stored| !secrets.is_current(stored));
        otherwise.any(|stored| secrets.read(&self.app_id, stored).is_ok())
    }

    /// The app in it.
    pub(crate) fn app(
        &self,
        secrets: &Secrets,
        enforce: EnforceMaxConnections,
    ) -> Result<App, CorruptApp> {
        let id = self.app_id.as_str();
        let wrong = |error: &dyn std::error::Error| CorruptApp::new(id, error.to_string());
        let open = |stored: &str| {
            let opened = secrets.read(id, stored);
            opened.map_err(|reason| CorruptApp::sealed(id, reason))
        };
        AppId::new(id).map_err(|error| wrong(&error))?;
        let secret = open(&self.app_secret)?;
        let mut app = App::new(id, &self.app_key, &secret).map_err(|error| wrong(&error))?;
        if let (Some(old), Some(until)) = (&self.old_secret, self.old_secret_until) {
            let old = Secret::new(&open(old)?).map_err(|error| wrong(&error))?;
            app.old_secret = Some(OldSecret::new(old, until));
        }
        // First what is kept beside the row: what stands in it counts.
        if let Some(settings) = &self.settings {
            let settings = AppSettings::parse(settings);
            let settings =
                settings.map_err(|error| CorruptApp::new(id, format!("its settings: {error}")))?;
            settings.apply_to(&mut app);
        }
        app.name.clone_from(&self.name);
        app.description = self.description.clone().unwrap_or_default();
        app.active = self.is_active;
        app.max_connections = match u32::try_from(self.max_connections) {
            _ if self.unlimited_at == Some(self.max_connections) => None,
            Ok(most) => Some(most),
            Err(_) => {
                let reason = format!("max_connections is {}", self.max_connections);
                return Err(CorruptApp::new(id, reason));
            }
        };
        app.enforce_max_connections = match enforce {
            EnforceMaxConnections::Auto => self.edited_here,
            EnforceMaxConnections::Always => true,
        };
        let hosts = origins(self.allowed_origins.as_deref());
        app.allowed_origins = Origins::new(hosts.map_err(|reason| CorruptApp::new(id, reason))?);
        app.revision = self.revision;
        Ok(app)
    }
}

/// The hosts in this JSON. Nothing, `null` and an empty list let nobody in; the values of an object count as a list.
fn origins(json: Option<&str>) -> Result<Vec<String>, String> {
    use serde_json::Value as Json;

    let told =
        |what: &str| format!("allowed_origins is {what}, where a JSON list of texts belongs");
    let values: Vec<Json> = match json.map(serde_json::from_str) {
        None | Some(Ok(Json::Null)) => Vec::new(),
        Some(Ok(Json::Array(values))) => values,
        Some(Ok(Json::Object(values))) => values.into_iter().map(|(_, value)| value).collect(),
        Some(Ok(_)) => return Err(told("no list")),
        Some(Err(_)) => return Err(told("no JSON")),
    };
    let texts = values.into_iter().map(|value| match value {
        Json::String(text) => Ok(text),
        _ => Err(told("a list of something else")),
    });
    texts.collect()
}

fn as_text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        other => Some(other.as_sql(true)),
    }
}

fn as_number(value: Option<Value>) -> Option<i64> {
    match value? {
        Value::Int(number) => Some(number),
        Value::UInt(number) => i64::try_from(number).ok(),
        Value::Bytes(bytes) => std::str::from_utf8(&bytes).ok()?.parse().ok(),
        _ => None,
    }
}

/// A date is the time of day in UTC, whatever time zone the server is in: Laravel writes it so.
fn as_time(value: Option<Value>) -> Option<u64> {
    let Some(Value::Date(year, month, day, hour, minute, second, _)) = value else {
        return None;
    };
    let month = time::Month::try_from(month).ok()?;
    let date = time::Date::from_calendar_date(i32::from(year), month, day).ok()?;
    let at = date.with_hms(hour, minute, second).ok()?.assume_utc();
    u64::try_from(at.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_a_list_or_the_values_of_an_object() {
        let hosts = |json| origins(json).expect("origins");
        for nobody in [None, Some("null"), Some("[]"), Some("{}")] {
            assert!(hosts(nobody).is_empty());
        }
        assert_eq!(hosts(Some(r#"["*"]"#)), ["*"]);
        assert_eq!(
            hosts(Some(r#"{"0":"a.test","2":"b.test"}"#)),
            ["a.test", "b.test"]
        );
        for wrong in ["", "[", "7", "\"*\"", "[7]", "[null]"] {
            assert!(origins(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_date_is_read_as_utc() {
        let date = Value::Date(2026, 5, 20, 10, 0, 30, 0);
        assert_eq!(as_time(Some(date)), Some(1_779_271_230));
        assert_eq!(as_time(Some(Value::Date(0, 0, 0, 0, 0, 0, 0))), None);
        assert_eq!(as_time(Some(Value::NULL)), None);
    }
}
