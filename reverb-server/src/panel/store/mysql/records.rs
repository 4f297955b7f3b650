//! The audit log and chores in MySQL.

use reverb_mysql::mysql_async::prelude::Queryable;
use reverb_mysql::mysql_async::{Conn, Row, params};

use super::{Failed, row};
use crate::panel::store::{AHEAD, Entry, NewEntry, limit};

pub(super) async fn note(conn: &mut impl Queryable, entry: &NewEntry) -> Result<(), Failed> {
    let entry = entry.checked()?;
    let sql = "INSERT INTO rp_panel_audit (at, actor_id, actor, ip, action, subject, details)
               VALUES (:at, :actor_id, :actor, :ip, :action, :subject, :details)";
    let values = params! {
        "at" => entry.at,
        "actor_id" => entry.actor_id,
        "actor" => &entry.actor,
        "ip" => entry.ip.map(|ip| ip.to_string()),
        "action" => &entry.action,
        "subject" => &entry.subject,
        "details" => &entry.details,
    };
    Ok(conn.exec_drop(sql, values).await?)
}

pub(super) async fn entries(
    conn: &mut Conn,
    before: Option<u64>,
    most: usize,
) -> Result<Vec<Entry>, Failed> {
    let sql = "SELECT * FROM rp_panel_audit WHERE id < ? ORDER BY id DESC LIMIT ?";
    let rows: Vec<Row> = conn
        .exec(sql, (before.unwrap_or(u64::MAX), limit(most)))
        .await?;
    Ok(rows.into_iter().map(entry).collect())
}

fn entry(mut row: Row) -> Entry {
    let row = &mut row;
    Entry {
        id: row::number(row, "id").unwrap_or_default(),
        entry: NewEntry {
            at: row::number(row, "at").unwrap_or_default(),
            actor_id: row::number(row, "actor_id"),
            actor: row::text(row, "actor"),
            ip: row::text(row, "ip").parse().ok(),
            action: row::text(row, "action"),
            subject: row::text(row, "subject"),
            details: row::text(row, "details"),
        },
    }
}

/// The newest entry behind so many, which goes with all before it.
pub(super) async fn last_to_go(conn: &mut Conn, most: u64) -> Result<u64, Failed> {
    let sql = "SELECT id FROM rp_panel_audit ORDER BY id DESC LIMIT 1 OFFSET ?";
    let last: Option<u64> = conn
        .exec_first(sql, (i64::try_from(most).unwrap_or(i64::MAX),))
        .await?;
    Ok(last.unwrap_or_default())
}

/// Of those who ask at once the row lets one through after the other; the time in it is then a new one. The time of a statement
/// is when it began, and it may have waited since.
pub(super) async fn claim(conn: &mut Conn, chore: &str, every: u64) -> Result<bool, Failed> {
    let again = "UPDATE rp_panel_chores SET at = UNIX_TIMESTAMP()
                 WHERE name = ? AND (at + ? <= UNIX_TIMESTAMP() OR at > UNIX_TIMESTAMP() + ?)";
    let every = i64::try_from(every).unwrap_or(i64::MAX);
    conn.exec_drop(again, (chore, every, AHEAD)).await?;
    if conn.affected_rows() == 1 {
        return Ok(true);
    }
    let first = "INSERT IGNORE INTO rp_panel_chores VALUES (?, UNIX_TIMESTAMP())";
    conn.exec_drop(first, (chore,)).await?;
    Ok(conn.affected_rows() == 1)
}
