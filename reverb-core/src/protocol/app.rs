//! [`App`]: one application, its credentials and its [`Limits`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::origins::Origins;
use super::secret::{OldSecret, Secret};
use super::webhook::Webhook;

/// One application: who may use it, from where, and how much.
///
/// Make one with [`App::new`] and set what shall differ from the defaults:
/// ```
/// use reverb_core::protocol::{App, ClientEvents};
///
/// let mut app = App::new("1001", "app-key", "app-secret")?;
/// app.client_events = ClientEvents::Off;
/// app.max_connections = Some(400);
/// # Ok::<(), reverb_core::protocol::InvalidApp>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct App {
    /// What the HTTP API calls it: `/apps/{id}/…`. The Python SDK takes digits only.
    pub id: AppId,
    /// What clients connect with: `/app/{key}`. Public.
    pub key: AppKey,
    /// What signatures are made with. Known to the app's backend alone.
    pub secret: Secret,
    /// What may have made them too, until a certain time; `None` by default. Made by [`Self::rotate_secret`].
    pub old_secret: Option<OldSecret>,
    /// For people; empty by default.
    pub name: String,
    /// For people, at more length; empty by default.
    pub description: String,
    /// Whether it may be used; true by default. An inactive app's clients get close code 4003, its backend status 403.
    pub active: bool,
    /// From which pages browsers may connect; from all by default.
    pub allowed_origins: Origins,
    /// Where clients may send events to each other; [`ClientEvents::Members`] by default.
    pub client_events: ClientEvents,
    /// Most connections at a time, close code 4004 beyond; `None`, the default, is no limit.
    pub max_connections: Option<u32>,
    /// Whether [`Self::max_connections`] holds; true by default. Where it does not, going beyond it is only logged: a store
    /// may hold numbers that nothing has enforced so far.
    pub enforce_max_connections: bool,
    /// Whether subscribers hear how many they are, `pusher_internal:subscription_count`; false by default.
    pub subscription_count: bool,
    /// Whether users may watch others come and go; true by default.
    pub watchlist: bool,
    /// Whether clients without TLS get close code 4000, and requests of the HTTP API without it status 403; false by
    /// default.
    pub force_tls: bool,
    /// After this much silence from us a client sends `pusher:ping`; after as much from a client we ping it.
    ///
    /// Sent as `activity_timeout` in whole seconds; 30 s by default, never less than 1 s (pusher-js refuses a 0).
    /// Keep it below the idle timeout of proxies in front: nginx closes after 60 s.
    ///
    /// Source: Pusher Channels protocol 7, `pusher:connection_established`.
    pub activity_timeout: Duration,
    /// How much of everything.
    pub limits: Limits,
    /// Who is told by HTTP what happens; nobody by default. Kept with the app, but nothing is sent yet.
    pub webhooks: Vec<Webhook>,
    /// Which state of the app this is: a store raises it with every change, and a hub never goes back to an earlier one.
    /// 0, the default, for apps that do not change.
    pub revision: u64,
}

impl App {
    /// An app with these credentials, and defaults for the rest.
    ///
    /// # Errors
    /// A credential is empty or has a character that cannot stand in a URL's path.
    pub fn new(id: &str, key: &str, secret: &str) -> Result<Self, InvalidApp> {
        Ok(Self {
            id: AppId::new(id)?,
            key: AppKey::new(key)?,
            secret: Secret::new(secret)?,
            old_secret: None,
            name: String::new(),
            description: String::new(),
            active: true,
            allowed_origins: Origins::any(),
            client_events: ClientEvents::Members,
            max_connections: None,
            enforce_max_connections: true,
            subscription_count: false,
            watchlist: true,
            force_tls: false,
            activity_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            webhooks: Vec::new(),
            revision: 0,
        })
    }

    /// Gives the app another secret. The one it has is accepted until this second since 1970, if one is given, and else no
    /// longer.
    /// ```
    /// use reverb_core::protocol::{App, Secret};
    ///
    /// let mut app = App::new("1001", "app-key", "app-secret")?;
    /// let old = app.secret.sign(&[b"text"]);
    /// app.rotate_secret(Secret::new("another-secret")?, Some(1_700_000_000));
    /// assert!(app.verify(&[b"text"], &old, 1_699_999_999));
    /// assert!(!app.verify(&[b"text"], &old, 1_700_000_000));
    /// # Ok::<(), reverb_core::protocol::InvalidApp>(())
    /// ```
    pub fn rotate_secret(&mut self, secret: Secret, old_until: Option<u64>) {
        let old = std::mem::replace(&mut self.secret, secret);
        self.old_secret = old_until.map(|until| OldSecret::new(old, until));
    }

    /// Whether this is the app's signature over these parts, at this second since 1970: made by its secret, or by the old
    /// one as long as that is accepted.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], signature: &[u8; 32], unix_time: u64) -> bool {
        let old = self.old_secret.as_ref();
        let old = old.filter(|old| old.until > unix_time);
        let mut secrets = std::iter::once(&self.secret).chain(old.map(|old| &old.secret));
        match secrets.find(|secret| secret.verify(parts, signature)) {
            Some(secret) => {
                secret.mark_used();
                true
            }
            None => false,
        }
    }
}

pub(super) fn check(field: &'static str, value: &str, forbidden: &str) -> Result<(), InvalidApp> {
    if value.is_empty() || value.len() > 255 {
        return Err(InvalidApp::Length {
            field,
            length: value.len(),
        });
    }
    match value
        .chars()
        .find(|c| c.is_control() || c.is_whitespace() || forbidden.contains(*c))
    {
        Some(character) => Err(InvalidApp::Character { field, character }),
        None => Ok(()),
    }
}

/// Why credentials make no app.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApp {
    /// Nothing, or far too much.
    #[error("the app's {field} must have 1 to 255 bytes, not {length}")]
    Length {
        /// `id`, `key` or `secret`.
        field: &'static str,
        /// Bytes it has.
        length: usize,
    },
    /// A character that would not survive in a URL or in a signature.
    #[error("the app's {field} must not contain {character:?}")]
    Character {
        /// `id`, `key` or `secret`.
        field: &'static str,
        /// The one that is not allowed.
        character: char,
    },
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $field:literal, $forbidden:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// This one.
            ///
            /// # Errors
            /// It is empty, longer than 255 bytes, or has a character that cannot stand in a URL's path.
            pub fn new(text: &str) -> Result<Self, InvalidApp> {
                check($field, text, $forbidden)?;
                Ok(Self(text.into()))
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_newtype! {
    /// The id of an app, as in `/apps/{id}/events`.
    AppId, "id", "/?#%\\"
}
text_newtype! {
    /// The key of an app, as in `/app/{key}`.
    // A key stands before the colon of every signature.
    AppKey, "key", "/?#%\\:"
}

/// Where clients may send events to each other.
///
/// Wherever they may, the sender must be subscribed to the channel. Source: Pusher Channels, client events; the modes are
/// Laravel Reverb's, whose `none` is read as `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientEvents {
    /// Nowhere.
    #[serde(alias = "none")]
    Off,
    /// On private and presence channels, as at Pusher.
    #[default]
    Members,
    /// On public channels too.
    All,
}

/// How much an app may do. Everything that hits one of these is told its name.
///
/// The defaults are those of Pusher Channels. Bytes and characters are those of the decoded text; a rate of 0 is no limit.
/// ```
/// use reverb_core::protocol::App;
///
/// let mut app = App::new("1001", "app-key", "app-secret")?;
/// app.limits.presence_members = 500;
/// # Ok::<(), reverb_core::protocol::InvalidApp>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Client events per second and connection; 10.
    pub client_events_per_second: u32,
    /// Published events per second; 0.
    pub events_per_second: u32,
    /// GETs of the HTTP API per second; 0.
    pub reads_per_second: u32,
    /// Characters of a channel's name; 200.
    pub channel_name_length: usize,
    /// Characters of an event's name; 200.
    pub event_name_length: usize,
    /// Bytes of an event's data; 10240.
    pub event_bytes: usize,
    /// Channels that one event may go to; 100.
    pub channels_per_event: usize,
    /// Events in one batch; 10.
    pub batch_size: usize,
    /// Channels that one connection may be subscribed to; 1000.
    pub channels_per_connection: usize,
    /// Users in one presence channel; 100.
    pub presence_members: usize,
    /// Bytes of what a presence channel is told of a user; 1024.
    pub presence_member_bytes: usize,
    /// How long a cache channel remembers its last event, in seconds; 1800.
    pub cache_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_events_per_second: 10,
            events_per_second: 0,
            reads_per_second: 0,
            channel_name_length: 200,
            event_name_length: 200,
            event_bytes: 10 * 1024,
            channels_per_event: 100,
            batch_size: 10,
            channels_per_connection: 1000,
            presence_members: 100,
            presence_member_bytes: 1024,
            cache_seconds: 1800,
        }
    }
}

impl Limits {
    /// Largest message a client may send: an event at its limit with every byte escaped at its worst, and the names.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        let worst = self.event_bytes.saturating_add(self.presence_member_bytes);
        worst.saturating_mul(6).saturating_add(16 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_break_urls_or_signatures_are_refused() {
        assert!(App::new("", "k", "s").is_err());
        assert!(App::new("a/b", "k", "s").is_err());
        assert!(App::new("1", "k:k", "s").is_err());
        assert!(App::new("1", "k", "s s").is_err());
    }
}
