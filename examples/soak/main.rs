//! A soak: the server for minutes or hours under everything at once, and whether it loses anything or grows.
//!
//! ```text
//! cargo build --release -p reverb-server
//! cargo run --release --example soak -- --minutes 60
//! ```
//! Two apps, 500 clients who stay, about twenty a second who come and go, 200 events a second of all sizes, client events,
//! sign-ins, changing subscriptions, GETs, readers that stall and peers that send rubbish. At the end everybody leaves.
//!
//! It fails if a healthy client misses an event or is cut, if a request is refused, if anything is left over, or if the
//! memory at the end is more than it was in the second minute, plus a tenth and 2 MiB.

mod api;
mod backends;
mod chance;
mod crowd;
mod guest;
mod ledger;
mod rude;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reverb_core::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::api::Api;
use crate::crowd::{PROBE, Steady};
use crate::guest::{Guest, Home};
use crate::ledger::{Totals, read};
use crate::server::{Sample, Server, slope};

type Failure = Box<dyn std::error::Error>;

/// How often the process is looked at and the probe sent.
const PACE: Duration = Duration::from_secs(5);
/// From when on the memory must not grow.
const WARM: Duration = Duration::from_secs(120);

/// Tells everybody that it is time to stop.
#[derive(Clone)]
struct Stop(watch::Receiver<bool>);

impl Stop {
    fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    async fn wait(&self) {
        let _ = self.0.clone().wait_for(|stops| *stops).await;
    }
}

struct Arguments {
    minutes: u64,
    server: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let run = match arguments() {
        Ok(arguments) => run(arguments).await,
        Err(error) => Err(error),
    };
    match run {
        Ok(problems) if problems.is_empty() => {
            println!("passed");
            ExitCode::SUCCESS
        }
        Ok(problems) => {
            problems
                .iter()
                .for_each(|problem| println!("FAILED: {problem}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Arguments, Failure> {
    const USAGE: &str = "usage: soak [--minutes N] [--server PROGRAM]; N is 3 or more";
    let mut found = Arguments {
        minutes: 10,
        server: "target/release/reverb-server".into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match &*argument {
            "--minutes" => found.minutes = value.parse()?,
            "--server" => found.server = value.into(),
            _ => return Err(USAGE.into()),
        }
    }
    if found.minutes < 3 {
        return Err(USAGE.into());
    }
    if !found.server.exists() {
        let missing = found.server.display();
        return Err(format!("{missing} is missing: cargo build --release -p reverb-server").into());
    }
    // Its own folder is another one.
    found.server = found.server.canonicalize()?;
    Ok(found)
}

/// Returns what went wrong.
async fn run(arguments: Arguments) -> Result<Vec<String>, Failure> {
    let server = Server::start(&arguments.server)?;
    let totals = Arc::<Totals>::default();
    let homes = server.apps.clone().map(|app| Home {
        at: server.at,
        app,
        channels: Arc::new(crowd::channels()),
        totals: totals.clone(),
    });
    let empty = server.sample(Duration::ZERO)?;
    println!("at the start:       {empty}");
    let (stopper, stop) = watch::channel(false);
    let stop = Stop(stop);
    let begin = SystemClock.now();
    let mut loads = JoinSet::new();
    let mut steady = JoinSet::new();
    for (home, count) in homes.iter().zip([300, 200]) {
        let crowd = Steady::gather(home, count)
            .await
            .ok_or("not all clients are let in")?;
        steady.spawn(crowd.live(stop.clone()));
        for number in 0..backends::PUBLISHERS {
            loads.spawn(backends::publish(home.clone(), number, stop.clone()));
        }
        loads.spawn(backends::ask(home.clone(), stop.clone()));
        loads.spawn(backends::flood(home.clone(), stop.clone()));
        loads.spawn(rude::stall(home.clone(), stop.clone()));
        loads.spawn(rude::stall(home.clone(), stop.clone()));
    }
    loads.spawn(crowd::visit(homes.clone(), stop.clone()));
    loads.spawn(rude::harm(homes[0].clone(), stop.clone()));
    let length = Duration::from_secs(60 * arguments.minutes);
    let (samples, missed) = watch_it(&server, &homes[0], begin, length).await?;

    let _ = stopper.send(true);
    loads.join_all().await;
    for crowd in steady.join_all().await {
        crowd.part().await;
    }
    let left = rest(&server, &homes, &empty, begin).await?;
    Ok(verdict(&samples, &left, &empty, &totals, missed))
}

/// Looks at the process and sends the probe's events, for so long. Returns how many did not arrive as well.
async fn watch_it(
    server: &Server,
    home: &Home,
    begin: Instant,
    length: Duration,
) -> Result<(Vec<Sample>, usize), Failure> {
    let mut api = Api::new(home);
    let mut guest = Guest::connect(home, false)
        .await
        .ok_or("the probe is not let in")?;
    guest.subscribe(PROBE, "").await;
    guest.await_all(None).await;
    let (mut samples, mut missed) = (Vec::new(), 0);
    let mut turns = interval(PACE);
    while SystemClock.now() - begin < length {
        turns.tick().await;
        let sent = SystemClock.now();
        let series = &home.channels[PROBE].events;
        let number = series.begin();
        let data = json!({"n": {PROBE: number}}).to_string();
        let body = json!({"name": "event", "channel": PROBE, "data": data});
        let is_heard = api.post("events", &body).await.is_some() && {
            series.end(number);
            guest.await_all(None).await;
            guest.ears.owed(None) == 0
        };
        let took = SystemClock.now() - sent;
        missed += usize::from(!is_heard || took > Duration::from_secs(2));
        let sample = server.sample(sent - begin)?;
        println!(
            "{:5.0} s: {sample}; sent {}, received {}, lost {}; probe {:.1} ms",
            sample.at.as_secs_f64(),
            read(&home.totals.sent),
            read(&home.totals.received),
            read(&home.totals.lost),
            took.as_secs_f64() * 1000.0,
        );
        samples.push(sample);
    }
    guest.close().await;
    Ok((samples, missed))
}

/// Everybody has left: waits until the server has noticed, and returns what it is then, and what it still knows.
async fn rest(
    server: &Server,
    homes: &[Home; 2],
    empty: &Sample,
    begin: Instant,
) -> Result<(Sample, Vec<String>), Failure> {
    let mut known = Vec::new();
    for _ in 0..60 {
        sleep(Duration::from_millis(500)).await;
        known.clear();
        for home in homes {
            let mut api = Api::new(home);
            let connections = api.get("connections", "").await;
            let channels = api.get("channels", "").await;
            for (found, nothing) in [
                (connections, json!({"connections": 0})),
                (channels, json!({"channels": {}})),
            ] {
                if found.as_ref() != Some(&nothing) {
                    known.push(
                        found
                            .as_ref()
                            .map_or_else(|| "no answer".to_owned(), Value::to_string),
                    );
                }
            }
        }
        // Our own connections end with the requests, and it takes the server a moment to notice.
        sleep(Duration::from_millis(100)).await;
        if known.is_empty() && server.sample(SystemClock.now() - begin)?.files <= empty.files {
            break;
        }
    }
    Ok((server.sample(SystemClock.now() - begin)?, known))
}

/// Prints the figures, and returns what is wrong with them.
fn verdict(
    samples: &[Sample],
    (left, known): &(Sample, Vec<String>),
    empty: &Sample,
    totals: &Totals,
    missed: usize,
) -> Vec<String> {
    let warm: Vec<Sample> = samples
        .iter()
        .copied()
        .filter(|sample| sample.at >= WARM)
        .collect();
    let (Some(second), Some(last)) = (warm.first(), warm.last()) else {
        return vec!["it was too short".to_owned()];
    };
    println!("in the 2nd minute:  {second}");
    println!("at the end:         {last}");
    println!("when all have left: {left}");
    println!(
        "slope:              {:+.2} MiB/h since the 2nd minute",
        slope(&warm)
    );
    let (sent, received, lost) = (
        read(&totals.sent),
        read(&totals.received),
        read(&totals.lost),
    );
    println!("events:             {sent} sent, {received} received, {lost} lost");
    println!(
        "besides:            {} requests, {} visits, {} stalled readers cut, {} hostile peers outlived",
        read(&totals.requests),
        read(&totals.visits),
        read(&totals.stalled),
        read(&totals.hostile),
    );
    let most = second.rss * 1.1 + 2.0;
    let (files, expected) = (left.files, empty.files);
    let checks = [
        (lost > 0, format!("{lost} events were lost")),
        (
            missed > 0,
            format!("{missed} events of the probe did not arrive in time"),
        ),
        (
            read(&totals.wrong) > 0,
            format!("{} things were wrong", read(&totals.wrong)),
        ),
        (
            read(&totals.cut) > 0,
            format!("{} healthy clients were cut", read(&totals.cut)),
        ),
        (
            read(&totals.refused) > 0,
            format!("{} requests were refused", read(&totals.refused)),
        ),
        (
            read(&totals.stalled) == 0,
            "no stalled reader was cut".to_owned(),
        ),
        (
            !known.is_empty(),
            format!("the server still knows {known:?}"),
        ),
        (
            files > expected,
            format!("{files} files are open, at the start there were {expected}"),
        ),
        (
            last.rss > most,
            format!(
                "the memory grew to {:.2} MiB, more than {most:.2}",
                last.rss
            ),
        ),
    ];
    let wrong = checks.into_iter().filter(|(is_wrong, _)| *is_wrong);
    wrong.map(|(_, what)| what).collect()
}
