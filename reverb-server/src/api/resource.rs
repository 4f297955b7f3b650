//! An app as the API shows it.

use reverb_core::app_store::{AppRow, AppSettings, CorruptApp};
use reverb_core::protocol::App;
use serde::Serialize;
use time::OffsetDateTime;

/// An app on the wire. The order of the fields is a promise; `settings`, which is ours, stands behind all that were there
/// before us.
///
/// Of an app that is stored wrongly only the id is known: it stands there, inactive as it is, with `null` for the rest.
#[derive(Serialize)]
pub(super) struct Resource<'a> {
    id: u64,
    name: Option<&'a str>,
    app_id: &'a str,
    app_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_secret: Option<&'a str>,
    description: Option<&'a str>,
    is_active: bool,
    /// `null` is no limit.
    max_connections: Option<u32>,
    /// `null` lets no browser in.
    allowed_origins: Option<&'a [String]>,
    created_at: Option<String>,
    updated_at: Option<String>,
    settings: Option<AppSettings>,
}

impl<'a> Resource<'a> {
    /// The app of this row.
    pub(super) fn of(row: &'a AppRow) -> Self {
        let mut resource = match &row.app {
            Ok(app) => Self::of_app(row.number, app),
            Err(corrupt) => Self::of_corrupt(row.number, corrupt),
        };
        resource.created_at = row.created.and_then(time);
        resource.updated_at = row.updated.and_then(time);
        resource
    }

    /// The same with its secret.
    pub(super) fn with_secret(row: &'a AppRow) -> Self {
        let secret = row.app.as_ref().ok().map(|app| app.secret.reveal());
        Self {
            app_secret: secret,
            ..Self::of(row)
        }
    }

    fn of_app(number: u64, app: &'a App) -> Self {
        let origins = app.allowed_origins.hosts();
        Self {
            id: number,
            name: Some(&app.name),
            app_id: app.id.as_str(),
            app_key: Some(app.key.as_str()),
            app_secret: None,
            description: Some(app.description.as_str()).filter(|text| !text.is_empty()),
            is_active: app.active,
            max_connections: app.max_connections,
            allowed_origins: Some(origins).filter(|origins| !origins.is_empty()),
            created_at: None,
            updated_at: None,
            settings: Some(settings(app)),
        }
    }

    fn of_corrupt(number: u64, corrupt: &'a CorruptApp) -> Self {
        Self {
            id: number,
            name: None,
            app_id: &corrupt.id,
            app_key: None,
            app_secret: None,
            description: None,
            is_active: false,
            max_connections: None,
            allowed_origins: None,
            created_at: None,
            updated_at: None,
            settings: None,
        }
    }
}

/// Those that have no field of their own.
fn settings(app: &App) -> AppSettings {
    let mut settings = AppSettings::of(app);
    settings.name = None;
    settings.description = None;
    settings.active = None;
    settings.allowed_origins = None;
    settings.max_connections = None;
    settings
}

/// A time as Laravel writes it.
pub(super) fn time(unix: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(unix).ok()?).ok()?;
    let (hours, minutes, seconds) = time.to_hms();
    let date = time.date();
    Some(format!(
        "{date}T{hours:02}:{minutes:02}:{seconds:02}.000000Z"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn fields_stand_in_their_order_and_nothing_is_null_that_is_known() {
        let mut app = App::new("app-1", "key-1", "secret-1").expect("an app");
        app.name = "Shop".to_owned();
        app.max_connections = Some(1000);
        let mut row = AppRow::new(7, Ok(Arc::new(app)));
        row.created = Some(1_779_271_230);
        let json = serde_json::to_string(&Resource::of(&row)).expect("JSON");
        let start = r#"{"id":7,"name":"Shop","app_id":"app-1","app_key":"key-1","description":null,"is_active":true,"max_connections":1000,"allowed_origins":["*"],"created_at":"2026-05-20T10:00:30.000000Z","updated_at":null,"settings":{"client_events":"members","subscription_count":false,"watchlist":true,"force_tls":false,"activity_timeout":30,"limits":{"#;
        assert!(json.starts_with(start), "{json}");
        assert!(json.ends_with(r#"},"webhooks":[]}}"#), "{json}");
        let json = serde_json::to_string(&Resource::with_secret(&row)).expect("JSON");
        let middle = r#""app_key":"key-1","app_secret":"secret-1","description":"#;
        assert!(json.contains(middle), "{json}");
    }

    #[test]
    fn an_app_that_is_stored_wrongly_stands_there_too() {
        let row = AppRow::new(8, Err(CorruptApp::new("app-2", "no secret")));
        let json = serde_json::to_string(&Resource::with_secret(&row)).expect("JSON");
        assert_eq!(
            json,
            r#"{"id":8,"name":null,"app_id":"app-2","app_key":null,"description":null,"is_active":false,"max_connections":null,"allowed_origins":null,"created_at":null,"updated_at":null,"settings":null}"#
        );
    }
}
