//! More connections than there is room for: thousands that say nothing, and a server without descriptors.

use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::backend::Backend;
use crate::client::Client;
use crate::server::{Server, now, shop, waits_until};
use crate::wire::{Wire, handshake};

const CROWD: usize = 5000;

/// Five thousand connections on which this was sent and nothing more; the server must have taken so many of them. Then
/// twenty honest clients come, one after another. When the crowd has left, the server has forgotten it after so long.
fn crowds(server: &Server, what: &str, says: &[u8], taken: usize, gone_after: Duration) {
    let before = (server.descriptors(), server.memory());
    let start = now();
    let mut crowd: Vec<Wire> = (0..CROWD).map(|_| Wire::connect(server)).collect();
    crowd.iter_mut().for_each(|wire| wire.send(says));
    let all_in = waits_until(Duration::from_secs(4), || {
        server.descriptors() >= before.0 + taken
    });
    assert!(
        all_in.is_some(),
        "{what}: {} were taken",
        server.descriptors() - before.0
    );
    let growth = server.memory().saturating_sub(before.1);
    let each = growth as f64 / CROWD as f64;
    eprintln!(
        "{CROWD} {what} came in {:?} and cost {growth} KiB, {each:.2} each",
        start.elapsed()
    );
    for _ in 0..20 {
        server.is_well();
    }
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "they are there still"
    );
    drop(crowd);
    server.comes_down_to(before.0, gone_after);
}

#[test]
fn five_thousand_half_open_connections_leave_room_for_honest_clients() {
    let server = Server::start();
    let room = getrlimit(Resource::Nofile).maximum;
    // Every other test has its descriptors in this process too.
    assert!(
        room.is_none_or(|room| room >= 8192),
        "this test needs 8192 descriptors, {room:?} are allowed: ulimit -Hn 8192, as root"
    );
    let half = &handshake("/app/app-key").into_bytes()[..80];
    crowds(
        &server,
        "with half a head",
        half,
        CROWD,
        Duration::from_secs(8),
    );
    // The kernel may keep to itself who says nothing; it must not turn others away for them. It hands some over when they
    // leave, and of these it loses the goodbye of a few (its places for sockets that have closed are few as well): they
    // are gone without a word, and the server waits the ten seconds that it gives to whoever says nothing.
    crowds(&server, "without a byte", b"", 0, Duration::from_secs(13));
    server.ends_well();
}

#[test]
fn without_descriptors_it_rests_and_goes_on_with_whom_it_has() {
    const DESCRIPTORS: u32 = 160;
    const LINE: &str = "cannot accept connections";
    let server = Server::with_descriptors(DESCRIPTORS);
    let mut guest = Client::enter(&server, &shop());
    guest.subscribe("private-here");
    let mut backend = Backend::of(&server, &shop());
    backend.publish("private-here", "before", "1");
    guest.expect_on("private-here", "before", "1");
    let before = server.descriptors();
    // The kernel takes those that the server has no descriptor for.
    let mut crowd: Vec<Wire> = (0..2 * DESCRIPTORS)
        .map(|_| Wire::connect(&server))
        .collect();
    crowd.iter_mut().for_each(|wire| wire.send(b"G"));
    let is_full = || server.descriptors() >= DESCRIPTORS as usize;
    assert!(
        waits_until(Duration::from_secs(5), is_full).is_some(),
        "{}",
        server.descriptors()
    );
    assert!(waits_until(Duration::from_secs(5), || server.logged(LINE) > 0).is_some());

    let (start, used, said) = (now(), server.processor(), server.logged(LINE));
    thread::sleep(Duration::from_secs(3));
    let took = start.elapsed().as_secs_f64();
    let cores = (server.processor() - used).as_secs_f64() / took;
    let lines = server.logged(LINE) - said;
    eprintln!(
        "without descriptors it burnt {cores:.3} cores and logged {lines} lines in {took:.1} s"
    );
    assert!(is_full(), "it was without descriptors all the time");
    assert!(cores < 0.1, "{cores} cores");
    assert!(lines <= 4, "{lines} lines in {took} s");
    for n in 0..20 {
        backend.publish("private-here", "meanwhile", &n.to_string());
        guest.expect_on("private-here", "meanwhile", &n.to_string());
    }

    let start = now();
    drop(crowd);
    server.is_well();
    eprintln!(
        "it served again {:?} after there were descriptors",
        start.elapsed()
    );
    assert!(start.elapsed() < Duration::from_secs(1));
    server.comes_down_to(before, Duration::from_secs(5));
    server.ends_well();
}

/// The descriptors that are left over for everything else are not for clients: they are told to wait, not turned away.
#[test]
fn a_client_beyond_what_there_is_room_for_is_told_to_come_back_later() {
    const DESCRIPTORS: u32 = 80;
    let server = Server::with_descriptors(DESCRIPTORS);
    let mut guests = Vec::new();
    let told = loop {
        let mut wire = Wire::connect(&server);
        wire.shake_hands("/app/app-key");
        let said = wire.text();
        if said.contains("pusher:error") {
            assert_eq!(wire.closed(), 4100);
            break said;
        }
        assert!(said.contains("connection_established"), "{said}");
        guests.push(wire);
        assert!(
            guests.len() < DESCRIPTORS as usize,
            "all of them were let in"
        );
    };
    assert!(told.contains(r#""code":4100"#), "{told}");
    eprintln!(
        "with {DESCRIPTORS} descriptors there is room for {} clients",
        guests.len()
    );
    // Backends are no clients.
    let mut backend = Backend::of(&server, &shop());
    assert_eq!(backend.connections(), guests.len() as u64);
    guests.truncate(1);
    let one_left = || backend.connections() == 1;
    assert!(waits_until(Duration::from_secs(5), one_left).is_some());
    server.ends_well();
}
