//! The strings that get signed, and their check. Every comparison of a signature takes constant time.
//!
//! Source: Pusher Channels, authentication signatures; the HTTP API's authentication.

mod request;

use data_encoding::HEXLOWER;

use super::app::App;
use super::secret::Secret;
use super::socket_id::SocketId;

pub use request::{MAX_CLOCK_DIFFERENCE, Query, Request, Unauthorized, decode};

/// Signs `{socket_id}:{channel}`, for presence channels followed by `:{channel_data}`.
#[must_use]
pub fn channel_signature(
    secret: &Secret,
    socket_id: SocketId,
    channel: &str,
    channel_data: Option<&str>,
) -> [u8; 32] {
    secret.sign(&channel_parts(
        &socket_id.to_string(),
        channel,
        channel_data,
    ))
}

/// Signs `{socket_id}::user::{user_data}`.
#[must_use]
pub fn user_signature(secret: &Secret, socket_id: SocketId, user_data: &str) -> [u8; 32] {
    secret.sign(&user_parts(&socket_id.to_string(), user_data))
}

/// What an app's backend answers when pusher-js asks for a private or presence channel: `key:signature`, for the `auth` of
/// the response. `channel_data` says who comes, on presence channels.
/// ```
/// use reverb_core::protocol::{App, SocketId, auth};
///
/// let app = App::new("1001", "app-key", "app-secret")?;
/// let socket_id = SocketId::new(1234, 5678);
/// let signed = auth::channel_auth(&app, socket_id, "private-orders", None);
/// assert!(auth::check_channel(&app, &signed, socket_id, "private-orders", None, 0).is_ok());
/// # Ok::<(), reverb_core::protocol::InvalidApp>(())
/// ```
#[must_use]
pub fn channel_auth(
    app: &App,
    socket_id: SocketId,
    channel: &str,
    channel_data: Option<&str>,
) -> String {
    let signature = channel_signature(&app.secret, socket_id, channel, channel_data);
    format!("{}:{}", app.key, HEXLOWER.encode(&signature))
}

/// What an app's backend answers when pusher-js asks to sign its user in: `key:signature`, for the `auth` beside
/// `user_data`.
#[must_use]
pub fn user_auth(app: &App, socket_id: SocketId, user_data: &str) -> String {
    let signature = user_signature(&app.secret, socket_id, user_data);
    format!("{}:{}", app.key, HEXLOWER.encode(&signature))
}

/// Signs the body of a webhook.
#[must_use]
pub fn webhook_signature(secret: &Secret, body: &[u8]) -> [u8; 32] {
    secret.sign(&[body])
}

/// Checks the `auth` of a subscription, at this second since 1970: an old secret is accepted for a while.
///
/// # Errors
/// What is wrong, in Pusher's words: they name the string that should have been signed, never the right signature.
pub fn check_channel(
    app: &App,
    auth: &str,
    socket_id: SocketId,
    channel: &str,
    channel_data: Option<&str>,
    unix_time: u64,
) -> Result<(), BadAuth> {
    let socket_id = socket_id.to_string();
    let parts = channel_parts(&socket_id, channel, channel_data);
    check_auth(app, auth, &parts, unix_time)
}

/// Checks the `auth` of a sign-in, at this second since 1970.
///
/// # Errors
/// As for [`check_channel`].
pub fn check_user(
    app: &App,
    auth: &str,
    socket_id: SocketId,
    user_data: &str,
    unix_time: u64,
) -> Result<(), BadAuth> {
    let socket_id = socket_id.to_string();
    check_auth(app, auth, &user_parts(&socket_id, user_data), unix_time)
}

fn channel_parts<'a>(
    socket_id: &'a str,
    channel: &'a str,
    channel_data: Option<&'a str>,
) -> [&'a [u8]; 5] {
    let (colon, data): (&[u8], &[u8]) =
        channel_data.map_or((b"", b""), |data| (b":", data.as_bytes()));
    [socket_id.as_bytes(), b":", channel.as_bytes(), colon, data]
}

fn user_parts<'a>(socket_id: &'a str, user_data: &'a str) -> [&'a [u8]; 3] {
    [socket_id.as_bytes(), b"::user::", user_data.as_bytes()]
}

fn check_auth(app: &App, auth: &str, parts: &[&[u8]], unix_time: u64) -> Result<(), BadAuth> {
    let (key, signature) = auth.split_once(':').ok_or(BadAuth::Malformed)?;
    if key != app.key.as_str() {
        return Err(BadAuth::Key(shortened(key)));
    }
    match unhex(signature).is_some_and(|signature| app.verify(parts, &signature, unix_time)) {
        true => Ok(()),
        false => {
            let signed = String::from_utf8_lossy(&parts.concat()).into_owned();
            Err(BadAuth::Signature {
                signed: shortened(&signed),
                got: shortened(signature),
            })
        }
    }
}

/// Reads 64 lower-case hex digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    (text.len() == 64).then_some(())?;
    HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok()?;
    Some(bytes)
}

/// What a client sent goes back into its error message, but not without end.
fn shortened(text: &str) -> String {
    const MAX: usize = 300;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Why a subscription or a sign-in is not signed by the app.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAuth {
    /// Not of the form `key:signature`.
    #[error("Invalid auth: expected 'key:signature'")]
    Malformed,
    /// Another app's key.
    #[error("Invalid key in subscription auth data: '{0}'")]
    Key(String),
    /// Not the signature of this string.
    #[error("Invalid signature: Expected HMAC SHA256 hex digest of {signed}, but got {got}")]
    Signature {
        /// What should have been signed.
        signed: String,
        /// What came instead of its signature.
        got: String,
    },
}
