//! The `auth` of channels and users: the right one passes, and nothing else does.

use data_encoding::HEXLOWER;

use crate::protocol::auth::{self, BadAuth};
use crate::protocol::{ChannelName, SocketId};

use super::{Dice, SOCKET, app};

/// Lines: `auth`, channel, and the rest is the channel's data or that of a user.
pub fn channel_auth(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let (Some(auth), channel, data) = (lines.next(), lines.next(), lines.next()) else {
        return;
    };
    let channel = channel.unwrap_or_default();
    let signed = match data {
        Some(data) => format!("{SOCKET}:{channel}:{data}"),
        None => format!("{SOCKET}:{channel}"),
    };
    let right = Right::of(&signed);
    let check = |auth: &str, socket, channel: &str, data: Option<&str>| {
        auth::check_channel(app(), auth, socket, channel, data, 0)
    };
    right.judge(auth, check(auth, SOCKET, channel, data));
    right.judge(&right.auth, check(&right.auth, SOCKET, channel, data));
    let made = auth::channel_auth(app(), SOCKET, channel, data);
    assert_eq!(made, right.auth);
    // Not for anything else.
    let mut dice = Dice::of(text.as_bytes());
    let forged = tampered(&right.auth, &mut dice);
    assert!(check(&forged, SOCKET, channel, data).is_err(), "{forged}");
    assert!(check(&right.auth, SocketId::new(1234, 1235), channel, data).is_err());
    let other = tampered(channel, &mut dice);
    assert!(check(&right.auth, SOCKET, &other, data).is_err(), "{other}");
    match data {
        None => assert!(check(&right.auth, SOCKET, channel, Some("")).is_err()),
        Some(data) => {
            assert!(check(&right.auth, SOCKET, channel, None).is_err());
            let other = tampered(data, &mut dice);
            assert!(check(&right.auth, SOCKET, channel, Some(&other)).is_err());
        }
    }
    // A user is signed in the same words, so that a signature must not serve for both.
    let user = data.unwrap_or(channel);
    let user_right = Right::of(&format!("{SOCKET}::user::{user}"));
    assert_eq!(auth::user_auth(app(), SOCKET, user), user_right.auth);
    user_right.judge(auth, auth::check_user(app(), auth, SOCKET, user, 0));
    user_right.judge(
        &user_right.auth,
        auth::check_user(app(), &user_right.auth, SOCKET, user, 0),
    );
    assert!(
        auth::check_user(
            app(),
            &user_right.auth,
            SOCKET,
            &tampered(user, &mut dice),
            0
        )
        .is_err()
    );
    if ChannelName::check(channel, 200).is_ok() {
        assert!(auth::check_user(app(), &right.auth, SOCKET, user, 0).is_err());
        assert!(check(&user_right.auth, SOCKET, channel, data).is_err());
    }
}

/// The one `auth` that is right.
struct Right {
    auth: String,
}

impl Right {
    fn of(signed: &str) -> Self {
        let signature = HEXLOWER.encode(&app().secret.sign(&[signed.as_bytes()]));
        Self {
            auth: format!("{}:{signature}", app().key),
        }
    }

    fn judge(&self, auth: &str, found: Result<(), BadAuth>) {
        assert_eq!(found.is_ok(), auth == self.auth, "{auth}");
        let Err(bad) = found else { return };
        let why = bad.to_string();
        let signature = &self.auth[app().key.as_str().len() + 1..];
        assert!(
            auth.contains(signature) || !why.contains(signature),
            "it must not be told: {why}"
        );
        assert!(why.chars().count() <= 800, "{why}");
        let (key, _) = auth.split_once(':').unwrap_or_default();
        assert_eq!(matches!(bad, BadAuth::Malformed), !auth.contains(':'));
        assert_eq!(
            matches!(bad, BadAuth::Key(_)),
            auth.contains(':') && key != app().key.as_str()
        );
    }
}

/// The text with another character somewhere, or one more.
pub(super) fn tampered(text: &str, dice: &mut Dice) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = dice.below(chars.len() + 1);
    let other = char::from(32 + dice.below(95) as u8);
    match chars.get_mut(at) {
        Some(c) if *c != other => *c = other,
        _ => chars.insert(at, other),
    }
    chars.into_iter().collect()
}
