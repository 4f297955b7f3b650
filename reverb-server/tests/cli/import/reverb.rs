//! From Laravel Reverb: its `.env` and its configuration.

use serde_json::{Value, json};

use super::shown;
use crate::place::Place;

/// What Laravel has after `reverb:install`, and what somebody has set.
const REVERB_ENV: &str = r#"
APP_NAME="Der Laden"
APP_ENV=production
BROADCAST_CONNECTION=reverb
REVERB_APP_ID=338071
REVERB_APP_KEY=kd0bhyvm7cmuhbpflg3g
REVERB_APP_SECRET=ws1k2v9hno0tmhvmj1nf
REVERB_HOST="ws.shop.test"
REVERB_PORT=443
REVERB_SCHEME=https
REVERB_APP_MAX_CONNECTIONS=250
REVERB_APP_ACTIVITY_TIMEOUT=45
REVERB_APP_PING_INTERVAL=20
REVERB_APP_MAX_MESSAGE_SIZE=50000
REVERB_APP_RATE_LIMITING_ENABLED=true
REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS=90
REVERB_APP_FANCY=1
VITE_REVERB_APP_KEY="${REVERB_APP_KEY}"
"#;

/// `echo json_encode(config('reverb'))` with two apps.
const REVERB_JSON: &str = r#"{"default":"reverb","servers":{"reverb":{"host":"0.0.0.0","port":8080,"path":"","hostname":null,
"options":{"tls":[]},"max_request_size":20000,"scaling":{"enabled":false,"channel":"reverb"},"pulse_ingest_interval":15}},
"apps":{"provider":"config","apps":[
{"key":"shop-key","secret":"shop-s3cret","app_id":"1001","options":{"host":null,"port":443,"scheme":"https","useTLS":true},
 "allowed_origins":["https://shop.test","*.shop.test"],"ping_interval":60,"activity_timeout":30,"max_connections":"40",
 "max_message_size":10000,"accept_client_events_from":"members",
 "rate_limiting":{"enabled":false,"max_attempts":60,"decay_seconds":60,"terminate_on_limit":false}},
{"key":"chat-key","secret":"chat-s3cret","app_id":1002,"options":[],"allowed_origins":[],"ping_interval":60,
 "activity_timeout":30,"max_connections":null,"max_message_size":5000}
]}}"#;

#[test]
fn the_env_of_laravel_reverb_is_taken_over_and_served() {
    let place = Place::new();
    place.write("laravel.env", REVERB_ENV);
    let said = place.succeeds(&["import", "laravel.env"]);
    assert!(
        said.starts_with("laravel.env: .env of Laravel Reverb, 1 app\n"),
        "{said}"
    );
    for lost in [
        "ping_interval has no counterpart",
        "rate_limiting (90 messages of a connection in 60 s)",
        "REVERB_APP_FANCY is unknown",
        "accept_client_events_from is members: here that is private and presence channels; app update ID --client-events all",
        "Laravel Reverb has no limits for these, and an app has some here: presence_members 100, ",
    ] {
        assert!(
            said.contains(&format!("  338071: {lost}")),
            "{lost} in:\n{said}"
        );
    }
    assert!(!said.contains("ws1k2v9hno0tmhvmj1nf"));
    let app = shown(&place, "338071");
    let expected = json!({
        "key": "kd0bhyvm7cmuhbpflg3g", "secret": "ws1k2v9hno0tmhvmj1nf", "name": "Der Laden", "max_connections": 250,
        "activity_timeout": 45, "client_events": "members", "allowed_origins": ["*"], "active": true,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&app[name], value, "{name}");
    }
    assert_eq!(app["limits"]["event_bytes"], 50_000);
    let server = place.start(&[]);
    let mut client = server.knock("kd0bhyvm7cmuhbpflg3g");
    client.hears("\\\"activity_timeout\\\":45");
}

#[test]
fn an_app_that_the_server_reads_from_its_env_is_not_imported_beside_that() {
    let place = Place::new();
    place.write(".env", REVERB_ENV);
    let (code, said) = place.ends(&["import", ".env"]);
    assert_eq!(code, 4);
    assert!(
        said.contains("that of the app in .env:5, which the server takes from there"),
        "{said}"
    );
    let output = place.run(&["export"], &[]);
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("the app 338071 is not in the export: it is in .env:5")
    );
}

#[test]
fn the_configuration_of_laravel_reverb_is_taken_over() {
    let place = Place::new();
    place.write("reverb.json", REVERB_JSON);
    let said = place.succeeds(&["import", "reverb.json"]);
    assert!(
        said.starts_with("reverb.json: configuration of Laravel Reverb, 2 apps\n"),
        "{said}"
    );
    assert!(said.contains("  1002: allowed_origins is empty"), "{said}");
    assert!(
        said.contains("  1002: accept_client_events_from is left out"),
        "{said}"
    );
    assert!(said.contains("  1002: max_message_size is 5000"), "{said}");
    let (shop, chat) = (shown(&place, "1001"), shown(&place, "1002"));
    assert_eq!(shop["allowed_origins"], json!(["shop.test", "*.shop.test"]));
    assert_eq!(
        (&shop["max_connections"], &chat["max_connections"]),
        (&json!(40), &Value::Null)
    );
    assert_eq!(
        (&shop["client_events"], &chat["client_events"]),
        (&json!("members"), &json!("all"))
    );
    assert_eq!(
        shop["limits"]["event_bytes"], 20_000,
        "as large as a request could be"
    );
    assert_eq!(chat["allowed_origins"], json!([]));
    assert_eq!(chat["secret"], "chat-s3cret");
}
