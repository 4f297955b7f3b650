//! Following what changes in the app store, and putting it in force.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::app_store::{AppChanges, Changed, Changes, StoreError};
use crate::protocol::{App, AppId};

use super::{Hub, Shared};

/// How often it is asked what has changed.
const EVERY: Duration = Duration::from_millis(400);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Hub {
    /// Puts in force what changes, until the hub ends.
    pub(super) fn follow(&self, changes: Arc<dyn AppChanges>) {
        let shared = self.shared().clone();
        tokio::spawn(async move {
            let ended = async {
                loop {
                    // Made before the look, so that nothing is missed in between.
                    let ended = shared.ended.notified();
                    if shared.running.load(Ordering::Acquire) == 0 {
                        break;
                    }
                    ended.await;
                }
            };
            tokio::select! {
                () = ended => {}
                () = Follower::new(shared.clone(), changes).run() => {}
            }
        });
    }
}

impl Hub {
    /// Has every app looked up anew, and puts in force what the store says of it now, as if all had changed. Clients of an
    /// app that is as it was stay connected.
    ///
    /// A hub that is told of [changes](super::HubBuilder::changes) need not be told to do this; it is for those whose store
    /// tells none, and for people who want to be sure.
    ///
    /// # Errors
    /// The store cannot tell about some apps: these stay as they were.
    pub async fn reload_apps(&self) -> Result<(), StoreError> {
        let shared = self.shared();
        shared.apps.expire_all();
        let mut result = Ok(());
        for id in shared.directory.apps() {
            result = result.and(shared.renew(&id).await);
        }
        result
    }
}

/// Keeps track of what was heard and what was done about it.
struct Follower {
    shared: Arc<Shared>,
    changes: Arc<dyn AppChanges>,
    /// Up to which everything was heard.
    revision: u64,
    /// Apps that have changed, which the store could not tell more about yet.
    owed: BTreeSet<AppId>,
    /// Whether the store has answered the last time.
    answers: bool,
    /// Whether everything that has changed is known.
    is_told: bool,
}

impl Follower {
    fn new(shared: Arc<Shared>, changes: Arc<dyn AppChanges>) -> Self {
        Self {
            shared,
            changes,
            revision: 0,
            owed: BTreeSet::new(),
            answers: true,
            is_told: false,
        }
    }

    async fn run(mut self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.ask().await;
            self.put_in_force().await;
        }
    }

    async fn ask(&mut self) {
        match super::guarded(PATIENCE, self.changes.changes_since(self.revision)).await {
            Some(Ok(Changes { revision, apps })) => {
                if !self.answers {
                    tracing::info!("the app store tells again what has changed");
                }
                self.answers = true;
                let went_back = revision < self.revision;
                if went_back {
                    // Somebody has put a backup in its place: what is stored counts, although it is older.
                    tracing::warn!(
                        revision,
                        before = self.revision,
                        "the app store is in an earlier state than before: every app is looked at"
                    );
                    self.shared.directory.forget_revisions();
                }
                match apps {
                    Changed::These(apps) if !went_back => self.owed.extend(apps),
                    Changed::Any if revision == self.revision => {}
                    _ => {
                        self.owed.extend(self.shared.directory.apps());
                        self.shared.apps.forget();
                    }
                }
                self.revision = revision;
                self.is_told = true;
            }
            Some(Err(error)) => self.complain(&error),
            None => self.complain(&StoreError::Unavailable(
                "it took too long, or panicked".into(),
            )),
        }
    }

    /// Once, not with every question.
    fn complain(&mut self, error: &StoreError) {
        if self.answers {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the app store does not tell what has changed"
            );
        }
        self.answers = false;
        self.is_told = false;
    }

    /// Whom the store cannot tell about now stays as it was, and is asked about again.
    async fn put_in_force(&mut self) {
        // What has changed is marked as such before the rest counts as it is.
        self.owed.iter().for_each(|id| self.shared.apps.expire(id));
        self.shared.apps.set_followed(self.is_told);
        for id in std::mem::take(&mut self.owed) {
            if self.shared.renew(&id).await.is_err() {
                self.owed.insert(id);
            }
        }
    }
}

impl Shared {
    /// Puts in force what the store says of an app now.
    async fn renew(&self, id: &AppId) -> Result<(), StoreError> {
        // Of an app that nobody knows here nothing is in force.
        let Some(desk) = self.directory.found(id) else {
            if self.apps.remembers(id) {
                match self.apps.ask_anew(id).await {
                    Ok(app) => self.apps.settle(id, app.as_ref()),
                    Err(StoreError::Corrupt(_)) => self.apps.settle(id, None),
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        };
        let app = match self.apps.ask_anew(id).await {
            Ok(Some(app)) => {
                self.apps.settle(id, Some(&app));
                app
            }
            Ok(None) => {
                self.apps.settle(id, None);
                desk.remove()
            }
            // Asking again will not help, until it is changed again.
            Err(StoreError::Corrupt(corrupt)) => {
                tracing::error!(app = %id, reason = corrupt.reason, "an app is off until it is stored rightly");
                self.apps.settle(id, None);
                let mut app = App::clone(&desk.app());
                app.active = false;
                Arc::new(app)
            }
            Err(error) => return Err(error),
        };
        self.directory.desk(&app);
        Ok(())
    }
}
