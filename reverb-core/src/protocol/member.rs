//! [`UserId`] and [`Member`]: who sits in a presence channel, who signed in.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json;

/// The id an app gives one of its users, as text: `10` and `"10"` are the same user.
/// ```
/// use reverb_core::protocol::UserId;
///
/// assert_eq!(UserId::new("10")?.as_str(), "10");
/// assert!(UserId::new("").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Longest id in characters. Source: Pusher Channels, presence channels.
    pub const MAX_LENGTH: usize = 128;

    /// The id, if it is one.
    ///
    /// # Errors
    /// An empty id, or one longer than [`Self::MAX_LENGTH`].
    pub fn new(id: &str) -> Result<Self, InvalidMember> {
        if id.is_empty() {
            return Err(InvalidMember::NoId);
        }
        if id.chars().count() > Self::MAX_LENGTH {
            return Err(InvalidMember::LongId);
        }
        Ok(Self(id.into()))
    }

    /// Reads an id from JSON: a string, or an integer.
    fn from_json(raw: &RawValue) -> Result<Self, InvalidMember> {
        let text = raw.get();
        match text.as_bytes() {
            [b'"', ..] => Self::new(&json::string(text).map_err(|_| InvalidMember::NoId)?),
            [b'-' | b'0'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
                Self::new(text)
            }
            _ => Err(InvalidMember::NoId),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One user in a presence channel: its id, and what the app tells the others about it.
/// ```
/// use reverb_core::protocol::Member;
///
/// let member = Member::from_channel_data(r#"{"user_id":10,"user_info":{"name":"Ann"}}"#)?;
/// assert_eq!((member.id.as_str(), &*member.info), ("10", r#"{"name":"Ann"}"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Who it is.
    pub id: UserId,
    /// JSON of the app's choice; `{}` when it gave none.
    pub info: Arc<str>,
}

impl Member {
    /// Reads the `channel_data` of a presence subscription: `{"user_id":…,"user_info":…}`.
    ///
    /// # Errors
    /// No JSON object, or no id in it.
    pub fn from_channel_data(data: &str) -> Result<Self, InvalidMember> {
        #[derive(Deserialize)]
        struct ChannelData<'a> {
            #[serde(borrow)]
            user_id: &'a RawValue,
            #[serde(borrow)]
            user_info: Option<&'a RawValue>,
        }
        let data: ChannelData<'_> = object(data)?;
        Ok(Self {
            id: UserId::from_json(data.user_id)?,
            info: info(data.user_info),
        })
    }
}

/// What a client says of its user when it signs in. Source: Pusher Channels, user authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserData {
    /// The user, as a presence channel would show it.
    pub member: Member,
    /// Whose coming and going the client wants to hear of, at most [`UserData::MAX_WATCHED`].
    pub watchlist: Vec<UserId>,
    /// Whether the list was longer.
    pub watchlist_cut: bool,
}

impl UserData {
    /// Longest watchlist. Source: Pusher Channels, watchlist events.
    pub const MAX_WATCHED: usize = 100;
    /// Longest `user_data` in bytes.
    pub const MAX_BYTES: usize = 32 * 1024;

    /// Reads the `user_data` of a `pusher:signin`: `{"id":…,"user_info":…,"watchlist":[…]}`.
    ///
    /// # Errors
    /// No JSON object, no id in it, or too large.
    pub fn parse(data: &str) -> Result<Self, InvalidMember> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
            #[serde(borrow)]
            user_info: Option<&'a RawValue>,
            #[serde(borrow)]
            watchlist: Option<&'a RawValue>,
        }
        if data.len() > Self::MAX_BYTES {
            return Err(InvalidMember::TooBig);
        }
        let raw: Raw<'_> = object(data)?;
        // What is no list, and no id in it, watches nobody: it should not cost the user its sign-in.
        let listed = raw
            .watchlist
            .and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
        let mut watchlist = Vec::new();
        let mut watchlist_cut = false;
        for id in listed
            .unwrap_or_default()
            .into_iter()
            .filter_map(|id| UserId::from_json(id).ok())
        {
            if watchlist.contains(&id) {
                continue;
            }
            if watchlist.len() == Self::MAX_WATCHED {
                watchlist_cut = true;
                break;
            }
            watchlist.push(id);
        }
        let member = Member {
            id: UserId::from_json(raw.id)?,
            info: info(raw.user_info),
        };
        Ok(Self {
            member,
            watchlist,
            watchlist_cut,
        })
    }
}

fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, InvalidMember> {
    if json::is_too_deep(text) {
        return Err(InvalidMember::Json(format!(
            "nested deeper than {} levels",
            json::MAX_DEPTH
        )));
    }
    if !json::is_text(text) {
        return Err(InvalidMember::Json(
            "half a surrogate pair is no character".to_owned(),
        ));
    }
    json::object(text).map_err(|e| InvalidMember::Json(e.to_string()))
}

/// .NET looks every id up in the snapshot and wants an object there, so a user without info gets an empty one.
fn info(raw: Option<&RawValue>) -> Arc<str> {
    raw.map_or_else(|| Cow::Borrowed("{}"), |raw| json::compact(raw.get()))
        .into()
}

/// Why a text describes no user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMember {
    /// Not the JSON object it should be.
    #[error("not a JSON object with a user id: {0}")]
    Json(String),
    /// The id is missing, empty, or neither a string nor an integer.
    #[error("the user id must be a non-empty string or an integer")]
    NoId,
    /// The id is longer than [`UserId::MAX_LENGTH`].
    #[error("the user id may have at most {} characters", UserId::MAX_LENGTH)]
    LongId,
    /// The whole is larger than [`UserData::MAX_BYTES`].
    #[error("user_data may have at most {} bytes", UserData::MAX_BYTES)]
    TooBig,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_and_a_string_id_are_the_same_user() {
        let one = Member::from_channel_data(r#"{"user_id":10,"user_info":{"name":"Ann"}}"#)
            .expect("a member");
        let two = Member::from_channel_data(r#"{"user_id": "10"}"#).expect("a member");
        assert_eq!(one.id, two.id);
        assert_eq!(&*one.info, r#"{"name":"Ann"}"#);
        assert_eq!(&*two.info, "{}");
    }

    #[test]
    fn other_ids_are_refused() {
        for id in ["null", "true", "{}", "[1]", "1.5", "1e3", "\"\"", "-"] {
            let data = format!(r#"{{"user_id":{id}}}"#);
            assert!(Member::from_channel_data(&data).is_err(), "{data}");
        }
        assert!(Member::from_channel_data("[]").is_err());
        assert!(Member::from_channel_data(r#"{"user_info":{}}"#).is_err());
        let long = format!(r#"{{"user_id":"{}"}}"#, "é".repeat(129));
        assert_eq!(Member::from_channel_data(&long), Err(InvalidMember::LongId));
    }

    #[test]
    fn what_is_no_watchlist_costs_nobody_its_sign_in() {
        for list in [r#"{"0":"a"}"#, "null", "7", r#"["", true, {}]"#] {
            let user = UserData::parse(&format!(r#"{{"id":"1","watchlist":{list}}}"#)).expect(list);
            assert_eq!(
                (user.watchlist.len(), user.watchlist_cut),
                (0, false),
                "{list}"
            );
        }
        assert!(
            Member::from_channel_data(r#"{"user_id":"1","user_info":{"n":"\ud800"}}"#).is_err()
        );
    }

    #[test]
    fn a_long_watchlist_is_cut_and_says_so() {
        let ids: Vec<String> = (0..101).map(|n| format!("\"{n}\"")).collect();
        let data = format!(r#"{{"id":"1","watchlist":[{}]}}"#, ids.join(","));
        let user = UserData::parse(&data).expect("user data");
        assert_eq!((user.watchlist.len(), user.watchlist_cut), (100, true));
    }
}
