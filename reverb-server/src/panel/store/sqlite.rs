//! [`SqlitePanel`]: in the file of the apps.

mod records;
mod sessions;
mod users;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reverb_core::ledger::{Ledger, Step};
use reverb_sqlite::rusqlite::{self, Connection, Row};
use reverb_sqlite::{OpenError, Sqlite};

use super::{
    Entry, NewEntry, NewSession, NewUser, PanelError, PanelStore, PasswordHash, Retention, SLICE,
    Session, SessionKey, Swept, User, UserChange, check_name, check_setting,
};

/// The tables of [`SqlitePanel`].
pub const SQLITE_LEDGER: Ledger = Ledger::new(
    "panel_migrations",
    &[Step::new(
        "001_panel",
        include_str!("../../../migrations/sqlite/001_panel.sql"),
    )],
);

/// What the panel keeps in a SQLite file, in tables that begin with `panel_`. Clones share it.
#[derive(Clone, Debug)]
pub struct SqlitePanel {
    database: Sqlite,
}

type Failed = reverb_sqlite::Failed<PanelError>;

impl From<PanelError> for Failed {
    fn from(error: PanelError) -> Self {
        Self::Refused(error)
    }
}

impl SqlitePanel {
    /// Brings its tables up to date.
    ///
    /// # Errors
    /// A newer version has been at them, or they cannot be written.
    pub async fn open(database: Sqlite) -> Result<Self, OpenError> {
        database.migrate(SQLITE_LEDGER).await?;
        Ok(Self { database })
    }

    /// One without tables, for tests in which nobody asks it.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Sqlite::open(&folder.path().join("panel.sqlite3"));
        let database = database.expect("it opens");
        Self { database }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, PanelError> {
        Ok(self.database.read(read).await?)
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, PanelError> {
        self.database.write(write).await?
    }

    /// The same at the time of this entry, which is noted with it.
    async fn write_noted<T: Send + 'static>(
        &self,
        entry: &NewEntry,
        write: impl FnOnce(&Connection, u64) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, PanelError> {
        let entry = entry.clone();
        self.write(move |connection| {
            let written = write(connection, entry.at)?;
            records::note(connection, &entry)?;
            Ok(written)
        })
        .await
    }

    /// Whether there was such a row, and so one was written.
    async fn wrote(
        &self,
        sql: &'static str,
        params: impl rusqlite::Params + Send + 'static,
    ) -> Result<bool, PanelError> {
        let write = |connection: &Connection| {
            let written = connection.prepare_cached(sql)?.execute(params)?;
            Ok(written > 0)
        };
        self.write(write).await
    }
}

#[async_trait]
impl PanelStore for SqlitePanel {
    async fn users(&self, after: u64, most: usize) -> Result<Vec<User>, PanelError> {
        self.read(move |connection| users::list(connection, after, most))
            .await
    }

    async fn count_users(&self) -> Result<u64, PanelError> {
        self.read(users::count).await
    }

    async fn user(&self, id: u64) -> Result<Option<User>, PanelError> {
        self.read(move |connection| users::find(connection, id))
            .await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<User>, PanelError> {
        let email = email.to_owned();
        self.read(move |connection| users::find_by_email(connection, &email))
            .await
    }

    async fn create_user(&self, user: &NewUser, entry: &NewEntry) -> Result<User, PanelError> {
        let user = user.checked()?;
        self.write_noted(entry, move |connection, now| {
            users::create(connection, &user, now)
        })
        .await
    }

    async fn update_user(
        &self,
        id: u64,
        change: &UserChange,
        entry: &NewEntry,
    ) -> Result<User, PanelError> {
        let change = change.clone();
        self.write_noted(entry, move |connection, now| {
            users::update(connection, id, &change, now)
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
        let (password, keep) = (password.clone(), keep.copied());
        self.write_noted(entry, move |connection, now| {
            users::set_password(connection, id, &password, now)?;
            sessions::remove_all(connection, id, keep)?;
            sessions::mark(connection, id, keep, &password)?;
            Ok(())
        })
        .await
    }

    async fn remove_user(&self, id: u64, entry: &NewEntry) -> Result<User, PanelError> {
        self.write_noted(entry, move |connection, _| {
            let user = users::remove(connection, id)?;
            sessions::remove_all(connection, id, None)?;
            Ok(user)
        })
        .await
    }

    async fn create_session(&self, session: &NewSession, now: u64) -> Result<(), PanelError> {
        let session = session.checked()?;
        self.write(move |connection| sessions::create(connection, &session, now))
            .await
    }

    async fn find_session(&self, key: &SessionKey) -> Result<Option<(Session, User)>, PanelError> {
        let key = *key;
        self.read(move |connection| sessions::find(connection, key))
            .await
    }

    async fn touch_session(&self, key: &SessionKey, now: u64) -> Result<bool, PanelError> {
        let sql = "UPDATE panel_sessions SET seen = max(seen, ?) WHERE id = ?";
        self.wrote(sql, (number(now), key.bytes().to_vec())).await
    }

    async fn save_session(&self, key: &SessionKey, data: &str) -> Result<bool, PanelError> {
        super::session::check_data(data)?;
        let sql = "UPDATE panel_sessions SET data = ? WHERE id = ?";
        self.wrote(sql, (data.to_owned(), key.bytes().to_vec()))
            .await
    }

    async fn remove_session(&self, key: &SessionKey) -> Result<bool, PanelError> {
        let sql = "DELETE FROM panel_sessions WHERE id = ?";
        self.wrote(sql, (key.bytes().to_vec(),)).await
    }

    async fn remove_sessions(
        &self,
        user: u64,
        keep: Option<&SessionKey>,
    ) -> Result<u64, PanelError> {
        let keep = keep.copied();
        self.write(move |connection| Ok(sessions::remove_all(connection, user, keep)?))
            .await
    }

    async fn sessions_of(&self, user: u64) -> Result<Vec<Session>, PanelError> {
        self.read(move |connection| sessions::of(connection, user))
            .await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, PanelError> {
        let name = name.to_owned();
        self.read(move |connection| records::setting(connection, &name))
            .await
    }

    async fn settings(&self) -> Result<BTreeMap<String, String>, PanelError> {
        self.read(records::settings).await
    }

    async fn set_setting(&self, name: &str, value: &str) -> Result<(), PanelError> {
        check_setting(name, value)?;
        let sql = "INSERT INTO panel_settings (name, value) VALUES (?, ?)
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.wrote(sql, (name.to_owned(), value.to_owned())).await?;
        Ok(())
    }

    async fn unset_setting(&self, name: &str) -> Result<bool, PanelError> {
        let sql = "DELETE FROM panel_settings WHERE name = ?";
        self.wrote(sql, (name.to_owned(),)).await
    }

    async fn note(&self, entry: &NewEntry) -> Result<(), PanelError> {
        let entry = entry.clone();
        self.write(move |connection| records::note(connection, &entry))
            .await
    }

    async fn entries(&self, before: Option<u64>, most: usize) -> Result<Vec<Entry>, PanelError> {
        self.read(move |connection| records::entries(connection, before, most))
            .await
    }

    async fn sweep(&self, now: u64, keep: &Retention) -> Result<Swept, PanelError> {
        let before = |kept: Duration| number(now.saturating_sub(kept.as_secs()));
        let (seen, at) = (before(keep.sessions), before(keep.entries));
        let most = keep.most_entries;
        let last = self.read(move |connection| records::last_to_go(connection, most));
        let last = last.await?;
        let mut swept = Swept::default();
        loop {
            let slice = self.write(move |connection| {
                let sessions = sessions::sweep(connection, seen)?;
                Ok((sessions, records::sweep(connection, at, last)?))
            });
            let (sessions, entries) = slice.await?;
            swept.sessions += sessions as u64;
            swept.entries += entries as u64;
            if sessions.max(entries) < SLICE {
                return Ok(swept);
            }
        }
    }

    async fn claim(&self, chore: &str, every: Duration) -> Result<bool, PanelError> {
        check_name("chore", chore)?;
        let chore = chore.to_owned();
        self.write(move |connection| Ok(records::claim(connection, &chore, every)?))
            .await
    }
}

/// A number as SQLite has them.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that is not below zero.
fn whole(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.max(0) as u64)
}

/// Text that may have been put here by hand, in whatever encoding.
fn text(row: &Row<'_>, column: &str) -> rusqlite::Result<String> {
    let bytes = row.get_ref(column)?.as_bytes_or_null()?;
    Ok(String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has been published must not change: a file that took the step would be refused.
    #[test]
    fn the_steps_are_as_they_were_published() {
        let steps = SQLITE_LEDGER.steps().iter();
        let steps: Vec<_> = steps.map(|step| (step.name(), step.checksum())).collect();
        assert_eq!(
            steps,
            [(
                "001_panel",
                "73af21c7f810068074d23c4145e873eea70ba32525bfe5f521e5bea1a5029ced".to_owned()
            )]
        );
    }
}
