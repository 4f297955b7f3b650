//! Following what changes in the app store, and putting it in force.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::app_store::{AppChanges, Changed, Changes, StoreError};
use crate::protocol::{App, AppId};

use super::{Hub, Shared};

/// How often it is asked what has changed.
const EVERY: Duration = Duration::from_millis(400);
/// So many apps are looked at before it is asked again.
const SOME: usize = 100;
/// So many of them at a time.
const AT_ONCE: usize = 4;
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
    /// Apps that have changed, whose new state is not in force yet.
    changed: BTreeSet<AppId>,
    /// Apps that may have changed, among many, which are looked at some at a time: who has changed shall not wait for all of
    /// them.
    doubted: BTreeSet<AppId>,
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
            changed: BTreeSet::new(),
            doubted: BTreeSet::new(),
            answers: true,
            is_told: false,
        }
    }

    async fn run(mut self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // As long as the store answers, so that all are looked at soon; and heard what has changed meanwhile.
            loop {
                self.ask().await;
                if !self.put_in_force().await || self.doubted.is_empty() {
                    break;
                }
            }
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
                    Changed::These(apps) if !went_back && apps.len() <= SOME => {
                        apps.iter().for_each(|id| self.shared.apps.expire(id));
                        self.changed.extend(apps);
                    }
                    Changed::These(apps) if !went_back => {
                        self.shared.apps.expire_all();
                        self.doubted.extend(apps);
                    }
                    Changed::Any if revision == self.revision => {}
                    _ => {
                        self.doubted.extend(self.shared.directory.apps());
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

    /// Puts in force what has changed, and some of what may have. Whom the store cannot tell about now stays as it was, and is
    /// asked about again. Returns whether it could tell about all of them.
    async fn put_in_force(&mut self) -> bool {
        // What has changed was marked as such before the rest counts as it is.
        self.shared.apps.set_followed(self.is_told);
        let changed = std::mem::take(&mut self.changed);
        self.changed = self.renew(changed).await;
        if !self.changed.is_empty() {
            return false;
        }
        let later = self.doubted.iter().nth(SOME).cloned();
        let later = later.map(|id| self.doubted.split_off(&id));
        let some = std::mem::replace(&mut self.doubted, later.unwrap_or_default());
        let left = self.renew(some).await;
        let all = left.is_empty();
        self.doubted.extend(left);
        all
    }

    /// Puts in force what the store says of these apps; returns those that are left once it could not tell about one.
    async fn renew(&self, apps: BTreeSet<AppId>) -> BTreeSet<AppId> {
        let (mut apps, mut left) = (apps.into_iter(), BTreeSet::new());
        let mut asked = JoinSet::new();
        loop {
            while left.is_empty()
                && asked.len() < AT_ONCE
                && let Some(id) = apps.next()
            {
                let shared = self.shared.clone();
                asked.spawn(async move { shared.renew(&id).await.map_err(|_| id) });
            }
            match asked.join_next().await {
                Some(Ok(renewed)) => left.extend(renewed.err()),
                // It panicked, which is the store's fault: that app stays as it is.
                Some(Err(_)) => {}
                None => break,
            }
        }
        left.extend(apps);
        left
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
