//! Opening the database in the data folder.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reverb_core::app_store::{CorruptApp, StoreError};
use reverb_mysql::{MySql, Secrets};
use reverb_sqlite::{OpenError, Sqlite};

use super::Database;
use super::key::{self, KeyError};
use crate::config::{Config, DatabaseUrl};
use crate::panel::store::{MYSQL_LEDGER, MySqlPanel, SQLITE_LEDGER, SqlitePanel};

/// Why the apps are not at hand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppsError {
    /// There is no folder for them.
    #[error(
        "cannot keep apps in {}: let this user write there, choose another folder with --data-dir \
         (REVERB_DATA_DIR), or configure an app with --config or REVERB_APP_ID, _KEY and _SECRET",
        path.display()
    )]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Their secrets cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database cannot be used.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The database server cannot be used.
    #[error("cannot use the database {name}")]
    MySql {
        /// Which, without the password.
        name: String,
        /// Why.
        #[source]
        source: reverb_mysql::OpenError,
    },
    /// There is a database, but not the key to it.
    #[error(
        "the key to the secrets in {name} is missing: set APP_KEY if the PHP product has made them, or else \
         REVERB_ENCRYPTION_KEY, or copy secrets.key of another server into {}",
        folder.display()
    )]
    NoKey {
        /// Which database.
        name: String,
        /// Where the key would be.
        folder: PathBuf,
    },
    /// Another server has made another key.
    #[error(
        "the key here ({known}) is not the one that the secrets in {name} are sealed with: copy secrets.key of the server \
         that was started first, or set REVERB_ENCRYPTION_KEY to the same on all"
    )]
    OtherKey {
        /// Which database.
        name: String,
        /// The ids of the keys here.
        known: String,
    },
    /// The key is another one.
    #[error(
        "none of the apps in {name} can be read: is the key (secrets.key, REVERB_ENCRYPTION_KEY or APP_KEY) the one they \
         were made with?"
    )]
    Unreadable {
        /// Which database.
        name: String,
        /// What is wrong with the first.
        #[source]
        source: CorruptApp,
    },
    /// Its tables are not those of this version.
    #[error(
        "the database is not ready for this version ({0} is to do): start the server, or run reverb-server migrate"
    )]
    Pending(String),
    /// It does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no database yet, but the file of an earlier version.
    #[error(
        "{0} holds the app of an earlier version: start with --config {0} to use it as it is, or delete it for a new one in a \
         database", path.display()
    )]
    OldFile {
        /// Which.
        path: PathBuf,
    },
}

/// Where the database is.
pub(super) fn path(config: &Config) -> PathBuf {
    config.data_dir.join("reverb.sqlite3")
}

pub(super) async fn open_or_make(config: &Config) -> Result<Database, AppsError> {
    let (folder, path) = (&config.data_dir, path(config));
    if !path.exists() {
        refuse_old_file(config)?;
        make_folder(folder, &path)?;
    }
    let keyring = match &config.keyring {
        Some(keyring) => keyring.clone(),
        None => key::read_or_make(folder, Some(&path))?,
    };
    let failed = |source| match source {
        OpenError::File { source, .. } => AppsError::Folder {
            path: path.clone(),
            source,
        },
        source => AppsError::Open {
            path: path.clone(),
            source,
        },
    };
    let database = Sqlite::open(&path).map_err(failed)?;
    let panel = SqlitePanel::open(database.clone()).await.map_err(failed)?;
    Ok(Database {
        queue: Arc::new(database.queue()),
        apps: Arc::new(database.apps(keyring)),
        panel: Arc::new(panel),
        name: path.display().to_string(),
        pushed: Arc::default(),
    })
}

/// Connects to a database server. With Laravel's keys secrets are kept as Laravel does; else they are sealed, with the key in the
/// environment or in the data folder. That one is made only for a database without apps: other servers have it already.
pub(super) async fn mysql(config: &Config, url: &DatabaseUrl) -> Result<Database, AppsError> {
    let name = url.to_string();
    let failed = |source| AppsError::MySql {
        name: name.clone(),
        source,
    };
    let database = MySql::open(url.reveal()).await.map_err(failed)?;
    let key = key::path(&config.data_dir);
    let keyring = match &config.keyring {
        Some(keyring) => Some(keyring.clone()),
        None if key.exists() => Some(key::read_or_make(&config.data_dir, None)?),
        None => None,
    };
    let secrets = match (&config.database.laravel, keyring) {
        (Some(keys), keyring) => Secrets::Laravel(keys.clone(), keyring),
        (None, Some(keyring)) => Secrets::Sealed(keyring),
        (None, None) if database.is_without_apps().await.map_err(failed)? => {
            make_folder(&config.data_dir, &key)?;
            Secrets::Sealed(key::read_or_make(&config.data_dir, None)?)
        }
        (None, None) => {
            return Err(AppsError::NoKey {
                name,
                folder: config.data_dir.clone(),
            });
        }
    };
    if let Secrets::Sealed(keyring) = &secrets
        && !database.claim_key(keyring).await.map_err(failed)?
    {
        return Err(AppsError::OtherKey {
            name,
            known: keyring.ids(),
        });
    }
    let panel = MySqlPanel::open(database.clone()).await.map_err(failed)?;
    let name = database.name().to_owned();
    let apps = database.apps(secrets).enforce(config.database.enforce);
    Ok(Database {
        apps: Arc::new(apps),
        queue: Arc::new(database.queue()),
        panel: Arc::new(panel),
        name,
        pushed: Arc::default(),
    })
}

pub(super) async fn pending(config: &Config) -> Result<Vec<&'static str>, AppsError> {
    match &config.database.url {
        Some(url) => {
            let pending = MySql::pending(url.reveal(), &[MYSQL_LEDGER]).await;
            pending.map_err(|source| AppsError::MySql {
                name: url.to_string(),
                source,
            })
        }
        None => {
            let path = path(config);
            Sqlite::pending(&path, &[SQLITE_LEDGER])
                .map_err(|source| AppsError::Open { path, source })
        }
    }
}

/// A file of our own has room for all there are.
pub(super) async fn widen_secrets(config: &Config) -> Result<bool, AppsError> {
    let Some(url) = &config.database.url else {
        return Ok(false);
    };
    let failed = |source| AppsError::MySql {
        name: url.to_string(),
        source,
    };
    let database = MySql::open(url.reveal()).await.map_err(failed)?;
    database.widen_secrets().await.map_err(failed)
}

fn make_folder(folder: &Path, kept: &Path) -> Result<(), AppsError> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.map_err(|source| AppsError::Folder {
        path: kept.to_owned(),
        source,
    })
}

/// A sentence if others than the owner can read the key file, where that is used.
#[must_use]
pub fn exposed_key(config: &Config) -> Option<String> {
    match config.keyring {
        Some(_) => None,
        None => key::exposed(&key::path(&config.data_dir)),
    }
}

/// An app that somebody works with must not give way to a new one in silence.
pub(super) fn refuse_old_file(config: &Config) -> Result<(), AppsError> {
    let path = config.data_dir.join("apps.toml");
    match path.exists() && config.apps.is_empty() {
        true => Err(AppsError::OldFile { path }),
        false => Ok(()),
    }
}
