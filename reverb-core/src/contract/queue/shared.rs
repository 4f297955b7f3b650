//! The promises of a queue that others use too: it outlives who has opened it, and any number may have it open. Each is given
//! what opens one that is empty at first, and the same one at each call.

use super::{HOUR, NOW, in_time, is_empty, job, leased, next, pushed, work_together};
use crate::queue::{Queue, QueueError};

pub async fn what_was_pushed_is_there_when_it_is_opened_again_and_the_numbers_go_on<Q: Queue>(
    open: impl AsyncFn() -> Q,
) {
    let queue = open().await;
    let first = pushed(&queue, job("mail", "ada")).await;
    let second = pushed(&queue, job("mail", "bob")).await;
    let lease = leased(&queue, HOUR).await;
    assert_eq!(lease.id, first);
    queue.finish(&lease).await.expect("finished");
    let lease = leased(&queue, NOW).await;
    drop(queue);
    let queue = open().await;
    let again = in_time(async || next(&queue, HOUR).await).await;
    assert_eq!(
        (again.id, &*again.payload, again.attempt),
        (second, "bob", 2)
    );
    let lost = queue.finish(&lease).await;
    assert!(matches!(lost, Err(QueueError::Lost(id)) if id == second));
    queue.finish(&again).await.expect("finished");
    is_empty(&queue).await;
    assert!(pushed(&queue, job("mail", "")).await > second);
}

pub async fn two_nodes_share_the_work<Q: Queue>(open: impl AsyncFn() -> Q) {
    work_together(&[open().await.into(), open().await.into()]).await;
}
