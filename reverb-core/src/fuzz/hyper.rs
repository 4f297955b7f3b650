//! What hyper reads from the same bytes.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::rt::{Read, ReadBufCursor, Write};

/// A request as hyper hands it to its service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
}

/// Has hyper serve a connection that brings these bytes and no more. Returns the requests it saw, and its error.
pub(super) fn serve(input: &[u8]) -> (Vec<Seen>, Option<hyper::Error>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
        let seen = seen.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string());
            let body = body.expect("a body that came whole").to_bytes().to_vec();
            let (method, target) = (parts.method.to_string(), parts.uri.to_string());
            let request = Seen {
                method,
                target,
                body,
            };
            seen.lock().expect("one thread").push(request);
            Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    let stream = Stream(input.to_vec(), 0);
    let mut connection =
        pin!(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
    let alarm = Arc::new(Alarm(AtomicBool::new(true)));
    let waker = Waker::from(alarm.clone());
    let mut error = None;
    while alarm.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(end) = connection.as_mut().poll(&mut Context::from_waker(&waker)) {
            error = end.err();
            break;
        }
    }
    let seen = seen.lock().expect("one thread").clone();
    (seen, error)
}

struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Brings its bytes, then nothing; what is written goes nowhere.
struct Stream(Vec<u8>, usize);

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let count = into.remaining().min(this.0.len() - this.1);
        if count == 0 {
            return Poll::Pending;
        }
        into.put_slice(&this.0[this.1..this.1 + count]);
        this.1 += count;
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
