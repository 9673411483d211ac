//! The HTTP endpoint: what comes in is turned away, or classified by era and handed on.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use http_body::Body as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Listen;
use crate::front::answer::{self, Accepts};
use crate::front::drain::{Draining, GivenUp};
use crate::front::endpoint::Endpoint;
use crate::front::intake::{self, Intake};
use crate::front::session::Sessions;
use crate::front::{batch, cors, legacy, modern};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::{Fault, Refusal};
use crate::protocol::headers::{LAST_EVENT_ID, VERSION};
use crate::protocol::message::{Message, Notification};
use crate::protocol::method;
use crate::protocol::origin::OriginCheck;
use crate::protocol::trace::Trace;
use crate::relay::Payload;
use crate::upstream::HealthState;

/// The HTTP methods of the endpoint.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE, OPTIONS");

/// What answering callers takes.
#[derive(Debug)]
pub struct Front {
    pub(super) live: Arc<Live>,
    pub(super) sessions: Arc<Sessions>,
    /// Weir was told to stop: streams end, nobody is let in any more.
    pub(super) shutdown: CancellationToken,
    /// Calls under way have had their time.
    pub(super) given_up: GivenUp,
    pub(super) tasks: TaskTracker,
    pub(super) metrics: Arc<Metrics>,
    origins: OriginCheck,
    intake: Intake,
    started: Instant,
}

impl Front {
    /// A front for one listener.
    #[must_use]
    pub fn new(
        listen: &Listen,
        live: Arc<Live>,
        sessions: Arc<Sessions>,
        draining: &Draining,
        tasks: TaskTracker,
    ) -> Self {
        let loopback = listen.address.ip().is_loopback();
        let origins = OriginCheck::new(loopback, &listen.allowed_hosts, &listen.allowed_origins);
        let intake = Intake::new(listen);
        let metrics = Arc::clone(&live.load().metrics);
        Self {
            live,
            sessions,
            shutdown: draining.begun.clone(),
            given_up: draining.given_up.clone(),
            tasks,
            metrics,
            origins,
            intake,
            started: Instant::now(),
        }
    }
}

/// Everything the listener answers: the endpoint, and probes, which answer any `Host` and `Origin`.
#[must_use]
pub fn endpoint(front: Arc<Front>, path: &str) -> Endpoint {
    let named = from_fn_with_state(Arc::clone(&front), named);
    let rest = Router::new()
        .route(
            path,
            get(stream)
                .delete(end)
                .options(cors::preflight)
                .head(other)
                .fallback(other)
                .layer(from_fn_with_state(Arc::clone(&front), cors::layer))
                .layer(named),
        )
        .route("/ping", get(async || ping()))
        .with_state(Arc::clone(&front))
        .merge(probes(&front));
    Endpoint::new(front, path, rest)
}

/// `/healthz` and `/readyz`, which the admin listener has too: it still answers while weir drains.
pub fn probes(front: &Arc<Front>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(front))
}

/// AgentCore Runtime's health check: `{"status": "Healthy"}`.
fn ping() -> Response {
    answer::json(Payload::ok(vec![Bytes::from_static(
        b"{\"status\":\"Healthy\"}",
    )]))
}

/// Ready once every upstream has been listed, has a stored listing, has failed once, or has had its list timeout, and until weir is
/// told to stop; the body says why not, and which upstreams are behind.
async fn ready(State(front): State<Arc<Front>>) -> Response {
    let snapshot = front.live.load_full();
    let up_for = front.started.elapsed();
    let behind = snapshot.links.iter().filter(|link| {
        link.health.state() == HealthState::Connecting && link.health.report().at.is_none()
    });
    let (late, behind): (Vec<_>, Vec<_>) =
        behind.partition(|link| up_for >= link.config.timeouts.list);
    let reason = match (front.shutdown.is_cancelled(), behind.is_empty()) {
        (true, _) => Some("draining"),
        (false, false) => Some("upstreams have not answered yet"),
        (false, true) => None,
    };
    let ready = reason.is_none();
    let behind: Vec<&str> = behind
        .into_iter()
        .chain(late)
        .map(|link| link.id().as_str())
        .collect();
    let generation = snapshot.generation;
    let body = serde_json::json!({ "ready": ready, "reason": reason, "generation": generation, "behind": behind });
    let mut payload = Payload::ok(vec![body.to_string().into()]);
    if !ready {
        payload.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer::json(payload)
}

/// Whatever the endpoint answers to other methods than `POST` names the request.
async fn named(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let trace = Trace::of(request.headers());
    let response = next.run(request).await;
    signed(&front, &trace, response)
}

/// An answer of the endpoint: counted, and with the name of its request.
fn signed(front: &Front, trace: &Trace, mut response: Response) -> Response {
    front.metrics.responded(response.status());
    trace.answer(response.headers_mut());
    response
}

/// `POST`: one message, or a batch. Every answer names the request.
pub(super) async fn post(front: &Arc<Front>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let mut trace = Trace::of(&parts.headers);
    let read = match admitted(front, &parts, &body) {
        Ok(accepts) => intake::read(&mut body, front.intake)
            .await
            .map(|body| (accepts, body)),
        Err(fault) => Err(fault),
    };
    let readable = !matches!(read, Err(Fault::Forbidden));
    let mut response = match read {
        Ok((accepts, body)) => {
            let handled = handle(front, &parts.headers, accepts, &body, &mut trace);
            tokio::select! {
                biased;
                response = handled => response,
                () = front.given_up.cancelled() => given_up(front, &body),
            }
        }
        Err(fault) => {
            front.tasks.spawn(intake::linger(body));
            legacy::refuse(None, &fault)
        }
    };
    if readable {
        cors::allow(&parts.headers, &mut response);
    }
    signed(front, &trace, response)
}

/// The answer to a call that the grace period was too short for.
fn given_up(front: &Front, body: &[u8]) -> Response {
    let message = std::str::from_utf8(body).map(Message::parse);
    let id = match message {
        Ok(Ok(Message::Request(request))) => Some(request.id),
        _ => None,
    };
    front.metrics.refused(&Fault::ShuttingDown);
    answer::json(Payload::fault(
        id.as_ref(),
        &Fault::ShuttingDown,
        Era::Legacy,
    ))
}

/// What can be said before the body is read.
fn admitted(front: &Front, parts: &Parts, body: &Body) -> Result<Accepts, Fault> {
    check_origin(front, &parts.headers)?;
    if body.size_hint().lower() > front.intake.most as u64 {
        return Err(Fault::TooLarge);
    }
    let media = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Fault::MediaType);
    }
    match Accepts::read(&parts.headers) {
        Accepts::Nothing => Err(Fault::NotAcceptable),
        accepts @ (Accepts::Json | Accepts::Events | Accepts::EventsFirst) => Ok(accepts),
    }
}

/// `Host` and `Origin`.
pub(super) fn check_origin(front: &Front, headers: &HeaderMap) -> Result<(), Fault> {
    front.origins.check(headers).map_err(|turned| {
        tracing::warn!(reason = %turned, "request turned away");
        Fault::Forbidden
    })
}

/// Which era a message belongs to, and what follows (`basic/versioning.mdx`).
async fn handle(
    front: &Arc<Front>,
    headers: &HeaderMap,
    accepts: Accepts,
    body: &[u8],
    trace: &mut Trace,
) -> Response {
    let Ok(text) = std::str::from_utf8(body) else {
        return legacy::refuse(None, &Fault::Parse);
    };
    if batch::is_meant(text) {
        return batch::post(front, headers, accepts, text, trace).await;
    }
    let version = headers
        .get(VERSION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let modern_header = Version::claims_modern(version.trim());
    let message = match Message::parse(text) {
        Ok(message) => message,
        Err(Refusal { id, fault }) => {
            return legacy::refuse(id.as_ref(), &fault);
        }
    };
    match message {
        Message::Request(request) => {
            trace.heed(request.meta.as_ref());
            if modern_header
                && request.method == method::INITIALIZE
                && !modern::claims(request.meta.as_ref())
            {
                let fault = Fault::HeaderMismatch(
                    "initialize is legacy, MCP-Protocol-Version is not".into(),
                );
                return legacy::refuse(Some(&request.id), &fault);
            }
            if modern_header || modern::claims(request.meta.as_ref()) {
                return modern::request(front, headers, accepts, &request, trace).await;
            }
            if request.method == method::INITIALIZE {
                return legacy::open(front, &request);
            }
            match legacy::session(front, headers) {
                Ok(session) => legacy::request(front, &session, accepts, &request, trace).await,
                Err(fault) => legacy::refuse(Some(&request.id), &fault),
            }
        }
        Message::Notification(notification) => noted(front, headers, modern_header, &notification),
        Message::Response(response) => match legacy::session(front, headers) {
            Ok(session) => {
                front.sessions.caller(&session).answered(&response);
                answer::bare(StatusCode::ACCEPTED)
            }
            Err(fault) => legacy::refuse(None, &fault),
        },
    }
}

/// A notification. Modern ones mean nothing over HTTP: there, closing the stream is what cancels.
fn noted(
    front: &Front,
    headers: &HeaderMap,
    modern_header: bool,
    notification: &Notification<'_>,
) -> Response {
    if modern_header || modern::envelope_claims(&notification.envelope) {
        return answer::bare(StatusCode::ACCEPTED);
    }
    match legacy::session(front, headers) {
        Ok(session) => {
            legacy::notification(&front.sessions.caller(&session), notification);
            answer::bare(StatusCode::ACCEPTED)
        }
        Err(fault) => legacy::refuse(None, &fault),
    }
}

/// `GET`: a legacy session's stream.
async fn stream(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    match in_session(&front, &headers) {
        Ok(_) if !Accepts::read(&headers).streams() => legacy::refuse(None, &Fault::NotAcceptable),
        Ok(session) => {
            let last = headers.get(LAST_EVENT_ID);
            legacy::stream(&front, &session, last.and_then(|last| last.to_str().ok()))
        }
        Err(response) => *response,
    }
}

/// `DELETE`: ends a legacy session.
async fn end(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    match in_session(&front, &headers) {
        Ok(session) => {
            front.sessions.end(&session);
            answer::bare(StatusCode::NO_CONTENT)
        }
        Err(response) => *response,
    }
}

fn in_session(
    front: &Front,
    headers: &HeaderMap,
) -> Result<super::session::Session, Box<Response>> {
    legacy::session(front, headers).map_err(|fault| Box::new(legacy::refuse(None, &fault)))
}

/// Any other method. `HEAD` too: answered as `GET` it would take the session's stream over.
async fn other() -> Response {
    let mut response = legacy::refuse(None, &Fault::HttpMethod);
    response.headers_mut().insert(header::ALLOW, METHODS);
    response
}
