//! Who may call: whoever shows the [`Token`].

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What callers must show. Only its hash is kept, so that it can be compared in constant time whatever its length, and
/// printed nowhere.
#[derive(Clone)]
pub struct Token {
    hash: [u8; 32],
    length: usize,
}

/// Fewer characters than these are found by trying.
const SHORT: usize = 16;

impl Token {
    /// This token.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        Self {
            hash: hash(text.as_bytes()),
            length: text.len(),
        }
    }

    /// Whether it can be found by trying.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.length < SHORT
    }

    /// Whether a request shows it, as `Authorization: Bearer …`. Of two such headers a proxy may have checked the other one:
    /// they show nothing.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (Some(shown), None) = (shown.next(), shown.next()) else {
            return false;
        };
        let Some((scheme, token)) = shown.as_bytes().split_at_checked(7) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ") && self.is(token.trim_ascii())
    }

    fn is(&self, token: &[u8]) -> bool {
        // An empty token opens nothing, whoever has configured it.
        self.length > 0 && hash(token).ct_eq(&self.hash).into()
    }
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn shows(headers: &[&str]) -> bool {
        let mut map = HeaderMap::new();
        for header in headers {
            let value = HeaderValue::from_bytes(header.as_bytes()).expect("a header");
            map.append(AUTHORIZATION, value);
        }
        Token::new("töken-1").is_shown(&map)
    }

    #[test]
    fn the_token_is_shown_once_and_whole() {
        for good in ["Bearer töken-1", "bearer töken-1", "BEARER   töken-1 "] {
            assert!(shows(&[good]), "{good}");
        }
        for bad in [
            "Bearer töken-2",
            "Bearer töken-",
            "Bearer töken-11",
            "Bearer TÖKEN-1",
            "Bearer ",
            "Bearer",
            "Basic töken-1",
            "Bearertöken-1",
            "töken-1",
            "",
        ] {
            assert!(!shows(&[bad]), "{bad}");
        }
        assert!(!shows(&[]));
        assert!(!shows(&["Bearer töken-1", "Bearer töken-1"]));
    }

    #[test]
    fn an_empty_token_opens_nothing_and_none_prints() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer "));
        assert!(!Token::new(" ").is_shown(&headers));
        assert_eq!(format!("{:?}", Token::new("s3cret")), "***");
        assert!(Token::new("s3cret").is_short() && !Token::new(&"x".repeat(16)).is_short());
    }
}
