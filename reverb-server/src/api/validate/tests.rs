//! What is taken, and what is said of what is not.

use super::*;
use serde_json::json;

fn mistakes(body: Value, is_new: bool) -> Value {
    let body = body.as_object().expect("an object");
    let (_, mistakes) = Wanted::read(body, (!is_new).then_some(&Value::Null));
    match mistakes.is_empty() {
        true => Value::Null,
        false => serde_json::to_value(&mistakes).expect("JSON"),
    }
}

/// A new app of this body, whose name need not be said.
fn made(mut body: Value) -> App {
    let fields = body.as_object_mut().expect("an object");
    fields.entry("name").or_insert_with(|| "Shop".into());
    assert_eq!(mistakes(body.clone(), true), Value::Null, "{body}");
    let (wanted, _) = Wanted::read(body.as_object().expect("an object"), None);
    let mut app = App::new("1", "key", "secret").expect("an app");
    wanted.apply_to(&mut app);
    app
}

/// The only mistake in a body that would be right without this field.
fn told(field: &str, value: Value) -> String {
    let mut body = json!({"name": "Shop"});
    body[field] = value.clone();
    let told = mistakes(body, true);
    let errors = told["errors"].as_object();
    let errors = errors.unwrap_or_else(|| panic!("{field} was taken: {value}"));
    assert_eq!(errors.len(), 1, "{told}");
    let (key, messages) = errors.iter().next().expect("one");
    assert_eq!(
        messages[0].as_str(),
        told["message"]
            .as_str()
            .map(|text| text.split(" (and").next().expect("text"))
    );
    format!("{key}: {}", told["message"].as_str().expect("text"))
}

#[test]
fn mistakes_are_told_in_laravels_words_and_in_order() {
    let body = json!({"app_key": "a b", "app_id": "short", "allowed_origins": ["*", "a b", ""]});
    let (_, mistakes) = Wanted::read(body.as_object().expect("an object"), None);
    assert_eq!(
        serde_json::to_string(&mistakes).expect("JSON"),
        r#"{"message":"The name field is required. (and 5 more errors)","errors":{"name":["The name field is required."],"app_id":["The app id field must be at least 8 characters."],"app_key":["The app key field must be at least 8 characters.","The app key field format is invalid."],"allowed_origins.1":["The allowed_origins.1 field must be a domain (e.g. example.com) or '*'."],"allowed_origins.2":["The allowed_origins.2 field must be a domain (e.g. example.com) or '*'."]}}"#
    );
    let one_more = Wanted::read(json!({"app_id": 7}).as_object().expect("an object"), None).1;
    assert_eq!(
        one_more.summary(),
        "The name field is required. (and 1 more error)"
    );
    assert_eq!(taken("app_id"), "The app id has already been taken.");
}

#[test]
fn a_name_is_required_of_a_new_app_and_kept_by_others() {
    for none in [json!({}), json!({"name": null}), json!({"name": "  "})] {
        let told = mistakes(none, true);
        assert_eq!(told["message"], "The name field is required.");
    }
    assert_eq!(mistakes(json!({}), false), Value::Null);
    assert_eq!(
        mistakes(json!({"name": ""}), false)["message"],
        "The name field is required."
    );
    assert_eq!(
        made(json!({"name": "\u{feff} Laden 🏪 \u{200b}\0"})).name,
        "Laden 🏪"
    );
    let planes: String = (0..=16u32)
        .filter_map(|plane| char::from_u32(plane << 16 | 0x41))
        .collect();
    assert_eq!(made(json!({"name": planes})).name, planes);
    assert_eq!(
        made(json!({"name": "𝄞".repeat(255)})).name.chars().count(),
        255
    );
    let long = "name: The name field must not be greater than 255 characters.";
    assert_eq!(told("name", "é".repeat(256).into()), long);
    assert_eq!(
        told("name", "a\0b".into()),
        "name: The name field format is invalid."
    );
    for wrong in [json!(7), json!(true), json!(["Shop"]), json!({"a": 1})] {
        assert_eq!(
            told("name", wrong),
            "name: The name field must be a string."
        );
    }
}

#[test]
fn credentials_have_a_length_and_an_alphabet() {
    for (field, name, least) in [
        ("app_id", "app id", 8),
        ("app_key", "app key", 8),
        ("app_secret", "app secret", 16),
    ] {
        for good in ["x".repeat(least), "A_z-".repeat(least), "9".repeat(255)] {
            made(json!({ (field): good }));
        }
        for omitted in [Value::Null, json!(""), json!(" ")] {
            made(json!({ (field): omitted }));
        }
        let short = format!("{field}: The {name} field must be at least {least} characters.");
        assert_eq!(told(field, "x".repeat(least - 1).into()), short);
        let long = format!("{field}: The {name} field must not be greater than 255 characters.");
        assert_eq!(told(field, "x".repeat(256).into()), long);
        for character in [" ", ":", "/", "ä", ".", "\n", "\0", "٣", "%"] {
            let invalid = format!("{field}: The {name} field format is invalid.");
            let text = format!("{0}{character}{0}", "x".repeat(least));
            assert_eq!(told(field, text.into()), invalid);
        }
        for wrong in [json!(12_345_678), json!(false), json!([]), json!({})] {
            assert_eq!(
                told(field, wrong),
                format!("{field}: The {name} field must be a string.")
            );
        }
    }
    let app = made(json!({"app_key": " key-12345 ", "app_secret": "0123456789abcdef"}));
    assert_eq!(
        (app.key.as_str(), app.secret.reveal()),
        ("key-12345", "0123456789abcdef")
    );
}

#[test]
fn a_flag_is_true_or_false_or_one_or_nought() {
    for (value, active) in [
        (json!(true), true),
        (json!(1), true),
        (json!("1"), true),
        (json!(false), false),
        (json!(0), false),
        (json!("0"), false),
    ] {
        assert_eq!(made(json!({"is_active": value})).active, active);
    }
    for wrong in [
        json!("true"),
        json!(2),
        json!(-1),
        json!(1.5),
        json!(null),
        json!(""),
        json!([]),
        json!({}),
    ] {
        assert_eq!(
            told("is_active", wrong),
            "is_active: The is active field must be true or false."
        );
    }
}

#[test]
fn connections_are_a_whole_number_and_null_lifts_the_limit() {
    for (value, most) in [
        (json!(1), Some(1)),
        (json!("250"), Some(250)),
        (json!(" +7 "), Some(7)),
        (json!(10.0), Some(10)),
        (json!(2_147_483_647), Some(2_147_483_647)),
        (json!(null), None),
    ] {
        assert_eq!(
            made(json!({"max_connections": value})).max_connections,
            most
        );
    }
    let field = "max_connections: The max connections field";
    for wrong in [
        json!("many"),
        json!("1e3"),
        json!("007"),
        json!("-"),
        json!(""),
        json!(1.5),
        json!(1e300),
        json!(true),
        json!([1]),
        json!({}),
    ] {
        assert_eq!(
            told("max_connections", wrong),
            format!("{field} must be an integer.")
        );
    }
    for few in [json!(0), json!(-5), json!("-1"), json!(i64::MIN)] {
        assert_eq!(
            told("max_connections", few),
            format!("{field} must be at least 1.")
        );
    }
    for many in [
        json!(2_147_483_648_u32),
        json!(u64::MAX),
        json!("9999999999999"),
    ] {
        assert_eq!(
            told("max_connections", many),
            format!("{field} must not be greater than 2147483647.")
        );
    }
}

#[test]
fn an_origin_is_a_star_or_a_host() {
    let app = made(
        json!({"allowed_origins": ["*", "Example.com", "a.example.com", "localhost", " x-1.test "]}),
    );
    assert_eq!(
        app.allowed_origins.hosts(),
        ["*", "example.com", "a.example.com", "localhost", "x-1.test"]
    );
    for none in [json!(null), json!([]), json!("")] {
        assert!(
            made(json!({"allowed_origins": none}))
                .allowed_origins
                .hosts()
                .is_empty()
        );
    }
    let long = format!(
        "{}.test",
        [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(58)
        ]
        .join(".")
    );
    for wrong in [
        "https://example.com",
        "example.com:8080",
        "example.com/x",
        "example.com?x",
        "a b",
        "a_b.test",
        "*.example.com",
        "-a.test",
        "a-.test",
        ".test",
        "a..b",
        "a.",
        "ä.test",
        "**",
        &"a".repeat(64),
        &long,
        "not a domain!",
        "",
    ] {
        let expected = "allowed_origins.0: The allowed_origins.0 field must be a domain (e.g. example.com) or '*'.";
        assert_eq!(told("allowed_origins", json!([wrong])), expected);
    }
    for wrong in [json!([7]), json!([null]), json!([["*"]])] {
        assert!(told("allowed_origins", wrong).starts_with("allowed_origins.0: "));
    }
    for wrong in [json!("*"), json!(7), json!(true), json!({"a": "*"})] {
        assert_eq!(
            told("allowed_origins", wrong),
            "allowed_origins: The allowed origins field must be an array."
        );
    }
}

#[test]
fn a_description_may_be_anything_and_null_empties_it() {
    assert_eq!(
        made(json!({"description": " long\ntext "})).description,
        "long\ntext"
    );
    assert_eq!(made(json!({"description": null})).description, "");
    for wrong in [json!(7), json!(["x"]), json!({})] {
        assert_eq!(
            told("description", wrong),
            "description: The description field must be a string."
        );
    }
}

#[test]
fn settings_of_ours_are_set_one_by_one() {
    let hook = json!({"url": "https://shop.test/hook", "events": ["member_added"]});
    let mut app = made(json!({"settings": {
        "client_events": "all", "subscription_count": true, "watchlist": false, "force_tls": true,
        "activity_timeout": 17, "limits": {"event_bytes": 5}, "webhooks": [hook],
    }}));
    assert_eq!((app.limits.event_bytes, app.limits.batch_size), (5, 10));
    assert_eq!(
        (app.activity_timeout.as_secs(), app.webhooks.len()),
        (17, 1)
    );
    assert!(app.subscription_count && !app.watchlist && app.force_tls);
    let body = json!({"settings": {"limits": {"batch_size": 3}, "watchlist": null}});
    let (wanted, mistakes) = Wanted::read(body.as_object().expect("an object"), Some(&Value::Null));
    assert!(mistakes.is_empty());
    wanted.apply_to(&mut app);
    assert_eq!(
        (
            app.limits.event_bytes,
            app.limits.batch_size,
            app.webhooks.len()
        ),
        (5, 3, 1)
    );
    for (wrong, why) in [
        (json!({"name": "x"}), "unknown field `name`"),
        (json!({"client_events": "some"}), "unknown variant `some`"),
        (json!({"watchlist": 1}), "expected a boolean"),
        (json!({"activity_timeout": 0}), "from 1 to 86400"),
        (json!({"activity_timeout": 1e9}), "expected u32"),
        (
            json!({"limits": {"event_bites": 1}}),
            "did you mean event_bytes?",
        ),
        (json!({"limits": {"event_bytes": 0}}), "at least 1"),
        (json!({"limits": []}), "expected a map"),
        (
            json!({"webhooks": [{"url": "x", "events": ["cache_miss"]}]}),
            "no address of a webhook",
        ),
    ] {
        let told = told("settings", wrong);
        assert!(
            told.starts_with("settings: The settings field is invalid: ") && told.contains(why),
            "{told}"
        );
    }
    for wrong in [json!([]), json!(7), json!("all")] {
        assert_eq!(
            told("settings", wrong),
            "settings: The settings field must be an object."
        );
    }
}
