//! Bytes, frames and messages without any sense, by a generator whose seed is printed: the same seed makes the same
//! again, as in `HOSTILE_SEED=7 cargo test -p reverb-server --test hostile garbage`.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use crate::backend::request;
use crate::client::Client;
use crate::server::{Server, shop};
use crate::wire::{CLOSE, Reply, Wire, frame, handshake, header};

/// Numbers that look random: SplitMix64.
struct Dice(u64);

impl Dice {
    /// Those of this test and this round. Both are in the name, so that a round can be played alone.
    fn of(seed: u64, round: usize) -> Self {
        Self(seed ^ (round as u64).wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Less than this.
    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of_these<'a, T: ?Sized>(&mut self, these: &[&'a T]) -> &'a T {
        these[self.below(these.len())]
    }

    /// Up to so many bytes.
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Changes some of these bytes: others, fewer, more, or the same once more.
    fn spoils(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.next() as u8),
                2 => bytes.extend_from_within(at..),
                _ if bytes.is_empty() => {}
                3 => drop(bytes.remove(at)),
                _ => bytes[at] = self.next() as u8,
            }
        }
        bytes
    }

    /// Something like JSON.
    fn json(&mut self, depth: usize) -> String {
        const WORDS: [&str; 16] = [
            "event",
            "data",
            "channel",
            "auth",
            "channel_data",
            "user_data",
            "user_id",
            "pusher:subscribe",
            "pusher:ping",
            "pusher:unsubscribe",
            "pusher:signin",
            "client-x",
            "private-a",
            "presence-a",
            r"\ud800",
            r"\u0000",
        ];
        match self.below(if depth > 6 { 6 } else { 9 }) {
            0 => self
                .of_these(&["null", "true", "false", "nul", ""])
                .to_owned(),
            1 => self
                .of_these(&["0", "-0", "1e999", "01", "-", "12345678901234567890", "0.1"])
                .to_owned(),
            2..=5 => format!("\"{}\"", self.of_these(&WORDS)),
            6 => {
                let items: Vec<String> = (0..self.below(4)).map(|_| self.json(depth + 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => {
                let pairs = (0..self.below(5))
                    .map(|_| format!("\"{}\":{}", self.of_these(&WORDS), self.json(depth + 1)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// A message that begins well.
    fn message(&mut self) -> String {
        let event = self.of_these(&[
            "pusher:subscribe",
            "pusher:unsubscribe",
            "pusher:ping",
            "pusher:pong",
            "pusher:signin",
            "client-x",
            "pusher:x",
            "",
        ]);
        let (channel, data) = (self.json(5), self.json(0));
        let mut text = format!(r#"{{"event":"{event}","channel":{channel},"data":{data}}}"#);
        if self.one_in(3) {
            text = self.json(0);
        }
        match self.one_in(3) {
            true => String::from_utf8_lossy(&self.spoils(text.into_bytes())).into_owned(),
            false => text,
        }
    }
}

/// The seed that was asked for, or another one every time.
fn seed() -> u64 {
    let asked = std::env::var("HOSTILE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    asked.unwrap_or_else(|| RandomState::new().hash_one(0))
}

/// Says which seed it was, if a test fails.
struct Told(u64, std::cell::Cell<usize>);

impl Told {
    fn new() -> Self {
        Self(seed(), std::cell::Cell::new(0))
    }

    fn dice(&self, round: usize) -> Dice {
        self.1.set(round);
        Dice::of(self.0, round)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("round {} with HOSTILE_SEED={}", self.1.get(), self.0);
        }
    }
}

/// Every answer until the end, each of which must be a whole one, and none the server's fault.
#[track_caller]
fn answers(wire: &mut Wire) -> Vec<Reply> {
    let replies: Vec<Reply> = std::iter::from_fn(|| wire.try_reply()).collect();
    let fault = replies.iter().find(|reply| reply.status >= 500);
    assert!(fault.is_none(), "{fault:?}");
    replies
}

#[test]
fn seven_hundred_connections_say_nothing_that_is_http() {
    let (server, told) = (Server::start(), Told::new());
    let publish = br#"{"name":"e","channel":"a","data":"1"}"#;
    for round in 0..700 {
        let mut dice = told.dice(round);
        let bytes = match dice.below(5) {
            0 => dice.bytes(2000),
            1 => dice.spoils(request(&shop(), "POST", "/events", &[], publish)),
            2 => dice.spoils(request(&shop(), "GET", "/channels", &[], b"")),
            3 => [
                request(&shop(), "GET", "/channels", &[], b""),
                dice.bytes(500),
            ]
            .concat(),
            _ => {
                let head = handshake("/app/app-key").into_bytes();
                let cut = dice.below(head.len() - 4);
                dice.spoils(head[..cut].to_vec())
            }
        };
        let mut wire = Wire::connect(&server);
        wire.try_send(&bytes);
        wire.finish();
        answers(&mut wire);
        if round % 20 == 0 {
            server.is_well();
        }
    }
    server.ends_well();
}

#[test]
fn seven_hundred_clients_send_frames_without_sense() {
    let (server, told) = (Server::start(), Told::new());
    for round in 0..700 {
        let mut dice = told.dice(round);
        let mut wire = Client::enter(&server, &shop()).wire;
        let mut bytes = Vec::new();
        for _ in 0..=dice.below(20) {
            let first = match dice.one_in(3) {
                true => dice.next() as u8,
                false => *dice.of_these(&[&0x81, &0x01, &0x00, &0x80, &0x89, &0x8a, &0x82]),
            };
            match dice.below(8) {
                0 => bytes.extend(dice.bytes(50)),
                1 => {
                    let promise = dice.next() >> dice.below(64);
                    bytes.extend(header(first, promise));
                }
                2 => {
                    let payload = dice.bytes(300);
                    bytes.extend(dice.spoils(frame(first, &payload)));
                }
                3 => bytes.extend(frame(first, dice.message().as_bytes())),
                _ => {
                    let payload = dice.bytes(200);
                    bytes.extend(frame(first, &payload));
                }
            }
        }
        // In pieces, as a network may.
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(1 + dice.below(rest.len()));
            rest = later;
            if !wire.try_send(piece) {
                break;
            }
        }
        wire.finish();
        let mut is_closed = false;
        while let Some((first, payload)) = wire.frame() {
            assert!(!is_closed, "nothing comes after a close frame");
            assert!(matches!(first, 0x81 | 0x88 | 0x89 | 0x8a), "{first:#x}");
            if first == CLOSE && payload.len() >= 2 {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                assert!(code != 1011, "something broke on the server's side");
            }
            is_closed = first == CLOSE;
        }
        if round % 20 == 0 {
            server.is_well();
        }
    }
    server.ends_well();
}

#[test]
fn six_hundred_clients_send_messages_without_sense() {
    let (server, told) = (Server::start(), Told::new());
    for round in 0..600 {
        let mut dice = told.dice(round);
        let mut client = Client::enter(&server, &shop());
        let messages: Vec<String> = (0..=dice.below(20)).map(|_| dice.message()).collect();
        messages.iter().for_each(|message| client.say_text(message));
        client.wire.patience(Duration::from_secs(5));
        // Whatever that was, it is still there, and still listens: one of them may have been a ping too.
        let marker = format!("marker-{round}");
        client.ask(&marker, None);
        let succeeded = "pusher_internal:subscription_succeeded";
        loop {
            let event = client.hear();
            assert!(event["event"].is_string(), "{event}");
            if event["event"] == succeeded && event["channel"] == marker {
                break;
            }
        }
        if round % 20 == 0 {
            server.is_well();
        }
    }
    server.ends_well();
}
