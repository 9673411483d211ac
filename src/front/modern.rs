//! Requests of the modern era (2026-07-28), which has no sessions: each carries all that it needs.

use std::borrow::Cow;
use std::sync::Arc;

use axum::response::Response;
use http::HeaderMap;

use crate::front::agent::agent_of;
use crate::front::answer::{self, Recipient};
use crate::front::listen::listen;
use crate::front::running::Running;
use crate::front::state::Front;
use crate::json::{self, Object};
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::trace::Trace;
use crate::protocol::{headers, meta, method};
use crate::record::Record;
use crate::relay::{self, Payload, Scope};

/// How long a client may keep the answer to `server/discover`. The answer changes with the
/// extensions of upstreams.
const DISCOVER_TTL_MS: u32 = 60_000;

/// Returns whether a message claims to be modern: its `params._meta` names a protocol version.
pub(super) fn claims_modern(meta: Option<&Object<'_>>) -> bool {
    meta.is_some_and(|meta| meta.contains(meta::PROTOCOL_VERSION))
}

/// Returns whether a message of which only the envelope was parsed claims to be modern.
pub(super) fn envelope_claims_modern(envelope: &Object<'_>) -> bool {
    let own = envelope
        .object("params")
        .ok()
        .flatten()
        .and_then(|params| params.object("_meta").ok().flatten());
    claims_modern(own.as_ref())
}

/// Checks the metadata that every modern request carries (`basic/index.mdx#_meta`), and returns its
/// version.
///
/// # Errors
/// -32602 for a missing member.
pub(super) fn check_envelope<'r>(request: &'r Request<'_>) -> Result<Cow<'r, str>, Fault> {
    let own = request.meta.as_ref();
    let version = own.and_then(|own| own.string(meta::PROTOCOL_VERSION));
    let version = version.ok_or(Fault::Envelope(
        "`_meta` lacks io.modelcontextprotocol/protocolVersion",
    ))?;
    let capabilities = own.and_then(|own| own.get(meta::CLIENT_CAPABILITIES));
    let is_object =
        |text: &str| json::is_object(text) || (text != "null" && json::says_nothing(text));
    if !capabilities.is_some_and(is_object) {
        return Err(Fault::Envelope(
            "`_meta` lacks io.modelcontextprotocol/clientCapabilities",
        ));
    }
    Ok(version)
}

/// Checks the headers against the body (`streamable-http.mdx#server-validation`).
///
/// # Errors
/// -32020 where they differ, -32022 for a version that weir does not speak.
fn check_headers(found: &HeaderMap, request: &Request<'_>, version: &str) -> Result<(), Fault> {
    let mismatch = |text: &str| Fault::HeaderMismatch(text.to_owned());
    match found
        .get(headers::VERSION)
        .map(|value| value.to_str().unwrap_or_default().trim())
    {
        None => return Err(mismatch("MCP-Protocol-Version is missing")),
        Some(header) if header != version => {
            return Err(mismatch(
                "MCP-Protocol-Version is not the version in `_meta`",
            ));
        }
        Some(_) => {}
    }
    check_version(version)?;
    headers::check_method(found, &request.method)?;
    headers::check_name(found, &request.method, &request.params)?;
    Ok(())
}

/// Checks the version of a modern request.
///
/// # Errors
/// -32022 for a version that weir does not speak in this era.
pub(super) fn check_version(version: &str) -> Result<(), Fault> {
    if version == Version::MODERN.as_str() {
        Ok(())
    } else {
        Err(Fault::UnsupportedVersion {
            requested: version.chars().take(64).collect(),
        })
    }
}

/// Answers a modern request over HTTP.
pub(super) async fn handle_request(
    front: &Arc<Front>,
    found: &HeaderMap,
    to: &Recipient,
    request: &Request<'_>,
    trace: &Trace,
    mut record: Record,
) -> Response {
    record.set_era(Era::Modern);
    if to.admission.caller.owner().is_some() {
        let own = request.meta.as_ref();
        let info = own.and_then(|own| own.get(meta::CLIENT_INFO));
        record.set_agent(info.and_then(agent_of));
    }
    let answered = match check(found, request) {
        Ok(()) => answer(front, found, to, request, trace, record).await,
        Err(fault) => {
            record.fail(&fault);
            Err(fault)
        }
    };
    answered.unwrap_or_else(|fault| {
        answer::json(Payload::fault(Some(&request.id), &fault, Era::Modern))
    })
}

/// Checks the envelope of a modern request, and the headers against it.
fn check(found: &HeaderMap, request: &Request<'_>) -> Result<(), Fault> {
    let version = check_envelope(request)?;
    check_headers(found, request, &version)
}

/// Answers a request that passed the checks.
///
/// # Errors
/// The fault to answer with. It is recorded already.
async fn answer(
    front: &Arc<Front>,
    found: &HeaderMap,
    to: &Recipient,
    request: &Request<'_>,
    trace: &Trace,
    mut record: Record,
) -> Result<Response, Fault> {
    let scope = Scope::new(&front.live, record.caller().clone(), Version::MODERN, trace)
        .with_headers(Some(found))
        .over(&to.connection)
        .with_crossings(Some(&front.crossings))
        .streaming(to.accepts.streams());
    match request.method.as_ref() {
        method::DISCOVER => {
            record.succeed();
            let answer = discover(&scope, request);
            record.add_bytes_out(answer.len());
            Ok(answer::json(Payload::ok(vec![answer])))
        }
        method::LISTEN => listen(front, to, &scope, request, record).await,
        _ => {
            let reply = relay::answer(&scope, request, record).await?;
            let running = Running::modern(reply, &front.given_up);
            Ok(answer::respond(running, to, front).await)
        }
    }
}

/// Makes the answer to `server/discover`.
pub(super) fn discover(scope: &Scope<'_>, request: &Request<'_>) -> bytes::Bytes {
    let view = scope.view();
    let result = format!(
        "{{\"resultType\":\"complete\",\"supportedVersions\":[\"{}\"],\"capabilities\":{}{},\
         \"ttlMs\":{DISCOVER_TTL_MS},\"cacheScope\":\"private\",\"_meta\":{{\"{}\":{}}}}}",
        Version::MODERN,
        relay::capabilities(view, scope.caller(), Era::Modern),
        relay::instructions(view, Era::Modern),
        meta::SERVER_INFO,
        view.server_info()
    );
    message::result(&request.id, &result)
}
