//! Users in MySQL: in our table, or in that of the PHP product.

use reverb_mysql::OpenError;
use reverb_mysql::mysql_async::prelude::Queryable;
use reverb_mysql::mysql_async::{Conn, Row, Transaction, TxOpts, Value, params};

use super::{Failed, records, row, sessions};
use crate::apps::random_alphanumerics;
use crate::panel::store::{
    NewEntry, NewUser, PanelError, PasswordHash, SessionKey, User, UserChange, limit, session,
};

/// Where the users are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    name: &'static str,
    pub(super) is_php: bool,
}

/// The server's error where such a column is not there.
const NO_COLUMN: u16 = 1054;
/// The same where a value is there already that may be there once.
const TAKEN: u16 = 1062;

/// Why it is not known where the users are.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(
        "the panel's users are those of the PHP product, but its table users has gone, or lacks id, name, email, password or \
         remember_token: put it back, or leave it for users of our own with UPDATE rp_panel_guard SET users_table = \
         'rp_panel_users'"
    )]
    Gone,
    #[error("users_table of rp_panel_guard is {0:?}: it must be users or rp_panel_users")]
    Other(String),
}

impl Table {
    const OURS: Self = Self {
        name: "rp_panel_users",
        is_php: false,
    };
    const PHP: Self = Self {
        name: "users",
        is_php: true,
    };

    /// What was decided when it was looked for first; see [`MySqlPanel`](super::MySqlPanel).
    pub(super) async fn find(conn: &mut Conn) -> Result<Self, OpenError> {
        let sql = "SELECT (SELECT users_table FROM rp_panel_guard WHERE one = 1),
                       (SELECT COUNT(*) FROM information_schema.columns
                           WHERE table_schema = DATABASE() AND table_name = 'users'
                               AND column_name IN ('id', 'name', 'email', 'password', 'remember_token')) = 5,
                       EXISTS (SELECT 1 FROM information_schema.columns
                           WHERE table_schema = DATABASE() AND table_name = 'reverb_apps'
                               AND column_name = 'app_id' AND collation_name <> 'utf8mb4_bin')";
        let seen: Option<(Option<String>, bool, bool)> = conn.query_first(sql).await?;
        let (decided, has_users, is_product) = seen.unwrap_or_default();
        let looks = match has_users && is_product {
            true => Self::PHP,
            false => Self::OURS,
        };
        let name = match decided {
            Some(name) => name,
            None => decide(conn, looks.name).await?,
        };
        let table = match name.as_str() {
            "users" if has_users => Self::PHP,
            "users" => return Err(OpenError::Own(Lost::Gone.into())),
            "rp_panel_users" => Self::OURS,
            _ => return Err(OpenError::Own(Lost::Other(name).into())),
        };
        if table.is_php != looks.is_php {
            table.warn(looks);
        }
        Ok(table)
    }

    /// It looks as if the users were in another one.
    fn warn(self, looks: Self) {
        let whether = match looks.is_php {
            true => "looks like",
            false => "does not look like",
        };
        tracing::warn!(
            "the panel's users stay in the table {}, as was decided at the first start, though this {whether} a database of the PHP \
             product now: if they shall be in {}, UPDATE rp_panel_guard SET users_table = '{}' and start every server anew",
            self.name,
            looks.name,
            looks.name
        );
    }

    pub(super) async fn list(
        &self,
        conn: &mut Conn,
        after: u64,
        most: usize,
    ) -> Result<Vec<User>, Failed> {
        let sql = format!(
            "SELECT * FROM {} WHERE id > ? ORDER BY id LIMIT ?",
            self.name
        );
        let rows: Vec<Row> = conn.exec(sql, (after, limit(most))).await?;
        Ok(rows.into_iter().map(user).collect())
    }

    pub(super) async fn count(&self, conn: &mut Conn) -> Result<u64, Failed> {
        let count = format!("SELECT COUNT(*) FROM {}", self.name);
        let count: Option<u64> = conn.query_first(count).await?;
        Ok(count.unwrap_or_default())
    }

    pub(super) async fn by_id(
        &self,
        conn: &mut impl Queryable,
        id: u64,
    ) -> Result<Option<User>, Failed> {
        let sql = format!("SELECT * FROM {} WHERE id = ?", self.name);
        let found: Option<Row> = conn.exec_first(sql, (id,)).await?;
        Ok(found.map(user))
    }

    pub(super) async fn by_email(
        &self,
        conn: &mut Conn,
        email: &str,
    ) -> Result<Option<User>, Failed> {
        let sql = format!("SELECT * FROM {} WHERE email = ?", self.name);
        let rows: Vec<Row> = conn.exec(sql, (email,)).await?;
        // The table takes letters with accents, too, for those without, and others that look alike.
        Ok(rows.into_iter().map(user).find(|user| user.has(email)))
    }

    pub(super) async fn create(
        &self,
        conn: &mut Conn,
        user: &NewUser,
        entry: &NewEntry,
        now: u64,
    ) -> Result<User, Failed> {
        // Where there is no such column everybody is active, and where there is one that is its default.
        let (column, value) = match user.active {
            true => ("", ""),
            false => (", active", ", 0"),
        };
        let sql = format!(
            "INSERT INTO {} (name, email, email_verified_at, password, created_at, updated_at{column})
             VALUES (:name, :email, :verified, :password, :now, :now{value})",
            self.name
        );
        let now = row::time_of_day(now);
        let values = params! {
            "name" => &user.name,
            "email" => &user.email,
            "verified" => if user.verified { now.clone() } else { Value::NULL },
            "password" => user.password.reveal(),
            "now" => now,
        };
        let mut transaction = conn.start_transaction(TxOpts::default()).await?;
        let made = transaction.exec_drop(sql, values).await;
        made.map_err(|error| taken_or_old(error.into(), &user.email))?;
        let id = transaction.last_insert_id().unwrap_or_default();
        let made = self.by_id(&mut transaction, id).await?;
        let made = made.ok_or(PanelError::Missing)?;
        records::note(&mut transaction, entry).await?;
        transaction.commit().await?;
        Ok(made)
    }

    pub(super) async fn update(
        &self,
        conn: &mut Conn,
        id: u64,
        change: &UserChange,
        entry: &NewEntry,
        now: u64,
    ) -> Result<User, Failed> {
        let mut transaction = conn.start_transaction(TxOpts::default()).await?;
        let (user, has_active) = self.lock(&mut transaction, id).await?;
        let after = change.apply(&user, now)?;
        if user.active && !after.active {
            if !has_active {
                return Err(PanelError::NoColumn.into());
            }
            self.refuse_last(&mut transaction, &user, has_active)
                .await?;
        }
        let mut columns = String::from("name = :name, email = :email, updated_at = :now");
        let mut values = vec![
            ("name", Value::from(&after.name)),
            ("email", Value::from(&after.email)),
            ("now", row::time_of_day(now)),
            ("id", Value::from(id)),
        ];
        if after.active != user.active {
            columns += ", active = :active";
            values.push(("active", Value::from(after.active)));
        }
        if after.verified_at != user.verified_at {
            columns += ", email_verified_at = :verified";
            let at = after.verified_at.map_or(Value::NULL, row::time_of_day);
            values.push(("verified", at));
        }
        let sql = format!("UPDATE {} SET {columns} WHERE id = :id", self.name);
        let written = transaction.exec_drop(sql, values).await;
        written.map_err(|error| taken_or_old(error.into(), &after.email))?;
        records::note(&mut transaction, entry).await?;
        transaction.commit().await?;
        Ok(after)
    }

    pub(super) async fn set_password(
        &self,
        conn: &mut Conn,
        id: u64,
        password: &PasswordHash,
        keep: Option<&SessionKey>,
        entry: &NewEntry,
        now: u64,
    ) -> Result<(), Failed> {
        let mut transaction = conn.start_transaction(TxOpts::default()).await?;
        self.lock(&mut transaction, id).await?;
        let mut columns = String::from("password = :password, updated_at = :now");
        let mut values = vec![
            ("password", Value::from(password.reveal())),
            ("now", row::time_of_day(now)),
            ("id", Value::from(id)),
        ];
        if self.is_php {
            // As Laravel does it: whoever is remembered by a cookie has to log in again.
            columns += ", remember_token = :token";
            values.push(("token", Value::from(random_alphanumerics(60))));
        }
        let sql = format!("UPDATE {} SET {columns} WHERE id = :id", self.name);
        transaction.exec_drop(sql, values).await?;
        let kept = keep.map_or(&[][..], SessionKey::bytes);
        transaction
            .exec_drop(sessions::REMOVE_ALL, (id, kept))
            .await?;
        let go_on = "UPDATE rp_panel_sessions SET password_mark = ? WHERE user_id = ? AND id = ?";
        let mark = session::mark(password);
        transaction.exec_drop(go_on, (&mark[..], id, kept)).await?;
        records::note(&mut transaction, entry).await?;
        Ok(transaction.commit().await?)
    }

    pub(super) async fn remove(
        &self,
        conn: &mut Conn,
        id: u64,
        entry: &NewEntry,
    ) -> Result<User, Failed> {
        let mut transaction = conn.start_transaction(TxOpts::default()).await?;
        let (user, has_active) = self.lock(&mut transaction, id).await?;
        if user.active {
            self.refuse_last(&mut transaction, &user, has_active)
                .await?;
        }
        let none: &[u8] = &[];
        transaction
            .exec_drop(sessions::REMOVE_ALL, (id, none))
            .await?;
        let sql = format!("DELETE FROM {} WHERE id = ?", self.name);
        transaction.exec_drop(sql, (id,)).await?;
        records::note(&mut transaction, entry).await?;
        transaction.commit().await?;
        Ok(user)
    }

    /// A user whom nobody changes until the transaction ends, and whether the table can say that one is not active. No other
    /// node of ours changes any user meanwhile.
    async fn lock(
        &self,
        transaction: &mut Transaction<'_>,
        id: u64,
    ) -> Result<(User, bool), Failed> {
        let guard = "SELECT one FROM rp_panel_guard WHERE one = 1 FOR UPDATE";
        let _: Option<u8> = transaction.query_first(guard).await?;
        let sql = format!("SELECT * FROM {} WHERE id = ? FOR UPDATE", self.name);
        let found: Option<Row> = transaction.exec_first(sql, (id,)).await?;
        let row = found.ok_or(PanelError::Missing)?;
        let has_active = has_active(&row);
        Ok((user(row), has_active))
    }

    /// Refuses to take away the last active user, of whom our guard lets nobody of ours take another one away meanwhile. The PHP
    /// product's panel can: it knows of no guard, and counts without a lock. The lock here makes it wait with the other one, but
    /// what it has counted by then it believes. Then nobody is left who is active, until `user activate` brings one back.
    async fn refuse_last(
        &self,
        transaction: &mut Transaction<'_>,
        user: &User,
        has_active: bool,
    ) -> Result<(), Failed> {
        let active = if has_active { "active <> 0 AND" } else { "" };
        let sql = format!(
            "SELECT id FROM {} WHERE {active} id <> ? ORDER BY id LIMIT 1 FOR UPDATE",
            self.name
        );
        let other: Option<u64> = transaction.exec_first(sql, (user.id,)).await?;
        match other {
            Some(_) => Ok(()),
            None => Err(PanelError::LastActive(user.email.clone()).into()),
        }
    }
}

/// Writes down where the users are, unless another node has done so meanwhile; returns what is written.
async fn decide(conn: &mut Conn, name: &'static str) -> Result<String, OpenError> {
    let write = "INSERT INTO rp_panel_guard (one, users_table) VALUES (1, ?)
                 ON DUPLICATE KEY UPDATE users_table = COALESCE(users_table, VALUES(users_table))";
    conn.exec_drop(write, (name,)).await?;
    let read = "SELECT users_table FROM rp_panel_guard WHERE one = 1";
    let written: Option<String> = conn.query_first(read).await?;
    Ok(written.unwrap_or_else(|| name.to_owned()))
}

/// An address that somebody else has, or a table that is too old.
fn taken_or_old(failed: Failed, email: &str) -> Failed {
    match failed.code() {
        Some(TAKEN) => PanelError::Taken(email.to_owned()).into(),
        Some(NO_COLUMN) => PanelError::NoColumn.into(),
        _ => failed,
    }
}

fn has_active(row: &Row) -> bool {
    let columns = row.columns();
    columns.iter().any(|column| column.name_str() == "active")
}

fn user(mut row: Row) -> User {
    let has_active = has_active(&row);
    let row = &mut row;
    User {
        id: row::number(row, "id").unwrap_or_default(),
        name: row::text(row, "name"),
        email: row::text(row, "email"),
        verified_at: row::time(row, "email_verified_at"),
        active: !has_active || row::number(row, "active").is_some_and(|active| active != 0),
        password: PasswordHash::stored(row::text(row, "password")),
        created: row::time(row, "created_at"),
        updated: row::time(row, "updated_at"),
    }
}
