//! Requests to the HTTP API: what is signed passes, and nothing else does.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};

use crate::protocol::App;
use crate::protocol::auth::{self, MAX_CLOCK_DIFFERENCE, Query, Request, Unauthorized};

use super::signatures::tampered;
use super::{Dice, app};

/// When the requests of the published test vectors were signed.
const TIME: u64 = 1_353_088_179;

/// Lines: method, path, query, and the rest is the body. The query is tried as it stands, and then its parameters are
/// signed and sent as SDKs do.
pub fn signed_request(data: &[u8]) {
    let mut lines = data.splitn(4, |b| *b == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, path, query, body) = (line(), line(), line(), line());
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (Some(method), Some(path), Some(query)) = (text(method), text(path), text(query)) else {
        return;
    };
    let request = Request {
        method,
        path,
        query,
        body,
    };
    as_it_stands(&request);
    let mut dice = Dice::of(data);
    let style = [Style::Encoded, Style::Plus, Style::Raw][dice.below(3)];
    signed(&request, style, &mut dice);
    let decoded = auth::decode(path, false);
    assert!(decoded.len() <= path.len());
    assert_eq!(decoded, decode(path, false));
    assert_eq!(auth::decode(&encode(path, "%20"), false), path);
    assert_eq!(auth::decode(&encode(path, "+"), true), path);
}

/// What passes has the right signature over one of the readings that SDKs have of it.
fn as_it_stands(request: &Request<'_>) {
    if let Ok(query) = Query::parse(request.query) {
        // Everything but a list that is one item reads as it stands.
        for (key, value) in pairs(request.query, true) {
            if !request.query.contains(']') && !request.query.contains("%5") {
                assert_eq!(query.get(&key), Some(&*value), "{key}");
            }
        }
    }
    for time in [TIME, 0] {
        match request.check(app(), time) {
            Ok(()) => {
                assert_eq!(time, TIME, "it was signed in 2012");
                let hash = ("body_md5".to_owned(), md5(request.body));
                assert!(request.body.is_empty() || pairs(request.query, true).contains(&hash));
                let readings = readings(request.query);
                let signature = pairs(request.query, true)
                    .into_iter()
                    .find(|(key, _)| key == "auth_signature");
                let (_, signature) = signature.expect("a signature");
                let is_right = readings.iter().any(|query| {
                    paths(request.path)
                        .iter()
                        .any(|path| sign(app(), request.method, path, query) == signature)
                });
                assert!(is_right, "{request:?}");
            }
            Err(why) => assert!(why.to_string().chars().count() <= 4000, "{why}"),
        }
    }
}

/// How an SDK writes what it has signed.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// Everything but letters and digits percent-encoded.
    Encoded,
    /// A space as a plus, as forms have it.
    Plus,
    /// As it is.
    Raw,
}

impl Style {
    fn write(self, text: &str) -> Option<String> {
        match self {
            Self::Encoded => Some(encode(text, "%20")),
            Self::Plus => Some(encode(text, "+")),
            // What means something in a query cannot be sent so.
            Self::Raw => (!text.contains(['&', '=', '%', '+'])).then(|| text.to_owned()),
        }
    }
}

/// Signs the request, which then passes; and not when anything of it is changed.
fn signed(request: &Request<'_>, style: Style, dice: &mut Dice) {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in request
        .query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
    {
        let key = key.to_ascii_lowercase();
        if !key.starts_with("auth_") && !key.contains(['[', ']']) && parameters.len() < 50 {
            parameters.insert(key, value.to_owned());
        }
    }
    let md5 = md5(request.body);
    let own = [
        ("auth_key", app().key.as_str()),
        ("auth_timestamp", "1353088179"),
        ("auth_version", "1.0"),
        ("body_md5", &md5),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    parameters.extend(own);
    let to_sign: Vec<String> = parameters.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let to_sign = to_sign.join("&");
    let signature = sign(app(), request.method, request.path, &to_sign);
    let mut sent = Vec::new();
    for (key, value) in &parameters {
        let (Some(key), Some(value)) = (style.write(key), style.write(value)) else {
            return;
        };
        sent.push(format!("{key}={value}"));
    }
    // The order in which they come must not matter, nor upper case in a name.
    let count = sent.len();
    sent.rotate_left(dice.below(count));
    sent.insert(dice.below(count), format!("AUTH_signature={signature}"));
    let sent = sent.join("&");
    let right = Request {
        query: &sent,
        ..*request
    };
    assert_eq!(right.check(app(), TIME), Ok(()), "{style:?}: {right:?}");
    let read = Query::parse(&sent).expect("a query");
    for (key, value) in &parameters {
        assert_eq!(read.get(key), Some(&**value), "{key}");
    }
    for (time, is_in_time) in [
        (TIME + MAX_CLOCK_DIFFERENCE, true),
        (TIME - MAX_CLOCK_DIFFERENCE, true),
        (TIME + MAX_CLOCK_DIFFERENCE + 1, false),
        (TIME - MAX_CLOCK_DIFFERENCE - 1, false),
    ] {
        assert_eq!(right.check(app(), time).is_ok(), is_in_time, "{time}");
    }
    let stranger = App::new("3", app().key.as_str(), "another").expect("an app");
    assert!(right.check(&stranger, TIME).is_err());
    changed(&right, &to_sign, dice);
}

fn changed(right: &Request<'_>, to_sign: &str, dice: &mut Dice) {
    // Signed without a hash, a body could be anything.
    let unhashed: Vec<&str> = to_sign
        .split('&')
        .filter(|pair| !pair.starts_with("body_md5="))
        .collect();
    let unhashed = unhashed.join("&");
    if Query::parse(&unhashed).is_ok() && readings(&unhashed)[0] == unhashed {
        let signature = sign(app(), right.method, right.path, &unhashed);
        let query = format!("{unhashed}&auth_signature={signature}");
        let other = Request {
            query: &query,
            ..*right
        };
        let expected = match right.body {
            [] => Ok(()),
            _ => Err(Unauthorized::Missing("body_md5")),
        };
        assert_eq!(other.check(app(), TIME), expected);
    }
    let mut body = right.body.to_vec();
    match body.len() {
        0 => body.push(0),
        length => body[dice.below(length)] ^= 1 << dice.below(8),
    }
    let other = Request {
        body: &body,
        ..*right
    };
    assert_eq!(other.check(app(), TIME), Err(Unauthorized::BodyMd5));
    let method = tampered(right.method, dice);
    let other = Request {
        method: &method,
        ..*right
    };
    assert!(other.check(app(), TIME).is_err(), "{other:?}");
    let path = tampered(right.path, dice);
    if !paths(&path).iter().any(|path| path == right.path) {
        let other = Request {
            path: &path,
            ..*right
        };
        assert!(other.check(app(), TIME).is_err(), "{other:?}");
    }
    for _ in 0..4 {
        let query = tampered(right.query, dice);
        // It may mean the same as before: a digit of an escape, or a letter of a name, in the other case.
        let means_the_same = readings(&query).iter().any(|reading| reading == to_sign)
            && pairs(&query, true).contains(&(
                "auth_signature".to_owned(),
                sign(app(), right.method, right.path, to_sign),
            ));
        if !means_the_same {
            let other = Request {
                query: &query,
                ..*right
            };
            assert!(other.check(app(), TIME).is_err(), "{other:?}");
        }
    }
}

fn md5(body: &[u8]) -> String {
    HEXLOWER.encode(&Md5::digest(body))
}

fn sign(app: &App, method: &str, path: &str, query: &str) -> String {
    HEXLOWER.encode(
        &app.secret
            .sign(&[format!("{method}\n{path}\n{query}").as_bytes()]),
    )
}

fn encode(text: &str, space: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push_str(space),
            b if b.is_ascii_alphanumeric() => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// Decodes percent escapes, unless that would be no text any more.
fn decode(text: &str, plus_is_space: bool) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after
            .get(..2)
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &after[2..];
                continue;
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            _ => out.push(*first),
        }
        rest = after;
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn pairs(query: &str, plus_is_space: bool) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| {
            (
                decode(key, plus_is_space).to_ascii_lowercase(),
                decode(value, plus_is_space),
            )
        })
        .collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}

/// What may have been signed: with `+` as a space, with `+` as itself, and with lists joined.
fn readings(query: &str) -> Vec<String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in pairs(query, true) {
        let is_list = key.ends_with(']');
        let name = key
            .split_once('[')
            .filter(|_| is_list)
            .map_or(&*key, |(name, _)| name);
        match joined.get_mut(name) {
            Some(all) => *all = format!("{all},{value}"),
            None => {
                joined.insert(name.to_owned(), value);
            }
        }
    }
    [
        pairs(query, true),
        pairs(query, false),
        joined.into_iter().collect(),
    ]
    .map(|pairs| {
        let signed = pairs.iter().filter(|(key, _)| key != "auth_signature");
        let signed: Vec<String> = signed.map(|(k, v)| format!("{k}={v}")).collect();
        signed.join("&")
    })
    .to_vec()
}

/// The path as sent, decoded, and without what stands before `/apps/`.
fn paths(path: &str) -> Vec<String> {
    let decoded = decode(path, false);
    let within = |path: &str| path.rfind("/apps/").map(|at| path[at..].to_owned());
    [
        Some(path.to_owned()),
        Some(decoded.clone()),
        within(path),
        within(&decoded),
    ]
    .into_iter()
    .flatten()
    .collect()
}
