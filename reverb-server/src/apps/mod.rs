//! [`Apps`]: where the server's apps come from: the configuration, and beside it the database.

mod change;
mod credentials;
mod first;
mod key;
mod open;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reverb_core::app_store::{
    AppChanges, AppEditor, AppRow, AppStore, Changed, Changes, CorruptApp, EditError, MemoryApps,
    StoreError,
};
use reverb_core::protocol::App;
use reverb_core::queue::{Job, Queue, QueueError};
use tokio::sync::Notify;

use crate::config::Config;
use crate::panel::store::PanelStore;

pub(crate) use self::change::{ATTEMPTS, rotate};
pub use self::credentials::{new_id, new_key, new_secret, random_alphanumerics};
pub use self::key::KeyError;
pub use self::open::{AppsError, exposed_key};

/// The apps that are configured, which nothing changes while the server runs, and those in the database.
///
/// One that is configured hides one in the database with the same id, and takes the clients of one with the same key;
/// [`Self::clashes`] names them.
#[derive(Clone)]
pub struct Apps {
    configured: MemoryApps,
    database: Option<Database>,
}

/// The apps in the database.
#[derive(Clone)]
pub struct Database {
    /// To look up, and to change.
    pub apps: Arc<dyn AppEditor>,
    /// What is to be done once, by one of the servers that share the database.
    pub queue: Arc<dyn Queue>,
    /// What the panel keeps.
    pub panel: Arc<dyn PanelStore>,
    /// The file or the address, as messages name it.
    pub name: String,
    /// Wakes the worker of this server when something was pushed here.
    pub(crate) pushed: Arc<Notify>,
}

/// How many apps are looked at in one go.
pub(crate) const PAGE: usize = 500;

impl Apps {
    /// The apps of a configuration, and those of a database if there is one.
    #[must_use]
    pub fn new(config: &Config, database: Option<Database>) -> Self {
        Self {
            configured: MemoryApps::new(config.apps.iter().cloned()),
            database,
        }
    }

    /// Opens the database in the data folder, for a server. It is made if it is not there, unless apps are configured and
    /// nobody has named a folder: who wants no database shall find none.
    ///
    /// # Errors
    /// It cannot be opened or made, or none of its apps can be read.
    pub async fn open(config: &Config) -> Result<Self, AppsError> {
        let is_wanted = config.apps.is_empty()
            || config.database.url.is_some()
            || open::path(config).exists()
            || config.origin("data_dir") != "default";
        let apps = match is_wanted {
            true => Self::to_edit(config).await?,
            false => Self::existing(config).await?,
        };
        if let Some(database) = &apps.database {
            database.check_key().await?;
        }
        Ok(apps)
    }

    /// The same for who only looks: nothing is made.
    ///
    /// # Errors
    /// There is a database, and it cannot be opened.
    pub async fn existing(config: &Config) -> Result<Self, AppsError> {
        if config.database.url.is_some() || open::path(config).exists() {
            // Another version of the server may be at work with it: only a start, or who is asked to, changes tables.
            let pending = open::pending(config).await?;
            if !pending.is_empty() {
                return Err(AppsError::Pending(pending.join(", ")));
            }
            return Self::to_edit(config).await;
        }
        open::refuse_old_file(config)?;
        Ok(Self::new(config, None))
    }

    /// The same for who wants to keep something: the database is made if it is not there.
    ///
    /// # Errors
    /// It cannot be opened or made.
    pub async fn to_edit(config: &Config) -> Result<Self, AppsError> {
        let database = match &config.database.url {
            Some(url) => open::mysql(config, url).await?,
            None => open::open_or_make(config).await?,
        };
        Ok(Self::new(config, Some(database)))
    }

    /// The steps that bring the database up to date. Nothing is changed, or made.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn pending(config: &Config) -> Result<Vec<&'static str>, AppsError> {
        open::pending(config).await
    }

    /// Makes room for longer secrets; says whether there was too little.
    ///
    /// # Errors
    /// The database cannot be had or changed.
    pub async fn widen_secrets(config: &Config) -> Result<bool, AppsError> {
        open::widen_secrets(config).await
    }

    /// The database, if there is one.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// A sentence for every app in the database that is hidden by one that is configured.
    ///
    /// # Errors
    /// The database cannot tell.
    pub async fn clashes(&self, config: &Config) -> Result<Vec<String>, StoreError> {
        let mut clashes = Vec::new();
        let Some(database) = &self.database else {
            return Ok(clashes);
        };
        for app in &config.apps {
            let (id, key) = (app.id.as_str(), app.key.as_str());
            let hidden = [
                ("id", id, database.apps.find_by_id(id).await),
                ("key", key, database.apps.find_by_key(key).await),
            ];
            for (field, value, found) in hidden {
                let other = match found {
                    Ok(None) => continue,
                    Ok(Some(other)) => other.id.to_string(),
                    Err(StoreError::Corrupt(corrupt)) => corrupt.id,
                    Err(error) => return Err(error),
                };
                let from = config.origin(&format!("app {id}"));
                let file = &database.name;
                clashes.push(format!(
                    "the app {id} of {from} has the {field} {value:?} of the app {other} in {file}, which is not reached by \
                     it: remove one of the two, or give it another {field}"
                ));
            }
        }
        Ok(clashes)
    }
}

impl Database {
    /// Pushes work that is due now, and wakes the worker of this server.
    ///
    /// # Errors
    /// The queue is full, or does not take it.
    pub(crate) async fn push(&self, kind: &'static str) -> Result<(), QueueError> {
        let job = Job::new(kind, "").expect("kinds are short");
        self.queue.push(job, Duration::ZERO).await?;
        self.pushed.notify_one();
        Ok(())
    }

    /// Refuses a key that fits none of the apps, where there are any.
    async fn check_key(&self) -> Result<(), AppsError> {
        let (mut first, mut after) = (None, None);
        loop {
            let page = self.page(&mut after).await?;
            if page.is_empty() {
                break;
            }
            for row in page {
                match row.app {
                    Ok(_) => return Ok(()),
                    Err(corrupt) if corrupt.is_sealed => first = first.or(Some(corrupt)),
                    Err(_) => {}
                }
            }
        }
        match first {
            None => Ok(()),
            Some(corrupt) => Err(AppsError::Unreadable {
                name: self.name.clone(),
                source: corrupt,
            }),
        }
    }

    /// Says what somebody should know of the apps: those that are stored wrongly, and so off, those that let nobody in from a
    /// browser, and those whose `max_connections` nothing enforces yet.
    pub async fn name_oddities(&self) {
        let (mut after, mut closed, mut lenient) = (None, Vec::new(), Vec::new());
        while let Ok(page) = self.page(&mut after).await {
            if page.is_empty() {
                break;
            }
            for row in page {
                match row.app {
                    Err(CorruptApp { id, reason, .. }) => {
                        tracing::error!(
                            app = id,
                            reason,
                            "an app is off until it is stored rightly"
                        );
                    }
                    Ok(app) => {
                        if app.allowed_origins.hosts().is_empty() {
                            closed.push(app.id.to_string());
                        }
                        if app.max_connections.is_some() && !app.enforce_max_connections {
                            lenient.push(app.id.to_string());
                        }
                    }
                }
            }
        }
        if !closed.is_empty() {
            tracing::warn!(
                apps = some(&closed),
                "an app without allowed_origins lets nobody in from a browser"
            );
        }
        if !lenient.is_empty() {
            tracing::warn!(
                apps = some(&lenient),
                "max_connections is not enforced for apps that were never changed here; enforce_max_connections = true does"
            );
        }
    }

    /// The next apps behind this id, which becomes that of the last; none at the end.
    pub(crate) async fn page(&self, after: &mut Option<String>) -> Result<Vec<AppRow>, StoreError> {
        let page = self.apps.list(after.as_deref(), PAGE).await?;
        if let Some(last) = page.last() {
            *after = Some(last.id().to_owned());
        }
        Ok(page)
    }
}

/// The first of many, and how many more there are.
pub(crate) fn some(ids: &[String]) -> String {
    const FEW: usize = 20;
    match ids.split_at_checked(FEW) {
        Some((few, rest)) if !rest.is_empty() => {
            format!("{} and {} more", few.join(", "), rest.len())
        }
        _ => ids.join(", "),
    }
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apps")
            .field("configured", &self.configured)
            .field("database", &self.database)
            .finish()
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl AppStore for Apps {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        match (self.configured.find_by_key(key).await?, &self.database) {
            (None, Some(database)) => {
                let found = database.apps.find_by_key(key).await?;
                // An app has one id and one key, so that one that is configured hides it whole.
                Ok(match &found {
                    Some(app) if self.is_configured(app.id.as_str()).await? => None,
                    _ => found,
                })
            }
            (found, _) => Ok(found),
        }
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        match (self.configured.find_by_id(id).await?, &self.database) {
            (None, Some(database)) => database.apps.find_by_id(id).await,
            (found, _) => Ok(found),
        }
    }
}

impl Apps {
    /// Whether the configuration has this app, so that it cannot be changed.
    ///
    /// # Errors
    /// None, as it is in memory.
    pub async fn is_configured(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.configured.find_by_id(id).await?.is_some())
    }

    /// Whether an app of the configuration has this key.
    ///
    /// # Errors
    /// None, as it is in memory.
    pub async fn is_configured_key(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.configured.find_by_key(key).await?.is_some())
    }

    /// Refuses an app of the database that would be hidden by one that is configured.
    ///
    /// # Errors
    /// Its id or key is taken.
    pub async fn check_free(&self, app: &App) -> Result<(), EditError> {
        let (id, key) = (app.id.as_str(), app.key.as_str());
        let field = if self.configured.find_by_id(id).await?.is_some() {
            ("id", id)
        } else if self.configured.find_by_key(key).await?.is_some() {
            ("key", key)
        } else {
            return Ok(());
        };
        Err(EditError::Taken {
            field: field.0,
            value: field.1.to_owned(),
        })
    }
}

#[async_trait]
impl AppChanges for Apps {
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        match &self.database {
            Some(database) => database.apps.changes_since(revision).await,
            None => Ok(Changes::new(revision, Changed::These(Vec::new()))),
        }
    }
}
