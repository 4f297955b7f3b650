//! [`Probe`]: a channel of two, and how long its events take at a fixed rate.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::App;

use crate::figures::Latencies;
use crate::wire;

/// Events a second.
const RATE: u32 = 50;

/// A publisher and two subscribers, each a thread with a socket and nothing else, so that what is measured is the server.
pub(crate) struct Probe {
    app: App,
    publisher: TcpStream,
    subscribers: [TcpStream; 2],
    start: Instant,
}

const CHANNEL: &str = "pair";

impl Probe {
    pub(crate) fn new(at: SocketAddr, app: &App) -> Self {
        let subscriber = || {
            let (mut socket, id) = wire::connect(at, app);
            let subscribe = wire::subscribe(app, id, CHANNEL, None);
            socket.write_all(&subscribe).expect("the hub reads");
            let answer = wire::read_frame(&mut socket);
            assert!(answer.contains("subscription_succeeded"), "{answer}");
            socket
        };
        Self {
            app: app.clone(),
            publisher: wire::open(at),
            subscribers: [subscriber(), subscriber()],
            start: SystemClock.now(),
        }
    }

    /// Publishes at the fixed rate for so long. Each event carries the time at which it is sent, and none waits for the
    /// answer to the one before.
    pub(crate) fn run(&mut self, length: Duration) -> Latencies {
        let count = (length.as_secs_f64() * f64::from(RATE)) as usize;
        let Self {
            app,
            publisher,
            subscribers,
            start,
        } = self;
        let start = *start;
        let all = thread::scope(|scope| {
            let ears = subscribers
                .each_mut()
                .map(|socket| scope.spawn(move || hear(socket, count, start)));
            let mut answers = publisher.try_clone().expect("a second handle");
            scope.spawn(move || {
                let mut answer = vec![0; count * wire::ANSWER.len()];
                answers
                    .read_exact(&mut answer)
                    .expect("every request is answered");
                assert!(
                    answer
                        .chunks(wire::ANSWER.len())
                        .all(|answer| answer == wire::ANSWER)
                );
            });
            let begin = SystemClock.now();
            for n in 0..count {
                let due = begin + Duration::from_secs(1) * n as u32 / RATE;
                thread::sleep(due.saturating_duration_since(SystemClock.now()));
                let sent = (SystemClock.now() - start).as_nanos().to_string();
                let request = wire::publish(app, CHANNEL, &sent);
                publisher.write_all(&request).expect("the hub reads");
            }
            ears.map(|ear| ear.join().expect("every event is heard"))
        });
        Latencies::new(all.concat())
    }
}

/// Hears so many events, and how long each took.
fn hear(socket: &mut TcpStream, count: usize, start: Instant) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        let text = wire::read_frame(socket);
        let now = SystemClock.now() - start;
        let sent = text
            .split(r#""data":""#)
            .nth(1)
            .and_then(|rest| rest.trim_end_matches("\"}").parse().ok());
        let sent = Duration::from_nanos(sent.unwrap_or_else(|| panic!("an event, not {text}")));
        latencies.push(now - sent);
    }
    latencies
}
