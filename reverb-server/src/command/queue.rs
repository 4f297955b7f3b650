//! `queue list`, `retry` and `purge`: work that is done in the background, and what could not be done.

use reverb_core::queue::{DeadJob, JobId, Queue, QueueError};
use serde::Serialize;

use super::{CommandError, print};
use crate::apps::Apps;
use crate::cli::QueueCommand;
use crate::config::Config;

/// So many dead letters at a time.
const PAGE: usize = 100;

/// Does what was asked; returns what to print.
pub(super) async fn obey(config: &Config, command: QueueCommand) -> Result<String, CommandError> {
    let apps = Apps::existing(config).await?;
    let Some(database) = apps.database() else {
        return match command {
            QueueCommand::List { .. } => {
                Ok("there is no database yet, and so no queue\n".to_owned())
            }
            QueueCommand::Retry { id, .. } | QueueCommand::Purge { id, .. } => {
                Err(QueueError::Missing(id.unwrap_or(JobId::new(0))).into())
            }
        };
    };
    let queue = &*database.queue;
    match command {
        QueueCommand::List { json, most } => list(queue, json, most).await,
        QueueCommand::Retry { id: Some(id), .. } => {
            queue.revive(id).await?;
            Ok(format!("The job {id} is due again.\n"))
        }
        QueueCommand::Retry { id: None, .. } => {
            let mut revived = 0;
            // Each is gone from the list once it is due again.
            loop {
                let page = queue.dead(None, PAGE).await?;
                if page.is_empty() {
                    return Ok(format!("Jobs that are due again: {revived}.\n"));
                }
                for dead in page {
                    match queue.revive(dead.id).await {
                        Ok(()) => revived += 1,
                        // Somebody else was faster.
                        Err(QueueError::Missing(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        QueueCommand::Purge { id: Some(id), .. } => match queue.purge_dead(Some(id)).await? {
            0 => Err(QueueError::Missing(id).into()),
            _ => Ok(format!("The dead letter {id} is deleted.\n")),
        },
        QueueCommand::Purge { id: None, yes, .. } => {
            let dead = queue.counts().await?.dead;
            let what = format!("all {dead} dead letters");
            if dead > 0 && !yes && !super::confirmed(&format!("Delete {what}?"))? {
                return Err(CommandError::NotConfirmed(what));
            }
            let purged = queue.purge_dead(None).await?;
            Ok(format!("Dead letters deleted: {purged}.\n"))
        }
    }
}

/// The queue as scripts see it. The shape is a promise: keys are added, never renamed.
#[derive(Serialize)]
struct Json {
    waiting: u64,
    delayed: u64,
    leased: u64,
    dead: u64,
    /// For how long the one that waits longest has been due.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
    dead_letters: Vec<JsonDead>,
}

#[derive(Serialize)]
struct JsonDead {
    id: i64,
    kind: String,
    attempts: u32,
    reason: String,
    died_at: u64,
    payload: String,
}

async fn list(queue: &dyn Queue, json: bool, most: usize) -> Result<String, CommandError> {
    let counts = queue.counts().await?;
    let mut dead = Vec::new();
    while dead.len() < most {
        let after = dead.last().map(|dead: &DeadJob| dead.id);
        let page = queue.dead(after, PAGE.min(most - dead.len())).await?;
        if page.is_empty() {
            break;
        }
        dead.extend(page);
    }
    if json {
        let json = Json {
            waiting: counts.waiting,
            delayed: counts.delayed,
            leased: counts.leased,
            dead: counts.dead,
            oldest_seconds: counts.oldest.map(|age| age.as_secs()),
            dead_letters: dead.into_iter().map(JsonDead::from).collect(),
        };
        return Ok(serde_json::to_string_pretty(&json).expect("numbers and texts are JSON") + "\n");
    }
    let oldest = counts.oldest.map_or_else(String::new, |age| {
        format!(", the oldest for {} s", age.as_secs())
    });
    let mut said = format!(
        "waiting {}{oldest}; due later {}; with a worker {}; dead letters {}\n",
        counts.waiting, counts.delayed, counts.leased, counts.dead
    );
    if !dead.is_empty() {
        said += &format!(
            "\n{:<8}  {:<16}  {:>8}  {:<20}  REASON\n",
            "ID", "KIND", "ATTEMPTS", "DIED"
        );
    }
    for dead in &dead {
        said += &format!(
            "{:<8}  {:<16}  {:>8}  {:<20}  {}\n",
            dead.id.to_string(),
            print::one_line(&dead.kind),
            dead.attempts,
            print::time(dead.died_at),
            print::one_line(&dead.reason)
        );
    }
    if (dead.len() as u64) < counts.dead {
        said += &format!(
            "and {} more: --most shows them\n",
            counts.dead - dead.len() as u64
        );
    }
    Ok(said)
}

impl From<DeadJob> for JsonDead {
    fn from(dead: DeadJob) -> Self {
        Self {
            id: dead.id.get(),
            kind: dead.kind,
            attempts: dead.attempts,
            reason: dead.reason,
            died_at: dead.died_at,
            payload: dead.payload,
        }
    }
}
