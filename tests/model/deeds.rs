//! What happened in bursts beside what clients said and heard: [`Deeds`] of backends, and how connections came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cast::Tenant;
use crate::client::{Client, Log};
use crate::tally::Tally;

/// One connection, open or not.
pub(crate) struct Life {
    pub(crate) app: Tenant,
    pub(crate) name: String,
    pub(crate) socket_id: String,
    /// Before it connected, and when it was greeted.
    pub(crate) came: (u64, u64),
    pub(crate) log: Arc<Log>,
}

impl Life {
    pub(crate) fn of(client: &Client) -> Self {
        Self {
            app: client.app,
            name: client.label.clone(),
            socket_id: client.socket_id.clone(),
            came: client.came,
            log: client.log.clone(),
        }
    }
}

/// What backends have done. All times are stamps.
#[derive(Default)]
pub(crate) struct Deeds {
    /// By the data of the event.
    pub(crate) published: BTreeMap<String, Published>,
    pub(crate) terminated: Vec<Terminated>,
    /// What they were told while everything was moving.
    pub(crate) told: Vec<Tally>,
    /// By when everybody was gone who had left in a burst.
    pub(crate) settled: Vec<u64>,
}

/// An event, and between which stamps it was published.
pub(crate) struct Published {
    pub(crate) app: Tenant,
    pub(crate) to: Vec<String>,
    /// A socket id.
    pub(crate) except: Option<String>,
    pub(crate) begun: u64,
    pub(crate) done: u64,
    /// On the stage's clock.
    pub(crate) time: Duration,
}

pub(crate) struct Terminated {
    pub(crate) app: Tenant,
    pub(crate) user: String,
    pub(crate) begun: u64,
}

impl Deeds {
    pub(crate) fn add(&mut self, more: Self) {
        self.published.extend(more.published);
        self.terminated.extend(more.terminated);
        self.told.extend(more.told);
        self.settled.extend(more.settled);
    }

    /// When whoever left at this time was gone for certain.
    pub(crate) fn settled_after(&self, at: u64) -> u64 {
        let later = self.settled.iter().copied().find(|settled| *settled > at);
        later.unwrap_or(u64::MAX)
    }

    /// When the burst of this time began.
    fn settled_before(&self, at: u64) -> u64 {
        let earlier = self.settled.iter().copied().filter(|settled| *settled < at);
        earlier.max().unwrap_or_default()
    }

    /// When the app began to terminate any of these users, in the burst in which a connection ended.
    pub(crate) fn terminating(
        &self,
        app: Tenant,
        is_user: impl Fn(&str) -> bool,
        ended: u64,
    ) -> u64 {
        let burst = self.settled_before(ended)..ended;
        let begun = self
            .terminated
            .iter()
            .filter(|terminated| terminated.app == app && is_user(&terminated.user));
        let begun = begun.map(|terminated| terminated.begun);
        begun
            .filter(|begun| burst.contains(begun))
            .min()
            .unwrap_or(ended)
    }
}
