//! JSON that backends publish: each body is refused with 400 or 413, and nothing of it sent, or what it says arrives byte
//! for byte.

use serde_json::json;

use crate::backend::Backend;
use crate::client::Client;
use crate::messages::{beginning, characters, lists, objects};
use crate::server::{Server, shop};

/// No event, a line each.
const WRONG: &str = r#"null
true
1
""
[]
[{}]
{
{}
{}}
{} {}
nonsense
[{"name":"e","channel":"a","data":"1"}]
["e","1","a"]
{"name":"e","channel":"a"}
{"name":"e","data":"1"}
{"channel":"a","data":"1"}
{"__proto__":{"name":"e","channel":"a","data":"1"}}
{"Name":"e","channel":"a","data":"1"}"#;

/// What an event's name cannot be.
const NAMES: &str = r#"null
1
true
[]
{}
["e"]
""
"\ud800"
1e999
"pusher:x""#;

/// What its channels cannot be.
const CHANNELS: &str = r##"null
1
true
{}
"a"
[]
[null]
[1]
[["a"]]
[{}]
[""]
["a",""]
["a b"]
["a","\ud800"]
["\u0000"]
["#a"]
["a/b"]
{"0":"a"}
["#server-to-user-"]"##;

/// What its data cannot be.
const DATA: &str = r#"null
"\ud800"
"\udc00\ud800"
{"\ud800":1}
["\ud800"]
NaN
01
'a'"#;

/// What cannot stand beside the rest.
const MORE: &str = r#""name":"e"
"data":"2"
"channels":["a"]
"\u006eame":"e"
"socket_id":7
"socket_id":"7"
"socket_id":"1.2.3"
"socket_id":"-1.2"
"socket_id":"\u0000"
"socket_id":"1.2","socket_id":"1.2"
"info":7
"info":["a"]
"channel":7
"channel":["a"]"#;

fn event(name: &str, channels: &str, data: &str) -> String {
    format!(r#"{{"name":{name},"channels":{channels},"data":{data}}}"#)
}

/// Bodies that are refused, and how.
fn refused() -> Vec<(Vec<u8>, u16)> {
    let (e, a, one) = (r#""e""#, r#"["a"]"#, r#""1""#);
    let mut wrong: Vec<String> = WRONG.lines().map(str::to_owned).collect();
    for invisible in ["", " ", "\u{feff}{}", "{\"name\":\"\0\"}"] {
        wrong.push(invisible.to_owned());
    }
    wrong.extend(NAMES.lines().map(|name| event(name, a, one)));
    wrong.extend(CHANNELS.lines().map(|channels| event(e, channels, one)));
    wrong.extend(
        DATA.lines()
            .chain(["\"\n\"", "\"\0\""])
            .map(|data| event(e, a, data)),
    );
    let more = |more| format!(r#"{{"name":"e","channels":["a"],"data":"1",{more}}}"#);
    wrong.extend(MORE.lines().map(more));
    for character in characters() {
        wrong.push(event(e, &json!([format!("a{character}")]).to_string(), one));
    }
    for deep in [lists(33), objects(33), lists(100_000), objects(50_000)] {
        wrong.push(event(e, a, &deep));
        wrong.push(event(&deep, a, one));
        wrong.push(event(e, &deep, one));
        wrong.push(format!(r#"{{"batch":{deep}}}"#));
        wrong.push(deep);
    }
    for deep in ["[".repeat(1_000_000), r#"{"a":"#.repeat(100_000)] {
        wrong.push(event(e, a, &deep));
        wrong.push(deep);
    }
    wrong.push(event(&json!("e".repeat(201)).to_string(), a, one));
    wrong.push(event(e, &json!(["a".repeat(201)]).to_string(), one));
    wrong.push(event(e, &json!(vec!["a"; 101]).to_string(), one));
    let mut all: Vec<_> = wrong
        .into_iter()
        .map(|text| (text.into_bytes(), 400))
        .collect();
    let (begin, end) = (br#"{"name":"e","channels":["a"],"data":""#, br#""}"#);
    for bytes in [
        &b"\xff"[..],
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
    ] {
        all.push(([begin, bytes, end].concat(), 400));
    }
    for character in ["x", r"\u0041"] {
        let large = format!("\"{}\"", character.repeat(10_241));
        all.push((event(e, a, &large).into_bytes(), 413));
    }
    all
}

#[test]
fn a_body_that_is_none_is_refused_and_nothing_is_sent() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("a");
    let mut backend = Backend::of(&server, &shop());
    let all = refused();
    eprintln!("{} bodies", all.len());
    let mut wrong = Vec::new();
    for (body, status) in all {
        // As the second of a batch it is refused with the first, which is not sent either.
        let first = br#"{"batch":[{"name":"first","channel":"a","data":"1"},"#;
        let batch = [first, &body[..], b"]}"].concat();
        for (path, body) in [("/events", body), ("/batch_events", batch)] {
            let reply = backend.post(path, &body);
            if reply.status != status || !reply.is_told() {
                let shown = beginning(&String::from_utf8_lossy(&body));
                wrong.push(format!("{path} {shown}: {reply:?}"));
            }
            if reply.says_close() {
                backend = Backend::of(&server, &shop());
            }
        }
        server.is_well();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    client.hears_nothing();
    server.ends_well();
}

/// Text that arrives as it came.
const TEXTS: &str = r#"""
"text"
"\u0000\u001f\b\f\n\r\t\/\"\\"
"{\"a\":1,\"a\":2}"
"{\"__proto__\":null}"
"\ud83d\ude00 \u00FC \u2028 \ufeff"
"</script>""#;

/// What is no text arrives as the text of it.
const OTHERS: &str = r#"true
0
-0
1.0
1e999
-1E+400
123456789012345678901234567890
{"a":1,"a":2,"\u0061":3}
{"__proto__":{"x":1}}
{"":""}
["\ud800\udc00","a b"]
[]
{}"#;

#[test]
fn what_is_published_arrives_byte_for_byte() {
    let server = Server::start();
    let mut client = Client::enter(&server, &shop());
    client.subscribe("a");
    let mut backend = Backend::of(&server, &shop());
    let mut texts: Vec<String> = TEXTS.lines().map(str::to_owned).collect();
    texts.push("\"\u{feff}\u{2028}\u{7f}\u{fffe}\"".to_owned());
    texts.push(format!("\"{}\"", r"\u0041".repeat(10_240)));
    texts.push(format!("\"{}\"", "[".repeat(10_240)));
    texts.push(format!("\"{}\"", "\u{10ffff}".repeat(2560)));
    texts.extend(
        characters()
            .into_iter()
            .map(|character| format!("\"{character}\"")),
    );
    let mut all: Vec<_> = texts.into_iter().map(|text| (text.clone(), text)).collect();
    let deep = [lists(31), lists(32), objects(32)];
    for other in OTHERS.lines().chain(deep.iter().map(String::as_str)) {
        all.push((
            other.to_owned(),
            serde_json::to_string(other).expect("a string"),
        ));
    }
    // Without its blanks.
    all.push((
        "{ \"a\" : [ 1 ,\n\t2.50 ] }".to_owned(),
        r#""{\"a\":[1,2.50]}""#.to_owned(),
    ));
    let ignored = format!(
        r#""socket_id":null,"info":null,"x":{},"__proto__":1e999"#,
        lists(1000)
    );
    for (n, (data, heard)) in all.iter().enumerate() {
        let name = if n % 2 == 0 {
            r#""App\\Events\\X""#
        } else {
            r#""\u0065\u0000 \"é😀""#
        };
        let body = format!(r#"{{"name":{name},"channels":["\u0061"],"data":{data},{ignored}}}"#);
        let reply = backend.post("/events", &body);
        assert_eq!(
            (reply.status, &*reply.body),
            (200, "{}"),
            "{}: {reply:?}",
            beginning(data)
        );
        let expected = format!(r#"{{"event":{name},"channel":"a","data":{heard}}}"#);
        assert_eq!(client.wire.text(), expected);
    }
    server.ends_well();
}
