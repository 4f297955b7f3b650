//! [`Vanished`]: most of the apps are gone from the table all of a sudden.
//!
//! Somebody puts a dump back, row by row perhaps, or has deleted them. What comes next tells which; but clients who are told
//! that there is no such app (4001) give up for good. So it is waited for.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use parking_lot::Mutex;
use reverb_core::clock::{Clock, SystemClock};

use crate::database::Failed;

/// For so long most of several apps may be gone before they count as removed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Since when they are.
#[derive(Debug, Default)]
pub(crate) struct Vanished {
    since: Mutex<Option<Instant>>,
}

impl Vanished {
    /// Whether more than half of several apps are gone since they were looked at last, and may yet come back. Of an app that is
    /// alone, or removed here, nothing is doubted.
    pub(crate) async fn may_come_back(&self, conn: &mut Conn) -> Result<bool, Failed> {
        let sql = "SELECT COUNT(*), COUNT(*) - COUNT(a.id)
                   FROM rp_apps x LEFT JOIN reverb_apps a ON a.id = x.row_id WHERE x.removed_at IS NULL";
        let (known, gone) = conn.query_first(sql).await?.unwrap_or((0_u64, 0_u64));
        // Once it is waited, then for the last of them.
        let many = if self.since.lock().is_some() {
            0
        } else {
            known / 2
        };
        Ok(self.are_to_be_waited_for(known > 1 && gone > many))
    }

    /// The same for who has not found an app, and can wait for an index alone.
    pub(crate) async fn may_be_among_them(&self, conn: &mut Conn) -> Result<bool, Failed> {
        if self.since.lock().is_some() {
            return self.may_come_back(conn).await;
        }
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM reverb_apps)
                       AND (SELECT COUNT(*) FROM rp_apps WHERE removed_at IS NULL) > 1";
        let is_empty: Option<bool> = conn.query_first(sql).await?;
        Ok(is_empty == Some(true) && self.are_to_be_waited_for(true))
    }

    /// Everything is as it was.
    pub(crate) fn are_back(&self) {
        *self.since.lock() = None;
    }

    fn are_to_be_waited_for(&self, are_gone: bool) -> bool {
        let now = SystemClock.now();
        let mut since = self.since.lock();
        if !are_gone {
            *since = None;
            return false;
        }
        let since = *since.get_or_insert_with(|| {
            tracing::warn!(
                "most apps are gone from reverb_apps: they count as removed if they are not back in {} s",
                PATIENCE.as_secs()
            );
            now
        });
        now - since < PATIENCE
    }
}
