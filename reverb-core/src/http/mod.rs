//! HTTP: the API that backends publish by, and the door of a service that hosts the hub.
//!
//! [`HubService`] is a tower `Service`; a hub that listens itself has a short
//! cut for handshakes and plain publishes, in `hub::door`.

mod answer;
mod channels;
mod route;

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Limited};

use crate::hub::accepted::Accepted;
use crate::hub::{Desk, Hub, PublishError, Shared};
use crate::protocol::App;
use crate::protocol::auth::{self, Query};
use crate::wire::BODY_TIMEOUT;
use crate::wire::error::{ApiError, MOST_BODY};
use crate::wire::upgrade::{self, Knock, NoHandshake};

use self::answer::{json, response};
use self::route::{Action, Route};

pub use self::answer::Body;
pub use crate::wire::{Peer, Secure};

/// The hub as a tower `Service`: clients connect to `/app/{key}`, backends call `/apps/{id}/…`, anything else is 404.
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reverb_core::app_store::MemoryApps;
/// use reverb_core::hub::Hub;
///
/// let hub = Hub::builder(MemoryApps::default()).build()?;
/// let site = axum::Router::new().fallback_service(hub.service());
/// axum::serve(tokio::net::TcpListener::bind("127.0.0.1:6001").await?, site).await?;
/// # Ok(())
/// # }
/// ```
/// Call it on the hub's runtime: a handshake is judged, and takes its place, at the call. Clones are cheap. Made by
/// [`Hub::service`], and of use for as long as that hub lives: hold it while you serve. Without
/// it every client gets status 503.
#[derive(Clone)]
pub struct HubService {
    shared: Arc<Shared>,
}

impl Hub {
    /// The hub as a tower `Service`, for axum and other hosts.
    #[must_use]
    pub fn service(&self) -> HubService {
        HubService {
            shared: self.shared().clone(),
        }
    }
}

impl HubService {
    /// Answers a request of an app's backend.
    async fn answer<B>(
        &self,
        method: &Method,
        uri: &Uri,
        is_tls: bool,
        body: B,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = uri.path();
        let query = uri.query().unwrap_or_default();
        let mut signed = auth::Request {
            method: method.as_str(),
            path,
            query,
            body: &[],
        };
        // Who does not even claim to be an app's backend is not read further, unless that costs more than it saves.
        let is_small = body.size_hint().upper().is_some_and(|size| size <= SMALL);
        let (body, route, app) = if is_small {
            let body = read_body(body).await?;
            let (route, app) = self.admit(uri, is_tls, &signed).await?;
            (body, route, app)
        } else {
            let admitted = async {
                let (route, app) = self.admit(uri, is_tls, &signed).await?;
                signed.check_claims(&app, self.shared.clock.unix_time().as_secs())?;
                Ok((route, app))
            };
            match admitted.await {
                Ok((route, app)) => (read_body(body).await?, route, app),
                Err(error) => return Err(refuse(&body, error)),
            }
        };
        signed.body = &body;
        self.shared.check_signed(&app, &signed)?;
        let desk = self.shared.directory.desk(&app);
        self.perform(&route.action, &Call { app, desk }, query, &body)
            .await
    }

    /// The path below the hub's own.
    fn within<'a>(&self, uri: &'a Uri) -> &'a str {
        self.shared.settings.within(uri.path()).unwrap_or_default()
    }

    /// What a request asks for, and the app that it says it is from.
    async fn admit(
        &self,
        uri: &Uri,
        is_tls: bool,
        request: &auth::Request<'_>,
    ) -> Result<(Route, Arc<App>), ApiError> {
        let path = self.within(uri);
        if path.starts_with("/app/") {
            return Err(ApiError::not_allowed("GET"));
        }
        let route = Route::find(path).ok_or_else(ApiError::not_found)?;
        let methods = route.action.methods();
        if !methods.split(", ").any(|method| method == request.method) {
            return Err(ApiError::not_allowed(methods));
        }
        let app = self
            .shared
            .claimed(route.app.as_deref(), request.query)
            .await?;
        if app.force_tls && !is_tls {
            return Err(ApiError::not_by_tls());
        }
        Ok((route, app))
    }

    async fn perform(
        &self,
        action: &Action,
        call: &Call,
        query: &str,
        body: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let Call { app, desk } = call;
        let now = self.shared.clock.now();
        if !action.is_post() {
            let limit = app.limits.reads_per_second;
            desk.take_read(now).map_err(|wait| {
                ApiError::too_often(&format!("reads_per_second is {limit}"), wait)
            })?;
        }
        let query = || Query::parse(query);
        let body = match action {
            Action::Publish { is_batch } => return self.publish(app, body, *is_batch, now).await,
            Action::Channels => channels::list(desk, &query()?)?,
            Action::Channel(name) => channels::one(desk, app, name, &query()?, now)?,
            Action::Users(name) => channels::users(desk, app, name)?,
            Action::Connections => channels::connections(desk),
            Action::Terminate(user) => channels::terminate(&self.shared.directory, desk, user)?,
        };
        Ok(json(StatusCode::OK, body))
    }

    async fn publish(
        &self,
        app: &Arc<App>,
        body: &[u8],
        is_batch: bool,
        now: Instant,
    ) -> Result<Response<Body>, ApiError> {
        let (publication, answer) = {
            let accepted = Accepted::read(&self.shared, app.clone(), body, is_batch, now)?;
            (accepted.publication(), accepted.answer())
        };
        let sent = publication.send(self.shared.directory.clone(), now).await;
        sent.map_err(PublishError::from)?;
        let answer = match answer {
            Cow::Borrowed(answer) => Bytes::from_static(answer.as_bytes()),
            Cow::Owned(answer) => answer.into(),
        };
        Ok(json(StatusCode::OK, answer))
    }

    /// Whether a request came by TLS, as far as the host or a believed proxy says.
    fn is_tls<B>(&self, request: &Request<B>) -> bool {
        let (said, settings) = (request.extensions(), &self.shared.settings);
        let is_believed = || said.get().is_some_and(|Peer(peer)| settings.trusts(*peer));
        let forwarded = || request.headers().get("x-forwarded-proto")?.to_str().ok();
        said.get::<Secure>().is_some()
            || (is_believed() && forwarded().is_some_and(upgrade::is_tls))
    }

    /// Whether a client wants in, or somebody looks where clients come in.
    fn is_for_clients<B>(&self, request: &Request<B>) -> bool {
        let upgrade = request.headers().get(UPGRADE);
        let upgrade = upgrade.and_then(|value| value.to_str().ok());
        request.method() == Method::GET
            && (upgrade.is_some_and(|name| name.to_ascii_lowercase().contains("websocket"))
                || self.within(request.uri()).starts_with("/app/"))
    }

    /// Answers a handshake, and moves the connection into a shard once hyper lets go of it.
    fn connect<B>(&self, mut request: Request<B>) -> Result<Response<Body>, ApiError> {
        if self.shared.is_ending() {
            let error = ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is shutting down, reconnect",
            );
            return Err(ApiError {
                retry_after: Some(1),
                closes: true,
                ..error
            });
        }
        if request.version() != Version::HTTP_11 {
            return Err(ApiError::bad_request(
                "a WebSocket handshake needs HTTP/1.1",
            ));
        }
        let is_tls = self.is_tls(&request);
        let path = self.within(request.uri());
        let query = request.uri().query().unwrap_or_default();
        let lines = request.headers().iter();
        let lines = lines.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let mut knock = Knock::read(path, query, is_tls, lines).map_err(|none| match none {
            NoHandshake::UpgradeRequired => ApiError::new(
                StatusCode::UPGRADE_REQUIRED,
                "connect with a WebSocket client (Upgrade: websocket, version 13)",
            ),
            NoHandshake::Bad(why) => ApiError::bad_request(why),
        })?;
        let mut response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade");
        for (name, value) in knock.answer() {
            response = response.header(name, value);
        }
        let response = response
            .body(Body::default())
            .map_err(|_| ApiError::bad_request("Sec-WebSocket-Protocol is malformed"))?;
        let upgrade = hyper::upgrade::on(&mut request);
        if self.shared.authorizer.is_some() {
            let (parts, _) = request.into_parts();
            knock.request = Some(Box::new(parts));
        }
        let shared = self.shared.clone();
        // Nearly always that is known at once, and the task stays small.
        match self.shared.knock_at_once(Box::new(knock)) {
            Ok((decided, _)) => tokio::spawn(async move {
                if let Ok(upgraded) = upgrade.await {
                    shared.take_in_upgraded(upgraded, decided);
                }
            }),
            Err(asked) => tokio::spawn(async move {
                let (decided, _) = asked.await;
                if let Ok(upgraded) = upgrade.await {
                    shared.take_in_upgraded(upgraded, decided);
                }
            }),
        };
        Ok(response)
    }
}

/// A request of an app's backend, proved to be its own.
pub(crate) struct Call {
    app: Arc<App>,
    desk: Arc<Desk>,
}

/// What is wrong with a request's head, if it is one that a proxy in front might understand differently, or has a compressed
/// body: answer with this status and sentence, and close the connection.
///
/// The hub refuses these itself; a site with paths of its own beside the hub's asks here to be as strict.
pub fn unclear<B>(request: &Request<B>) -> Option<(StatusCode, String)> {
    judge(request)
        .err()
        .map(|error| (error.status, error.message))
}

/// As strict as the hub's own door is with a head, also with those that come later on a connection: what a proxy in front
/// might understand differently is refused.
fn judge<B>(request: &Request<B>) -> Result<(), ApiError> {
    let mut codings = request.headers().get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let why = "a body must not be compressed";
        return Err(ApiError {
            closes: true,
            ..ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
        });
    }
    let refuse = |why: &str| {
        Err(ApiError {
            closes: true,
            ..ApiError::bad_request(why)
        })
    };
    if request.version() != Version::HTTP_11 {
        return Ok(());
    }
    if request.headers().get_all(HOST).iter().count() != 1 {
        return refuse("a request needs one Host header");
    }
    let mut encodings = request.headers().get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(encoding), None) if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => refuse("Transfer-Encoding must be chunked"),
    }
}

/// A body up to this size is read whoever sends it.
const SMALL: u64 = 64 * 1024;

/// Refuses a request whose body was not read, so that nothing can follow it.
fn refuse<B: http_body::Body>(body: &B, error: ApiError) -> ApiError {
    ApiError {
        closes: error.closes || !body.is_end_stream(),
        ..error
    }
}

async fn read_body<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let broken = |status, message: &str| ApiError {
        closes: true,
        ..ApiError::new(status, message)
    };
    if body.size_hint().lower() > MOST_BODY as u64 {
        return Err(ApiError::large_body());
    }
    // Boxed: it would be most of what a request takes.
    let mut collect = Box::pin(Limited::new(body, MOST_BODY).collect());
    // Nearly always all of it is there, and nothing has to be timed.
    let collected = match poll_fn(|context| Poll::Ready(collect.as_mut().poll(context))).await {
        Poll::Ready(collected) => Ok(collected),
        Poll::Pending => Box::pin(tokio::time::timeout(BODY_TIMEOUT, collect)).await,
    };
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::large_body())
        }
        Ok(Err(_)) => Err(broken(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(broken(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long",
        )),
    }
}

impl<B> tower_service::Service<Request<B>> for HubService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let refused = judge(&request).err();
        if refused.is_some() || self.is_for_clients(&request) {
            let answer = refused.map_or_else(|| self.connect(request), Err);
            return Box::pin(std::future::ready(Ok(response(answer))));
        }
        let (service, is_tls) = (self.clone(), self.is_tls(&request));
        // Of the head nothing else is kept while the body comes.
        let (Parts { method, uri, .. }, body) = request.into_parts();
        Box::pin(async move { Ok(response(service.answer(&method, &uri, is_tls, body).await)) })
    }
}

impl fmt::Debug for HubService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubService").finish_non_exhaustive()
    }
}
