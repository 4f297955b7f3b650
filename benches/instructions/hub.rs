//! The hub at work: what it does itself for its connections, without the kernel. What a delivery takes is the difference
//! between two rooms, by a hundred.

use std::time::Duration;

use data_encoding::HEXLOWER;
use gungraun::prelude::*;
use md5::{Digest, Md5};
use reverb_core::protocol::App;

use crate::room::{DATA, NOW, Room, Socket};

/// Hash tables are seeded at random, socket ids are of different lengths: that makes half a per cent of difference.
fn took(instructions: u64) -> LibraryBenchmarkConfig {
    crate::took(instructions, 5)
}

// ---- events of this program ---------------------------------------------------------------------------------------------

#[library_benchmark(teardown = all_heard_one)]
#[bench::to_100(args = (Room::with("news", 100)), config = took(70_472))]
#[bench::to_200(args = (Room::with("news", 200)), config = took(128_139))]
fn one_event(room: Room) -> Room {
    room.publish(1);
    room
}

#[library_benchmark(teardown = all_heard_sixteen)]
#[bench::to_100(args = (Room::with("news", 100)), config = took(310_348))]
#[bench::to_200(args = (Room::with("news", 200)), config = took(513_091))]
fn sixteen_events(room: Room) -> Room {
    room.publish(16);
    room
}

fn all_heard_one(mut room: Room) {
    room.all_read("tick", 1);
}

fn all_heard_sixteen(mut room: Room) {
    room.all_read("tick", 16);
}

// ---- what comes over a socket -------------------------------------------------------------------------------------------

/// Somebody has said something, as before, and the kernel has it: what follows is the hub's.
struct Scene {
    room: Room,
    speaker: Socket,
    /// What the speaker is told, if anything.
    answer: Option<&'static str>,
    /// What everybody in the room is told, if anybody is there.
    news: &'static str,
}

impl Scene {
    /// A client knocks, of an app that has had one.
    fn knock() -> Self {
        let room = Room::with("news", 0);
        drop(room.guest());
        let mut speaker = room.socket();
        speaker.knock();
        Self {
            room,
            speaker,
            answer: Some("connection_established"),
            news: "",
        }
    }

    /// A backend publishes to a hundred.
    fn post() -> Self {
        let room = Room::with("news", 100);
        let request = request();
        let mut scene = Self {
            speaker: room.socket(),
            room,
            answer: Some("200 OK"),
            news: "tick",
        };
        scene.speaker.send(request.as_bytes());
        scene.play();
        scene.speaker.send(request.as_bytes());
        scene
    }

    /// One of 101 in a private channel says something to the others.
    fn client_event() -> Self {
        let mut room = Room::with("private-news", 101);
        let event =
            format!(r#"{{"event":"client-tick","channel":"private-news","data":"{DATA}"}}"#);
        let mut scene = Self {
            speaker: room.guests.remove(0),
            room,
            answer: None,
            news: "client-tick",
        };
        scene.speaker.say(&event);
        scene.play();
        scene.speaker.say(&event);
        scene
    }

    /// Someone joins a presence channel of a hundred.
    fn join() -> Self {
        let room = Room::with("presence-news", 100);
        let mut scene = Self {
            speaker: room.guest(),
            room,
            answer: None,
            news: "",
        };
        scene.come();
        scene.play();
        scene.go();
        scene.play();
        scene.come();
        scene
    }

    /// One of 101 leaves a presence channel.
    fn leave() -> Self {
        let mut scene = Self::join();
        scene.play();
        scene.go();
        scene
    }

    fn come(&mut self) {
        (self.answer, self.news) = (Some("subscription_succeeded"), "member_added");
        self.room.subscribe(&mut self.speaker);
    }

    fn go(&mut self) {
        (self.answer, self.news) = (None, "member_removed");
        let leave = r#"{"event":"pusher:unsubscribe","data":{"channel":"presence-news"}}"#;
        self.speaker.say(leave);
    }

    /// Lets the kernel hand over what was said: before that the hub would be driven in vain, and it would count.
    fn settled(self) -> Self {
        std::thread::sleep(Duration::from_millis(10));
        self
    }

    /// Drives the hub until all who shall hear something have something to read: the last guest is written last.
    fn run(&self) {
        let last = self.room.guests.last();
        self.room.drive(|| {
            last.is_none_or(Socket::has_mail) && (self.answer.is_none() || self.speaker.has_mail())
        });
    }

    /// What was to be heard was heard.
    fn check(&mut self) {
        self.room.all_read(self.news, 1);
        if let Some(answer) = self.answer {
            self.speaker.reads(answer, 1);
        }
    }

    fn play(&mut self) {
        self.run();
        self.check();
    }
}

fn request() -> String {
    let app = App::new("1001", "app-key", "app-secret").expect("an app");
    let body = format!(r#"{{"name":"tick","channels":["news"],"data":"{DATA}"}}"#);
    let md5 = HEXLOWER.encode(&Md5::digest(&body));
    let query = format!("auth_key=app-key&auth_timestamp={NOW}&auth_version=1.0&body_md5={md5}");
    let signed = format!("POST\n/apps/1001/events\n{query}");
    let signature = HEXLOWER.encode(&app.secret.sign(&[signed.as_bytes()]));
    let length = body.len();
    format!(
        "POST /apps/1001/events?{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[library_benchmark(teardown = played)]
#[bench::knock(args = (Scene::knock().settled()), config = took(27_072))]
#[bench::post(args = (Scene::post().settled()), config = took(98_531))]
#[bench::client_event(args = (Scene::client_event().settled()), config = took(70_525))]
#[bench::join(args = (Scene::join().settled()), config = took(103_902))]
#[bench::leave(args = (Scene::leave().settled()), config = took(77_714))]
fn scene(scene: Scene) -> Scene {
    scene.run();
    scene
}

fn played(mut scene: Scene) {
    scene.check();
}

library_benchmark_group!(
    name = with_sockets,
    benchmarks = [one_event, sixteen_events, scene]
);
