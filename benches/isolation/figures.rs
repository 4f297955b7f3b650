//! Figures: latencies, and what the system says of a process.

use std::fmt;
use std::time::{Duration, Instant};

use reverb_core::clock::{Clock, SystemClock};

/// How long each event took to each receiver.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// What so many per cent of them do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.saturating_sub(1)]
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:6.2} ms, p99 {:6.2} ms, worst {:6.2} ms",
            millis(self.percentile(50)),
            millis(self.percentile(99)),
            millis(self.percentile(100)),
        )
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The one in the middle.
pub(crate) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// How much time the processors have spent until now, and on what.
pub(crate) struct Spent {
    at: Instant,
    server: Duration,
    clients: Duration,
    all: Duration,
}

/// How many processors were busy, and with what.
pub(crate) struct Busy {
    pub(crate) server: f64,
    pub(crate) clients: f64,
    /// What is none of ours, other machines on the same processors included.
    pub(crate) others: f64,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            clients,
            others,
        } = self;
        write!(
            f,
            "processors: server {server:.2}, clients {clients:.2}, others {others:.2}"
        )
    }
}

impl Spent {
    pub(crate) fn now(server: u32) -> Self {
        Self {
            at: SystemClock.now(),
            server: of_process(server),
            clients: of_process(std::process::id()),
            all: of_machine(),
        }
    }

    /// How many processors were busy since then.
    pub(crate) fn since(&self, then: &Self) -> Busy {
        let took = (self.at - then.at).as_secs_f64();
        let busy = |now: Duration, then: Duration| (now - then).as_secs_f64() / took;
        let (server, clients) = (
            busy(self.server, then.server),
            busy(self.clients, then.clients),
        );
        Busy {
            server,
            clients,
            others: busy(self.all, then.all) - server - clients,
        }
    }
}

/// What the system says, in hundredths of a second on every Linux there is.
fn spent<'a>(ticks: impl Iterator<Item = &'a str>) -> Duration {
    let ticks = ticks.map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// User and kernel time of a process.
fn of_process(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process lives");
    // Its name is in parentheses, and may contain anything.
    let after = stat.rsplit(") ").next().unwrap_or_default();
    spent(after.split(' ').skip(11).take(2))
}

/// Everything but idling and waiting for disks.
fn of_machine() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").expect("this is Linux");
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    let all = fields.skip(1).take(8).enumerate();
    spent(
        all.filter(|(n, _)| ![3, 4].contains(n))
            .map(|(_, ticks)| ticks),
    )
}
