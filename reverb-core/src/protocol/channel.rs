//! [`ChannelName`]: checked once, then it knows its [`ChannelKind`].

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::member::{InvalidMember, UserId};

/// What a channel's name promises about it.
///
/// The prefix decides, tested with its dash: `privatefoo` is a public channel. Source: Pusher Channels, channel types.
/// ```
/// use reverb_core::protocol::ChannelKind;
///
/// assert_eq!(ChannelKind::of("presence-cache-lobby"), ChannelKind::PresenceCache);
/// assert!(ChannelKind::of("private-orders").needs_signature());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelKind {
    /// No prefix: anybody of the app may listen.
    Public,
    /// `cache-`: public, and remembers its last event.
    Cache,
    /// `private-`: the app signs each subscription.
    Private,
    /// `private-cache-`
    PrivateCache,
    /// `private-encrypted-`: private, with a payload that only the clients can read.
    Encrypted,
    /// `private-encrypted-cache-`
    EncryptedCache,
    /// `presence-`: private, and everybody sees who is there.
    Presence,
    /// `presence-cache-`
    PresenceCache,
    /// `#server-to-user-{id}`: the channel of one signed-in user.
    User,
}

impl ChannelKind {
    const PREFIXES: [(&'static str, Self); 8] = [
        ("presence-cache-", Self::PresenceCache),
        ("presence-", Self::Presence),
        ("private-encrypted-cache-", Self::EncryptedCache),
        ("private-encrypted-", Self::Encrypted),
        ("private-cache-", Self::PrivateCache),
        ("private-", Self::Private),
        ("cache-", Self::Cache),
        (ChannelName::USER_PREFIX, Self::User),
    ];

    /// The kind of the channel with this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let found = Self::PREFIXES
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix));
        found.map_or(Self::Public, |(_, kind)| *kind)
    }

    /// Whether a subscription must carry the app's signature.
    #[must_use]
    pub const fn needs_signature(self) -> bool {
        !matches!(self, Self::Public | Self::Cache | Self::User)
    }

    /// Whether its members see one another.
    #[must_use]
    pub const fn is_presence(self) -> bool {
        matches!(self, Self::Presence | Self::PresenceCache)
    }

    /// Whether a newcomer gets the last event.
    #[must_use]
    pub const fn is_cache(self) -> bool {
        matches!(
            self,
            Self::Cache | Self::PrivateCache | Self::EncryptedCache | Self::PresenceCache
        )
    }

    /// Whether its payload is for the clients alone, so that client events make no sense on it.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Encrypted | Self::EncryptedCache)
    }
}

/// The name of a channel, well formed: `[A-Za-z0-9_\-=@,.;]`, with `#` in front only where the server reserves it.
///
/// Cloning copies a pointer. Names compare byte by byte; upper and lower case differ.
/// ```
/// use reverb_core::protocol::ChannelName;
///
/// assert_eq!(ChannelName::new("private-orders", 200)?.as_str(), "private-orders");
/// assert!(ChannelName::new("no spaces", 200).is_err());
/// # Ok::<(), reverb_core::protocol::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// What the name of a user's own channel begins with. Source: Pusher Channels, server to user events.
    pub const USER_PREFIX: &'static str = "#server-to-user-";

    /// The name, if it is one; `max_length` is the app's limit in bytes.
    ///
    /// # Errors
    /// Says what is wrong with the name.
    pub fn new(name: &str, max_length: usize) -> Result<Self, InvalidName> {
        Self::check(name, max_length)?;
        Ok(Self(name.into()))
    }

    /// The channel of this user.
    #[must_use]
    pub fn of_user(user: &str) -> Self {
        Self(format!("{}{user}", Self::USER_PREFIX).into())
    }

    /// Checks a name without keeping it, and tells its kind.
    ///
    /// # Errors
    /// Says what is wrong with the name.
    pub fn check(name: &str, max_length: usize) -> Result<ChannelKind, InvalidName> {
        let kind = ChannelKind::of(name);
        if kind == ChannelKind::User {
            // The rest is the app's own user id, in whatever characters the app likes.
            let user = &name[Self::USER_PREFIX.len()..];
            return match UserId::new(user) {
                Ok(_) => Ok(kind),
                Err(InvalidMember::LongId) => Err(InvalidName::LongUser),
                Err(_) => Err(InvalidName::Empty),
            };
        }
        if name.is_empty() {
            return Err(InvalidName::Empty);
        }
        if name.len() > max_length {
            return Err(InvalidName::TooLong {
                length: name.len(),
                max: max_length,
            });
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b);
        match name.bytes().all(allowed) {
            true => Ok(kind),
            false => Err(InvalidName::Character(
                name.chars()
                    .find(|c| !c.is_ascii() || !allowed(*c as u8))
                    .unwrap_or('?'),
            )),
        }
    }

    /// What kind of channel it is.
    #[must_use]
    pub fn kind(&self) -> ChannelKind {
        ChannelKind::of(&self.0)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Why a text names no channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// There is nothing, or no user after `#server-to-user-`.
    #[error("a channel name must not be empty")]
    Empty,
    /// Longer than the app allows.
    #[error("the channel name has {length} characters, the limit channel_name_length is {max}")]
    TooLong {
        /// Bytes of the name.
        length: usize,
        /// The app's limit.
        max: usize,
    },
    /// The user after `#server-to-user-` has more characters than any user id.
    #[error("a user id may have at most {} characters", UserId::MAX_LENGTH)]
    LongUser,
    /// Has a character that no channel name may have.
    #[error("a channel name may have letters, digits and _ - = @ , . ; but not {0:?}")]
    Character(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_with_its_dash_decides_the_kind() {
        let cases = [
            ("news", ChannelKind::Public),
            ("privatefoo", ChannelKind::Public),
            ("presenceX", ChannelKind::Public),
            ("my-cache-x", ChannelKind::Public),
            ("cache-x", ChannelKind::Cache),
            ("private-x", ChannelKind::Private),
            ("private-cache-x", ChannelKind::PrivateCache),
            ("private-encrypted-x", ChannelKind::Encrypted),
            ("private-encrypted-cache-x", ChannelKind::EncryptedCache),
            ("presence-x", ChannelKind::Presence),
            ("presence-cache-x", ChannelKind::PresenceCache),
            ("#server-to-user-7", ChannelKind::User),
        ];
        for (name, kind) in cases {
            assert_eq!(ChannelName::check(name, 200), Ok(kind), "{name}");
        }
    }

    #[test]
    fn laravel_and_odd_but_legal_names_pass() {
        for name in [
            "App.Models.User.1",
            "a=b",
            "a@b,c.d;e",
            "-",
            "_",
            &"x".repeat(200),
        ] {
            assert!(ChannelName::check(name, 200).is_ok(), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_with_a_reason() {
        assert_eq!(ChannelName::check("", 200), Err(InvalidName::Empty));
        assert_eq!(
            ChannelName::check("#server-to-user-", 200),
            Err(InvalidName::Empty)
        );
        assert_eq!(
            ChannelName::check("a/b", 200),
            Err(InvalidName::Character('/'))
        );
        assert_eq!(
            ChannelName::check("ünï", 200),
            Err(InvalidName::Character('ü'))
        );
        assert_eq!(
            ChannelName::check("#other", 200),
            Err(InvalidName::Character('#'))
        );
        let long = "x".repeat(201);
        assert_eq!(
            ChannelName::check(&long, 200),
            Err(InvalidName::TooLong {
                length: 201,
                max: 200
            })
        );
    }
}
