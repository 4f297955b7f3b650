//! As much as possible as fast as possible: frames that mean nothing, and publishes.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::backend::{Backend, event_to, request};
use crate::client::Client;
use crate::server::{Server, alone, now, other, shop};
use crate::wire::{CLOSE, PING, PONG, TEXT, frame};

/// As many control and empty frames as a client may send within five seconds.
const ALLOWED: usize = 1000;
const FLOOD: usize = 100_000;

/// What means nothing: a name, how a flood of it begins, its frame, and whether it is answered.
fn meaningless() -> [(&'static str, Vec<u8>, Vec<u8>, bool); 5] {
    let begun = frame(0x01, b"{");
    [
        ("pings", vec![], frame(PING, b""), true),
        ("long pings", vec![], frame(PING, &[b'x'; 125]), true),
        ("pongs", vec![], frame(PONG, b""), false),
        ("empty fragments", begun, frame(0x00, b""), false),
        ("empty texts", vec![], frame(TEXT, b""), true),
    ]
}

#[test]
fn a_flood_of_frames_that_mean_nothing_is_closed_with_1008() {
    let server = Server::start();
    for (what, begins, one, _) in meaningless() {
        let used = server.processor();
        let mut client = Client::enter(&server, &shop());
        let mut writer = client.wire.writer();
        let flood = [begins, one.repeat(FLOOD)].concat();
        let (sent, answers, code) = thread::scope(|scope| {
            // It is let go in the middle of it.
            let sender = scope.spawn(move || {
                flood
                    .chunks(64 * 1024)
                    .take_while(|part| writer.write_all(part).is_ok())
                    .count()
            });
            let mut answers = 0;
            let code = loop {
                match client.wire.frame() {
                    Some((CLOSE, payload)) => break payload,
                    Some(_) => answers += 1,
                    None => break vec![],
                }
                assert!(answers <= FLOOD, "{what}: the whole flood was answered");
                if answers == FLOOD {
                    break vec![];
                }
            };
            (sender.join().expect("it only writes"), answers, code)
        });
        let used = server.processor() - used;
        eprintln!("{what}: {answers} answers, {sent} writes of 64 KiB, {used:?} of processor time");
        assert_eq!(
            code.get(..2),
            Some(&1008_u16.to_be_bytes()[..]),
            "{what}, after {answers}"
        );
        assert!(answers <= ALLOWED, "{what}: {answers} answers");
        server.is_well();
    }
    server.ends_well();
}

#[test]
fn honest_traffic_is_never_taken_for_a_flood() {
    let server = Server::start();
    for (what, begins, one, is_answered) in meaningless() {
        if what == "empty texts" {
            continue;
        }
        let mut client = Client::enter(&server, &shop());
        let is_begun = !begins.is_empty();
        client.wire.send([begins, one.repeat(ALLOWED - 1)].concat());
        if is_begun {
            client.wire.send(frame(0x80, br#""event":"pusher:pong"}"#));
        }
        for _ in 1..if is_answered { ALLOWED } else { 1 } {
            assert_eq!(client.wire.frame().expect("an answer").0, PONG, "{what}");
        }
        client.hears_nothing();
    }
    // Messages have limits of their own: five thousand in a moment are five thousand answers.
    let mut client = Client::enter(&server, &shop());
    for _ in 0..10 {
        client
            .wire
            .send(frame(TEXT, br#"{"event":"pusher:ping"}"#).repeat(500));
        for _ in 0..500 {
            assert_eq!(client.wire.text(), r#"{"event":"pusher:pong","data":{}}"#);
        }
    }
    // And so do messages in many pieces.
    for _ in 0..20 {
        let message =
            br#"{"event":"pusher:ping","data":{"padding":"in a hundred pieces of some bytes"}}"#;
        let (last, pieces) = message.split_last().expect("some bytes");
        for (n, byte) in pieces.iter().enumerate() {
            client.wire.send(frame(u8::from(n == 0), &[*byte]));
        }
        client.wire.send(frame(0x80, &[*last]));
        assert_eq!(client.wire.text(), r#"{"event":"pusher:pong","data":{}}"#);
    }
    server.ends_well();
}

/// Publishes the same eight times at a time until it is over. How many were sent, and how many have to wait.
fn publishes(backend: &mut Backend, one: &[u8], is_over: &AtomicBool) -> (u64, u64) {
    let (mut sent, mut told) = (0, 0);
    while !is_over.load(Ordering::Acquire) {
        backend.wire.send(one.repeat(8));
        for _ in 0..8 {
            let reply = backend.wire.reply();
            match reply.status {
                200 => sent += 1,
                429 | 503 => {
                    assert!(reply.header("retry-after").is_some(), "{reply:?}");
                    told += 1;
                }
                _ => panic!("{reply:?}"),
            }
        }
    }
    (sent, told)
}

/// How many events it hears before the last one.
fn hears(client: &mut Client) -> u64 {
    let mut heard = 0;
    while !client.wire.text().contains(r#""event":"last""#) {
        heard += 1;
    }
    heard
}

/// How long somebody of another app waits at worst: who is there, for a publish; and who comes, for all there is.
fn waits(server: &Server, lasts: Duration) -> (Duration, Duration) {
    let mut guest = Client::enter(server, &other());
    guest.subscribe("private-mine");
    let mut backend = Backend::of(server, &other());
    let (mut publish, mut newcomer) = (Duration::ZERO, Duration::ZERO);
    let start = now();
    while start.elapsed() < lasts {
        let begun = now();
        backend.publish("private-mine", "e", "1");
        guest.expect_on("private-mine", "e", "1");
        publish = publish.max(begun.elapsed());
        let begun = now();
        let mut client = Client::enter(server, &other());
        client.subscribe("private-mine");
        Backend::of(server, &other()).publish("private-mine", "e", "1");
        client.expect_on("private-mine", "e", "1");
        guest.expect_on("private-mine", "e", "1");
        newcomer = newcomer.max(begun.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    (publish, newcomer)
}

#[test]
fn two_hundred_publishers_at_once_leave_another_app_its_turn() {
    const PUBLISHERS: usize = 200;
    const LASTS: Duration = Duration::from_secs(5);
    let _alone = alone();
    let server = Server::start();
    let mut clients: Vec<Client> = (0..5).map(|_| Client::enter(&server, &shop())).collect();
    clients
        .iter_mut()
        .for_each(|client| client.subscribe("flood"));
    let mut backends: Vec<Backend> = (0..PUBLISHERS)
        .map(|_| Backend::of(&server, &shop()))
        .collect();
    let before = server.memory();
    let memory = server.watch_memory();
    // The same request again and again: signed once, it is good for ten minutes.
    let event = event_to("flood", "e", &"x".repeat(1000));
    let one = request(&shop(), "POST", "/events", &[], event.as_bytes());
    let is_over = AtomicBool::new(false);
    let (sent, told, heard, worst) = thread::scope(|scope| {
        let (one, is_over) = (&one, &is_over);
        let hearing: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| hears(client)))
            .collect();
        let publishing: Vec<_> = backends
            .iter_mut()
            .map(|backend| scope.spawn(move || publishes(backend, one, is_over)))
            .collect();
        let worst = waits(&server, LASTS);
        is_over.store(true, Ordering::Release);
        let counts = publishing
            .into_iter()
            .map(|one| one.join().expect("it is answered"));
        let (sent, told) = counts.fold((0, 0), |(a, b), (sent, told)| (a + sent, b + told));
        Backend::of(&server, &shop()).publish("flood", "last", "");
        let heard = hearing
            .into_iter()
            .map(|one| one.join().expect("it hears all"));
        (sent, told, heard.collect::<Vec<_>>(), worst)
    });
    let growth = memory.most().saturating_sub(before);
    let per_second = sent / LASTS.as_secs();
    eprintln!(
        "{PUBLISHERS} publishers: {per_second} answered a second, {told} told to wait, {growth} KiB; in another app a \
         publish took {:?} at worst, a newcomer {:?}",
        worst.0, worst.1
    );
    assert!(
        heard.iter().all(|heard| *heard == sent),
        "{sent} published, {heard:?} heard"
    );
    assert!(
        worst.0 < Duration::from_secs(2),
        "another app waited {:?}",
        worst.0
    );
    // Two shards owe at most 4 MiB each; the rest is what two hundred connections read at once, and the allocator.
    assert!(growth < 32 * 1024, "{growth} KiB");
    server.ends_well();
}
