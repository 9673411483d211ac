//! The reserve: connections beyond the limit, for what must be answered all the same.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::Service;

use crate::large::Pauses;

/// Connections of the reserve. A probe needs one for milliseconds; and in the reserve too, the
/// oldest one makes room for the next.
pub(super) const CONNECTIONS: usize = 32;
/// How long a header may take in the reserve.
pub(super) const HEADER: Duration = Duration::from_secs(2);

/// The paths of probes.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/ping"];
/// When clients may come back.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// How long, and how many bytes of, a body is read that is not used: with unread bytes a connection
/// is reset when it is closed, and its client may lose the answer.
const DISCARD: (Duration, usize) = (Duration::from_secs(1), 1 << 20);

/// The answers of a listener's reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveFor {
    /// Probes. All else is told to come back.
    Probes,
    /// Everything: one request for each connection.
    Operators,
}

/// The service of a connection of the reserve.
#[derive(Clone)]
pub(super) struct ReserveService<S> {
    pub(super) service: S,
    pub(super) reserve: ReserveFor,
}

impl<S> Service<Request> for ReserveService<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let path = request.uri().path();
        if self.reserve == ReserveFor::Operators || PROBES.contains(&path) {
            return Either::Left(self.service.call(request));
        }
        let refuse = async move {
            let _ = tokio::time::timeout(DISCARD.0, discard(request.into_body())).await;
            Ok(busy())
        };
        Either::Right(refuse.boxed())
    }
}

async fn discard(mut body: Body) {
    let (mut read, mut pauses) = (0, Pauses::default());
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
        read += bytes;
        if read > DISCARD.1 {
            return;
        }
        pauses.count(bytes);
        pauses.pause().await;
    }
}

/// Returns the answer that tells to come back.
fn busy() -> Response {
    let mut response = Response::new(Body::from("too many connections are open\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    response
}
