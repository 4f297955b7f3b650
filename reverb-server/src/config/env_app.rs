//! The app that the environment defines, as Laravel Reverb's does.

use std::time::Duration;

use reverb_core::protocol::{App, Origins};

use super::env::Environment;
use super::table::Found;
use super::values;

/// The app in `REVERB_APP_ID`, `REVERB_APP_KEY` and `REVERB_APP_SECRET`, if they are there: all of them or none.
///
/// It must be another than those in `others`, which the file defines.
pub(super) fn read(
    env: &Environment,
    activity_timeout: Duration,
    others: &[Found<App>],
) -> Option<Found<App>> {
    const NAMES: [&str; 3] = ["REVERB_APP_ID", "REVERB_APP_KEY", "REVERB_APP_SECRET"];
    let (missing, set): (Vec<&str>, Vec<&str>) =
        NAMES.iter().partition(|name| env.get(name).is_none());
    if set.is_empty() {
        return None;
    }
    for name in missing {
        let set = set.join(" and ");
        env.complain(
            name,
            format!("is missing, but {set} is set; an app needs all three"),
        );
    }
    let id = env.parse(NAMES[0], values::id)?;
    let key = env.parse(NAMES[1], values::key)?;
    let secret = env.parse(NAMES[2], values::secret)?;
    for other in others {
        let twins = [
            (NAMES[0], &id.value, other.value.id.as_str()),
            (NAMES[1], &key.value, other.value.key.as_str()),
        ];
        for (name, ours, theirs) in twins {
            if ours == theirs {
                let from = &other.from;
                env.complain(
                    name,
                    format!("{ours:?} is taken by the app at {from}; remove one of the two"),
                );
            }
        }
    }

    let mut app = App::new(&id.value, &key.value, &secret.value).expect("each was checked");
    app.activity_timeout = activity_timeout;
    let connections = |text: &str| values::number(text, values::CONNECTIONS);
    let found = env.parse("REVERB_APP_MAX_CONNECTIONS", connections);
    app.max_connections = found.map(|found| found.value);
    let seconds = |text: &str| values::number(text, values::ACTIVITY_TIMEOUTS);
    if let Some(found) = env.parse("REVERB_APP_ACTIVITY_TIMEOUT", seconds) {
        app.activity_timeout = Duration::from_secs(found.value);
    }
    let name = "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM";
    if let Some(found) = env.parse(name, values::client_events) {
        app.client_events = found.value;
    }
    let hosts = |text: &str| {
        text.split(',')
            .map(|host| values::origin(host.trim()))
            .collect()
    };
    if let Some(found) = env.parse::<Vec<String>>("REVERB_APP_ALLOWED_ORIGINS", hosts) {
        app.allowed_origins = Origins::new(found.value);
    }
    Some(Found::new(app, id.from))
}
