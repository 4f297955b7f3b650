//! A hub and a channel's guests, all on this thread: the hub runs only while the runtime is driven, and no time passes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use reverb_core::app_store::MemoryApps;
use reverb_core::clock::ManualClock;
use reverb_core::hub::{AppHandle, Hub};
use reverb_core::protocol::{App, Event, SocketId, auth};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// What the hub's clock says, in seconds since 1970.
pub(crate) const NOW: u64 = 1_700_000_000;
/// Every event's data: a hundred bytes.
pub(crate) const DATA: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

const PATIENCE: Duration = Duration::from_secs(5);

/// A hub of one shard, and guests in one channel, over real sockets.
pub(crate) struct Room {
    runtime: Runtime,
    _hub: Hub,
    app: AppHandle,
    address: SocketAddr,
    channel: &'static str,
    pub(crate) guests: Vec<Socket>,
}

/// The other end of one of the hub's connections. It never waits.
pub(crate) struct Socket {
    stream: TcpStream,
    heard: String,
    id: Option<SocketId>,
}

impl Room {
    /// This channel, with so many in it.
    pub(crate) fn with(channel: &'static str, guests: usize) -> Self {
        // Paused: a tick of the hub never falls into what is counted.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let mut app = App::new("1001", "app-key", "app-secret").expect("an app");
        app.limits.client_events_per_second = 0;
        app.limits.presence_members = 1000;
        let (hub, app, address) = runtime.block_on(async {
            let hub = Hub::builder(MemoryApps::from([app]))
                .shards(1)
                .clock(ManualClock::new(Duration::from_secs(NOW)))
                .build()
                .expect("a hub");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            hub.listen(listener, hub.service());
            let app = hub.app("1001").await.expect("the app");
            (hub, app, address)
        });
        let mut room = Self {
            runtime,
            _hub: hub,
            app,
            address,
            channel,
            guests: Vec::new(),
        };
        for _ in 0..guests {
            let mut guest = room.guest();
            room.subscribe(&mut guest);
            room.hears(&mut guest, "subscription_succeeded");
            room.guests.push(guest);
        }
        // What they were told of each other is written by then. And what grows once, as lists that are used again, has.
        room.publish(1);
        room.publish(16);
        room.all_read("tick", 17);
        room
    }

    /// Someone who is connected and has said nothing yet.
    pub(crate) fn socket(&self) -> Socket {
        let stream = TcpStream::connect(self.address).expect("the hub listens");
        stream.set_nodelay(true).expect("a setting");
        stream.set_nonblocking(true).expect("a setting");
        Socket {
            stream,
            heard: String::new(),
            id: None,
        }
    }

    /// A client that is greeted and in no channel.
    pub(crate) fn guest(&self) -> Socket {
        let mut guest = self.socket();
        guest.knock();
        let greeting = self.hears(&mut guest, "connection_established");
        let id = greeting.split(r#"socket_id\":\""#).nth(1);
        let id = id.and_then(|rest| rest.split('\\').next());
        guest.id = id.and_then(|id| id.parse().ok());
        guest
    }

    /// Says that this guest joins the channel. Members are told apart by a number.
    pub(crate) fn subscribe(&self, guest: &mut Socket) {
        let member = self.channel.starts_with("presence-").then(|| {
            let number = self.guests.len();
            format!(
                r#"{{"user_id":"user-{number:03}","user_info":{{"name":"Number {number:03}"}}}}"#
            )
        });
        let id = guest.id.expect("it has been greeted");
        let auth = auth::channel_auth(&self.app.app(), id, self.channel, member.as_deref());
        let member = serde_json::json!(member);
        guest.say(&format!(
            r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}","channel_data":{member},"channel":"{}"}}}}"#,
            self.channel
        ));
    }

    /// Drives the hub until this socket hears that, and forgets what it has heard so far.
    fn hears(&self, socket: &mut Socket, what: &str) -> String {
        self.drive(|| socket.has_heard(what));
        std::mem::take(&mut socket.heard)
    }

    /// Drives the hub until so much is so.
    pub(crate) fn drive(&self, mut is_enough: impl FnMut() -> bool) {
        self.runtime.block_on(async {
            while !is_enough() {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Publishes so many events at once, and drives the hub until they are written.
    pub(crate) fn publish(&self, events: usize) {
        let event = || Event::new("tick", DATA).to(self.channel);
        self.runtime.block_on(async {
            for _ in 1..events {
                self.app.try_publish(event()).expect("published");
            }
            self.app.publish(event()).await.expect("published");
        });
    }

    /// Everybody in the channel has been sent so many of these by now, whatever else: nothing drives the hub meanwhile.
    pub(crate) fn all_read(&mut self, what: &str, times: usize) {
        for guest in &mut self.guests {
            guest.reads(what, times);
        }
    }
}

impl Socket {
    pub(crate) fn knock(&mut self) {
        self.send(b"GET /app/app-key?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    }

    /// Sends a text message.
    pub(crate) fn say(&mut self, text: &str) {
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
        self.send(&frame);
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is sent");
    }

    /// Whether something has come that was not read yet.
    pub(crate) fn has_mail(&self) -> bool {
        self.stream.peek(&mut [0]).is_ok()
    }

    /// Reads, without driving the hub, until this has come so many times, and forgets it all.
    pub(crate) fn reads(&mut self, what: &str, times: usize) {
        // The kernel need not hand it over at once.
        for _ in 0..PATIENCE.as_millis() {
            self.read();
            if self.heard.matches(what).count() >= times {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.heard.matches(what).count(), times, "{}", self.heard);
        self.heard.clear();
    }

    fn has_heard(&mut self, what: &str) -> bool {
        self.read();
        self.heard.contains(what)
    }

    fn read(&mut self) {
        let mut heard = Vec::new();
        let end = self.stream.read_to_end(&mut heard);
        assert_eq!(
            end.map_err(|error| error.kind()),
            Err(ErrorKind::WouldBlock)
        );
        self.heard.push_str(&String::from_utf8_lossy(&heard));
    }
}
