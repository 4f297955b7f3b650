//! Letting in: from a handshake to a place in the hub, or to why there is none.

use std::sync::Arc;

use http::request::Parts;

use crate::app_store::StoreError;
use crate::hooks::{Authorizer, Pass, Visit};
use crate::protocol::{App, AppId, Close, SocketId};
use crate::wire::upgrade::Knock;

use super::desk::Quota;
use super::{Asked, DECISION_TIMEOUT, Shared, poll_once};

/// A client that has been let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(super) app: Arc<App>,
    pub(super) quota: Quota,
    pub(super) socket_id: SocketId,
    /// What the authorizer gave it.
    pub(super) pass: Pass,
}

/// A handshake, and whether its client may come in.
pub(crate) type Knocked = (Result<Admitted, Close>, Box<Knock>);

impl Shared {
    /// Whether the client may come in: its app, the app's rules, the authorizer, and whether there is room.
    pub(crate) async fn decide(
        self: Arc<Self>,
        key: Option<String>,
        rules: impl FnOnce(Result<Option<Arc<App>>, StoreError>) -> Result<Arc<App>, Close> + Send,
        request: Option<Box<Parts>>,
    ) -> Result<Admitted, Close> {
        let found = match &key {
            Some(key) => self.apps.find_by_key(key).await,
            None => Ok(None),
        };
        let app = rules(found)?;
        let socket_id = new_socket_id();
        let pass = match &self.authorizer {
            None => Pass::default(),
            Some(authorizer) => {
                let request = request
                    .map_or_else(|| http::Request::new(()).into_parts().0, |request| *request);
                let visit = Visit::new(app.clone(), socket_id, request);
                Box::pin(ask(authorizer.clone(), visit)).await?
            }
        };
        self.admit(app, socket_id, pass)
    }

    /// The same for a handshake.
    async fn decide_knock(self: Arc<Self>, mut knock: Box<Knock>) -> Knocked {
        let (key, request) = (knock.key().map(str::to_owned), knock.request.take());
        let decided = self.decide(key, |found| knock.decide(found), request).await;
        (decided, knock)
    }

    /// The same, if it is known at once; or else the question, to be awaited.
    pub(crate) fn knock_at_once(
        self: &Arc<Self>,
        mut knock: Box<Knock>,
    ) -> Result<Knocked, Asked<Knocked>> {
        if self.settings.echo.is_some() {
            knock.take_any_path();
        }
        let known = match knock.key() {
            _ if self.authorizer.is_some() => None,
            Some(key) => self.apps.known_by_key(key),
            None => Some(Ok(None)),
        };
        match known {
            // What nearly everybody gets.
            Some(found) => {
                let app = knock.decide(found);
                let admit = |app| self.admit(app, new_socket_id(), Pass::default());
                Ok((app.and_then(admit), knock))
            }
            None => poll_once(Box::pin(self.clone().decide_knock(knock))),
        }
    }

    /// Takes a place, if there is one.
    fn admit(&self, app: Arc<App>, socket_id: SocketId, pass: Pass) -> Result<Admitted, Close> {
        let max = self.settings.max_connections;
        if max.is_some_and(|max| self.directory.connections() >= max) {
            return Err(Close::OVER_CAPACITY);
        }
        let desk = self.directory.desk(&app);
        let enforced = app.max_connections.filter(|_| app.enforce_max_connections);
        let quota = desk.admit(enforced).ok_or(Close::OVER_QUOTA)?;
        if let Some(max) = app.max_connections
            && desk.connections() > max
            && self.refusal_log.is_due(self.clock.now())
        {
            tracing::warn!(app = %app.id, max, "max_connections is exceeded, but not enforced for this app");
        }
        Ok(Admitted {
            app,
            quota,
            socket_id,
            pass,
        })
    }

    /// Tells whoever watches that a client has gone.
    pub(super) fn is_gone(&self, app: &AppId, socket_id: SocketId) {
        self.metrics.disconnected(app);
        self.observe(|| crate::hooks::Observed::Disconnected {
            app: app.clone(),
            socket_id,
        });
    }
}

/// The authorizer's word, if it comes in time.
async fn ask(authorizer: Arc<dyn Authorizer>, visit: Visit) -> Result<Pass, Close> {
    let asked = async move { authorizer.connect(&visit).await };
    match super::guarded(DECISION_TIMEOUT, asked).await {
        Some(decided) => decided,
        None => Err(Close::UNDECIDED),
    }
}

/// A name for a new connection. From the system's generator: it is part of what apps sign.
fn new_socket_id() -> SocketId {
    SocketId::new(
        rand::random_range(1..=u32::MAX),
        rand::random_range(1..=u32::MAX),
    )
}
