//! The app that a server makes for itself when it is started without any.

use std::sync::Arc;

use reverb_core::app_store::{EditError, StoreError};
use reverb_core::protocol::App;

use super::{Apps, Database, new_id, new_key, new_secret};
use crate::config::Config;

impl Apps {
    /// Makes an app with random credentials if there is none at all. Returns it.
    ///
    /// # Errors
    /// The database cannot tell, or cannot keep it.
    pub async fn make_first(&self, config: &Config) -> Result<Option<Arc<App>>, StoreError> {
        let Some(database) = &self.database else {
            return Ok(None);
        };
        if !config.apps.is_empty() || database.apps.count().await? > 0 {
            return Ok(None);
        }
        make(database, config).await.map(Some)
    }
}

async fn make(database: &Database, config: &Config) -> Result<Arc<App>, StoreError> {
    loop {
        let app = App::new(&new_id(), &new_key(), &new_secret());
        let mut app = app.expect("letters and digits will do");
        app.activity_timeout = config.activity_timeout;
        match database.apps.create(app).await {
            Ok(app) => return Ok(app),
            // Another server has started at this moment, and taken the same number out of a million.
            Err(EditError::Taken { .. }) => {}
            Err(EditError::Store(error)) => return Err(error),
            Err(other) => return Err(StoreError::Unavailable(Box::new(other))),
        }
    }
}
