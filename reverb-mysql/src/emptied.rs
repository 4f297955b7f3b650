//! [`Emptied`]: a table of apps that is empty all of a sudden.
//!
//! Somebody puts a dump back, or has deleted everything. What comes next tells which; but clients who are told that there is
//! no such app (4001) give up for good. So it is waited for.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use parking_lot::Mutex;
use reverb_core::clock::{Clock, SystemClock};

use crate::database::Failed;

/// For so long a table that had several apps may be empty before they count as removed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Since when the table is.
#[derive(Debug, Default)]
pub(crate) struct Emptied {
    since: Mutex<Option<Instant>>,
}

impl Emptied {
    /// Whether the table is empty, had several apps when it was looked at last, and may yet be filled again. Of one app
    /// alone nothing is doubted, and neither of those that are removed here.
    pub(crate) async fn may_be_filled(&self, conn: &mut Conn) -> Result<bool, Failed> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM reverb_apps)
                       AND (SELECT COUNT(*) FROM rp_apps WHERE removed_at IS NULL) > 1";
        let is_empty: Option<bool> = conn.query_first(sql).await?;
        let now = SystemClock.now();
        let mut since = self.since.lock();
        if is_empty != Some(true) {
            *since = None;
            return Ok(false);
        }
        let since = *since.get_or_insert_with(|| {
            tracing::warn!(
                "all apps are gone from reverb_apps: they count as removed if they are not back in {} s",
                PATIENCE.as_secs()
            );
            now
        });
        Ok(now - since < PATIENCE)
    }
}
