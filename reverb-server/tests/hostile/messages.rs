//! JSON that clients send: deep, doubled, of the wrong type, in characters of every plane. Each message is obeyed or
//! answered by an error, the connection stays, and what is relayed arrives byte for byte.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, now, shop};
use crate::wire::{TEXT, frame};

/// No JSON, or no object, or one with a key twice, or half a character. A line each.
const INVALID: &str = r#"null
true
1
-
""
"pusher:ping"
[]
[{}]
[["event","pusher:ping"]]
{
}
{}}
{"event"}
{"event":}
{event:"pusher:ping"}
{'event':'pusher:ping'}
{"event":"pusher:ping",}
{"event":"pusher:ping"} {}
{"event":"pusher:ping"}x
//
{"event":"\x41"}
{"event":"\u00"}
{"event":"\ud800"}
{"event":"\udc00\ud800"}
{"event":1}
{"event":true}
{"event":[]}
{"event":{}}
{"event":["pusher:ping"]}
{"event":"pusher:ping","event":"pusher:ping"}
{"event":"pusher:ping","\u0065vent":"pusher:ping"}
{"event":"pusher:ping","data":{},"data":{}}
{"event":"pusher:ping","data":NaN}
{"event":"pusher:ping","data":Infinity}
{"event":"pusher:ping","data":01}
{"event":"pusher:ping","data":+1}
{"event":"pusher:ping","data":.5}
{"event":"pusher:ping","data":1.}
{"event":"pusher:ping","data":0x1}
{"event":"client-x","channel":"private-a","channel":"private-a"}
{"event":"client-x","channel":"private-a","data":"\ud800"}
{"event":"client-x","channel":"private-a","data":{"\udfff":1}}
{"event":"client-x","channel":"private-a","data":[["\ud83d\u0041"]]}
{"event":"client-\ud800","channel":"private-a"}"#;

/// The same, with what cannot be seen in a line of its own.
const INVISIBLE: [&str; 8] = [
    "",
    " ",
    "{\"event\":\"pusher:ping\"}\0",
    "\u{feff}{\"event\":\"pusher:ping\"}",
    "\u{a0}{\"event\":\"pusher:ping\"}",
    "\u{b}{\"event\":\"pusher:ping\"}",
    "{\"event\":\"pusher:ping\0\"}",
    "{\"event\":\"a\nb\"}",
];

/// Objects that lack what they need, and what that is.
const MISSING: &str = r#"event {}
event {"event":null}
event {"data":{}}
event {"Event":"pusher:ping"}
event {"__proto__":{"event":"pusher:ping"}}
data {"event":"pusher:subscribe"}
data {"event":"pusher:subscribe","data":null}
data {"event":"pusher:subscribe","data":{}}
data {"event":"pusher:subscribe","data":[]}
data {"event":"pusher:subscribe","data":1}
data {"event":"pusher:subscribe","data":true}
data {"event":"pusher:subscribe","data":{"channel":null}}
data {"event":"pusher:subscribe","data":{"__proto__":{"channel":"a"}}}
data {"event":"pusher:subscribe","data":"{}"}
data {"event":"pusher:subscribe","data":"[]"}
data {"event":"pusher:subscribe","data":"null"}
data.channel {"event":"pusher:unsubscribe","data":{"channel":null}}
data.auth {"event":"pusher:signin","data":{"auth":null,"user_data":null}}
channel {"event":"client-x"}
channel {"event":"client-x","channel":null}
channel {"event":"client-x","channel":["private-a"]}
channel {"event":"client-x","channel":"private-\ud800"}"#;

/// Data of a subscription where something is no string, or is there twice.
const NO_STRINGS: &str = r#"{"channel":1}
{"channel":["a"]}
{"channel":{}}
{"channel":true}
{"channel":1e999}
{"channel":"a","auth":1}
{"channel":"a","auth":{}}
{"channel":"a","channel_data":{"user_id":"1"}}
{"channel":"a","channel_data":7}
{"channel":"a","channel":"b"}
{"channel":"a","\u0063hannel":"b"}
{"channel":"\ud800"}
{"channel":"a","auth":"\udc00"}
"{\"channel\":1}"
"{\"channel\":\"a\",\"channel\":\"a\"}""#;

/// Lists in lists, so many deep.
pub(crate) fn lists(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// Objects in objects, so many deep.
pub(crate) fn objects(depth: usize) -> String {
    let inside = depth.saturating_sub(1);
    format!("{}{{}}{}", r#"{"a":"#.repeat(inside), "}".repeat(inside))
}

/// A character of every plane, and some that are hard to see, or are none.
pub(crate) fn characters() -> Vec<char> {
    const OTHERS: &str = "\u{7f}\u{85}\u{a0}\u{ad}\u{200b}\u{202e}\u{2028}\u{d7ff}\u{e000}\u{feff}\
                          \u{fffd}\u{fffe}👩\u{10ffff}";
    let planes = (0..=16).filter_map(|plane| char::from_u32(plane << 16 | 0xf600));
    planes.chain(OTHERS.chars()).collect()
}

/// What is seen of a long text.
pub(crate) fn beginning(text: &str) -> String {
    text.chars().take(200).collect()
}

/// How a message is taken.
enum Taken {
    /// Nobody says anything.
    Silently,
    /// By `pusher:error`, which says this.
    Error(String),
    /// The same, and by `pusher:subscription_error`.
    Refused(&'static str),
    /// The subscription stands.
    Subscribed,
}
use Taken::{Error, Refused, Silently, Subscribed};

impl Taken {
    fn invalid() -> Self {
        Error("Received invalid JSON".to_owned())
    }

    fn missing(what: &str) -> Self {
        Error(format!("Missing parameter: {what}"))
    }

    fn no_strings() -> Self {
        Error("must be strings".to_owned())
    }

    fn deep() -> Self {
        Error("deeper than 32".to_owned())
    }

    fn is_so(&self, heard: &[Value]) -> bool {
        let event = |n: usize| heard.get(n).and_then(|event| event["event"].as_str());
        let says = |text: &str| {
            let message = heard
                .first()
                .and_then(|event| event["data"]["message"].as_str());
            event(0) == Some("pusher:error") && message.is_some_and(|said| said.contains(text))
        };
        match self {
            Silently => heard.is_empty(),
            Error(text) => heard.len() == 1 && says(text),
            Refused(text) => {
                heard.len() == 2 && says(text) && event(1) == Some("pusher:subscription_error")
            }
            Subscribed => {
                heard.len() == 1 && event(0) == Some("pusher_internal:subscription_succeeded")
            }
        }
    }
}

fn messages() -> Vec<(String, Taken)> {
    let subscribe = |data: &str| format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#);
    let tell =
        |data: &str| format!(r#"{{"event":"client-x","channel":"private-a","data":{data}}}"#);
    let invalid = INVALID.lines().chain(INVISIBLE);
    let mut all: Vec<_> = invalid
        .map(|text| (text.to_owned(), Taken::invalid()))
        .collect();
    all.extend(MISSING.lines().map(|line| {
        let (what, text) = line.split_once(' ').expect("a blank");
        (text.to_owned(), Taken::missing(what))
    }));
    all.extend(
        NO_STRINGS
            .lines()
            .map(|data| (subscribe(data), Taken::no_strings())),
    );
    for text in [
        r#"{"event":"pusher:unsubscribe","data":{"channel":1}}"#,
        r#"{"event":"pusher:unsubscribe","data":{"channel":["a"]}}"#,
        r#"{"event":"pusher:signin","data":{"auth":1,"user_data":"{}"}}"#,
        r#"{"event":"pusher:signin","data":{"auth":"a:b","user_data":{"id":"1"}}}"#,
    ] {
        all.push((text.to_owned(), Taken::no_strings()));
    }
    for text in [
        r#"{"event":"pusher:subscribe","data":{"channel":"n1","auth":null,"channel_data":null,"__proto__":[]}}"#,
        r#"{"event":"pusher:subscribe","data":"{\"channel\":\"n2\",\"x\":1e999}","channel":7,"constructor":null}"#,
        r#"{"event":"pusher:subscribe","data":{"channel":"\u006e3"},"data_":123456789012345678901234567890}"#,
    ] {
        all.push((text.to_owned(), Subscribed));
    }
    for text in [
        r#"{"event":"pusher:pong","data":1e999}"#,
        r#"{"event":"pusher:pong","data":{"a":1,"a":2,"\ud800":-1e-999}}"#,
        r#"{"event":"pusher:unsubscribe","data":{"channel":"\u0000"}}"#,
    ] {
        all.push((text.to_owned(), Silently));
    }
    // Whatever is deep is not descended into, or refused; 80,000 brackets are as many as a message holds.
    for deep in [lists(40_000), objects(13_000)] {
        let is_object = deep.starts_with('{');
        let alone = if is_object {
            Taken::missing("event")
        } else {
            Taken::invalid()
        };
        all.push((deep.clone(), alone));
        all.push((format!(r#"{{"event":{deep}}}"#), Taken::invalid()));
        all.push((format!(r#"{{"x":{deep},"event":"pusher:pong"}}"#), Silently));
        all.push((
            format!(r#"{{"event":"pusher:pong","data":{deep}}}"#),
            Silently,
        ));
        let text = format!(r#"{{"event":"client-x","channel":{deep}}}"#);
        all.push((text, Taken::missing("channel")));
        all.push((tell(&deep), Taken::deep()));
        all.push((
            subscribe(&format!(r#"{{"channel":{deep}}}"#)),
            Taken::no_strings(),
        ));
    }
    all.push((
        subscribe(&json!(lists(40_000)).to_string()),
        Taken::missing("data"),
    ));
    for deep in ["[".repeat(80_000), r#"{"a":"#.repeat(16_000)] {
        all.push((tell(&deep), Taken::invalid()));
        all.push((subscribe(&deep), Taken::invalid()));
        all.push((deep, Taken::invalid()));
    }
    for (depth, is_relayed) in [(31, true), (32, true), (33, false)] {
        for data in [lists(depth), objects(depth)] {
            all.push((
                tell(&data),
                if is_relayed { Silently } else { Taken::deep() },
            ));
        }
    }
    for character in characters().into_iter().chain("\0\n /:\"\\<".chars()) {
        let data = json!({"channel": format!("a{character}b")}).to_string();
        all.push((subscribe(&data), Refused("a channel name may have letters")));
        let text = json!({"event": "client-x", "channel": format!("private-{character}")});
        all.push((text.to_string(), Error("not a member".to_owned())));
    }
    for (channel, says) in [("é".repeat(40_000), "200"), ("a".repeat(201), "201")] {
        all.push((
            subscribe(&json!({"channel": channel}).to_string()),
            Refused(says),
        ));
    }
    let long = json!({"event": "é".repeat(40_000)}).to_string();
    all.push((long, Error("Unsupported event".to_owned())));
    all
}

#[test]
fn whatever_json_a_client_sends_it_is_obeyed_or_told_and_stays() {
    let server = Server::unhurried();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("private-a");
    let all = messages();
    eprintln!("{} messages", all.len());
    for (text, taken) in all {
        client.say_text(&text);
        let heard = client.hear_all();
        assert!(taken.is_so(&heard), "{}: {heard:?}", beginning(&text));
        let length: usize = heard.iter().map(|event| event.to_string().len()).sum();
        assert!(
            length < 4000,
            "{length} bytes of answers to {}",
            beginning(&text)
        );
        server.is_well();
    }
    server.ends_well();
}

/// Data that arrives as it is, or as the text of it.
const RELAYED: &str = r#"""
"text"
"{\"a\":1}"
"\u0000\u001f\b\f\n\r\t\/\"\\"
"\ud83d\ude00 \u00fc \u2028 \ufeff"
"pusher:error"
"</script><!--"
null
true
0
-0
1.0
1e999
-1E+400
1e-999
123456789012345678901234567890123456789012345678901234567890
0.1000000000000000055511151231257827
[]
{}
{ "a" : [ 1 , 2 ] }
{"a":1,"a":2,"\u0061":3}
{"__proto__":{"x":1},"constructor":{"prototype":null}}
{"event":"pusher:error","channel":"private-b"}
{"":"","\u0000":"\u0000"}
["\ud800\udc00","\udbff\udfff"]"#;

#[test]
fn what_clients_tell_each_other_arrives_byte_for_byte() {
    let server = Server::unhurried();
    let mut sender = Client::enter(&server, &shop());
    let mut receiver = Client::enter(&server, &shop());
    sender.subscribe("private-a");
    receiver.subscribe("private-a");
    let mut all: Vec<String> = RELAYED.lines().map(str::to_owned).collect();
    all.push("[\n\t1,\r\n 2 ]".to_owned());
    all.push("\"\u{feff}\u{2028}\u{7f}\u{fffe}\"".to_owned());
    for character in characters() {
        all.push(format!("\"{character}\""));
        all.push(format!("{{\"{character}\":\"{character}\"}}"));
    }
    all.push(lists(32));
    all.push(format!("[{}0]", "\"[[[[\",".repeat(100)));
    for data in all {
        sender.say_text(&format!(
            r#"{{"event":"client-\u0078{{","channel":"private-a","data":{data}}}"#
        ));
        let data = match data.starts_with('"') {
            true => data,
            false => serde_json::to_string(&data).expect("a string"),
        };
        let expected = format!(r#"{{"event":"client-x{{","channel":"private-a","data":{data}}}"#);
        assert_eq!(receiver.wire.text(), expected);
    }
    // Without data there is none.
    sender.say_text(r#"{"channel":"private-a","event":"client-x"}"#);
    assert_eq!(
        receiver.wire.text(),
        r#"{"event":"client-x","channel":"private-a"}"#
    );
    sender.hears_nothing();
    server.ends_well();
}

/// Many times as deep as any stack, as large as a message may be, a hundred times over.
#[test]
fn deep_messages_cost_no_more_than_others() {
    let server = Server::unhurried();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("private-a");
    let limit = shop().limits.message_bytes();
    let room = limit - 100;
    let (start, used) = (now(), server.processor());
    for deep in [
        "[".repeat(room),
        r#"{"":"#.repeat(room / 4),
        "\"[\\\"".repeat(room / 4),
        lists(room / 2),
    ] {
        for _ in 0..25 {
            client.say_text(&format!(
                r#"{{"event":"client-x","channel":"private-a","data":{deep}}}"#
            ));
            client.hear_error();
        }
    }
    let used = server.processor() - used;
    let took = start.elapsed();
    eprintln!("a hundred deep messages of {limit} bytes took {took:?}, {used:?} of processor time");
    assert!(used < Duration::from_secs(10), "{used:?}");
    client
        .wire
        .send(frame(TEXT, "[".repeat(100_000).as_bytes()));
    assert_eq!(client.wire.closed(), 1009);
    server.ends_well();
}
