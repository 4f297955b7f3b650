//! The strings that get signed, and their check. Every comparison of a signature takes constant time.
//!
//! Source: Pusher Channels, authentication signatures; the HTTP API's authentication.

use std::borrow::Cow;
use std::fmt::Write;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::app::{App, Secret};
use super::socket_id::SocketId;

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

/// Signs the body of a webhook.
#[must_use]
pub fn webhook_signature(secret: &Secret, body: &[u8]) -> [u8; 32] {
    secret.sign(&[body])
}

/// Checks the `auth` of a subscription.
///
/// # Errors
/// What is wrong, in Pusher's words: they name the string that should have been signed, never the right signature.
pub fn check_channel(
    app: &App,
    auth: &str,
    socket_id: SocketId,
    channel: &str,
    channel_data: Option<&str>,
) -> Result<(), BadAuth> {
    let socket_id = socket_id.to_string();
    check_auth(app, auth, &channel_parts(&socket_id, channel, channel_data))
}

/// Checks the `auth` of a sign-in.
///
/// # Errors
/// As for [`check_channel`].
pub fn check_user(
    app: &App,
    auth: &str,
    socket_id: SocketId,
    user_data: &str,
) -> Result<(), BadAuth> {
    check_auth(app, auth, &user_parts(&socket_id.to_string(), user_data))
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

fn check_auth(app: &App, auth: &str, parts: &[&[u8]]) -> Result<(), BadAuth> {
    let (key, signature) = auth.split_once(':').ok_or(BadAuth::Malformed)?;
    if key != app.key.as_str() {
        return Err(BadAuth::Key(shortened(key)));
    }
    match unhex(signature).is_some_and(|signature| app.secret.verify(parts, &signature)) {
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

/// A request to the HTTP API, as it came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// In upper case.
    pub method: &'a str,
    /// As sent, with its percent escapes.
    pub path: &'a str,
    /// As sent, without the question mark.
    pub query: &'a str,
    /// As sent.
    pub body: &'a [u8],
}

/// How far a request's clock may be from ours, in seconds. Source: HTTP API, authentication.
pub const MAX_CLOCK_DIFFERENCE: u64 = 600;

impl Request<'_> {
    /// Checks that the app signed this request, body and all, and not long ago.
    ///
    /// SDKs differ in how they encode what they have signed, so that a handful of readings of the same bytes is tried:
    /// values decoded (`+` as a space, then as itself), lists joined, the path as sent, decoded, and without a prefix.
    ///
    /// # Errors
    /// What is wrong, with the remedy.
    pub fn check(&self, app: &App, unix_time: u64) -> Result<(), Unauthorized> {
        let query = Query::parse(self.query)?;
        let required = |name: &'static str| query.get(name).ok_or(Unauthorized::Missing(name));
        if required("auth_key")? != app.key.as_str() {
            return Err(Unauthorized::Key);
        }
        if query
            .get("auth_version")
            .is_some_and(|version| version != "1.0")
        {
            return Err(Unauthorized::Version);
        }
        let timestamp = required("auth_timestamp")?;
        let sent: u64 = timestamp.parse().map_err(|_| Unauthorized::NotATimestamp)?;
        if sent.abs_diff(unix_time) > MAX_CLOCK_DIFFERENCE {
            return Err(Unauthorized::Timestamp {
                sent,
                server: unix_time,
            });
        }
        self.check_body(query.get("body_md5"))?;
        let signature = required("auth_signature")?;
        let verified = unhex(signature).is_some_and(|signature| {
            self.readings(&query)
                .any(|to_sign| app.secret.verify(&[to_sign.as_bytes()], &signature))
        });
        if verified {
            return Ok(());
        }
        let to_sign = self.string_to_sign(self.path, &query.pairs);
        Err(Unauthorized::Signature {
            to_sign: shortened(&to_sign).replace('\n', "\\n"),
            got: shortened(signature),
        })
    }

    fn check_body(&self, claimed: Option<&str>) -> Result<(), Unauthorized> {
        match claimed {
            None if self.body.is_empty() => Ok(()),
            None => Err(Unauthorized::Missing("body_md5")),
            Some(claimed) => {
                let real = HEXLOWER.encode(&Md5::digest(self.body));
                match real.as_bytes().ct_eq(claimed.as_bytes()).into() {
                    true => Ok(()),
                    false => Err(Unauthorized::BodyMd5),
                }
            }
        }
    }

    /// Every string that the sender may have signed, most likely first.
    fn readings<'q>(&'q self, query: &'q Query<'q>) -> impl Iterator<Item = String> + 'q {
        let paths = {
            let decoded = decode(self.path, false);
            // Behind a prefix, ours or a proxy's, SDKs sign what follows it.
            let inner = |path: &str| {
                path.rfind("/apps/")
                    .filter(|at| *at > 0)
                    .map(|at| path[at..].to_owned())
            };
            let mut paths = vec![Cow::Borrowed(self.path)];
            for path in [
                inner(self.path),
                inner(&decoded),
                Some(decoded.into_owned()),
            ]
            .into_iter()
            .flatten()
            {
                if !paths.contains(&Cow::Borrowed(&*path)) {
                    paths.push(Cow::Owned(path));
                }
            }
            paths
        };
        let queries = [
            Some(&query.pairs),
            query.plus_literal.as_ref(),
            query.joined.as_ref(),
        ];
        queries.into_iter().flatten().flat_map(move |pairs| {
            let paths = paths.clone();
            paths
                .into_iter()
                .map(move |path| self.string_to_sign(&path, pairs))
        })
    }

    fn string_to_sign(self, path: &str, pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> String {
        let mut text = String::with_capacity(self.method.len() + path.len() + self.query.len() + 2);
        let _ = write!(text, "{}\n{path}\n", self.method);
        let signed = pairs.iter().filter(|(key, _)| key != "auth_signature");
        for (n, (key, value)) in signed.enumerate() {
            let and = if n == 0 { "" } else { "&" };
            let _ = write!(text, "{and}{key}={value}");
        }
        text
    }
}

/// The parameters of a request, in the order in which they are signed.
#[derive(Debug)]
pub struct Query<'a> {
    /// Values decoded, `+` as a space.
    pairs: Pairs<'a>,
    /// The same with `+` as itself, where that makes a difference.
    plus_literal: Option<Pairs<'a>>,
    /// The same with `k[0]=a&k[1]=b` joined to `k=a,b`, as PHP signs it.
    joined: Option<Pairs<'a>>,
}

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

impl<'a> Query<'a> {
    /// More parameters than any SDK sends.
    const MAX: usize = 64;

    /// Takes a query apart.
    ///
    /// # Errors
    /// A parameter that comes twice, which no two readers would understand alike; or far too many.
    pub fn parse(query: &'a str) -> Result<Self, Unauthorized> {
        let raw = || {
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        };
        if raw().count() > Self::MAX {
            return Err(Unauthorized::TooManyParameters);
        }
        let read = |plus_is_space: bool| {
            let mut pairs: Pairs<'a> = raw()
                .map(|(key, value)| {
                    (
                        lower(decode(key, plus_is_space)),
                        decode(value, plus_is_space),
                    )
                })
                .collect();
            // The order in which they came decides among the items of a list.
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            pairs
        };
        let pairs = read(true);
        let is_list = |key: &str| key.ends_with(']');
        if let Some(twice) = pairs
            .windows(2)
            .find(|two| two[0].0 == two[1].0 && !is_list(&two[0].0))
        {
            return Err(Unauthorized::Twice(shortened(&twice[0].0)));
        }
        let plus_literal = query.contains('+').then(|| read(false));
        let joined = pairs
            .iter()
            .any(|(key, _)| is_list(key))
            .then(|| join_lists(&pairs));
        Ok(Self {
            pairs,
            plus_literal,
            joined,
        })
    }

    /// The value of a parameter, decoded; lists are joined by commas.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let pairs = self.joined.as_ref().unwrap_or(&self.pairs);
        pairs
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| &**value)
    }
}

fn join_lists<'a>(pairs: &Pairs<'a>) -> Pairs<'a> {
    let mut joined: Pairs<'a> = Vec::new();
    for (key, value) in pairs {
        let name = key
            .split_once('[')
            .filter(|_| key.ends_with(']'))
            .map_or(&**key, |(name, _)| name);
        match joined.iter_mut().find(|(k, _)| k == name) {
            Some((_, all)) => *all = format!("{all},{value}").into(),
            None => joined.push((name.to_owned().into(), value.clone())),
        }
    }
    joined.sort_by(|a, b| a.0.cmp(&b.0));
    joined
}

fn lower(key: Cow<'_, str>) -> Cow<'_, str> {
    match key.bytes().any(|b| b.is_ascii_uppercase()) {
        true => key.to_ascii_lowercase().into(),
        false => key,
    }
}

/// Decodes percent escapes. What is no escape, or no UTF-8 once decoded, stays as it is.
#[must_use]
pub fn decode(text: &str, plus_is_space: bool) -> Cow<'_, str> {
    if !text
        .bytes()
        .any(|b| b == b'%' || (plus_is_space && b == b'+'))
    {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |n: usize| bytes.get(at + n).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Why a request is not signed by the app.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unauthorized {
    /// A parameter that must be there is not.
    #[error("Missing parameter in the query: {0}")]
    Missing(&'static str),
    /// The key is not the one of the app in the path.
    #[error("auth_key is not a key of this app")]
    Key,
    /// Not the version of signatures that there is.
    #[error("auth_version must be 1.0")]
    Version,
    /// The timestamp is no whole number.
    #[error("auth_timestamp must be a number of seconds since 1970")]
    NotATimestamp,
    /// Signed too long ago, or in the future.
    #[error(
        "Timestamp expired: auth_timestamp {sent} is more than {MAX_CLOCK_DIFFERENCE} s from the server's {server}; check both clocks"
    )]
    Timestamp {
        /// The request's, in seconds since 1970.
        sent: u64,
        /// Ours.
        server: u64,
    },
    /// The body was changed after it was hashed.
    #[error("body_md5 is not the MD5 of the body as received")]
    BodyMd5,
    /// A parameter comes twice.
    #[error("the parameter {0:?} comes twice")]
    Twice(String),
    /// More parameters than any SDK sends.
    #[error("more than {} parameters", Query::MAX)]
    TooManyParameters,
    /// The wrong secret, or another request than the one that was signed.
    #[error(
        "Invalid signature: you should have sent HmacSHA256Hex(\"{to_sign}\", your_secret_key), but you sent \"{got}\""
    )]
    Signature {
        /// What should have been signed.
        to_sign: String,
        /// What came instead of its signature.
        got: String,
    },
}
