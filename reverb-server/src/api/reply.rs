//! What callers are answered: JSON, always; [`Refusal`] where it is not what they wanted.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Response, StatusCode};
use reverb_core::app_store::{EditError, StoreError};
use reverb_core::http::Body;
use reverb_core::queue::QueueError;
use serde::Serialize;

use super::resource::time;
use super::throttle::{Exhausted, Left};
use super::validate::{Mistakes, taken, unfit};

/// An answer, or why there is none.
pub(super) type Answer = Result<Response<Body>, Refusal>;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Why a caller does not get what it wants.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no token, and so nobody who could show it.
    Closed,
    /// It does not show the token.
    Token,
    /// It called too often; `unix` is now.
    TooMany { exhausted: Exhausted, unix: u64 },
    /// Nothing has this path.
    Path(String),
    /// The path is right, but not the method.
    Method {
        method: String,
        path: String,
        allow: String,
    },
    /// No app has this number.
    NoApp(String),
    /// What the body says cannot be.
    Invalid(Mistakes),
    /// The body, or the whole request, cannot be read; nothing can follow it.
    Request(StatusCode, String),
    /// The app is stored wrongly, so that there is nothing to change.
    Corrupt,
    /// Others change the app all the time.
    Busy,
    /// The app has an older secret still, until this second since 1970.
    StillOverlaps(u64),
    /// The store does not answer.
    Unavailable,
    /// An app was made, of this id, but the store does not answer any more, so that nobody sees it.
    MadeUnseen(String),
    /// There is nothing that apps could be kept in.
    NoDatabase,
}

impl Refusal {
    pub(super) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(Mistakes::one(field, message))
    }

    /// The same in answer to a path with this number: an app that has gone meanwhile is named as there.
    pub(super) fn of(self, number: String) -> Self {
        match self {
            Self::NoApp(_) => Self::NoApp(number),
            other => other,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Closed | Self::Token => StatusCode::UNAUTHORIZED,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Path(_) | Self::NoApp(_) => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Request(status, _) => *status,
            Self::Corrupt | Self::Busy | Self::StillOverlaps(_) => StatusCode::CONFLICT,
            Self::Unavailable | Self::MadeUnseen(_) | Self::NoDatabase => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Those of Laravel, as far as it has one: scripts look for them.
    fn message(&self) -> String {
        match self {
            Self::Closed => "API access is not configured.".to_owned(),
            Self::Token => "Invalid API token.".to_owned(),
            Self::TooMany { .. } => "Too Many Attempts.".to_owned(),
            Self::Path(path) => format!("The route {path} could not be found."),
            Self::Method {
                method,
                path,
                allow,
            } => format!(
                "The {method} method is not supported for route {path}. Supported methods: {allow}."
            ),
            Self::NoApp(id) => {
                format!("No query results for model [App\\Models\\ReverbApp] {id}")
            }
            Self::Invalid(_) => unreachable!("mistakes have a body of their own"),
            Self::Request(_, why) => why.clone(),
            Self::Corrupt => {
                "The app is stored wrongly and cannot be changed; the server's log says why."
                    .to_owned()
            }
            Self::Busy => "The app is being changed by others. Try again.".to_owned(),
            Self::StillOverlaps(until) => format!(
                "The app has two secrets already, the older one until {}. Rotating again would end that one now; \
                 \"force\": true in the body does it all the same.",
                time(*until).unwrap_or_else(|| "further notice".to_owned())
            ),
            Self::Unavailable => {
                "The app store does not answer at the moment. Try again.".to_owned()
            }
            Self::MadeUnseen(id) => format!(
                "The app {id} is made, but the app store does not answer now, so that its secret cannot be shown: give it another with rotate-secret."
            ),
            Self::NoDatabase => {
                "This server keeps no apps in a database: start it with --data-dir or --database-url.".to_owned()
            }
        }
    }

    pub(super) fn response(&self) -> Response<Body> {
        #[derive(Serialize)]
        struct Told {
            message: String,
        }
        let mut response = match self {
            Self::Invalid(mistakes) => json(self.status(), mistakes),
            _ => json(
                self.status(),
                &Told {
                    message: self.message(),
                },
            ),
        };
        let headers = response.headers_mut();
        match self {
            Self::TooMany { exhausted, unix } => {
                let seconds = exhausted.wait.as_millis().div_ceil(1000).max(1) as u64;
                headers.insert(RETRY_AFTER, seconds.into());
                headers.insert(RESET, (unix + seconds).into());
                headers.insert(LIMIT, exhausted.limit.into());
                headers.insert(REMAINING, 0.into());
            }
            Self::Method { allow, .. } => {
                let allow = HeaderValue::from_str(allow).expect("methods are letters");
                headers.insert(ALLOW, allow);
            }
            Self::Request(..) => close(&mut response),
            Self::Unavailable | Self::Busy => {
                headers.insert(RETRY_AFTER, 1.into());
            }
            _ => {}
        }
        response
    }
}

/// What the store says goes to the log; it may name hosts and tables.
impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if let StoreError::Corrupt(corrupt) = &error {
            tracing::error!(
                app = corrupt.id,
                reason = corrupt.reason,
                "an app is stored wrongly"
            );
            return Self::Corrupt;
        }
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the management API cannot reach the app store"
        );
        Self::Unavailable
    }
}

impl From<QueueError> for Refusal {
    fn from(error: QueueError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the queue has not taken what the management API was asked for"
        );
        Self::Unavailable
    }
}

impl From<EditError> for Refusal {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Taken { field, .. } => {
                let field = on_the_wire(field);
                Self::invalid(field, taken(field))
            }
            EditError::Unfit { field, reason } => {
                let field = on_the_wire(field);
                Self::invalid(field, unfit(field, &reason))
            }
            EditError::Missing(id) => Self::NoApp(id),
            EditError::Outdated { .. } => Self::Busy,
            EditError::Store(error) => error.into(),
            other => {
                tracing::error!(
                    error = &other as &dyn std::error::Error,
                    "an app was not changed"
                );
                Self::Unavailable
            }
        }
    }
}

/// What callers know a field of an app by.
fn on_the_wire(field: &'static str) -> &'static str {
    match field {
        "id" => "app_id",
        "key" => "app_key",
        "secret" => "app_secret",
        "active" => "is_active",
        other => other,
    }
}

/// A whole answer. Nothing of this API is for a cache: some of it is secret, and all of it changes.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(body).expect("maps with texts as keys are JSON");
    whole(status, body.into())
}

/// The same, written already.
pub(super) fn whole(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = empty(status);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    *response.body_mut() = Body::from(body);
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// Something of the request was not read: nothing can follow it.
pub(super) fn close(response: &mut Response<Body>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

/// Says what the caller has left of the counter that is nearest to its end, unless it has been told of one already.
pub(super) fn tell_left(response: &mut Response<Body>, left: Option<Left>) {
    let headers = response.headers_mut();
    if let Some(left) = left.filter(|_| !headers.contains_key(&LIMIT)) {
        headers.insert(LIMIT, left.limit.into());
        headers.insert(REMAINING, left.remaining.into());
    }
}
