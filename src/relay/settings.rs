//! Requests of a legacy caller that change its session: the level of log messages, and
//! subscriptions to resources.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::mpsc;

use crate::bridge::logs;
use crate::json;
use crate::protocol::bounds::{self, EXPOSED_URI_BYTES, NAME_BYTES};
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::method;
use crate::record::Record;
use crate::relay::back::ReplySource;
use crate::relay::{Payload, Scope, call, guard, send};
use crate::session::{CallerSession, ResourceSubscription};
use crate::upstream::subscriptions::Topic;
use crate::upstream::{Link, LinkError, Peer};

/// The bytes that a subscription takes besides its URIs.
const SUBSCRIPTION_BYTES: usize = 256;

/// Answers `logging/setLevel`: sets the level in the sessions that this caller has at upstreams,
/// and keeps it for those it will have.
///
/// # Errors
/// The level is unknown, or the request is in no legacy session.
pub(super) async fn set_level(
    scope: &Scope<'_>,
    request: &Request<'_>,
) -> Result<ReplySource, Fault> {
    let session = legacy_session(scope, method::SET_LEVEL)?;
    let level = bounds::string(&request.params, "level", NAME_BYTES)?;
    if !logs::is_level(&level) {
        return Err(Fault::Params(
            "`level` is not a level of log messages".into(),
        ));
    }
    let level = json::quote(&level);
    session.set_log_level(&level);
    let open = session.open_sessions();
    let open = open.iter().filter(|(_, peer)| peer.capabilities.logging);
    let calls = open.map(async |(link, peer)| {
        if let Err(error) = send::set_level(scope, link, peer, &level).await {
            tracing::debug!(upstream = %link.id(), %error, "level of log messages not set");
        }
    });
    join_all(calls).await;
    Ok(done(request))
}

/// Answers `resources/subscribe`.
///
/// # Errors
/// There is no such resource, or the upstream refuses or cannot be reached.
pub(super) async fn subscribe(
    scope: &Scope<'_>,
    request: &Request<'_>,
    record: &mut Record,
) -> Result<ReplySource, Fault> {
    let session = legacy_session(scope, method::SUBSCRIBE)?;
    let uri = bounds::string(&request.params, "uri", EXPOSED_URI_BYTES)?;
    let route = call::find_resource(scope, &uri, record)?;
    let permit = scope.permit_resource(&route, &uri, Some(record))?;
    guard::check_uri(scope, route.upstream_index, &route.uri).await?;
    let link = scope.link(&permit)?;
    let deadline = link.list_deadline();
    let fault = |error: LinkError| error.to_fault(link.id());
    let peer = send::peer_for(scope, link, deadline).await.map_err(fault)?;
    let is_weirs = |shared: Arc<Peer>| Arc::ptr_eq(&shared, &peer);
    let shared = link.current_peer();
    let is_own = !peer.is_of_principal && shared.is_some_and(|shared| !is_weirs(shared));
    let shared = if is_own {
        let answer = send::subscribe(scope, request, link, peer, &route.uri, deadline).await?;
        if let Err(error) = answer {
            return Ok(refused(request, &error));
        }
        None
    } else {
        if peer.is_of_principal {
            return Err(untold(link));
        }
        let topic = Topic::Resource(Arc::clone(&route.uri));
        // Without a stream there is no reader yet. The next stream takes the place of this channel.
        let updates = session.updates().unwrap_or_else(|| mpsc::channel(1).0);
        let shared = link.subscriptions.subscribe(
            topic.clone(),
            uri.as_ref().into(),
            updates,
            scope.share(),
        );
        let shared = shared.ok_or_else(|| fault(LinkError::Busy))?;
        let honoured = link
            .subscriptions
            .wait_until_accepted(&[topic], deadline)
            .await;
        if honoured != [true] {
            return Err(untold(link));
        }
        Some(shared)
    };
    let bytes = uri.len() + route.uri.len() + SUBSCRIPTION_BYTES;
    let kept = session.memory().reserve(bytes);
    let kept = kept.map_err(|over| fault(over.into()))?;
    let subscription = ResourceSubscription {
        upstream: link.id().clone(),
        uri: route.uri,
        shared,
        kept,
    };
    let added = session.add_subscription(uri.as_ref().into(), subscription);
    added.map_err(fault)?;
    Ok(done(request))
}

/// Returns the fault of a subscription that the upstream does not honour. One that all callers share
/// is weir's own, so there is none on behalf of a caller.
fn untold(link: &Link) -> Fault {
    Fault::Upstream {
        upstream: link.id().as_str().into(),
        reason: "does not tell of this resource",
    }
}

/// Answers `resources/unsubscribe`.
///
/// # Errors
/// The request is in no legacy session, or has no URI.
pub(super) async fn unsubscribe(
    scope: &Scope<'_>,
    request: &Request<'_>,
) -> Result<ReplySource, Fault> {
    let session = legacy_session(scope, method::UNSUBSCRIBE)?;
    let uri = bounds::string(&request.params, "uri", EXPOSED_URI_BYTES)?;
    let Some(subscription) = session.remove_subscription(&uri) else {
        return Ok(done(request));
    };
    let open = session.open_sessions();
    let own = open
        .into_iter()
        .find(|(link, _)| *link.id() == subscription.upstream && subscription.shared.is_none());
    if let Some((link, peer)) = own {
        let answer = send::unsubscribe(scope, &link, &peer, &subscription.uri).await;
        if let Ok(Err(error)) = answer {
            return Ok(refused(request, &error));
        }
    }
    Ok(done(request))
}

/// Returns the session of a legacy request.
///
/// # Errors
/// The request is modern, or in no session: the method is unknown there.
pub(super) fn legacy_session<'s>(
    scope: &Scope<'s>,
    method: &str,
) -> Result<&'s Arc<CallerSession>, Fault> {
    scope
        .session
        .filter(|_| scope.era() == Era::Legacy)
        .ok_or_else(|| Fault::Method(method.to_owned()))
}

fn done(request: &Request<'_>) -> ReplySource {
    ReplySource::Result(Payload::ok(vec![message::result(&request.id, "{}")]))
}

fn refused(request: &Request<'_>, error: &str) -> ReplySource {
    ReplySource::Refusal(Payload::ok(vec![message::error(Some(&request.id), error)]))
}
