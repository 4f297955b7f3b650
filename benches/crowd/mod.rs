//! A hub on this thread, and a crowd of raw sockets on another: what is measured is the hub and the kernel, not a client.

#![allow(
    dead_code,
    reason = "each bench is a program of its own and uses its part of this"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reverb_core::app_store::MemoryApps;
use reverb_core::hub::Hub;
use reverb_core::protocol::{App, SocketId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// A hub of one shard, and a thread for everybody else.
pub(crate) struct Stage {
    hub: Runtime,
    crowd: Runtime,
    at: SocketAddr,
    key: String,
    _hub: Hub,
}

/// One client's writing half; what it hears is counted.
pub(crate) struct Guest {
    out: OwnedWriteHalf,
    pub(crate) socket_id: SocketId,
}

/// How much the crowd has heard.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    frames: AtomicU64,
    pongs: AtomicU64,
    heard: Notify,
}

impl Stage {
    pub(crate) fn new(app: App) -> Self {
        let hub = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let crowd = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let key = app.key.as_str().to_owned();
        let (built, at) = hub.block_on(async {
            let built = Hub::builder(MemoryApps::from([app]))
                .shards(1)
                .build()
                .expect("a hub");
            let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let at = socket.local_addr().expect("an address");
            built.listen(socket, built.service());
            (built, at)
        });
        Self {
            hub,
            crowd,
            at,
            key,
            _hub: built,
        }
    }

    /// Runs this on the crowd's thread, and the hub on this one until it is done.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.hub
            .block_on(self.crowd.spawn(job))
            .expect("the crowd does not panic")
    }

    /// Connects so many clients, who all count into this ear.
    pub(crate) fn connect(&self, count: usize, ear: &Arc<Ear>) -> Vec<Guest> {
        let (at, key, ear) = (self.at, self.key.clone(), ear.clone());
        self.run(async move {
            let mut guests = Vec::new();
            for _ in 0..count {
                guests.push(Guest::connect(at, &key, ear.clone()).await);
            }
            guests
        })
    }

    /// Connects a backend.
    pub(crate) fn backend(&self) -> TcpStream {
        let at = self.at;
        self.run(async move {
            let socket = TcpStream::connect(at).await.expect("the hub listens");
            socket.set_nodelay(true).expect("a setting");
            socket
        })
    }
}

impl Guest {
    async fn connect(at: SocketAddr, key: &str, ear: Arc<Ear>) -> Self {
        let mut socket = TcpStream::connect(at).await.expect("the hub listens");
        socket.set_nodelay(true).expect("a setting");
        let knock = format!(
            "GET /app/{key}?protocol=7 HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket
            .write_all(knock.as_bytes())
            .await
            .expect("the hub reads");
        let mut heard = Vec::new();
        // The greeting ends the first thing that it says.
        while !heard.ends_with(b"}\"}") {
            assert_ne!(
                socket.read_buf(&mut heard).await.expect("the hub answers"),
                0
            );
        }
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let id = heard
            .split(r#"socket_id\":\""#)
            .nth(1)
            .and_then(|rest| rest.split('\\').next());
        let (first, second) = id.and_then(|id| id.split_once('.')).expect("a socket id");
        let socket_id = SocketId::new(
            first.parse().expect("a number"),
            second.parse().expect("a number"),
        );
        let (input, out) = socket.into_split();
        tokio::spawn(ear.listen(input));
        Self { out, socket_id }
    }

    /// Sends a text message.
    pub(crate) async fn say(&mut self, text: &str) {
        let mut frame = vec![0x81];
        match text.len() {
            n @ 0..126 => frame.push(0x80 | n as u8),
            n => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(n as u16).to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.out.write_all(&frame).await.expect("the hub reads");
    }
}

impl Ear {
    /// How many frames were heard so far.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::SeqCst)
    }

    /// How many of them were pongs.
    pub(crate) fn pongs(&self) -> u64 {
        self.pongs.load(Ordering::SeqCst)
    }

    /// Resolves when this many frames were heard, all in all.
    pub(crate) async fn await_frames(&self, count: u64) {
        self.until(|| self.frames() >= count).await;
    }

    /// Resolves when this many pongs were heard, all in all.
    pub(crate) async fn await_pongs(&self, count: u64) {
        self.until(|| self.pongs() >= count).await;
    }

    async fn until(&self, is_enough: impl Fn() -> bool) {
        loop {
            let heard = self.heard.notified();
            if is_enough() {
                return;
            }
            heard.await;
        }
    }

    async fn listen(self: Arc<Self>, mut input: OwnedReadHalf) {
        let mut buffer = vec![0; 64 * 1024];
        let mut kept = 0;
        while let Ok(n @ 1..) = input.read(&mut buffer[kept..]).await {
            let all = kept + n;
            let (mut frames, mut pongs, mut used) = (0, 0, 0);
            while let Some((payload, end)) = frame(&buffer[used..all]) {
                frames += 1;
                pongs += u64::from(payload.starts_with(br#"{"event":"pusher:pong""#));
                used += end;
            }
            buffer.copy_within(used..all, 0);
            kept = all - used;
            self.pongs.fetch_add(pongs, Ordering::SeqCst);
            self.frames.fetch_add(frames, Ordering::SeqCst);
            self.heard.notify_waiters();
        }
    }
}

/// The payload of the frame at the front, if it is whole, and where the frame ends.
fn frame(input: &[u8]) -> Option<(&[u8], usize)> {
    let (start, length) = match input {
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, ..] => panic!("longer than anything a bench expects"),
        [_, length, ..] => (2, usize::from(*length)),
        _ => return None,
    };
    let end = start + length;
    Some((input.get(start..end)?, end))
}
