//! The service of the listener: a `POST` to the MCP path is answered directly, every other request
//! by the router.
//!
//! Nearly every request is such a `POST`, and two comparisons find it. The router with its boxed
//! layers would cost about a twentieth of a whole call.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use axum::routing::{any, get};
use futures::future::Either;
use http::Method;
use tower::Service;

use crate::caller::CallerConnection;
use crate::front::admission::authenticate;
use crate::front::answering::Answering;
use crate::front::cors;
use crate::front::http::{end_session, open_stream, refuse_method, with_request_id};
use crate::front::probes::{ping, probes};
use crate::front::resource_metadata::{self, WELL_KNOWN};
use crate::front::state::Front;

/// The service that answers the requests of a connection.
#[derive(Clone)]
pub struct EndpointService {
    front: Arc<Front>,
    connection: Arc<CallerConnection>,
    path: Arc<str>,
    /// The same path with a slash at its end, or without the one that it has.
    other_path: Arc<str>,
    rest: Router,
}

/// Builds what makes the service of a connection: the MCP endpoint, with a slash at
/// its end or without, and probes, which answer any `Host` and `Origin`. Every other path is
/// answered with where the endpoint is.
pub fn endpoint(
    front: Arc<Front>,
    path: &str,
) -> impl Fn(CallerConnection) -> EndpointService + Send + Sync + use<> {
    let tagged = from_fn_with_state(Arc::clone(&front), with_request_id);
    let methods = get(open_stream)
        .delete(end_session)
        .options(cors::preflight)
        .head(refuse_method)
        .fallback(refuse_method)
        .layer(from_fn_with_state(Arc::clone(&front), authenticate))
        .layer(from_fn_with_state(Arc::clone(&front), cors::check_origin))
        .layer(tagged);
    let other_path = match path.strip_suffix('/') {
        Some("") => path.to_owned(),
        Some(shorter) => shorter.to_owned(),
        None => format!("{path}/"),
    };
    let mut rest = Router::new().route(path, methods.clone());
    if other_path != path {
        rest = rest.route(&other_path, methods);
    }
    let rest = rest
        .fallback(async |State(front): State<Arc<Front>>| resource_metadata::not_found(&front.path))
        .route(WELL_KNOWN, any(resource_metadata::serve))
        .route(
            &format!("{WELL_KNOWN}/{{*path}}"),
            any(resource_metadata::serve),
        )
        .route("/ping", get(async || ping()))
        .with_state(Arc::clone(&front))
        .merge(probes(&front));
    let (path, other_path) = (Arc::<str>::from(path), Arc::<str>::from(other_path));
    move |connection| EndpointService {
        front: Arc::clone(&front),
        connection: Arc::new(connection),
        path: Arc::clone(&path),
        other_path: Arc::clone(&other_path),
        rest: rest.clone(),
    }
}

impl Service<Request> for EndpointService {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Answering, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let path = request.uri().path();
        let is_endpoint = path == &*self.path || path == &*self.other_path;
        if request.method() != Method::POST || !is_endpoint {
            let connection = Arc::clone(&self.connection);
            request.extensions_mut().insert(connection);
            return Either::Right(self.rest.call(request));
        }
        Either::Left(Answering::new(&self.front, &self.connection, request))
    }
}
