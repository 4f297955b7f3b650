//! Subscriptions and sign-ins that the app has not signed: none is let in, and none closes the connection.

use reverb_core::protocol::App;
use serde_json::json;

use crate::backend::{Backend, sign};
use crate::client::Client;
use crate::server::{Server, other, shop};

const PRIVATE: &str = "private-a";
const PRESENCE: &str = "presence-a";
/// Who asks for the presence channel.
const DATA: &str = r#"{"user_id":"1","user_info":{"name":"Ann"}}"#;

/// A forgery: what it is, the channel, its `auth`, its `channel_data`.
type Forgery = (&'static str, &'static str, String, Option<&'static str>);

fn forgeries(client: &Client, neighbour: &Client, stranger: &Client) -> Vec<Forgery> {
    let (key, id, theirs) = ("app-key", &client.socket_id, &neighbour.socket_id);
    let by = |app: &App, key: &str, text: &str| format!("{key}:{}", sign(app, text));
    let ours = |text: &str| by(&shop(), key, text);
    let good = ours(&format!("{id}:{PRIVATE}"));
    let signature = good.split_once(':').expect("a colon").1.to_owned();
    let of = |form: &str| form.replace("KEY", key).replace("SIGNATURE", &signature);
    let upside_down: String = signature.chars().rev().collect();
    let mut flipped = signature.clone().into_bytes();
    flipped[63] = if flipped[63] == b'0' { b'1' } else { b'0' };
    let flipped = String::from_utf8(flipped).expect("text");
    let private = [
        ("nothing", String::new()),
        ("a blank", " ".into()),
        ("a key alone", key.into()),
        ("a key and a colon", of("KEY:")),
        ("a signature alone", signature.clone()),
        ("a colon and a signature", of(":SIGNATURE")),
        ("no colon", of("KEYSIGNATURE")),
        ("another sign than a colon", of("KEY;SIGNATURE")),
        ("two colons", of("KEY::SIGNATURE")),
        ("the key twice", of("KEY:KEY:SIGNATURE")),
        ("a colon behind", of("KEY:SIGNATURE:")),
        ("the wrong way round", of("SIGNATURE:KEY")),
        ("a blank in front", of(" KEY:SIGNATURE")),
        ("a blank behind", of("KEY:SIGNATURE ")),
        ("a blank after the colon", of("KEY: SIGNATURE")),
        ("a line feed behind", of("KEY:SIGNATURE\n")),
        ("a NUL behind", of("KEY:SIGNATURE\0")),
        ("the key in capitals", of("APP-KEY:SIGNATURE")),
        ("the app's id for its key", of("1001:SIGNATURE")),
        ("the secret for the key", of("app-secret:SIGNATURE")),
        ("another app's key", of("other-key:SIGNATURE")),
        (
            "another app's secret",
            by(&other(), key, &format!("{id}:{PRIVATE}")),
        ),
        (
            "another app's key and secret",
            by(&other(), "other-key", &format!("{id}:{PRIVATE}")),
        ),
        (
            "another app's, for a socket of its own",
            stranger.auth(PRIVATE, None),
        ),
        ("capitals", format!("{key}:{}", signature.to_uppercase())),
        (
            "truncated by a digit",
            format!("{key}:{}", &signature[..63]),
        ),
        ("truncated to half", format!("{key}:{}", &signature[..32])),
        ("truncated to a digit", format!("{key}:{}", &signature[..1])),
        ("a digit more", of("KEY:SIGNATURE0")),
        ("a digit in front", of("KEY:0SIGNATURE")),
        ("doubled", of("KEY:SIGNATURESIGNATURE")),
        ("in quotes", of("KEY:\"SIGNATURE\"")),
        ("in hex by its prefix", of("KEY:0xSIGNATURE")),
        ("one bit changed", format!("{key}:{flipped}")),
        ("backwards", format!("{key}:{upside_down}")),
        ("zeros", format!("{key}:{}", "0".repeat(64))),
        ("wide digits", format!("{key}:{}", "０".repeat(64))),
        ("no hex", format!("{key}:{}", "g".repeat(64))),
        (
            "eighty thousand digits",
            format!("{key}:{}", "a".repeat(80_000)),
        ),
        ("another channel's", ours(&format!("{id}:private-b"))),
        (
            "another channel's whose name begins alike",
            ours(&format!("{id}:private-ab")),
        ),
        ("a public channel's", ours(&format!("{id}:a"))),
        ("the name in capitals", ours(&format!("{id}:PRIVATE-A"))),
        ("another socket's", ours(&format!("{theirs}:{PRIVATE}"))),
        ("no socket's", ours(&format!(":{PRIVATE}"))),
        (
            "half a socket's",
            ours(&format!(
                "{}:{PRIVATE}",
                id.split_once('.').expect("a dot").0
            )),
        ),
        (
            "channel and socket the wrong way round",
            ours(&format!("{PRIVATE}:{id}")),
        ),
        ("the channel alone", ours(PRIVATE)),
        ("a user's", ours(&format!("{id}::user::{PRIVATE}"))),
        (
            "with a line feed signed",
            ours(&format!("{id}:{PRIVATE}\n")),
        ),
    ];
    let mut all: Vec<Forgery> = private
        .map(|(what, auth)| (what, PRIVATE, auth, None))
        .into();
    let with_data = ours(&format!("{id}:{PRIVATE}:{DATA}"));
    all.push((
        "data signed where there is none to sign",
        PRIVATE,
        with_data,
        Some(DATA),
    ));
    let present = |text: &str| ours(&format!("{id}:{PRESENCE}:{text}"));
    let others = r#"{"user_id":"2","user_info":{"name":"Ann"}}"#;
    for (what, auth, data) in [
        (
            "signed without the data",
            ours(&format!("{id}:{PRESENCE}")),
            Some(DATA),
        ),
        ("signed with an empty text", present(""), Some(DATA)),
        ("no data, though signed with some", present(DATA), None),
        (
            "no data, and nobody signed in",
            ours(&format!("{id}:{PRESENCE}")),
            None,
        ),
        ("another user's", present(others), Some(DATA)),
        (
            "a blank more",
            present(r#"{"user_id": "1","user_info":{"name":"Ann"}}"#),
            Some(DATA),
        ),
        ("a blank behind", present(&format!("{DATA} ")), Some(DATA)),
        (
            "another order",
            present(r#"{"user_info":{"name":"Ann"},"user_id":"1"}"#),
            Some(DATA),
        ),
        (
            "a number for a text",
            present(r#"{"user_id":1,"user_info":{"name":"Ann"}}"#),
            Some(DATA),
        ),
        (
            "escaped otherwise",
            present(r#"{"user_id":"\u0031","user_info":{"name":"Ann"}}"#),
            Some(DATA),
        ),
        (
            "quoted once more",
            present(&json!(DATA).to_string()),
            Some(DATA),
        ),
        (
            "another channel's",
            ours(&format!("{id}:presence-b:{DATA}")),
            Some(DATA),
        ),
        (
            "a private channel's",
            ours(&format!("{id}:private-a:{DATA}")),
            Some(DATA),
        ),
        (
            "another socket's",
            ours(&format!("{theirs}:{PRESENCE}:{DATA}")),
            Some(DATA),
        ),
        ("a user's", ours(&format!("{id}::user::{DATA}")), Some(DATA)),
        (
            "another app's",
            by(&other(), key, &format!("{id}:{PRESENCE}:{DATA}")),
            Some(DATA),
        ),
        (
            "the colon on the other side",
            ours(&format!("{id}:{PRESENCE}{DATA}:")),
            Some(DATA),
        ),
    ] {
        all.push((what, PRESENCE, auth, data));
    }
    // Where a name ends and data begins must not be open to interpretation.
    for (what, channel, text) in [
        (
            "data as part of the name",
            "presence-a:{\"user_id\":\"1\"}",
            format!("{id}:presence-a:{{\"user_id\":\"1\"}}"),
        ),
        (
            "a user as a channel",
            ":user::{\"id\":\"1\"}",
            format!("{id}::user::{{\"id\":\"1\"}}"),
        ),
        (
            "a socket as part of the name",
            "private-a",
            format!("{id}:{id}:private-a"),
        ),
        (
            "somebody's own channel",
            "#server-to-user-1",
            format!("{id}:#server-to-user-1"),
        ),
    ] {
        all.push((what, channel, ours(&text), None));
    }
    all
}

#[test]
fn no_forged_subscription_is_let_in() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    let neighbour = Client::enter(&server, &shop());
    let stranger = Client::enter(&server, &other());
    let all = forgeries(&client, &neighbour, &stranger);
    let mut backend = Backend::of(&server, &shop());
    let (count, mut let_in) = (all.len(), Vec::new());
    for (what, channel, auth, data) in all {
        client.ask_with(channel, &auth, data);
        let heard = client.hear_all();
        let is_refused = heard.len() == 2
            && heard[0]["event"] == "pusher:error"
            && heard[0]["data"]["code"] == 4009
            && heard[1]["event"] == "pusher:subscription_error";
        if !is_refused {
            let_in.push(format!("{what}: {heard:?}"));
        }
        let said = format!("{heard:?}");
        assert!(said.len() < 4000, "{what}: {said}");
        // What should have been signed may be told, but neither the secret nor what it makes of that.
        let right = client
            .auth(channel, data)
            .split_once(':')
            .expect("a colon")
            .1
            .to_owned();
        assert!(
            auth.contains(&right) || !said.contains(&right),
            "{what}: {said}"
        );
        assert!(
            auth.contains("secret") || !said.contains("secret"),
            "{what}: {said}"
        );
        server.is_well();
    }
    eprintln!(
        "{} of {count} forged subscriptions were let in",
        let_in.len()
    );
    assert!(let_in.is_empty(), "{let_in:#?}");
    for channel in [PRIVATE, PRESENCE] {
        backend.publish(channel, "secret", "1");
        let reply = backend.get(&format!("/channels/{channel}"));
        assert_eq!(reply.body, r#"{"occupied":false}"#);
    }
    client.hears_nothing();
    // It is no worse off for having tried.
    client.subscribe(PRIVATE);
    assert_eq!(client.join(PRESENCE, DATA), 1);
    server.ends_well();
}

#[test]
fn no_forged_user_is_signed_in() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    let neighbour = Client::enter(&server, &shop());
    let user = r#"{"id":"7"}"#;
    let (id, theirs) = (client.socket_id.clone(), &neighbour.socket_id);
    let ours = |text: String| format!("app-key:{}", sign(&shop(), &text));
    let good = ours(format!("{id}::user::{user}"));
    let all = [
        ("nothing", String::new()),
        ("a key alone", "app-key".into()),
        ("a key and a colon", "app-key:".into()),
        ("another app's key", good.replace("app-key", "other-key")),
        (
            "another app's secret",
            format!("app-key:{}", sign(&other(), &format!("{id}::user::{user}"))),
        ),
        (
            "capitals",
            good.to_uppercase().replace("APP-KEY", "app-key"),
        ),
        ("truncated", good[..good.len() - 1].to_owned()),
        ("doubled", format!("{good}{}", &good[8..])),
        ("another socket's", ours(format!("{theirs}::user::{user}"))),
        (
            "another user's",
            ours(format!("{id}::user::{{\"id\":\"8\"}}")),
        ),
        ("without the user", ours(format!("{id}::user::"))),
        ("with one colon", ours(format!("{id}:user:{user}"))),
        ("a channel's", ours(format!("{id}:{user}"))),
        (
            "a presence channel's",
            ours(format!("{id}:presence-a:{user}")),
        ),
        (
            "of the same user, spelt otherwise",
            ours(format!("{id}::user::{{\"id\": \"7\"}}")),
        ),
    ];
    for (what, auth) in &all {
        let data = json!({"auth": auth, "user_data": user});
        client.say(&json!({"event": "pusher:signin", "data": data}));
        let heard = client.hear_all();
        assert_eq!(heard.len(), 1, "{what}: {heard:?}");
        assert_eq!(heard[0]["data"]["code"], 4009, "{what}: {heard:?}");
        server.is_well();
    }
    eprintln!("0 of {} forged users were signed in", all.len());
    Backend::of(&server, &shop()).publish("#server-to-user-7", "secret", "1");
    client.hears_nothing();
    client.ask_to_sign_in(user);
    assert_eq!(client.hear()["event"], "pusher:signin_success");
    // Whoever is signed in is no other user.
    client.ask_with("#server-to-user-8", "", None);
    assert_eq!(client.hear_error()["code"], 4009);
    client.hear();
    Backend::of(&server, &shop()).publish("#server-to-user-8", "secret", "1");
    Backend::of(&server, &shop()).publish("#server-to-user-7", "mine", "1");
    client.expect_on("#server-to-user-7", "mine", "1");
    server.ends_well();
}
