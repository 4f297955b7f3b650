//! Requests to the HTTP API that the app has not signed, or that are not the ones it signed: none is obeyed. And the
//! liberties that SDKs take, each of which is.

use reverb_core::protocol::App;

use crate::backend::{Backend, claims, event_to, md5, query, request, sign};
use crate::client::Client;
use crate::server::{Server, other, shop, unix_time};
use crate::wire::Wire;

const PATH: &str = "/apps/1001/events";

/// The body of every request here.
fn body() -> String {
    event_to("a", "forged", "1")
}

/// A request made of parts that need not fit.
struct Made {
    method: &'static str,
    path: String,
    query: String,
    body: Vec<u8>,
}

impl Made {
    fn new(query: String) -> Self {
        let (path, body) = (PATH.to_owned(), body().into_bytes());
        Self {
            method: "POST",
            path,
            query,
            body,
        }
    }

    /// Signed with these claims.
    fn with(pairs: &[(&str, String)]) -> Self {
        let signature = sign(&shop(), &format!("POST\n{PATH}\n{}", query(pairs)));
        Self::new(format!("{}&auth_signature={signature}", query(pairs)))
    }

    fn good() -> Self {
        Self::with(&good())
    }

    /// Signed with another value for one claim, or, if that is nothing, without it.
    fn claiming(name: &'static str, value: Option<&str>) -> Self {
        let mut pairs = good();
        pairs.retain(|(key, _)| *key != name);
        pairs.extend(value.map(|value| (name, value.to_owned())));
        pairs.sort_unstable();
        Self::with(&pairs)
    }

    /// Signed so many seconds from now.
    fn at(seconds: i64) -> Self {
        let time = unix_time().saturating_add_signed(seconds);
        Self::claiming("auth_timestamp", Some(&time.to_string()))
    }

    /// Signed with this app's secret, and with a key that may be another's.
    fn by(app: &App, key: &str, path: &str) -> Self {
        let mut pairs = good();
        pairs[0].1 = key.to_owned();
        let signature = sign(app, &format!("POST\n{path}\n{}", query(&pairs)));
        let made = Self::new(format!("{}&auth_signature={signature}", query(&pairs)));
        Self {
            path: path.to_owned(),
            ..made
        }
    }

    /// Sent with another query than it was signed with.
    fn sent(self, change: impl FnOnce(&str) -> String) -> Self {
        Self {
            query: change(&self.query),
            ..self
        }
    }

    /// Sent with another body than it was signed with.
    fn saying(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// The same on its way elsewhere.
    fn to(self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self
        }
    }

    fn bytes(&self, headers: &str) -> Vec<u8> {
        let Self {
            method,
            path,
            query,
            body,
        } = self;
        let length = body.len();
        let head = format!("{method} {path}?{query} HTTP/1.1\r\nHost: x\r\n{headers}");
        let head = format!("{head}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }
}

/// The claims of a good request, the key first.
fn good() -> Vec<(&'static str, String)> {
    claims(&shop(), unix_time(), body().as_bytes())
}

/// What may be done to a query: `{q}` stands for what was signed, `{s}` for the signature, `{0}` for zeros in its place.
const QUERIES: &str = "{q}
{q}&auth_signature=
{q}&auth_signature={0}
{q}&auth_signature={s}0
{q}&auth_signature={s}{s}
{q}&auth_signature={s}%20
{q}&auth_signature={s}%00
{q}&auth_signature=+{s}
{q}&auth_signature={s}&auth_signature={s}
auth_signature={0}&{q}&auth_signature={s}
{q}&auth_signature={s}&auth_signature={0}
{q}&auth_signature={s}&AUTH_SIGNATURE={s}
{q}&auth_signature[]={s}&auth_signature[]={s}
{q}&auth_key=app-key&auth_signature={s}
{q}&auth_key=other-key&auth_signature={s}
{q}&Auth_Key=other-key&auth_signature={s}
{q}&auth_key[0]=other-key&auth_signature={s}
{q}&auth_timestamp=9999999999&auth_signature={s}
{q}&body_md5={0}&auth_signature={s}
{q}&x=y&auth_signature={s}
{q}&x&auth_signature={s}
{q}&=&auth_signature={s}
?{q}&auth_signature={s}";

/// What no time is; `T` stands for the time.
const TIMES: &str = "0
-1
soon
1e9
NaN
0x65000000
18446744073709551615
18446744073709551616
１７０００００００００
-T
+T
T.0
Ts
T000
T,T";

fn forgeries() -> Vec<(String, Made)> {
    let (good, text, now) = (Made::good(), body(), unix_time().to_string());
    let (rest, signature) = good
        .query
        .rsplit_once("&auth_signature=")
        .expect("a signature");
    let mut all: Vec<(String, Made)> = Vec::new();
    let mut forged = |what: &str, made: Made| all.push((what.to_owned(), made));
    let zeros = "0".repeat(64);
    for query in QUERIES.lines() {
        let made = query
            .replace("{q}", rest)
            .replace("{s}", signature)
            .replace("{0}", &zeros);
        forged(query, Made::new(made));
    }
    let upside_down: String = signature.chars().rev().collect();
    for changed in [
        &signature[..63],
        &signature[..32],
        &signature.to_uppercase(),
        &upside_down,
    ] {
        let query = format!("{rest}&auth_signature={changed}");
        forged(&format!("signature {changed}"), Made::new(query));
    }
    for (from, to) in [
        ("auth_key", "auth%255Fkey"),
        ("app-key", "app%252Dkey"),
        ("1.0", "1.%2530"),
    ] {
        forged(to, Made::good().sent(|query| query.replace(from, to)));
    }
    forged(
        "seventy more",
        Made::good().sent(|query| format!("{query}{}", "&a=".repeat(70))),
    );
    // What lies too far ahead comes nearer while the others are tried.
    for seconds in [-602, 660, -3600, 3600, -86_400 * 365, 86_400 * 365] {
        forged(&format!("{seconds} s away"), Made::at(seconds));
    }
    for time in TIMES.lines().map(|time| time.replace('T', &now)) {
        forged(
            &format!("at {time}"),
            Made::claiming("auth_timestamp", Some(&time)),
        );
    }
    for name in ["auth_key", "auth_timestamp", "body_md5"] {
        forged(&format!("without {name}"), Made::claiming(name, None));
        forged(
            &format!("with an empty {name}"),
            Made::claiming(name, Some("")),
        );
    }
    for version in ["", "0", "2.0", "1", "1.00", " 1.0"] {
        forged(
            &format!("version {version:?}"),
            Made::claiming("auth_version", Some(version)),
        );
    }
    for key in [
        "nobody",
        "other-key",
        "APP-KEY",
        "app-key ",
        "app-secret",
        "1001",
        "app-key\0",
    ] {
        forged(&format!("key {key:?}"), Made::by(&shop(), key, PATH));
    }
    let theirs = "/apps/2002/events";
    forged("another app's secret", Made::by(&other(), "app-key", PATH));
    forged(
        "another app's key and secret",
        Made::by(&other(), "other-key", PATH),
    );
    forged("ours for another app", Made::by(&shop(), "app-key", theirs));
    forged(
        "ours for another app, with its key",
        Made::by(&shop(), "other-key", theirs),
    );
    let right = md5(text.as_bytes());
    for (what, md5) in [
        ("zeros", "0".repeat(32)),
        ("of nothing", md5(b"")),
        ("in capitals", right.to_uppercase()),
        ("cut short", right[..31].to_owned()),
        ("with a digit more", format!("{right}0")),
        (
            "of the body in other words",
            md5(text.replace(',', ", ").as_bytes()),
        ),
    ] {
        forged(
            &format!("MD5 {what}"),
            Made::claiming("body_md5", Some(&md5)),
        );
    }
    let another = text.replace("\"1\"", "\"2\"");
    forged("another body", Made::good().saying(another.clone()));
    forged(
        "a blank behind the body",
        Made::good().saying(format!("{text} ")),
    );
    forged(
        "a body without its end",
        Made::good().saying(&text.as_bytes()[..text.len() - 1]),
    );
    forged("no body", Made::good().saying(""));
    let its_own = md5(another.as_bytes());
    let made = Made::good().sent(|query| query.replace(&right, &its_own));
    forged("another body with its own MD5", made.saying(another));
    // Taken from one request and used for another.
    for path in [
        "/apps/1001/batch_events",
        "/apps/1001/users/1/terminate_connections",
        "//apps/1001/events",
    ] {
        forged(&format!("for {path}"), Made::good().to(path));
    }
    for method in ["PUT", "PATCH", "post"] {
        forged(
            &format!("by {method}"),
            Made {
                method,
                ..Made::good()
            },
        );
    }
    let read = String::from_utf8(request(&shop(), "GET", "/channels", &[], b"")).expect("text");
    let query = read.split(['?', ' ']).nth(2).expect("a query").to_owned();
    forged("a signature for reading", Made::new(query));
    all
}

#[test]
fn no_forged_request_is_obeyed() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    let mut stranger = Client::enter(&server, &other());
    client.subscribe("a");
    stranger.subscribe("a");
    let all = forgeries();
    let mut wrong = Vec::new();
    for (what, made) in &all {
        // By the door that reads plain publishes, and by the one that reads everything else.
        for headers in ["", "Connection: close\r\n"] {
            let mut wire = Wire::connect(&server).about(what);
            wire.send(made.bytes(headers));
            let reply = wire.reply();
            if !(400..500).contains(&reply.status) || !reply.is_told() {
                wrong.push(format!("{what}: {reply:?}"));
            }
            let is_kept = what.contains("app-secret") || !reply.body.contains("app-secret");
            assert!(is_kept, "{what}: {reply:?}");
        }
        server.is_well();
    }
    eprintln!(
        "{} of {} forged requests were not refused",
        wrong.len(),
        all.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    client.hears_nothing();
    stranger.hears_nothing();
    server.ends_well();
}

#[test]
fn the_liberties_of_sdks_are_none_of_those() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("a");
    let mut wire = Wire::connect(&server);
    let reversed = |query: &str| query.split('&').rev().collect::<Vec<_>>().join("&");
    let encoded = |query: &str| query.replace("app-key", "%61pp%2Dkey");
    let all = [
        ("as it should be", Made::good()),
        ("580 seconds late", Made::at(-580)),
        ("580 seconds early", Made::at(580)),
        ("without a version", Made::claiming("auth_version", None)),
        ("in another order", Made::good().sent(reversed)),
        ("encoded where it need not be", Made::good().sent(encoded)),
        (
            "with names in capitals",
            Made::good().sent(|query| query.replace("auth_", "AUTH_")),
        ),
        (
            "with nothing between",
            Made::good().sent(|query| query.replace('&', "&&")),
        ),
        ("with more that is signed", Made::claiming("x", Some("a=b"))),
    ];
    for (what, made) in &all {
        // The same once more is fine within ten minutes, as it is for whoever sends it again after a lost answer.
        for _ in 0..2 {
            wire.send(made.bytes(""));
            let reply = wire.reply();
            assert_eq!(
                (reply.status, &*reply.body),
                (200, "{}"),
                "{what}: {reply:?}"
            );
            client.expect_on("a", "forged", "1");
        }
    }
    let mut backend = Backend::of(&server, &shop());
    let nothing = md5(b"");
    backend.wire.send(request(
        &shop(),
        "GET",
        "/channels/a",
        &[("body_md5", &nothing)],
        b"",
    ));
    assert_eq!(backend.wire.reply().body, r#"{"occupied":true}"#);
    server.ends_well();
}
