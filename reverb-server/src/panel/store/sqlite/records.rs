//! Settings, the audit log and chores in SQLite.

use std::collections::BTreeMap;
use std::time::Duration;

use reverb_sqlite::rusqlite::{self, Connection, OptionalExtension, Row, named_params};

use super::{Failed, number, text, whole};
use crate::panel::store::{AHEAD, Entry, NewEntry, SLICE, limit};

pub(super) fn setting(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM panel_settings WHERE name = ?";
    let mut find = connection.prepare_cached(sql)?;
    find.query_row([name], |row| text(row, "value")).optional()
}

pub(super) fn settings(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut all = connection.prepare_cached("SELECT name, value FROM panel_settings")?;
    let all = all.query_map((), |row| Ok((text(row, "name")?, text(row, "value")?)))?;
    all.collect()
}

pub(super) fn note(connection: &Connection, entry: &NewEntry) -> Result<(), Failed> {
    let entry = entry.checked()?;
    let sql = "INSERT INTO panel_audit (at, actor_id, actor, ip, action, subject, details)
               VALUES (:at, :actor_id, :actor, :ip, :action, :subject, :details)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":at": number(entry.at),
        ":actor_id": entry.actor_id.map(number),
        ":actor": entry.actor,
        ":ip": entry.ip.map(|ip| ip.to_string()),
        ":action": entry.action,
        ":subject": entry.subject,
        ":details": entry.details,
    })?;
    Ok(())
}

pub(super) fn entries(
    connection: &Connection,
    before: Option<u64>,
    most: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let sql = "SELECT * FROM panel_audit WHERE id < ? ORDER BY id DESC LIMIT ?";
    let before = number(before.unwrap_or(u64::MAX));
    let mut list = connection.prepare_cached(sql)?;
    list.query_map((before, limit(most)), entry)?.collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let actor_id: Option<i64> = row.get("actor_id")?;
    Ok(Entry {
        id: whole(row, "id")?,
        entry: NewEntry {
            at: whole(row, "at")?,
            actor_id: actor_id.map(|id| id.max(0) as u64),
            actor: text(row, "actor")?,
            ip: text(row, "ip")?.parse().ok(),
            action: text(row, "action")?,
            subject: text(row, "subject")?,
            details: text(row, "details")?,
        },
    })
}

/// The newest entry behind so many, which goes with all before it.
pub(super) fn last_to_go(connection: &Connection, most: u64) -> rusqlite::Result<i64> {
    let sql = "SELECT id FROM panel_audit ORDER BY id DESC LIMIT 1 OFFSET ?";
    let last = connection.query_row(sql, [number(most)], |row| row.get(0));
    Ok(last.optional()?.unwrap_or_default())
}

/// Removes some that were noted until then, or that are too many.
pub(super) fn sweep(connection: &Connection, at: i64, last: i64) -> rusqlite::Result<usize> {
    let sql =
        "DELETE FROM panel_audit WHERE id IN (SELECT id FROM panel_audit WHERE id <= ?1 LIMIT ?3)
                  OR id IN (SELECT id FROM panel_audit WHERE at <= ?2 LIMIT ?3)";
    connection.execute(sql, (last, at, limit(SLICE)))
}

/// Nobody else writes meanwhile, and the clock is that of the machine, which all who have the file open are on.
pub(super) fn claim(
    connection: &Connection,
    chore: &str,
    every: Duration,
) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO panel_chores (name, at) VALUES (?1, unixepoch()) ON CONFLICT (name) DO UPDATE SET at = unixepoch()
               WHERE at <= unixepoch() - ?2 OR at > unixepoch() + ?3";
    let claimed = connection.execute(sql, (chore, number(every.as_secs()), number(AHEAD)))?;
    Ok(claimed > 0)
}
