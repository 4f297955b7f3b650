//! The gates, and stores that do not do as they should. What callers see of all else is in tests/api.

mod gates;
mod store;

use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};
use http_body_util::Full;
use reverb_core::app_store::{AppEditor, AppRow};
use reverb_core::clock::ManualClock;
use reverb_core::protocol::App;
use reverb_core::queue::MemoryQueue;
use serde_json::{Value, json};

use self::store::Store;
use super::*;
use crate::apps::Database;
use crate::panel::store::SqlitePanel;

/// So many jobs fit into the queue.
const ROOM: usize = 10;
const TOKEN: &str = "a-token-that-is-long-enough";

struct Desk {
    api: Api,
    clock: ManualClock,
    store: Arc<Store>,
    queue: MemoryQueue,
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    fn number(&self, header: &str) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.parse().ok()
    }

    /// Limit, and what remains of it.
    fn left(&self) -> Option<(u64, u64)> {
        self.number("x-ratelimit-limit")
            .zip(self.number("x-ratelimit-remaining"))
    }
}

impl Desk {
    fn new() -> Self {
        Self::with(|config| config.api_token = Some(Token::new(TOKEN)), true)
    }

    fn with(change: impl FnOnce(&mut Config), has_database: bool) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let clock = ManualClock::new(Duration::from_secs(1_700_000_000));
        let (store, queue) = (Arc::new(Store::default()), MemoryQueue::new(ROOM));
        let database = has_database.then(|| Database {
            queue: Arc::new(queue.clone()),
            apps: store.clone(),
            panel: Arc::new(SqlitePanel::nowhere()),
            name: "a store".to_owned(),
            pushed: Arc::default(),
        });
        Self {
            api: Api::new(&config, Apps::new(&config, database), clock.clone()),
            clock,
            store,
            queue,
        }
    }

    async fn from(&self, address: &str, token: &str, line: &str, body: Value) -> Reply {
        let (method, target) = line.split_once(' ').expect("method and target");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "x")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let peer = (address.parse::<IpAddr>().expect("an address"), 4711).into();
        request.extensions_mut().insert(Peer(peer));
        if !token.is_empty() {
            let shown = format!("Bearer {token}").parse().expect("a header");
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        let path = request.uri().path().to_owned();
        let (head, body) = self.api.answer(request, &path).await.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    /// From an address that calls for the first time.
    async fn call(&self, line: &str, body: Value) -> Reply {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let address = (CALLS.fetch_add(1, Ordering::Relaxed) as u32 + 0x0a00_0000).to_be_bytes();
        self.from(&IpAddr::from(address).to_string(), TOKEN, line, body)
            .await
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told_without_its_secrets() {
    let desk = Desk::new();
    desk.call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    desk.store.is_away.store(true, Ordering::Release);
    let calls = [
        ("GET /api/reverb-apps", Value::Null),
        ("POST /api/reverb-apps", json!({"name": "Shop"})),
        (
            "POST /api/reverb-apps",
            json!({"name": "Shop", "app_id": "app-12345"}),
        ),
        ("GET /api/reverb-apps/1", Value::Null),
        ("PATCH /api/reverb-apps/1", json!({})),
        ("DELETE /api/reverb-apps/1", Value::Null),
        ("POST /api/reverb-apps/1/rotate-secret", Value::Null),
        ("POST /api/reverb-apps/1/rotate-key", Value::Null),
    ];
    for (line, body) in calls {
        let reply = desk.call(line, body).await;
        let message = "The app store does not answer at the moment. Try again.";
        assert_eq!(
            (reply.status, &reply.body),
            (503, &json!({"message": message})),
            "{line}"
        );
        assert!(reply.headers.contains_key(RETRY_AFTER), "{line}");
    }
    // What it says of a body needs no store.
    let reply = desk.call("POST /api/reverb-apps", json!({})).await;
    assert_eq!(reply.status, 422);
}

#[tokio::test]
async fn what_a_store_has_no_room_for_is_a_mistake_of_its_field() {
    let desk = Desk::new();
    let body = json!({"name": "Shop", "description": "x".repeat(2000)});
    let reply = desk.call("POST /api/reverb-apps", body).await;
    let message = "The description field cannot be kept: it has more than 1000 bytes.";
    let expected = json!({"message": message, "errors": {"description": [message]}});
    assert_eq!((reply.status, &reply.body), (422, &expected));
}

#[tokio::test]
async fn an_app_that_is_stored_wrongly_can_be_seen_and_deleted_and_not_changed() {
    let desk = Desk::new();
    desk.call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    desk.store.has_corrupt.store(true, Ordering::Release);
    let numbers = |reply: &Reply| {
        let data = reply.body["data"].as_array().expect("a list");
        data.iter()
            .map(|app| app["id"].as_u64().expect("a number"))
            .collect::<Vec<_>>()
    };
    let all = desk.call("GET /api/reverb-apps", Value::Null).await;
    assert_eq!(numbers(&all), [1, 99]);
    let active = desk
        .call("GET /api/reverb-apps?active=1", Value::Null)
        .await;
    assert_eq!(numbers(&active), [1]);
    let inactive = desk
        .call("GET /api/reverb-apps?active=0", Value::Null)
        .await;
    assert_eq!(numbers(&inactive), [99]);
    let shown = desk.call("GET /api/reverb-apps/99", Value::Null).await;
    assert_eq!(
        (shown.status, &shown.body["data"]["settings"]),
        (200, &Value::Null)
    );
    for line in [
        "PATCH /api/reverb-apps/99",
        "POST /api/reverb-apps/99/rotate-key",
        "POST /api/reverb-apps/99/rotate-secret",
    ] {
        let reply = desk.call(line, json!({})).await;
        assert_eq!(reply.status, 409, "{line}");
        assert!(!reply.body.to_string().contains("sealed"), "{}", reply.body);
    }
    assert_eq!(
        desk.call("DELETE /api/reverb-apps/99", Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        desk.call("DELETE /api/reverb-apps/99", Value::Null)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_change_that_others_were_faster_with_is_made_all_the_same() {
    let desk = Desk::new();
    desk.call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    desk.store.outdated.store(4, Ordering::Release);
    let reply = desk
        .call("PATCH /api/reverb-apps/1", json!({"name": "Store"}))
        .await;
    assert_eq!(
        (reply.status, &reply.body["data"]["name"]),
        (200, &json!("Store"))
    );
    desk.store.outdated.store(5, Ordering::Release);
    let reply = desk
        .call("PATCH /api/reverb-apps/1", json!({"name": "Laden"}))
        .await;
    assert_eq!((reply.status, reply.number("retry-after")), (409, Some(1)));
}

#[tokio::test]
async fn what_was_done_is_not_called_undone_when_it_cannot_be_read_again() {
    let desk = Desk::new();
    desk.call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    desk.store.goes_away.store(true, Ordering::Release);
    let reply = desk
        .call("POST /api/reverb-apps/1/rotate-secret", Value::Null)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let found = desk.store.apps.row(1).await.expect("an answer");
    let app = found.expect("the app").app.expect("an app");
    assert_eq!(reply.body["data"]["app_secret"], app.secret.reveal());

    desk.store.is_away.store(false, Ordering::Release);
    let body = json!({"name": "Shop", "app_id": "app-unseen"});
    let reply = desk.call("POST /api/reverb-apps", body).await;
    let told = reply.body["message"].as_str().expect("text");
    assert!(told.starts_with("The app app-unseen is made,"), "{told}");
    assert_eq!(reply.status, 503);
}

#[tokio::test]
async fn an_app_that_has_gone_meanwhile_is_named_as_in_the_path() {
    let desk = Desk::new();
    desk.call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    desk.store.has_gone.store(true, Ordering::Release);
    let reply = desk
        .call("PATCH /api/reverb-apps/1", json!({"name": "Store"}))
        .await;
    let message = "No query results for model [App\\Models\\ReverbApp] 1";
    assert_eq!(
        (reply.status, &reply.body),
        (404, &json!({"message": message}))
    );
}

#[tokio::test]
async fn what_is_sent_back_as_it_is_changes_nothing() {
    let desk = Desk::new();
    let body = json!({"name": "Shop", "allowed_origins": ["a.test"]});
    desk.call("POST /api/reverb-apps", body).await;
    let shown = desk.call("GET /api/reverb-apps/1", Value::Null).await;
    let before = desk.store.apps.row(1).await.expect("an answer");
    let reply = desk
        .call("PATCH /api/reverb-apps/1", shown.body["data"].clone())
        .await;
    assert_eq!((reply.status, &reply.body), (200, &shown.body));
    let after = desk.store.apps.row(1).await.expect("an answer");
    let revision = |row: Option<AppRow>| row.expect("the app").app.expect("an app").revision;
    assert_eq!(revision(after), revision(before));
}

#[tokio::test]
async fn more_than_a_page_of_apps_is_one_list() {
    let desk = Desk::new();
    for n in 0..1100 {
        let app = App::new(&format!("{}", 5000 - n), &format!("key-{n}"), "secret");
        desk.store
            .apps
            .create(app.expect("an app"))
            .await
            .expect("made");
    }
    let reply = desk.call("GET /api/reverb-apps", Value::Null).await;
    let data = reply.body["data"].as_array().expect("a list");
    let numbers = data.iter().map(|app| app["id"].as_u64().expect("a number"));
    assert!(numbers.eq(1..=1100));
}

#[tokio::test]
async fn without_a_database_there_is_nothing_to_manage() {
    let desk = Desk::with(|config| config.api_token = Some(Token::new(TOKEN)), false);
    for line in [
        "GET /api/reverb-apps",
        "GET /api/reverb-apps/1",
        "DELETE /api/reverb-apps/1",
    ] {
        let reply = desk.call(line, Value::Null).await;
        assert_eq!(reply.status, 503, "{line}");
        assert!(
            reply.body["message"]
                .as_str()
                .expect("text")
                .contains("--data-dir")
        );
    }
    let reply = desk
        .call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    assert_eq!(reply.status, 503);
}

#[tokio::test]
async fn what_the_configuration_has_is_taken() {
    let desk = Desk::with(
        |config| {
            config.api_token = Some(Token::new(TOKEN));
            config.apps = vec![App::new("configured", "configured-key", "secret").expect("an app")];
        },
        true,
    );
    let body = json!({"name": "Shop", "app_id": "configured", "app_key": "configured-key"});
    let reply = desk.call("POST /api/reverb-apps", body).await;
    let message = "The app id has already been taken. (and 1 more error)";
    assert_eq!(
        (reply.status, &reply.body["message"]),
        (422, &json!(message))
    );
    let made = desk
        .call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    assert_eq!(made.status, 201);
    let reply = desk
        .call(
            "PATCH /api/reverb-apps/1",
            json!({"app_key": "configured-key"}),
        )
        .await;
    assert_eq!(
        reply.body["errors"],
        json!({"app_key": ["The app key has already been taken."]})
    );
}

#[tokio::test]
async fn a_secret_is_rotated_again_once_the_older_one_has_ended() {
    let desk = Desk::new();
    desk.call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    let rotate = async || {
        let body = json!({"overlap": "30m"});
        let line = "POST /api/reverb-apps/1/rotate-secret";
        desk.call(line, body).await.status
    };
    assert_eq!((rotate().await, rotate().await), (200, 409));
    desk.clock.advance(Duration::from_secs(30 * 60 - 1));
    assert_eq!(rotate().await, 409);
    desk.clock.advance(Duration::from_secs(1));
    assert_eq!((rotate().await, rotate().await), (200, 409));
}
