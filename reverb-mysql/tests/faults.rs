//! A database that is killed, hangs, is locked or overrun: everybody is told in time, and what was acknowledged is there.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reverb_core::app_store::{AppChanges, AppEditor, AppStore, Changed, Keyring, StoreError};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::protocol::App;
use reverb_core::queue::{Job, JobId, Queue, QueueError};
use reverb_mysql::{MySql, MySqlApps, MySqlQueue, Secrets};

use support::Server;
use tokio::task::JoinHandle;

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How long anybody waits for an answer, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_millis(5_500);

fn app(n: u32) -> App {
    App::new(&n.to_string(), &format!("key-{n}"), "secret").expect("an app")
}

/// Apps, of which there is one, and a queue, and another connection to their database.
async fn open(url: &str) -> (MySqlApps, MySqlQueue, Conn) {
    let database = MySql::open(url).await.expect("it opens");
    let keyring = Keyring::parse(&Keyring::generate()).expect("a key");
    let apps = database.apps(Secrets::Sealed(keyring));
    apps.create(app(1)).await.expect("created");
    (apps, database.queue(), support::connect(url).await)
}

async fn push(queue: &MySqlQueue) -> Result<JobId, QueueError> {
    queue.push(Job::new("mail", "").expect("a job"), NOW).await
}

/// The answer of a store: whether it is there.
fn answered<T>(result: Result<T, StoreError>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(StoreError::Unavailable(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
}

fn done<T>(result: Result<T, QueueError>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(QueueError::Unavailable(_)) => None,
        Err(other) => panic!("{other:?}"),
    }
}

fn since(start: Instant) -> Duration {
    SystemClock.now() - start
}

/// What it comes to, and how long that takes.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = SystemClock.now();
    let answer = work.await;
    (answer, since(start))
}

/// Many who look the app up and push jobs for as long as they are let.
struct Crowd {
    stop: Arc<AtomicBool>,
    lookers: Vec<JoinHandle<Seen>>,
    pushers: Vec<JoinHandle<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// When anything went well, in order.
    answers: Vec<Instant>,
    refusals: usize,
    longest: Duration,
    /// What was acknowledged.
    pushed: Vec<JobId>,
}

impl Crowd {
    fn of(apps: &MySqlApps, queue: &MySqlQueue) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (apps, queue) = (apps.clone(), queue.clone());
        let look = move || look(apps.clone());
        let push = move || push_one(queue.clone());
        Self {
            lookers: repeat(&stop, look),
            pushers: repeat(&stop, push),
            stop,
        }
    }

    /// What those saw who looked the app up, and those who pushed.
    async fn end(self) -> [Seen; 2] {
        self.stop.store(true, Relaxed);
        let mut all = [Seen::default(), Seen::default()];
        for (all, ones) in all.iter_mut().zip([self.lookers, self.pushers]) {
            for one in ones {
                let one = one.await.expect("no panic");
                all.answers.extend(one.answers);
                all.pushed.extend(one.pushed);
                all.refusals += one.refusals;
                all.longest = all.longest.max(one.longest);
            }
            all.answers.sort_unstable();
        }
        all
    }
}

async fn look(apps: MySqlApps) -> Option<Option<JobId>> {
    let found = answered(apps.find_by_key("key-1").await)?;
    assert!(found.is_some(), "an app is not gone");
    Some(None)
}

async fn push_one(queue: MySqlQueue) -> Option<Option<JobId>> {
    done(push(&queue).await).map(Some)
}

/// Twelve who do this again and again.
fn repeat<F>(
    stop: &Arc<AtomicBool>,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> Vec<JoinHandle<Seen>>
where
    F: Future<Output = Option<Option<JobId>>> + Send,
{
    let one = || {
        let (stop, work) = (stop.clone(), work.clone());
        tokio::spawn(async move {
            let mut seen = Seen::default();
            while !stop.load(Relaxed) {
                let (answer, lasted) = timed(work()).await;
                seen.longest = seen.longest.max(lasted);
                match answer {
                    Some(pushed) => {
                        seen.answers.push(SystemClock.now());
                        seen.pushed.extend(pushed);
                    }
                    None => seen.refusals += 1,
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            seen
        })
    };
    (0..12).map(|_| one()).collect()
}

/// The database goes away and comes back by these orders, while many use it.
async fn goes_and_comes_back(goes: &'static str, comes_back: &'static str, away: Duration) {
    let server = tokio::task::spawn_blocking(|| Server::start(&[]));
    let mut server = server.await.expect("a server");
    let url = support::database_of(&server.url).await;
    let (apps, queue, _) = open(&url).await;
    let crowd = Crowd::of(&apps, &queue);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.order(goes);
    let gone = SystemClock.now();
    tokio::time::sleep(away).await;
    let server = tokio::task::spawn_blocking(move || {
        server.order(comes_back);
        server
    });
    let _server = server.await.expect("a server");
    let back = SystemClock.now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = crowd.end().await;

    for seen in &seen {
        assert!(seen.answers.iter().any(|at| *at < gone));
        assert!(seen.refusals > 0, "somebody was told");
        assert!(seen.longest < PATIENCE, "{:?}", seen.longest);
        let again = seen.answers.iter().find(|at| **at > back);
        let again = *again.expect("it works again") - back;
        assert!(again < Duration::from_secs(2), "{again:?}");
    }
    let mut hand = support::connect(&url).await;
    let there = hand.query("SELECT id FROM rp_jobs").await;
    let there: HashSet<i64> = there.expect("ids").into_iter().collect();
    let pushed: HashSet<i64> = seen[1].pushed.iter().map(|id| id.get()).collect();
    assert_eq!(pushed.len(), seen[1].pushed.len(), "no id is given twice");
    assert!(
        pushed.is_subset(&there),
        "what was acknowledged is there: {:?}",
        pushed.difference(&there)
    );
    // What has not been acknowledged may be there as well: at most one of each who pushed.
    assert!(there.len() <= pushed.len() + seen[1].refusals);
    apps.create(app(2)).await.expect("created");
    let leased = queue.lease(&[], HOUR).await.expect("an answer");
    queue
        .finish(&leased.expect("a job"))
        .await
        .expect("finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_is_used_again_when_it_is_back() {
    goes_and_comes_back("KILL", "start", Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_used_again_when_it_goes_on() {
    goes_and_comes_back("STOP", "CONT", Duration::from_secs(8)).await;
}

/// Both have eight connections.
const MOST: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn when_long_statements_have_all_connections_of_the_queue_others_are_told_and_apps_are_there()
{
    let url = support::database().await;
    let (apps, queue, mut hand) = open(&url).await;
    let slow =
        "CREATE TRIGGER slow BEFORE INSERT ON rp_jobs FOR EACH ROW SET NEW.attempts = SLEEP(3.5)";
    hand.query_drop(slow).await.expect("made");
    let pushing = (0..MOST).map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move { push(&queue).await })
    });
    let pushing: Vec<_> = pushing.collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (refused, waited) = timed(queue.lease(&[], HOUR)).await;
    assert_eq!(done(refused), None);
    let two_seconds = Duration::from_millis(1_900)..Duration::from_millis(2_800);
    assert!(two_seconds.contains(&waited), "{waited:?}");
    let (found, waited) = timed(apps.find_by_key("key-1")).await;
    assert!(found.expect("an answer").is_some());
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    for pushing in pushing {
        let pushed = pushing.await.expect("no panic");
        pushed.expect("long, but not too long");
    }
    hand.query_drop("DROP TRIGGER slow").await.expect("dropped");
    for _ in 0..MOST {
        let leased = queue.lease(&[], HOUR).await.expect("an answer");
        queue
            .finish(&leased.expect("a job"))
            .await
            .expect("finished");
    }
    assert_eq!(queue.counts().await.expect("counts"), Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_connections_for_apps_wait_for_a_table_others_are_told_and_the_queue_is_there() {
    let url = support::database().await;
    let (apps, queue, mut hand) = open(&url).await;
    let lock = "LOCK TABLES reverb_apps WRITE";
    hand.query_drop(lock).await.expect("locked");
    let looking = (0..MOST).map(|_| {
        let apps = apps.clone();
        tokio::spawn(async move { apps.find_by_key("key-1").await })
    });
    let looking: Vec<_> = looking.collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (refused, waited) = timed(apps.find_by_key("key-1")).await;
    assert!(answered(refused).is_none());
    let two_seconds = Duration::from_millis(1_900)..Duration::from_millis(2_800);
    assert!(two_seconds.contains(&waited), "{waited:?}");
    let (_, waited) = timed(async { push(&queue).await.expect("pushed") }).await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    // Let go in time, they have their answer; later, they are told.
    hand.query_drop("UNLOCK TABLES").await.expect("free");
    for looking in looking {
        let found = looking.await.expect("no panic").expect("an answer");
        assert!(found.is_some());
    }
    hand.query_drop(lock).await.expect("locked");
    let (refused, waited) = timed(apps.find_by_key("key-1")).await;
    assert!(answered(refused).is_none());
    assert!(waited < PATIENCE, "{waited:?}");
    hand.query_drop("UNLOCK TABLES").await.expect("free");
    apps.create(app(2)).await.expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_jobs_that_is_locked_is_told_in_time_and_holds_up_no_app() {
    let url = support::database().await;
    let (apps, queue, mut hand) = open(&url).await;
    push(&queue).await.expect("pushed");
    let leased = queue.lease(&[], HOUR).await.expect("an answer");
    let leased = leased.expect("a job");
    let lock = "LOCK TABLES rp_jobs WRITE";
    hand.query_drop(lock).await.expect("locked");
    let locked = async {
        tokio::join!(
            async { done(push(&queue).await).is_none() },
            async { done(queue.lease(&[], HOUR).await).is_none() },
            async { done(queue.finish(&leased).await).is_none() },
            async { done(queue.counts().await).is_none() },
        )
    };
    let meanwhile = async {
        for _ in 0..200 {
            let (found, waited) = timed(apps.find_by_key("key-1")).await;
            assert!(found.expect("an answer").is_some());
            assert!(waited < Duration::from_secs(1), "{waited:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (told, ()) = tokio::join!(timed(locked), meanwhile);
    assert_eq!(told.0, (true, true, true, true));
    assert!(told.1 < PATIENCE, "{:?}", told.1);
    // The statements that nobody waits for any more end by themselves.
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist
                   WHERE db = DATABASE() AND id <> CONNECTION_ID() AND command <> 'Sleep'";
    let start = SystemClock.now();
    loop {
        let waiting: Option<u64> = hand.query_first(waiting).await.expect("a count");
        if waiting == Some(0) {
            break;
        }
        assert!(since(start) < Duration::from_secs(10), "{waiting:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    hand.query_drop("UNLOCK TABLES").await.expect("free");
    queue.finish(&leased).await.expect("it was not done");
    assert_eq!(queue.counts().await.expect("counts"), Default::default());
    // One that is let go in time is waited for, although the database itself waits for two seconds only.
    hand.query_drop(lock).await.expect("locked");
    let (pushed, _) = tokio::join!(push(&queue), async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        hand.query_drop("UNLOCK TABLES").await.expect("free");
    });
    pushed.expect("it was free in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_else_has_locked_is_waited_for() {
    let url = support::database().await;
    let (_, queue, mut hand) = open(&url).await;
    push(&queue).await.expect("pushed");
    let leased = queue.lease(&[], HOUR).await.expect("an answer");
    let leased = leased.expect("a job");
    for sql in ["BEGIN", "SELECT id FROM rp_jobs FOR UPDATE"] {
        hand.query_drop(sql).await.expect(sql);
    }
    let (refused, waited) = timed(queue.finish(&leased)).await;
    assert_eq!(done(refused), None);
    assert!(waited < PATIENCE, "{waited:?}");
    let (finished, _) = tokio::join!(queue.finish(&leased), async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        hand.query_drop("ROLLBACK").await.expect("free");
    });
    finished.expect("it was free in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_nobodys_trouble() {
    let url = support::database().await;
    let (_, queue, mut hand) = open(&url).await;
    for _ in 0..2 {
        push(&queue).await.expect("pushed");
    }
    let first = queue.lease(&[], HOUR).await.expect("an answer");
    let first = first.expect("a job");
    // So a finish wants a row of another table after that of its job. Here is somebody who has that one, and then wants the
    // job.
    let hook = "CREATE TRIGGER hook BEFORE DELETE ON rp_jobs FOR EACH ROW
                UPDATE rp_apps SET edited_here = edited_here WHERE row_id = 1";
    hand.query_drop(hook).await.expect("made");
    for sql in [
        "SET SESSION innodb_lock_wait_timeout = 20",
        "BEGIN",
        // Much to undo, so that the other one is broken off.
        "UPDATE rp_apps SET edited_here = 1 - edited_here",
        "INSERT INTO rp_jobs (kind, due) SELECT 'x', 9999999999999 FROM information_schema.columns",
    ] {
        hand.query_drop(sql).await.expect(sql);
    }
    let id = first.id.get();
    let (finished, ()) = tokio::join!(queue.finish(&first), async {
        // By now it has its row, and waits for the app.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let want = format!("SELECT id FROM rp_jobs WHERE id = {id} FOR UPDATE");
        hand.query_drop(want).await.expect("the other one gave way");
        hand.query_drop("ROLLBACK").await.expect("free");
    });
    finished.expect("it was tried again");
    let counts = queue.counts().await.expect("counts");
    assert_eq!((counts.waiting, counts.leased), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_that_are_gone_all_at_once_are_waited_for_before_they_count_as_removed() {
    let url = support::database().await;
    let (apps, _queue, mut by_hand) = open(&url).await;
    for n in 2..=4 {
        apps.create(app(n)).await.expect("created");
    }
    let told = async |revision| {
        let changes = apps.changes_since(revision).await.expect("an answer");
        match changes.apps {
            Changed::These(ids) => (ids.len(), changes.revision),
            other => panic!("it is known what has changed, not {other:?}"),
        }
    };
    let (_, start) = told(0).await;
    for sql in [
        "CREATE TABLE dump AS SELECT * FROM reverb_apps",
        "DELETE FROM reverb_apps",
    ] {
        by_hand.query_drop(sql).await.expect(sql);
    }
    assert_eq!(
        answered(apps.count().await),
        Some(4),
        "no first app is made"
    );
    assert!(answered(apps.find_by_key("key-1").await).is_none());
    assert_eq!(told(start).await, (0, start), "nobody is sent away");
    for n in 1..=4 {
        let refill = format!("INSERT INTO reverb_apps SELECT * FROM dump WHERE app_id = '{n}'");
        by_hand.query_drop(refill).await.expect("refilled");
        for other in 1..=4 {
            let found = answered(apps.find_by_key(&format!("key-{other}")).await);
            assert_eq!(
                found.map(|found| found.is_some()),
                (other <= n).then_some(true)
            );
        }
        assert_eq!(told(start).await, (0, start), "nobody is sent away");
    }
    let found = answered(apps.find_by_key("key-5").await);
    assert!(found.expect("an answer").is_none());
    assert_eq!(told(start).await, (0, start), "nothing has changed");

    by_hand
        .query_drop("DELETE FROM reverb_apps")
        .await
        .expect("emptied");
    let emptied = SystemClock.now();
    while told(start).await == (0, start) {
        assert!(since(emptied) < Duration::from_secs(20), "it was meant");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(since(emptied) >= Duration::from_secs(10));
    assert_eq!(told(start).await.0, 4);
    let found = answered(apps.find_by_key("key-1").await);
    assert!(found.expect("an answer").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lists_apps_while_they_are_put_back_removes_none() {
    const OTHERS: &str = "WHERE app_id <> '1'";
    let url = support::database().await;
    let (apps, _queue, mut by_hand) = open(&url).await;
    let fill = "INSERT INTO reverb_apps (name, app_id, app_key, app_secret)
        SELECT '', CONCAT('app-', seq), CONCAT('key-', seq), 'plain-secret' FROM seq_2_to_60";
    by_hand.query_drop(fill).await.expect("filled");
    let start = apps.changes_since(0).await.expect("an answer").revision;
    for sql in [
        "CREATE TABLE dump AS SELECT * FROM reverb_apps".to_owned(),
        "DELETE FROM reverb_apps".to_owned(),
        format!("UPDATE dump SET name = 'older' {OTHERS}"),
        format!("INSERT INTO reverb_apps SELECT * FROM dump {OTHERS} ORDER BY id LIMIT 25"),
    ] {
        by_hand.query_drop(&sql).await.expect(&sql);
    }
    assert_eq!(apps.list(None, 500).await.expect("a list").len(), 25);
    let told = apps.changes_since(start).await.expect("an answer");
    let Changed::These(told) = told.apps else {
        panic!("it is known what has changed");
    };
    for id in told {
        let found = answered(apps.find_by_id(id.as_str()).await);
        assert!(found.expect("an answer").is_some(), "{id} is there");
    }
    assert!(
        answered(apps.find_by_id("app-60").await).is_none(),
        "it may come back"
    );
}
