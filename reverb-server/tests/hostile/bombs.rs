//! One client that takes as much as it may, and then some: it is told where the limit is, and what it had is free again
//! when it has gone.

use std::time::Duration;

use serde_json::json;

use crate::backend::Backend;
use crate::client::Client;
use crate::server::{Server, now, shop, waits_until};

/// Waits until nobody of the app is there, and nothing of what they had.
#[track_caller]
fn is_empty(backend: &mut Backend) {
    let in_time = Duration::from_secs(10);
    let is_alone = waits_until(in_time, || backend.connections() == 0);
    assert!(
        is_alone.is_some(),
        "{} connections stay",
        backend.connections()
    );
    let mut left = || backend.get("/channels").body;
    assert!(
        waits_until(in_time, || left() == r#"{"channels":{}}"#).is_some(),
        "channels stay"
    );
}

/// A name of two hundred characters.
fn long(socket: usize, n: usize) -> String {
    format!("{:a<200}", format!("{socket}-{n}-"))
}

/// Subscribes to so many channels with long names, and hears that it is subscribed to each.
fn fill(client: &mut Client, socket: usize, channels: usize) {
    (0..channels).for_each(|n| client.ask(&long(socket, n), None));
    for n in 0..channels {
        let (text, channel) = (client.wire.text(), long(socket, n));
        let start = r#"{"event":"pusher_internal:subscription_succeeded","channel":""#;
        assert_eq!(text, format!(r#"{start}{channel}","data":"{{}}"}}"#));
    }
}

#[test]
fn a_socket_has_a_thousand_channels_and_gives_them_all_back() {
    const SOCKETS: usize = 10;
    const CHANNELS: usize = 1000;
    /// Two rounds fill what the allocator keeps for itself, in both of the server's threads; what is left after each
    /// further one would be a leak.
    const SLACK: u64 = 4 * 1024;
    let server = Server::start();
    server.is_well();
    let begun = server.memory();
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut clients: Vec<Client> = (0..SOCKETS)
            .map(|_| Client::enter(&server, &shop()))
            .collect();
        for (socket, client) in clients.iter_mut().enumerate() {
            fill(client, socket, CHANNELS);
            // One more is an error, also the second time, and not the end.
            for _ in 0..2 {
                client.ask("one-more", None);
                let error = client.hear_error();
                assert_eq!(error["code"], 4100, "{error}");
                assert!(
                    error["message"].as_str().expect("text").contains("1000"),
                    "{error}"
                );
                assert_eq!(client.hear()["event"], "pusher:subscription_error");
            }
            // What it has it may ask for again, and what it gives back it may use for another.
            client.subscribe(&long(socket, 0));
            client
                .say(&json!({"event": "pusher:unsubscribe", "data": {"channel": long(socket, 1)}}));
            client.subscribe(&long(socket, CHANNELS));
        }
        server.is_well();
        let mut backend = Backend::of(&server, &shop());
        assert_eq!(backend.connections(), SOCKETS as u64);
        let full = server.memory();
        drop(clients);
        is_empty(&mut backend);
        held.push((full, server.memory()));
    }
    let (channels, took) = ((SOCKETS * CHANNELS) as u64, held[0].0 - begun);
    eprintln!(
        "{channels} channels take {} bytes each; KiB with them and after them: {held:?}",
        took * 1024 / channels
    );
    assert!(
        held[4].1 <= held[1].1 + SLACK,
        "{held:?}: it holds more after each round"
    );
    assert!(
        held[4].1 <= begun + 32 * 1024,
        "{begun}, then {held:?}: it does not come back"
    );
    server.ends_well();
}

/// The same with presence, where each channel remembers who is in it, and with users who watch others.
#[test]
fn members_and_watchers_are_forgotten_with_whoever_brought_them() {
    let server = Server::start();
    let mut after = Vec::new();
    for _ in 0..4 {
        let mut clients: Vec<Client> = (0..30).map(|_| Client::enter(&server, &shop())).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            let watchlist: Vec<String> =
                (0..100).map(|m| format!("{n}-{m}-{:a<100}", "")).collect();
            client
                .ask_to_sign_in(&json!({"id": n.to_string(), "watchlist": watchlist}).to_string());
            let member =
                json!({"user_id": n.to_string(), "user_info": {"x": "y".repeat(900)}}).to_string();
            for m in 0..20 {
                client.ask(&format!("presence-{m}"), Some(&member));
            }
            client.hear_all();
        }
        // A hundred may be present: beyond that it is told, and nobody else notices.
        for n in 30..101 {
            let mut client = Client::enter(&server, &shop());
            client.ask(
                "presence-0",
                Some(&json!({"user_id": n.to_string()}).to_string()),
            );
            let heard = client.hear();
            match n {
                100 => assert_eq!(heard["data"]["code"], 4100, "{heard}"),
                _ => assert_eq!(heard["event"], "pusher_internal:subscription_succeeded"),
            }
            clients.push(client);
        }
        server.is_well();
        let mut backend = Backend::of(&server, &shop());
        drop(clients);
        is_empty(&mut backend);
        after.push(server.memory());
    }
    eprintln!("after each round of members and watchers it holds {after:?} KiB");
    assert!(
        after[3] <= after[1] + 4 * 1024,
        "{after:?}: it holds more after each round"
    );
    server.ends_well();
}

/// What an app may have remembered is counted with all that it costs, and that it is too much is not said a thousand times.
#[test]
fn what_cache_channels_remember_is_bounded_and_said_once() {
    const CHANNELS: usize = 250_000;
    /// What an app may have remembered, a quarter more for the allocator, and what a request takes on its way.
    const MOST: u64 = (64 + 16 + 8) * 1024;
    let server = Server::start();
    let mut backend = Backend::of(&server, &shop());
    let before = server.memory();
    let mut publish = |from: usize, data: &str| {
        let event = |from: usize| {
            let channels: Vec<String> = (from..from + 100).map(|n| format!("cache-{n}")).collect();
            json!({"name": "e", "channels": channels, "data": data})
        };
        let batch: Vec<_> = (from..from + 1000).step_by(100).map(event).collect();
        let reply = backend.post("/batch_events", json!({"batch": batch}).to_string());
        assert_eq!(reply.status, 200, "{reply:?}");
    };
    let start = now();
    for from in (0..CHANNELS).step_by(1000) {
        publish(from, "1");
    }
    let growth = server.memory().saturating_sub(before);
    for from in (0..20_000).step_by(1000) {
        publish(from, &"x".repeat(9000));
    }
    let lines = server.logged("cache channels are full");
    let took = start.elapsed();
    eprintln!("{CHANNELS} small cached events cost {growth} KiB; {lines} lines of log in {took:?}");
    assert!(growth < MOST, "{growth} KiB");
    assert!(
        lines > 0 && lines as u64 <= took.as_secs() + 2,
        "{lines} lines in {took:?}"
    );
    server.ends_well();
}
