//! The promises about dead letters.

use super::{HOUR, NOW, all_dead, counted, is_empty, is_lost, job, leased, next, pushed};
use crate::clock::{Clock, SystemClock};
use crate::queue::{JobId, Leased, Queue, QueueError};

/// A new dead letter.
async fn buried(queue: &impl Queue, kind: &str) -> JobId {
    let id = pushed(queue, job(kind, "")).await;
    let lease = leased(queue, HOUR).await;
    queue.bury(&lease, "no").await.expect("buried");
    id
}

async fn purged(queue: &impl Queue, id: Option<JobId>) -> u64 {
    queue.purge_dead(id).await.expect("purged")
}

fn is_missing(result: Result<(), QueueError>, id: JobId) -> bool {
    matches!(result, Err(QueueError::Missing(missing)) if missing == id)
}

pub async fn a_buried_job_is_dead_at_once_and_says_why(queue: impl Queue) {
    let id = pushed(&queue, job("mail", "ada")).await;
    let lease = leased(&queue, HOUR).await;
    let reason = "it's \u{1f6d1}".repeat(1000);
    queue.bury(&lease, &reason).await.expect("buried");
    is_lost(&queue, &lease).await;
    assert_eq!(next(&queue, HOUR).await, None);
    let dead = all_dead(&queue).await.pop().expect("a dead letter");
    assert_eq!((dead.id, dead.attempts), (id, 1));
    assert_eq!((&*dead.kind, &*dead.payload), ("mail", "ada"));
    assert_eq!(dead.reason.chars().count(), 1000);
    assert!(reason.starts_with(&dead.reason));
    // The store may be on another machine; a minute tells seconds from milliseconds, and UTC from elsewhere.
    let now = SystemClock.unix_time().as_secs();
    assert!(now.abs_diff(dead.died_at) < 60, "{} at {now}", dead.died_at);
}

pub async fn dead_letters_come_in_pages_and_in_order(queue: impl Queue) {
    let mut leases = Vec::new();
    for _ in 0..12 {
        pushed(&queue, job("mail", "")).await;
        leases.push(leased(&queue, HOUR).await);
    }
    let ids: Vec<JobId> = leases.iter().map(|lease| lease.id).collect();
    // In the order of their ids, whichever died first.
    for lease in leases.iter().rev() {
        queue.bury(lease, "no").await.expect("buried");
    }
    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let page = queue.dead(after, 5).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(pages.len() < 3, "a page begins behind the one before");
        after = Some(last.id);
        pages.push(page.iter().map(|dead| dead.id).collect::<Vec<_>>());
    }
    assert_eq!(pages, [&ids[..5], &ids[5..10], &ids[10..]]);
    assert_eq!(queue.dead(None, 0).await.expect("a page"), []);
}

pub async fn a_revived_job_begins_again(queue: impl Queue) {
    let id = pushed(&queue, job("mail", "ada").with_max_attempts(2)).await;
    let mut leases: Vec<Leased> = Vec::new();
    for life in 0..2 {
        for attempt in 1..=2 {
            let lease = leased(&queue, HOUR).await;
            assert_eq!((lease.id, lease.attempt), (id, attempt), "life {life}");
            assert_eq!((&*lease.kind, &*lease.payload), ("mail", "ada"));
            assert_eq!(lease.max_attempts, 2);
            // Those of an earlier life are of no use, though the attempt has the same number.
            for lost in &leases {
                is_lost(&queue, lost).await;
            }
            queue.retry(&lease, NOW, "no").await.expect("put back");
            leases.push(lease);
        }
        assert_eq!(counted(&queue).await, [0, 0, 0, 1]);
        queue.revive(id).await.expect("revived");
        assert_eq!(counted(&queue).await, [1, 0, 0, 0]);
        assert!(
            is_missing(queue.revive(id).await, id),
            "it is no longer dead"
        );
    }
    let lease = leased(&queue, HOUR).await;
    queue.finish(&lease).await.expect("finished");
    is_empty(&queue).await;
}

pub async fn purged_dead_letters_are_gone_and_nothing_else_is(queue: impl Queue) {
    assert_eq!(purged(&queue, None).await, 0);
    let first = buried(&queue, "mail").await;
    let second = buried(&queue, "webhook").await;
    let third = buried(&queue, "mail").await;
    let delayed = queue.push(job("mail", ""), HOUR).await;
    assert!(delayed.expect("pushed") > third);
    pushed(&queue, job("mail", "")).await;
    let lease = leased(&queue, HOUR).await;
    pushed(&queue, job("mail", "")).await;
    assert_eq!(purged(&queue, Some(second)).await, 1);
    assert_eq!(purged(&queue, Some(second)).await, 0, "it is gone");
    assert!(is_missing(queue.revive(second).await, second));
    let left: Vec<JobId> = all_dead(&queue).await.iter().map(|dead| dead.id).collect();
    assert_eq!(left, [first, third]);
    assert_eq!(purged(&queue, None).await, 2);
    assert_eq!(all_dead(&queue).await, []);
    assert_eq!(counted(&queue).await, [1, 1, 1, 0]);
    queue.finish(&lease).await.expect("finished");
}

pub async fn what_is_unknown_or_alive_is_neither_revived_nor_purged(queue: impl Queue) {
    let waiting = pushed(&queue, job("mail", "")).await;
    let held = leased(&queue, HOUR).await;
    assert_eq!(held.id, waiting);
    let waiting = pushed(&queue, job("mail", "")).await;
    let unknown = [0, -1, waiting.get() + 1, i64::MAX, i64::MIN].map(JobId::new);
    for id in unknown.into_iter().chain([waiting, held.id]) {
        assert!(is_missing(queue.revive(id).await, id), "{id}");
        assert_eq!(purged(&queue, Some(id)).await, 0, "{id}");
    }
    // Leases that nobody was given: of another job, of none, and another one of the same.
    for (id, token) in [
        (waiting, held.token),
        (unknown[0], held.token),
        (unknown[3], held.token),
        (held.id, held.token.wrapping_add(1)),
        (held.id, 0),
        (waiting, 0),
    ] {
        let made_up = Leased {
            id,
            token,
            ..held.clone()
        };
        is_lost(&queue, &made_up).await;
    }
    assert_eq!(counted(&queue).await, [1, 0, 1, 0]);
    queue.finish(&held).await.expect("it is as it was");
}

pub async fn no_id_is_given_twice(queue: impl Queue) {
    let finished = pushed(&queue, job("mail", "")).await;
    let lease = leased(&queue, HOUR).await;
    queue.finish(&lease).await.expect("finished");
    let purged_one = buried(&queue, "mail").await;
    assert!(purged_one > finished);
    assert_eq!(purged(&queue, None).await, 1);
    let next = pushed(&queue, job("mail", "")).await;
    assert!(next > purged_one);
    is_lost(&queue, &lease).await;
    let lease = leased(&queue, HOUR).await;
    queue.finish(&lease).await.expect("finished");
    is_empty(&queue).await;
}
