//! What a shard answers requests with.

use crate::wire::error::ApiError;

use super::outbox::Frame;

/// A response 200; with `closes` the last one on its connection.
pub(super) fn ok(body: &str, closes: bool) -> Frame {
    if body == "{}" && !closes {
        return EMPTY.with(Frame::clone);
    }
    let close = if closes { "connection: close\r\n" } else { "" };
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{close}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
        .into()
}

thread_local! {
    /// What nearly every publisher gets.
    static EMPTY: Frame = Frame::from(&b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"[..]);
}

/// A response that tells an error.
pub(super) fn response(error: &ApiError, closes: bool) -> Frame {
    let body = error.body();
    let retry = error
        .retry_after
        .map(|seconds| format!("retry-after: {seconds}\r\n"))
        .unwrap_or_default();
    let close = if closes { "connection: close\r\n" } else { "" };
    let (status, length) = (error.status, body.len());
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{retry}{close}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), &body].concat().into()
}
