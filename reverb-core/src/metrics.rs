//! [`Metrics`]: what an operator may want to count.

use crate::protocol::{AppId, Close};

/// What an operator may want to count; each does nothing unless it is implemented.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use reverb_core::metrics::Metrics;
/// use reverb_core::protocol::AppId;
///
/// #[derive(Clone, Default)]
/// struct Deliveries(Arc<AtomicU64>);
///
/// impl Metrics for Deliveries {
///     fn delivered(&self, _: &AppId, connections: usize) {
///         self.0.fetch_add(connections as u64, Ordering::Relaxed);
///     }
/// }
/// ```
/// The hub calls these on its hot path, so they must neither wait nor lock for long. They must not panic either: the
/// shard that calls one that does drops its clients and starts again.
pub trait Metrics: Send + Sync + 'static {
    /// A client was let in.
    fn connected(&self, _app: &AppId) {}
    /// A client that had been let in is gone.
    fn disconnected(&self, _app: &AppId) {}
    /// A client was refused at the door.
    fn refused(&self, _close: &Close) {}
    /// A client said something.
    fn received(&self, _app: &AppId) {}
    /// An event was handed to this many connections of one shard.
    fn delivered(&self, _app: &AppId, _connections: usize) {}
    /// A client was cut because it did not read what it was sent; this much was lost.
    fn cut(&self, _app: &AppId, _bytes: usize) {}
    /// Something panicked: a connection was ended, or a shard started again.
    fn panicked(&self) {}
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {}
