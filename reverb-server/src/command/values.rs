//! What stands behind flags. Errors are sentences.

use std::time::Duration;

use reverb_core::app_store::AppSettings;
use reverb_core::protocol::{Limits, Webhook, WebhookEvent};

use crate::cli::MaxConnections;
use crate::config::values;

/// The longest time that can be said.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// `30m`, `24h`, `7d`, `90s`, or 0.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let told = || format!("write a time as 30m, 24h or 7d, at most 366d, or 0; not {text:?}");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) =
        text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(told()),
    };
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| is_number);
    let total = number.and_then(|number| number.checked_mul(seconds));
    let total = total.map(Duration::from_secs);
    total.filter(|total| *total <= LONGEST).ok_or_else(told)
}

/// A number of connections, or `none`.
pub(crate) fn max_connections(text: &str) -> Result<MaxConnections, String> {
    match text {
        "none" => Ok(MaxConnections(None)),
        _ => values::number(text, values::CONNECTIONS)
            .map(|most| MaxConnections(Some(most)))
            .map_err(|error| format!("{error}; none lifts the limit")),
    }
}

/// `NAME=VALUE` of a limit.
pub(crate) fn limit(text: &str) -> Result<(String, u32), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write it as NAME=VALUE, as in presence_members=500")?;
    let value = value
        .parse::<u32>()
        .map_err(|_| format!("{name} must be a whole number, not {value:?}"))?;
    // Whether there is such a limit, and takes such a value, is known where limits are.
    set_limits(&mut Limits::default(), &[(name.to_owned(), value)])?;
    Ok((name.to_owned(), value))
}

/// Sets these limits.
pub(crate) fn set_limits(limits: &mut Limits, changes: &[(String, u32)]) -> Result<(), String> {
    let mut all = serde_json::to_value(&*limits).expect("limits are JSON");
    for (name, value) in changes {
        let known = all.as_object_mut().expect("an object");
        match known.get_mut(name) {
            Some(limit) => *limit = (*value).into(),
            None => {
                let known: Vec<&String> = known.keys().collect();
                let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
                return Err(values::unknown_limit(name, &known));
            }
        }
        // For a rate 0 is "no limit"; elsewhere it would let nothing through.
        if *value == 0 && !name.ends_with("_per_second") && name != "cache_seconds" {
            return Err(format!("{name} must be at least 1"));
        }
    }
    *limits = serde_json::from_value(all).expect("they are limits as before");
    Ok(())
}

/// `URL=EVENTS`.
pub(crate) fn webhook(text: &str) -> Result<Webhook, String> {
    let told = || {
        format!(
            "write it as https://…=EVENTS, where EVENTS is all, or some of {} with commas",
            WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ")
        )
    };
    let (url, events) = text.rsplit_once('=').ok_or_else(told)?;
    let events: Vec<WebhookEvent> = match events {
        "all" => WebhookEvent::ALL.to_vec(),
        events => events
            .split(',')
            .map(|event| event.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|_| told())?,
    };
    Webhook::new(url, events).map_err(|error| error.to_string())
}

/// Settings that flags have set, and none else.
pub(super) fn settings(flags: &crate::cli::AppFlags) -> AppSettings {
    let mut settings = AppSettings::default();
    settings.name.clone_from(&flags.name);
    settings.description.clone_from(&flags.description);
    settings.allowed_origins.clone_from(&flags.allowed_origins);
    settings.client_events = flags.client_events;
    settings.max_connections = flags.max_connections.map(|MaxConnections(most)| most);
    settings.subscription_count = flags.subscription_count;
    settings.watchlist = flags.watchlist;
    settings.force_tls = flags.force_tls;
    settings.activity_timeout = flags.activity_timeout;
    settings.webhooks.clone_from(&flags.webhooks);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        let seconds = |text| duration(text).map(|time| time.as_secs());
        assert_eq!(seconds("0"), Ok(0));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1800));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("7d"), Ok(604_800));
        for bad in [
            "",
            "7",
            "d",
            "-7d",
            "+7d",
            "7 d",
            "7w",
            "7ü",
            "367d",
            "99999999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_is_one_that_there_is() {
        assert_eq!(limit("event_bytes=5"), Ok(("event_bytes".to_owned(), 5)));
        assert_eq!(limit("events_per_second=0").map(|(_, value)| value), Ok(0));
        let told = |text| limit(text).expect_err("refused");
        assert!(told("event_bites=5").contains("did you mean event_bytes?"));
        assert!(told("colour=5").contains("batch_size"));
        assert!(told("event_bytes=0").contains("at least 1"));
        assert!(told("event_bytes=many").contains("whole number"));
        assert!(told("event_bytes").contains("NAME=VALUE"));
    }

    #[test]
    fn a_webhook_is_an_address_and_events() {
        let hook = webhook("https://a.test/x?y=z=member_added,cache_miss").expect("a webhook");
        assert_eq!(hook.url, "https://a.test/x?y=z");
        assert_eq!(
            hook.events,
            [WebhookEvent::MemberAdded, WebhookEvent::CacheMiss]
        );
        assert_eq!(
            webhook("http://a.test=all")
                .expect("a webhook")
                .events
                .len(),
            7
        );
        assert!(webhook("https://a.test").is_err_and(|told| told.contains("member_added")));
        assert!(webhook("a.test=all").is_err_and(|told| told.contains("https://")));
    }

    #[test]
    fn connections_have_a_limit_or_none() {
        assert_eq!(max_connections("7"), Ok(MaxConnections(Some(7))));
        assert_eq!(max_connections("none"), Ok(MaxConnections(None)));
        assert!(max_connections("0").is_err_and(|told| told.contains("none lifts")));
    }
}
