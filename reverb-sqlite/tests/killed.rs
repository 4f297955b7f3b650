//! Workers that are killed, a hundred times: no job is lost, and none is done again without need.

use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use reverb_core::clock::{Clock, SystemClock};
use reverb_core::queue::{Job, Queue};
use reverb_sqlite::{Sqlite, SqliteQueue};
use rusqlite::Connection;

const KILLS: u64 = 100;
/// Nobody is killed later than that after it has begun to work.
const LATEST: u64 = 30_000; // µs
const JOBS_PER_WORKER: usize = 15;
/// Short, so that the next worker has the job that was left behind.
const LEASE: Duration = Duration::from_millis(50);
/// A part of the work, before and after the moment in which it is done.
const PART: Duration = Duration::from_micros(500);

/// Names the folder, in a worker that the test below has started from this same binary.
const FOLDER: &str = "REVERB_TEST_WORKER";
const DATABASE: &str = "reverb.sqlite3";
const DONE: &str = "done";

/// Does the next job, if there is one: a line in a file is what can be seen of it.
async fn work(queue: &SqliteQueue, folder: &Path) -> bool {
    let Some(leased) = queue.lease(&[], LEASE).await.expect("an answer") else {
        return false;
    };
    thread::sleep(PART);
    let mut done = OpenOptions::new();
    let done = done.create(true).append(true).open(folder.join(DONE));
    let mut done = done.expect("it opens");
    let line = format!("{} {}\n", leased.payload, leased.attempt);
    done.write_all(line.as_bytes()).expect("written");
    thread::sleep(PART);
    queue.finish(&leased).await.expect("finished");
    true
}

/// No test by itself: what the workers run. It ends when it is killed, or after a minute if nobody does.
#[tokio::test]
async fn a_worker_works_if_this_is_one() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let queue = Sqlite::open(&folder.join(DATABASE))
        .expect("it opens")
        .queue();
    eprintln!("working");
    let start = SystemClock.now();
    while SystemClock.now() - start < Duration::from_secs(60) {
        if !work(&queue, folder).await {
            thread::sleep(PART);
        }
    }
}

/// A worker that has begun to work. It does not outlive a test that fails.
struct Worker(Child);

impl Worker {
    fn start(folder: &Path) -> Self {
        let mut worker = Command::new(env::current_exe().expect("this binary"));
        worker
            .args(["--exact", "a_worker_works_if_this_is_one", "--nocapture"])
            .env(FOLDER, folder)
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
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let path = folder.join(DATABASE);
    let queue = Sqlite::open(&path).expect("it opens").queue();
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
        let worker = Worker::start(folder);
        // Spread over the time, the same in every run: what else there is to chance is the machine's.
        thread::sleep(Duration::from_micros(n * 7_919 % LATEST));
        worker.kill();
    }
    // The rest is for somebody who lives on.
    let start = SystemClock.now();
    while queue.counts().await.expect("counts") != Default::default() {
        let waited = SystemClock.now() - start;
        assert!(waited < Duration::from_secs(60), "a job does not come");
        if !work(&queue, folder).await {
            thread::sleep(LEASE / 5);
        }
    }

    let done = fs::read_to_string(folder.join(DONE)).expect("what was done");
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

    let hand = Connection::open(&path).expect("it opens");
    let sound: String = hand
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .expect("a verdict");
    assert_eq!(sound, "ok");
}
