//! How often the hub asks for memory: never for a delivery, a few times for a publish, and not at all while idle. And how
//! much it holds for a client.
//!
//! The hub has a thread of its own, whose allocations are counted; its clients, on another, read nothing until the end.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::app_store::MemoryApps;
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::hub::Hub;
use reverb_core::protocol::{App, Event};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;

struct Counting;

/// What a thread has asked for.
struct Counter {
    allocations: AtomicU64,
    /// Bytes that it has not given back; less than none, if it gave back more than it has taken.
    held: AtomicUsize,
}

impl Counter {
    const fn new() -> Self {
        Self {
            allocations: AtomicU64::new(0),
            held: AtomicUsize::new(0),
        }
    }

    fn allocations(&self) -> u64 {
        self.allocations.load(Ordering::Relaxed)
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Those of the tests' hubs, and that of the test that publishes in process.
static DELIVERS: Counter = Counter::new();
static HOLDS: Counter = Counter::new();
static OWN: Counter = Counter::new();

// Which of them this thread adds to.
thread_local!(static COUNTS: Cell<Option<&'static Counter>> = const { Cell::new(None) });

fn count(allocations: u64, taken: usize, given: usize) {
    if let Ok(Some(counter)) = COUNTS.try_with(Cell::get) {
        counter
            .allocations
            .fetch_add(allocations, Ordering::Relaxed);
        counter
            .held
            .fetch_add(taken.wrapping_sub(given), Ordering::Relaxed);
    }
}

#[expect(
    unsafe_code,
    reason = "an allocator that counts has to be an allocator"
)]
// SAFETY: everything is the system allocator's; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, 0, layout.size());
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size, layout.size());
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Both ends of every connection are in this process.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be as high as the hard one");
}

/// Starts a hub on a thread of its own.
fn start(app: App, counter: &'static Counter) -> SocketAddr {
    let (tell, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let hub = Hub::builder(MemoryApps::from([app]))
                .build()
                .expect("a hub");
            let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(socket.local_addr().expect("an address"))
                .expect("it is awaited");
            hub.listen(socket, hub.service());
            COUNTS.set(Some(counter));
            std::future::pending::<()>().await;
        });
    });
    address.recv().expect("the hub starts")
}

/// A client that has been greeted, or has subscribed to this channel, and reads nothing more.
fn client(address: SocketAddr, channel: Option<&str>) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let head = "GET /app/key?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut said = head.as_bytes().to_vec();
    if let Some(channel) = channel {
        let text = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
        // Masked with zeros, the payload stands as it is.
        said.extend([0x81, 0x80 | text.len() as u8, 0, 0, 0, 0]);
        said.extend(text.as_bytes());
    }
    stream.write_all(&said).expect("it is sent");
    let last = match channel {
        Some(_) => "subscription_succeeded",
        None => "connection_established",
    };
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&heard).contains(last) {
        let n = stream.read(&mut buffer).expect("an answer");
        assert!(n > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buffer[..n]);
    }
    stream
}

/// A backend with a connection that it keeps.
struct Backend {
    stream: BufReader<TcpStream>,
    app: App,
}

impl Backend {
    fn publish(&mut self, channel: &str) {
        let body = format!(r#"{{"name":"e","channel":"{channel}","data":"{{\"n\":1}}"}}"#);
        let time = SystemClock.unix_time().as_secs();
        let md5 = HEXLOWER.encode(&Md5::digest(body.as_bytes()));
        let query = format!("auth_key=key&auth_timestamp={time}&auth_version=1.0&body_md5={md5}");
        let signature = self
            .app
            .secret
            .sign(&[b"POST\n/apps/1/events\n", query.as_bytes()]);
        let signature = HEXLOWER.encode(&signature);
        let request = format!(
            "POST /apps/1/events?{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream
            .get_mut()
            .write_all(request.as_bytes())
            .expect("it is sent");
        let (mut line, mut lines) = (String::new(), Vec::new());
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).expect("an answer");
            lines.push(line.clone());
        }
        assert!(lines[0].contains(" 200 "), "{lines:?}");
        let mut body = [0; 2];
        self.stream.read_exact(&mut body).expect("a body");
    }
}

fn subscriber(address: SocketAddr, channel: &str) -> TcpStream {
    client(address, Some(channel))
}

/// Allocations of the hub's thread while this many events are published.
fn counted(backend: &mut Backend, channel: &str, events: u32) -> f64 {
    let before = DELIVERS.allocations();
    (0..events).for_each(|_| backend.publish(channel));
    let after = DELIVERS.allocations();
    (after - before) as f64 / f64::from(events)
}

#[test]
fn a_delivery_allocates_nothing_and_a_publish_little() {
    const EVENTS: u32 = 100;
    raise_descriptor_limit();
    let app = App::new("1", "key", "secret").expect("an app");
    let address = start(app.clone(), &DELIVERS);
    let stream = BufReader::new(TcpStream::connect(address).expect("a connection"));
    let mut backend = Backend { stream, app };
    let mut small: Vec<_> = (0..20).map(|_| subscriber(address, "small")).collect();
    let mut large: Vec<_> = (0..420).map(|_| subscriber(address, "large")).collect();
    // What grows once, as lists that are used again, has grown by then.
    for channel in ["small", "large", "nobody"] {
        counted(&mut backend, channel, EVENTS);
    }
    let to_nobody = counted(&mut backend, "nobody", EVENTS);
    let to_few = counted(&mut backend, "small", EVENTS);
    let to_many = counted(&mut backend, "large", EVENTS);
    eprintln!("allocations per publish: {to_nobody} to nobody, {to_few} to 20, {to_many} to 420");
    // A tick of the clock, four times a second, may fall into it.
    assert!((to_many - to_few) / 400.0 < 0.001, "a delivery allocates");
    assert!(to_many < 7.5, "{to_many} allocations per publish");
    for stream in [&mut small[0], &mut large[0]] {
        let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
        while String::from_utf8_lossy(&heard)
            .matches(r#""event":"e""#)
            .count()
            < 200
        {
            let n = stream.read(&mut buffer).expect("every event came");
            assert!(n > 0);
            heard.extend_from_slice(&buffer[..n]);
        }
    }
    thread::sleep(Duration::from_millis(300));
    let before = DELIVERS.allocations();
    thread::sleep(Duration::from_millis(600));
    let idle = DELIVERS.allocations() - before;
    assert!(
        idle <= 2,
        "{idle} allocations while 440 clients were silent"
    );
}

/// What glibc adds to a block, and what it rounds up to, is not in it.
#[test]
fn an_idle_client_costs_little() {
    // So many that the tables, which double, are nearly full.
    const CLIENTS: usize = 224;
    raise_descriptor_limit();
    let app = App::new("1", "key", "secret").expect("an app");
    let address = start(app, &HOLDS);
    // What is made for the first is there.
    drop(client(address, Some("first")));
    let mut before = HOLDS.held();
    let mut held = [0; 2];
    let mut clients = Vec::new();
    for (held, channel) in held.iter_mut().zip([None, Some("a-channel-of-its-own")]) {
        for n in 0..CLIENTS {
            let channel = channel.map(|name| format!("{name}-{n:03}"));
            clients.push(client(address, channel.as_deref()));
        }
        // What is read into is given back.
        thread::sleep(Duration::from_millis(600));
        *held = (HOLDS.held() - before) / CLIENTS;
        before = HOLDS.held();
    }
    let [silent, subscribed] = held;
    eprintln!("bytes held: {silent} for a client, {subscribed} for one with a channel of its own");
    assert!(silent <= 620, "{silent} bytes for an idle client");
    assert!(
        subscribed <= 950,
        "{subscribed} bytes for one with a channel"
    );
}

/// Publishing in process costs four.
#[test]
fn an_event_of_ones_own_program_allocates_little() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let allocations = runtime.block_on(async {
        let app = App::new("1", "key", "secret").expect("an app");
        let hub = Hub::builder(MemoryApps::from([app]))
            .build()
            .expect("a hub");
        let handle = hub.app("1").await.expect("the app");
        let _listens = handle.subscribe("a", 4096).expect("a name");
        for _ in 0..100 {
            handle
                .try_publish(Event::new("e", "1").to("a"))
                .expect("published");
        }
        COUNTS.set(Some(&OWN));
        for _ in 0..1000 {
            handle
                .try_publish(Event::new("e", "1").to("a"))
                .expect("published");
        }
        COUNTS.set(None);
        OWN.allocations()
    });
    assert!(allocations <= 4100, "{allocations} for 1,000 events");
}
