//! [`Settings`]: what can be set of an app beyond the fields that it has always had in this API.

use std::collections::BTreeMap;

use reverb_core::app_store::AppSettings;
use reverb_core::protocol::{App, ClientEvents, Limits, Webhook};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::command;

/// The object `settings` of a body: what is left out, or `null`, stays as it is. Other than beside it, a name that is unknown
/// here is a mistake.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    client_events: Option<ClientEvents>,
    subscription_count: Option<bool>,
    watchlist: Option<bool>,
    force_tls: Option<bool>,
    activity_timeout: Option<u32>,
    limits: Option<BTreeMap<String, u32>>,
    webhooks: Option<Vec<Webhook>>,
}

/// Seconds; as in the configuration file.
const ACTIVITY_TIMEOUT: std::ops::RangeInclusive<u32> = 1..=86_400;

impl Settings {
    /// Reads them; the error is the rest of a sentence.
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self, String> {
        let settings: Self = serde_json::from_value(Value::Object(object.clone()))
            .map_err(|error| error.to_string().chars().take(300).collect::<String>())?;
        if settings
            .activity_timeout
            .is_some_and(|seconds| !ACTIVITY_TIMEOUT.contains(&seconds))
        {
            return Err("activity_timeout must be from 1 to 86400 seconds".to_owned());
        }
        command::set_limits(&mut Limits::default(), &settings.limits())?;
        Ok(settings)
    }

    /// All but the limits.
    pub(super) fn of_app(&self) -> AppSettings {
        let mut settings = AppSettings::default();
        settings.client_events = self.client_events;
        settings.subscription_count = self.subscription_count;
        settings.watchlist = self.watchlist;
        settings.force_tls = self.force_tls;
        settings.activity_timeout = self.activity_timeout;
        settings.webhooks.clone_from(&self.webhooks);
        settings
    }

    /// Sets those limits that were said.
    pub(super) fn limit(&self, app: &mut App) {
        command::set_limits(&mut app.limits, &self.limits()).expect("they were checked");
    }

    fn limits(&self) -> Vec<(String, u32)> {
        let limits = self.limits.iter().flatten();
        limits.map(|(name, value)| (name.clone(), *value)).collect()
    }
}
