//! [`Place`]: a working folder, and the binary in it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::App;
use serde_json::Value;
use tempfile::TempDir;

/// A working folder of its own, without any environment.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("our folder can be written");
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reverb-server"));
        command.args(args).current_dir(&self.folder).env_clear();
        command
    }

    pub(crate) fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(args)
            .envs(env.iter().copied())
            .output()
            .expect("the binary runs")
    }

    /// What it says on standard output.
    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args, &[]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What it says on standard error, when it ends with 1.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// The exit code, and what it says on standard error.
    pub(crate) fn ends(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args, &[]);
        let said = String::from_utf8(output.stderr).expect("text");
        (output.status.code().expect("it ends by itself"), said)
    }

    /// The JSON on standard output.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.succeeds(args)).expect("JSON")
    }

    /// A server on a free port, which has said all that it says at its start.
    pub(crate) fn start(&self, args: &[&str]) -> Server {
        let mut command = self.command(&[args, &["--port", "0"]].concat());
        let log = self.path(&format!("log.{}", rand::random::<u64>()));
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("our folder can be written"))
            .spawn()
            .expect("the binary runs");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut said = String::new();
        while !said.ends_with("reverb-server --help\n") {
            let read = stdout.read_line(&mut said).expect("text");
            assert_ne!(read, 0, "it has left after:\n{said}");
        }
        Server { process, said, log }
    }
}

/// A running server; ends when it is dropped.
pub(crate) struct Server {
    process: Child,
    log: PathBuf,
    pub(crate) said: String,
}

impl Server {
    /// What it has said on standard error so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    /// Waits until it has said this on standard error: what it does by the way may come later than what it answers.
    pub(crate) fn logs(&self, text: &str) {
        for _ in 0..1000 {
            if self.log().contains(text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{text} was expected in:\n{}", self.log());
    }

    /// What follows this on its line.
    pub(crate) fn line(&self, start: &str) -> &str {
        let line = self.said.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{start} in:\n{}", self.said))
    }
}

impl Server {
    /// Its number among the system's processes.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let address = self
            .said
            .split("http://")
            .last()
            .and_then(|rest| rest.split(['/', ' ', '\n']).next());
        let address = self
            .said
            .rsplit_once("listening")
            .and(address)
            .unwrap_or_default();
        address
            .parse()
            .unwrap_or_else(|_| panic!("an address in:\n{}", self.said))
    }

    /// A client that knocks with this key.
    pub(crate) fn knock(&self, key: &str) -> Client {
        let mut stream = TcpStream::connect(self.address()).expect("it listens");
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).expect("set");
        write!(
            stream,
            "GET /app/{key} HTTP/1.1\r\nHost: x\r\nOrigin: https://a.shop.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .expect("sent");
        Client {
            stream,
            heard: Vec::new(),
        }
    }
}

/// A client of whom only what it hears is of interest.
pub(crate) struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    /// Waits until this has come.
    pub(crate) fn hears(&mut self, text: &str) {
        let mut some = [0; 4096];
        loop {
            let heard = String::from_utf8_lossy(&self.heard).into_owned();
            if heard.contains(text) {
                return;
            }
            match self.stream.read(&mut some) {
                Ok(read) if read > 0 => self.heard.extend_from_slice(&some[..read]),
                other => panic!("{text} was expected, not {other:?} after {heard}"),
            }
        }
    }

    /// Whether this has come already.
    pub(crate) fn has_heard(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.heard).contains(text)
    }

    /// Whether the connection is still there.
    pub(crate) fn is_connected(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("set");
        let mut some = [0; 4096];
        let is_open = match self.stream.read(&mut some) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        };
        self.stream.set_nonblocking(false).expect("set");
        is_open
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Publishes an event of this app on a connection of its own; returns the answer.
pub(crate) fn publish(address: SocketAddr, id: u32) -> String {
    let app = App::new(&id.to_string(), &format!("key-{id}"), "secret-of-all").expect("an app");
    let body = r#"{"name":"e","channel":"a","data":"1"}"#;
    let md5 = HEXLOWER.encode(&Md5::digest(body));
    let time = SystemClock.unix_time().as_secs();
    let query = format!(
        "auth_key={}&auth_timestamp={time}&auth_version=1.0&body_md5={md5}",
        app.key
    );
    let path = format!("/apps/{id}/events");
    let signed = format!("POST\n{path}\n{query}");
    let signature = HEXLOWER.encode(&app.secret.sign(&[signed.as_bytes()]));
    let mut stream = TcpStream::connect(address).expect("it listens");
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).expect("set");
    write!(
        stream,
        "POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    let mut stream = BufReader::new(stream);
    stream.read_line(&mut answer).expect("an answer");
    let _ = stream.read_to_string(&mut answer);
    answer
}
