//! What visits leave behind: ten thousand, some of which end rudely, nothing; and a storm of half-sent requests no memory.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::backend::Backend;
use crate::client::Client;
use crate::server::{Server, alone, now, shop, waits_until};
use crate::wire::{CLOSE, TEXT, Wire, frame, handshake, header};

const VISITS: usize = 10_000;

/// One visit. The number decides what it is like, and how it ends.
fn visit(server: &Server, n: usize) {
    // Some do not come far.
    match n % 25 {
        0 => return drop(Wire::connect(server)),
        1 => {
            let mut wire = Wire::connect(server);
            wire.send(&handshake("/app/app-key").as_bytes()[..n % 90]);
            return wire.break_off();
        }
        2 => {
            let mut wire = Wire::connect(server);
            wire.shake_hands("/app/nobody");
            return drop(wire.frame());
        }
        3 => {
            // It leaves before it is greeted.
            let mut wire = Wire::connect(server);
            wire.send(handshake("/app/app-key"));
            return wire.break_off();
        }
        _ => {}
    }
    let mut client = Client::enter(server, &shop());
    let channel = format!("private-{}", n % 100);
    client.subscribe(&channel);
    match n % 5 {
        0 => drop(client.join(
            "presence-visits",
            &json!({"user_id": (n % 7).to_string()}).to_string(),
        )),
        1 => client.subscribe(&format!("{n}")),
        2 => client.ask_to_sign_in(
            &json!({"id": (n % 11).to_string(), "watchlist": ["1", "2"]}).to_string(),
        ),
        3 => client.say(&json!({"event": "client-x", "channel": channel})),
        _ => {}
    }
    match n % 7 {
        0 => {
            client.wire.send(frame(CLOSE, &1000_u16.to_be_bytes()));
            client.wire.all();
        }
        1 => client.say(&json!({"event": "pusher:unsubscribe", "data": {"channel": channel}})),
        2 => client.wire.send(&frame(TEXT, &[b' '; 300])[..n % 250]),
        3 => client
            .wire
            .send([header(TEXT, 80_000), vec![0; n % 1000]].concat()),
        4 => client.wire.break_off(),
        5 => {
            client.wire.finish();
            client.wire.all();
        }
        // What came last is not even read.
        _ => client.say(&json!({"event": "pusher:ping", "data": {}})),
    }
}

#[test]
fn after_ten_thousand_visits_nothing_is_left() {
    /// What the allocator may keep more after eight thousand visits than after two thousand.
    const SLACK: u64 = 2 * 1024;
    const THREADS: usize = 4;
    let _alone = alone();
    let server = Server::start();
    server.is_well();
    let (start, before) = (now(), (server.descriptors(), server.memory()));
    let mut held = Vec::new();
    for part in 0..5 {
        let visits = part * VISITS / 5..(part + 1) * VISITS / 5;
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (server, visits) = (&server, visits.clone());
                scope.spawn(move || {
                    visits
                        .skip(thread)
                        .step_by(THREADS)
                        .for_each(|n| visit(server, n))
                });
            }
        });
        server.is_well();
        server.comes_down_to(before.0, Duration::from_secs(5));
        let mut backend = Backend::of(&server, &shop());
        let is_empty =
            || backend.connections() == 0 && backend.get("/channels").body == r#"{"channels":{}}"#;
        assert!(
            waits_until(Duration::from_secs(5), is_empty).is_some(),
            "something is left"
        );
        assert_eq!(
            backend.get("/channels/presence-visits/users").body,
            r#"{"users":[]}"#
        );
        held.push(server.memory());
    }
    let took = start.elapsed();
    eprintln!(
        "{VISITS} visits took {took:?}; before them {} KiB, after each fifth {held:?}",
        before.1
    );
    assert!(
        held[4] <= held[0] + SLACK,
        "{held:?}: it holds more after each fifth"
    );
    server.ends_well();
}

/// What a bad minute took shall not be missing for ever. It is looked after every few seconds.
#[test]
fn what_a_storm_of_requests_took_is_given_back() {
    const PEERS: usize = 800;
    const MIB: u64 = 1024;
    let _alone = alone();
    let server = Server::start();
    server.is_well();
    let before = server.memory();
    let head = format!(
        "POST /apps/{}/events?auth_key={} HTTP/1.1\r\nHost: h\r\nContent-Length: 64000\r\n\r\n",
        shop().id,
        shop().key
    );
    let stalled: Vec<Wire> = (0..PEERS)
        .map(|_| {
            let mut wire = Wire::connect(&server);
            wire.send(&head);
            wire.send([b'x'; 60_000]);
            wire
        })
        .collect();
    let is_taken = || server.memory() > before + 48 * MIB;
    assert!(waits_until(Duration::from_secs(10), is_taken).is_some());
    let most = server.memory();
    drop(stalled);
    let is_given_back = || server.memory() <= before + 16 * MIB;
    let took = waits_until(Duration::from_secs(40), is_given_back);
    eprintln!(
        "{before} KiB before, {most} with {PEERS} half-sent requests, {} {took:?} later",
        server.memory()
    );
    assert!(took.is_some(), "{} KiB are kept", server.memory());
    server.ends_well();
}
