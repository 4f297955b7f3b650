//! [`Interned`]: one `Arc` per state of an app, for stores that make apps out of rows.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::protocol::{App, AppId};

/// The apps that a store has given out and that are still held: who reads the same row again gets the same `Arc`, as
/// [`AppStore`](super::AppStore) asks for, and need not decrypt and parse it again.
///
/// It goes by [`App::revision`]. It holds no app that nobody else holds.
#[derive(Debug, Default)]
pub struct Interned {
    apps: Mutex<HashMap<AppId, Weak<App>>>,
}

/// From so many entries on it is looked for those that nobody holds.
const FEW: usize = 64;

impl Interned {
    /// The app with this id at this revision, if somebody holds it.
    #[must_use]
    pub fn get(&self, id: &str, revision: u64) -> Option<Arc<App>> {
        let apps = self.apps.lock();
        let app = apps.get(id)?.upgrade()?;
        (app.revision == revision).then_some(app)
    }

    /// Forgets all of them: who reads a row from now on gets what it says now, whatever its revision.
    pub fn forget(&self) {
        self.apps.lock().clear();
    }

    /// This app, or the same that somebody holds already.
    #[must_use]
    pub fn put(&self, app: App) -> Arc<App> {
        let mut apps = self.apps.lock();
        if let Some(held) = apps.get(&app.id).and_then(Weak::upgrade)
            && held.revision == app.revision
        {
            return held;
        }
        if apps.len() >= FEW && apps.len() == apps.capacity() {
            apps.retain(|_, app| app.strong_count() > 0);
        }
        let app = Arc::new(app);
        apps.insert(app.id.clone(), Arc::downgrade(&app));
        app
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str, revision: u64) -> App {
        let mut app = App::new(id, "key", "secret").expect("an app");
        app.revision = revision;
        app
    }

    #[test]
    fn the_same_revision_is_the_same_app_while_it_is_held() {
        let interned = Interned::default();
        let first = interned.put(app("1", 5));
        assert!(Arc::ptr_eq(&first, &interned.put(app("1", 5))));
        assert!(interned.get("1", 6).is_none() && interned.get("2", 5).is_none());
        let second = interned.put(app("1", 6));
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &interned.get("1", 6).expect("held")));
        drop(second);
        assert!(interned.get("1", 6).is_none());
        let third = interned.put(app("1", 7));
        interned.forget();
        assert!(!Arc::ptr_eq(&third, &interned.put(app("1", 7))));
    }

    #[test]
    fn what_nobody_holds_takes_no_room() {
        let interned = Interned::default();
        for n in 0..10_000 {
            drop(interned.put(app(&n.to_string(), 1)));
        }
        assert!(interned.apps.lock().len() < 4 * FEW);
    }
}
