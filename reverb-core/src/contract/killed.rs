//! Workers that are killed, a hundred times: no job is lost, and none is done again without need.
//!
//! The workers are processes: the test's own binary, which is started again. So there are two tests in it, of which the first
//! is none by itself:
//!
//! ```
//! use reverb_core::contract::killed;
//! # async fn open(_: &str) -> reverb_core::queue::MemoryQueue { Default::default() }
//! # async fn an_empty_one() -> (String, std::path::PathBuf) { Default::default() }
//! # fn main() {}
//!
//! #[tokio::test]
//! async fn a_worker_works_if_this_is_one() {
//!     killed::works_if_this_is_a_worker(open).await;
//! }
//!
//! #[tokio::test(flavor = "multi_thread")]
//! async fn no_job_is_lost_when_workers_are_killed_a_hundred_times() {
//!     let (place, folder) = an_empty_one().await;
//!     killed::no_job_is_lost_when_workers_are_killed(&place, &folder, open).await;
//! }
//! ```

use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::queue::{Job, Queue};

const KILLS: u64 = 100;
/// Nobody is killed later than that after it has begun to work.
const LATEST: u64 = 30_000; // µs
const JOBS_PER_WORKER: usize = 15;
/// Short, so that the next worker has the job that was left behind.
const LEASE: Duration = Duration::from_millis(50);
/// A part of the work, before and after the moment in which it is done.
const PART: Duration = Duration::from_micros(500);

/// The test that a worker runs.
const WORKER: &str = "a_worker_works_if_this_is_one";
/// Name the queue and the file, in a worker.
const PLACE: &str = "REVERB_TEST_QUEUE";
const DONE: &str = "REVERB_TEST_DONE";

/// What a worker does, until it is killed, or for a minute if nobody does that. Called from a test with the name
/// `a_worker_works_if_this_is_one`, at the root of its binary; where that is run as a test, this does nothing.
pub async fn works_if_this_is_a_worker<Q: Queue>(open: impl AsyncFn(&str) -> Q) {
    let (Ok(place), Some(done)) = (env::var(PLACE), env::var_os(DONE)) else {
        return;
    };
    let queue = open(&place).await;
    queue.counts().await.expect("it can be reached");
    eprintln!("working");
    let start = SystemClock.now();
    while SystemClock.now() - start < Duration::from_secs(60) {
        if !work(&queue, Path::new(&done)).await {
            thread::sleep(PART);
        }
    }
}

/// Kills a hundred of them. The place is that of an empty queue, as `open` understands it; what was done is written down in
/// the folder.
pub async fn no_job_is_lost_when_workers_are_killed<Q: Queue>(
    place: &str,
    folder: &Path,
    open: impl AsyncFn(&str) -> Q,
) {
    let (queue, done) = (open(place).await, folder.join("done"));
    let mut pushed = Vec::new();
    for n in 0..KILLS {
        for _ in 0..JOBS_PER_WORKER {
            let payload = pushed.len().to_string();
            // A job may be unlucky with any number of workers.
            let job = Job::new("mail", payload.as_str()).expect("a job");
            let job = job.with_max_attempts(1000);
            queue.push(job, Duration::ZERO).await.expect("pushed");
            pushed.push(payload);
        }
        let worker = Worker::start(place, &done);
        // Spread over the time, the same in every run: what else there is to chance is the machine's.
        thread::sleep(Duration::from_micros(n * 7_919 % LATEST));
        worker.kill();
    }
    // The rest is for somebody who lives on.
    let start = SystemClock.now();
    while queue.counts().await.expect("counts") != Default::default() {
        let waited = SystemClock.now() - start;
        assert!(waited < Duration::from_secs(60), "a job does not come");
        if !work(&queue, &done).await {
            thread::sleep(LEASE / 5);
        }
    }

    let done = fs::read_to_string(done).expect("what was done");
    let mut times: HashMap<&str, u64> = HashMap::new();
    let mut left_behind = 0;
    for line in done.lines() {
        let (payload, attempt) = line.split_once(' ').expect("a job and its attempt");
        *times.entry(payload).or_default() += 1;
        left_behind += u64::from(attempt != "1");
    }
    for payload in &pushed {
        assert!(times.contains_key(&**payload), "{payload} was lost");
    }
    assert_eq!(times.len(), pushed.len(), "nothing else was done");
    let again: u64 = times.values().map(|times| times - 1).sum();
    assert!(again <= KILLS, "{again} were done again");
    assert!(left_behind > 0, "somebody was killed while it had a job");
    println!("{left_behind} jobs had to be given to somebody else, {again} were done again");
}

/// Does the next job, if there is one: a line in a file is what can be seen of it.
async fn work(queue: &impl Queue, done: &Path) -> bool {
    let Some(leased) = queue.lease(&[], LEASE).await.expect("an answer") else {
        return false;
    };
    thread::sleep(PART);
    let mut done = OpenOptions::new()
        .create(true)
        .append(true)
        .open(done)
        .expect("it opens");
    let line = format!("{} {}\n", leased.payload, leased.attempt);
    done.write_all(line.as_bytes()).expect("written");
    thread::sleep(PART);
    queue.finish(&leased).await.expect("finished");
    true
}

/// A worker that has begun to work. It does not outlive a test that fails.
struct Worker(Child);

impl Worker {
    fn start(place: &str, done: &Path) -> Self {
        let mut worker = Command::new(env::current_exe().expect("this binary"));
        worker
            .args(["--exact", WORKER, "--nocapture"])
            .env(PLACE, place)
            .env(DONE, done)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut worker = Self(worker.spawn().expect("it starts"));
        let said = worker.0.stderr.as_mut().expect("a pipe");
        let mut lines = BufReader::new(said).lines();
        let working = lines.any(|line| line.expect("a line") == "working");
        assert!(working, "it ended before it worked");
        worker
    }

    fn kill(mut self) {
        let ended = self.0.try_wait().expect("its state");
        assert_eq!(ended, None, "it works until it is killed");
        self.0.kill().expect("killed");
        self.0.wait().expect("its end");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
