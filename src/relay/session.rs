//! What a legacy caller says about its session rather than about one request: the level of log messages,
//! resources to be told of, changed roots.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::json;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::method;
use crate::relay::call::{missing, seat, seat_after};
use crate::relay::caller::{Caller, Subscribed, resource};
use crate::relay::logs;
use crate::relay::{Payload, Reply, Scope, hops};
use crate::upstream::ask::{Answer, ask};
use crate::upstream::{Link, LinkError, Peer};

/// `logging/setLevel`: for the sessions this caller has at upstreams, and for those it will have.
///
/// # Errors
/// Not a level; not in a legacy session.
pub(super) async fn set_level(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    let caller = legacy(scope, method::SET_LEVEL)?;
    let level = request
        .params
        .string("level")
        .ok_or_else(|| missing("level"))?;
    if !logs::is_level(&level) {
        return Err(Fault::Params(
            "`level` is not a level of log messages".into(),
        ));
    }
    let level = json::quote(&level);
    caller.kept().level = Some(level.as_str().into());
    let told = caller
        .open_sessions()
        .into_iter()
        .filter(|(_, peer)| peer.capabilities.logging)
        .map(|(link, peer)| (link, peer, format!("{{\"level\":{level}}}")))
        .map(|(link, peer, params)| async move {
            let answer = ask(
                &link,
                &peer,
                method::SET_LEVEL,
                params,
                link.list_deadline(),
            )
            .await;
            if let Err(error) = answer {
                tracing::debug!(upstream = %link.id(), %error, "level of log messages not set");
            }
        });
    let told: Vec<_> = told.collect();
    join_all(told).await;
    Ok(done(request))
}

/// `resources/subscribe`
///
/// # Errors
/// No such resource, an upstream that refuses or cannot be reached.
pub(super) async fn subscribe(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    let caller = legacy(scope, method::SUBSCRIBE)?;
    let uri = request.params.string("uri").ok_or_else(|| missing("uri"))?;
    let route = scope.snapshot.catalog.resource(&uri);
    let route = route.ok_or_else(|| Fault::UnknownResource {
        uri: uri.clone().into_owned(),
    })?;
    let links = &scope.snapshot.links;
    let link = links
        .get(route.upstream_index.get())
        .ok_or(Fault::ShuttingDown)?;
    let deadline = link.list_deadline();
    let fault = |error: LinkError| error.to_fault(link.id());
    let peer = seat(scope, link, deadline).await.map_err(fault)?;
    let is_own = link
        .current_peer()
        .is_some_and(|shared| !Arc::ptr_eq(&shared, &peer));
    let shared = if is_own {
        let own = hops::meta(scope, request, deadline)?;
        let params = format!("{{\"uri\":{},\"_meta\":{own}}}", json::quote(&route.uri));
        let answer = ask_seated(scope, link, peer, method::SUBSCRIBE, params, deadline).await;
        if let Err(error) = answer.map_err(fault)? {
            return Ok(refused(request, &error));
        }
        None
    } else {
        let topic = resource(&route.uri);
        // Without a stream there is nobody to tell yet; the next stream takes its place.
        let news = caller.news().unwrap_or_else(|| mpsc::channel(1).0);
        let shared = link
            .subscriptions
            .subscribe(topic.clone(), uri.as_ref().into(), news);
        let shared = shared.ok_or_else(|| fault(LinkError::Busy))?;
        let honoured = link
            .subscriptions
            .wait_until_accepted(&[topic], deadline)
            .await;
        if honoured != [true] {
            return Err(Fault::Upstream {
                upstream: link.id().as_str().into(),
                reason: "does not tell of this resource",
            });
        }
        Some(shared)
    };
    let subscribed = Subscribed {
        upstream: link.id().clone(),
        uri: route.uri,
        shared,
    };
    let noted = caller.subscribed(uri.as_ref().into(), subscribed);
    noted.map_err(fault)?;
    Ok(done(request))
}

/// `resources/unsubscribe`
///
/// # Errors
/// Not in a legacy session, no URI.
pub(super) async fn unsubscribe(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    let caller = legacy(scope, method::UNSUBSCRIBE)?;
    let uri = request.params.string("uri").ok_or_else(|| missing("uri"))?;
    let Some(subscribed) = caller.unsubscribed(&uri) else {
        return Ok(done(request));
    };
    let open = caller.open_sessions();
    let session = open
        .into_iter()
        .find(|(link, _)| *link.id() == subscribed.upstream && subscribed.shared.is_none());
    if let Some((link, peer)) = session {
        let params = format!("{{\"uri\":{}}}", json::quote(&subscribed.uri));
        let answer = ask(
            &link,
            &peer,
            method::UNSUBSCRIBE,
            params,
            link.list_deadline(),
        )
        .await;
        if let Ok(Err(error)) = answer {
            return Ok(refused(request, &error));
        }
    }
    Ok(done(request))
}

impl Caller {
    /// `notifications/roots/list_changed`: every upstream that has a session with this caller may ask again.
    pub fn roots_changed(&self) {
        for (link, peer) in self.open_sessions() {
            let owner = Arc::clone(&link);
            owner.tasks().spawn(async move {
                let body = message::notification(method::ROOTS_CHANGED, None);
                if let Err(error) = link.post(&peer, body).await {
                    tracing::debug!(upstream = %link.id(), %error, "changed roots not delivered");
                }
            });
        }
    }
}

/// Asks whoever has the seat of this caller; once more where the upstream forgot the session.
pub(super) async fn ask_seated(
    scope: &Scope<'_>,
    link: &Arc<Link>,
    peer: Arc<Peer>,
    method: &'static str,
    params: String,
    deadline: Instant,
) -> Result<Answer, LinkError> {
    match ask(link, &peer, method, params.clone(), deadline).await {
        Err(LinkError::SessionLost | LinkError::ChildClosed(_)) => {
            let peer = seat_after(scope, link, &peer, deadline).await?;
            ask(link, &peer, method, params, deadline).await
        }
        answer => answer,
    }
}

fn legacy<'s>(scope: &Scope<'s>, method: &str) -> Result<&'s Arc<Caller>, Fault> {
    scope
        .caller
        .filter(|_| scope.era() == Era::Legacy)
        .ok_or_else(|| Fault::Method(method.to_owned()))
}

fn done(request: &Request<'_>) -> Reply {
    Reply::ready(Payload::ok(vec![message::result(&request.id, "{}")]))
}

fn refused(request: &Request<'_>, error: &str) -> Reply {
    Reply::ready(Payload::ok(vec![message::error(Some(&request.id), error)]))
}
