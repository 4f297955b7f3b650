//! Who gets in, and how often.

use reverb_core::queue::Queue;

use super::*;

#[tokio::test]
async fn without_a_token_nobody_learns_what_there_is() {
    let desk = Desk::new();
    desk.call("POST /api/reverb-apps", json!({"name": "Shop"}))
        .await;
    for line in [
        "GET /api/reverb-apps",
        "GET /api/reverb-apps/1",
        "GET /api/reverb-apps/99999",
        "POST /api/reverb-apps/restart",
        "PUT /api/reverb-apps",
        "GET /api/nothing",
        "GET /api",
    ] {
        for token in ["", "another-token"] {
            let reply = desk
                .from(&format!("192.0.2.{}", line.len()), token, line, Value::Null)
                .await;
            assert_eq!(reply.status, 401, "{line}");
            assert_eq!(
                reply.body,
                json!({"message": "Invalid API token."}),
                "{line}"
            );
        }
    }
    for config in [None, Some(Token::new(""))] {
        let is_set = config.is_some();
        let closed = Desk::with(|all| all.api_token = config, true);
        let reply = closed.call("GET /api/reverb-apps/99999", Value::Null).await;
        let message = if is_set {
            "Invalid API token."
        } else {
            "API access is not configured."
        };
        assert_eq!(
            (reply.status, &reply.body),
            (401, &json!({"message": message}))
        );
        let reply = closed.call("GET /api/openapi.json", Value::Null).await;
        assert_eq!(
            (reply.status, &reply.body["openapi"]),
            (200, &json!("3.1.0"))
        );
    }
}

#[tokio::test]
async fn guessing_ends_after_ten_tries_and_uses_up_no_calls() {
    let desk = Desk::new();
    let (list, there) = ("GET /api/reverb-apps", "192.0.2.1");
    for n in 1..=10 {
        let reply = desk.from(there, "a-guess", list, Value::Null).await;
        assert_eq!((reply.status, reply.left()), (401, Some((10, 10 - n))));
    }
    desk.clock.advance(Duration::from_millis(17_500));
    for token in ["a-guess", TOKEN] {
        let reply = desk.from(there, token, list, Value::Null).await;
        assert_eq!((reply.status, reply.left()), (429, Some((10, 0))));
        assert_eq!(reply.body, json!({"message": "Too Many Attempts."}));
        assert_eq!(reply.number("retry-after"), Some(43));
        assert_eq!(reply.number("x-ratelimit-reset"), Some(1_700_000_017 + 43));
    }
    assert_eq!(
        desk.from("192.0.2.2", TOKEN, list, Value::Null)
            .await
            .status,
        200
    );
    desk.clock.advance(Duration::from_secs(43));
    let reply = desk.from(there, TOKEN, list, Value::Null).await;
    assert_eq!((reply.status, reply.left()), (200, Some((60, 59))));
}

#[tokio::test]
async fn calls_and_restarts_are_counted_apart() {
    let desk = Desk::new();
    let there = "192.0.2.1";
    let call = async |line| desk.from(there, TOKEN, line, Value::Null).await;
    for n in 1..=10 {
        assert_eq!(
            call("GET /api/reverb-apps").await.left(),
            Some((60, 60 - n))
        );
    }
    for n in 1..=5 {
        let reply = call("POST /api/reverb-apps/restart").await;
        assert_eq!((reply.status, reply.left()), (200, Some((5, 5 - n))));
        assert_eq!(
            reply.body,
            json!({"message": "Reverb server restart has been queued."})
        );
    }
    let reply = call("POST /api/reverb-apps/restart").await;
    assert_eq!((reply.status, reply.left()), (429, Some((5, 0))));
    // Five calls were restarts, and one was refused as one.
    for n in 17..=60 {
        let reply = call("GET /api/reverb-apps/5").await;
        assert_eq!((reply.status, reply.left()), (404, Some((60, 60 - n))));
    }
    let reply = call("GET /api/reverb-apps").await;
    assert_eq!((reply.status, reply.left()), (429, Some((60, 0))));
    assert_eq!(reply.number("retry-after"), Some(60));
    desk.clock.advance(Duration::from_secs(60));
    assert_eq!(
        call("POST /api/reverb-apps/restart").await.left(),
        Some((5, 4))
    );
}

#[tokio::test]
async fn a_restart_is_a_job_for_one_of_the_servers() {
    let desk = Desk::new();
    desk.call("POST /api/reverb-apps/restart", Value::Null)
        .await;
    let lasting = Duration::from_secs(60);
    let leased = desk.queue.lease(&[], lasting).await.expect("an answer");
    assert_eq!(leased.expect("a job").kind, "reload");
    let mut status = 200;
    for n in 1..=ROOM {
        assert_eq!(status, 200, "{n}");
        let reply = desk.call("POST /api/reverb-apps/restart", Value::Null);
        status = reply.await.status;
    }
    assert_eq!(status, 503, "the queue is full");
}
