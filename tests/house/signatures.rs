//! Who has signed a request, in whatever way its SDK does it. Source: PROTOCOL 7.2 and 12.

use std::time::Duration;

use reverb_core::clock::{Clock, ManualClock};
use reverb_core::protocol::App;
use serde_json::json;

use crate::api::{Handmade, md5, pairs, sign};
use crate::harness::{House, app, stopped_clock};

#[tokio::test(flavor = "multi_thread")]
async fn the_published_signatures_are_accepted() {
    let app = App::new("3", "278d425bdf160c739803", "7ad3773142a6692b25b8").expect("an app");
    let clock = ManualClock::new(Duration::from_secs(1_353_088_179));
    let house = House::at(&clock, [app]).await;
    let mut wire = house.wire().await;
    const KEY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0";
    let post = |path: &str, md5: &str, signature: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /apps/3{path}?{KEY}&body_md5={md5}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let get = |path: &str, query: &str, signature: &str| {
        format!(
            "GET /apps/3{path}?{KEY}&{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\n\r\n"
        )
    };
    for (request, body) in [
        (
            post(
                "/events",
                "ec365a775a4cd0599faeb73354201b6f",
                "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
                r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#,
            ),
            "{}",
        ),
        (
            post(
                "/events",
                "f504a0f1379f3ab2b3f69ed892169485",
                "0046ff1245a06272c230b4b72bdf82f7024aa060e91e7fc3c5d45ac6cf786e40",
                r#"{"name":"café","channels":["my-channel"],"data":"{\"m\":\"héllo 😀\"}"}"#,
            ),
            "{}",
        ),
        (
            get(
                "/channels",
                "filter_by_prefix=presence-&info=user_count",
                "16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291",
            ),
            r#"{"channels":{}}"#,
        ),
        (
            get(
                "/channels/presence-room",
                "body_md5=d41d8cd98f00b204e9800998ecf8427e&info=user_count%2Csubscription_count",
                "a36f3524f607276b73975ed0170196bf91c05b5532ef7fe0e1f60ec46e4c3ff0",
            ),
            r#"{"occupied":false,"user_count":0,"subscription_count":0}"#,
        ),
        (
            post(
                "/users/12345/terminate_connections",
                "99914b932bd37a50b983c5e7c90ae93b",
                "01fa634edeb0cae84115307cad5c23f65a46cd286461b1c89637a3b5871a8f0e",
                "{}",
            ),
            "{}",
        ),
    ] {
        wire.send(&request).await;
        assert_eq!(wire.reply().await.ok(), body, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_sdk_encodes_its_signature_is_understood() {
    let house = House::plain().await;
    let mut client = house.client().await;
    client
        .join("presence-a@b;c", &json!({"user_id": "1"}))
        .await;
    let mut api = house.api().await;
    let (list, one) = ("/apps/1001/channels", "/apps/1001/channels/presence-a@b;c");
    let both = "info=user_count,subscription_count";
    let counts = r#"{"occupied":true,"user_count":1,"subscription_count":1}"#;
    let prefix = "filter_by_prefix=presence-&info=user_count";
    let listed = r#"{"channels":{"presence-a@b;c":{"user_count":1}}}"#;
    for (paths, queries, answer) in [
        ([one; 2], [both; 2], counts),
        (
            [one; 2],
            ["info=user_count%2Csubscription_count", both],
            counts,
        ),
        (
            [one; 2],
            ["info=user_count%2csubscription_count", both],
            counts,
        ),
        // PHP, when it is given a list.
        (
            [one; 2],
            ["info[0]=user_count&info[1]=subscription_count", both],
            counts,
        ),
        (
            [one; 2],
            [
                "info%5B0%5D=user_count&info%5B1%5D=subscription_count",
                both,
            ],
            counts,
        ),
        (
            [one; 2],
            ["info[]=user_count&info[]=subscription_count", both],
            counts,
        ),
        // Keys are signed in lower case.
        (
            [one; 2],
            ["INFO=user_count,subscription_count", both],
            counts,
        ),
        // In any order, and sorted only for the signature.
        (
            [list; 2],
            ["info=user_count&filter_by_prefix=presence-", prefix],
            listed,
        ),
        // The path as sent, or decoded.
        (
            ["/apps/1001/channels/presence-a%40b%3Bc"; 2],
            [both; 2],
            counts,
        ),
        (
            ["/apps/1001/channels/presence-a%40b%3Bc", one],
            [both; 2],
            counts,
        ),
        // A space, as a plus or escaped; and a plus that is one.
        (
            [list; 2],
            ["filter_by_prefix=a+b", "filter_by_prefix=a b"],
            r#"{"channels":{}}"#,
        ),
        (
            [list; 2],
            ["filter_by_prefix=a%20b", "filter_by_prefix=a b"],
            r#"{"channels":{}}"#,
        ),
        (
            [list; 2],
            ["filter_by_prefix=a+b", "filter_by_prefix=a+b"],
            r#"{"channels":{}}"#,
        ),
        (
            [list; 2],
            ["filter_by_prefix=a%2Bb", "filter_by_prefix=a+b"],
            r#"{"channels":{}}"#,
        ),
        (
            [list; 2],
            ["filter_by_prefix=%C3%BC", "filter_by_prefix=ü"],
            r#"{"channels":{}}"#,
        ),
        (
            [list; 2],
            ["filter_by_prefix=", "filter_by_prefix="],
            r#"{"channels":{"presence-a@b;c":{}}}"#,
        ),
        (
            [list; 2],
            ["unknown=x&x", "unknown=x&x="],
            r#"{"channels":{"presence-a@b;c":{}}}"#,
        ),
    ] {
        let request = Handmade {
            method: "GET",
            paths,
            queries,
            body: "",
        };
        let reply = request.ask(&mut api).await;
        assert_eq!(reply.ok(), answer, "{paths:?} {queries:?}");
    }
    // Not just anything: another value, another path, another method.
    for (paths, queries) in [
        ([one; 2], ["info=user_count", "info=subscription_count"]),
        ([one, list], [both; 2]),
        (
            [list; 2],
            ["filter_by_prefix=a%2Bb", "filter_by_prefix=a b"],
        ),
    ] {
        let reply = Handmade {
            method: "GET",
            paths,
            queries,
            body: "",
        }
        .ask(&mut api)
        .await;
        reply.expect_error(
            401,
            "Invalid signature: you should have sent HmacSHA256Hex(\"GET",
        );
    }
    let event = r#"{"name":"e","channel":"presence-a@b;c","data":"1"}"#;
    let events = "/apps/1001/events";
    for queries in [
        ["x=a+b", "x=a b"],
        ["x=a+b", "x=a+b"],
        ["x[0]=a&x[1]=b", "x=a,b"],
        ["Z=%C3%BC", "z=ü"],
    ] {
        let reply = Handmade {
            method: "POST",
            paths: [events; 2],
            queries,
            body: event,
        }
        .ask(&mut api)
        .await;
        assert_eq!(reply.ok(), "{}", "{queries:?}");
        client.expect_on("presence-a@b;c", "e", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sdk_does_not_sign_the_prefix_of_a_path() {
    let house = House::with([app()], |builder| builder.path("/reverb/v1")).await;
    let mut client = house.knock("/reverb/v1/app/app-key").await;
    client.greeted().await;
    client.subscribe("a").await;
    let mut outside = house.knock("/app/app-key").await;
    outside.expect_close(4005, "/app/{key}").await;
    let mut api = house.api().await;
    let body = r#"{"name":"e","channel":"a","data":"1"}"#;
    for (method, path, body, answer) in [
        ("POST", "/apps/1001/events", body, "{}"),
        ("GET", "/apps/1001/channels", "", r#"{"channels":{"a":{}}}"#),
        ("POST", "/apps/1001/events", body, "{}"),
    ] {
        let full = format!("/reverb/v1{path}");
        for signed in [path, &full] {
            let reply = Handmade {
                method,
                paths: [&full, signed],
                queries: ["", ""],
                body,
            }
            .ask(&mut api)
            .await;
            assert_eq!(reply.ok(), answer, "{signed}");
        }
        let reply = Handmade {
            method,
            paths: [path; 2],
            queries: ["", ""],
            body,
        }
        .ask(&mut api)
        .await;
        reply.expect_error(404, "Not found");
    }
    for _ in 0..4 {
        client.expect_on("a", "e", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_signed_is_told_how_and_nothing_is_sent() {
    let clock = stopped_clock();
    let other = App::new("2", "other-key", "other-secret").expect("an app");
    let house = House::at(&clock, [app(), other]).await;
    let mut client = house.client().await;
    client.subscribe("a").await;
    let body = r#"{"name":"e","channel":"a","data":"1"}"#;
    let mut api = house.api().await;
    // The server's time, to the second.
    api.time = clock.unix_time().as_secs();
    let (md5, now) = (md5(body.as_bytes()), api.time);
    let target = |parameters: &[(&str, &str)], secret_of: &App| {
        let mut all = parameters.to_vec();
        all.sort_unstable();
        let signature = sign(
            secret_of,
            &format!("POST\n/apps/1001/events\n{}", pairs(&all)),
        );
        (format!("/apps/1001/events?{}", pairs(&all)), signature)
    };
    let time = |seconds: i64| now.saturating_add_signed(seconds).to_string();
    let (apps, fresh) = (house.apps.clone(), time(0));
    let good = [
        ("auth_key", "app-key"),
        ("auth_timestamp", &*fresh),
        ("auth_version", "1.0"),
        ("body_md5", &*md5),
    ];
    let with = |name: &'static str, value: &str| -> Vec<(&str, String)> {
        let kept = good
            .iter()
            .filter(|(n, _)| *n != name)
            .map(|(n, v)| (*n, (*v).to_owned()));
        let added = (!value.is_empty()).then(|| (name, value.to_owned()));
        kept.chain(added).collect()
    };
    let zeros = "0".repeat(32);
    for (parameters, signer, says) in [
        (
            with("auth_key", ""),
            0,
            "Missing parameter in the query: auth_key",
        ),
        (with("auth_key", "nobody"), 0, "auth_key"),
        (with("auth_key", "other-key"), 1, "auth_key"),
        (with("auth_version", "2.0"), 0, "auth_version"),
        (with("auth_timestamp", ""), 0, "auth_timestamp"),
        (with("auth_timestamp", "soon"), 0, "auth_timestamp"),
        (with("auth_timestamp", "-5"), 0, "auth_timestamp"),
        (with("auth_timestamp", &time(-601)), 0, "Timestamp expired"),
        (with("auth_timestamp", &time(601)), 0, "Timestamp"),
        (with("body_md5", ""), 0, "body_md5"),
        (with("body_md5", &zeros), 0, "body_md5"),
        (with("body_md5", &md5.to_uppercase()), 0, "body_md5"),
        (
            with("x", "1"),
            1,
            "Invalid signature: you should have sent HmacSHA256Hex(\"POST\\n/apps/1001/events\\nauth_key=app-key&auth_timestamp=",
        ),
    ] {
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(n, v)| (*n, &**v)).collect();
        let (target, signature) = target(&parameters, &apps[signer]);
        let length = body.len();
        let head = format!(
            "POST {target}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        api.wire.send(head).await;
        api.wire.reply().await.expect_error(401, says);
    }
    let (target, signature) = target(&good, &apps[0]);
    for (query, says) in [
        (String::new(), "auth_signature"),
        ("&auth_signature=".into(), "Invalid signature"),
        (
            format!("&auth_signature={}", signature.to_uppercase()),
            "Invalid signature",
        ),
        (
            format!("&auth_signature={signature}&auth_signature={signature}"),
            "twice",
        ),
        (
            format!("&auth_key=app-key&auth_signature={signature}"),
            "twice",
        ),
    ] {
        let length = body.len();
        api.wire
            .send(format!(
                "POST {target}{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
            .await;
        let reply = api.wire.reply().await;
        reply.expect_error(401, says);
        assert!(!reply.body.contains("app-secret") && !reply.body.contains(&signature));
    }
    for seconds in [-600, 600] {
        api.time = now.saturating_add_signed(seconds);
        api.publish("a", "in time", "").await;
        client.expect_on("a", "in time", "").await;
    }
}
