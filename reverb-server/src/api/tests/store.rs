//! [`Store`]: apps in memory, and everything that can be wrong with a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use reverb_core::app_store::{
    AppChanges, AppEditor, AppRow, AppStore, Changes, CorruptApp, EditError, MemoryApps, SecretUse,
    StoreError,
};
use reverb_core::protocol::App;

/// Bytes of a description.
const MOST: usize = 1000;

/// A store that can be away, be faster than whoever saves, or have an app that is none.
#[derive(Default)]
pub(super) struct Store {
    pub(super) apps: MemoryApps,
    pub(super) is_away: AtomicBool,
    pub(super) outdated: AtomicUsize,
    pub(super) has_corrupt: AtomicBool,
    /// The store goes away once it has made or changed an app.
    pub(super) goes_away: AtomicBool,
    /// An app has gone when it is to be changed.
    pub(super) has_gone: AtomicBool,
}

impl Store {
    fn answer(&self) -> Result<(), StoreError> {
        match self.is_away.load(Ordering::Acquire) {
            true => Err(StoreError::Unavailable(
                "no route to db-7.internal:3306, table reverb_apps".into(),
            )),
            false => Ok(()),
        }
    }

    fn corrupt(&self) -> Option<CorruptApp> {
        let has_corrupt = self.has_corrupt.load(Ordering::Acquire);
        has_corrupt.then(|| CorruptApp::new("app-broken", "its secret was sealed with the key 9"))
    }
}

#[async_trait]
impl AppStore for Store {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.answer()?;
        self.apps.find_by_key(key).await
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.answer()?;
        self.apps.find_by_id(id).await
    }
}

#[async_trait]
impl AppChanges for Store {
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        self.apps.changes_since(revision).await
    }
}

#[async_trait]
impl AppEditor for Store {
    async fn list(&self, after: Option<&str>, most: usize) -> Result<Vec<AppRow>, StoreError> {
        self.apps.list(after, most).await
    }

    async fn rows(&self, after: u64, most: usize) -> Result<Vec<AppRow>, StoreError> {
        self.answer()?;
        let mut rows = self.apps.rows(after, most).await?;
        if let Some(corrupt) = self.corrupt().filter(|_| after < 99) {
            rows.push(AppRow::new(99, Err(corrupt)));
        }
        Ok(rows)
    }

    async fn row(&self, number: u64) -> Result<Option<AppRow>, StoreError> {
        self.answer()?;
        match self.corrupt() {
            Some(corrupt) if number == 99 => Ok(Some(AppRow::new(99, Err(corrupt)))),
            _ => self.apps.row(number).await,
        }
    }

    async fn row_of(&self, id: &str) -> Result<Option<AppRow>, StoreError> {
        self.answer()?;
        self.apps.row_of(id).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.apps.count().await
    }

    async fn create(&self, app: App) -> Result<Arc<App>, EditError> {
        self.answer()?;
        if app.description.len() > MOST {
            let reason = format!("it has more than {MOST} bytes");
            let field = "description";
            return Err(EditError::Unfit { field, reason });
        }
        let made = self.apps.create(app).await;
        self.is_away
            .store(self.goes_away.load(Ordering::Acquire), Ordering::Release);
        made
    }

    async fn save(&self, app: App) -> Result<Arc<App>, EditError> {
        self.answer()?;
        let left = self.outdated.load(Ordering::Acquire);
        if left > 0 {
            self.outdated.store(left - 1, Ordering::Release);
            let id = app.id.to_string();
            let (read, now) = (app.revision, app.revision + 1);
            return Err(EditError::Outdated { id, read, now });
        }
        if self.has_gone.load(Ordering::Acquire) {
            self.apps.remove(app.id.as_str()).await?;
        }
        let saved = self.apps.save(app).await;
        self.is_away
            .store(self.goes_away.load(Ordering::Acquire), Ordering::Release);
        saved
    }

    async fn remove(&self, id: &str) -> Result<(), EditError> {
        self.answer()?;
        if self.corrupt().is_some_and(|corrupt| corrupt.id == id) {
            self.has_corrupt.store(false, Ordering::Release);
            return Ok(());
        }
        self.apps.remove(id).await
    }

    async fn seal_secrets(&self, dry_run: bool) -> Result<u64, EditError> {
        self.apps.seal_secrets(dry_run).await
    }

    async fn announce_all(&self) -> Result<(), StoreError> {
        self.apps.announce_all().await
    }

    async fn record_use(&self, used: &[SecretUse]) -> Result<(), StoreError> {
        self.apps.record_use(used).await
    }
}
