//! Calls: the route, the edit, the link.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;

use crate::catalog::Route;
use crate::config::Retry;
use crate::json::{self, Object, ObjectError};
use crate::name::UpstreamIndex;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::{headers, meta, method};
use crate::relay::asked::Asks;
use crate::relay::crossing::Crossing;
use crate::relay::logs::Logs;
use crate::relay::outbound::Said;
use crate::relay::reply::{Reply, Sending, Way};
use crate::relay::{Scope, hops, outbound};
use crate::upstream::{Exchange, Link, LinkError, OutboundRequest, Peer};

/// Where a request goes and what becomes of it there.
pub(super) struct Target<'p> {
    pub(super) method: &'static str,
    pub(super) upstream_index: UpstreamIndex,
    pub(super) params: Object<'p>,
    /// What the upstream calls it, for `Mcp-Name`.
    pub(super) name: Option<Cow<'p, str>>,
    pub(super) route: Option<Route>,
    /// Whether ids of tasks may come back.
    pub(super) wraps_tasks: bool,
}

/// `tools/call`
///
/// # Errors
/// No such tool, bad arguments, mismatching headers, an upstream that cannot be reached.
pub(super) async fn tool(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    let mut params = request.params.clone();
    let name = params
        .string("name")
        .ok_or_else(|| missing("name"))?
        .into_owned();
    let catalog = &scope.snapshot.catalog;
    let route = catalog
        .tool(&name)
        .filter(|route| route.is_listed(scope.era()));
    let route = route.ok_or_else(|| Fault::UnknownTool(name.chars().take(200).collect()))?;
    if let Some(found) = scope.headers {
        headers::check_params(found, route.header_params(), params.get("arguments"))?;
    }
    if let Some(rules) = route.argument_rules() {
        let changed = rules
            .apply(params.get("arguments"))?
            .map(|text| text.into_owned());
        if let Some(changed) = changed {
            params.set("arguments", changed);
        }
    }
    params.set("name", route.original_json().to_owned());
    let target = Target {
        method: method::TOOLS_CALL,
        upstream_index: route.upstream_index,
        params,
        name: Some(Cow::Owned(route.original().as_ref().to_owned())),
        wraps_tasks: takes_tasks(request),
        route: Some(route),
    };
    forward(scope, request, target).await
}

/// `prompts/get`
///
/// # Errors
/// No such prompt, bad params, an upstream that cannot be reached.
pub(super) async fn prompt(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    let mut params = request.params.clone();
    let name = params
        .string("name")
        .ok_or_else(|| missing("name"))?
        .into_owned();
    let catalog = &scope.snapshot.catalog;
    let route = catalog
        .prompt(&name)
        .ok_or_else(|| Fault::UnknownPrompt(name.chars().take(200).collect()))?;
    params.set("name", route.original_json().to_owned());
    let target = Target {
        method: method::PROMPTS_GET,
        upstream_index: route.upstream_index,
        params,
        name: Some(Cow::Borrowed(route.original())),
        wraps_tasks: takes_tasks(request),
        route: None,
    };
    forward(scope, request, target).await
}

/// `resources/read`
///
/// # Errors
/// No upstream has it, bad params, an upstream that cannot be reached.
pub(super) async fn resource(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    let mut params = request.params.clone();
    let uri = params
        .string("uri")
        .ok_or_else(|| missing("uri"))?
        .into_owned();
    let route = scope
        .snapshot
        .catalog
        .resource(&uri)
        .ok_or_else(|| Fault::UnknownResource { uri: uri.clone() })?;
    if *route.uri != *uri {
        params.set("uri", json::quote(&route.uri));
    }
    let target = Target {
        method: method::RESOURCES_READ,
        upstream_index: route.upstream_index,
        params,
        name: Some(Cow::Borrowed(&route.uri)),
        wraps_tasks: takes_tasks(request),
        route: None,
    };
    forward(scope, request, target).await
}

/// `completion/complete`: goes where the prompt or the resource template it refers to lives.
///
/// # Errors
/// The reference leads nowhere, bad params, an upstream that cannot be reached.
pub(super) async fn completion(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    let mut params = request.params.clone();
    let reference = params.borrowed("ref").ok_or_else(|| missing("ref"))?;
    let mut reference = Object::parse(reference).map_err(params_fault)?;
    let catalog = &scope.snapshot.catalog;
    let upstream_index = match reference.string("type").as_deref() {
        Some("ref/prompt") => {
            let name = reference
                .string("name")
                .ok_or_else(|| missing("ref.name"))?
                .into_owned();
            let route = catalog.prompt(&name).ok_or(Fault::UnknownPrompt(name))?;
            reference.set("name", route.original_json().to_owned());
            route.upstream_index
        }
        Some("ref/resource") => {
            let uri = reference
                .string("uri")
                .ok_or_else(|| missing("ref.uri"))?
                .into_owned();
            match catalog.template(&uri) {
                Some(template) => {
                    reference.set("uri", template.original_json().to_owned());
                    template.upstream_index
                }
                None => {
                    let route = catalog
                        .resource(&uri)
                        .ok_or_else(|| Fault::UnknownResource { uri: uri.clone() })?;
                    if *route.uri != *uri {
                        reference.set("uri", json::quote(&route.uri));
                    }
                    route.upstream_index
                }
            }
        }
        _ => {
            return Err(Fault::Params(
                "`ref.type` must be `ref/prompt` or `ref/resource`".into(),
            ));
        }
    };
    params.set("ref", reference.to_text());
    forward(
        scope,
        request,
        Target {
            method: method::COMPLETE,
            upstream_index,
            params,
            name: None,
            route: None,
            wraps_tasks: false,
        },
    )
    .await
}

/// Whether a modern request says that its caller knows tasks (SEP-2663).
pub(super) fn takes_tasks(request: &Request<'_>) -> bool {
    let own = request.meta.as_ref();
    own.and_then(|own| own.get(meta::CLIENT_CAPABILITIES))
        .is_some_and(|capabilities| capabilities.contains(meta::TASKS))
}

/// Who answers this caller at an upstream: its own session where the upstream keeps something for each,
/// the shared one otherwise. With the shared one failing, nothing else is tried.
pub(super) async fn seat(
    scope: &Scope<'_>,
    link: &Arc<Link>,
    deadline: Instant,
) -> Result<Arc<Peer>, LinkError> {
    let shared = link.wait_for_peer(deadline).await?;
    let wants_own = link.sessions.wants_own_session(&shared);
    let Some(caller) = scope.caller.filter(|_| wants_own) else {
        return Ok(shared);
    };
    match caller.session(link, deadline).await {
        // It speaks the modern era only: then this call crosses eras. Or it takes one session and no more, as
        // servers with one transport for all do: then all callers are in that one.
        Err(error)
            if error.is_refusal() && (shared.era() == Era::Modern || !shared.is_on_stdio()) =>
        {
            if shared.era() == Era::Modern {
                link.sessions.set_modern_only();
            } else {
                tracing::debug!(upstream = %link.id(), %error, "no session of a caller's own: the shared one");
            }
            Ok(shared)
        }
        own => own,
    }
}

/// Who is there after `stale` was found gone.
pub(super) async fn seat_after(
    scope: &Scope<'_>,
    link: &Arc<Link>,
    stale: &Arc<Peer>,
    deadline: Instant,
) -> Result<Arc<Peer>, LinkError> {
    let is_shared = link
        .current_peer()
        .is_some_and(|shared| Arc::ptr_eq(&shared, stale));
    match scope.caller.filter(|_| !is_shared) {
        Some(caller) => {
            caller.lost(link, stale);
            seat(scope, link, deadline).await
        }
        None => link.replace_peer(stale, deadline).await,
    }
}

/// Sends a request on, and counts it, whatever becomes of it.
pub(super) async fn forward(
    scope: &Scope<'_>,
    request: &Request<'_>,
    target: Target<'_>,
) -> Result<Reply, Fault> {
    let link = scope.snapshot.links.get(target.upstream_index.get());
    let link = link.ok_or(Fault::ShuttingDown)?;
    let tool = target.route.as_ref().map(|route| &*route.exposed);
    let mut measured = link.metrics.call(target.method, tool, &scope.trace);
    match relayed(scope, request, target, link).await {
        Ok(reply) => Ok(reply.measured(measured)),
        Err(fault) => {
            measured.failed(&fault);
            Err(fault)
        }
    }
}

async fn relayed(
    scope: &Scope<'_>,
    request: &Request<'_>,
    mut target: Target<'_>,
    link: &Arc<Link>,
) -> Result<Reply, Fault> {
    let method = target.method;
    let request_id = scope.trace.request_id();
    let fault = |error: LinkError| failed(link, method, request_id, &error);
    let deadline = hops::deadline(link, request).map_err(fault)?;
    let mut slot = link.gate.enter(deadline).await.map_err(fault)?;
    let mut peer = match seat(scope, link, deadline).await {
        Ok(peer) => peer,
        Err(error) => {
            slot.record_failure(&error);
            return Err(fault(error));
        }
    };
    let (mut again, mut repeat) = (true, target.is_repeatable(&link.config.retry));
    loop {
        let is_task = target.as_task(scope, &peer);
        let (outbound, token, logs) = target.outbound(scope, request, &peer, link, deadline)?;
        let (mut flight, sent) = Sending::new(link, &peer, outbound, deadline).await;
        let sent = match sent {
            // The definition is another by now: look at it and try once more.
            Err(LinkError::HeaderMismatch(_))
                if again && target.renew(scope, link, deadline).await =>
            {
                flight.land();
                again = false;
                continue;
            }
            Err(LinkError::HeaderMismatch(answer)) => Ok(Exchange::from_body(answer)),
            sent => sent,
        };
        match sent {
            Ok(exchange) => {
                let crossing = target.crossing(scope, &peer, is_task);
                let way = Way {
                    flight,
                    exchange: exchange.with_deadline(deadline),
                    logs,
                    asks: Asks::of(scope, link, &peer),
                    slot,
                };
                return Ok(Reply::relayed(way, request.id.clone(), token, crossing));
            }
            // Nothing ran: the upstream knows no such session, or the process was gone already.
            Err(LinkError::SessionLost | LinkError::ChildClosed(_)) if again => {
                flight.land();
                again = false;
                let next = seat_after(scope, link, &peer, deadline).await;
                peer = next.map_err(fault)?;
            }
            Err(error) => {
                // Whoever did not answer in time may still be at it.
                if !error.may_still_run() {
                    flight.land();
                }
                // It may have run, and may run again.
                if !(std::mem::take(&mut repeat) && error.is_transient()) {
                    slot.record_failure(&error);
                    return Err(fault(error));
                }
                tracing::debug!(upstream = %link.id(), method, reason = %error.full_text(), "once more");
            }
        }
    }
}

/// What the caller is told; the operator reads the rest in the log.
fn failed(link: &Link, method: &'static str, request_id: &str, error: &LinkError) -> Fault {
    if let LinkError::CircuitOpen { .. } = error {
        // There may be many of them, and what they come from has been logged.
        tracing::debug!(upstream = %link.id(), method, reason = %error, request_id, "call refused");
    } else {
        tracing::warn!(upstream = %link.id(), method, reason = %error.full_text(), request_id, "call failed");
    }
    error.to_fault(link.id())
}

impl Target<'_> {
    /// Whether a call that broke off may be made again.
    fn is_repeatable(&self, retry: &Retry) -> bool {
        retry.idempotent && self.route.as_ref().is_some_and(Route::is_repeatable)
    }

    /// The request for this peer, and what has to be remembered for the way back: the caller's progress token, and which
    /// log messages are for it.
    fn outbound(
        &mut self,
        scope: &Scope<'_>,
        request: &Request<'_>,
        peer: &Peer,
        link: &Link,
        deadline: Instant,
    ) -> Result<(OutboundRequest, Option<Box<str>>, Logs), Fault> {
        let (id, meta) = (link.next_id(), request.meta.as_ref());
        let said = Said {
            trace: &scope.trace,
            onward: hops::onward(scope, deadline),
        };
        let hop = outbound::hop(&mut self.params, meta, scope.era(), peer, id, said)?;
        let mut headers = self.headers(peer.era())?;
        scope.trace.write(&mut headers);
        let outbound = OutboundRequest {
            id,
            method: self.method,
            params: hop.params,
            headers,
        };
        Ok((outbound, hop.token, hop.logs))
    }

    /// What changes in the answer.
    fn crossing(&self, scope: &Scope<'_>, peer: &Peer, is_task: bool) -> Crossing {
        Crossing {
            caller: scope.era(),
            upstream: peer.era(),
            is_read: self.method == method::RESOURCES_READ,
            has_tasks: self.wraps_tasks || is_task,
            weir: peer.is_weir(),
        }
    }

    /// What a modern upstream reads in the headers; nothing for a legacy one.
    fn headers(&self, upstream: Era) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        if upstream == Era::Modern {
            headers::write(&mut headers, self.method, self.name.as_deref());
            let mirrored = self.route.as_ref().map(Route::header_params);
            let arguments = self.params.get("arguments");
            headers::write_params(&mut headers, mirrored.unwrap_or_default(), arguments)?;
        }
        Ok(headers)
    }

    /// Whether this is a legacy call that becomes a task. Where the upstream has no tasks, a request for one
    /// is processed as an ordinary call (2025-11-25 tasks).
    fn as_task(&mut self, scope: &Scope<'_>, peer: &Peer) -> bool {
        let legacy = scope.era() == Era::Legacy && peer.era() == Era::Legacy;
        let is_task = legacy && peer.capabilities.tasks && self.params.contains("task");
        if !is_task {
            self.params.remove("task");
        }
        is_task
    }

    /// Lists the upstream again and takes the definition it has now; false where there is none, or none in time
    /// (`streamable-http.mdx#server-behavior-for-custom-headers`).
    async fn renew(&mut self, scope: &Scope<'_>, link: &Link, deadline: Instant) -> bool {
        let Some(route) = &self.route else {
            return false;
        };
        if !link.rounds.resync(deadline.min(link.list_deadline())).await {
            return false;
        }
        let found = scope.live.load().catalog.tool(&route.exposed);
        let found = found.filter(|found| {
            found.upstream == route.upstream
                && found.original() == route.original()
                && found.header_params() != route.header_params()
        });
        let is_new = found.is_some();
        if is_new {
            self.route = found;
        }
        is_new
    }
}

/// Why params cannot be read.
pub(super) fn params_fault(error: ObjectError) -> Fault {
    match error {
        ObjectError::Duplicate(key) => Fault::DuplicateKey(key),
        ObjectError::Syntax(_) | ObjectError::NotObject => {
            Fault::Params("not a JSON object".into())
        }
    }
}

pub(super) fn missing(what: &str) -> Fault {
    Fault::Params(format!("`{what}` must be a string"))
}
