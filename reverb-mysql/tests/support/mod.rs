//! A private MariaDB for the tests of a process: started by the first that needs it, in a folder of its own, on a free port.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};

/// Takes orders by its standard input, whose end comes with that of the test, however it ends.
const GUARD: &str = r#"
while read -r order; do
    case $order in
        start) "$@" >>"$FOLDER/log" 2>&1 </dev/null & server=$! ;;
        *) kill -s "$order" "$server" ;;
    esac
done
kill -9 "$server" 2>/dev/null
wait "$server" 2>/dev/null
rm -rf "$FOLDER"
"#;

/// The address of the server, without a database: `mysql://root@127.0.0.1:PORT`.
pub(crate) fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| start(&[]))
}

/// Starts another one, with these options; it ends with this process.
pub(crate) fn start(options: &[&str]) -> String {
    let server = Server::start(options);
    let url = server.url.clone();
    // Never dropped: the guard sees the end of it when this process ends.
    std::mem::forget(server);
    url
}

/// A server of one's own, which ends when this is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    folder: PathBuf,
    guard: Child,
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Self {
        let (folder, port) = (install(), free_port());
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh", "mariadbd", "--no-defaults"])
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", folder.join("socket").display()))
            .arg(format!("--port={port}"))
            // Who is root must say so; for others it means nothing.
            .arg("--user=root")
            .arg(format!("--tmpdir={}", folder.display()))
            .args([
                "--bind-address=127.0.0.1",
                "--innodb-buffer-pool-size=32M",
                "--skip-name-resolve",
            ])
            .args(options)
            .env("PATH", path())
            .env("FOLDER", &folder)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut server = Self {
            url: format!("mysql://root@127.0.0.1:{port}"),
            folder,
            guard,
        };
        server.order("start");
        server
    }

    /// A signal for it, such as `KILL`; or `start` starts it again, with its port and what it has stored.
    pub(crate) fn order(&mut self, order: &str) {
        let guard = self.guard.stdin.as_mut().expect("it is piped");
        writeln!(guard, "{order}").expect("the guard lives as long as the test");
        if order == "start" {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            wait_for(&self.url, log);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/usr/local/sbin")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("a free port").port()
}

/// A new folder, with the data of an empty server in it.
fn install() -> PathBuf {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let data = folder.join("data");
    let made = Command::new("mariadb-install-db")
        .env("PATH", path())
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ])
        .arg(format!("--datadir={}", data.display()))
        .env("TMPDIR", &folder)
        .stdin(Stdio::null())
        .output()
        .expect("MariaDB is installed: apt-get install mariadb-server, or ./check, which does");
    assert!(made.status.success(), "{made:?}");
    folder
}

fn wait_for(url: &str, log: impl Fn() -> String) {
    let opts = Opts::from_url(url).expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let connect = async move {
        for _ in 0..300 {
            if let Ok(conn) = Conn::new(opts.clone()).await {
                let _ = conn.disconnect().await;
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    };
    // On a thread of its own: the test may be within a runtime.
    let runtime = runtime.expect("a runtime");
    let connected = std::thread::spawn(move || runtime.block_on(connect)).join();
    assert!(
        matches!(connected, Ok(true)),
        "MariaDB does not start:\n{}",
        log()
    );
}

/// The address of a new, empty database.
pub(crate) async fn database() -> String {
    let server = tokio::task::spawn_blocking(server).await;
    database_of(server.expect("a server")).await
}

/// The same of another server.
pub(crate) async fn database_of(server: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut conn = connect(server).await;
    let make = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
    conn.query_drop(make).await.expect("made");
    conn.disconnect().await.expect("left");
    format!("{server}/{name}")
}

/// A connection of the test's own.
pub(crate) async fn connect(url: &str) -> Conn {
    let conn = Conn::new(Opts::from_url(url).expect("an address")).await;
    conn.expect("a connection")
}
