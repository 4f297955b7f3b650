//! Peers that ask for much and take nothing: what they cost, when they are cut, and that nobody waits for them.

use std::thread;
use std::time::Duration;

use reverb_core::clock::{Clock, SystemClock};
use serde_json::json;

use crate::backend::{Backend, event_to, request};
use crate::client::Client;
use crate::server::{Server, alone, now, shop, waits_until};
use crate::wire::{CLOSE, TEXT, Wire, frame};

/// What the log says of a reader that was cut.
const CUT: &str = "read too slowly";
/// Most that waits for a peer, in KiB.
const BOUND: u64 = 1024;

/// Ten kilobytes of data that begin with these numbers.
fn numbered(n: u64, micros: u128) -> String {
    format!("{:x<10000}", format!("{n} {micros} "))
}

/// The numbers in an event made of them.
fn numbers(text: &str) -> (u64, u128) {
    let data = text.split_once(r#""data":""#).expect("data").1;
    let mut words = data.split(' ');
    let mut word = || words.next().expect("a word").to_owned();
    (
        word().parse().expect("a number"),
        word().parse().expect("microseconds"),
    )
}

/// What a peer does not take is to wait where it is bounded, counted, and can be told of. The kernel would hold four MiB.
#[test]
fn the_kernel_holds_little_for_a_reader_that_stalls() {
    let server = Server::start();
    let mut stalled = Client::enter_on(Wire::narrow(&server), &shop());
    stalled.subscribe("stall");
    let mut backend = Backend::of(&server, &shop());
    (0..100).for_each(|n| backend.publish("stall", "e", &numbered(n, 0)));
    let (unsent, memory) = (server.unsent(), server.memory());
    eprintln!("{unsent} KiB wait in the kernel, in the server no more than {memory}");
    assert!((1..=256).contains(&unsent), "{unsent} KiB");
    // It has only been slow.
    for n in 0..100 {
        assert_eq!(numbers(&stalled.wire.text()).0, n);
    }
    server.ends_well();
}

#[test]
fn a_reader_that_stalls_is_cut_and_told_and_nobody_waits_for_it() {
    let _alone = alone();
    let (server, start) = (Server::start(), now());
    let mut stalled = Client::enter(&server, &shop());
    let mut healthy = Client::enter(&server, &shop());
    stalled.subscribe("stall");
    healthy.subscribe("stall");
    let published = thread::scope(|scope| {
        let listener = scope.spawn(move || {
            let (mut heard, mut worst) = (0, 0);
            loop {
                let text = healthy.wire.text();
                if text.contains(r#""event":"last""#) {
                    return (heard, worst);
                }
                let (n, sent) = numbers(&text);
                assert_eq!(n, heard, "the healthy one misses nothing");
                heard += 1;
                worst = worst.max(start.elapsed().as_micros() - sent);
            }
        });
        let mut backend = Backend::of(&server, &shop());
        let mut publish = |n| {
            backend.publish("stall", "e", &numbered(n, start.elapsed().as_micros()));
        };
        let mut n = 0;
        while server.logged(CUT) == 0 {
            assert!(n < 5000, "fifty megabytes, and it was not cut");
            (n..n + 20).for_each(&mut publish);
            n += 20;
        }
        (n..n + 100).for_each(&mut publish);
        n += 100;
        backend.publish("stall", "last", "");
        let (heard, worst) = listener.join().expect("it hears all");
        assert_eq!(heard, n);
        eprintln!("beside a stalled reader the worst delay of {n} events was {worst} µs");
        assert!(worst < 500_000, "a healthy reader waited {worst} µs");
        n
    });
    // What it still got is whole and in order; then it is told.
    let mut got = 0;
    let error = loop {
        let text = stalled.wire.text();
        if text.contains("pusher:error") {
            break text;
        }
        assert_eq!(numbers(&text).0, got);
        got += 1;
    };
    assert!(error.contains(r#""code":4100"#), "{error}");
    assert_eq!(stalled.wire.closed(), 4100);
    assert!(got < published);
    let log = server.log();
    let lost = log.split_once("bytes=").expect("how many bytes are lost").1;
    let lost: u64 = lost
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    eprintln!("the stalled reader got {got} events of {published}; {lost} bytes waited for it");
    // The frame that went over the bound may have been there already.
    assert!(lost <= BOUND * 1024 + 10_100, "{lost} bytes waited for it");
    server.ends_well();
}

/// Each has a channel of its own, so that no two share the bytes that wait for them.
#[test]
fn fifty_stalled_readers_cost_a_mebibyte_each_and_are_let_go() {
    const READERS: usize = 50;
    /// What is not the readers': the frames of one publish under way (500 KiB, several times over on its way through the
    /// request, the event, the mailboxes of two shards and the buffer in which frames are joined), and what the
    /// allocator does not give back.
    const SLACK: u64 = 8 * 1024;
    let _alone = alone();
    let server = Server::start();
    let mut backend = Backend::of(&server, &shop());
    let channels: Vec<String> = (0..READERS).map(|n| format!("stall-{n}")).collect();
    let publish = |backend: &mut Backend| {
        let data = "x".repeat(10_000);
        let body = json!({"name": "e", "channels": channels, "data": data}).to_string();
        assert_eq!(backend.post("/events", body).status, 200);
    };
    publish(&mut backend);
    let before = (server.descriptors(), server.memory());
    let readers: Vec<Client> = channels
        .iter()
        .map(|channel| {
            let mut reader = Client::enter(&server, &shop());
            reader.subscribe(channel);
            reader
        })
        .collect();
    let memory = server.watch_memory();
    for n in 0.. {
        assert!(
            n < 5000,
            "fifty megabytes each, and {} were cut",
            server.logged(CUT)
        );
        publish(&mut backend);
        if server.logged(CUT) == READERS {
            break;
        }
    }
    let growth = memory.most().saturating_sub(before.1);
    eprintln!(
        "{READERS} stalled readers: {growth} KiB, {} KiB each",
        growth / READERS as u64
    );
    let most = BOUND * READERS as u64 + SLACK;
    assert!(
        growth <= most,
        "{growth} KiB for {READERS} readers are more than {most}"
    );
    // They never read that they were cut: five seconds later they are gone all the same.
    server.comes_down_to(before.0, Duration::from_secs(8));
    assert_eq!(backend.connections(), 0);
    drop(readers);
    server.ends_well();
}

#[test]
fn a_client_that_asks_and_never_listens_is_not_read_further_and_cut() {
    let server = Server::start();
    let mut client = Client::enter_on(Wire::narrow(&server), &shop());
    let memory = (server.memory(), server.watch_memory());
    let pings = frame(TEXT, br#"{"event":"pusher:ping","data":{}}"#).repeat(500);
    client.wire.patience(Duration::from_secs(1));
    let mut sent = 0;
    // Its own messages pile up on its side once nobody takes them.
    while client.wire.try_send(&pings) {
        sent += pings.len();
        assert!(sent < 100 << 20, "it is read from for ever");
    }
    let cut = waits_until(Duration::from_secs(12), || server.logged(CUT) == 1);
    let growth = memory.1.most().saturating_sub(memory.0);
    eprintln!(
        "who never listens was read for {sent} bytes, cost {growth} KiB, and was cut {cut:?} later"
    );
    assert!(
        cut.is_some(),
        "it is cut after ten seconds without progress"
    );
    assert!(growth < 4096, "{growth} KiB");
    // If it listens at last, it learns why: as long as it takes what is left for it within the two seconds for which the
    // server waits after its last word. What is under way through so narrow a window may take longer on a busy machine.
    let listens_since = SystemClock.now();
    let is_late = || SystemClock.now() - listens_since >= Duration::from_secs(2);
    let mut last = String::new();
    client.wire.patience(Duration::from_secs(5));
    loop {
        match client.wire.frame() {
            Some((TEXT, text)) => last = String::from_utf8(text).expect("UTF-8"),
            Some((CLOSE, code)) => break assert_eq!(code[..2], 4100_u16.to_be_bytes()),
            None if is_late() => return server.ends_well(),
            other => panic!("a close frame was expected, not {other:?}"),
        }
    }
    assert!(last.contains(r#""code":4100"#), "{last}");
    server.ends_well();
}

/// Every publish is answered in a hundred bytes; a million of them are a lot.
#[test]
fn a_publisher_that_never_reads_its_answers_is_ended() {
    let server = Server::start();
    let before = (server.descriptors(), server.memory());
    let memory = server.watch_memory();
    let body = event_to("nobody", "e", "1");
    let requests = request(&shop(), "POST", "/events", &[], body.as_bytes()).repeat(100);
    let mut wire = Wire::narrow(&server);
    wire.patience(Duration::from_secs(1));
    let mut sent = 0;
    while wire.try_send(&requests) {
        sent += requests.len();
        assert!(sent < 200 << 20, "it is read from for ever");
    }
    server.comes_down_to(before.0, Duration::from_secs(15));
    let growth = memory.most().saturating_sub(before.1);
    eprintln!("a publisher that reads no answer was read for {sent} bytes and cost {growth} KiB");
    assert!(growth < 4096, "{growth} KiB");
    server.ends_well();
}

/// Twenty peers ask fifty times each for what is more than half a megabyte, and read nothing of it.
#[test]
fn who_asks_for_much_over_http_and_reads_nothing_costs_little_and_is_ended() {
    const PEERS: usize = 20;
    const DEADLINE: Duration = Duration::from_secs(60);
    let server = Server::start();
    let mut crowd: Vec<Client> = (0..3).map(|_| Client::enter(&server, &shop())).collect();
    for (n, client) in crowd.iter_mut().enumerate() {
        for m in 0..1000 {
            client.subscribe(&format!("{n}-{m}-{:a<190}", ""));
        }
    }
    let mut backend = Backend::of(&server, &shop());
    let answer = backend.get("/channels").body.len();
    assert!(answer > 500_000, "{answer}");
    let before = (server.descriptors(), server.memory());
    let memory = server.watch_memory();
    let requests = request(&shop(), "GET", "/channels", &[], b"").repeat(50);
    let mut peers: Vec<Wire> = (0..PEERS).map(|_| Wire::narrow(&server)).collect();
    for peer in &mut peers {
        peer.try_send(&requests);
    }
    let are_in = || server.descriptors() >= before.0 + PEERS;
    assert!(waits_until(Duration::from_secs(5), are_in).is_some());
    let ended = waits_until(DEADLINE, || server.descriptors() <= before.0);
    let growth = memory.most().saturating_sub(before.1);
    eprintln!(
        "{PEERS} that read no answer of {answer} bytes cost {growth} KiB, and were ended after {ended:?}"
    );
    // The answer that is written, and the same while it is put together.
    let most = (PEERS * answer * 2 / 1024 + 8192) as u64;
    assert!(growth <= most, "{growth} KiB are more than {most}");
    assert!(ended.is_some(), "they are still there after {DEADLINE:?}");
    drop((peers, crowd));
    server.ends_well();
}
