//! What cannot be, and what happens to two who want the same.

use serde_json::{Value, json};

use crate::desk::{Store, with_each_store};

const APPS: &str = "/api/reverb-apps";

fn path(app: &Value) -> String {
    format!("{APPS}/{}", app["id"])
}

with_each_store!(
    mistakes_are_told_by_field,
    what_the_file_has_is_taken_and_not_shown,
    two_who_make_the_same_app_at_once_make_one,
    changes_at_the_same_time_are_all_made,
);

fn mistakes_are_told_by_field(store: Store) {
    let desk = store.desk();
    desk.post(APPS, json!({}))
        .says(422, "The name field is required.");
    desk.call("POST", APPS, Value::Null)
        .says(422, "The name field is required.");
    for wrong in [
        "https://example.com",
        "example.com/x",
        "example.com:80",
        "example.com?x",
        "",
        "not a domain!",
    ] {
        let reply = desk.post(APPS, json!({"name": "Shop", "allowed_origins": [wrong]}));
        let message = "The allowed_origins.0 field must be a domain (e.g. example.com) or '*'.";
        reply.says(422, message);
        assert_eq!(
            reply.body["errors"],
            json!({"allowed_origins.0": [message]})
        );
    }
    for (field, wrong) in [
        ("app_id", "with spaces"),
        ("app_key", "with:colon"),
        ("app_secret", "with/slash/0123456"),
    ] {
        let reply = desk.post(APPS, json!({"name": "Shop", (field): wrong}));
        reply.says(
            422,
            &format!("The {} field format is invalid.", field.replace('_', " ")),
        );
    }
    let reply = desk.post(
        APPS,
        json!({"app_id": "short", "app_key": "short", "app_secret": "short"}),
    );
    reply.says(422, "The name field is required. (and 3 more errors)");
    assert_eq!(
        reply.body["errors"]["app_secret"],
        json!(["The app secret field must be at least 16 characters."])
    );

    let app = desk.made(json!({"app_id": "taken-id", "app_key": "taken-key"}));
    let reply = desk.post(
        APPS,
        json!({"name": "Shop", "app_id": "taken-id", "app_key": "taken-key"}),
    );
    reply.says(422, "The app id has already been taken. (and 1 more error)");
    assert_eq!(
        reply.body["errors"]["app_key"],
        json!(["The app key has already been taken."])
    );
    let other = desk.made(json!({}));
    desk.patch(&path(&other), json!({"app_key": "taken-key"}))
        .says(422, "The app key has already been taken.");
    desk.patch(&path(&other), json!({"app_id": "another-id"}))
        .says(422, "The app id field cannot be changed.");
    // What it has itself is not taken.
    desk.patch(
        &path(&app),
        json!({"app_id": "taken-id", "app_key": "taken-key"}),
    )
    .ok(200);
}

fn what_the_file_has_is_taken_and_not_shown(store: Store) {
    let desk = store.configured(
        "[[apps]]\nid = \"from-the-file\"\nkey = \"key-of-the-file\"\nsecret = \"s\"\n",
    );
    assert_eq!(desk.get(APPS).ok(200)["data"], json!([]));
    let reply = desk.post(APPS, json!({"name": "Shop", "app_id": "from-the-file"}));
    reply.says(422, "The app id has already been taken.");
    let reply = desk.post(APPS, json!({"name": "Shop", "app_key": "key-of-the-file"}));
    reply.says(422, "The app key has already been taken.");
}

fn two_who_make_the_same_app_at_once_make_one(store: Store) {
    let desk = store.desk();
    for n in 0..5 {
        let made = std::thread::scope(|scope| {
            let make = || {
                desk.post(
                    APPS,
                    json!({"name": "Shop", "app_id": format!("same-app-{n}")}),
                )
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            let replies = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            let statuses = replies.map(|reply| match reply.status {
                201 => 201,
                _ => {
                    reply.says(422, "The app id has already been taken.");
                    422
                }
            });
            statuses.filter(|status| *status == 201).count()
        });
        assert_eq!(made, 1);
    }
}

fn changes_at_the_same_time_are_all_made(store: Store) {
    let desk = store.desk();
    let path = path(&desk.made(json!({})));
    std::thread::scope(|scope| {
        scope.spawn(|| desk.patch(&path, json!({"name": "Store"})).ok(200)["data"].clone());
        scope.spawn(|| desk.patch(&path, json!({"description": "Text"})).ok(200)["data"].clone());
        scope.spawn(|| desk.patch(&path, json!({"max_connections": 7})).ok(200)["data"].clone());
    });
    let app = desk.get(&path).ok(200)["data"].clone();
    assert_eq!(
        (&app["name"], &app["description"], &app["max_connections"]),
        (&json!("Store"), &json!("Text"), &json!(7))
    );
}
