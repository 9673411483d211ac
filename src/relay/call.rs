//! Calls: the route, the edit, the link.

use http::HeaderMap;

use crate::catalog::Route;
use crate::config::Retry;
use crate::json::{self, Object, ObjectError};
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::{headers, method};
use crate::relay::crossing::Crossing;
use crate::relay::reply::{Reply, Sending, Way};
use crate::relay::{Scope, outbound};
use crate::upstream::{Link, LinkError, Outbound};

/// Where a request goes and what becomes of it there.
struct Target<'p> {
    method: &'static str,
    slot: usize,
    params: Object<'p>,
    /// What the upstream calls it, for `Mcp-Name`.
    name: Option<&'p str>,
    route: Option<&'p Route>,
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
    // Weir offers no tasks: a request for one is processed as an ordinary call (2025-11-25 tasks).
    params.remove("task");
    let (slot, name) = (route.slot, Some(route.original().as_ref()));
    forward(
        scope,
        request,
        Target {
            method: method::TOOLS_CALL,
            slot,
            params,
            name,
            route: Some(&route),
        },
    )
    .await
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
    let (slot, name) = (route.slot, Some(route.original().as_ref()));
    forward(
        scope,
        request,
        Target {
            method: method::PROMPTS_GET,
            slot,
            params,
            name,
            route: None,
        },
    )
    .await
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
    let (slot, name) = (route.slot, Some(route.uri.as_ref()));
    forward(
        scope,
        request,
        Target {
            method: method::RESOURCES_READ,
            slot,
            params,
            name,
            route: None,
        },
    )
    .await
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
    let slot = match reference.string("type").as_deref() {
        Some("ref/prompt") => {
            let name = reference
                .string("name")
                .ok_or_else(|| missing("ref.name"))?
                .into_owned();
            let route = catalog.prompt(&name).ok_or(Fault::UnknownPrompt(name))?;
            reference.set("name", route.original_json().to_owned());
            route.slot
        }
        Some("ref/resource") => {
            let uri = reference
                .string("uri")
                .ok_or_else(|| missing("ref.uri"))?
                .into_owned();
            match catalog.template(&uri) {
                Some(template) => {
                    reference.set("uri", template.original_json().to_owned());
                    template.slot
                }
                None => {
                    let route = catalog
                        .resource(&uri)
                        .ok_or_else(|| Fault::UnknownResource { uri: uri.clone() })?;
                    if *route.uri != *uri {
                        reference.set("uri", json::quote(&route.uri));
                    }
                    route.slot
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
            slot,
            params,
            name: None,
            route: None,
        },
    )
    .await
}

async fn forward(
    scope: &Scope<'_>,
    request: &Request<'_>,
    mut target: Target<'_>,
) -> Result<Reply, Fault> {
    let slot = target.slot;
    let link = scope.snapshot.links.get(slot).ok_or(Fault::ShuttingDown)?;
    let fault = |error: LinkError| failed(link, target.method, &error);
    let deadline = link.call_deadline();
    let mut place = link.gate.enter(deadline).await.map_err(fault)?;
    let mut peer = link.peer(deadline).await.map_err(fault)?;
    let (mut again, mut repeat) = (true, target.is_repeatable(&link.config.retry));
    loop {
        let id = link.next_id();
        let hop = outbound::hop(
            &mut target.params,
            request.meta.as_ref(),
            scope.era(),
            peer.era(),
            id,
        )?;
        let (method, headers) = (target.method, target.headers(peer.era())?);
        let outbound = Outbound {
            id,
            method,
            params: hop.params,
            headers,
        };
        let (mut flight, sent) = Sending::new(link, &peer, outbound, deadline).await;
        match sent {
            Ok(exchange) => {
                let (caller, upstream) = (scope.era(), peer.era());
                let crossing = Crossing {
                    caller,
                    upstream,
                    is_read: method == method::RESOURCES_READ,
                };
                let exchange = exchange.until(deadline);
                let way = Way {
                    flight,
                    exchange,
                    logs: hop.logs,
                    place,
                };
                return Ok(Reply::relayed(way, request.id.clone(), hop.token, crossing));
            }
            // Nothing ran: the upstream knows no such session, or the process was gone already.
            Err(LinkError::SessionLost | LinkError::ChildClosed(_)) if again => {
                flight.land();
                again = false;
                peer = link.peer_after(&peer, deadline).await.map_err(fault)?;
            }
            Err(error) => {
                // Whoever did not answer in time may still be at it.
                if !error.may_still_run() {
                    flight.land();
                }
                // It may have run, and may run again.
                if !(std::mem::take(&mut repeat) && error.is_passing()) {
                    place.failed(&error);
                    return Err(fault(error));
                }
                tracing::debug!(upstream = %link.id(), method, reason = %error.in_full(), "once more");
            }
        }
    }
}

/// What the caller is told; the operator reads the rest in the log.
fn failed(link: &Link, method: &'static str, error: &LinkError) -> Fault {
    if let LinkError::CircuitOpen { .. } = error {
        // There may be many of them, and what they come from has been logged.
        tracing::debug!(upstream = %link.id(), method, reason = %error, "call refused");
    } else {
        tracing::warn!(upstream = %link.id(), method, reason = %error.in_full(), "call failed");
    }
    error.fault(link.id())
}

impl Target<'_> {
    /// Whether a call that broke off may be made again.
    fn is_repeatable(&self, retry: &Retry) -> bool {
        retry.idempotent && self.route.is_some_and(Route::is_repeatable)
    }

    /// What a modern upstream reads in the headers; nothing for a legacy one.
    fn headers(&self, upstream: Era) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        if upstream == Era::Modern {
            headers::write(&mut headers, self.method, self.name);
            let mirrored = self.route.map(Route::header_params).unwrap_or_default();
            headers::write_params(&mut headers, mirrored, self.params.get("arguments"))?;
        }
        Ok(headers)
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

fn missing(what: &str) -> Fault {
    Fault::Params(format!("`{what}` must be a string"))
}
