//! Who is in a presence channel. Source: PROTOCOL 4 and 12.2.

use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{House, app_with};

/// Where everybody is.
const ROOM: &str = "presence-room";

fn ann() -> Value {
    json!({"user_id": "1", "user_info": {"n": "Ann"}})
}

fn bob() -> Value {
    json!({"user_id": "2"})
}

#[track_caller]
fn expect_added<'a>(
    client: &'a mut Client,
    id: &str,
    info: &Value,
) -> impl Future<Output = ()> + use<'a> {
    let data = json!({"user_id": id, "user_info": info}).to_string();
    client.expect_on(ROOM, "pusher_internal:member_added", &data)
}

#[track_caller]
fn expect_removed<'a>(client: &'a mut Client, id: &str) -> impl Future<Output = ()> + use<'a> {
    let data = json!({"user_id": id}).to_string();
    client.expect_on(ROOM, "pusher_internal:member_removed", &data)
}

/// The next two events must refuse the subscription.
async fn expect_refused(client: &mut Client, (kind, status, code): (&str, u16, u16), says: &str) {
    client.expect_error(code, says).await;
    let error = client.next().await;
    assert_eq!(
        (&error["event"], &error["channel"]),
        (&json!("pusher:subscription_error"), &json!(ROOM)),
        "{error}"
    );
    assert_eq!(
        (&error["data"]["type"], &error["data"]["status"]),
        (&json!(kind), &json!(status)),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_of_two_tabs_and_a_second_user_holds() {
    let house = House::plain().await;
    let (mut a, mut b, mut c) = (
        house.client().await,
        house.client().await,
        house.client().await,
    );
    a.ask(ROOM, Some(&ann().to_string())).await;
    let exact = r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-room","data":"{\"presence\":{\"count\":1,\"ids\":[\"1\"],\"hash\":{\"1\":{\"n\":\"Ann\"}}}}"}"#;
    assert_eq!(a.next_text().await, exact);
    assert_eq!(
        b.join(ROOM, &ann()).await,
        json!({"count": 1, "ids": ["1"], "hash": {"1": {"n": "Ann"}}})
    );
    let both = json!({"count": 2, "ids": ["1", "2"], "hash": {"1": {"n": "Ann"}, "2": {}}});
    assert_eq!(c.join(ROOM, &bob()).await, both);
    let exact = r#"{"event":"pusher_internal:member_added","channel":"presence-room","data":"{\"user_id\":\"2\",\"user_info\":{}}"}"#;
    assert_eq!(a.next_text().await, exact);
    assert_eq!(b.next_text().await, exact);
    c.send(json!({"event": "client-hi", "channel": ROOM, "data": {"x": 1}}))
        .await;
    for tab in [&mut a, &mut b] {
        tab.expect(
            json!({"event": "client-hi", "channel": ROOM, "data": "{\"x\":1}", "user_id": "2"}),
        )
        .await;
    }
    drop(a);
    house.settles(|sizes| sizes.connections == 2).await;
    b.unsubscribe(ROOM).await;
    assert_eq!(
        c.next_text().await,
        r#"{"event":"pusher_internal:member_removed","channel":"presence-room","data":"{\"user_id\":\"1\"}"}"#
    );
    b.ping().await;
    assert_eq!(b.join(ROOM, &ann()).await["ids"], json!(["2", "1"]));
    expect_added(&mut c, "1", &json!({"n": "Ann"})).await;
    drop(c);
    expect_removed(&mut b, "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_text_whatever_it_was() {
    let house = House::plain().await;
    let (mut watcher, mut number, mut word) = (
        house.client().await,
        house.client().await,
        house.client().await,
    );
    watcher.join(ROOM, &json!({"user_id": 0})).await;
    let snapshot = number
        .join(
            ROOM,
            &json!({"user_id": 10, "user_info": {"name": "Mr. Pusher"}}),
        )
        .await;
    assert_eq!(
        snapshot,
        json!({"count": 2, "ids": ["0", "10"], "hash": {"0": {}, "10": {"name": "Mr. Pusher"}}})
    );
    expect_added(&mut watcher, "10", &json!({"name": "Mr. Pusher"})).await;
    // 10 and "10" are one user; what the others know of it stays.
    let snapshot = word
        .join(
            ROOM,
            &json!({"user_id": "10", "user_info": {"name": "other"}}),
        )
        .await;
    assert_eq!(snapshot["hash"]["10"], json!({"name": "Mr. Pusher"}));
    assert_eq!(snapshot["count"], 2);
    number.unsubscribe(ROOM).await;
    number.ping().await;
    word.unsubscribe(ROOM).await;
    expect_removed(&mut watcher, "10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_info_is_what_the_app_gave() {
    let house = House::plain().await;
    let mut first = house.client().await;
    first.join(ROOM, &json!({"user_id": "first"})).await;
    for (n, info) in [
        json!(null),
        json!("text"),
        json!([1, "ü😀\"\\"]),
        json!({"a": {"b": 1}}),
    ]
    .iter()
    .enumerate()
    {
        let id = format!("ü\"{n}");
        let mut client = house.client().await;
        let snapshot = client
            .join(ROOM, &json!({"user_id": id, "user_info": info}))
            .await;
        let expected = if info.is_null() { &json!({}) } else { info };
        // {} or null will do for a user without info, as long as there is an entry.
        let got = snapshot["hash"].get(&id).expect("an entry for every id");
        assert!(
            got == expected || (info.is_null() && got.is_null()),
            "{got}"
        );
        assert_eq!(first.next().await["event"], "pusher_internal:member_added");
        drop(client);
        expect_removed(&mut first, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_named_is_refused() {
    let house = House::plain().await;
    let mut client = house.client().await;
    let unauthorized = ("AuthError", 401, 4009);
    let long = format!(r#"{{"user_id":"{}"}}"#, "x".repeat(129));
    for data in [
        "",
        "nonsense",
        "[]",
        "{}",
        r#"{"user_id":""}"#,
        r#"{"user_id":null}"#,
        r#"{"user_id":true}"#,
        r#"{"user_id":1.5}"#,
        r#"{"user_id":["1"]}"#,
        r#"{"user_id":{"id":"1"}}"#,
        r#"{"user_info":{}}"#,
        &long,
    ] {
        client.ask(ROOM, Some(data)).await;
        expect_refused(&mut client, unauthorized, "channel_data").await;
    }
    client.ask(ROOM, None).await;
    expect_refused(
        &mut client,
        unauthorized,
        "Missing parameter: data.channel_data",
    )
    .await;
    // The very bytes are signed.
    let auth = client.auth(ROOM, Some(r#"{"user_id":"1"}"#));
    client.send(json!({"event": "pusher:subscribe", "data": {"channel": ROOM, "auth": auth, "channel_data": r#"{"user_id": "1"}"#}})).await;
    expect_refused(&mut client, unauthorized, "Invalid signature").await;
    client
        .join(ROOM, &json!({"user_id": "x".repeat(128)}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_room_takes_its_members_second_tabs_only() {
    let house = House::open([app_with(|app| app.limits.presence_members = 2)]).await;
    let (mut a, mut b, mut c) = (
        house.client().await,
        house.client().await,
        house.client().await,
    );
    a.join(ROOM, &ann()).await;
    b.join(ROOM, &bob()).await;
    c.ask(ROOM, Some(r#"{"user_id":"3"}"#)).await;
    expect_refused(
        &mut c,
        ("LimitReached", 4100, 4100),
        "presence_members is 2",
    )
    .await;
    assert_eq!(c.join(ROOM, &ann()).await["count"], 2);
    c.unsubscribe(ROOM).await;
    expect_added(&mut a, "2", &json!({})).await;
    b.unsubscribe(ROOM).await;
    expect_removed(&mut a, "2").await;
    c.join(ROOM, &json!({"user_id": "3"})).await;
    expect_added(&mut a, "3", &json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_members_fit_and_no_more() {
    let house = House::plain().await;
    let mut clients = Vec::new();
    for n in 0..100 {
        let mut client = house.client().await;
        assert_eq!(
            client
                .join(ROOM, &json!({"user_id": n, "user_info": "x".repeat(1000)}))
                .await["count"],
            n + 1
        );
        clients.push(client);
    }
    let mut late = house.client().await;
    late.ask(ROOM, Some(r#"{"user_id":"one more"}"#)).await;
    expect_refused(
        &mut late,
        ("LimitReached", 4100, 4100),
        "presence_members is 100",
    )
    .await;
    assert_eq!(
        late.join(ROOM, &json!({"user_id": "7"})).await["count"],
        100
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_says_too_much_is_refused() {
    let house = House::plain().await;
    let mut client = house.client().await;
    let member = |length: usize| json!({"user_id": "1", "user_info": "x".repeat(length)});
    // Of the 1024 bytes the id takes one, and the quotes two.
    client.ask(ROOM, Some(&member(1022).to_string())).await;
    expect_refused(
        &mut client,
        ("LimitReached", 4301, 4301),
        "presence_member_bytes is 1024",
    )
    .await;
    client.join(ROOM, &member(1021)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_again_is_quiet_and_never_changes_the_user() {
    let house = House::plain().await;
    let (mut a, mut b) = (house.client().await, house.client().await);
    a.join(ROOM, &ann()).await;
    b.join(ROOM, &bob()).await;
    expect_added(&mut a, "2", &json!({})).await;
    assert_eq!(b.join(ROOM, &bob()).await["count"], 2);
    b.ask(ROOM, Some(&ann().to_string())).await;
    expect_refused(
        &mut b,
        ("AuthError", 401, 4009),
        "Existing subscription to channel presence-room",
    )
    .await;
    let mut api = house.api().await;
    assert_eq!(
        api.get("/channels/presence-room/users", &[]).await.json(),
        json!({"users": [{"id": "1"}, {"id": "2"}]})
    );
    drop(b);
    expect_removed(&mut a, "2").await;
    a.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_in_user_needs_no_channel_data() {
    let house = House::plain().await;
    let (mut a, mut b) = (house.client().await, house.client().await);
    a.join(ROOM, &ann()).await;
    b.sign_in(&json!({"id": "9", "user_info": {"n": "Zoe"}}))
        .await;
    b.ask(ROOM, None).await;
    assert_eq!(
        b.snapshot(ROOM).await["hash"],
        json!({"1": {"n": "Ann"}, "9": {"n": "Zoe"}})
    );
    expect_added(&mut a, "9", &json!({"n": "Zoe"})).await;
    b.send(json!({"event": "client-x", "channel": ROOM, "data": "1"}))
        .await;
    a.expect(json!({"event": "client-x", "channel": ROOM, "data": "1", "user_id": "9"}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_told_apart_by_channel_and_leave_all_at_once() {
    let house = House::plain().await;
    let (mut a, mut b) = (house.client().await, house.client().await);
    for room in [ROOM, "presence-other", "presence-cache-third"] {
        assert_eq!(a.join(room, &ann()).await["count"], 1);
        if room.contains("cache") {
            a.expect_on(room, "pusher:cache_miss", "{}").await;
        }
    }
    b.join("presence-other", &bob()).await;
    a.expect_on(
        "presence-other",
        "pusher_internal:member_added",
        r#"{"user_id":"2","user_info":{}}"#,
    )
    .await;
    drop(a);
    b.expect_on(
        "presence-other",
        "pusher_internal:member_removed",
        r#"{"user_id":"1"}"#,
    )
    .await;
    let mut api = house.api().await;
    assert_eq!(
        api.get("/channels", &[]).await.json(),
        json!({"channels": {"presence-other": {}}})
    );
}
