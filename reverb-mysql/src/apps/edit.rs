//! [`Edit`]: a change of an app, in both tables at once.

use mysql_async::prelude::Queryable;
use mysql_async::{Row, Transaction, TxOpts};
use reverb_core::app_store::{CorruptApp, EditError, LastUse, StoreError};
use reverb_core::protocol::App;

use crate::database::{Failed, patiently};
use crate::kept::{Kept, check_room};
use crate::row::{AppColumns, COLUMNS, FROM, HASH};
use crate::secrets::Secrets;
use crate::{MySql, adopt};

use super::MySqlApps;

/// So often an edit is tried that the database has broken off for another one.
const ATTEMPTS: usize = 3;

/// A change of an app.
#[derive(Clone, Copy)]
pub(super) enum Edit<'a> {
    Create(&'a App),
    Save(&'a App),
    Remove(&'a str),
    Seal(u64),
}

impl<'a> Edit<'a> {
    fn app(self) -> Option<&'a App> {
        match self {
            Self::Create(app) | Self::Save(app) => Some(app),
            Self::Remove(_) | Self::Seal(_) => None,
        }
    }
}

/// What `created_at` and `updated_at` are set to.
const NOW: &str = "UTC_TIMESTAMP()";
/// The same in the hour that summer time leaves out.
const LATER: &str = "UTC_TIMESTAMP() + INTERVAL 1 HOUR";

impl MySqlApps {
    /// Changes an app; returns the number of the change.
    pub(super) async fn edit(&self, edit: Edit<'_>) -> Result<u64, EditError> {
        let (mut attempt, mut now) = (1, NOW);
        loop {
            match patiently(self.edit_once(edit, now)).await {
                Err(Failed::Database(error)) if MySql::is_passing(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(Failed::Database(error)) if MySql::has_no_such_time(&error) && now == NOW => {
                    now = LATER;
                }
                Err(Failed::Database(error)) => {
                    let taken = edit.app().and_then(|app| taken(&error, app));
                    return Err(taken.unwrap_or_else(|| Failed::Database(error).into()));
                }
                edited => return Ok(edited?),
            }
        }
    }

    async fn edit_once(&self, edit: Edit<'_>, now: &str) -> Result<u64, Failed> {
        let mut conn = self.database.conn().await?;
        let mut transaction = conn.start_transaction(TxOpts::default()).await?;
        let revision = adopt::lock(&mut transaction).await? + 1;
        match edit {
            Edit::Create(app) => self.insert(&mut transaction, app, revision, now).await?,
            Edit::Save(app) => self.update(&mut transaction, app, revision, now).await?,
            Edit::Remove(id) => remove(&mut transaction, id, revision).await?,
            Edit::Seal(row_id) => {
                seal(&mut transaction, row_id, revision, &self.shared.secrets).await?
            }
        }
        adopt::unlock(&mut transaction, revision).await?;
        transaction.commit().await?;
        Ok(revision)
    }
    async fn insert(
        &self,
        transaction: &mut Transaction<'_>,
        app: &App,
        revision: u64,
        now: &str,
    ) -> Result<(), Failed> {
        let insert = format!(
            "INSERT INTO reverb_apps
             (name, app_id, app_key, app_secret, description, is_active, max_connections, allowed_origins, created_at, updated_at)
             VALUES (:name, :id, :key, :secret, :description, :active, :max, :origins, {now}, {now})"
        );
        let kept = Kept::of(app, None, &self.shared.secrets)?;
        is_free(transaction, "id", app.id.as_str(), 0).await?;
        is_free(transaction, "key", app.key.as_str(), 0).await?;
        kept.check_room(transaction).await?;
        transaction.exec_drop(insert, kept.columns(app)).await?;
        let row_id = transaction.last_insert_id().unwrap_or_default();
        adopt::see(transaction, revision, row_id).await?;
        kept.write_beside(transaction, row_id, LastUse::default())
            .await
    }

    async fn update(
        &self,
        transaction: &mut Transaction<'_>,
        app: &App,
        revision: u64,
        now: &str,
    ) -> Result<(), Failed> {
        let update = format!(
            "UPDATE reverb_apps SET name = :name, app_key = :key, app_secret = :secret,
             description = :description, is_active = :active, max_connections = :max, allowed_origins = :origins,
             updated_at = {now} WHERE app_id = :id"
        );
        let (row, before) = self.lock_row(transaction, app.id.as_str()).await?;
        if row.revision != app.revision {
            return Err(Failed::Refused(EditError::Outdated {
                id: app.id.to_string(),
                read: app.revision,
                now: row.revision,
            }));
        }
        is_free(transaction, "key", app.key.as_str(), row.row_id).await?;
        let kept = Kept::of(app, Some((&row, &before)), &self.shared.secrets)?;
        kept.check_room(transaction).await?;
        transaction.exec_drop(update, kept.columns(app)).await?;
        adopt::see(transaction, revision, row.row_id).await?;
        let used = row.used.carried_over(&before, app);
        kept.write_beside(transaction, row.row_id, used).await
    }

    /// The row of this app, and the app in it, which nobody else changes until the transaction ends.
    async fn lock_row(
        &self,
        transaction: &mut Transaction<'_>,
        id: &str,
    ) -> Result<(AppColumns, App), Failed> {
        let sql = format!(
            "SELECT {COLUMNS}, x.hash <=> {HASH} AS is_seen FROM {FROM} WHERE a.app_id = ? FOR UPDATE"
        );
        let rows: Vec<Row> = transaction.exec(sql, (id,)).await?;
        let rows = rows
            .into_iter()
            .map(|row| (row.get("is_seen") == Some(true), AppColumns::take(row)));
        let found = rows.into_iter().find(|(_, row)| row.app_id == id);
        let (is_seen, mut row) = found.ok_or_else(|| EditError::Missing(id.to_owned()))?;
        if !is_seen {
            // Changed by somebody else in this very moment: it will have another number.
            row.revision += 1;
        }
        let app = row.app(&self.shared.secrets, self.shared.enforce);
        let app = app.map_err(|corrupt: CorruptApp| StoreError::from(corrupt))?;
        Ok((row, app))
    }
}

/// Writes anew those secrets of a row that can be opened and are kept otherwise. Whatever else is wrong with it does not matter.
async fn seal(
    transaction: &mut Transaction<'_>,
    row_id: u64,
    revision: u64,
    secrets: &Secrets,
) -> Result<(), Failed> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE a.id = ? AND x.hash = {HASH} FOR UPDATE");
    // One that has gone, or was changed meanwhile, is somebody else's business now.
    let Some(row) = transaction.exec_first(sql, (row_id,)).await? else {
        return Ok(());
    };
    let row = AppColumns::take(row);
    let anew = |stored: &str| match secrets.is_current(stored) {
        true => None,
        false => Some(secrets.write(&row.app_id, &secrets.read(&row.app_id, stored).ok()?)),
    };
    if let Some(secret) = anew(&row.app_secret) {
        check_room(transaction, &secret).await?;
        let sql = "UPDATE reverb_apps SET app_secret = ? WHERE id = ?";
        transaction.exec_drop(sql, (secret, row_id)).await?;
    }
    if let Some(old) = row.old_secret.as_deref().and_then(anew) {
        let sql = "UPDATE rp_apps SET old_secret = ? WHERE row_id = ?";
        transaction.exec_drop(sql, (old, row_id)).await?;
    }
    adopt::see(transaction, revision, row_id).await
}

async fn remove(transaction: &mut Transaction<'_>, id: &str, revision: u64) -> Result<(), Failed> {
    let row_id = "SELECT id FROM reverb_apps WHERE app_id = ? AND CAST(app_id AS BINARY) = CAST(? AS BINARY)";
    let row_id: Option<u64> = transaction.exec_first(row_id, (id, id)).await?;
    let row_id = row_id.ok_or_else(|| EditError::Missing(id.to_owned()))?;
    transaction
        .exec_drop("DELETE FROM reverb_apps WHERE id = ?", (row_id,))
        .await?;
    transaction
        .exec_drop("DELETE FROM rp_apps WHERE row_id = ?", (row_id,))
        .await?;
    adopt::note_removed(transaction, revision, id).await
}

/// An id and a key belong to one app.
async fn is_free(
    transaction: &mut Transaction<'_>,
    field: &'static str,
    value: &str,
    row_id: u64,
) -> Result<(), Failed> {
    let sql =
        format!("SELECT EXISTS (SELECT 1 FROM reverb_apps WHERE app_{field} = ? AND id <> ?)");
    let is_taken: Option<bool> = transaction.exec_first(sql, (value, row_id)).await?;
    match is_taken {
        Some(true) => Err(Failed::Refused(EditError::Taken {
            field,
            value: value.to_owned(),
        })),
        _ => Ok(()),
    }
}

/// Somebody else has taken the id or the key in the very moment.
fn taken(error: &mysql_async::Error, app: &App) -> Option<EditError> {
    const DUPLICATE: u16 = 1062;
    let mysql_async::Error::Server(error) = error else {
        return None;
    };
    let (field, value) = match error.message.contains("app_key") {
        true => ("key", app.key.to_string()),
        false => ("id", app.id.to_string()),
    };
    (error.code == DUPLICATE).then_some(EditError::Taken { field, value })
}
