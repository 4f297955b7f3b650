//! What every adapter promises.

use std::path::PathBuf;

use reverb_core::app_store::{AppEditor, Keyring};
use reverb_core::queue::Queue;
use reverb_sqlite::{Sqlite, SqliteApps, SqliteQueue};
use tempfile::TempDir;

/// Where a new file may be. The folder is deleted at the end of the function that asks, with the file open in it: files
/// that are open need no name. Before that it asks something, since only then both connections have opened everything.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reverb.sqlite3");
    (folder, path)
}

async fn apps() -> SqliteApps {
    let (_folder, path) = folder();
    let keyring = Keyring::parse(&Keyring::generate()).expect("a key");
    let apps = Sqlite::open(&path).expect("a database").apps(keyring);
    apps.list(None, 1).await.expect("a list");
    apps
}

async fn queue() -> SqliteQueue {
    let (_folder, path) = folder();
    let queue = Sqlite::open(&path).expect("a database").queue();
    queue.counts().await.expect("counts");
    queue
}

/// A queue with room for two.
async fn small() -> SqliteQueue {
    let (_folder, path) = folder();
    let database = Sqlite::open(&path).expect("a database");
    let queue = database.queue_with_limit(2);
    queue.counts().await.expect("counts");
    queue
}

/// What opens a file again and again.
async fn file() -> impl AsyncFn() -> SqliteQueue {
    let (folder, path) = folder();
    async move || {
        assert!(folder.path().exists(), "it is kept for as long as this");
        Sqlite::open(&path).expect("a database").queue()
    }
}

mod of_apps {
    reverb_core::app_editor_contract!(super::apps());
}

mod of_the_queue {
    reverb_core::queue_contract!(super::queue());
    reverb_core::bounded_queue_contract!(super::small());
    reverb_core::shared_queue_contract!(super::file());
}
