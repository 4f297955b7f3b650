//! [`Sqlite`]: the open file.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use reverb_core::app_store::Keyring;
use reverb_core::clock::{Clock, SystemClock};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::reader::{self, Reader};
use crate::writer::{self, Writer};
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

    /// The steps that [`Self::open`] would take to bring this file up to date. Nothing is changed, or made.
    ///
    /// # Errors
    /// It cannot be read, is something else, or was written by a newer version.
    pub fn pending(path: &Path) -> Result<Vec<&'static str>, OpenError> {
        if !path.exists() {
            return Ok(migrate::steps().collect());
        }
        let reader = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        reader.busy_timeout(BUSY)?;
        let done = migrate::check(&reader)?;
        Ok(migrate::steps().skip(done).collect())
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
    /// A newer version has changed its tables.
    #[error(
        "a newer version of reverb has changed the database ({name}, the version here knows {known} steps): use that one, or a backup from before"
    )]
    Newer {
        /// The first step that is not known here.
        name: String,
        /// How many are.
        known: usize,
    },
    /// A step of its making was another one than here.
    #[error(
        "the database was made by another build of reverb: its step {name} is not the one here"
    )]
    Different {
        /// Which.
        name: String,
    },
}
