//! Rewrites notifications and requests of an upstream for the caller: the ids, progress tokens and
//! names between weir and the upstream become those between weir and the caller.

use std::sync::Arc;

use bytes::Bytes;

use crate::bridge::task_ids;
use crate::caller::Caller;
use crate::guard::RequestGuard;
use crate::json::{self, Object};
use crate::name::UpstreamId;
use crate::protocol::message::{self, Id, Notification, Outcome, Request, Response};
use crate::protocol::{meta, method};
use crate::relay::send::Sent;
use crate::session::{Asker, CallerSession, PendingServerRequest};
use crate::upstream::{Link, Peer, watch};

/// Returns a notification on the stream of a call as the caller gets it; `None` if it is not for
/// this caller.
pub(super) async fn in_reply(
    sent: &mut Sent,
    caller: &Caller,
    mut notification: Notification<'_>,
) -> Option<Bytes> {
    let stream = &mut sent.stream;
    let (link, session) = (&stream.cancel.link, stream.requests.session());
    match notification.method.as_ref() {
        method::PROGRESS => {
            let mut params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
            let token = watch::parse_progress_token(&params);
            let task = sent.task.as_deref();
            let is_of_task = |token| task.is_some_and(|task| task.has_token(token));
            if token.is_none_or(|token| token != stream.cancel.id && !is_of_task(token)) {
                drop(params);
                return task_progress(session?, caller, link.id(), notification);
            }
            if let Some(extension) = stream.extension {
                stream.exchange.prolong(extension.deadline());
            }
            if let Some(questions) = &mut sent.questions
                && !questions.passes(&params)
            {
                return None;
            }
            params.set(meta::PROGRESS_TOKEN, sent.token.as_deref()?);
            notification.envelope.set("params", params.to_text());
            Some(write(&notification))
        }
        // An upstream may cancel its own requests, but no request of the caller.
        method::CANCELLED => withdrawn(session?, link, notification),
        method::RESOURCE_UPDATED => match session {
            // While a call goes on, what it was permitted under holds.
            Some(session) => resource_updated(session, link.id(), notification, |_| true),
            None => {
                watch::publish_update(link, &notification.envelope, "uri");
                None
            }
        },
        // Not relayed: callers are notified when weir's own catalog has changed.
        method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED => {
            link.rounds.announce_change();
            None
        }
        method::LOG_MESSAGE if !stream.logs.passes(notification.envelope.get("params")) => None,
        method::LOG_MESSAGE => Some(unchanged(link.id(), caller, notification)),
        _ if sent.bridge.caller != sent.bridge.upstream => None,
        _ => Some(unchanged(link.id(), caller, notification)),
    }
}

/// Keeps the caller's progress token if the call became a task: its progress outlives the call.
pub(super) fn keep_task_token(sent: &Sent, response: &Response<'_>) {
    let Sent {
        stream,
        token,
        bridge,
        ..
    } = sent;
    let (Outcome::Result(result), true) = (&response.outcome, bridge.has_tasks) else {
        return;
    };
    let (Some(session), Some(token)) = (stream.requests.session(), token) else {
        return;
    };
    if Object::parse(result).is_ok_and(|result| result.contains("task")) {
        session.add_task_token(stream.cancel.link.id(), stream.cancel.id, token);
    }
}

/// Keeps a request of an upstream until it is answered, and returns it as the caller gets it, with
/// its number. `None` if it is not for the caller: weir answers pings itself, and refuses requests
/// when too many wait.
pub(super) async fn request(
    session: &CallerSession,
    caller: &Caller,
    link: &Arc<Link>,
    peer: &Arc<Peer>,
    guard: Option<&RequestGuard>,
    request: &Request<'_>,
) -> Option<(u64, Bytes)> {
    if request.method == method::PING {
        return None;
    }
    let number = session.next_number();
    let mut params = request.params.clone();
    let mut token = None;
    if let Some(own) = &request.meta {
        let mut own = own.clone();
        token = own.get(meta::PROGRESS_TOKEN).map(Box::from);
        if token.is_some() {
            own.set(meta::PROGRESS_TOKEN, number.to_string());
        }
        task_ids::wrap_related(&mut own, link.id(), caller);
        params.set("_meta", own.to_text());
    }
    let pending = PendingServerRequest {
        link: Arc::clone(link),
        asker: Asker::Upstream {
            peer: Arc::clone(peer),
            id: request.id.clone(),
            token,
        },
        guard: guard.cloned(),
    };
    if !session.add_pending(number, pending) {
        return None;
    }
    let params = (!params.is_empty()).then(|| params.to_text());
    let message = message::request_of(&Id::from(number), &request.method, params.as_deref());
    Some((number, message))
}

/// Returns the progress of a call that became a task; `None` if the task is not of this session.
pub(super) fn task_progress(
    session: &CallerSession,
    caller: &Caller,
    upstream: &UpstreamId,
    mut notification: Notification<'_>,
) -> Option<Bytes> {
    let mut params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
    let number = watch::parse_progress_token(&params)?;
    params.set(meta::PROGRESS_TOKEN, session.task_token(upstream, number)?);
    task_ids::wrap_meta(&mut params, upstream, caller);
    notification.envelope.set("params", params.to_text());
    Some(write(&notification))
}

/// Returns the cancellation of a request that the upstream sent to the caller; `None` if no such
/// request waits.
pub(super) fn withdrawn(
    session: &CallerSession,
    link: &Arc<Link>,
    mut notification: Notification<'_>,
) -> Option<Bytes> {
    let mut params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
    let id = Id::parse(params.get("requestId")?)?;
    let number = session.withdraw(link, &id)?;
    params.set("requestId", number.to_string());
    notification.envelope.set("params", params.to_text());
    Some(write(&notification))
}

/// Returns an update of a resource under the URI that the caller subscribed to; `None` if it
/// subscribed to none that this is about, or may not read it any more (`server/resources.mdx#subscriptions`).
pub(super) fn resource_updated(
    session: &CallerSession,
    upstream: &UpstreamId,
    mut notification: Notification<'_>,
    may_read: impl FnOnce(&str) -> bool,
) -> Option<Bytes> {
    let mut params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
    let uri = params.string("uri")?.into_owned();
    let exposed = session.exposed_uri(upstream, &uri)?;
    if !may_read(&exposed) {
        return None;
    }
    if exposed != uri {
        params.set("uri", json::quote(&exposed));
        notification.envelope.set("params", params.to_text());
    }
    Some(write(&notification))
}

/// Returns a notification of which only ids of tasks are rewritten.
pub(super) fn unchanged(
    upstream: &UpstreamId,
    caller: &Caller,
    mut notification: Notification<'_>,
) -> Bytes {
    task_ids::wrap_params(&mut notification.envelope, upstream, caller);
    write(&notification)
}

fn write(notification: &Notification<'_>) -> Bytes {
    let mut out = Vec::new();
    notification.envelope.write(&mut out);
    out.into()
}
