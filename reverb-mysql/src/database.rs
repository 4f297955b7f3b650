//! [`MySql`]: the database, by a pool of connections.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, SslOpts, UrlError};
use reverb_core::app_store::{BoxError, Keyring, StoreError};
use reverb_core::ledger::{Ledger, LedgerError};

use crate::secrets::Secrets;
use crate::{MySqlApps, MySqlQueue, migrate, queue};

/// A database, MySQL from 8.0.13 or MariaDB from 10.6. Clones share its connections.
///
/// The time zone and the SQL mode of the sessions for apps are left as the server has them: the PHP product does so too, and
/// would read other times than were written.
#[derive(Clone)]
pub struct MySql {
    pool: Pool,
    /// Workers, and whoever locks the table of jobs, hold up no app.
    queue_pool: Pool,
    name: String,
}

/// Most connections at a time: so many for apps, and so many for the queue.
const MOST: usize = 8;
/// How long one that is not used is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How long it is waited for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long anybody waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

impl MySql {
    /// Connects, and brings our tables up to date. The database itself must be there.
    ///
    /// `mysql://user:password@host:3306/database`; with `?require_ssl=true` by TLS, whose certificate is checked against
    /// the authorities of Mozilla, with `?ssl_ca=/path/to/ca.pem` against that one alone. Escape what is special in a URL:
    /// `%40` is `@`.
    ///
    /// # Errors
    /// The URL is none, the database cannot be reached or changed, or a newer version has changed its tables.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let database = Self::connect(url)?;
        let migrated = tokio::time::timeout(migrate::PATIENCE, async {
            let mut conn = database.conn().await?;
            migrate::migrate(&mut conn, &migrate::OURS).await
        });
        migrated.await.map_err(|_| OpenError::TooSlow)??;
        Ok(database)
    }

    /// Whether this is an address of a database, as [`Self::open`] takes it.
    ///
    /// # Errors
    /// What is wrong with it, without the password.
    pub fn check(url: &str) -> Result<(), OpenError> {
        options(url).map(|_| ())
    }

    pub(crate) fn connect(url: &str) -> Result<Self, OpenError> {
        let (opts, ssl) = options(url)?;
        let name = opts.db_name().unwrap_or_default();
        let name = format!(
            "mysql://{}:{}/{name}",
            opts.ip_or_hostname(),
            opts.tcp_port()
        );
        let pool = PoolOpts::new()
            .with_constraints(PoolConstraints::new(1, MOST).expect("1 is not more"))
            .with_inactive_connection_ttl(IDLE);
        let opts = OptsBuilder::from_opts(opts)
            // An UPDATE says how many rows it has found, also where they were so already.
            .client_found_rows(true)
            .prefer_socket(false)
            .tcp_nodelay(true)
            // Whoever has given up shall not go on waiting for a row there, with others waiting behind it.
            .setup(vec!["SET SESSION innodb_lock_wait_timeout = 4"]);
        let opts = match ssl {
            Some(ssl) => opts.ssl_opts(ssl),
            None => opts,
        };
        let for_queue = opts
            .clone()
            .pool_opts(pool.clone().with_reset_connection(false))
            .setup(Vec::<&str>::new())
            .init(queue::SESSION.to_vec());
        Ok(Self {
            pool: Pool::new(opts.pool_opts(pool)),
            queue_pool: Pool::new(for_queue),
            name,
        })
    }

    /// The steps that [`Self::open`], and [`Self::migrate`] with each of these ledgers, would take to bring this database up to
    /// date. Nothing is changed.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn pending(url: &str, others: &[Ledger]) -> Result<Vec<&'static str>, OpenError> {
        let database = Self::connect(url)?;
        let pending = tokio::time::timeout(migrate::PATIENCE, async {
            let mut conn = database.conn().await?;
            let mut pending = Vec::new();
            for ledger in std::iter::once(&migrate::OURS).chain(others) {
                pending.extend(ledger.missing(migrate::taken(&mut conn, ledger).await?));
            }
            Ok(pending)
        });
        pending.await.map_err(|_| OpenError::TooSlow)?
    }

    /// The apps in it, whose secrets are kept so.
    #[must_use]
    pub fn apps(&self, secrets: Secrets) -> MySqlApps {
        MySqlApps::new(self.clone(), secrets)
    }

    /// The queue in it, for at most 100,000 jobs.
    #[must_use]
    pub fn queue(&self) -> MySqlQueue {
        self.queue_with_limit(100_000)
    }

    /// The queue in it, for at most about so many jobs, and as many dead letters.
    #[must_use]
    pub fn queue_with_limit(&self, limit: usize) -> MySqlQueue {
        MySqlQueue::new(self.clone(), limit)
    }

    /// Makes `app_secret` of `reverb_apps` a TEXT where it is shorter, as later versions of the PHP product have it. Returns
    /// whether there was anything to do.
    ///
    /// # Errors
    /// The database does not do it.
    pub async fn widen_secrets(&self) -> Result<bool, OpenError> {
        let widened = tokio::time::timeout(migrate::PATIENCE, async {
            let mut conn = self.conn().await?;
            migrate::widen_secrets(&mut conn).await
        });
        widened.await.map_err(|_| OpenError::TooSlow)?
    }

    /// Says that secrets are sealed with this keyring here. Returns whether its key is the one that was said first: of two
    /// servers that have made a key each, one learns that it has the wrong one before it seals anything.
    ///
    /// [`seal_secrets`](reverb_core::app_store::AppEditor::seal_secrets) says it anew, when a key is replaced.
    ///
    /// # Errors
    /// The database cannot tell.
    pub async fn claim_key(&self, keyring: &Keyring) -> Result<bool, OpenError> {
        let asked = patiently(async {
            let mut conn = self.conn().await?;
            let read = "SELECT id FROM rp_key WHERE one = 1";
            let mut id: Option<String> = conn.query_first(read).await?;
            if id.is_none() {
                let claim = "INSERT IGNORE INTO rp_key VALUES (1, ?)";
                conn.exec_drop(claim, (keyring.current_id(),)).await?;
                id = conn.query_first(read).await?;
            }
            Ok(id.is_some_and(|id| keyring.has(&id)))
        });
        Ok(asked.await?)
    }

    /// Whether there is no app in it.
    ///
    /// # Errors
    /// The database cannot tell.
    pub async fn is_without_apps(&self) -> Result<bool, OpenError> {
        let asked = patiently(async {
            let sql = "SELECT EXISTS (SELECT 1 FROM reverb_apps)";
            let has_some: Option<bool> = self.conn().await?.query_first(sql).await?;
            Ok(has_some == Some(false))
        });
        Ok(asked.await?)
    }

    /// Whether its connections are encrypted.
    ///
    /// # Errors
    /// The database cannot tell.
    pub async fn is_encrypted(&self) -> Result<bool, OpenError> {
        let asked = patiently(async {
            let sql = "SHOW STATUS LIKE 'Ssl_cipher'";
            let cipher: Option<(String, String)> = self.conn().await?.query_first(sql).await?;
            Ok(cipher.is_some_and(|(_, cipher)| !cipher.is_empty()))
        });
        Ok(asked.await?)
    }

    /// Host, port and database, as messages name it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Closes the connections, once nobody uses them any more.
    pub async fn close(self) {
        let _ = self.pool.disconnect().await;
        let _ = self.queue_pool.disconnect().await;
    }

    /// A connection, if there is one in time.
    pub(crate) async fn conn(&self) -> Result<Conn, Failed> {
        take(&self.pool).await
    }

    /// The same for the queue, whose sessions are set up as it needs them.
    pub(crate) async fn queue_conn(&self) -> Result<Conn, Failed> {
        take(&self.queue_pool).await
    }
}

async fn take(pool: &Pool) -> Result<Conn, Failed> {
    match tokio::time::timeout(CONNECT, pool.get_conn()).await {
        Ok(conn) => Ok(conn?),
        Err(late) => Err(StoreError::Unavailable(Box::new(late)).into()),
    }
}

/// What a URL says, and the authority that it names.
fn options(url: &str) -> Result<(Opts, Option<SslOpts>), OpenError> {
    // The driver does not know `ssl_ca`.
    let (rest, query) = url.split_once('?').unwrap_or((url, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let (ca, others): (Vec<&str>, Vec<&str>) = pairs.partition(|pair| pair.starts_with("ssl_ca="));
    let url = match others.is_empty() {
        true => rest.to_owned(),
        false => format!("{rest}?{}", others.join("&")),
    };
    // What is wrong must not show the password.
    let opts = Opts::from_url(&url).map_err(|error| {
        OpenError::Url(match error {
            // It may be the rest of a password.
            UrlError::UnknownParameter { .. } | UrlError::InvalidParamValue { .. } => {
                "behind the ? stands a parameter that there is not; in a password ? is %3F, & is %26 and @ is %40".to_owned()
            }
            other => other.to_string(),
        })
    })?;
    if opts.db_name().is_none_or(str::is_empty) {
        return Err(OpenError::Url("it names no database".to_owned()));
    }
    let ca = ca.first().and_then(|pair| pair.strip_prefix("ssl_ca="));
    let ssl = ca.map(|ca| {
        let path = PathBuf::from(decoded(ca));
        let ssl = opts.ssl_opts().cloned().unwrap_or_default();
        ssl.with_root_certs(vec![path.into()])
            .with_disable_built_in_roots(true)
    });
    Ok((opts, ssl))
}

/// Without percent escapes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte =
            escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What this comes to, if it does in time.
pub(crate) async fn patiently<T>(
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    MySql::patiently(work).await
}

/// Why something has not happened.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The database says no, or nothing.
    Database(mysql_async::Error),
    /// It was not to happen.
    Refused(reverb_core::app_store::EditError),
}

impl From<mysql_async::Error> for Failed {
    fn from(error: mysql_async::Error) -> Self {
        Self::Database(error)
    }
}

impl From<reverb_core::app_store::EditError> for Failed {
    fn from(error: reverb_core::app_store::EditError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Failed> for reverb_core::app_store::EditError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Database(error) => StoreError::Unavailable(Box::new(error)).into(),
            Failed::Refused(error) => error,
        }
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        reverb_core::app_store::EditError::from(failed).into()
    }
}

impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySql")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is none.
    #[error("this is no address of a database, mysql://user:password@host:3306/database: {0}")]
    Url(String),
    /// It cannot be reached, or does not let us.
    #[error("the database does not do what it should")]
    Database(#[from] mysql_async::Error),
    /// There was no connection in time.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else changes its tables, or it is overloaded.
    #[error("the database has not got ready within a minute")]
    TooSlow,
    /// Its tables are not those of this version.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The caller's own tables are not as they should be.
    #[error(transparent)]
    Own(BoxError),
}

impl From<Failed> for OpenError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Database(error) => Self::Database(error),
            refused @ Failed::Refused(_) => Self::Store(refused.into()),
        }
    }
}
