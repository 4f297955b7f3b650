//! `GET channels` and its sub-paths, `GET connections`, and `POST users/{id}/terminate_connections`: answered from the
//! directory, without asking any shard.
//!
//! Source: Pusher Channels HTTP API; `connections` is Laravel Reverb's.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use crate::hub::{Desk, Directory};
use crate::protocol::auth::Query;
use crate::protocol::event::Info;
use crate::protocol::{App, ChannelName, UserId};

use crate::hub::accepted::{push_counts, push_string};
use crate::wire::error::ApiError;

fn info(query: &Query<'_>) -> Info {
    query.get("info").map(Info::parse).unwrap_or_default()
}

/// Every occupied channel.
pub(super) fn list(desk: &Desk, query: &Query<'_>) -> Result<String, ApiError> {
    let prefix = query.get("filter_by_prefix").unwrap_or_default();
    let info = info(query);
    if info.user_count && !prefix.starts_with("presence-") {
        return Err(ApiError::bad_request(
            "info=user_count needs filter_by_prefix=presence-…: other channels have no users",
        ));
    }
    let mut body = String::from(r#"{"channels":{"#);
    let mut separator = "";
    for channel in desk.occupied(prefix) {
        body.push_str(separator);
        separator = ",";
        push_string(&mut body, channel.name.as_str());
        body.push(':');
        let occupancy = if info.any() {
            channel.occupancy()
        } else {
            Default::default()
        };
        let (users, connections) = (occupancy.users, occupancy.connections);
        push_counts(
            &mut body,
            info.user_count.then_some(users),
            info.subscription_count.then_some(connections),
        );
    }
    body.push_str("}}");
    Ok(body)
}

/// One channel; occupied or not, it is no error.
pub(super) fn one(
    desk: &Desk,
    app: &App,
    name: &str,
    query: &Query<'_>,
    now: Instant,
) -> Result<String, ApiError> {
    let kind = ChannelName::check(name, app.limits.channel_name_length)?;
    let info = info(query);
    if info.user_count && !kind.is_presence() {
        return Err(ApiError::bad_request(
            "info=user_count: only presence channels have users",
        ));
    }
    if info.cache && !kind.is_cache() {
        return Err(ApiError::bad_request(
            "info=cache: only cache channels remember an event",
        ));
    }
    let channel = desk.channel(name);
    let occupancy = channel
        .as_ref()
        .map(|channel| channel.occupancy())
        .unwrap_or_default();
    let mut body = format!(r#"{{"occupied":{}"#, occupancy.connections > 0);
    if info.user_count {
        let _ = write!(body, r#","user_count":{}"#, occupancy.users);
    }
    if info.subscription_count {
        let _ = write!(body, r#","subscription_count":{}"#, occupancy.connections);
    }
    if info.cache {
        let _ = match channel.and_then(|channel| channel.remembered(now)) {
            Some((data, left)) => write!(
                body,
                r#","cache":{{"data":{data},"ttl":{}}}"#,
                left.as_secs()
            ),
            None => write!(body, r#","cache":null"#),
        };
    }
    body.push('}');
    Ok(body)
}

/// The users of a presence channel.
pub(super) fn users(desk: &Desk, app: &App, name: &str) -> Result<String, ApiError> {
    if !ChannelName::check(name, app.limits.channel_name_length)?.is_presence() {
        return Err(ApiError::bad_request("only presence channels have users"));
    }
    let mut body = String::from(r#"{"users":["#);
    let mut separator = "";
    if let Some(channel) = desk.channel(name) {
        channel.for_each_user(|user| {
            let _ = write!(body, r#"{separator}{{"id":"#);
            separator = ",";
            push_string(&mut body, user.as_str());
            body.push('}');
        });
    }
    body.push_str("]}");
    Ok(body)
}

/// How many connections the app has, in channels or not.
pub(super) fn connections(desk: &Desk) -> String {
    format!(r#"{{"connections":{}}}"#, desk.connections())
}

/// Closes every connection of a user. Nobody there is no error.
pub(super) fn terminate(
    directory: &Directory,
    desk: &Arc<Desk>,
    user: &str,
) -> Result<String, ApiError> {
    let user = UserId::new(user).map_err(|error| ApiError::bad_request(error.to_string()))?;
    directory.terminate(desk, &user);
    Ok("{}".to_owned())
}
