//! The state that answering callers needs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authentication::CurrentAuthenticator;
use crate::caller::{Caller, CallerConnection};
use crate::config::Listen;
use crate::front::drain::{Draining, GivenUp};
use crate::front::forwarding::{ForwardedRequest, Forwarding};
use crate::front::intake::Intake;
use crate::front::replay::ReplayBuffers;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::origin::{OriginCheck, OriginError};
use crate::protocol::trace::Trace;
use crate::record::Record;
use crate::seal::MarkKeys;
use crate::session::{Crossings, PlatformSessions, SessionTable};

/// The HTTP methods of the endpoint.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE, OPTIONS");

/// The state that answering callers needs, for one listener.
#[derive(Debug)]
pub struct Front {
    pub(super) live: Arc<Live>,
    pub(super) sessions: Arc<SessionTable>,
    /// The calls of modern callers that legacy upstreams may ask something.
    pub(super) crossings: Arc<Crossings>,
    /// The sessions of a platform in front, if it gives the ids.
    pub(super) platform: Option<PlatformSessions>,
    /// Whether requests wait for upstreams no more: see `front::startup`.
    pub(super) is_started: AtomicBool,
    /// The way to other replicas, if there is one.
    pub(super) forwarding: Option<Forwarding>,
    /// Streamed answers that can be resumed after a broken connection.
    pub(super) replays: Arc<ReplayBuffers>,
    /// Cancelled when weir has to stop: streams end, and no more connections are accepted.
    pub(super) shutdown: CancellationToken,
    /// Cancelled at the end of the grace period for calls under way.
    pub(super) given_up: GivenUp,
    pub(super) tasks: TaskTracker,
    pub(super) metrics: Arc<Metrics>,
    pub(super) intake: Intake,
    /// `listen.keep_alive`
    pub(super) keep_alive: Duration,
    pub(super) started: Instant,
    /// The way callers are authenticated.
    pub(super) authentication: Arc<CurrentAuthenticator>,
    /// `listen.path`
    pub(super) path: Box<str>,
    /// That of the listener's own URLs.
    pub(super) scheme: &'static str,
    /// Whether only this machine can connect.
    pub(super) is_loopback: bool,
    /// The keys that bind handles of upstreams to principals.
    pub(super) marks: Arc<MarkKeys>,
    origins: OriginCheck,
}

impl Front {
    /// Makes the state of one listener.
    #[must_use]
    pub fn new(
        listen: &Listen,
        live: Arc<Live>,
        (authentication, marks): (Arc<CurrentAuthenticator>, Arc<MarkKeys>),
        (sessions, crossings): (Arc<SessionTable>, Arc<Crossings>),
        forwarding: Option<Forwarding>,
        draining: &Draining,
        tasks: TaskTracker,
    ) -> Self {
        let is_loopback = listen.address.ip().is_loopback();
        let origins = OriginCheck::new(is_loopback, &listen.allowed_hosts, &listen.allowed_origins);
        let intake = Intake::new(listen);
        let metrics = Arc::clone(&live.load().metrics);
        Self {
            live,
            sessions,
            crossings,
            platform: listen.platform_sessions.then(PlatformSessions::default),
            is_started: AtomicBool::new(false),
            forwarding,
            replays: Arc::new(ReplayBuffers::new(listen.keep_alive)),
            shutdown: draining.begun.clone(),
            given_up: draining.given_up.clone(),
            tasks,
            metrics,
            origins,
            authentication,
            marks,
            path: listen.path.as_str().into(),
            scheme: match listen.tls {
                Some(_) => "https",
                None => "http",
            },
            is_loopback,
            intake,
            keep_alive: listen.keep_alive,
            started: Instant::now(),
        }
    }

    /// Opens the record of a request that has so many bytes.
    pub(super) fn record(
        &self,
        caller: Caller,
        request: &Request<'_>,
        bytes: usize,
        trace: &Trace,
    ) -> Record {
        let record = Record::open(&self.metrics, caller, &request.method, trace);
        record.audited(self.live.audit(), request, bytes)
    }

    /// Reads what another replica says of a request that it forwards; `None` if nobody forwards it. The
    /// connection becomes that of its caller.
    ///
    /// # Errors
    /// The status to refuse it with.
    pub(super) fn read_forwarded(
        &self,
        headers: &HeaderMap,
        connection: &mut Arc<CallerConnection>,
    ) -> Result<Option<ForwardedRequest>, StatusCode> {
        let Some(forwarding) = &self.forwarding else {
            return Ok(None);
        };
        let forwarded = forwarding.receive(headers)?;
        if let Some(forwarded) = &forwarded {
            *connection = Arc::new(CallerConnection {
                address: forwarded.address,
                memory: connection.memory.clone(),
                certificate: None,
            });
        }
        Ok(forwarded)
    }

    /// Checks `Host` and `Origin`.
    ///
    /// # Errors
    /// 403: one of them is not allowed. 400: there is no single authority.
    pub(super) fn check_origin(&self, request: &Parts) -> Result<(), Fault> {
        self.origins.check(request).map_err(|error| {
            tracing::warn!(reason = %error, "request refused");
            match error {
                OriginError::Origin | OriginError::Host => Fault::Forbidden,
                OriginError::Authority => Fault::Authority,
            }
        })
    }
}
