//! [`AppStore`]: where apps come from.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::protocol::App;

/// Any error, to be shown.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where apps come from.
///
/// The hub asks at each new connection and each request of the HTTP API. One that answers at once, as from memory, is
/// asked each time; one that has to wait for somebody need not remember anything, since the hub does: who asks
/// the same at the same time waits for one answer, apps are kept for a while, and so is that there is none
/// ([`AppCacheTimes`](crate::hub::AppCacheTimes)). A wrong implementation lets clients of one app into another.
///
/// Give out the same `Arc` for as long as an app stays the same: another one tells the hub that it has changed, and all
/// shards are told.
///
/// ```
/// use std::sync::Arc;
/// use reverb_core::app_store::{AppStore, StoreError};
/// use reverb_core::protocol::App;
///
/// /// One app, whoever asks.
/// struct Only(Arc<App>);
///
/// #[async_trait::async_trait]
/// impl AppStore for Only {
///     async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
///         Ok((self.0.key.as_str() == key).then(|| self.0.clone()))
///     }
///     async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
///         Ok((self.0.id.as_str() == id).then(|| self.0.clone()))
///     }
/// }
/// ```
#[async_trait]
pub trait AppStore: Send + Sync + 'static {
    /// The app that clients connect to with this key; `None` if there is none.
    ///
    /// # Errors
    /// The store cannot tell: the client is asked to come back, where for a `None` it gives up for good.
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError>;

    /// The app with this id; `None` if there is none.
    ///
    /// # Errors
    /// The store cannot tell; the request is answered with status 503.
    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError>;
}

/// Why an app store cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store did not answer; asking again may help.
    #[error("the app store did not answer")]
    Unavailable(#[source] BoxError),
    /// A row exists but is not an app; other apps are unaffected.
    #[error("app {id} is stored wrongly: {reason}")]
    Corrupt {
        /// Which.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Apps that are known from the start.
/// ```
/// use reverb_core::app_store::MemoryApps;
/// use reverb_core::protocol::App;
///
/// let apps = MemoryApps::from([App::new("1001", "app-key", "app-secret")?]);
/// # Ok::<(), reverb_core::protocol::InvalidApp>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryApps {
    by_key: HashMap<String, Arc<App>>,
    by_id: HashMap<String, Arc<App>>,
}

impl MemoryApps {
    /// These apps. Of two with the same id or key the later one counts.
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        let mut all = Self::default();
        for app in apps {
            let app = Arc::new(app);
            all.by_key.insert(app.key.as_str().to_owned(), app.clone());
            all.by_id.insert(app.id.as_str().to_owned(), app);
        }
        all
    }
}

impl<const N: usize> From<[App; N]> for MemoryApps {
    fn from(apps: [App; N]) -> Self {
        Self::new(apps)
    }
}

#[async_trait]
impl AppStore for MemoryApps {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError> {
        Ok(self.by_key.get(key).cloned())
    }

    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError> {
        Ok(self.by_id.get(id).cloned())
    }
}
