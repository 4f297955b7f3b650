//! Edits that others have made in `reverb_apps`, a panel or somebody with SQL: they are found by the hash of each row, and
//! numbered like our own.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Transaction, TxOpts};

use crate::database::Failed;
use crate::row::{AppColumns, COLUMNS, FROM, HASH};
use crate::secrets::Secrets;

/// Of so many changes removals are remembered.
pub(crate) const REMEMBERED: u64 = 10_000;

/// What a table looked like at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    rows: u64,
    xor: u64,
    sum: u64,
}

/// Glances at the table: a tenth of what hashing each row takes, so that it can be done twice a second. What has changed
/// has another checksum of 32 bits, but once in four thousand million times; who looks such an app up finds the change.
pub(crate) async fn glance(conn: &mut Conn) -> Result<Option<Glance>, Failed> {
    let checksum = "CRC32(CONCAT_WS(':', id, LENGTH(name), name, LENGTH(app_id), app_id, app_key, app_secret, is_active, \
                    max_connections, description IS NULL, description, allowed_origins IS NULL, allowed_origins))";
    let sql = format!(
        "SELECT COUNT(*), IFNULL(BIT_XOR({checksum}), 0), CAST(IFNULL(SUM({checksum}), 0) AS UNSIGNED) FROM reverb_apps"
    );
    let glance: Option<(u64, u64, u64)> = conn.query_first(sql).await?;
    Ok(glance.map(|(rows, xor, sum)| Glance { rows, xor, sum }))
}

/// So many rows are dealt with in one transaction: each takes some round trips, and nobody changes an app meanwhile.
const PAGE: usize = 200;

/// What becomes of apps that are gone from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// They count as removed.
    Removed,
    /// That is not for this caller to say, who may not know whether they come back.
    Left,
}

/// Numbers what others have changed since anybody looked. Any node may do it; one does. What is done when it is broken off
/// stays done.
pub(crate) async fn adopt(conn: &mut Conn, secrets: &Secrets, gone: Gone) -> Result<(), Failed> {
    if !is_something_new(conn).await? {
        return Ok(());
    }
    loop {
        let mut transaction = conn.start_transaction(TxOpts::default()).await?;
        let mut revision = lock(&mut transaction).await?;
        let removed = match gone {
            Gone::Removed => forget_removed(&mut transaction, &mut revision).await?,
            Gone::Left => 0,
        };
        let sql = format!("SELECT a.id FROM {FROM} WHERE x.hash <> {HASH} LIMIT {PAGE}");
        let changed: Vec<u64> = transaction.query(sql).await?;
        for row_id in &changed {
            adopt_row(&mut transaction, &mut revision, *row_id, secrets).await?;
        }
        take_in_new(&mut transaction, &mut revision).await?;
        unlock(&mut transaction, revision).await?;
        transaction.commit().await?;
        if removed.max(changed.len()) < PAGE {
            return Ok(());
        }
    }
}

/// The same for these rows alone.
pub(crate) async fn adopt_rows(
    conn: &mut Conn,
    rows: &[u64],
    secrets: &Secrets,
) -> Result<(), Failed> {
    let mut transaction = conn.start_transaction(TxOpts::default()).await?;
    let mut revision = lock(&mut transaction).await?;
    for row_id in rows {
        let sql = format!("SELECT 1 FROM {FROM} WHERE a.id = ? AND x.hash = {HASH}");
        let is_done: Option<u8> = transaction.exec_first(sql, (row_id,)).await?;
        if is_done.is_none() {
            adopt_row(&mut transaction, &mut revision, *row_id, secrets).await?;
        }
    }
    unlock(&mut transaction, revision).await?;
    Ok(transaction.commit().await?)
}

/// Takes the revision, and with it the right to change apps: nobody else has it until the transaction ends. So
/// numbers are given in the order in which changes become visible.
pub(crate) async fn lock(transaction: &mut Transaction<'_>) -> Result<u64, Failed> {
    let revision = transaction.query_first("SELECT n FROM rp_revision WHERE one = 1 FOR UPDATE");
    Ok(revision.await?.unwrap_or_default())
}

pub(crate) async fn unlock(transaction: &mut Transaction<'_>, revision: u64) -> Result<(), Failed> {
    let set = "UPDATE rp_revision SET n = ? WHERE one = 1";
    Ok(transaction.exec_drop(set, (revision,)).await?)
}

async fn is_something_new(conn: &mut Conn) -> Result<bool, Failed> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {FROM} WHERE x.row_id IS NULL OR x.hash <> {HASH})
             OR EXISTS (SELECT 1 FROM rp_apps x LEFT JOIN reverb_apps a ON a.id = x.row_id
                        WHERE a.id IS NULL AND x.removed_at IS NULL)"
    );
    let is_new: Option<bool> = conn.query_first(sql).await?;
    Ok(is_new == Some(true))
}

/// What stood beside a row that has gone is kept for a week, without counting: a table may be emptied and filled again from
/// a dump. Its hash is that of no row, so that it is one that has changed if it comes back.
async fn forget_removed(
    transaction: &mut Transaction<'_>,
    revision: &mut u64,
) -> Result<usize, Failed> {
    let purge = "DELETE FROM rp_apps WHERE removed_at < UTC_TIMESTAMP() - INTERVAL 7 DAY";
    transaction.query_drop(purge).await?;
    let sql = format!(
        "SELECT x.row_id, x.app_id FROM rp_apps x LEFT JOIN reverb_apps a ON a.id = x.row_id
         WHERE a.id IS NULL AND x.removed_at IS NULL LIMIT {PAGE}"
    );
    let removed: Vec<(u64, String)> = transaction.query(sql).await?;
    for (row_id, app_id) in &removed {
        *revision += 1;
        note_removed(transaction, *revision, app_id).await?;
        let mark = "UPDATE rp_apps SET removed_at = UTC_TIMESTAMP(), hash = '' WHERE row_id = ?";
        transaction.exec_drop(mark, (row_id,)).await?;
    }
    Ok(removed.len())
}

pub(crate) async fn note_removed(
    transaction: &mut Transaction<'_>,
    revision: u64,
    app_id: &str,
) -> Result<(), Failed> {
    let note = "REPLACE INTO rp_removed_apps (app_id, revision) VALUES (?, ?)";
    transaction.exec_drop(note, (app_id, revision)).await?;
    let forget = "DELETE FROM rp_removed_apps WHERE revision < ?";
    let oldest = revision.saturating_sub(REMEMBERED);
    Ok(transaction.exec_drop(forget, (oldest,)).await?)
}

/// All of them with one number: a table of the PHP product that is opened for the first time has nothing else.
async fn take_in_new(transaction: &mut Transaction<'_>, revision: &mut u64) -> Result<(), Failed> {
    let insert = format!(
        "INSERT INTO rp_apps (row_id, app_id, hash, secret, revision)
         SELECT a.id, a.app_id, {HASH}, a.app_secret, ? FROM {FROM} WHERE x.row_id IS NULL"
    );
    transaction.exec_drop(insert, (*revision + 1,)).await?;
    if transaction.affected_rows() > 0 {
        *revision += 1;
        let back = "DELETE r FROM rp_removed_apps r JOIN reverb_apps a ON a.app_id = r.app_id";
        transaction.query_drop(back).await?;
    }
    Ok(())
}

async fn adopt_row(
    transaction: &mut Transaction<'_>,
    revision: &mut u64,
    row_id: u64,
    secrets: &Secrets,
) -> Result<(), Failed> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE a.id = ? FOR UPDATE");
    let Some(row) = transaction.exec_first(sql, (row_id,)).await? else {
        return Ok(());
    };
    let row = AppColumns::take(row);
    *revision += 1;
    let seen = transaction.exec_first("SELECT app_id FROM rp_apps WHERE row_id = ?", (row_id,));
    let seen: Option<String> = seen.await?;
    let other_id = seen.filter(|seen| *seen != row.app_id);
    if let Some(before) = &other_id {
        note_removed(transaction, *revision, before).await?;
    }
    if !is_same_secret(&row, secrets) {
        // Replaced without overlap, as whoever has done it expects.
        let forget =
            "UPDATE rp_apps SET old_secret = NULL, old_secret_until = NULL, old_secret_used = NULL,
                          secret_used = NULL WHERE row_id = ?";
        transaction.exec_drop(forget, (row_id,)).await?;
        if other_id.is_some() {
            // Older servers give the number of a removed row to the next one: this is another app.
            let forget = "UPDATE rp_apps SET settings = NULL, unlimited_at = NULL, edited_here = 0 WHERE row_id = ?";
            transaction.exec_drop(forget, (row_id,)).await?;
        }
    }
    see(transaction, *revision, row_id).await
}

/// Whether the secret is still the one that was seen last, perhaps encrypted anew.
fn is_same_secret(row: &AppColumns, secrets: &Secrets) -> bool {
    row.seen_secret.as_ref().is_some_and(|seen| {
        let read = |stored: &str| secrets.read(&row.app_id, stored);
        *seen == row.app_secret
            || matches!((read(seen), read(&row.app_secret)), (Ok(seen), Ok(now)) if seen == now)
    })
}

/// Notes that this row is known as it is now.
pub(crate) async fn see(
    transaction: &mut Transaction<'_>,
    revision: u64,
    row_id: u64,
) -> Result<(), Failed> {
    let note = format!(
        "INSERT INTO rp_apps (row_id, app_id, hash, secret, revision)
         SELECT a.id, a.app_id, {HASH}, a.app_secret, ? FROM reverb_apps a WHERE a.id = ?
         ON DUPLICATE KEY UPDATE app_id = VALUES(app_id), hash = VALUES(hash), secret = VALUES(secret),
             revision = VALUES(revision), removed_at = NULL"
    );
    transaction.exec_drop(note, (revision, row_id)).await?;
    let back =
        "DELETE r FROM rp_removed_apps r JOIN reverb_apps a ON a.app_id = r.app_id WHERE a.id = ?";
    Ok(transaction.exec_drop(back, (row_id,)).await?)
}
