//! Peers that say something so slowly that it never ends, at every stage of a connection. Each stage has a deadline of
//! its own, which a byte now and then does not prolong.

use std::io::Write;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use crate::backend::{event_to, publish_with, request};
use crate::client::Client;
use crate::server::{APPS, Server, now, shop};
use crate::wire::{PING, TEXT, Wire, frame, handshake};

/// What a peer sends at once, and what it adds every second.
struct Stage {
    what: &'static str,
    sends: Vec<u8>,
    adds: &'static [u8],
    /// Within so many seconds, and so many more, it is let go.
    deadline: (f64, f64),
}

fn stages() -> Vec<Stage> {
    let (head, body) = (
        handshake("/app/app-key"),
        event_to("a", "e", &"x".repeat(200)),
    );
    let (half_head, half) = (head.as_bytes()[..60].to_vec(), body.len() / 2);
    let post = |headers: &str, sent: &str| {
        publish_with(&shop(), headers, body.as_bytes(), sent.as_bytes())
    };
    let plain = post(
        &format!("Content-Length: {}\r\n", body.len()),
        &body[..half],
    );
    let chunk = format!("{half:x}\r\n{}\r\n", &body[..half]);
    let chunked = post("Transfer-Encoding: chunked\r\n", &chunk);
    let large = post("Content-Length: 100000\r\n", "{");
    let before = |method, path| request(&shop(), method, path, &[], body.as_bytes());
    let get = request(&shop(), "GET", "/channels", &[], b"");
    // The kernel keeps to itself who says nothing, for some seconds before the server's clock begins.
    let (kept, of_head, of_body) = ((10.0, 10.0), (10.0, 2.0), (30.0, 2.0));
    let all: [(_, _, &[u8], _); 13] = [
        ("not a byte", vec![], b"", kept),
        ("half a request line", b"GE".to_vec(), b"T", of_head),
        ("half a handshake", half_head.clone(), b"", of_head),
        (
            "a handshake with a header a second",
            half_head,
            b"X: y\r\n",
            of_head,
        ),
        (
            "a head after an empty line",
            b"\r\n".to_vec(),
            b"P",
            of_head,
        ),
        ("half a body", plain.clone(), b"", of_body),
        (
            "half a body, and a byte a second",
            plain.clone(),
            b"x",
            of_body,
        ),
        (
            "half a body after another request",
            [before("POST", "/events"), plain.clone()].concat(),
            b"x",
            of_body,
        ),
        (
            "half a body after a GET",
            [get, plain].concat(),
            b"x",
            of_body,
        ),
        ("some chunks", chunked.clone(), b"", of_body),
        ("a chunk a second", chunked.clone(), b"1\r\nx\r\n", of_body),
        (
            "a byte of a chunk a second",
            [&chunked[..], b"fff\r\n"].concat(),
            b"x",
            of_body,
        ),
        ("a byte of a large body a second", large, b"x", of_body),
    ];
    let stage = |(what, sends, adds, deadline)| Stage {
        what,
        sends,
        adds,
        deadline,
    };
    all.into_iter().map(stage).collect()
}

/// Sends a second's worth again and again while `reader` waits for the end.
fn drips<T>(mut to: impl Write, adds: &[u8], reader: &ScopedJoinHandle<'_, T>) {
    while !reader.is_finished() {
        // It shall not take a second to see that it is over.
        for _ in 0..20 {
            if !reader.is_finished() {
                thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = to.write_all(adds);
    }
}

/// What is wrong with the end of a connection that goes as this stage does.
fn play(server: &Server, stage: &Stage) -> Option<String> {
    let (start, mut wire) = (now(), Wire::connect(server).about(stage.what));
    wire.send(&stage.sends);
    wire.patience(Duration::from_secs(60));
    let writer = wire.writer();
    let answer = thread::scope(|scope| {
        let reader = scope.spawn(|| wire.all());
        drips(writer, stage.adds, &reader);
        reader.join().expect("it ends")
    });
    let seconds = start.elapsed().as_secs_f64();
    let answer = String::from_utf8_lossy(&answer);
    let last = answer
        .rsplit_once("HTTP/1.1 ")
        .map_or("nothing", |(_, last)| last);
    eprintln!("{}: {seconds:.1} s, {}", stage.what, &last[..3]);
    let (deadline, more) = stage.deadline;
    let is_in_time = (deadline - 0.5..deadline + more).contains(&seconds);
    let is_told = last.starts_with("408 ") && last.contains(r#"{"error":""#);
    let is_right = is_in_time && (is_told || stage.sends.is_empty() && answer.is_empty());
    (!is_right).then(|| format!("{}: {seconds:.1} s, {answer:?}", stage.what))
}

/// Half a frame is no sign of life, so that it is answered by a ping after a second of silence, and that by the end.
fn play_a_frame(server: &Server) -> Option<String> {
    let mut client = Client::enter(server, &shop());
    let (start, mut writer) = (now(), client.wire.writer());
    client.wire.patience(Duration::from_secs(40));
    let _ = writer.write_all(&frame(TEXT, &[b' '; 100])[..10]);
    let seconds = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            assert_eq!(client.wire.frame().expect("a ping").0, PING);
            assert_eq!(client.hear_error()["code"], 4201);
            assert_eq!(client.wire.closed(), 4201);
            start.elapsed().as_secs_f64()
        });
        drips(writer, b"x", &reader);
        reader.join().expect("it is let go")
    });
    eprintln!("half a frame, and a byte a second: {seconds:.1} s, 4201");
    (!(30.5..34.0).contains(&seconds)).then(|| format!("half a frame: {seconds:.1} s"))
}

#[test]
fn whoever_is_slow_has_ten_seconds_for_a_head_and_thirty_for_a_body_or_a_frame() {
    let server = Server::with(&format!("activity_timeout = 1\n{APPS}"));
    let stages = stages();
    let wrong: Vec<String> = thread::scope(|scope| {
        let stages = stages
            .iter()
            .map(|stage| scope.spawn(|| play(&server, stage)));
        let mut playing: Vec<_> = stages.collect();
        playing.push(scope.spawn(|| play_a_frame(&server)));
        while !playing.iter().all(ScopedJoinHandle::is_finished) {
            server.is_well();
            thread::sleep(Duration::from_millis(500));
        }
        playing
            .into_iter()
            .filter_map(|played| played.join().expect("it ends"))
            .collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.ends_well();
}
