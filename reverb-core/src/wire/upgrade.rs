//! The handshake of `GET /app/{key}`, at both doors. Refusals are spoken over the socket, as clients expect: a browser
//! cannot tell a refused handshake from a broken network, and would try again for ever.
//!
//! Source: RFC 6455 section 4.2; Pusher Channels protocol 7, connection.

use std::sync::Arc;

use http::request::Parts;
use tungstenite::handshake::derive_accept_key;

use crate::app_store::StoreError;
use crate::protocol::{App, Close, auth};

/// A client that wants in: everything its request says that matters later.
#[derive(Debug)]
pub(crate) struct Knock {
    /// The key in the path; `None` on any other path.
    key: Option<String>,
    protocol: Result<(), Close>,
    origin: Option<String>,
    sub_protocol: Option<String>,
    accept: String,
    is_tls: bool,
    /// The whole request, where an authorizer wants to see it.
    pub(crate) request: Option<Box<Parts>>,
}

/// Why a request is no WebSocket handshake. There is no socket to say it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHandshake {
    /// No `Upgrade: websocket`, or another version than 13.
    UpgradeRequired,
    /// It wants a handshake and does not know how.
    Bad(&'static str),
}

impl Knock {
    /// Reads a request: its path within ours, its query, its header lines. Those that are no text say nothing.
    pub(crate) fn read<'a>(
        path: &str,
        query: &str,
        is_tls: bool,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, NoHandshake> {
        let (mut is_websocket, mut is_upgrade) = (false, false);
        let (mut version, mut nonce, mut origin, mut offered) = (None, None, None, None);
        for (name, value) in headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let text = || std::str::from_utf8(value).ok();
            if is("upgrade") {
                is_websocket |= lists(text(), "websocket");
            } else if is("connection") {
                is_upgrade |= lists(text(), "upgrade");
            } else if is("sec-websocket-version") {
                version = version.or_else(text);
            } else if is("sec-websocket-key") {
                nonce = nonce.or_else(text);
            } else if is("origin") {
                origin = origin.or_else(text);
            } else if is("sec-websocket-protocol") {
                offered = offered.or_else(text);
            }
        }
        if !is_websocket {
            return Err(NoHandshake::UpgradeRequired);
        }
        if !is_upgrade {
            return Err(NoHandshake::Bad(
                "a WebSocket handshake needs Connection: Upgrade",
            ));
        }
        if version.map(str::trim) != Some("13") {
            return Err(NoHandshake::UpgradeRequired);
        }
        let nonce = nonce.map(str::trim).unwrap_or_default();
        if !is_nonce(nonce) {
            return Err(NoHandshake::Bad(
                "Sec-WebSocket-Key must be 16 bytes in base64",
            ));
        }
        let key = path
            .strip_prefix("/app/")
            .filter(|key| !key.is_empty() && !key.contains('/'));
        Ok(Self {
            key: key.map(|key| auth::decode(key, false).into_owned()),
            protocol: check_protocol(query),
            origin: origin.map(str::to_owned),
            sub_protocol: offered.and_then(choose).map(str::to_owned),
            accept: derive_accept_key(nonce.as_bytes()),
            is_tls,
            request: None,
        })
    }

    /// The app key it names.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Takes a path that names no app for one that does: suites that test WebSockets know nothing of ours.
    pub(crate) fn take_any_path(&mut self) {
        self.key.get_or_insert_default();
    }

    /// The headers of the answer 101, besides `Upgrade` and `Connection`.
    pub(crate) fn answer(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let chosen = self
            .sub_protocol
            .as_deref()
            .map(|name| ("Sec-WebSocket-Protocol", name));
        std::iter::once(("Sec-WebSocket-Accept", &*self.accept)).chain(chosen)
    }

    /// Whether the client may come in, as far as its app alone can say.
    pub(crate) fn decide(
        &self,
        found: Result<Option<Arc<App>>, StoreError>,
    ) -> Result<Arc<App>, Close> {
        if self.key.is_none() {
            return Err(Close::NO_PATH);
        }
        self.protocol.clone()?;
        let app = usable(found)?;
        if app.force_tls && !self.is_tls {
            Err(Close::TLS_ONLY)
        } else if !app.allowed_origins.allow(self.origin.as_deref()) {
            tracing::debug!(app = %app.id, origin = ?self.origin, "not among allowed_origins");
            Err(Close::ORIGIN)
        } else {
            Ok(app)
        }
    }
}

/// The app that was looked up, if it may be used.
pub(crate) fn usable(found: Result<Option<Arc<App>>, StoreError>) -> Result<Arc<App>, Close> {
    match found {
        Ok(Some(app)) if app.active => Ok(app),
        Ok(Some(_)) => Err(Close::APP_DISABLED),
        Ok(None) => Err(Close::NO_APP),
        Err(StoreError::Corrupt(corrupt)) => {
            tracing::warn!(app = corrupt.id, reason = corrupt.reason, "an app is off");
            Err(Close::APP_DISABLED)
        }
        // Never 4001: the client would not come back when the store does.
        Err(error) => {
            tracing::warn!(%error, "an app could not be looked up");
            Err(Close::UNAVAILABLE)
        }
    }
}

/// Whether this `X-Forwarded-Proto` says that the client came by TLS. Traefik writes `wss`; of several proxies the first
/// is the one that the client came to.
pub(crate) fn is_tls(forwarded: &str) -> bool {
    let proto = forwarded.split(',').next().unwrap_or_default().trim();
    proto.eq_ignore_ascii_case("https") || proto.eq_ignore_ascii_case("wss")
}

/// Whether this header line, of those that are lists, has that item. The list may go on in other lines: RFC 9110 section
/// 5.3.
fn lists(line: Option<&str>, item: &str) -> bool {
    let mut items = line.unwrap_or_default().split(',');
    items.any(|other| other.trim().eq_ignore_ascii_case(item))
}

/// Whether these are 16 bytes in base64.
fn is_nonce(text: &str) -> bool {
    let mut bytes = [0; 18];
    text.len() == 24
        && data_encoding::BASE64
            .decode_mut(text.as_bytes(), &mut bytes)
            .is_ok_and(|length| length == 16)
}

/// 5, 6 and 7 are spoken, and 4, which lacks nothing that we need; without a version it is the newest.
fn check_protocol(query: &str) -> Result<(), Close> {
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, version)) = values.into_iter().find(|(name, _)| *name == "protocol") else {
        return Ok(());
    };
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Close::BAD_VERSION);
    }
    match version.parse::<u32>() {
        Ok(4..=7) => Ok(()),
        // Too large for a number is a number all the same.
        _ => Err(Close::UNSUPPORTED_PROTOCOL),
    }
}

/// Apple's clients offer sub-protocols and give up unless one of them is chosen.
fn choose(offered: &str) -> Option<&str> {
    let mut names = offered
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let first = names.clone().next();
    names
        .find(|name| name.starts_with("pusher-channels-protocol-"))
        .or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn knock(path: &str, query: &str, more: &[(&str, &'static str)]) -> Result<Knock, NoHandshake> {
        let is_replaced = |name: &str| more.iter().any(|line| line.0 == name);
        let good = GOOD.iter().filter(|line| !is_replaced(line.0));
        let lines = more.iter().chain(good);
        Knock::read(
            path,
            query,
            false,
            lines.map(|line| (line.0, line.1.as_bytes())),
        )
    }

    fn app() -> Result<Option<Arc<App>>, StoreError> {
        Ok(Some(Arc::new(
            App::new("1", "key", "secret").expect("an app"),
        )))
    }

    #[test]
    fn the_key_is_accepted_as_rfc_6455_shows() {
        let knock = knock("/app/key", "", &[]).expect("a handshake");
        assert_eq!(
            knock.answer().collect::<Vec<_>>(),
            [("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]
        );
        assert_eq!(knock.key(), Some("key"));
    }

    #[test]
    fn values_that_are_no_text_say_nothing() {
        let read = |more: (&'static str, &'static [u8])| {
            let good = GOOD.map(|(name, value)| (name, value.as_bytes()));
            Knock::read("/app/key", "", false, [more].into_iter().chain(good))
        };
        for name in ["sec-websocket-version", "sec-websocket-protocol", "upgrade"] {
            let knock = read((name, b"\xe9")).expect("a handshake by what else it says");
            assert_eq!(knock.answer().count(), 1, "{name}");
        }
    }

    #[test]
    fn versions_are_judged_and_refused_over_the_socket() {
        let refused = |query: &str| {
            knock("/app/key", query, &[])
                .expect("a handshake")
                .decide(app())
                .err()
        };
        for query in [
            "",
            "client=js",
            "protocol=4",
            "protocol=5",
            "protocol=6&x=y",
            "x&protocol=7",
        ] {
            assert_eq!(refused(query), None, "{query}");
        }
        for query in ["protocol=", "protocol=seven", "protocol=-1", "protocol=7.0"] {
            assert_eq!(refused(query), Some(Close::BAD_VERSION), "{query}");
        }
        for query in ["protocol=3", "protocol=8", "protocol=99999999999"] {
            assert_eq!(refused(query), Some(Close::UNSUPPORTED_PROTOCOL), "{query}");
        }
    }

    #[test]
    fn a_wrong_path_is_no_app() {
        for path in ["/", "/app", "/app/", "/app/a/b", "/apps/key"] {
            assert_eq!(
                knock(path, "", &[])
                    .expect("a handshake")
                    .decide(app())
                    .err(),
                Some(Close::NO_PATH),
                "{path}"
            );
        }
    }

    #[test]
    fn one_offered_sub_protocol_is_chosen() {
        let chosen = |offered: &'static str| {
            let knock =
                knock("/app/key", "", &[("sec-websocket-protocol", offered)]).expect("a handshake");
            knock.sub_protocol
        };
        assert_eq!(
            chosen("a, pusher-channels-protocol-7").as_deref(),
            Some("pusher-channels-protocol-7")
        );
        assert_eq!(chosen("a, b").as_deref(), Some("a"));
        assert_eq!(chosen("").as_deref(), None);
    }

    #[test]
    fn a_list_may_be_spread_over_several_lines() {
        let lines = [("connection", "keep-alive"), ("Connection", "upgrade")];
        assert!(knock("/app/key", "", &lines).is_ok());
    }

    #[test]
    fn what_is_no_handshake_is_told_apart() {
        let with =
            |name: &'static str, value: &'static str| knock("/app/key", "", &[(name, value)]).err();
        assert_eq!(with("upgrade", "h2c"), Some(NoHandshake::UpgradeRequired));
        assert_eq!(
            with("sec-websocket-version", "8"),
            Some(NoHandshake::UpgradeRequired)
        );
        assert!(matches!(
            with("connection", "close"),
            Some(NoHandshake::Bad(_))
        ));
        assert!(matches!(
            with("sec-websocket-key", "short"),
            Some(NoHandshake::Bad(_))
        ));
    }
}
