//! [`Webhook`]: who is told by HTTP what happens in an app.
//!
//! Source: Pusher Channels, webhooks.

use serde::{Deserialize, Serialize};

/// An address that is told what happens, and what it wants to hear.
/// ```
/// use reverb_core::protocol::{Webhook, WebhookEvent};
///
/// let events = [WebhookEvent::ChannelOccupied, WebhookEvent::ChannelVacated];
/// let webhook = Webhook::new("https://shop.example/pusher", events)?;
/// # Ok::<(), reverb_core::protocol::InvalidWebhook>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
#[non_exhaustive]
pub struct Webhook {
    /// Where to; `http` or `https`.
    pub url: String,
    /// What it hears of, each once.
    pub events: Vec<WebhookEvent>,
}

/// Something that a webhook can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WebhookEvent {
    /// A channel has its first subscriber.
    ChannelOccupied,
    /// A channel has lost its last one.
    ChannelVacated,
    /// A user came into a presence channel.
    MemberAdded,
    /// A user's last connection left a presence channel.
    MemberRemoved,
    /// A client has sent an event.
    ClientEvent,
    /// Somebody subscribed to a cache channel that had nothing to show.
    CacheMiss,
    /// A channel has another number of subscribers.
    SubscriptionCount,
}

impl WebhookEvent {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::ChannelOccupied,
        Self::ChannelVacated,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ClientEvent,
        Self::CacheMiss,
        Self::SubscriptionCount,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChannelOccupied => "channel_occupied",
            Self::ChannelVacated => "channel_vacated",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::ClientEvent => "client_event",
            Self::CacheMiss => "cache_miss",
            Self::SubscriptionCount => "subscription_count",
        }
    }
}

impl std::str::FromStr for WebhookEvent {
    type Err = InvalidWebhook;

    fn from_str(text: &str) -> Result<Self, InvalidWebhook> {
        let event = Self::ALL.into_iter().find(|event| event.as_str() == text);
        event.ok_or_else(|| InvalidWebhook::Event(text.to_owned()))
    }
}

/// Most bytes of an address.
const MAX_URL: usize = 2048;

impl Webhook {
    /// Tells this address of these events.
    ///
    /// # Errors
    /// The address is none that something could be sent to, or there is no event.
    pub fn new(
        url: &str,
        events: impl IntoIterator<Item = WebhookEvent>,
    ) -> Result<Self, InvalidWebhook> {
        let rest = ["http://", "https://"].iter().find_map(|scheme| {
            let head = url.get(..scheme.len())?;
            head.eq_ignore_ascii_case(scheme)
                .then(|| &url[scheme.len()..])
        });
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let has_host = host.is_some_and(|host| !host.is_empty() && !host.starts_with(':'));
        let is_clean = !url.chars().any(|c| c.is_whitespace() || c.is_control());
        if !has_host || !is_clean || url.len() > MAX_URL {
            return Err(InvalidWebhook::Url(url.chars().take(300).collect()));
        }
        let mut wanted = Vec::new();
        for event in events {
            if !wanted.contains(&event) {
                wanted.push(event);
            }
        }
        if wanted.is_empty() {
            return Err(InvalidWebhook::NoEvent);
        }
        Ok(Self {
            url: url.to_owned(),
            events: wanted,
        })
    }
}

/// Why something is no webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWebhook {
    /// Nothing that could be sent to.
    #[error(
        "{0:?} is no address of a webhook: it begins with https:// or http:// and a host, and has at most {MAX_URL} bytes"
    )]
    Url(String),
    /// Nothing that a webhook is told.
    #[error("{0:?} is no event of webhooks; there are {names}", names = WebhookEvent::ALL.map(WebhookEvent::as_str).join(", "))]
    Event(String),
    /// It would never be told anything.
    #[error("a webhook without events would never be told anything")]
    NoEvent,
}

/// How it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: String,
    events: Vec<WebhookEvent>,
}

impl TryFrom<Raw> for Webhook {
    type Error = InvalidWebhook;

    fn try_from(raw: Raw) -> Result<Self, InvalidWebhook> {
        Self::new(&raw.url, raw.events)
    }
}

impl From<Webhook> for Raw {
    fn from(webhook: Webhook) -> Self {
        Self {
            url: webhook.url,
            events: webhook.events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_can_be_sent_to() {
        let new = |url| Webhook::new(url, [WebhookEvent::CacheMiss]);
        for good in [
            "https://a.test",
            "HTTP://a.test:81/x?y=z#w",
            "http://[::1]/",
        ] {
            assert_eq!(new(good).expect(good).url, good);
        }
        for bad in [
            "",
            "a.test",
            "ftp://a.test",
            "https://",
            "https:///x",
            "https://:80",
            "https://a b",
            "h\u{e9}ttp://a",
        ] {
            assert!(matches!(new(bad), Err(InvalidWebhook::Url(_))), "{bad}");
        }
        assert!(new(&format!("https://{}", "a".repeat(MAX_URL))).is_err());
        assert_eq!(
            Webhook::new("https://a.test", []),
            Err(InvalidWebhook::NoEvent)
        );
    }

    #[test]
    fn it_is_written_down_and_read_again() {
        let webhook = Webhook::new("https://a.test", WebhookEvent::ALL).expect("a webhook");
        let json = serde_json::to_string(&webhook).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Webhook>(&json).expect("read"),
            webhook
        );
        for event in WebhookEvent::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
            assert!(json.contains(&format!("\"{}\"", event.as_str())));
        }
        let refused = "member_vanished"
            .parse::<WebhookEvent>()
            .expect_err("no event");
        assert!(refused.to_string().contains("member_removed, client_event"));
    }
}
