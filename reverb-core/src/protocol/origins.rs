//! [`Origins`]: from which pages browsers may connect.

/// From which pages browsers may connect.
///
/// An entry is `*`, a host (`example.com`), or a pattern with `*` in it (`*.example.com`); scheme, port and path of an
/// entry are dropped, case does not count. An empty list refuses everybody. Without an `Origin` header, as from backends
/// and phones, only `*` lets a client in.
/// ```
/// use reverb_core::protocol::Origins;
///
/// let origins = Origins::new(["https://example.com", "*.example.org"]);
/// assert!(origins.allow(Some("https://shop.example.org:8443")));
/// assert!(!origins.allow(Some("https://example.com.evil.test")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    hosts: Vec<String>,
}

impl Origins {
    /// Every page.
    #[must_use]
    pub fn any() -> Self {
        Self {
            hosts: vec!["*".to_owned()],
        }
    }

    /// These hosts and patterns.
    pub fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Self {
        let mut hosts: Vec<String> = Vec::new();
        for entry in entries {
            let host = host(entry.as_ref().trim()).to_ascii_lowercase();
            if !host.is_empty() && !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        Self { hosts }
    }

    /// The entries, normalised.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Whether a client with this `Origin` header may connect.
    #[must_use]
    pub fn allow(&self, origin: Option<&str>) -> bool {
        if self.hosts.iter().any(|entry| entry == "*") {
            return true;
        }
        // `null` is what sandboxed frames and files send; it names no host.
        let Some(origin) = origin.map(str::trim).filter(|origin| *origin != "null") else {
            return false;
        };
        let host = host(origin).to_ascii_lowercase();
        !host.is_empty() && self.hosts.iter().any(|entry| matches(entry, &host))
    }
}

/// The host in `scheme://host:port/path`, each of the others optional.
fn host(origin: &str) -> &str {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    // Browsers take a backslash for a slash.
    let rest = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host).trim();
    if rest.starts_with('[') {
        return rest.split_inclusive(']').next().unwrap_or_default();
    }
    rest.split_once(':').map_or(rest, |(host, _)| host.trim())
}

/// Whether `host` fits the pattern, where `*` stands for any characters.
fn matches(pattern: &str, host: &str) -> bool {
    let Some((before, mut rest)) = pattern.split_once('*') else {
        return pattern == host;
    };
    let Some(mut host) = host.strip_prefix(before) else {
        return false;
    };
    while let Some((middle, after)) = rest.split_once('*') {
        let Some(at) = host.find(middle) else {
            return false;
        };
        host = &host[at + middle.len()..];
        rest = after;
    }
    host.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_normalised_to_hosts() {
        let entries = [
            "https://Example.COM:8080/path",
            "example.com",
            "  example.com  ",
            "wss://a.b/x?y",
            "c.d:99",
            "",
        ];
        assert_eq!(Origins::new(entries).hosts(), ["example.com", "a.b", "c.d"]);
    }

    #[test]
    fn origins_match_by_host_with_wildcards() {
        let origins = Origins::new(["example.com", "*.shop.test"]);
        for origin in [
            "https://example.com",
            "http://EXAMPLE.com:81",
            "https://a.shop.test",
            "https://a.b.shop.test/",
        ] {
            assert!(origins.allow(Some(origin)), "{origin}");
        }
        for origin in [
            "https://shop.test",
            "https://example.com.evil",
            "https://evil-example.com",
            "null",
            "",
        ] {
            assert!(!origins.allow(Some(origin)), "{origin}");
        }
        assert!(!origins.allow(Some("https://example.com@evil.test")));
        assert!(!origins.allow(Some(r"https://evil.test\.shop.test")));
        assert!(!origins.allow(None));
        assert!(Origins::any().allow(None) && Origins::any().allow(Some("null")));
        assert!(!Origins::new::<&str>([]).allow(Some("https://example.com")));
    }
}
