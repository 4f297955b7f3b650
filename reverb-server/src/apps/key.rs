//! The key that seals the secrets in the database: from the environment, or from a file that the first start makes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use reverb_core::app_store::{InvalidKey, Keyring};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("cannot read or make the key file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Something else is in it.
    #[error("{} holds no key", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidKey,
    },
    /// There is a database, but not the key to it.
    #[error(
        "the key to the secrets in {} is missing: put {} back from a backup, or set REVERB_ENCRYPTION_KEY to it",
        database.display(), path.display()
    )]
    Missing {
        /// Where the key should be.
        path: PathBuf,
        /// What it is needed for.
        database: PathBuf,
    },
}

/// Where the key is, in this folder.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("secrets.key")
}

/// The keys in the file; it is made if it is not there, unless there is a database that needs the one it was.
pub(super) fn read_or_make(data_dir: &Path, database: Option<&Path>) -> Result<Keyring, KeyError> {
    let path = path(data_dir);
    let failed = |source| KeyError::File {
        path: path.clone(),
        source,
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(database) = database.filter(|database| database.exists()) {
                return Err(KeyError::Missing {
                    path,
                    database: database.to_owned(),
                });
            }
            make(data_dir, &path).map_err(failed)?;
            fs::read_to_string(&path).map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    Keyring::parse(&text).map_err(|source| KeyError::Invalid { path, source })
}

/// A sentence if others than the owner can read the file.
pub(super) fn exposed(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let path = path.display();
    (mode & 0o077 != 0).then(|| {
        format!(
            "{path} opens all secrets, but others can read it (mode {mode:o}): chmod 600 {path}"
        )
    })
}

/// Writes a key whole or not at all, for its owner alone. One that another server makes at the same moment stays.
fn make(data_dir: &Path, path: &Path) -> io::Result<()> {
    let unfinished = data_dir.join(format!(".secrets.key.{:016x}", rand::random::<u64>()));
    let written = (|| {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&unfinished)?;
        writeln!(
            file,
            "# The key to the secrets in the database beside it. Without it they cannot be read: keep a copy elsewhere.\n\
             # To replace it, put a new line of its kind in front; apps are sealed anew when they are saved.\n{}",
            Keyring::generate()
        )?;
        file.sync_all()?;
        fs::hard_link(&unfinished, path)
    })();
    let removed = fs::remove_file(&unfinished);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // The first error is the one to tell.
        written => written.and(removed)?,
    }
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("reverb.sqlite3");
        let made = read_or_make(folder.path(), Some(&database)).expect("a key");
        fs::write(&database, "").expect("a file");
        let read = read_or_make(folder.path(), Some(&database)).expect("the key");
        assert_eq!(made.ids(), read.ids());
        let path = path(folder.path());
        assert_eq!(exposed(&path), None);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        let told = exposed(&path).expect("a sentence");
        assert!(
            told.contains("mode 644") && told.contains("chmod 600"),
            "{told}"
        );
    }

    #[test]
    fn many_who_make_it_at_once_all_get_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("reverb.sqlite3");
        let ids = std::thread::scope(|scope| {
            let read = || {
                read_or_make(folder.path(), Some(&database))
                    .expect("a key")
                    .ids()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
            let ids = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            ids.collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn a_key_that_is_missing_is_not_replaced_by_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("reverb.sqlite3");
        fs::write(&database, "").expect("a file");
        let refused = read_or_make(folder.path(), Some(&database)).expect_err("no key");
        assert!(
            refused.to_string().contains("REVERB_ENCRYPTION_KEY"),
            "{refused}"
        );
        assert!(!path(folder.path()).exists());
        fs::write(path(folder.path()), "s3cret").expect("a file");
        let refused = read_or_make(folder.path(), Some(&database)).expect_err("no key");
        assert!(matches!(refused, KeyError::Invalid { .. }));
    }
}
