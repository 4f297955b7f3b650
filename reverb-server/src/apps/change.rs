//! Changing an app of the database while others do.

use std::sync::Arc;

use reverb_core::app_store::{EditError, StoreError};
use reverb_core::protocol::App;

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
