//! [`Server`]: the server's process, and what the system says of it.

use std::fmt;
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use reverb_core::protocol::App;
use tempfile::TempDir;

/// A server with two apps, on a free port. Dropping it stops it.
pub(crate) struct Server {
    child: Child,
    pub(crate) at: SocketAddr,
    pub(crate) apps: [App; 2],
    _folder: TempDir,
    /// It must be able to speak for as long as it lives.
    _says: Lines<BufReader<ChildStdout>>,
}

/// The process at some time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Since the load began.
    pub(crate) at: Duration,
    /// Resident memory in MiB.
    pub(crate) rss: f64,
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

const CONFIG: &str = r#"
[[apps]]
id = "1001"
key = "shop-key"
secret = "shop-secret"
[apps.limits]
presence_members = 1000
# On a busy machine what was to be said in two seconds may be said in one.
client_events_per_second = 0

[[apps]]
id = "1002"
key = "blog-key"
secret = "blog-secret"
subscription_count = true
[apps.limits]
presence_members = 1000
client_events_per_second = 0
"#;

impl Server {
    /// Starts this program.
    pub(crate) fn start(program: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = TempDir::new()?;
        let config = folder.path().join("reverb.toml");
        std::fs::write(&config, CONFIG)?;
        let mut child = Command::new(program)
            .args(["--port", "0", "--log", "warn", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut says = BufReader::new(output).lines();
        let at = says.find_map(|line| {
            let line = line.ok()?;
            line.split_once("http://")?.1.trim().parse().ok()
        });
        Ok(Self {
            child,
            at: at.ok_or("the server does not say where it listens")?,
            apps: [
                App::new("1001", "shop-key", "shop-secret")?,
                App::new("1002", "blog-key", "blog-secret")?,
            ],
            _folder: folder,
            _says: says,
        })
    }

    pub(crate) fn sample(&self, at: Duration) -> Result<Sample, std::io::Error> {
        let process = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{process}/status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number
                .and_then(|number| number.parse::<usize>().ok())
                .unwrap_or_default()
        };
        Ok(Sample {
            at,
            rss: number("VmRSS:") as f64 / 1024.0,
            files: std::fs::read_dir(format!("{process}/fd"))?.count(),
            threads: number("Threads:"),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rss,
            files,
            threads,
            ..
        } = self;
        write!(f, "{rss:7.2} MiB, {files:4} files, {threads} threads")
    }
}

/// How many MiB an hour the memory grows: the slope of the straight line that fits best.
pub(crate) fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let hours = |sample: &Sample| sample.at.as_secs_f64() / 3600.0;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (time, rss) = (mean(&hours), mean(&|sample| sample.rss));
    let above = samples
        .iter()
        .map(|sample| (hours(sample) - time) * (sample.rss - rss));
    let below = samples.iter().map(|sample| (hours(sample) - time).powi(2));
    above.sum::<f64>() / below.sum::<f64>()
}
