//! Workers that are killed, a hundred times: no job is lost, and none is done again without need.

mod support;

use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::{Job, Queue};
use reverb_mysql::{MySql, MySqlQueue};

const KILLS: u64 = 100;
/// Nobody is killed later than that after it has begun to work.
const LATEST: u64 = 30_000; // µs
const JOBS_PER_WORKER: usize = 15;
/// Short, so that the next worker has the job that was left behind.
const LEASE: Duration = Duration::from_millis(50);
/// A part of the work, before and after the moment in which it is done.
const PART: Duration = Duration::from_micros(500);

/// Name the database and the file, in a worker that the test below has started from this same binary.
const DATABASE: &str = "REVERB_TEST_DATABASE";
const DONE: &str = "REVERB_TEST_DONE";

/// Does the next job, if there is one: a line in a file is what can be seen of it.
async fn work(queue: &MySqlQueue, done: &Path) -> bool {
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

/// No test by itself: what the workers run. It ends when it is killed, or after a minute if nobody does.
#[tokio::test]
async fn a_worker_works_if_this_is_one() {
    let (Ok(url), Some(done)) = (env::var(DATABASE), env::var_os(DONE)) else {
        return;
    };
    let done = Path::new(&done);
    let queue = MySql::open(&url).await.expect("it opens").queue();
    queue.counts().await.expect("a connection");
    eprintln!("working");
    let start = SystemClock.now();
    while SystemClock.now() - start < Duration::from_secs(60) {
        if !work(&queue, done).await {
            thread::sleep(PART);
        }
    }
}

/// A worker that has begun to work. It does not outlive a test that fails.
struct Worker(Child);

impl Worker {
    fn start(url: &str, done: &Path) -> Self {
        let mut worker = Command::new(env::current_exe().expect("this binary"));
        worker
            .args(["--exact", "a_worker_works_if_this_is_one", "--nocapture"])
            .env(DATABASE, url)
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

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_lost_when_workers_are_killed_a_hundred_times() {
    let url = support::database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let done = folder.path().join("done");
    let queue = MySql::open(&url).await.expect("it opens").queue();
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
        let worker = Worker::start(&url, &done);
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

    let mut hand = support::connect(&url).await;
    let sound: Option<Row> = hand
        .query_first("CHECK TABLE rp_jobs EXTENDED")
        .await
        .expect("a verdict");
    let sound: Option<String> = sound.expect("a row").get("Msg_text");
    assert_eq!(sound.as_deref(), Some("OK"));
}
