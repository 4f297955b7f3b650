//! [`Server`]: the binary on a free port, measured from outside, and stopped as a process manager stops it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::App;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;

use crate::backend::Backend;
use crate::client::Client;

/// Two apps that must not know of each other, with the limits that everybody has.
pub(crate) const APPS: &str = r#"
[[apps]]
id = "1001"
key = "app-key"
secret = "app-secret"

[[apps]]
id = "2002"
key = "other-key"
secret = "other-secret"
"#;

/// The first of [`APPS`].
pub(crate) fn shop() -> App {
    App::new("1001", "app-key", "app-secret").expect("an app")
}

/// The second of [`APPS`].
pub(crate) fn other() -> App {
    App::new("2002", "other-key", "other-secret").expect("an app")
}

/// The same, and no ping comes between what a test that takes long waits for.
pub(crate) fn calm(apps: &str) -> String {
    format!("activity_timeout = 600\n{apps}")
}

/// A running server. Dropped before [`Server::ends_well`] it is killed, and its log shown.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    /// Held, so that what it says there does not end it.
    _stdout: BufReader<ChildStdout>,
    has_ended: bool,
}

impl Server {
    /// A server with [`APPS`].
    pub(crate) fn start() -> Self {
        Self::with(&calm(APPS))
    }

    /// The same, without a rate of client events.
    pub(crate) fn unhurried() -> Self {
        let secret = "secret = \"app-secret\"\n";
        let limits = format!("{secret}[apps.limits]\nclient_events_per_second = 0\n");
        Self::with(&calm(&APPS.replace(secret, &limits)))
    }

    /// A server with this configuration.
    pub(crate) fn with(config: &str) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_reverb-server")), config)
    }

    /// A server with [`APPS`] that may have so many descriptors, and cannot get more.
    pub(crate) fn with_descriptors(most: u32) -> Self {
        let mut command = Command::new("/bin/sh");
        let script = format!(r#"ulimit -n {most} && exec "$0" "$@""#);
        command.args(["-c", &script, env!("CARGO_BIN_EXE_reverb-server")]);
        Self::spawn(command, &calm(APPS))
    }

    fn spawn(mut command: Command, config: &str) -> Self {
        allow_ourselves_descriptors();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("reverb.toml"), config).expect("our folder can be written");
        let log = File::create(folder.path().join("log")).expect("our folder can be written");
        let mut process = command
            .args(["--config", "reverb.toml", "--port", "0"])
            .current_dir(&folder)
            .env_clear()
            // So that events cross from one shard to another, also on a machine with one processor.
            .env("TOKIO_WORKER_THREADS", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut said = String::new();
        while !said.ends_with("reverb-server --help\n") {
            let read = stdout.read_line(&mut said).expect("text");
            let log = fs::read_to_string(folder.path().join("log"));
            assert_ne!(read, 0, "it has left after:\n{said}\n{log:?}");
        }
        let address = said.split_once("http://").expect("where it listens").1;
        let address = address.split_whitespace().next().expect("an address");
        Self {
            process,
            address: address.parse().expect("an address"),
            folder,
            _stdout: stdout,
            has_ended: false,
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("log")).expect("its log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How many lines of the log say this.
    pub(crate) fn logged(&self, what: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(what))
            .count()
    }

    /// Memory of its own in KiB: `RssAnon`, which leaves out the pages of the binary itself.
    pub(crate) fn memory(&self) -> u64 {
        memory(self.process.id())
    }

    /// The most memory that it holds from now on, looked at every few milliseconds.
    pub(crate) fn watch_memory(&self) -> Watch {
        let (pid, ends) = (self.process.id(), Arc::new(AtomicBool::new(false)));
        let ended = ends.clone();
        let thread = thread::spawn(move || {
            let mut most = 0;
            while !ended.load(Ordering::Acquire) {
                most = most.max(memory(pid));
                thread::sleep(Duration::from_millis(5));
            }
            most.max(memory(pid))
        });
        Watch { ends, thread }
    }

    /// Bytes that the kernel holds for its peers, in KiB: they are no memory of its own.
    pub(crate) fn unsent(&self) -> u64 {
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.process.id()));
        let port = format!(":{:04X}", self.address.port());
        let of = |line: &str| {
            let mut fields = line.split_whitespace().skip(1);
            let is_ours = fields.next()?.ends_with(&port);
            let queued = fields.nth(2).filter(|_| is_ours)?.split_once(':')?.0;
            u64::from_str_radix(queued, 16).ok()
        };
        let queued: u64 = table.expect("it runs").lines().filter_map(of).sum();
        queued / 1024
    }

    /// Processor time that it has used so far.
    pub(crate) fn processor(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()));
        let stat = stat.expect("it runs");
        // The second field is a name in parentheses; user and system time are the 14th and 15th, in hundredths of a
        // second on every Linux.
        let fields = stat.rsplit_once(')').expect("a name").1;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        open.expect("it runs").count()
    }

    /// Waits until it has no more descriptors open than that.
    #[track_caller]
    pub(crate) fn comes_down_to(&self, descriptors: usize, within: Duration) {
        waits_until(within, || self.descriptors() <= descriptors)
            .unwrap_or_else(|| panic!("{} descriptors, not {descriptors}", self.descriptors()));
    }

    /// Sees that somebody honest is served within a second: greeted, let into a private channel, and told what a
    /// backend publishes there.
    #[track_caller]
    pub(crate) fn is_well(&self) {
        let start = now();
        let mut client = Client::enter(self, &shop());
        client.subscribe("private-health");
        let mut backend = Backend::of(self, &shop());
        backend.publish("private-health", "are-you-well", "yes");
        client.expect_on("private-health", "are-you-well", "yes");
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(1),
            "an honest client waited {took:?}"
        );
    }

    /// Sees that the server is well, and stops it: it must still run, end with 0, and not have panicked.
    #[track_caller]
    pub(crate) fn ends_well(mut self) {
        self.is_well();
        assert_eq!(self.process.try_wait().expect("a child"), None, "it runs");
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).expect("it runs");
        let ended = waits_until(Duration::from_secs(10), || {
            self.process.try_wait().expect("a child").is_some()
        });
        assert!(ended.is_some(), "it ends within ten seconds");
        let status = self.process.wait().expect("a child");
        assert_eq!(status.code(), Some(0), "{status:?}");
        assert!(!self.log().contains("panicked"), "something panicked");
        self.has_ended = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !self.has_ended {
            let log = self.log();
            let start = log.len().saturating_sub(4000);
            eprintln!("the server's log:\n{}", log.get(start..).unwrap_or(&log));
        }
    }
}

/// Watches how much memory a server holds.
pub(crate) struct Watch {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    /// The most that it held, in KiB.
    pub(crate) fn most(self) -> u64 {
        self.ends.store(true, Ordering::Release);
        self.thread.join().expect("it only reads a file")
    }
}

fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let figure = line.and_then(|line| line.split_whitespace().next());
    figure.and_then(|figure| figure.parse().ok()).unwrap_or(0)
}

/// Raises the soft limit of this process to the hard one, once: thousands of sockets have two ends each.
fn allow_ourselves_descriptors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        // Where that is refused, the limit stays as it was, and a test that needs more says so.
        let _ = setrlimit(Resource::Nofile, raised);
    });
}

/// Held by a test that measures time, or that keeps all processors busy: they take turns.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What time it is.
pub(crate) fn now() -> Instant {
    SystemClock.now()
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> u64 {
    SystemClock.unix_time().as_secs()
}

/// How long it takes until this is so, if it is in time.
pub(crate) fn waits_until(within: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let start = now();
    loop {
        if is_so() {
            return Some(start.elapsed());
        }
        if start.elapsed() > within {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
