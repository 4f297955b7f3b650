//! [`Crowd`]: many clients and publishers on a thread of their own, who keep the server as busy as it lets them.

use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::App;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::wire;

/// A crowd; dropping it has everybody hang up.
pub(crate) struct Crowd {
    runtime: Runtime,
    at: SocketAddr,
    app: App,
    heard: Arc<Heard>,
}

/// What the crowd has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Bytes that clients have heard.
    bytes: AtomicU64,
    /// Publishes that were answered.
    answers: AtomicU64,
    /// Clients whom the server has sent away.
    pub(crate) sent_away: AtomicU64,
}

/// Figures at some time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoFar {
    at: Instant,
    bytes: u64,
    answers: u64,
}

/// What happens in a second.
pub(crate) struct Rates {
    bytes: f64,
    answers: f64,
}

impl Heard {
    pub(crate) fn so_far(&self) -> SoFar {
        SoFar {
            at: SystemClock.now(),
            bytes: self.bytes.load(Ordering::Relaxed),
            answers: self.answers.load(Ordering::Relaxed),
        }
    }
}

impl SoFar {
    pub(crate) fn since(self, then: Self) -> Rates {
        let took = (self.at - then.at).as_secs_f64();
        Rates {
            bytes: (self.bytes - then.bytes) as f64 / took,
            answers: (self.answers - then.answers) as f64 / took,
        }
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answers, megabytes) = (self.answers, self.bytes / 1e6);
        write!(f, "{answers:.0} publishes/s, {megabytes:.1} MB/s heard")
    }
}

/// Publishers and whisperers at work; dropping it ends that.
pub(crate) struct Noise {
    goes_on: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Crowd {
    pub(crate) fn new(at: SocketAddr, app: &App) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            runtime,
            at,
            app: app.clone(),
            heard: Arc::default(),
        }
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// So many clients subscribe to a channel, and listen; on a presence channel each as a user of its own.
    pub(crate) fn subscribe(&self, count: usize, channel: &str) {
        for n in 0..count {
            let socket = self.join(n, channel);
            let _runtime = self.runtime.enter();
            let (input, output) = TcpStream::from_std(socket).expect("a socket").into_split();
            // It leaves only with the crowd.
            output.forget();
            self.runtime.spawn(listen(input, self.heard.clone()));
        }
    }

    fn join(&self, n: usize, channel: &str) -> StdStream {
        let (mut socket, id) = wire::connect(self.at, &self.app);
        let user = channel.starts_with("presence-").then_some(n);
        let subscribe = wire::subscribe(&self.app, id, channel, user);
        socket.write_all(&subscribe).expect("the hub reads");
        let answer = wire::read_frame(&mut socket);
        assert!(answer.contains("subscription_succeeded"), "{answer}");
        socket.set_nonblocking(true).expect("a setting");
        socket
    }

    /// So many publishers, each of which sends the next event when the last one is answered.
    pub(crate) fn publish(&self, count: usize, channel: &str) -> Noise {
        let request = wire::publish(&self.app, channel, &"x".repeat(200));
        Noise::new(count, |goes_on| {
            let (at, request, heard) = (self.at, request.clone(), self.heard.clone());
            self.runtime.spawn(async move {
                let mut socket = TcpStream::connect(at).await.expect("the hub listens");
                socket.set_nodelay(true).expect("a setting");
                let mut answer = vec![0; wire::ANSWER.len()];
                while goes_on.load(Ordering::Relaxed) {
                    socket.write_all(&request).await.expect("the hub reads");
                    socket
                        .read_exact(&mut answer)
                        .await
                        .expect("the hub answers");
                    assert_eq!(answer, wire::ANSWER, "{}", String::from_utf8_lossy(&answer));
                    heard.answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
    }

    /// So many clients of a private channel, each of which sends ten client events a second.
    pub(crate) fn whisper(&self, count: usize, channel: &str) -> Noise {
        let event =
            format!(r#"{{"event":"client-typing","channel":"{channel}","data":{{"is":true}}}}"#);
        let event = wire::frame(&event);
        let mut n = 0;
        Noise::new(count, |goes_on| {
            n += 1;
            let socket = self.join(n, channel);
            let (event, heard) = (event.clone(), self.heard.clone());
            self.runtime.spawn(async move {
                let socket = TcpStream::from_std(socket).expect("a socket");
                let (input, mut output) = socket.into_split();
                let listening = tokio::spawn(listen(input, heard));
                let mut tick = tokio::time::interval(Duration::from_millis(100));
                while goes_on.load(Ordering::Relaxed) {
                    tick.tick().await;
                    output.write_all(&event).await.expect("the hub reads");
                }
                listening.abort();
            })
        })
    }
}

impl Noise {
    fn new(count: usize, mut start: impl FnMut(Arc<AtomicBool>) -> JoinHandle<()>) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let tasks = (0..count).map(|_| start(goes_on.clone())).collect();
        Self { goes_on, tasks }
    }

    /// Everybody ends what is under way.
    pub(crate) fn end(self, crowd: &Crowd) {
        self.goes_on.store(false, Ordering::Relaxed);
        for task in self.tasks {
            crowd.runtime.block_on(task).expect("nobody fails");
        }
    }
}

async fn listen(mut input: OwnedReadHalf, heard: Arc<Heard>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = input.read(&mut buffer).await {
        heard.bytes.fetch_add(n as u64, Ordering::Relaxed);
    }
    heard.sent_away.fetch_add(1, Ordering::Relaxed);
}
