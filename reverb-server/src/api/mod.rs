//! The management API: apps of the database over HTTP, under `/api/reverb-apps`, for whoever shows the token.
//!
//! [`Api`] is a part of the [`Site`](crate::site::Site). A request passes four gates, in this order: the counter of wrong tokens, the
//! token, the counters of calls, and only then what it asks for. So nobody learns without a token what apps there are, and
//! guessing neither goes on for long nor uses up the calls of who knows it.
//!
//! Paths, fields, status codes and sentences are those of Reverb Pusher's first version, which ran on Laravel, so that scripts
//! made for it go on; `openapi.json`, which the server shows at `/api/openapi.json`, describes all of them. Apps of the
//! configuration are not part of it: nothing changes them.

mod apps;
mod auth;
mod reply;
mod resource;
mod routes;
mod settings;
mod throttle;
mod validate;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as HttpBody;
use ipnet::IpNet;
use reverb_core::app_store::BoxError;
use reverb_core::clock::Clock;
use reverb_core::http::{Body, Peer, unclear};

use crate::apps::Apps;
use crate::config::Config;

pub use self::auth::Token;

use self::reply::{Answer, Refusal};
use self::routes::Action;
use self::throttle::{Exhausted, Left, Throttle};

/// The management API. Clones are the same one.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
}

struct Shared {
    token: Option<Token>,
    apps: Apps,
    /// What a new app has, as the configuration says.
    activity_timeout: Duration,
    trusted_proxies: Vec<IpNet>,
    throttle: Throttle,
    clock: Arc<dyn Clock>,
}

/// Largest body, in bytes: a description at the most that MySQL takes, and hundreds of origins.
const MOST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

impl Api {
    /// The API of these apps.
    #[must_use]
    pub fn new(config: &Config, apps: Apps, clock: impl Clock) -> Self {
        let shared = Shared {
            token: config.api_token.clone(),
            apps,
            activity_timeout: config.activity_timeout,
            trusted_proxies: config.trusted_proxies.clone(),
            throttle: Throttle::default(),
            clock: Arc::new(clock),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Whether a path, without the server's prefix, is one of this API.
    #[must_use]
    pub fn has(path: &str) -> bool {
        let rest = path.strip_prefix("/api");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers a request whose path is this, without the server's prefix.
    pub async fn answer<B>(&self, request: Request<B>, path: &str) -> Response<Body>
    where
        B: HttpBody,
        B::Error: Into<BoxError>,
    {
        let shared = &*self.shared;
        let call = Call::new(shared, path, &request);
        let unclear = unclear(&request);
        let (head, body) = request.into_parts();
        let mut body = Some(body).filter(|body| !body.is_end_stream());
        let mut left = None;
        let answer = async {
            if let Some((status, why)) = unclear {
                return Err(Refusal::Request(status, why));
            }
            let action = shared.admit(&call, &head, &mut left)?;
            let body = match body.take() {
                Some(body) => read(body).await?,
                None => Bytes::new(),
            };
            shared.perform(action, head.uri.query(), &body).await
        };
        let answer = answer.await;
        let mut response = answer.unwrap_or_else(|refusal| refusal.response());
        reply::tell_left(&mut response, left);
        if body.is_some() {
            reply::close(&mut response);
        }
        response
    }
}

/// Who asks for what.
struct Call {
    caller: IpAddr,
    path: String,
}

impl Call {
    fn new<B>(shared: &Shared, path: &str, request: &Request<B>) -> Self {
        let peer = request.extensions().get::<Peer>();
        // Who accepts connections and does not say from whom has one counter for all.
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        Self {
            caller: throttle::caller(peer, request.headers(), &shared.trusted_proxies),
            path: path.to_owned(),
        }
    }
}

impl Shared {
    /// Lets a request pass the gates; what it asks for.
    fn admit(&self, call: &Call, head: &Parts, left: &mut Option<Left>) -> Result<Action, Refusal> {
        let route = routes::find(&head.method, &call.path);
        // What the API is like is no secret, and who asks for it may be a tool that knows no token.
        if let Ok(Action::Document) = route {
            return Ok(Action::Document);
        }
        let Some(token) = &self.token else {
            return Err(Refusal::Closed);
        };
        let now = self.clock.now();
        let too_many = |exhausted: Exhausted| Refusal::TooMany {
            exhausted,
            unix: self.clock.unix_time().as_secs(),
        };
        let Throttle {
            calls,
            failures,
            restarts,
        } = &self.throttle;
        failures.check(call.caller, now).map_err(too_many)?;
        if !token.is_shown(&head.headers) {
            *left = failures.take(call.caller, now).ok();
            return Err(Refusal::Token);
        }
        *left = Some(calls.take(call.caller, now).map_err(too_many)?);
        if let Ok(Action::Restart) = route {
            let restarts = restarts.take(call.caller, now).map_err(too_many)?;
            *left = left
                .take()
                .into_iter()
                .chain([restarts])
                .min_by_key(|left| left.remaining);
        }
        route
    }

    async fn perform(&self, action: Action, query: Option<&str>, body: &[u8]) -> Answer {
        match action {
            Action::List => self.list(query.unwrap_or_default()).await,
            Action::Create => self.create(body).await,
            Action::Show(id) => self.show(&id).await,
            Action::Update(id) => self.update(&id, body).await,
            Action::Delete(id) => self.delete(&id).await,
            Action::RotateSecret(id) => self.rotate_secret(&id, body).await,
            Action::RotateKey(id) => self.rotate_key(&id).await,
            Action::Restart => self.restart().await,
            Action::Document => Ok(reply::whole(
                StatusCode::OK,
                Bytes::from_static(routes::DOCUMENT.as_bytes()),
            )),
        }
    }
}

async fn read<B>(body: B) -> Result<Bytes, Refusal>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    let refuse = |status, why: &str| Err(Refusal::Request(status, why.to_owned()));
    let large = || {
        let why = format!("The body must not be larger than {MOST_BODY} bytes.");
        Err(Refusal::Request(StatusCode::PAYLOAD_TOO_LARGE, why))
    };
    if body.size_hint().lower() > MOST_BODY as u64 {
        return large();
    }
    let collect = Limited::new(body, MOST_BODY).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collect).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => large(),
        Ok(Err(_)) => refuse(StatusCode::BAD_REQUEST, "The body broke off."),
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "The body took too long."),
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("token", &self.shared.token)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
