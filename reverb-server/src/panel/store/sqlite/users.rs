//! Users in SQLite.

use reverb_sqlite::rusqlite::{self, Connection, OptionalExtension, Row, named_params};

use super::{Failed, number, text, whole};
use crate::panel::store::{NewUser, PanelError, PasswordHash, User, UserChange, limit};

pub(super) fn list(
    connection: &Connection,
    after: u64,
    most: usize,
) -> rusqlite::Result<Vec<User>> {
    let sql = "SELECT * FROM panel_users WHERE id > ? ORDER BY id LIMIT ?";
    let mut list = connection.prepare_cached(sql)?;
    list.query_map((number(after), limit(most)), user)?
        .collect()
}

pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let count = "SELECT count(*) AS n FROM panel_users";
    connection.query_row(count, (), |row| whole(row, "n"))
}

pub(super) fn find(connection: &Connection, id: u64) -> rusqlite::Result<Option<User>> {
    let sql = "SELECT * FROM panel_users WHERE id = ?";
    let mut find = connection.prepare_cached(sql)?;
    find.query_row([number(id)], user).optional()
}

pub(super) fn find_by_email(
    connection: &Connection,
    email: &str,
) -> rusqlite::Result<Option<User>> {
    let sql = "SELECT * FROM panel_users WHERE email = ?";
    let mut find = connection.prepare_cached(sql)?;
    find.query_row([email], user).optional()
}

pub(super) fn create(connection: &Connection, user: &NewUser, now: u64) -> Result<User, Failed> {
    let sql = "INSERT INTO panel_users (name, email, verified_at, active, password_hash, created, updated)
               VALUES (:name, :email, :verified, :active, :password, :now, :now) ON CONFLICT (email) DO NOTHING";
    let made = connection.prepare_cached(sql)?.execute(named_params! {
        ":name": user.name,
        ":email": user.email,
        ":verified": user.verified.then_some(number(now)),
        ":active": user.active,
        ":password": user.password.reveal(),
        ":now": number(now),
    })?;
    if made == 0 {
        return Err(PanelError::Taken(user.email.clone()).into());
    }
    let id = connection.last_insert_rowid();
    Ok(find(connection, id as u64)?.ok_or(PanelError::Missing)?)
}

pub(super) fn update(
    connection: &Connection,
    id: u64,
    change: &UserChange,
    now: u64,
) -> Result<User, Failed> {
    let user = find(connection, id)?.ok_or(PanelError::Missing)?;
    let after = change.apply(&user, now)?;
    if user.active && !after.active {
        refuse_last(connection, &user)?;
    }
    let other = find_by_email(connection, &after.email)?;
    if other.is_some_and(|other| other.id != id) {
        return Err(PanelError::Taken(after.email).into());
    }
    let sql = "UPDATE panel_users SET name = :name, email = :email, verified_at = :verified, active = :active, updated = :now
               WHERE id = :id";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":name": after.name,
        ":email": after.email,
        ":verified": after.verified_at.map(number),
        ":active": after.active,
        ":now": number(now),
        ":id": number(id),
    })?;
    Ok(after)
}

pub(super) fn set_password(
    connection: &Connection,
    id: u64,
    password: &PasswordHash,
    now: u64,
) -> Result<(), Failed> {
    let sql = "UPDATE panel_users SET password_hash = ?, updated = ? WHERE id = ?";
    let mut set = connection.prepare_cached(sql)?;
    match set.execute((password.reveal(), number(now), number(id)))? {
        0 => Err(PanelError::Missing.into()),
        _ => Ok(()),
    }
}

pub(super) fn remove(connection: &Connection, id: u64) -> Result<User, Failed> {
    let user = find(connection, id)?.ok_or(PanelError::Missing)?;
    if user.active {
        refuse_last(connection, &user)?;
    }
    connection.execute("DELETE FROM panel_users WHERE id = ?", [number(id)])?;
    Ok(user)
}

/// Nobody else writes meanwhile.
fn refuse_last(connection: &Connection, user: &User) -> Result<(), Failed> {
    let sql = "SELECT 1 FROM panel_users WHERE active <> 0 AND id <> ?";
    let mut other = connection.prepare_cached(sql)?;
    match other.exists([number(user.id)])? {
        true => Ok(()),
        false => Err(PanelError::LastActive(user.email.clone()).into()),
    }
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let time = |column| row.get::<_, Option<i64>>(column);
    Ok(User {
        id: whole(row, "id")?,
        name: text(row, "name")?,
        email: text(row, "email")?,
        verified_at: time("verified_at")?.map(|time| time.max(0) as u64),
        active: row.get::<_, i64>("active")? != 0,
        password: PasswordHash::stored(text(row, "password_hash")?),
        created: Some(whole(row, "created")?),
        updated: Some(whole(row, "updated")?),
    })
}
