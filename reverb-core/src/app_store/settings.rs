//! [`AppSettings`]: what can be set of an app, to be written down and read again.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::{App, ClientEvents, Limits, Origins, Webhook};

/// Everything that can be set of an app but its credentials, as stores write it down and as others ask for changes: what is
/// left out stays as it is.
///
/// ```
/// use reverb_core::app_store::AppSettings;
/// use reverb_core::protocol::App;
///
/// let mut app = App::new("1001", "app-key", "app-secret")?;
/// let change = AppSettings::parse(r#"{"name":"Shop","max_connections":400}"#)?;
/// change.apply_to(&mut app);
/// assert_eq!((app.name.as_str(), app.max_connections), ("Shop", Some(400)));
/// let written = serde_json::to_string(&AppSettings::of(&app))?;
/// assert!(written.starts_with(r#"{"name":"Shop","description":"","active":true,"allowed_origins":["*"],"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AppSettings {
    /// [`App::name`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// [`App::description`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// [`App::active`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// [`App::allowed_origins`], not yet normalised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_origins: Option<Vec<String>>,
    /// [`App::client_events`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_events: Option<ClientEvents>,
    /// [`App::max_connections`]; `null` is no limit.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_is_a_value"
    )]
    pub max_connections: Option<Option<u32>>,
    /// [`App::subscription_count`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_count: Option<bool>,
    /// [`App::watchlist`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchlist: Option<bool>,
    /// [`App::force_tls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_tls: Option<bool>,
    /// [`App::activity_timeout`], in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity_timeout: Option<u32>,
    /// [`App::limits`]; a limit that is left out has its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// [`App::webhooks`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Vec<Webhook>>,
}

/// Text that is no settings of an app. It says what is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct InvalidSettings(serde_json::Error);

impl AppSettings {
    /// Reads them from JSON, as stores write them.
    ///
    /// # Errors
    /// It is no JSON object, or one with other things in it. The sentence is for whoever wrote it.
    pub fn parse(json: &str) -> Result<Self, InvalidSettings> {
        // A list would be taken for the settings in their order.
        let parsed = match json.trim_start().starts_with('[') {
            true => Err(serde::de::Error::custom(
                "an object is expected, not a list",
            )),
            false => serde_json::from_str(json),
        };
        parsed.map_err(InvalidSettings)
    }

    /// All settings of this app.
    #[must_use]
    pub fn of(app: &App) -> Self {
        Self {
            name: Some(app.name.clone()),
            description: Some(app.description.clone()),
            active: Some(app.active),
            allowed_origins: Some(app.allowed_origins.hosts().to_vec()),
            client_events: Some(app.client_events),
            max_connections: Some(app.max_connections),
            subscription_count: Some(app.subscription_count),
            watchlist: Some(app.watchlist),
            force_tls: Some(app.force_tls),
            activity_timeout: Some(
                app.activity_timeout
                    .as_secs()
                    .try_into()
                    .unwrap_or(u32::MAX),
            ),
            limits: Some(app.limits.clone()),
            webhooks: Some(app.webhooks.clone()),
        }
    }

    /// Sets what is said, and leaves the rest as it is.
    pub fn apply_to(self, app: &mut App) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut app.name, self.name);
        set(&mut app.description, self.description);
        set(&mut app.active, self.active);
        set(
            &mut app.allowed_origins,
            self.allowed_origins.map(Origins::new),
        );
        set(&mut app.client_events, self.client_events);
        set(&mut app.max_connections, self.max_connections);
        set(&mut app.subscription_count, self.subscription_count);
        set(&mut app.watchlist, self.watchlist);
        set(&mut app.force_tls, self.force_tls);
        let timeout = self.activity_timeout.map(u64::from);
        set(
            &mut app.activity_timeout,
            timeout.map(|seconds| Duration::from_secs(seconds.max(1))),
        );
        set(&mut app.limits, self.limits);
        set(&mut app.webhooks, self.webhooks);
    }
}

/// That something is `null` is not that it is left out.
fn null_is_a_value<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    json: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(json).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::WebhookEvent;

    #[test]
    fn all_settings_come_back_and_none_changes_nothing() {
        let mut app = App::new("1", "key", "secret").expect("an app");
        app.name = "Shop".to_owned();
        app.description = "What it is for".to_owned();
        app.active = false;
        app.allowed_origins = Origins::new(["shop.test", "*.shop.test"]);
        app.client_events = ClientEvents::All;
        app.max_connections = Some(7);
        app.subscription_count = true;
        app.watchlist = false;
        app.force_tls = true;
        app.activity_timeout = Duration::from_secs(17);
        app.limits.event_bytes = 12_345;
        app.webhooks = vec![
            Webhook::new("https://shop.test/hook", [WebhookEvent::CacheMiss]).expect("a webhook"),
        ];
        let written = serde_json::to_string(&AppSettings::of(&app)).expect("JSON");
        let mut other = App::new("1", "key", "secret").expect("an app");
        let read: AppSettings = serde_json::from_str(&written).expect("read again");
        read.apply_to(&mut other);
        assert_eq!(format!("{other:?}"), format!("{app:?}"));
        let nothing: AppSettings = serde_json::from_str("{}").expect("nothing");
        nothing.apply_to(&mut other);
        assert_eq!(format!("{other:?}"), format!("{app:?}"));
        let no_limit: AppSettings =
            serde_json::from_str(r#"{"max_connections":null}"#).expect("no limit");
        no_limit.apply_to(&mut other);
        assert_eq!(other.max_connections, None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_in_a_row_is_read_or_refused(text in ".*", value in "(null|-?[0-9]{1,30}|\"[a-z*.]{0,9}\"|\\[\\]|\\{\\}|true|1e999)") {
            let _ = AppSettings::parse(&text);
            for name in ["name", "active", "allowed_origins", "client_events", "max_connections", "activity_timeout", "limits", "webhooks"] {
                if let Ok(settings) = AppSettings::parse(&format!(r#"{{"{name}":{value}}}"#)) {
                    settings.apply_to(&mut App::new("1", "key", "secret").expect("an app"));
                }
            }
        }
    }

    #[test]
    fn a_setting_that_there_is_not_is_named() {
        let read = |json| AppSettings::parse(json).expect_err("refused");
        let unknown = read(r#"{"max_conections":4}"#).to_string();
        assert!(unknown.contains("max_conections") && unknown.contains("max_connections"));
        let wrong = read(r#"{"webhooks":[{"url":"x","events":["cache_miss"]}]}"#).to_string();
        assert!(wrong.contains("is no address"), "{wrong}");
        for nothing in ["", "[]", " [\"Shop\"]", "7", "null"] {
            read(nothing);
        }
    }
}
