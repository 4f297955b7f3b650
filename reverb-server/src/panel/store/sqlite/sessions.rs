//! Sessions in SQLite.

use reverb_sqlite::rusqlite::{self, Connection, OptionalExtension, Row, named_params};

use super::{Failed, number, text, users, whole};
use crate::panel::store::session;
use crate::panel::store::{
    NewSession, PanelError, PasswordHash, SESSIONS, SLICE, Session, SessionKey, User, limit,
};

pub(super) fn create(
    connection: &Connection,
    session: &NewSession,
    now: u64,
) -> Result<(), Failed> {
    let user = users::find(connection, session.user)?.ok_or(PanelError::Missing)?;
    let sql = "INSERT INTO panel_sessions (id, user_id, password_mark, ip, user_agent, created, seen, data)
               VALUES (:id, :user, :mark, :ip, :user_agent, :now, :now, :data)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": session.key.bytes(),
        ":user": number(session.user),
        ":mark": session::mark(&user.password),
        ":ip": session.ip.map(|ip| ip.to_string()),
        ":user_agent": session.user_agent,
        ":now": number(now),
        ":data": session.data,
    })?;
    let sql = "DELETE FROM panel_sessions WHERE id IN (SELECT id FROM panel_sessions WHERE user_id = ?1 AND id <> ?2
               ORDER BY seen DESC LIMIT -1 OFFSET ?3)";
    let others = limit(SESSIONS - 1);
    let mut forget = connection.prepare_cached(sql)?;
    forget.execute((number(session.user), session.key.bytes(), others))?;
    Ok(())
}

pub(super) fn find(
    connection: &Connection,
    key: SessionKey,
) -> rusqlite::Result<Option<(Session, User)>> {
    let mut find = connection.prepare_cached("SELECT * FROM panel_sessions WHERE id = ?")?;
    let found = find.query_row([key.bytes()], marked).optional()?;
    let Some((Some(session), mark)) = found else {
        return Ok(None);
    };
    let user = users::find(connection, session.user)?;
    let user = user.filter(|user| mark == session::mark(&user.password));
    Ok(user.map(|user| (session, user)))
}

pub(super) fn of(connection: &Connection, user: u64) -> rusqlite::Result<Vec<Session>> {
    let Some(user) = users::find(connection, user)? else {
        return Ok(Vec::new());
    };
    let now = session::mark(&user.password);
    let sql = "SELECT * FROM panel_sessions WHERE user_id = ? ORDER BY seen DESC";
    let mut all = connection.prepare_cached(sql)?;
    let all = all.query_map([number(user.id)], marked)?;
    let all = all.filter_map(|row| match row {
        Ok((session, mark)) => session.filter(|_| mark == now).map(Ok),
        Err(error) => Some(Err(error)),
    });
    all.collect()
}

/// Ends those of a user, but this one.
pub(super) fn remove_all(
    connection: &Connection,
    user: u64,
    keep: Option<SessionKey>,
) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM panel_sessions WHERE user_id = ? AND id IS NOT ?";
    let keep = keep.as_ref().map(SessionKey::bytes);
    let removed = connection
        .prepare_cached(sql)?
        .execute((number(user), keep))?;
    Ok(removed as u64)
}

/// Lets a session go on with another password.
pub(super) fn mark(
    connection: &Connection,
    user: u64,
    key: Option<SessionKey>,
    password: &PasswordHash,
) -> rusqlite::Result<()> {
    let sql = "UPDATE panel_sessions SET password_mark = ? WHERE user_id = ? AND id IS ?";
    let key = key.as_ref().map(SessionKey::bytes);
    connection.execute(sql, (session::mark(password), number(user), key))?;
    Ok(())
}

/// Removes some of those that were not seen since.
pub(super) fn sweep(connection: &Connection, seen: i64) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM panel_sessions WHERE id IN (SELECT id FROM panel_sessions WHERE seen <= ? LIMIT ?)";
    connection.execute(sql, (seen, limit(SLICE)))
}

/// A session, and the mark of the password with which it began. `None` is a row that is none.
fn marked(row: &Row<'_>) -> rusqlite::Result<(Option<Session>, Vec<u8>)> {
    let Some(key) = SessionKey::from_bytes(row.get_ref("id")?.as_bytes()?) else {
        return Ok((None, Vec::new()));
    };
    let session = Session {
        key,
        user: whole(row, "user_id")?,
        ip: text(row, "ip")?.parse().ok(),
        user_agent: text(row, "user_agent")?,
        data: text(row, "data")?,
        created: whole(row, "created")?,
        seen: whole(row, "seen")?,
    };
    Ok((Some(session), row.get("password_mark")?))
}
