//! Requests that weir sends on behalf of a caller with params of its own: log levels,
//! subscriptions, pages of tasks.

use std::sync::Arc;

use tokio::time::Instant;

use crate::json::{self, Object};
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::method;
use crate::relay::send::peers::{peer_after_loss, peer_for};
use crate::relay::{Scope, hops};
use crate::upstream::ask::{Answer, ask};
use crate::upstream::{Link, LinkError, Peer};

/// Sets the level of log messages in a session of the caller's own. `level` is JSON text.
///
/// # Errors
/// The upstream cannot be reached.
pub(in crate::relay) async fn set_level(
    scope: &Scope<'_>,
    link: &Link,
    peer: &Peer,
    level: &str,
) -> Result<Answer, LinkError> {
    let params = format!("{{\"level\":{level}}}");
    ask_in_slot(
        scope,
        link,
        peer,
        method::SET_LEVEL,
        params,
        link.list_deadline(),
    )
    .await
}

/// Sets the level of log messages in a session that a call has to itself. Errors are ignored: the
/// session is of use without it. `level` is JSON text.
pub(super) async fn set_session_level(link: &Link, peer: &Peer, level: &str) {
    let params = format!("{{\"level\":{level}}}");
    let _ = Box::pin(ask(
        link,
        peer,
        method::SET_LEVEL,
        params,
        link.list_deadline(),
    ))
    .await;
}

/// Subscribes to a resource, named as the upstream names it, in a session of the caller's own.
///
/// # Errors
/// The request goes round in circles; the upstream cannot be reached.
pub(in crate::relay) async fn subscribe(
    scope: &Scope<'_>,
    request: &Request<'_>,
    link: &Arc<Link>,
    peer: Arc<Peer>,
    uri: &str,
    deadline: Instant,
) -> Result<Answer, Fault> {
    let own = hops::meta(scope, request, link, deadline)?;
    let params = format!("{{\"uri\":{},\"_meta\":{own}}}", json::quote(uri));
    let answer = ask_own(scope, link, peer, method::SUBSCRIBE, params, deadline).await;
    answer.map_err(|error| error.to_fault(link.id()))
}

/// Ends a subscription in a session of the caller's own.
///
/// # Errors
/// The upstream cannot be reached.
pub(in crate::relay) async fn unsubscribe(
    scope: &Scope<'_>,
    link: &Link,
    peer: &Peer,
    uri: &str,
) -> Result<Answer, LinkError> {
    let params = format!("{{\"uri\":{}}}", json::quote(uri));
    ask_in_slot(
        scope,
        link,
        peer,
        method::UNSUBSCRIBE,
        params,
        link.list_deadline(),
    )
    .await
}

/// Asks for a page of an upstream's tasks; `None` if it has no legacy tasks, or cannot be reached.
/// `cursor` is the upstream's own.
///
/// # Errors
/// The request goes round in circles.
pub(in crate::relay) async fn list_tasks(
    scope: &Scope<'_>,
    request: &Request<'_>,
    link: &Arc<Link>,
    cursor: Option<&str>,
) -> Result<Option<Answer>, Fault> {
    let deadline = link.list_deadline();
    let mut params = Object::new();
    if let Some(cursor) = cursor {
        params.set("cursor", json::quote(cursor));
    }
    params.set("_meta", hops::meta(scope, request, link, deadline)?);
    let peer = peer_for(scope, link, deadline).await.ok();
    let Some(peer) = peer.filter(|peer| peer.capabilities.tasks && peer.era() == Era::Legacy)
    else {
        return Ok(None);
    };
    let params = params.to_text();
    let answer = ask_own(scope, link, peer, method::TASKS_LIST, params, deadline).await;
    Ok(answer.ok())
}

/// Sends a request to the caller's peer, and once more if the upstream forgot the session.
async fn ask_own(
    scope: &Scope<'_>,
    link: &Arc<Link>,
    peer: Arc<Peer>,
    method: &'static str,
    params: String,
    deadline: Instant,
) -> Result<Answer, LinkError> {
    match ask_in_slot(scope, link, &peer, method, params.clone(), deadline).await {
        Err(LinkError::SessionLost | LinkError::ChildClosed(_)) => {
            let peer = peer_after_loss(scope, link, &peer, deadline).await?;
            ask_in_slot(scope, link, &peer, method, params, deadline).await
        }
        answer => answer,
    }
}

/// Sends a request that counts among the calls in flight: callers decide how many there are.
async fn ask_in_slot(
    scope: &Scope<'_>,
    link: &Link,
    peer: &Peer,
    method: &'static str,
    params: String,
    deadline: Instant,
) -> Result<Answer, LinkError> {
    let mut slot = link.gate.enter(scope.claim(), deadline).await?;
    let answer = Box::pin(ask(link, peer, method, params, deadline)).await;
    match &answer {
        Ok(_) => slot.record_answer(),
        Err(error) => slot.record_failure(error),
    }
    answer
}
