//! What an embedder holds can be sent anywhere, shared, and printed without telling a secret.

use std::fmt::Debug;

use reverb_core::app_store::{AppStore, MemoryApps, StoreError};
use reverb_core::clock::{Clock, ManualClock, SystemClock};
use reverb_core::hooks::{
    Authorizer, ChannelEvent, Denied, Missed, Observations, Observed, Observer, Pass,
    SubscribeRequest, Visit,
};
use reverb_core::http::{Body, HubService, Peer};
use reverb_core::hub::{
    AppCacheTimes, AppHandle, BuildError, ChannelEvents, Hub, HubBuilder, PublishError, Published,
    Sizes,
};
use reverb_core::metrics::{Metrics, NoMetrics};
use reverb_core::protocol::{
    App, AppId, AppKey, ChannelName, Close, Event, Limits, Member, Origins, Outgoing, Rate, Secret,
    SocketId, UserId,
};
use reverb_core::queue::{
    Counts, DeadJob, InvalidJob, Job, JobId, Leased, MemoryQueue, Queue, QueueError,
};
use reverb_core::session::{Command, Outcome, Session, Wish, Wishes};
use reverb_core::transport::{Heard, Transport};

/// Sent and shared between threads, printed, and kept as long as one likes.
fn is_at_home_anywhere<T: Send + Sync + Debug + 'static>() {}

/// A future that a task of a multi-thread runtime may hold.
fn can_be_spawned<T: Send>(_: T) {}

#[test]
fn everything_can_be_sent_shared_and_printed() {
    is_at_home_anywhere::<(Hub, HubBuilder, HubService, AppHandle, ChannelEvents)>();
    is_at_home_anywhere::<(BuildError, PublishError, Published, Sizes, AppCacheTimes)>();
    is_at_home_anywhere::<(Body, Peer, MemoryApps, StoreError, SystemClock, ManualClock)>();
    is_at_home_anywhere::<(Observer, Observations, Observed, ChannelEvent, Missed)>();
    is_at_home_anywhere::<(Pass, Denied, Visit, SubscribeRequest, NoMetrics)>();
    is_at_home_anywhere::<(App, AppId, AppKey, Secret, Limits, Origins, Rate)>();
    is_at_home_anywhere::<(ChannelName, Close, Event<'static>, Member, Outgoing)>();
    is_at_home_anywhere::<(SocketId, UserId, Heard<'static>)>();
    is_at_home_anywhere::<(MemoryQueue, Job, JobId, InvalidJob, Leased)>();
    is_at_home_anywhere::<(DeadJob, Counts, QueueError)>();
    is_at_home_anywhere::<(Session, Wishes, Wish, Command, Outcome)>();
}

#[test]
fn what_a_hub_is_given_may_be_a_trait_object() {
    fn all(
        _: &dyn AppStore,
        _: &dyn Authorizer,
        _: &dyn Clock,
        _: &dyn Metrics,
        _: &dyn Queue,
        _: &dyn Transport,
    ) {
    }
    let _ = all;
}

#[test]
fn what_a_hub_does_can_be_spawned() {
    fn all(hub: &Hub, app: &AppHandle, events: &mut ChannelEvents, seen: &mut Observations) {
        let event = || Event::new("e", "").to("a");
        can_be_spawned(hub.publish("1", event()));
        can_be_spawned(hub.app("1"));
        can_be_spawned(hub.drain(std::time::Duration::ZERO));
        can_be_spawned(app.publish(event()));
        can_be_spawned(app.publish_batch([event()]));
        can_be_spawned(events.next());
        can_be_spawned(seen.next());
    }
    let _ = all;
}

#[test]
fn no_secret_is_printed() {
    let app = App::new("1", "key", "canary-7f3a").expect("an app");
    let pass = Pass::with("canary-7f3a");
    let apps = MemoryApps::from([app.clone()]);
    let printed = format!("{app:?} {pass:?} {apps:?}");
    assert!(!printed.contains("canary"), "{printed}");
    let event = Outgoing::event(&Event::new("e", "canary-7f3a"), "a");
    assert!(!format!("{event:?}").contains("canary"));
}
