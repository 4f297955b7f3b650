//! What a session may wish for, by the book that the house keeps.

use std::time::Duration;

use serde_json::Value;

use crate::protocol::{ChannelKind, ChannelName, ClientEvents, Member, Outgoing, UserId, auth};
use crate::session::Chair;

use super::super::{SOCKET, is_json, said, value};
use super::house::House;

impl House {
    pub(super) fn may_subscribe(&self, channel: &ChannelName, member: Option<&Member>, text: &str) {
        let limits = &self.app.limits;
        assert!(self.subscribed.len() < limits.channels_per_connection);
        assert!(self.find(channel).is_none(), "twice in {channel}");
        assert!(self.pending.iter().all(|(name, _)| name != channel));
        let kind =
            ChannelName::check(channel.as_str(), limits.channel_name_length).expect("a name");
        assert_ne!(kind, ChannelKind::User);
        assert_eq!(member.is_some(), kind.is_presence());
        if let Some(member) = member {
            let bytes = member.id.as_str().len() + member.info.len();
            assert!(bytes <= limits.presence_member_bytes && is_json(&member.info));
        }
        let Some(arguments) = arguments(text) else {
            return;
        };
        assert_eq!(arguments["channel"], *channel.as_str());
        let data = arguments["channel_data"]
            .as_str()
            .filter(|_| kind.is_presence());
        if kind.needs_signature() {
            let right = auth::channel_auth(&self.app, SOCKET, channel.as_str(), data);
            assert_eq!(arguments["auth"], *right);
        }
        if member.is_some() && data.is_none() {
            assert_eq!(member.map(|member| &member.id), self.user.as_ref());
        }
    }

    pub(super) fn may_sign_in(&self, watchlist: &[UserId], text: &str) {
        assert!(watchlist.len() <= 100 && (self.app.watchlist || watchlist.is_empty()));
        let Some(arguments) = arguments(text) else {
            return;
        };
        let data = arguments["user_data"].as_str().expect("user_data");
        assert_eq!(arguments["auth"], *auth::user_auth(&self.app, SOCKET, data));
    }

    pub(super) fn may_pass_on(&mut self, n: usize, message: &Outgoing) {
        let (channel, user) = &self.subscribed[n];
        let (kind, limits) = (channel.kind(), &self.app.limits);
        assert_ne!(self.app.client_events, ClientEvents::Off);
        assert!(!kind.is_encrypted());
        assert!(kind.needs_signature() || self.app.client_events == ClientEvents::All);
        let out = said(message);
        let event = out["event"].as_str().expect("a name");
        assert!(event.starts_with("client-") && event.chars().count() <= limits.event_name_length);
        assert_eq!(out["channel"], *channel.as_str());
        assert_eq!(out["user_id"].as_str(), user.as_ref().map(UserId::as_str));
        let data = out
            .get("data")
            .map(|data| data.as_str().expect("data is text"));
        assert!(data.map_or(0, str::len) <= limits.event_bytes);
        let fields = out.as_object().map_or(0, serde_json::Map::len);
        let known = ["event", "channel", "data", "user_id"];
        let found = known.iter().filter(|name| out.get(name).is_some()).count();
        assert_eq!(fields, found, "nothing of the sender's own making");
        let per_second = limits.client_events_per_second;
        if per_second != self.per_second {
            self.per_second = per_second;
            self.passed_on.clear();
        }
        let (now, second) = (self.now, Duration::from_secs(1));
        self.passed_on.retain(|time| now - *time < second);
        self.passed_on.push_back(now);
        // A second's worth at once, and in the second that follows as much again.
        let most = 2 * u64::from(per_second) + 1;
        assert!(per_second == 0 || self.passed_on.len() as u64 <= most);
    }

    /// The session's list and the hub's book say the same.
    pub(super) fn is_in_order(&self) {
        let subscriptions = self.session.subscriptions();
        let listed: Vec<_> = subscriptions
            .iter()
            .map(|subscription| (subscription.channel.clone(), subscription.user.clone()))
            .collect();
        assert_eq!(listed, self.subscribed);
        for (seat, chair) in &self.seats {
            let found = match chair {
                Chair::Subscription(n) => Some(subscriptions[*n as usize].seat),
                Chair::User => self.session.user().and_then(|user| user.seat),
            };
            assert_eq!(found, Some(*seat), "{chair:?}");
        }
        let user = self.session.user().map(|user| &user.member.id);
        assert_eq!(user, self.user.as_ref());
        assert_eq!(
            self.seats.len(),
            subscriptions.len() + usize::from(user.is_some())
        );
        assert_eq!(self.session.socket_id(), SOCKET);
    }
}

/// The `data` of a command, if a `Value` can tell.
fn arguments(text: &str) -> Option<Value> {
    let mut whole = value(text)?;
    match whole["data"].take() {
        Value::String(text) => value(&text),
        data => Some(data),
    }
}

/// A message that a client understands: a known name, and data of the kind that goes with it.
pub(super) fn is_for_clients(message: &Outgoing) -> Value {
    let out = said(message);
    let (event, data) = (out["event"].as_str().expect("a name"), &out["data"]);
    let is_object = match event {
        "pusher:error" => data["message"].is_string(),
        "pusher:subscription_error" => {
            ["type", "error"].iter().all(|name| data[name].is_string()) && data["status"].is_u64()
        }
        "pusher:signin_success" => data["user_data"].is_string(),
        "pusher:pong" => data.is_object(),
        _ => false,
    };
    let is_text = matches!(
        event,
        "pusher:connection_established"
            | "pusher:cache_miss"
            | "pusher_internal:subscription_succeeded"
            | "pusher_internal:watchlist_events"
    );
    let is_json = is_text && data.as_str().is_some_and(is_json);
    assert!(is_object || is_json, "{out}");
    // What a client sent comes back to it, but not at any length.
    assert!(
        event != "pusher:error" || message.frame().len() < 16 * 1024,
        "{out}"
    );
    out
}
