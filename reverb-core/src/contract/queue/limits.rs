//! The promises of a queue that is bounded, given one for two jobs and two dead letters.

use std::time::Duration;

use super::{COARSE, HOUR, NOW, all_dead, counted, in_time, job, leased, next, pushed};
use crate::queue::{JobId, Queue, QueueError, WENT_AWAY};

fn is_full<T>(result: Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::Full { limit: 2 }))
}

async fn refuses(queue: &impl Queue) -> bool {
    is_full(queue.push(job("mail", ""), NOW).await)
}

async fn dead_ids(queue: &impl Queue) -> Vec<JobId> {
    all_dead(queue).await.iter().map(|dead| dead.id).collect()
}

pub async fn a_full_queue_refuses_until_there_is_room(queue: impl Queue) {
    pushed(&queue, job("mail", "")).await;
    let dead = leased(&queue, HOUR).await;
    queue.bury(&dead, "no").await.expect("buried");
    pushed(&queue, job("mail", "")).await;
    pushed(&queue, job("mail", "")).await;
    assert!(refuses(&queue).await);
    assert!(is_full(queue.push(job("mail", ""), HOUR).await));
    assert!(is_full(queue.revive(dead.id).await));
    assert_eq!(counted(&queue).await, [2, 0, 0, 1], "it is dead as before");
    let lease = leased(&queue, HOUR).await;
    assert!(refuses(&queue).await, "it is not done");
    queue.finish(&lease).await.expect("finished");
    queue.revive(dead.id).await.expect("there is room");
    assert!(refuses(&queue).await);
    while let Some(lease) = next(&queue, HOUR).await {
        queue.finish(&lease).await.expect("finished");
    }
    // Whoever has gone away with a last attempt makes room too, without anybody asking for a lease.
    pushed(&queue, job("mail", "").with_max_attempts(1)).await;
    leased(&queue, NOW).await;
    pushed(&queue, job("mail", "")).await;
    in_time(async || queue.push(job("mail", ""), NOW).await.ok()).await;
    assert_eq!(counted(&queue).await, [2, 0, 0, 1]);
}

pub async fn of_too_many_dead_letters_those_that_died_first_are_dropped(queue: impl Queue) {
    // The order of death counts, not that of the ids.
    let late = pushed(&queue, job("mail", "")).await;
    let late_lease = leased(&queue, HOUR).await;
    let mut died = Vec::new();
    for _ in 0..4 {
        died.push(pushed(&queue, job("mail", "")).await);
        let lease = leased(&queue, HOUR).await;
        queue.bury(&lease, "no").await.expect("buried");
    }
    assert_eq!(dead_ids(&queue).await, died[2..]);
    tokio::time::sleep(COARSE + Duration::from_millis(10)).await;
    queue.bury(&late_lease, "no").await.expect("buried");
    assert_eq!(dead_ids(&queue).await, [late, died[3]]);
    // Those who go away count as well.
    let gone = pushed(&queue, job("mail", "").with_max_attempts(1)).await;
    leased(&queue, NOW).await;
    in_time(async || (dead_ids(&queue).await == [late, gone]).then_some(())).await;
    assert_eq!(all_dead(&queue).await[1].reason, WENT_AWAY);
    assert_eq!(counted(&queue).await, [0, 0, 0, 2]);
}
