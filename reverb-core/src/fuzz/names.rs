//! Names: channels, sockets, users, and the origins of pages.

use crate::protocol::member::InvalidMember;
use crate::protocol::socket_id::InvalidSocketId;
use crate::protocol::{ChannelKind, ChannelName, InvalidName, Origins, SocketId, UserId};

/// Any text, as the name of a channel, as the id of a socket, and as that of a user.
pub fn channel_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for max in [200, 20, usize::MAX] {
        let found = ChannelName::check(text, max);
        assert_eq!(found.is_ok(), is_name(text, max), "{text:?}");
        let made = ChannelName::new(text, max);
        match (&found, &made) {
            (Ok(kind), Ok(name)) => {
                assert_eq!((name.as_str(), name.kind()), (text, *kind));
                assert_eq!(*kind, naive_kind(text), "{text:?}");
                assert!(text.len() <= max.max(ChannelName::USER_PREFIX.len() + 4 * 128));
            }
            (Err(why), Err(also)) => assert_eq!(why, also),
            _ => panic!("check and new differ: {found:?}, {made:?}"),
        }
        if let Err(InvalidName::Character(c)) = found {
            assert!(text.contains(c), "{c:?} is not in {text:?}");
        }
    }
    let user = UserId::new(text);
    let length = text.chars().count();
    assert_eq!(user.is_ok(), (1..=128).contains(&length));
    assert_eq!(user == Err(InvalidMember::LongId), length > 128);
    if user.is_ok() {
        let channel = ChannelName::of_user(text);
        assert_eq!(
            ChannelName::check(channel.as_str(), 0),
            Ok(ChannelKind::User)
        );
    }
    socket_id(text);
}

fn is_name(text: &str, max: usize) -> bool {
    if let Some(user) = text.strip_prefix("#server-to-user-") {
        return !user.is_empty() && user.chars().count() <= 128;
    }
    const ALLOWED: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=@,.;";
    !text.is_empty() && text.len() <= max && text.chars().all(|c| ALLOWED.contains(c))
}

fn naive_kind(text: &str) -> ChannelKind {
    let (is_private, is_presence) = (text.starts_with("private-"), text.starts_with("presence-"));
    let rest = text
        .strip_prefix("private-")
        .or_else(|| text.strip_prefix("presence-"))
        .unwrap_or(text);
    let is_encrypted = is_private && rest.starts_with("encrypted-");
    let is_cache = match is_encrypted {
        true => rest["encrypted-".len()..].starts_with("cache-"),
        false => rest.starts_with("cache-"),
    };
    match (is_presence, is_encrypted, is_private, is_cache) {
        _ if text.starts_with('#') => ChannelKind::User,
        (true, _, _, true) => ChannelKind::PresenceCache,
        (true, ..) => ChannelKind::Presence,
        (_, true, _, true) => ChannelKind::EncryptedCache,
        (_, true, ..) => ChannelKind::Encrypted,
        (_, _, true, true) => ChannelKind::PrivateCache,
        (_, _, true, _) => ChannelKind::Private,
        (.., true) => ChannelKind::Cache,
        _ => ChannelKind::Public,
    }
}

/// `digits.digits`; it is ours if it is what we would have written.
fn socket_id(text: &str) {
    let parts: Vec<&str> = text.split('.').collect();
    let is_digits = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let is_formed = parts.len() == 2 && parts.iter().all(is_digits);
    match text.parse::<SocketId>() {
        Ok(id) => assert_eq!((id.to_string().as_str(), is_formed), (text, true)),
        Err(InvalidSocketId::Malformed) => assert!(!is_formed, "{text:?}"),
        Err(InvalidSocketId::Foreign) => {
            let is_ours = |part: &&str| {
                part.parse::<u32>()
                    .is_ok_and(|number| number.to_string() == **part)
            };
            assert!(is_formed && !parts.iter().all(is_ours), "{text:?}");
        }
    }
}

/// The first line is the `Origin` header of a page, the others are entries of `allowed_origins`.
pub fn origins(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (origin, entries) = text.split_once('\n').unwrap_or((text, ""));
    let origins = Origins::new(entries.lines());
    let hosts = origins.hosts();
    assert_eq!(Origins::new(hosts), origins, "normalised once is for good");
    for (n, host) in hosts.iter().enumerate() {
        assert!(!host.is_empty() && !hosts[..n].contains(host), "{hosts:?}");
        assert!(!host.contains(['/', '\\', '?', '#']), "{host:?} is no host");
    }
    let is_any = hosts.iter().any(|host| host == "*");
    assert_eq!(origins.allow(None), is_any);
    assert_eq!(origins.allow(Some("null")), is_any);
    // What a page may call itself is judged as an entry would be read.
    let host = Origins::new([origin]).hosts().first().cloned();
    let fits = |host: &String| {
        let host: Vec<char> = host.chars().collect();
        hosts.iter().any(|pattern| {
            let pattern: Vec<char> = pattern.chars().collect();
            fits(&pattern, &host)
        })
    };
    let is_null = origin.trim() == "null";
    let expected = is_any || (!is_null && host.as_ref().is_some_and(fits));
    assert_eq!(
        origins.allow(Some(origin)),
        expected,
        "{origin:?}: {hosts:?}"
    );
    let is_plain =
        |host: &String| !host.contains('*') && host.starts_with('[') == host.ends_with(']');
    if let Some(host) = host.filter(is_plain) {
        let only = Origins::new([&host]);
        assert!(is_null || only.allow(Some(origin)), "{origin:?}");
        for scheme in ["http", "https"] {
            let page = format!("{scheme}://{host}:8080");
            assert!(only.allow(Some(&page)), "{page:?}");
            let other = format!("{scheme}://{host}.evil.test");
            assert!(
                host.starts_with('[') || !only.allow(Some(&other)),
                "{other:?}"
            );
        }
    }
}

/// Whether `*` in the pattern can stand for something so that it becomes the text. Each state is how much of the pattern
/// may be used up.
fn fits(pattern: &[char], text: &[char]) -> bool {
    let stars = |states: &mut [bool]| {
        for n in 0..pattern.len() {
            states[n + 1] |= states[n] && pattern[n] == '*';
        }
    };
    let mut states = vec![false; pattern.len() + 1];
    states[0] = true;
    stars(&mut states);
    for c in text {
        let mut next = vec![false; states.len()];
        for n in 0..pattern.len() {
            match pattern[n] {
                '*' => next[n] |= states[n],
                p => next[n + 1] |= states[n] && p == *c,
            }
        }
        stars(&mut next);
        states = next;
    }
    states[pattern.len()]
}
