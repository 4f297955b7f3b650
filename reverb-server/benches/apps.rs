//! What ten thousand apps in a database cost: until the server is ready, per look-up, and until a change is in force.
//!
//! `cargo bench -p reverb-server --bench apps`; with SQLite, and with a MariaDB that it starts for itself.

#[path = "../../reverb-mysql/tests/support/mod.rs"]
mod mariadb;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use reverb_core::app_store::{AppChanges, AppEditor, AppStore, Keyring};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::hub::Hub;
use reverb_core::protocol::App;
use reverb_mysql::{MySql, Secrets};
use reverb_sqlite::Sqlite;
use tokio::runtime::Runtime;

const APPS: u32 = 10_000;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let key = Keyring::generate();
    fs::write(folder.path().join("secrets.key"), &key).expect("written");
    let keyring = Keyring::parse(&key).expect("a key");

    println!("SQLite, {APPS} apps");
    let path = folder.path().join("reverb.sqlite3");
    let apps = Sqlite::open(&path)
        .expect("a database")
        .apps(keyring.clone());
    fill_file(&path);
    let sealed = runtime.block_on(apps.seal_secrets(false));
    assert_eq!(sealed.expect("sealed"), u64::from(APPS));
    measure(&runtime, &apps, &[], folder.path());

    println!("MariaDB, {APPS} apps");
    let url = runtime.block_on(mariadb::database());
    let database = runtime.block_on(MySql::open(&url)).expect("a database");
    runtime.block_on(fill_table(&url));
    let apps = database.apps(Secrets::Sealed(keyring));
    let sealed = runtime.block_on(apps.seal_secrets(false));
    assert_eq!(sealed.expect("sealed"), u64::from(APPS));
    measure(&runtime, &apps, &["--database-url", &url], folder.path());
}

fn fill_file(path: &Path) {
    let hand = rusqlite::Connection::open(path).expect("it opens");
    let sql = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO apps (id, key, secret) SELECT 100000 + n, 'key-' || n, 'secret-of-app-' || n FROM n";
    hand.execute(sql, [APPS]).expect("filled");
}

async fn fill_table(url: &str) {
    let mut hand = mariadb::connect(url).await;
    let sql = "INSERT INTO reverb_apps (name, app_id, app_key, app_secret, allowed_origins)
        SELECT '', 100000 + seq, CONCAT('key-', seq), CONCAT('secret-of-app-', seq), '[\"*\"]' FROM seq_1_to_10000";
    hand.query_drop(sql).await.expect("filled");
}

fn measure<A: AppEditor + AppStore + AppChanges + Clone>(
    runtime: &Runtime,
    apps: &A,
    flags: &[&str],
    folder: &Path,
) {
    runtime.block_on(look_ups(apps.clone()));
    let (server, ready) = Server::start(flags, folder);
    std::thread::sleep(Duration::from_secs(2));
    let resident = server.resident();
    println!(
        "  ready after             {ready:>8.1?}; {resident:.1} MiB resident two seconds later"
    );
    in_force(runtime, apps, &server);
}

async fn look_ups<A: AppEditor + AppStore + AppChanges + Clone>(apps: A) {
    const FEW: u32 = 2000;
    let clock = SystemClock;
    let each = |start: Instant, times: u32| (clock.now() - start) / times;
    // Nobody holds any: each is read, decrypted and parsed.
    let start = clock.now();
    for n in 1..=FEW {
        let found = apps.find_by_key(&format!("key-{n}")).await;
        assert!(found.expect("an answer").is_some());
    }
    println!("  a look-up               {:>8.1?}", each(start, FEW));
    let now = apps.changes_since(0).await.expect("an answer").revision;
    let start = clock.now();
    for _ in 0..100 {
        apps.changes_since(now).await.expect("an answer");
    }
    println!("  asking what has changed {:>8.1?}", each(start, 100));
    let hub = Hub::builder(apps).build().expect("a hub");
    hub.app("100001").await.expect("the app");
    let start = clock.now();
    for _ in 0..50 * FEW {
        hub.app("100001").await.expect("the app");
    }
    println!("  one that is remembered  {:>8.1?}", each(start, 50 * FEW));
}

/// How long after an edit a client of the app hears of it.
fn in_force(runtime: &Runtime, apps: &impl AppEditor, server: &Server) {
    const EDITS: u32 = 40;
    let once = |n: u32| {
        let mut client = server.knock(&format!("key-{n}"));
        client.hears("connection_established");
        // So that edits fall into all parts of the time between two looks.
        std::thread::sleep(Duration::from_millis(u64::from(n) * 37 % 400));
        let saved = runtime.block_on(async {
            let found = apps.find_by_id(&(100_000 + n).to_string()).await;
            let found = found.expect("an answer").expect("the app");
            let mut app = App::clone(&found);
            app.active = false;
            apps.save(app).await.expect("saved");
            SystemClock.now()
        });
        client.hears("4003");
        SystemClock.now() - saved
    };
    let mut took: Vec<Duration> = (1..=EDITS).map(once).collect();
    took.sort();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "  a change is in force    {median:>8.1?} later (median of {EDITS}), {longest:.1?} at most"
    );
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    /// Starts it; says how long it took until it answered.
    fn start(flags: &[&str], data: &Path) -> (Self, Duration) {
        let start = SystemClock.now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_reverb-server"))
            .args(["--port", "0", "--data-dir"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let said = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut addresses = said.lines().map_while(Result::ok).filter_map(|line| {
            let (_, address) = line.split_once("http://")?;
            line.contains("listening").then(|| address.to_owned())
        });
        let address = addresses.next().expect("it listens");
        let server = Self { process, address };
        let mut stream = TcpStream::connect(&server.address).expect("it listens");
        write!(stream, "GET /up HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let mut some = [0; 64];
        assert!(stream.read(&mut some).expect("an answer") > 0);
        (server, SystemClock.now() - start)
    }

    /// In MiB.
    fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }

    fn knock(&self, key: &str) -> Client {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).expect("set");
        write!(
            stream,
            "GET /app/{key} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .expect("sent");
        let heard = Vec::new();
        Client { stream, heard }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    fn hears(&mut self, text: &str) {
        let mut some = [0; 4096];
        while !String::from_utf8_lossy(&self.heard).contains(text) {
            let read = self.stream.read(&mut some).expect("it goes on");
            assert!(read > 0, "{text} was expected");
            self.heard.extend_from_slice(&some[..read]);
        }
    }
}
