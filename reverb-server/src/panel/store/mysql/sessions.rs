//! Sessions in MySQL.

use reverb_mysql::mysql_async::prelude::Queryable;
use reverb_mysql::mysql_async::{Conn, Row, TxOpts, Value, params};

use super::{Failed, row};
use crate::panel::store::{NewSession, SESSIONS, Session, SessionKey, User, session};

/// Ends those of a user, but the one with this key; an empty one is nobody's.
pub(super) const REMOVE_ALL: &str = "DELETE FROM rp_panel_sessions WHERE user_id = ? AND id <> ?";

pub(super) async fn create(
    conn: &mut Conn,
    session: &NewSession,
    user: &User,
    now: u64,
) -> Result<(), Failed> {
    let mut transaction = conn.start_transaction(TxOpts::default()).await?;
    let sql = "INSERT INTO rp_panel_sessions (id, user_id, password_mark, ip, user_agent, created, seen, data)
               VALUES (:id, :user, :mark, :ip, :user_agent, :now, :now, :data)";
    let mark = session::mark(&user.password);
    let values = params! {
        "id" => session.key.bytes(),
        "user" => session.user,
        "mark" => &mark[..],
        "ip" => session.ip.map(|ip| ip.to_string()),
        "user_agent" => &session.user_agent,
        "now" => now,
        "data" => &session.data,
    };
    transaction.exec_drop(sql, values).await?;
    let count = "SELECT COUNT(*) FROM rp_panel_sessions WHERE user_id = ?";
    let count: Option<usize> = transaction.exec_first(count, (session.user,)).await?;
    if let Some(many) = count.and_then(|count| count.checked_sub(SESSIONS + 1)) {
        let forget =
            "DELETE FROM rp_panel_sessions WHERE user_id = ? AND id <> ? ORDER BY seen LIMIT ?";
        let values = (session.user, session.key.bytes(), many + 1);
        transaction.exec_drop(forget, values).await?;
    }
    Ok(transaction.commit().await?)
}

/// A session, and the mark of the password with which it began.
pub(super) async fn find(
    conn: &mut Conn,
    key: &SessionKey,
) -> Result<Option<(Session, Vec<u8>)>, Failed> {
    let sql = "SELECT * FROM rp_panel_sessions WHERE id = ?";
    let found: Option<Row> = conn.exec_first(sql, (key.bytes(),)).await?;
    Ok(found.and_then(marked))
}

pub(super) async fn of(conn: &mut Conn, user: &User) -> Result<Vec<Session>, Failed> {
    let sql = "SELECT * FROM rp_panel_sessions WHERE user_id = ? ORDER BY seen DESC";
    let rows: Vec<Row> = conn.exec(sql, (user.id,)).await?;
    let now = session::mark(&user.password);
    let sessions = rows.into_iter().filter_map(marked);
    Ok(sessions
        .filter(|(_, mark)| *mark == now)
        .map(|(session, _)| session)
        .collect())
}

fn marked(mut row: Row) -> Option<(Session, Vec<u8>)> {
    let row = &mut row;
    let mut bytes = |column: &str| match row.take(column)? {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    };
    let (key, mark) = (bytes("id")?, bytes("password_mark")?);
    let session = Session {
        key: SessionKey::from_bytes(&key)?,
        user: row::number(row, "user_id")?,
        ip: row::text(row, "ip").parse().ok(),
        user_agent: row::text(row, "user_agent"),
        data: row::text(row, "data"),
        created: row::number(row, "created")?,
        seen: row::number(row, "seen")?,
    };
    Some((session, mark))
}
