//! The app that a server makes for itself when it is started without any.

use std::sync::Arc;

use reverb_core::app_store::{EditError, StoreError};
use reverb_core::protocol::App;

use super::{Apps, Database, new_id, new_key, new_secret};
use crate::config::Config;

impl Apps {
    /// Makes an app with random credentials if there is none at all. Returns it. Of several servers that start together one
    /// makes it.
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
        let made = make(database, config).await?;
        let first = database.apps.rows(0, 1).await?.pop();
        match first.map(|first| first.app) {
            Some(Ok(first)) if first.id != made.id => {
                remove(database, &made).await?;
                Ok(None)
            }
            _ => Ok(Some(made)),
        }
    }
}

/// Nobody knows it yet.
async fn remove(database: &Database, made: &App) -> Result<(), StoreError> {
    match database.apps.remove(made.id.as_str()).await {
        Ok(()) | Err(EditError::Missing(_)) => Ok(()),
        Err(error) => Err(error.into()),
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
            Err(other) => return Err(other.into()),
        }
    }
}
