//! What a presence channel and a sign-in are told of a user: it is who the app signed, to the letter, or nobody.

use serde_json::{Value, json};

use crate::client::Client;
use crate::messages::{beginning, characters, lists};
use crate::server::{Server, shop};

/// Nobody, a line each; `ID` stands for the name of the field.
const NOBODY: &str = r#"null
[]
{}
"1"
1
{
{"ID":null}
{"ID":true}
{"ID":[1]}
{"ID":{}}
{"ID":1.0}
{"ID":1e3}
{"ID":1e999}
{"ID":""}
{"ID":"\ud800"}
{"ID":"1","ID":"1"}
{"ID":"1","ID":2}
{"ID":"1","user_info":1,"user_info":2}
{"ID":"1","user_info":"\ud800"}
{"__proto__":{"ID":"1"}}
{"ID":"1"} x
[["ID","1"]]
{"ID":01}
{"ID":+1}
{"ID":"1",}"#;

/// Somebody: an id, and what is said of it.
const SOMEBODY: &str = r#"0 {"ID":0}
-1 {"ID":-1}
123456789012345678901234567890 {"ID":123456789012345678901234567890}
__proto__ {"ID":"__proto__","user_info":{"__proto__":null,"a":1,"a":2}}
constructor {"ID":"constructor","user_info":1e999}
1 {"ID":"1","user_info":null}
1 {"ID":"1","user_info":"\ud83d\ude00\u0000"}
1 {"ID":"1","unknown":1,"unknown":2}
1  { "ID" : "\u0031" } "#;

/// Everything that is said, and the id of whom it makes, if of anybody.
fn users() -> Vec<(String, Option<String>)> {
    let mut all: Vec<_> = NOBODY.lines().map(|text| (text.to_owned(), None)).collect();
    all.push((String::new(), None));
    all.push(("\u{feff}{\"ID\":\"1\"}".to_owned(), None));
    all.extend(SOMEBODY.lines().map(|line| {
        let (id, text) = line.split_once(' ').expect("a blank");
        (text.to_owned(), Some(id.to_owned()))
    }));
    for depth in [31, 32, 33, 20_000] {
        // The object around it is the first.
        let id = (depth <= 32).then(|| "1".to_owned());
        let deep = lists(depth - 1);
        all.push((format!(r#"{{"ID":"1","user_info":{deep}}}"#), id.clone()));
        all.push((format!(r#"{{"ID":"1","unknown":{deep}}}"#), id));
    }
    all.push(("[".repeat(30_000), None));
    all.push((r#"{"ID":"#.repeat(5_000), None));
    let strange = characters().into_iter().map(String::from);
    for id in strange.chain(["\0".to_owned(), "\u{10ffff}".repeat(128)]) {
        all.push((json!({"ID": id}).to_string(), Some(id)));
    }
    all.push((json!({"ID": "\u{10ffff}".repeat(129)}).to_string(), None));
    all
}

/// The data of an event, which is text.
fn data(event: &Value) -> &str {
    event["data"].as_str().unwrap_or_default()
}

#[test]
fn a_member_is_whom_the_app_signed_or_nobody() {
    let server = Server::unhurried();
    let mut witness = Client::enter(&server, &shop());
    witness.join("presence-a", r#"{"user_id":"witness"}"#);
    let mut client = Client::enter(&server, &shop());
    for (text, id) in users() {
        let text = text.replace("ID", "user_id");
        let shown = beginning(&text);
        client.ask("presence-a", Some(&text));
        let heard = client.hear_all();
        let Some(id) = id else {
            assert_eq!(heard.len(), 2, "{shown}: {heard:?}");
            assert_eq!(heard[0]["event"], "pusher:error", "{shown}: {heard:?}");
            assert_eq!(
                heard[1]["event"], "pusher:subscription_error",
                "{shown}: {heard:?}"
            );
            assert!(
                heard.iter().all(|event| event.to_string().len() < 2000),
                "{shown}"
            );
            witness.hears_nothing();
            continue;
        };
        assert_eq!(
            heard[0]["event"], "pusher_internal:subscription_succeeded",
            "{shown}: {heard:?}"
        );
        // It may come a moment later than the answer to the one who joined.
        let added = [witness.hear()];
        let quoted = serde_json::to_string(&id).expect("a string");
        assert!(data(&heard[0]).contains(&quoted), "{shown}: {heard:?}");
        assert!(
            data(&added[0]).contains(&format!(r#""user_id":{quoted}"#)),
            "{shown}: {added:?}"
        );
        if let Some((_, info)) = text.split_once(r#""user_info":"#) {
            // What follows it ends the object, there and here. Nothing is an empty object: .NET looks for one.
            let info = if info == "null}" { "{}}" } else { info };
            assert!(
                data(&added[0]).ends_with(&format!(r#""user_info":{info}"#)),
                "{shown}: {added:?}"
            );
        }
        client.say(&json!({"event": "pusher:unsubscribe", "data": {"channel": "presence-a"}}));
        client.hears_nothing();
        let removed = [witness.hear()];
        assert_eq!(
            data(&removed[0]),
            format!(r#"{{"user_id":{quoted}}}"#),
            "{shown}"
        );
        server.is_well();
    }
    server.ends_well();
}

#[test]
fn a_user_is_whom_the_app_signed_or_nobody() {
    let server = Server::unhurried();
    for (text, id) in users() {
        let text = text.replace("ID", "id");
        let shown = beginning(&text);
        let mut client = Client::enter(&server, &shop());
        client.ask_to_sign_in(&text);
        let heard = client.hear_all();
        assert_eq!(heard.len(), 1, "{shown}: {heard:?}");
        let Some(id) = id else {
            assert_eq!(heard[0]["event"], "pusher:error", "{shown}: {heard:?}");
            continue;
        };
        let said = json!({"event": "pusher:signin_success", "data": {"user_data": text}});
        assert_eq!(heard[0], said, "{shown}");
        // It hears what is for this user.
        let channel = format!("#server-to-user-{id}");
        crate::backend::Backend::of(&server, &shop()).publish(&channel, "e", "1");
        client.expect_on(&channel, "e", "1");
    }
    // A list of people to watch that is none watches nobody.
    let long = format!("[{}0]", "1,".repeat(10_000));
    for list in [
        &lists(30),
        "{}",
        "null",
        "7",
        r#"[1e999,"\u0000",null,[],{},""]"#,
        &long,
    ] {
        let mut client = Client::enter(&server, &shop());
        client.ask_to_sign_in(&format!(r#"{{"id":"1","watchlist":{list}}}"#));
        assert_eq!(client.hear()["event"], "pusher:signin_success", "{list}");
    }
    server.ends_well();
}
