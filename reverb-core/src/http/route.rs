//! [`Route`]: what the paths of the HTTP API ask for.

use crate::protocol::auth;

/// What a path asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Route {
    /// The app's id, unless the path has none.
    pub(super) app: Option<String>,
    pub(super) action: Action,
}

#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Publish { is_batch: bool },
    Channels,
    Channel(String),
    Users(String),
    Connections,
    Terminate(String),
}

impl Route {
    /// Segments are split as they were sent and decoded one by one, so that an encoded slash splits nothing.
    pub(super) fn find(path: &str) -> Option<Self> {
        let decoded = |segment: &str| auth::decode(segment, false).into_owned();
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if segments.contains(&"") {
            return None;
        }
        let action = match segments[..] {
            ["apps", _, "events"] => Action::Publish { is_batch: false },
            ["apps", _, "batch_events"] => Action::Publish { is_batch: true },
            ["apps", _, "channels"] => Action::Channels,
            ["apps", _, "channels", name] => Action::Channel(decoded(name)),
            ["apps", _, "channels", name, "users"] => Action::Users(decoded(name)),
            ["apps", _, "connections"] => Action::Connections,
            ["apps", _, "users", user, "terminate_connections"] => Action::Terminate(decoded(user)),
            // The Python SDK forgets the first half.
            ["users", user, "terminate_connections"] => Action::Terminate(decoded(user)),
            _ => return None,
        };
        let app = (segments[0] == "apps").then(|| decoded(segments[1]));
        Some(Self { app, action })
    }
}

impl Action {
    pub(super) fn is_post(&self) -> bool {
        matches!(self, Self::Publish { .. } | Self::Terminate(_))
    }

    pub(super) fn methods(&self) -> &'static str {
        if self.is_post() { "POST" } else { "GET, HEAD" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_slash_splits_no_segment() {
        let route = Route::find("/apps/7/users/a%2Fb%40c/terminate_connections").expect("a route");
        assert_eq!(
            route,
            Route {
                app: Some("7".into()),
                action: Action::Terminate("a/b@c".into())
            }
        );
        assert_eq!(
            Route::find("/users/u/terminate_connections")
                .expect("a route")
                .app,
            None
        );
        for path in [
            "",
            "/",
            "/apps",
            "/apps/7",
            "/apps/7/",
            "/apps/7/events/",
            "/apps//7/events",
            "/apps/7/channels/a/b",
        ] {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }
}
