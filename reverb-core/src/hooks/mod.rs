//! Hooks: what an embedder may have a say in, and what it may watch.
//!
//! - An [`Authorizer`] is asked before a client comes in and before it is seated in a channel. It may take its time, and
//!   may refuse; what the protocol asks for, as an app's signature, is asked for all the same.
//! - An [`Observer`] sees who comes, subscribes, says something and goes. It never holds the hub up: what it does not
//!   take in time is dropped, and it is told how much that was.
//! - [`AppHandle::subscribe`](crate::hub::AppHandle::subscribe) hears what is said in one channel, under the same terms.

mod authorize;
mod feed;
mod observe;

pub use authorize::{Authorizer, Denied, Pass, SubscribeRequest, Visit};
pub use feed::Missed;
pub use observe::{ChannelEvent, Observations, Observed, Observer, observer};

pub(crate) use feed::{Feed, Reader};
