//! [`MemoryApps`]: apps in memory, for hosts that configure them and for tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;

use super::{
    AppChanges, AppEditor, AppRow, AppStore, Changed, Changes, EditError, LastUse, SecretUse,
    StoreError,
};
use crate::clock::{Clock, SystemClock};
use crate::protocol::{App, AppId};

/// Apps in memory. Clones share them: keep one to change them while the hub runs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reverb_core::app_store::{AppEditor, MemoryApps};
/// use reverb_core::hub::Hub;
/// use reverb_core::protocol::App;
///
/// let apps = MemoryApps::from([App::new("1001", "app-key", "app-secret")?]);
/// let hub = Hub::builder(apps.clone()).changes(apps.clone()).build()?;
///
/// let app = apps.list(None, 1).await?.remove(0).app?;
/// let mut app = App::clone(&app);
/// app.active = false;
/// apps.save(app).await?; // within a second its clients are told, and gone
/// # drop(hub);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryApps {
    shared: Arc<RwLock<Apps>>,
}

#[derive(Debug, Default)]
struct Apps {
    by_key: HashMap<String, Arc<App>>,
    by_id: BTreeMap<String, Arc<App>>,
    /// What else is kept, by the app's id.
    kept: HashMap<String, Kept>,
    /// The ids by number.
    numbers: BTreeMap<u64, AppId>,
    /// The latest number.
    number: u64,
    revision: u64,
    /// When all of them were announced last.
    announced: u64,
    /// The latest change of each app that was ever changed, the removed ones included.
    changed: BTreeMap<u64, AppId>,
}

/// What is kept of an app besides the app.
#[derive(Clone, Copy, Debug)]
struct Kept {
    number: u64,
    created: u64,
    updated: u64,
    last_use: LastUse,
}

impl MemoryApps {
    /// These apps. Of two with the same id or key the later one counts.
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        let mut all = Apps::default();
        for app in apps {
            all.remove(app.id.as_str());
            let before = all.by_key.get(app.key.as_str()).cloned();
            if let Some(before) = before {
                all.remove(before.id.as_str());
            }
            all.put(Arc::new(app));
        }
        Self {
            shared: Arc::new(RwLock::new(all)),
        }
    }
}

impl Apps {
    /// Puts in an app that is not there.
    fn put(&mut self, app: Arc<App>) {
        self.number += 1;
        let now = SystemClock.unix_time().as_secs();
        let kept = Kept {
            number: self.number,
            created: now,
            updated: now,
            last_use: LastUse::default(),
        };
        self.numbers.insert(kept.number, app.id.clone());
        self.kept.insert(app.id.as_str().to_owned(), kept);
        self.by_key.insert(app.key.as_str().to_owned(), app.clone());
        self.by_id.insert(app.id.as_str().to_owned(), app);
    }

    /// Puts one in the place of another with the same id.
    fn replace(&mut self, app: Arc<App>) {
        let id = app.id.as_str();
        let (Some(before), Some(kept)) = (self.by_id.get_mut(id), self.kept.get_mut(id)) else {
            return;
        };
        kept.last_use = kept.last_use.carried_over(before, &app);
        kept.updated = SystemClock.unix_time().as_secs();
        self.by_key.remove(before.key.as_str());
        self.by_key.insert(app.key.as_str().to_owned(), app.clone());
        *before = app;
    }

    fn remove(&mut self, id: &str) -> Option<Arc<App>> {
        let app = self.by_id.remove(id)?;
        self.by_key.remove(app.key.as_str());
        if let Some(kept) = self.kept.remove(id) {
            self.numbers.remove(&kept.number);
        }
        Some(app)
    }

    fn row(&self, id: &str) -> Option<AppRow> {
        let (app, kept) = (self.by_id.get(id)?, self.kept.get(id)?);
        let mut row = AppRow::new(kept.number, Ok(app.clone()));
        (row.created, row.updated) = (Some(kept.created), Some(kept.updated));
        row.last_use = kept.last_use;
        Some(row)
    }

    /// One more change; the next revision.
    fn change(&mut self, id: &AppId) -> u64 {
        self.revision += 1;
        // Only the latest of each app is of interest: there are no more of them than apps.
        self.changed.retain(|_, changed| changed != id);
        self.changed.insert(self.revision, id.clone());
        self.revision
    }

    fn is_free(&self, app: &App) -> Result<(), EditError> {
        match self.by_key.get(app.key.as_str()) {
            Some(other) if other.id != app.id => Err(EditError::Taken {
                field: "key",
                value: app.key.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

impl<const N: usize> From<[App; N]> for MemoryApps {
    fn from(apps: [App; N]) -> Self {
        Self::new(apps)
    }
}

#[async_trait]
impl AppStore for MemoryApps {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        Ok(self.shared.read().by_key.get(key).cloned())
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        Ok(self.shared.read().by_id.get(id).cloned())
    }
}

#[async_trait]
impl AppChanges for MemoryApps {
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        let apps = self.shared.read();
        if revision < apps.announced {
            return Ok(Changes::new(apps.revision, Changed::Any));
        }
        let changed = apps.changed.range(revision.saturating_add(1)..);
        let changed = changed.map(|(_, id)| id.clone()).collect();
        Ok(Changes::new(apps.revision, Changed::These(changed)))
    }
}

#[async_trait]
impl AppEditor for MemoryApps {
    async fn list(&self, after: Option<&str>, most: usize) -> Result<Vec<AppRow>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};

        let apps = self.shared.read();
        let behind = after.map_or(Unbounded, Excluded);
        let listed = apps.by_id.range::<str, _>((behind, Unbounded));
        let rows = listed.take(most).filter_map(|(id, _)| apps.row(id));
        Ok(rows.collect())
    }

    async fn rows(&self, after: u64, most: usize) -> Result<Vec<AppRow>, StoreError> {
        let apps = self.shared.read();
        let behind = apps.numbers.range(after.saturating_add(1)..);
        let rows = behind
            .take(most)
            .filter_map(|(_, id)| apps.row(id.as_str()));
        Ok(rows.collect())
    }

    async fn row(&self, number: u64) -> Result<Option<AppRow>, StoreError> {
        let apps = self.shared.read();
        let id = apps.numbers.get(&number);
        Ok(id.and_then(|id| apps.row(id.as_str())))
    }

    async fn row_of(&self, id: &str) -> Result<Option<AppRow>, StoreError> {
        Ok(self.shared.read().row(id))
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.shared.read().by_id.len() as u64)
    }

    async fn create(&self, mut app: App) -> Result<Arc<App>, EditError> {
        let mut apps = self.shared.write();
        if apps.by_id.contains_key(app.id.as_str()) {
            return Err(EditError::Taken {
                field: "id",
                value: app.id.to_string(),
            });
        }
        apps.is_free(&app)?;
        app.revision = apps.change(&app.id);
        let app = Arc::new(app);
        apps.put(app.clone());
        Ok(app)
    }

    async fn save(&self, mut app: App) -> Result<Arc<App>, EditError> {
        let mut apps = self.shared.write();
        let id = app.id.as_str();
        let now = match apps.by_id.get(id) {
            Some(stored) => stored.revision,
            None => return Err(EditError::Missing(id.to_owned())),
        };
        if now != app.revision {
            return Err(EditError::Outdated {
                id: id.to_owned(),
                read: app.revision,
                now,
            });
        }
        apps.is_free(&app)?;
        app.revision = apps.change(&app.id);
        let app = Arc::new(app);
        apps.replace(app.clone());
        Ok(app)
    }

    async fn remove(&self, id: &str) -> Result<(), EditError> {
        let mut apps = self.shared.write();
        let removed = apps.remove(id);
        let removed = removed.ok_or_else(|| EditError::Missing(id.to_owned()))?;
        apps.change(&removed.id);
        Ok(())
    }

    /// There is nothing to seal in memory.
    async fn seal_secrets(&self, _: bool) -> Result<u64, EditError> {
        Ok(0)
    }

    async fn announce_all(&self) -> Result<(), StoreError> {
        let mut apps = self.shared.write();
        apps.revision += 1;
        apps.announced = apps.revision;
        Ok(())
    }

    async fn record_use(&self, used: &[SecretUse]) -> Result<(), StoreError> {
        let apps = &mut *self.shared.write();
        for used in used {
            let id = used.app.as_str();
            if let (Some(app), Some(kept)) = (apps.by_id.get(id), apps.kept.get_mut(id)) {
                kept.last_use = kept.last_use.after(app, used);
            }
        }
        Ok(())
    }
}
