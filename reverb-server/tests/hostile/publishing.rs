//! Many who publish to one channel at once: each one's events are heard by everybody, once, and in its order.

use std::thread;

use serde_json::json;

use crate::backend::{Backend, request};
use crate::client::Client;
use crate::server::{Server, shop};

const PUBLISHERS: usize = 8;
const EVENTS: usize = 1000;
const SUBSCRIBERS: usize = 4;

/// Hears everything there is, and checks that each publisher's events come in its order, without a gap or a double.
fn listens(mut client: Client, channels: &[&str]) {
    let mut next = vec![[0; PUBLISHERS]; channels.len()];
    for _ in 0..PUBLISHERS * EVENTS * channels.len() {
        let event = client.hear();
        let channel = channels
            .iter()
            .position(|channel| event["channel"] == *channel);
        let channel = channel.expect("one that it is in");
        let publisher: usize = event["event"]
            .as_str()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        let n: usize = event["data"]
            .as_str()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        assert_eq!(
            n, next[channel][publisher],
            "publisher {publisher} on {}",
            channels[channel]
        );
        next[channel][publisher] += 1;
    }
    client.hears_nothing();
    let all = next.iter().flatten().all(|next| *next == EVENTS);
    assert!(all, "{next:?}");
}

/// Each publishes in its own way, which is the same for all its events.
fn publishes(backend: &mut Backend, publisher: usize, channels: &[&str]) {
    let event = |n: usize| {
        let name = publisher.to_string();
        json!({"name": name, "channels": channels, "data": n.to_string()})
    };
    let post = |path: &str, body: String| request(&shop(), "POST", path, &[], body.as_bytes());
    // One after another, many in one write, in batches, or in chunks that another reader of requests puts together.
    match publisher % 4 {
        0 => (0..EVENTS).for_each(|n| {
            assert_eq!(backend.post("/events", event(n).to_string()).status, 200);
        }),
        1 => (0..EVENTS).step_by(50).for_each(|from| {
            let many = (from..from + 50).flat_map(|n| post("/events", event(n).to_string()));
            backend.wire.send(many.collect::<Vec<u8>>());
            (0..50).for_each(|_| assert_eq!(backend.wire.reply().status, 200));
        }),
        2 => (0..EVENTS).step_by(10).for_each(|from| {
            // An entry of a batch may go to several channels here, as an event may.
            let batch: Vec<_> = (from..from + 10).map(event).collect();
            let reply = backend.post("/batch_events", json!({"batch": batch}).to_string());
            assert_eq!(reply.status, 200, "{reply:?}");
        }),
        _ => (0..EVENTS).for_each(|n| {
            let body = event(n).to_string();
            let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            let headers = "Transfer-Encoding: chunked\r\n";
            let request =
                crate::backend::publish_with(&shop(), headers, body.as_bytes(), chunked.as_bytes());
            backend.wire.send(request);
            assert_eq!(backend.wire.reply().status, 200);
        }),
    }
}

#[test]
fn eight_publishers_are_heard_in_order_without_a_gap_or_a_double() {
    let server = Server::start();
    let channels = ["order", "cache-order"];
    let clients: Vec<Client> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut client = Client::enter(&server, &shop());
            client.subscribe(channels[0]);
            client.ask(channels[1], None);
            client.hear();
            assert_eq!(client.hear()["event"], "pusher:cache_miss");
            client
        })
        .collect();
    thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || listens(client, &channels));
        }
        for publisher in 0..PUBLISHERS {
            let server = &server;
            scope.spawn(move || publishes(&mut Backend::of(server, &shop()), publisher, &channels));
        }
    });
    server.ends_well();
}
