//! [`MySqlApps`]: apps in the tables of the PHP product, and in ours beside them.

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, TxOpts};
use parking_lot::Mutex;
use reverb_core::app_store::{
    AppChanges, AppEditor, AppRow, AppStore, Changed, Changes, EditError, Interned, LastUse,
    Listed, SecretUse, StoreError,
};
use reverb_core::protocol::{App, AppId};

use crate::adopt::{self, Glance, Gone, REMEMBERED};
use crate::database::{Failed, MySql, patiently};
use crate::row::{AppColumns, COLUMNS, FROM, HASH};
use crate::secrets::Secrets;
use crate::vanished::Vanished;

use self::edit::Edit;

mod edit;

/// The apps in a database. Clones share it.
///
/// What the table `reverb_apps` has no place for stands in `rp_apps`, by the number of the row. Edits that others make in
/// `reverb_apps` are found within one look of whoever asks for changes. Where more than half of several apps are gone at
/// once, somebody may be putting back a dump: only after ten seconds they count as removed, and until then who looks for one
/// is told that the store does not answer.
#[derive(Clone, Debug)]
pub struct MySqlApps {
    database: MySql,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    secrets: Secrets,
    enforce: EnforceMaxConnections,
    interned: Interned,
    /// How the table looked when everything in it was numbered.
    glance: Mutex<Option<Glance>>,
    vanished: Vanished,
}

/// Whether `max_connections` of a row holds. The PHP product has the number, and never enforced it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnforceMaxConnections {
    /// For apps that were made or changed here; going beyond that of another one is logged.
    #[default]
    Auto,
    /// For all.
    Always,
}

/// So many rows are looked at in one go.
const PAGE: u64 = 500;
/// So many rows that others have changed are dealt with by themselves.
const FEW: usize = 20;

impl MySqlApps {
    pub(crate) fn new(database: MySql, secrets: Secrets) -> Self {
        let shared = Arc::new(Shared::new(secrets, EnforceMaxConnections::default()));
        Self { database, shared }
    }

    /// The same apps, whose `max_connections` hold as this says.
    #[must_use]
    pub fn enforce(self, enforce: EnforceMaxConnections) -> Self {
        let shared = Shared::new(self.shared.secrets.clone(), enforce);
        Self {
            shared: Arc::new(shared),
            ..self
        }
    }

    async fn find(
        &self,
        column: &'static str,
        value: &str,
    ) -> Result<Option<Arc<App>>, StoreError> {
        let clause = format!("a.{column} = ?");
        let rows = patiently(async {
            let mut conn = self.database.conn().await?;
            let rows = self.select(&mut conn, &clause, (value,)).await?;
            if rows.is_empty() && self.shared.vanished.may_be_among_them(&mut conn).await? {
                let why = "most apps are gone from reverb_apps, and were there a moment ago";
                return Err(StoreError::Unavailable(why.into()).into());
            }
            Ok(rows)
        });
        // The table may take upper and lower case, and blanks at the end, for the same.
        let is_it = |row: &AppColumns| match column {
            "app_key" => row.app_key == value,
            _ => row.app_id == value,
        };
        let row = rows.await?.into_iter().find(is_it);
        Ok(row.map(|row| self.shared.listed(&row)).transpose()?)
    }

    /// The rows for which this holds, once everything that others have done to them is numbered.
    async fn select(
        &self,
        conn: &mut Conn,
        clause: &str,
        params: impl Into<Params> + Send,
    ) -> Result<Vec<AppColumns>, Failed> {
        let sql =
            format!("SELECT {COLUMNS}, x.hash <=> {HASH} AS is_seen FROM {FROM} WHERE {clause}");
        let params = params.into();
        let mut rows: Vec<Row> = conn.exec(&*sql, params.clone()).await?;
        let is_new = |row: &&Row| row.get("is_seen") != Some(true);
        let new: Vec<u64> = rows
            .iter()
            .filter(is_new)
            .filter_map(|row| row.get("row_id"))
            .collect();
        if !new.is_empty() {
            match new.len() <= FEW {
                true => adopt::adopt_rows(conn, &new, &self.shared.secrets).await?,
                false => adopt::adopt(conn, &self.shared.secrets, Gone::Left).await?,
            }
            rows = conn.exec(&*sql, params).await?;
        }
        Ok(rows.into_iter().map(AppColumns::take).collect())
    }
}

impl Shared {
    fn new(secrets: Secrets, enforce: EnforceMaxConnections) -> Self {
        Self {
            secrets,
            enforce,
            interned: Interned::default(),
            glance: Mutex::default(),
            vanished: Vanished::default(),
        }
    }

    fn listed(&self, row: &AppColumns) -> Listed {
        if let Some(app) = self.interned.get(&row.app_id, row.revision) {
            return Ok(app);
        }
        let app = row.app(&self.secrets, self.enforce)?;
        Ok(self.interned.put(app))
    }

    fn app_row(&self, row: &AppColumns) -> AppRow {
        let mut listed = AppRow::new(row.row_id, self.listed(row));
        (listed.created, listed.updated) = (row.created, row.updated);
        listed.last_use = row.used;
        listed
    }
}

#[async_trait]
impl AppStore for MySqlApps {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.find("app_key", key).await
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        self.find("app_id", id).await
    }
}

#[async_trait]
impl AppChanges for MySqlApps {
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        let changes = patiently(async {
            let mut conn = self.database.conn().await?;
            // Before it is looked at closely: what is changed meanwhile looks different the next time.
            let glance = adopt::glance(&mut conn).await?;
            let is_new = glance.is_none() || *self.shared.glance.lock() != glance;
            if !is_new {
                self.shared.vanished.are_back();
            } else if !self.shared.vanished.may_come_back(&mut conn).await? {
                adopt::adopt(&mut conn, &self.shared.secrets, Gone::Removed).await?;
                *self.shared.glance.lock() = glance;
            }
            // One view of both tables: what is not seen now has a higher number than the one that is.
            let mut view = conn.start_transaction(TxOpts::default()).await?;
            let now: Option<u64> = view
                .query_first("SELECT n FROM rp_revision WHERE one = 1")
                .await?;
            let now = now.unwrap_or_default();
            let changed: Vec<String> = match now.checked_sub(revision) {
                Some(0) => Vec::new(),
                Some(1..=REMEMBERED) => {
                    let sql = "SELECT app_id FROM rp_apps WHERE revision > ?
                               UNION ALL SELECT app_id FROM rp_removed_apps WHERE revision > ?";
                    view.exec(sql, (revision, revision)).await?
                }
                // A later one than there is: the database is not the one that was asked before.
                _ => {
                    self.shared.interned.forget();
                    return Ok(Changes::new(now, Changed::Any));
                }
            };
            view.commit().await?;
            let changed = changed.iter().filter_map(|id| AppId::new(id).ok());
            Ok(Changes::new(now, Changed::These(changed.collect())))
        });
        Ok(changes.await?)
    }
}

#[async_trait]
impl AppEditor for MySqlApps {
    async fn list(&self, after: Option<&str>, most: usize) -> Result<Vec<AppRow>, StoreError> {
        let rows = patiently(async {
            let mut conn = self.database.conn().await?;
            let clause = "? IS NULL OR CAST(a.app_id AS BINARY) > CAST(? AS BINARY)
                          ORDER BY CAST(a.app_id AS BINARY) LIMIT ?";
            self.select(&mut conn, clause, (after, after, limit(most)))
                .await
        });
        Ok(rows
            .await?
            .iter()
            .map(|row| self.shared.app_row(row))
            .collect())
    }

    async fn rows(&self, after: u64, most: usize) -> Result<Vec<AppRow>, StoreError> {
        let rows = patiently(async {
            let mut conn = self.database.conn().await?;
            let clause = "a.id > ? ORDER BY a.id LIMIT ?";
            self.select(&mut conn, clause, (after, limit(most))).await
        });
        Ok(rows
            .await?
            .iter()
            .map(|row| self.shared.app_row(row))
            .collect())
    }

    async fn row(&self, number: u64) -> Result<Option<AppRow>, StoreError> {
        let rows = patiently(async {
            let mut conn = self.database.conn().await?;
            self.select(&mut conn, "a.id = ?", (number,)).await
        });
        Ok(rows.await?.first().map(|row| self.shared.app_row(row)))
    }

    async fn row_of(&self, id: &str) -> Result<Option<AppRow>, StoreError> {
        let rows = patiently(async {
            let mut conn = self.database.conn().await?;
            self.select(&mut conn, "a.app_id = ?", (id,)).await
        });
        let row = rows.await?.into_iter().find(|row| row.app_id == id);
        Ok(row.map(|row| self.shared.app_row(&row)))
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let count = patiently(async {
            let mut conn = self.database.conn().await?;
            let sql = "SELECT COUNT(*), (SELECT COUNT(*) FROM rp_apps WHERE removed_at IS NULL) FROM reverb_apps";
            // Where all are gone that were several, they may come back: nobody shall make a first app then.
            Ok(match conn.query_first(sql).await?.unwrap_or_default() {
                (0, known) if known > 1 => known,
                (count, _) => count,
            })
        });
        Ok(count.await?)
    }

    async fn create(&self, mut app: App) -> Result<Arc<App>, EditError> {
        app.revision = self.edit(Edit::Create(&app)).await?;
        app.enforce_max_connections = true;
        Ok(self.shared.interned.put(app))
    }

    async fn save(&self, mut app: App) -> Result<Arc<App>, EditError> {
        app.revision = self.edit(Edit::Save(&app)).await?;
        app.enforce_max_connections = true;
        Ok(self.shared.interned.put(app))
    }

    async fn remove(&self, id: &str) -> Result<(), EditError> {
        self.edit(Edit::Remove(id)).await.map(|_| ())
    }

    async fn seal_secrets(&self, dry_run: bool) -> Result<u64, EditError> {
        let (mut after, mut sealed) = (0, 0);
        loop {
            let rows = patiently(async {
                let mut conn = self.database.conn().await?;
                let clause = "a.id > ? ORDER BY a.id LIMIT ?";
                self.select(&mut conn, clause, (after, PAGE)).await
            });
            let rows = rows.await?;
            let Some(last) = rows.last() else {
                if let (Secrets::Sealed(keyring), false) = (&self.shared.secrets, dry_run) {
                    let said = patiently(async {
                        let mut conn = self.database.conn().await?;
                        let say = "REPLACE INTO rp_key VALUES (1, ?)";
                        Ok(conn.exec_drop(say, (keyring.current_id(),)).await?)
                    });
                    said.await?;
                }
                return Ok(sealed);
            };
            after = last.row_id;
            for row in rows {
                if row.is_kept_otherwise(&self.shared.secrets) {
                    sealed += 1;
                    if !dry_run {
                        self.edit(Edit::Seal(row.row_id)).await?;
                    }
                }
            }
        }
    }

    async fn announce_all(&self) -> Result<(), StoreError> {
        let announced = patiently(async {
            let mut conn = self.database.conn().await?;
            // So many changes that nobody remembers them all.
            let jump = "UPDATE rp_revision SET n = n + ? WHERE one = 1";
            Ok(conn.exec_drop(jump, (REMEMBERED + 1,)).await?)
        });
        Ok(announced.await?)
    }

    async fn record_use(&self, used: &[SecretUse]) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        let recorded = patiently(async {
            let mut conn = self.database.conn().await?;
            for used in used {
                let id = used.app.as_str();
                let rows = self.select(&mut conn, "a.app_id = ?", (id,)).await?;
                let Some(row) = rows.iter().find(|row| row.app_id == id) else {
                    continue;
                };
                let Ok(app) = self.shared.listed(row) else {
                    continue;
                };
                // Of several nodes the latest time counts, and none for a secret that has been replaced meanwhile.
                let now = LastUse::default().after(&app, used);
                let sql = "UPDATE rp_apps SET
                    secret_used = NULLIF(GREATEST(IFNULL(secret_used, 0), ?), 0),
                    old_secret_used = NULLIF(GREATEST(IFNULL(old_secret_used, 0), ?), 0)
                    WHERE row_id = ? AND revision = ?";
                let times = (now.secret.unwrap_or(0), now.old_secret.unwrap_or(0));
                conn.exec_drop(sql, (times.0, times.1, row.row_id, row.revision))
                    .await?;
            }
            Ok(())
        });
        Ok(recorded.await?)
    }
}

/// The largest number that SQL takes here.
fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
