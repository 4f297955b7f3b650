//! A server and a command line that are killed, have no room, or are edited without end.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use reverb_core::app_store::{AppEditor, AppStore, Keyring};
use reverb_core::protocol::App;
use reverb_sqlite::{Sqlite, SqliteApps};
use rusqlite::Connection;

use crate::place::{Place, Server, publish};

/// What SQLite finds when it looks through the whole file.
fn integrity(place: &Place) -> String {
    let connection = Connection::open(place.path("data/reverb.sqlite3")).expect("it opens");
    let check = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0));
    check.expect("an answer")
}

#[test]
fn killed_a_hundred_times_while_they_write_they_leave_the_database_whole() {
    const KILLS: u32 = 100;
    let place = Place::new();
    place.succeeds(&["app", "create", "--id", "1", "--name", "0"]);
    let (mut done, mut killed) = (0, 0);
    for n in 1..=KILLS {
        let server = place.start(&[]);
        let name = n.to_string();
        let mut writer = place.command(&["app", "update", "1", "--name", &name]);
        let mut writer = writer
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary runs");
        std::thread::sleep(Duration::from_micros(rand::random_range(0..60_000)));
        let was_faster = writer.try_wait().expect("its state").is_some();
        let _ = writer.kill();
        let status = writer.wait().expect("it has ended");
        drop(server); // by SIGKILL too
        if was_faster {
            assert!(status.success(), "{status}");
            done = n;
        } else {
            killed += 1;
        }
        let kept = place.json(&["app", "show", "1", "--json"])["name"].clone();
        let kept: u32 = kept
            .as_str()
            .and_then(|name| name.parse().ok())
            .expect("a number");
        assert!(
            (done..=n).contains(&kept),
            "{kept}, although {done} was told to be done"
        );
    }
    println!("{killed} of {KILLS} were killed before they had said that they were done");
    assert_eq!(integrity(&place), "ok");
    assert_eq!(
        place
            .json(&["app", "list", "--json"])
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn without_room_on_the_disk_a_change_is_refused_and_nothing_else_is_lost() {
    let place = Place::new();
    place.succeeds(&["app", "create", "--id", "1", "--key", "key-1"]);
    let server = place.start(&[]);
    let text = "x".repeat(100_000);
    let refused = (0..100).find_map(|n| {
        let script =
            r#"ulimit -f 2000; trap '' XFSZ; exec "$0" app create --id "$1" --description "$2""#;
        let output = Command::new("sh")
            .args([
                "-c",
                script,
                env!("CARGO_BIN_EXE_reverb-server"),
                &format!("big-{n}"),
                &text,
            ])
            .current_dir(place.path("."))
            .env_clear()
            .output()
            .expect("a shell");
        (!output.status.success())
            .then(|| (n, String::from_utf8_lossy(&output.stderr).into_owned()))
    });
    let (n, said) = refused.expect("it is full at some time");
    assert!(n > 0, "{said}");
    assert!(said.contains("the app store did not answer"), "{said}");
    assert_eq!(integrity(&place), "ok");
    server.knock("key-1").hears("connection_established");
    let apps = place.json(&["app", "list", "--json"]);
    assert_eq!(
        apps.as_array().map(Vec::len),
        Some(n + 1),
        "those that were made are there"
    );
    place.succeeds(&["app", "create", "--id", "more"]);
}

/// The apps in the file, as another process would have them.
fn apps(place: &Place) -> SqliteApps {
    let key = fs::read_to_string(place.path("data/secrets.key")).expect("the key");
    let keyring = Keyring::parse(&key).expect("a key");
    let database = Sqlite::open(&place.path("data/reverb.sqlite3"));
    database.expect("it opens").apps(keyring)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_edits_under_load_fail_no_publish_and_leave_memory_as_it_was() {
    const EDITS: u32 = 200;
    let place = Place::new();
    for n in 1..=3 {
        let (id, key) = (n.to_string(), format!("key-{n}"));
        place.succeeds(&[
            "app",
            "create",
            "--id",
            &id,
            "--key",
            &key,
            "--secret",
            "secret-of-all",
        ]);
    }
    let server = place.start(&[]);
    let mut client = server.knock("key-3");
    client.hears("connection_established");
    let (stops, published) = (AtomicBool::new(false), AtomicU32::new(0));
    let apps = apps(&place);
    let edit = async |n: u32| {
        let found = apps
            .find_by_id(&(n % 2 + 1).to_string())
            .await
            .expect("an answer");
        let mut app = App::clone(&found.expect("the app"));
        app.name = format!("edit {n}");
        app.limits.presence_members = 100 + n as usize;
        apps.save(app).await.expect("saved");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    std::thread::scope(|scope| {
        for app in 1..=3 {
            let (address, stops, published) = (server.address(), &stops, &published);
            scope.spawn(move || {
                while !stops.load(Ordering::Acquire) {
                    let answer = publish(address, app);
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                    published.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for n in 0..20 {
                    edit(n).await;
                }
                let before = server.resident();
                for n in 20..EDITS {
                    edit(n).await;
                }
                stops.store(true, Ordering::Release);
                let after = server.resident();
                println!("{before} KiB after 20 edits, {after} KiB after {EDITS}");
                assert!(after < before + 4096, "{before} KiB became {after}");
            });
        });
    });
    let published = published.load(Ordering::Acquire);
    println!("{published} requests beside {EDITS} edits");
    assert!(published > EDITS);
    assert!(client.is_connected(), "nobody has changed its app");
}

impl Server {
    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.expect("a number")
    }
}
