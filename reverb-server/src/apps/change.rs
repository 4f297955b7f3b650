//! Changing an app of the database while others do, and giving it another secret.

use std::sync::Arc;
use std::time::Duration;

use reverb_core::app_store::{EditError, StoreError};
use reverb_core::protocol::{App, Secret};

use super::{Apps, Database};

/// So often a change is tried that somebody else was faster with, or a new app whose random id or key was taken.
pub(crate) const ATTEMPTS: usize = 5;

impl Apps {
    /// Changes an app as it is now; if somebody else was faster, as it is then: `find` gives it each time.
    pub(crate) async fn change<E, F>(
        &self,
        database: &Database,
        find: impl Fn() -> F,
        change: impl Fn(&mut App) -> Result<(), E>,
    ) -> Result<Arc<App>, E>
    where
        E: From<EditError> + From<StoreError>,
        F: Future<Output = Result<Arc<App>, E>>,
    {
        let mut attempt = 1;
        loop {
            let mut app = App::clone(&*find().await?);
            change(&mut app)?;
            self.check_free(&app).await?;
            match database.apps.save(app).await {
                Err(EditError::Outdated { .. }) if attempt < ATTEMPTS => attempt += 1,
                saved => return Ok(saved?),
            }
        }
    }
}

/// An app has an older secret still, until this second since 1970.
#[derive(Debug)]
pub(crate) struct StillOverlaps {
    pub(crate) until: u64,
}

/// Gives an app another secret; the one that it has is accepted for so long from now.
///
/// Whoever repeats a rotation, not knowing whether it was done, would end the secret that backends have: while there is an
/// older one it is refused, unless `force` is said.
pub(crate) fn rotate(
    app: &mut App,
    secret: Secret,
    overlap: Duration,
    now: u64,
    force: bool,
) -> Result<(), StillOverlaps> {
    let older = app.old_secret.as_ref().filter(|old| old.until > now);
    if let Some(old) = older.filter(|_| !force) {
        return Err(StillOverlaps { until: old.until });
    }
    let until = (overlap > Duration::ZERO).then(|| now.saturating_add(overlap.as_secs()));
    app.rotate_secret(secret, until);
    Ok(())
}
