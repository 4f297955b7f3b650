//! [`ApiError`]: what the HTTP API answers when it does not do as asked.

use std::time::Duration;

use http::StatusCode;

use crate::app_store::StoreError;
use crate::protocol::auth::Unauthorized;
use crate::protocol::{InvalidEvent, InvalidName, json};

/// Largest body of a request: a batch of ten events of 10 KB, each byte escaped at its worst, and some.
pub(crate) const MOST_BODY: usize = 2 << 20;

/// What the HTTP API answers when it does not do as asked: a status and, as JSON, the reason.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// When to try again, in seconds.
    pub(crate) retry_after: Option<u64>,
    /// Whether the rest of the request may still be on its way, so that nothing can follow it on this connection.
    pub(crate) closes: bool,
    /// The methods that would have been right.
    pub(crate) allow: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
            closes: false,
            allow: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Not found: the API lives under /apps/{app_id}/, clients connect to /app/{key}",
        )
    }

    pub(crate) fn not_allowed(methods: &'static str) -> Self {
        let error = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("Method not allowed: use {methods}"),
        );
        Self {
            allow: Some(methods),
            ..error
        }
    }

    pub(crate) fn no_app(id: &str) -> Self {
        let id = id.chars().take(100).collect::<String>();
        Self::new(StatusCode::NOT_FOUND, format!("No app has the id {id:?}"))
    }

    pub(crate) fn large_body() -> Self {
        let message = format!("a body may have at most {MOST_BODY} bytes");
        Self {
            closes: true,
            ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        }
    }

    pub(crate) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the request took too long")
    }

    pub(crate) fn not_by_tls() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "the app takes requests by TLS only: use https, and name the proxy that ends it in trusted_proxies",
        )
    }

    pub(crate) fn disabled() -> Self {
        Self::new(StatusCode::FORBIDDEN, "The app is disabled")
    }

    pub(crate) fn too_often(limit: &str, wait: Duration) -> Self {
        let message = format!("Rate limit exceeded: {limit}");
        let retry_after = Some(wait.as_secs().max(1));
        Self {
            retry_after,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, message)
        }
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = br#"{"error":"#.to_vec();
        json::quote(&mut body, &self.message);
        body.extend_from_slice(format!(",\"code\":{}}}", self.status.as_u16()).as_bytes());
        body
    }
}

impl From<Unauthorized> for ApiError {
    fn from(error: Unauthorized) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error.to_string())
    }
}

impl From<InvalidEvent> for ApiError {
    fn from(error: InvalidEvent) -> Self {
        let status = if error.is_too_large() {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        };
        Self::new(status, error.to_string())
    }
}

impl From<InvalidName> for ApiError {
    fn from(error: InvalidName) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Corrupt(corrupt) = error {
            tracing::warn!(app = corrupt.id, reason = corrupt.reason, "an app is off");
            return Self::disabled();
        }
        // The cause may name hosts and tables: it goes to the log, not to the caller.
        tracing::warn!(error = %error, "an app could not be looked up");
        let message = "The app cannot be looked up at the moment, try again";
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
        }
    }
}
