//! [`MySqlPanel`]: in the database of the apps, whose users may be those of the PHP product.

mod records;
mod row;
mod sessions;
mod users;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reverb_core::app_store::StoreError;
use reverb_core::ledger::{Ledger, Step};
use reverb_mysql::mysql_async::prelude::Queryable;
use reverb_mysql::mysql_async::{self, Conn, Params};
use reverb_mysql::{MySql, OpenError};

use super::{
    Entry, NewEntry, NewSession, NewUser, PanelError, PanelStore, PasswordHash, Retention, SLICE,
    Session, SessionKey, Swept, User, UserChange, check_name, check_setting,
};

/// The tables of [`MySqlPanel`].
pub const MYSQL_LEDGER: Ledger = Ledger::new(
    "rp_panel_migrations",
    &[Step::new(
        "001_panel",
        include_str!("../../../migrations/mysql/001_panel.sql"),
    )],
);

/// What the panel keeps in MySQL or MariaDB, in tables that begin with `rp_panel_`. Clones share it.
///
/// # Users of the PHP product
/// In a database of the PHP product the users are its own, in its table `users`, and it goes on reading what is written. It is
/// one if `users` has what Laravel puts there, and `reverb_apps` was not made by us: our ids are compared to the byte, the
/// product's are not. That tells it from the database of any other Laravel application, which may have been named here for its
/// apps alone: whose customers, also in a table `users`, must not become users of the panel.
///
/// That is decided by whichever node opens it first, and written down, in `users_table` of `rp_panel_guard`: a collation that
/// is changed later lets nobody in. Where it looks otherwise now there is a warning, which says what to change by hand. Users that
/// were made in one table do not move into the other.
///
/// The columns are looked at each time: before October 2025 there was no `active`, and the product's migration may be run while
/// we are at work. Times are its own, too: those of day in UTC, whatever the time zone of the session is. What else it has,
/// `sessions`, `cache`, `jobs` and `migrations` among it, is never written.
#[derive(Clone, Debug)]
pub struct MySqlPanel {
    database: MySql,
    users: users::Table,
}

/// So often something is tried that another transaction was in the way of.
const ATTEMPTS: usize = 5;
/// The hour that summer time leaves out, in seconds.
const SUMMER: u64 = 3600;

/// Why something has not happened.
enum Failed {
    Database(mysql_async::Error),
    Refused(PanelError),
}

impl From<mysql_async::Error> for Failed {
    fn from(error: mysql_async::Error) -> Self {
        Self::Database(error)
    }
}

impl From<PanelError> for Failed {
    fn from(error: PanelError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Failed> for PanelError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Database(error) => StoreError::Unavailable(Box::new(error)).into(),
            Failed::Refused(error) => error,
        }
    }
}

impl Failed {
    /// The number of the server's error.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Database(mysql_async::Error::Server(error)) => Some(error.code),
            _ => None,
        }
    }
}

impl MySqlPanel {
    /// Brings its tables up to date, and sees whose the users are.
    ///
    /// # Errors
    /// A newer version has been at them, they cannot be written, or the table with the users has gone ([`OpenError::Own`]).
    pub async fn open(database: MySql) -> Result<Self, OpenError> {
        database.migrate(MYSQL_LEDGER).await?;
        let found = MySql::patiently(async {
            let mut conn = database.connection().await?;
            users::Table::find(&mut conn).await
        });
        let users = found.await?;
        Ok(Self { database, users })
    }

    /// Whether the users are those of the PHP product.
    #[must_use]
    pub fn is_php(&self) -> bool {
        self.users.is_php
    }

    /// Does this in time, and again where another transaction was in the way.
    async fn run<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        work: impl Fn(Conn) -> F,
    ) -> Result<T, PanelError> {
        self.run_at(0, |conn, _| work(conn)).await
    }

    /// The same at this time, or in the hour that summer time leaves out an hour later.
    async fn run_at<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        now: u64,
        work: impl Fn(Conn, u64) -> F,
    ) -> Result<T, PanelError> {
        let (mut attempt, mut at) = (1, now);
        loop {
            let done = MySql::patiently(async {
                let conn = self.database.connection().await?;
                work(conn, at).await
            });
            match done.await {
                Err(Failed::Database(error)) if MySql::is_passing(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(Failed::Database(error)) if MySql::has_no_such_time(&error) && at == now => {
                    at += SUMMER;
                }
                done => return Ok(done?),
            }
        }
    }

    /// How many rows such a statement has written, or found as they should be.
    async fn wrote(&self, sql: &str, params: impl Into<Params>) -> Result<u64, PanelError> {
        let params = &params.into();
        self.run(|mut conn| async move {
            conn.exec_drop(sql, params.clone()).await?;
            Ok(conn.affected_rows())
        })
        .await
    }
}

#[async_trait]
impl PanelStore for MySqlPanel {
    async fn users(&self, after: u64, most: usize) -> Result<Vec<User>, PanelError> {
        self.run(|mut conn| async move { self.users.list(&mut conn, after, most).await })
            .await
    }

    async fn count_users(&self) -> Result<u64, PanelError> {
        self.run(|mut conn| async move { self.users.count(&mut conn).await })
            .await
    }

    async fn user(&self, id: u64) -> Result<Option<User>, PanelError> {
        self.run(|mut conn| async move { self.users.by_id(&mut conn, id).await })
            .await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<User>, PanelError> {
        self.run(|mut conn| async move { self.users.by_email(&mut conn, email).await })
            .await
    }

    async fn create_user(&self, user: &NewUser, entry: &NewEntry) -> Result<User, PanelError> {
        let user = &user.checked()?;
        self.run_at(entry.at, |mut conn, at| async move {
            self.users.create(&mut conn, user, entry, at).await
        })
        .await
    }

    async fn update_user(
        &self,
        id: u64,
        change: &UserChange,
        entry: &NewEntry,
    ) -> Result<User, PanelError> {
        self.run_at(entry.at, |mut conn, at| async move {
            self.users.update(&mut conn, id, change, entry, at).await
        })
        .await
    }

    async fn set_password(
        &self,
        id: u64,
        password: &PasswordHash,
        keep: Option<&SessionKey>,
        entry: &NewEntry,
    ) -> Result<(), PanelError> {
        self.run_at(entry.at, |mut conn, at| async move {
            self.users
                .set_password(&mut conn, id, password, keep, entry, at)
                .await
        })
        .await
    }

    async fn remove_user(&self, id: u64, entry: &NewEntry) -> Result<User, PanelError> {
        self.run(|mut conn| async move { self.users.remove(&mut conn, id, entry).await })
            .await
    }

    async fn create_session(&self, session: &NewSession, now: u64) -> Result<(), PanelError> {
        let session = &session.checked()?;
        self.run(|mut conn| async move {
            let user = self.users.by_id(&mut conn, session.user).await?;
            let user = user.ok_or(PanelError::Missing)?;
            sessions::create(&mut conn, session, &user, now).await
        })
        .await
    }

    async fn find_session(&self, key: &SessionKey) -> Result<Option<(Session, User)>, PanelError> {
        self.run(|mut conn| async move {
            let Some((session, mark)) = sessions::find(&mut conn, key).await? else {
                return Ok(None);
            };
            let user = self.users.by_id(&mut conn, session.user).await?;
            let user = user.filter(|user| mark == super::session::mark(&user.password));
            Ok(user.map(|user| (session, user)))
        })
        .await
    }

    async fn touch_session(&self, key: &SessionKey, now: u64) -> Result<bool, PanelError> {
        let sql = "UPDATE rp_panel_sessions SET seen = GREATEST(seen, ?) WHERE id = ?";
        Ok(self.wrote(sql, (now, key.bytes())).await? > 0)
    }

    async fn save_session(&self, key: &SessionKey, data: &str) -> Result<bool, PanelError> {
        super::session::check_data(data)?;
        let sql = "UPDATE rp_panel_sessions SET data = ? WHERE id = ?";
        Ok(self.wrote(sql, (data, key.bytes())).await? > 0)
    }

    async fn remove_session(&self, key: &SessionKey) -> Result<bool, PanelError> {
        let sql = "DELETE FROM rp_panel_sessions WHERE id = ?";
        Ok(self.wrote(sql, (key.bytes(),)).await? > 0)
    }

    async fn remove_sessions(
        &self,
        user: u64,
        keep: Option<&SessionKey>,
    ) -> Result<u64, PanelError> {
        self.wrote(
            sessions::REMOVE_ALL,
            (user, keep.map_or(&[][..], SessionKey::bytes)),
        )
        .await
    }

    async fn sessions_of(&self, user: u64) -> Result<Vec<Session>, PanelError> {
        self.run(|mut conn| async move {
            match self.users.by_id(&mut conn, user).await? {
                Some(user) => sessions::of(&mut conn, &user).await,
                None => Ok(Vec::new()),
            }
        })
        .await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, PanelError> {
        self.run(|mut conn| async move {
            let sql = "SELECT value FROM rp_panel_settings WHERE name = ?";
            Ok(conn.exec_first(sql, (name,)).await?)
        })
        .await
    }

    async fn settings(&self) -> Result<BTreeMap<String, String>, PanelError> {
        self.run(|mut conn| async move {
            let sql = "SELECT name, value FROM rp_panel_settings";
            let all: Vec<(String, String)> = conn.query(sql).await?;
            Ok(all.into_iter().collect())
        })
        .await
    }

    async fn set_setting(&self, name: &str, value: &str) -> Result<(), PanelError> {
        check_setting(name, value)?;
        let sql = "INSERT INTO rp_panel_settings (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)";
        self.wrote(sql, (name, value)).await?;
        Ok(())
    }

    async fn unset_setting(&self, name: &str) -> Result<bool, PanelError> {
        let sql = "DELETE FROM rp_panel_settings WHERE name = ?";
        Ok(self.wrote(sql, (name,)).await? > 0)
    }

    async fn note(&self, entry: &NewEntry) -> Result<(), PanelError> {
        self.run(|mut conn| async move { records::note(&mut conn, entry).await })
            .await
    }

    async fn entries(&self, before: Option<u64>, most: usize) -> Result<Vec<Entry>, PanelError> {
        self.run(|mut conn| async move { records::entries(&mut conn, before, most).await })
            .await
    }

    async fn sweep(&self, now: u64, keep: &Retention) -> Result<Swept, PanelError> {
        let before = |kept: Duration| now.saturating_sub(kept.as_secs());
        let most = keep.most_entries;
        let last = self.run(|mut conn| async move { records::last_to_go(&mut conn, most).await });
        let last = last.await?;
        let sessions = "DELETE FROM rp_panel_sessions WHERE seen <= ? ORDER BY seen LIMIT ?";
        let old = "DELETE FROM rp_panel_audit WHERE at <= ? ORDER BY at LIMIT ?";
        let many = "DELETE FROM rp_panel_audit WHERE id <= ? ORDER BY id LIMIT ?";
        Ok(Swept {
            sessions: self.sweep_by(sessions, before(keep.sessions)).await?,
            entries: self.sweep_by(old, before(keep.entries)).await?
                + self.sweep_by(many, last).await?,
        })
    }

    async fn claim(&self, chore: &str, every: Duration) -> Result<bool, PanelError> {
        check_name("chore", chore)?;
        let every = every.as_secs();
        self.run(|mut conn| async move { records::claim(&mut conn, chore, every).await })
            .await
    }
}

impl MySqlPanel {
    /// Removes by this statement, slice by slice.
    async fn sweep_by(&self, sql: &str, until: u64) -> Result<u64, PanelError> {
        let mut all = 0;
        loop {
            let removed = self.wrote(sql, (until, SLICE)).await?;
            all += removed;
            if removed < SLICE as u64 {
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has been published must not change: a database that took the step would be refused.
    #[test]
    fn the_steps_are_as_they_were_published() {
        let steps = MYSQL_LEDGER.steps().iter();
        let steps: Vec<_> = steps.map(|step| (step.name(), step.checksum())).collect();
        assert_eq!(
            steps,
            [(
                "001_panel",
                "952078d6eec6850022320f6227bdd7322d720bb941da99b19e40b730d359a44b".to_owned()
            )]
        );
    }

    #[test]
    fn every_statement_can_be_run_again() {
        let steps = MYSQL_LEDGER.steps().iter();
        for statement in steps.flat_map(Step::statements) {
            let lines = statement.lines();
            let mut lines = lines.filter(|line| !line.starts_with("--"));
            let first = lines.next().expect("a statement");
            let is_safe = ["CREATE TABLE IF NOT EXISTS ", "INSERT IGNORE INTO "];
            assert!(
                is_safe.iter().any(|start| first.starts_with(start)),
                "{first}"
            );
        }
    }
}
