//! [`Sqlite`]: the open file.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use reverb_core::app_store::{Keyring, StoreError};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::ledger::{Ledger, LedgerError};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::reader::{self, Reader};
use crate::writer::{self, Failed, Writer};
use crate::{SqliteApps, SqliteQueue, migrate};

/// An open database. Clones share it, and the last one closes it.
#[derive(Clone, Debug)]
pub struct Sqlite {
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
}

/// How long it is waited for another process that writes.
const BUSY: Duration = Duration::from_secs(2);
/// How long until it is tried again, where SQLite does not wait.
const AGAIN: Duration = Duration::from_millis(5);
/// Beyond this the log of changes is cut back when it has been taken over into the file.
const LOG_BYTES: i64 = 16 * 1024 * 1024;

/// How long a step of somebody else's may take.
const STEP: Duration = Duration::from_secs(60);
/// More than there are: each is prepared once.
const STATEMENTS: usize = 64;

impl Sqlite {
    /// Opens this file, or makes it (mode 0600), and brings its tables up to date. The folder must be there.
    ///
    /// Blocks for as long as that takes: some milliseconds, or up to four seconds while somebody else writes.
    ///
    /// # Errors
    /// It cannot be read or written, is something else, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File {
            path: path.to_owned(),
            source,
        };
        // SQLite would make it readable for everybody, and gives the files beside it the mode of this one.
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        drop(options.open(path).map_err(failed)?);
        let until = SystemClock.now() + BUSY;
        let (writer, reader) = loop {
            // Two that switch a new file to its log at once would wait for each other: SQLite refuses one of them
            // without waiting, which is what a busy timeout is otherwise for.
            match connect(path) {
                Err(OpenError::Sqlite(error)) if is_busy(&error) && SystemClock.now() < until => {
                    thread::sleep(AGAIN);
                }
                connected => break connected?,
            }
        };
        Ok(Self {
            writer: writer::start(writer).map_err(failed)?,
            reader: reader::start(reader).map_err(failed)?,
        })
    }

    /// The steps that [`Self::open`], and [`Self::migrate`] with each of these ledgers, would take to bring this file up to
    /// date. Nothing is changed, or made.
    ///
    /// # Errors
    /// It cannot be read, is something else, or was written by a newer version.
    pub fn pending(path: &Path, others: &[Ledger]) -> Result<Vec<&'static str>, OpenError> {
        let ledgers = || std::iter::once(&migrate::OURS).chain(others);
        if !path.exists() {
            return Ok(ledgers().flat_map(|ledger| ledger.missing(0)).collect());
        }
        let reader = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        reader.busy_timeout(BUSY)?;
        migrate::check(&reader)?;
        let mut pending = Vec::new();
        for ledger in ledgers() {
            pending.extend(ledger.missing(migrate::taken(&reader, ledger)?));
        }
        Ok(pending)
    }

    /// Brings tables of the caller's own up to date, by the rules of ours: each step is taken whole or not at all, and once,
    /// however many start together. A step must neither begin nor end a transaction. Tables and their ledger should have a prefix
    /// of their own.
    ///
    /// Where nothing is missing nothing is written. A step may take a minute; meanwhile nobody else writes.
    ///
    /// # Errors
    /// A newer version has been at these tables, or a step fails: those before it are taken.
    ///
    /// # Cancel safety
    /// A step that has begun is finished.
    pub async fn migrate(&self, ledger: Ledger) -> Result<(), OpenError> {
        let done = move |connection: &mut Connection| Ok(migrate::taken(connection, &ledger));
        if self.reader.run(done).await?? == ledger.steps().len() {
            return Ok(());
        }
        let step = move |connection: &Connection| {
            migrate::take_next(connection, &ledger).map_err(Failed::Refused)
        };
        while self.writer.edit_within(STEP, step).await?? {}
        Ok(())
    }

    /// Reads tables of the caller's own, on the thread that reads: what is slow keeps everybody else who reads waiting.
    ///
    /// What the closure has opened must be closed when it returns. It cannot write.
    ///
    /// # Errors
    /// SQLite fails, or it was not done within five seconds.
    ///
    /// # Cancel safety
    /// A dropped future is not run if its turn has not come yet.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reader.run(|connection| read(connection)).await
    }

    /// Writes to tables of the caller's own, in a transaction: all of it is written through when this returns `Ok(Ok(_))`, and
    /// otherwise nothing. Several that wait share the transaction, each in a savepoint; nobody else writes meanwhile, so that
    /// what the closure has read is so until it is written. It must neither begin nor end a transaction itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("reverb.sqlite3");
    /// use reverb_core::ledger::{Ledger, Step};
    /// use reverb_sqlite::{Failed, Sqlite};
    ///
    /// const NOTES: Ledger = Ledger::new(
    ///     "notes_migrations",
    ///     &[Step::new("001_notes", "CREATE TABLE notes (text TEXT NOT NULL UNIQUE) STRICT")],
    /// );
    /// let database = Sqlite::open(&path)?;
    /// database.migrate(NOTES).await?;
    /// let written = database.write(|connection| {
    ///     match connection.execute("INSERT OR IGNORE INTO notes VALUES ('milk')", ())? {
    ///         0 => Err(Failed::Refused("it stands there already")),
    ///         _ => Ok(()),
    ///     }
    /// });
    /// written.await??;
    /// let notes = database.read(|connection| {
    ///     connection.query_row("SELECT count(*) FROM notes", (), |row| row.get::<_, i64>(0))
    /// });
    /// assert_eq!(notes.await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Outside: SQLite fails, or it was not done within five seconds. Inside: what the closure refused with.
    ///
    /// # Cancel safety
    /// A dropped future is not run if its turn has not come yet; after that it is written all the same.
    pub async fn write<T: Send + 'static, E: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T, Failed<E>> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError> {
        self.writer.edit(write).await
    }

    /// The apps in it, whose secrets this keyring seals and opens.
    #[must_use]
    pub fn apps(&self, keyring: Keyring) -> SqliteApps {
        SqliteApps::new(self.clone(), keyring)
    }

    /// The queue in it, for 100,000 jobs.
    #[must_use]
    pub fn queue(&self) -> SqliteQueue {
        self.queue_with_limit(100_000)
    }

    /// The queue in it, for so many jobs, and as many dead letters. A file has one queue: the limit is that of whoever
    /// pushes, and those who have it open should agree.
    #[must_use]
    pub fn queue_with_limit(&self, limit: usize) -> SqliteQueue {
        SqliteQueue::new(self.clone(), limit)
    }
}

/// The connection that writes, whose tables are up to date, and the one that reads.
fn connect(path: &Path) -> Result<(Connection, Connection), OpenError> {
    let mut writer = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    writer.busy_timeout(BUSY)?;
    writer.set_prepared_statement_cache_capacity(STATEMENTS);
    writer.pragma_update(None, "trusted_schema", false)?;
    writer.pragma_update(None, "synchronous", "FULL")?;
    writer.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    migrate::check(&writer)?;
    // This writes into the file, which has to be ours.
    writer.pragma_update(None, "journal_mode", "WAL")?;
    migrate::migrate(&mut writer)?;
    let reader = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    reader.busy_timeout(BUSY)?;
    reader.set_prepared_statement_cache_capacity(STATEMENTS);
    reader.pragma_update(None, "trusted_schema", false)?;
    Ok((writer, reader))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn flags(access: OpenFlags) -> OpenFlags {
    // Each connection belongs to one thread, and a path is a path.
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system does not let us.
    #[error("cannot read and write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// SQLite cannot.
    #[error("SQLite cannot open the database")]
    Sqlite(#[from] rusqlite::Error),
    /// It is no database of ours.
    #[error("the file is a database of another program: name another file, or another folder")]
    Foreign,
    /// Its tables are not those of this version.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its thread is too busy, or has ended.
    #[error(transparent)]
    Store(#[from] StoreError),
}
