//! Who sits in a presence channel, and who signs in: read from JSON, and written two levels deep into JSON.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::protocol::member::UserData;
use crate::protocol::{Member, Outgoing, UserId, json, outgoing};

use super::{Fields, is_json, said, said_within, value};

/// The `channel_data` of a presence subscription, and as well the `user_data` of a sign-in.
pub fn member(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let fields = fields(text);
    let expected = |name: &str, others: &[&str]| {
        let fields = fields
            .as_ref()
            .filter(|fields| !fields.have_twins(others))?;
        id(fields.get(name)?)
    };
    let member = Member::from_channel_data(text).ok();
    assert_eq!(
        member.as_ref().map(|member| member.id.as_str()),
        expected("user_id", &["user_id", "user_info"]).as_deref(),
        "{text}"
    );
    let user = UserData::parse(text).ok();
    assert_eq!(
        user.as_ref().map(|user| user.member.id.as_str()),
        expected("id", &["id", "user_info", "watchlist"])
            .filter(|_| text.len() <= UserData::MAX_BYTES)
            .as_deref(),
        "{text}"
    );
    let Some(fields) = fields else { return };
    if let Some(member) = &member {
        info(member, &fields);
        written(member);
    }
    if let Some(user) = &user {
        info(&user.member, &fields);
        written(&user.member);
        watchlist(user, &fields);
        let told = said(&Outgoing::signin_success(text));
        assert_eq!(told["data"]["user_data"], *text, "the very text");
    }
}

/// `None` if nobody should read it.
fn fields(text: &str) -> Option<Fields<'_>> {
    let is_fine = !json::is_too_deep(text) && json::is_text(text);
    Fields::read(text).filter(|_| is_fine)
}

/// A string, or an integer as its digits; of 1 to 128 characters.
fn id(token: &str) -> Option<String> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let id = match digits.bytes().all(|b| b.is_ascii_digit()) {
        true => token.to_owned(),
        false => serde_json::from_str::<String>(token).ok()?,
    };
    (1..=128).contains(&id.chars().count()).then_some(id)
}

fn info(member: &Member, fields: &Fields<'_>) {
    assert!(is_json(&member.info), "{}", member.info);
    match fields.get("user_info") {
        None | Some("null") => assert_eq!(&*member.info, "{}"),
        Some(given) => assert_eq!(value(&member.info), value(given), "{given}"),
    }
}

/// What the others are told of the member.
fn written(member: &Member) {
    let id = Value::from(member.id.as_str());
    let other = UserId::new("other \"\\ \u{1}é").expect("an id");
    let (mut ids, mut hash) = (Vec::new(), Vec::new());
    outgoing::presence_id(&mut ids, &member.id);
    ids.push(b',');
    outgoing::presence_id(&mut ids, &other);
    outgoing::presence_entry(&mut hash, member);
    let snapshot = said_within(&Outgoing::presence_succeeded("presence-c", 2, &ids, &hash));
    let added = said_within(&Outgoing::member_added("presence-c", member));
    let removed = said_within(&Outgoing::member_removed("presence-c", &member.id));
    assert_eq!(value(&removed), Some(serde_json::json!({ "user_id": id })));
    let users = [member.id.clone(), other];
    let watched = said_within(&Outgoing::watchlist_events(&users, &users[..1]));
    let watched = value(&watched).expect("ids are text");
    assert_eq!(
        watched["events"][0]["user_ids"],
        serde_json::json!([id, users[1].as_str()])
    );
    assert_eq!(watched["events"][1]["user_ids"], serde_json::json!([id]));
    // A number that no f64 holds is JSON all the same, though not for a Value.
    let Some(info) = value(&member.info) else {
        return;
    };
    let snapshot = value(&snapshot).expect("JSON");
    assert_eq!(
        snapshot["presence"],
        serde_json::json!({"count": 2, "ids": [id, users[1].as_str()], "hash": {member.id.as_str(): info}})
    );
    assert_eq!(
        value(&added),
        Some(serde_json::json!({"user_id": id, "user_info": info}))
    );
}

fn watchlist(user: &UserData, fields: &Fields<'_>) {
    let mut expected: Vec<String> = Vec::new();
    let listed = fields
        .get("watchlist")
        .map(serde_json::from_str::<Vec<&RawValue>>);
    for listed in listed.and_then(Result::ok).unwrap_or_default() {
        let id = id(listed.get()).filter(|id| !expected.contains(id));
        expected.extend(id);
    }
    let watched: Vec<&str> = user.watchlist.iter().map(UserId::as_str).collect();
    assert_eq!(
        watched,
        expected[..expected.len().min(UserData::MAX_WATCHED)]
    );
    assert_eq!(user.watchlist_cut, expected.len() > UserData::MAX_WATCHED);
}
