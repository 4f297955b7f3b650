//! What single values may be, wherever they come from. Errors are sentences that follow `key: `.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use reverb_core::protocol::{App, ClientEvents, InvalidApp, Origins};

use super::problem::did_you_mean;

pub(super) const PORTS: RangeInclusive<u64> = 0..=65_535;
/// 0 would be no address: nothing listens there.
pub(super) const PUBLIC_PORTS: RangeInclusive<u64> = 1..=65_535;
pub(super) const THREADS: RangeInclusive<u64> = 1..=1024;
/// What bcrypt takes.
pub(super) const BCRYPT_ROUNDS: RangeInclusive<u64> = 4..=31;
/// Seconds.
pub(super) const DEFERRALS: RangeInclusive<u64> = 0..=60;
/// Beyond a day clients' timers overflow: pusher-js would ping without a pause.
pub(crate) const ACTIVITY_TIMEOUTS: RangeInclusive<u64> = 1..=86_400;
pub(crate) const CONNECTIONS: RangeInclusive<u64> = 1..=u32::MAX as u64;

/// An address or a host name.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
    };
    if bare.parse::<IpAddr>().is_ok() || is_name(text) {
        return Ok(bare.to_owned());
    }
    Err(format!(
        "must be an address such as 127.0.0.1, or a host name, without scheme, port and path; not {text:?}"
    ))
}

/// A prefix of all paths: empty, or a slash in front and none behind.
pub(super) fn path(text: &str) -> Result<String, String> {
    let inner = text.trim_matches('/');
    let refused = |c: &char| c.is_whitespace() || c.is_control() || "?#".contains(*c);
    match inner.chars().find(refused) {
        Some(c) => Err(format!(
            "must not contain {c:?}; a prefix looks like /reverb"
        )),
        None if inner.is_empty() => Ok(String::new()),
        None => Ok(format!("/{inner}")),
    }
}

/// Whether `https` is spoken.
pub(super) fn scheme(text: &str) -> Result<bool, String> {
    match text {
        "https" => Ok(true),
        "http" => Ok(false),
        _ => Err(format!("must be http or https, not {text:?}")),
    }
}

/// A number written as text, as in the environment.
pub(crate) fn number<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("must be {}, not {text:?}", number_in(&range)))
}

/// What such a number is called in messages.
pub(crate) fn number_in(range: &RangeInclusive<u64>) -> String {
    match (*range.start(), *range.end()) {
        (least, most) if most >= u32::MAX.into() => format!("a whole number, at least {least}"),
        (least, most) => format!("a whole number from {least} to {most}"),
    }
}

/// Networks such as `10.0.0.0/8`, and single addresses.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let net = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| {
        format!("{text:?} is neither an address nor a network such as 10.0.0.0/8 (0.0.0.0/0 is everybody)")
    })
}

/// An app's id.
pub(crate) fn id(text: &str) -> Result<String, String> {
    credential(text, App::new(text, "-", "-"))
}

/// An app's key.
pub(crate) fn key(text: &str) -> Result<String, String> {
    credential(text, App::new("-", text, "-"))
}

/// An app's secret.
pub(crate) fn secret(text: &str) -> Result<String, String> {
    credential(text, App::new("-", "-", text))
}

fn credential(text: &str, app: Result<App, InvalidApp>) -> Result<String, String> {
    match app {
        Ok(_) => Ok(text.to_owned()),
        Err(InvalidApp::Length { length: 0, .. }) => Err("must not be empty".to_owned()),
        Err(InvalidApp::Length { .. }) => Err("must have at most 255 characters".to_owned()),
        Err(InvalidApp::Character { character, .. }) => {
            Err(format!("must not contain {character:?}"))
        }
        Err(other) => Err(other.to_string()),
    }
}

/// A host or pattern that browsers may come from.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    match Origins::new([text]).hosts() {
        [_] => Ok(text.to_owned()),
        _ => Err(format!(
            r#"{text:?} names no host; write "example.com", "*.example.com", or "*" for all"#
        )),
    }
}

/// Where clients may send events to each other.
pub(crate) fn client_events(text: &str) -> Result<ClientEvents, String> {
    match text {
        "off" | "none" => Ok(ClientEvents::Off),
        "members" => Ok(ClientEvents::Members),
        "all" => Ok(ClientEvents::All),
        _ => Err(format!(
            r#"must be "off", "members" or "all", not {text:?}"#
        )),
    }
}

/// What to say of a limit that there is not.
pub(crate) fn unknown_limit(name: &str, known: &[&str]) -> String {
    match did_you_mean(name, known) {
        Some(meant) => format!("there is no limit {name:?}; did you mean {meant}?"),
        None => format!("there is no limit {name:?}; known: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_slash_in_front_and_none_behind() {
        for written in ["/x", "x", "/x/", "//x//"] {
            assert_eq!(path(written).as_deref(), Ok("/x"));
        }
        assert_eq!(path("/").as_deref(), Ok(""));
        assert_eq!(path("/a/b/").as_deref(), Ok("/a/b"));
        for bad in ["/x?y", "/x#y", "/x y"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_is_an_address_or_a_name_and_nothing_more() {
        for good in ["127.0.0.1", "::", "::1", "localhost", "ws.example.com"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        assert_eq!(host("[::1]").as_deref(), Ok("::1"));
        for bad in ["", "http://a", "127.0.0.1:80", "a/b", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        assert_eq!(
            network("10.1.2.3").map(|net| net.to_string()).as_deref(),
            Ok("10.1.2.3/32")
        );
        assert!(network("10.0.0.0/8").is_ok() && network("fd00::/8").is_ok());
        assert!(network("*").is_err() && network("10.0.0.0/40").is_err());
    }
}
