//! What every adapter promises.

use reverb_core::app_store::{AppEditor, Keyring};
use reverb_sqlite::{Sqlite, SqliteApps};

/// The apps of a new file. Its folder is deleted at once: files that are open need no name.
async fn apps() -> SqliteApps {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reverb.sqlite3");
    let keyring = Keyring::parse(&Keyring::generate()).expect("a key");
    let apps = Sqlite::open(&path).expect("a database").apps(keyring);
    // Only with the first question both connections have opened everything.
    apps.list(None, 1).await.expect("a list");
    apps
}

reverb_core::app_editor_contract!(apps());
