//! [`Site`]: what the server answers besides the hub: whether it is up, and the management API.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use reverb_core::http::{Body, HubService};
use tower_service::Service;

use crate::api::Api;

/// `/up`, `/health` and `/api`, and the hub for everything else.
///
/// All of ours are there with and without the path prefix: who calls the server itself finds them where they have always been,
/// and who only gets to it through a proxy that hands on the prefix finds them there.
#[derive(Clone, Debug)]
pub struct Site {
    hub: HubService,
    api: Api,
    path: Arc<str>,
}

impl Site {
    /// The site around this hub, whose paths begin with `path`.
    #[must_use]
    pub fn new(hub: HubService, api: Api, path: &str) -> Self {
        Self {
            hub,
            api,
            path: path.into(),
        }
    }
}

impl Service<Request<Incoming>> for Site {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path();
        match path.strip_prefix(&*self.path).unwrap_or(path) {
            // As Laravel Reverb answers.
            "/up" if is_read => Box::pin(async { Ok(healthy(r#"{"health":"OK"}"#)) }),
            "/health" if is_read => Box::pin(async { Ok(healthy(r#"{"status":"healthy"}"#)) }),
            inner if Api::has(inner) => {
                let (api, inner) = (self.api.clone(), inner.to_owned());
                Box::pin(async move { Ok(api.answer(request, &inner).await) })
            }
            _ => self.hub.call(request),
        }
    }
}

fn healthy(body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(body.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
