//! The signature of a request to the HTTP API.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::{shortened, unhex};
use crate::protocol::App;

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
        let query = self.check_claims(app, unix_time)?;
        let required = |name: &'static str| query.get(name).ok_or(Unauthorized::Missing(name));
        self.check_body(query.get("body_md5"))?;
        let signature = required("auth_signature")?;
        let verified = unhex(signature).is_some_and(|signature| {
            // As it came is what nearly everybody signed.
            let signed = |path: &str, pairs: &Pairs<'_>| {
                app.verify(&self.parts(path, pairs), &signature, unix_time)
            };
            signed(self.path, &query.pairs)
                || query
                    .readings()
                    .any(|pairs| self.paths().any(|path| signed(&path, pairs)))
        });
        if verified {
            return Ok(());
        }
        let to_sign = String::from_utf8_lossy(&self.parts(self.path, &query.pairs).concat())
            .replace('\n', "\\n");
        Err(Unauthorized::Signature {
            to_sign: shortened(&to_sign),
            got: shortened(signature),
        })
    }

    /// The part of [`Self::check`] that needs no body and proves nothing: whom the request says it is from, and when it was
    /// signed. Whoever fails here need not be read further.
    ///
    /// # Errors
    /// What is wrong, with the remedy.
    pub fn check_claims(&self, app: &App, unix_time: u64) -> Result<Query<'_>, Unauthorized> {
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
        let is_number = timestamp.bytes().all(|b| b.is_ascii_digit());
        let sent = timestamp.parse::<u64>().ok().filter(|_| is_number);
        let sent = sent.ok_or(Unauthorized::NotATimestamp)?;
        if sent.abs_diff(unix_time) > MAX_CLOCK_DIFFERENCE {
            return Err(Unauthorized::Timestamp {
                sent,
                server: unix_time,
            });
        }
        Ok(query)
    }

    fn check_body(&self, claimed: Option<&str>) -> Result<(), Unauthorized> {
        match claimed {
            None if self.body.is_empty() => Ok(()),
            None => Err(Unauthorized::Missing("body_md5")),
            Some(claimed) => {
                let mut real = [0; 32];
                HEXLOWER.encode_mut(&Md5::digest(self.body), &mut real);
                match real.ct_eq(claimed.as_bytes()).into() {
                    true => Ok(()),
                    false => Err(Unauthorized::BodyMd5),
                }
            }
        }
    }

    /// Every path that the sender may have signed. Behind a prefix, ours or a proxy's, SDKs sign what follows it.
    fn paths(&self) -> impl Iterator<Item = Cow<'_, str>> {
        // Hardly anybody signs anything but what is sent.
        let others = || {
            let decoded = decode(self.path, false);
            let inner = |path: &str| {
                path.rfind("/apps/")
                    .filter(|at| *at > 0)
                    .map(|at| path[at..].to_owned().into())
            };
            let (sent, within) = (inner(self.path), inner(&decoded));
            [Some(decoded), sent, within]
        };
        let others = std::iter::once_with(others).flatten().flatten();
        std::iter::once(Cow::Borrowed(self.path)).chain(others)
    }

    /// The string to sign, in pieces: method, path and parameters, a line each.
    fn parts<'p>(&'p self, path: &'p str, pairs: &'p Pairs<'_>) -> Vec<&'p [u8]> {
        let mut parts = Vec::with_capacity(4 + 4 * pairs.len());
        parts.extend([self.method.as_bytes(), b"\n", path.as_bytes(), b"\n"]);
        let signed = pairs.iter().filter(|(key, _)| key != "auth_signature");
        for (n, (key, value)) in signed.enumerate() {
            let and: &[u8] = if n == 0 { b"" } else { b"&" };
            parts.extend([and, key.as_bytes(), b"=", value.as_bytes()]);
        }
        parts
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
        let most = memchr::memchr_iter(b'&', query.as_bytes()).count() + 1;
        if most > Self::MAX && pieces(query).count() > Self::MAX {
            return Err(Unauthorized::TooManyParameters);
        }
        // Few queries have escapes, and each has ten places for them.
        let is_plain = memchr::memchr2(b'%', b'+', query.as_bytes()).is_none();
        let decode = |text, plus_is_space| match is_plain {
            true => Cow::Borrowed(text),
            false => decode(text, plus_is_space),
        };
        let read = |plus_is_space: bool| {
            let mut pairs: Pairs<'a> = Vec::with_capacity(most.min(Self::MAX));
            pairs.extend(pieces(query).map(|(key, value)| {
                (
                    lower(decode(key, plus_is_space)),
                    decode(value, plus_is_space),
                )
            }));
            pairs
        };
        let mut pairs = read(true);
        let is_list = |key: &str| key.ends_with(']');
        // Before they are sorted, where `k[10]` comes before `k[2]`.
        let joined = pairs
            .iter()
            .any(|(key, _)| is_list(key))
            .then(|| join_lists(&pairs));
        sort(&mut pairs);
        if let Some(twice) = pairs
            .windows(2)
            .find(|two| two[0].0 == two[1].0 && !is_list(&two[0].0))
        {
            return Err(Unauthorized::Twice(shortened(&twice[0].0)));
        }
        let plus_literal = (!is_plain && query.contains('+')).then(|| {
            let mut pairs = read(false);
            sort(&mut pairs);
            pairs
        });
        Ok(Self {
            pairs,
            plus_literal,
            joined,
        })
    }

    /// Every way in which the sender may have read its own parameters, most likely first.
    fn readings(&self) -> impl Iterator<Item = &Pairs<'a>> {
        [
            Some(&self.pairs),
            self.plus_literal.as_ref(),
            self.joined.as_ref(),
        ]
        .into_iter()
        .flatten()
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

/// A query's keys and values as they were sent. What has no `=` has no value; what is empty is passed over.
fn pieces(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let (mut start, mut value) = (0, None);
    let ends = memchr::memchr2_iter(b'&', b'=', query.as_bytes()).chain([query.len()]);
    ends.filter_map(move |at| {
        if query.as_bytes().get(at) == Some(&b'=') {
            value = value.or(Some(at + 1));
            return None;
        }
        let from = std::mem::replace(&mut start, at + 1);
        let (key, value) = match value.take() {
            Some(value) => (&query[from..value - 1], &query[value..at]),
            None => (&query[from..at], ""),
        };
        (from < at).then_some((key, value))
    })
}

/// Those with one key, as the items of a list may be, stay in the order in which they came.
fn sort(pairs: &mut Pairs<'_>) {
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
}

/// Puts the items of each list together, in the order in which they came.
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
    sort(&mut joined);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_falls_apart_at_ampersands_and_at_the_first_equals_signs() {
        let mut queries = vec![String::new()];
        for _ in 0..7 {
            for n in 0..queries.len() {
                let longer = ["a", "é", "=", "&"].map(|next| format!("{}{next}", queries[n]));
                queries.extend(longer);
            }
            queries.sort();
            queries.dedup();
        }
        for query in queries {
            let pairs = query.split('&').filter(|pair| !pair.is_empty());
            let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            assert!(pieces(&query).eq(pairs), "{query:?}");
        }
    }
}
