//! [`AppStore`]: where apps come from; [`AppChanges`] and [`AppEditor`]: apps that change while the hub runs.

use std::sync::Arc;

use async_trait::async_trait;

use crate::protocol::{App, AppId, Secret};

mod interned;
#[cfg(feature = "keyring")]
mod keyring;
mod memory;
mod settings;

pub use self::interned::Interned;
#[cfg(feature = "keyring")]
pub use self::keyring::{InvalidKey, Keyring, SealedWrongly};
pub use self::memory::MemoryApps;
pub use self::settings::{AppSettings, InvalidSettings};

/// An app as a store keeps it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppRow {
    /// Which one it is: no other app has the number, nor had it before, and a later one has a higher number.
    pub number: u64,
    /// The app.
    pub app: Listed,
    /// When it was made, in seconds since 1970, if that is known.
    pub created: Option<u64>,
    /// When it was changed last.
    pub updated: Option<u64>,
    /// When its secrets were used last.
    pub last_use: LastUse,
}

impl AppRow {
    /// The id, whether it is that of an app or of what should be one.
    #[must_use]
    pub fn id(&self) -> &str {
        match &self.app {
            Ok(app) => app.id.as_str(),
            Err(corrupt) => &corrupt.id,
        }
    }

    /// This app under this number, with its times unknown and its secrets unused.
    #[must_use]
    pub fn new(number: u64, app: Listed) -> Self {
        Self {
            number,
            app,
            created: None,
            updated: None,
            last_use: LastUse::default(),
        }
    }
}

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
/// shards are told. [`Interned`] helps with that.
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
    /// The store cannot tell: the client is asked to come back, where for a `None` it gives up for good. Or the app is
    /// stored wrongly, and so off.
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, StoreError>;

    /// The app with this id; `None` if there is none.
    ///
    /// # Errors
    /// The store cannot tell; the request is answered with status 503. Or the app is stored wrongly; then it is 403.
    async fn find_by_id(&self, id: &str) -> Result<Option<Arc<App>>, StoreError>;
}

/// Why an app store cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store did not answer; asking again may help.
    #[error("the app store did not answer")]
    Unavailable(#[source] BoxError),
    /// A row exists but is not an app: it is off, as if it were inactive. Other apps are unaffected.
    #[error(transparent)]
    Corrupt(#[from] CorruptApp),
}

/// A row that should be an app, but is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the app {id:?} is stored wrongly: {reason}")]
#[non_exhaustive]
pub struct CorruptApp {
    /// Which.
    pub id: String,
    /// What is wrong with it; never its secret.
    pub reason: String,
    /// Whether it is its secret that cannot be opened, as with a wrong key.
    pub is_sealed: bool,
}

impl CorruptApp {
    /// The app with this id, for this reason.
    pub fn new(id: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            reason: reason.into(),
            is_sealed: false,
        }
    }

    /// The app with this id, whose secret cannot be opened for this reason.
    pub fn sealed(id: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            is_sealed: true,
            ..Self::new(id, reason)
        }
    }
}

/// An app as a row has it: one that is stored wrongly stands there too.
pub type Listed = Result<Arc<App>, CorruptApp>;

/// What has changed in an app store.
///
/// A hub that is given one ([`HubBuilder::changes`](crate::hub::HubBuilder::changes)) asks twice a second, and puts
/// in force what it hears: new limits and origins for who comes from then on, the end for clients of an app that
/// is gone, switched off or has got another key. Everybody else stays connected.
#[async_trait]
pub trait AppChanges: Send + Sync + 'static {
    /// What has changed since this revision of the store; 0 is before everything. A change that is not told now is told
    /// at the next call with the revision of this one: numbers are given in the order in which changes become visible.
    ///
    /// # Errors
    /// The store cannot tell. The same is asked again.
    async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError>;
}

/// What has changed in an app store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// The store's revision, up to which this tells everything.
    pub revision: u64,
    /// Whom it concerns.
    pub apps: Changed,
}

impl Changes {
    /// These changes, up to this revision.
    #[must_use]
    pub fn new(revision: u64, apps: Changed) -> Self {
        Self { revision, apps }
    }
}

/// Which apps have changed: saved, made, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// These, or none.
    These(Vec<AppId>),
    /// Any may have: the store does not know, or no longer.
    Any,
}

/// An app store whose apps can be changed while the hub runs, as a panel or a command line does.
///
/// Every change raises the store's revision, and [`AppChanges::changes_since`] tells of it. Implementations promise what
/// the contract says ([`contract`](self#the-contract-of-editors)).
///
/// # The contract of editors
/// - What was created or saved is found at once, by id and by key; what was removed, or had another key before, is not.
/// - An id and a key belong to one app at most: a second one is refused and changes nothing.
/// - An app that was changed by somebody else in the meantime is not overwritten.
/// - Every change has a higher revision than the one before, is told once to whoever asks from there on, and the app that
///   was changed carries it.
/// - Every app has a number, which stays with it. When it was made and changed last is known to the second.
/// - When a secret was used last is remembered for as long as the app has it, and is no change.
/// - What is announced concerns every app, has a revision as a change has, and changes none of them.
#[async_trait]
pub trait AppEditor: AppStore + AppChanges {
    /// The apps in the order of their ids, behind this one, and at most so many.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn list(&self, after: Option<&str>, most: usize) -> Result<Vec<AppRow>, StoreError>;

    /// The same in the order in which they were made, by number, as a management API shows them.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn rows(&self, after: u64, most: usize) -> Result<Vec<AppRow>, StoreError>;

    /// The app with this number.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn row(&self, number: u64) -> Result<Option<AppRow>, StoreError>;

    /// The app with this id, with its number.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn row_of(&self, id: &str) -> Result<Option<AppRow>, StoreError>;

    /// How many apps there are, those that are stored wrongly included.
    ///
    /// # Errors
    /// The store cannot tell.
    async fn count(&self) -> Result<u64, StoreError>;

    /// Adds an app; returns it with its revision.
    ///
    /// # Errors
    /// Its id or key is taken, or the store cannot take it.
    async fn create(&self, app: App) -> Result<Arc<App>, EditError>;

    /// Replaces the app of this id; returns it with its new revision. `app.revision` is that of the app as it was read.
    ///
    /// # Errors
    /// It was changed since, there is none, its key is taken, or the store cannot take it.
    async fn save(&self, app: App) -> Result<Arc<App>, EditError>;

    /// Removes the app of this id.
    ///
    /// # Errors
    /// There is none, or the store cannot do it.
    async fn remove(&self, id: &str) -> Result<(), EditError>;

    /// Writes those secrets anew that are not kept as they would be written today: what was never sealed, and what was sealed
    /// with an older key. Returns how many apps those were; with `dry_run` it only counts them. Secrets that cannot be opened
    /// stay as they are.
    ///
    /// # Errors
    /// The store cannot do it. What was done before that stays.
    async fn seal_secrets(&self, dry_run: bool) -> Result<u64, EditError>;

    /// Says that any app may have changed, so that whoever follows the changes looks at all of them anew: for edits that the
    /// store cannot see, and for people who want to be sure.
    ///
    /// # Errors
    /// The store cannot do it.
    async fn announce_all(&self) -> Result<(), StoreError>;

    /// Writes down which secrets were used, as [`Hub::take_secrets_used`](crate::hub::Hub::take_secrets_used) tells now and
    /// then. Those that no app has any more are passed over, and so are times before the one that is known.
    ///
    /// # Errors
    /// The store cannot take it.
    async fn record_use(&self, used: &[SecretUse]) -> Result<(), StoreError>;
}

/// That a secret was used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SecretUse {
    /// Whose.
    pub app: AppId,
    /// Which.
    pub secret: Secret,
    /// When, in seconds since 1970.
    pub at: u64,
}

impl SecretUse {
    /// This secret of this app was used at this second since 1970.
    #[must_use]
    pub fn new(app: AppId, secret: Secret, at: u64) -> Self {
        Self { app, secret, at }
    }
}

/// When an app's secrets were used last, in seconds since 1970; `None` if never, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastUse {
    /// [`App::secret`].
    pub secret: Option<u64>,
    /// [`App::old_secret`].
    pub old_secret: Option<u64>,
}

impl LastUse {
    /// These times.
    #[must_use]
    pub fn new(secret: Option<u64>, old_secret: Option<u64>) -> Self {
        Self { secret, old_secret }
    }

    /// What is known of the secrets of `now`, after what was known of those of `before`: a secret takes its time along.
    #[must_use]
    pub fn carried_over(self, before: &App, now: &App) -> Self {
        let old = |app: &App| app.old_secret.as_ref().map(|old| old.secret.clone());
        let of = |secret: &Secret| {
            if secret.reveal() == before.secret.reveal() {
                self.secret
            } else if old(before).is_some_and(|old| old.reveal() == secret.reveal()) {
                self.old_secret
            } else {
                None
            }
        };
        Self::new(of(&now.secret), old(now).and_then(|old| of(&old)))
    }

    /// After this use of one of the app's secrets.
    #[must_use]
    pub fn after(mut self, app: &App, used: &SecretUse) -> Self {
        let text = used.secret.reveal();
        if app.secret.reveal() == text {
            self.secret = self.secret.max(Some(used.at));
        }
        if app
            .old_secret
            .as_ref()
            .is_some_and(|old| old.secret.reveal() == text)
        {
            self.old_secret = self.old_secret.max(Some(used.at));
        }
        self
    }
}

/// Why an app was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// Another app has this id or key.
    #[error("another app has the {field} {value:?}")]
    Taken {
        /// `id` or `key`.
        field: &'static str,
        /// The one that is taken.
        value: String,
    },
    /// There is no app with this id.
    #[error("no app has the id {0:?}")]
    Missing(String),
    /// Somebody else has changed the app since it was read.
    #[error(
        "the app {id} was changed by somebody else (revision {now}, not {read}): read it again"
    )]
    Outdated {
        /// Which.
        id: String,
        /// The revision that was read.
        read: u64,
        /// The revision it has now.
        now: u64,
    },
    /// The store has no room for such a value.
    #[error("the {field} cannot be kept: {reason}")]
    Unfit {
        /// Of what.
        field: &'static str,
        /// Why, and what helps.
        reason: String,
    },
    /// The store cannot take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// For what nobody can refuse, such as noting a use: whatever is refused all the same is a failure of the store.
impl From<EditError> for StoreError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Store(error) => error,
            other => Self::Unavailable(Box::new(other)),
        }
    }
}
