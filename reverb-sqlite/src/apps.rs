//! [`SqliteApps`]: apps in a table.

use std::sync::Arc;

use async_trait::async_trait;
use reverb_core::app_store::{
    AppChanges, AppEditor, AppRow, AppSettings, AppStore, Changed, Changes, CorruptApp, EditError,
    Interned, Keyring, LastUse, Listed, SecretUse, StoreError,
};
use reverb_core::protocol::{App, AppId, OldSecret, Secret};
use rusqlite::{Connection, OptionalExtension, Params, Row, named_params};

use crate::Sqlite;

/// The apps in a database. Clones share it.
#[derive(Clone, Debug)]
pub struct SqliteApps {
    database: Sqlite,
    shared: Arc<Shared>,
}

/// What makes apps out of rows.
#[derive(Debug)]
struct Shared {
    keyring: Keyring,
    interned: Interned,
}

const COLUMNS: &str = "id, key, secret, old_secret, old_secret_until, settings, revision";
/// Of so many changes removals are remembered, as the trigger says.
const REMEMBERED: u64 = 10_000;

impl SqliteApps {
    pub(crate) fn new(database: Sqlite, keyring: Keyring) -> Self {
        let shared = Arc::new(Shared {
            keyring,
            interned: Interned::default(),
        });
        Self { database, shared }
    }

    async fn find(
        &self,
        column: &'static str,
        value: &str,
    ) -> Result<Option<Arc<App>>, StoreError> {
        let (shared, value) = (self.shared.clone(), value.to_owned());
        let found = self.database.reader.run(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM apps WHERE {column} = ?");
            let mut find = connection.prepare_cached(&sql)?;
            find.query_row([value], |row| shared.listed(row)).optional()
        });
        Ok(found.await?.transpose()?)
    }

    async fn select_rows(
        &self,
        clause: &'static str,
        params: impl Params + Send + 'static,
    ) -> Result<Vec<AppRow>, StoreError> {
        let shared = self.shared.clone();
        let rows = self.database.reader.run(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS}, row, created, updated, secret_used, old_secret_used FROM apps WHERE {clause}"
            );
            let mut select = connection.prepare_cached(&sql)?;
            let time =
                |row: &Row<'_>, column| row.get::<_, i64>(column).map(|time| time.max(0) as u64);
            let rows = select.query_map(params, |row| {
                let number = row.get::<_, i64>("row")?.max(0) as u64;
                let mut found = AppRow::new(number, shared.listed(row)?);
                found.created = Some(time(row, "created")?);
                found.updated = Some(time(row, "updated")?);
                found.last_use = used(row)?;
                Ok(found)
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        });
        rows.await
    }

    /// Does this as one transaction, which is rolled back if it fails.
    async fn edit<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&Connection, &Shared) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, EditError> {
        let shared = self.shared.clone();
        let edited = self
            .database
            .writer
            .edit(move |connection| edit(connection, &shared));
        edited.await?
    }
}

type Failed = crate::writer::Failed<EditError>;

impl From<EditError> for Failed {
    fn from(error: EditError) -> Self {
        Self::Refused(error)
    }
}

impl From<CorruptApp> for Failed {
    fn from(error: CorruptApp) -> Self {
        Self::Refused(EditError::Store(error.into()))
    }
}

impl Shared {
    /// The app in this row, [`COLUMNS`]. What is wrong with the row is said of it, and is no failure of the query.
    fn listed(&self, row: &Row<'_>) -> rusqlite::Result<Listed> {
        let id: String = row.get("id")?;
        let revision = row.get::<_, i64>("revision")? as u64;
        if let Some(app) = self.interned.get(&id, revision) {
            return Ok(Ok(app));
        }
        let read = self.read(&id, revision, row);
        Ok(read.map(|app| self.interned.put(app)))
    }

    fn read(&self, id: &str, revision: u64, row: &Row<'_>) -> Result<App, CorruptApp> {
        let wrong = |error: &dyn std::error::Error| CorruptApp::new(id, error.to_string());
        let text = |column| row.get::<_, String>(column).map_err(|error| wrong(&error));
        let open = |sealed: String| {
            let opened = self.keyring.open(id, &sealed);
            opened.map_err(|error| CorruptApp::sealed(id, error.to_string()))
        };
        // Before its secret, which is sealed for the id.
        AppId::new(id).map_err(|error| wrong(&error))?;
        let mut app =
            App::new(id, &text("key")?, &open(text("secret")?)?).map_err(|error| wrong(&error))?;
        let old = row.get("old_secret").map_err(|error| wrong(&error))?;
        let until = row.get("old_secret_until").map_err(|error| wrong(&error))?;
        if let (Some(old), Some(until)) = (old, until) {
            let old = Secret::new(&open(old)?).map_err(|error| wrong(&error))?;
            app.old_secret = Some(OldSecret::new(old, i64::max(until, 0) as u64));
        }
        let settings = AppSettings::parse(&text("settings")?);
        let settings =
            settings.map_err(|error| CorruptApp::new(id, format!("its settings: {error}")))?;
        settings.apply_to(&mut app);
        app.revision = revision;
        Ok(app)
    }

    /// The app with this id, for an edit. It is not shared with anybody: another edit of the same transaction may have
    /// written it, and its revision goes to somebody else if that is not committed.
    fn find(&self, connection: &Connection, id: &str) -> rusqlite::Result<Option<Listed>> {
        let sql = format!("SELECT {COLUMNS} FROM apps WHERE id = ?");
        let mut find = connection.prepare_cached(&sql)?;
        let found = find.query_row([id], |row| {
            let revision = row.get::<_, i64>("revision")? as u64;
            Ok(self.read(id, revision, row).map(Arc::new))
        });
        found.optional()
    }

    /// Writes an app into its row, and gives it its revision. It is nobody else's before that is committed.
    fn write(&self, connection: &Connection, sql: &str, app: &mut App) -> Result<(), Failed> {
        let id = app.id.as_str();
        let settings = serde_json::to_string(&AppSettings::of(app)).expect("settings are JSON");
        let old = app.old_secret.as_ref();
        connection.prepare_cached(sql)?.execute(named_params! {
            ":id": id,
            ":key": app.key.as_str(),
            ":secret": self.keyring.seal(id, app.secret.reveal()),
            ":old_secret": old.map(|old| self.keyring.seal(id, old.secret.reveal())),
            ":old_secret_until": old.map(|old| i64::try_from(old.until).unwrap_or(i64::MAX)),
            ":settings": settings,
        })?;
        let revision: i64 =
            connection.query_row("SELECT revision FROM apps WHERE id = ?", [id], |row| {
                row.get(0)
            })?;
        app.revision = revision as u64;
        Ok(())
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An id and a key belong to one app.
fn is_free(
    connection: &Connection,
    field: &'static str,
    value: &str,
    id: &str,
) -> Result<(), Failed> {
    let sql = format!("SELECT 1 FROM apps WHERE {field} = ? AND id <> ?");
    let mut other = connection.prepare_cached(&sql)?;
    match other.exists([value, id])? {
        false => Ok(()),
        true => Err(EditError::Taken {
            field,
            value: value.to_owned(),
        }
        .into()),
    }
}

fn last_use(connection: &Connection, id: &str) -> rusqlite::Result<Option<LastUse>> {
    let sql = "SELECT secret_used, old_secret_used FROM apps WHERE id = ?";
    let mut known = connection.prepare_cached(sql)?;
    known.query_row([id], used).optional()
}

fn used(row: &Row<'_>) -> rusqlite::Result<LastUse> {
    let time = |time: Option<i64>| time.map(|time| time.max(0) as u64);
    let (secret, old) = (row.get("secret_used")?, row.get("old_secret_used")?);
    Ok(LastUse::new(time(secret), time(old)))
}

fn note_use(connection: &Connection, id: &str, known: LastUse) -> rusqlite::Result<()> {
    let sql = "UPDATE apps SET secret_used = ?, old_secret_used = ? WHERE id = ?";
    let time = |time: Option<u64>| time.map(|time| time as i64);
    let times = (time(known.secret), time(known.old_secret), id);
    connection.prepare_cached(sql)?.execute(times).map(|_| ())
}

#[async_trait]
impl AppStore for SqliteApps {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.find("key", key).await
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.find("id", id).await
    }
}

#[async_trait]
impl AppChanges for SqliteApps {
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        let shared = self.shared.clone();
        let changes = self.database.reader.run(move |connection| {
            let view = connection.transaction()?;
            let now: i64 = view.query_row("SELECT n FROM revision", (), |row| row.get(0))?;
            let now = now as u64;
            // A later one than there is: the file is not the one that was asked before.
            if revision > now || now - revision > REMEMBERED {
                shared.interned.forget();
                return Ok(Changes::new(now, Changed::Any));
            }
            let mut changed = view.prepare_cached(
                "SELECT id FROM apps WHERE revision > ?1
                 UNION ALL SELECT id FROM removed_apps WHERE revision > ?1",
            )?;
            let changed = changed.query_map([revision as i64], |row| row.get::<_, String>(0))?;
            let changed: Vec<AppId> = changed
                .filter_map(|id| id.map(|id| AppId::new(&id).ok()).transpose())
                .collect::<Result<_, _>>()?;
            Ok(Changes::new(now, Changed::These(changed)))
        });
        changes.await
    }
}

#[async_trait]
impl AppEditor for SqliteApps {
    async fn list(&self, after: Option<&str>, most: usize) -> Result<Vec<AppRow>, StoreError> {
        let clause = "?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let params = (after.map(str::to_owned), most);
        self.select_rows(clause, params).await
    }

    async fn rows(&self, after: u64, most: usize) -> Result<Vec<AppRow>, StoreError> {
        let clause = "row > ?1 ORDER BY row LIMIT ?2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.select_rows(clause, (number(after), most)).await
    }

    async fn row(&self, row: u64) -> Result<Option<AppRow>, StoreError> {
        let found = self.select_rows("row = ?1", [number(row)]).await?;
        Ok(found.into_iter().next())
    }

    async fn row_of(&self, id: &str) -> Result<Option<AppRow>, StoreError> {
        let found = self.select_rows("id = ?1", [id.to_owned()]).await?;
        Ok(found.into_iter().next())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let counted = self.database.reader.run(|connection| {
            let count = "SELECT count(*) FROM apps";
            connection.query_row(count, (), |row| row.get::<_, i64>(0))
        });
        Ok(counted.await? as u64)
    }

    async fn create(&self, mut app: App) -> Result<Arc<App>, EditError> {
        const INSERT: &str =
            "INSERT INTO apps (id, key, secret, old_secret, old_secret_until, settings)
             VALUES (:id, :key, :secret, :old_secret, :old_secret_until, :settings)";
        let created = self.edit(move |connection, shared| {
            is_free(connection, "id", app.id.as_str(), "")?;
            is_free(connection, "key", app.key.as_str(), "")?;
            shared.write(connection, INSERT, &mut app)?;
            Ok(app)
        });
        Ok(self.shared.interned.put(created.await?))
    }

    async fn save(&self, mut app: App) -> Result<Arc<App>, EditError> {
        const UPDATE: &str =
            "UPDATE apps SET key = :key, secret = :secret, old_secret = :old_secret,
             old_secret_until = :old_secret_until, settings = :settings WHERE id = :id";
        let saved = self.edit(move |connection, shared| {
            let id = app.id.as_str();
            let before = shared.find(connection, id)?;
            let before = before.ok_or_else(|| EditError::Missing(id.to_owned()))??;
            if before.revision != app.revision {
                return Err(Failed::Refused(EditError::Outdated {
                    id: id.to_owned(),
                    read: app.revision,
                    now: before.revision,
                }));
            }
            is_free(connection, "key", app.key.as_str(), id)?;
            let used = last_use(connection, id)?.unwrap_or_default();
            shared.write(connection, UPDATE, &mut app)?;
            note_use(
                connection,
                app.id.as_str(),
                used.carried_over(&before, &app),
            )?;
            Ok(app)
        });
        Ok(self.shared.interned.put(saved.await?))
    }

    async fn remove(&self, id: &str) -> Result<(), EditError> {
        let id = id.to_owned();
        self.edit(move |connection, _| {
            match connection.execute("DELETE FROM apps WHERE id = ?", [&id])? {
                0 => Err(EditError::Missing(id).into()),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn seal_secrets(&self, dry_run: bool) -> Result<u64, EditError> {
        self.edit(move |connection, shared| {
            let sql = "SELECT id, secret, old_secret FROM apps";
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let rows: Vec<(String, String, Option<String>)> = rows.collect::<Result<_, _>>()?;
            let mut sealed = 0;
            for (id, secret, old) in rows {
                let anew = |stored: &String| match shared.keyring.is_current(stored) {
                    true => None,
                    false => Some(
                        shared
                            .keyring
                            .seal(&id, &shared.keyring.open(&id, stored).ok()?),
                    ),
                };
                let (new, new_old) = (anew(&secret), old.as_ref().and_then(anew));
                if new.is_none() && new_old.is_none() {
                    continue;
                }
                sealed += 1;
                if !dry_run {
                    let sql = "UPDATE apps SET secret = ?, old_secret = ? WHERE id = ?";
                    let values = (new.unwrap_or(secret), new_old.or(old), &id);
                    connection.prepare_cached(sql)?.execute(values)?;
                }
            }
            Ok(sealed)
        })
        .await
    }

    async fn announce_all(&self) -> Result<(), StoreError> {
        let announced = self.edit(|connection, _| {
            // So many changes that nobody remembers them all.
            let jump = (REMEMBERED + 1) as i64;
            connection.execute("UPDATE revision SET n = n + ?", [jump])?;
            Ok(())
        });
        Ok(announced.await?)
    }

    async fn record_use(&self, used: &[SecretUse]) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        let used = used.to_vec();
        let recorded = self.edit(move |connection, shared| {
            for used in &used {
                let id = used.app.as_str();
                if let (Some(Ok(app)), Some(known)) =
                    (shared.find(connection, id)?, last_use(connection, id)?)
                {
                    let now = known.after(&app, used);
                    if now != known {
                        note_use(connection, id, now)?;
                    }
                }
            }
            Ok(())
        });
        Ok(recorded.await?)
    }
}
