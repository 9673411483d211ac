//! The decision which requests another replica has to answer, and what comes of that here.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;

use crate::front::answer::Recipient;
use crate::front::forwarding::{ForwardableRequest, Forwarding, carried_headers};
use crate::front::state::Front;
use crate::protocol::message;
use crate::protocol::trace::Trace;
use crate::relay::MAY_ASK;
use crate::seal::MARK_LEN;

/// How long the head of an answer may take if it may be an event stream, besides twice `listen.keep_alive`,
/// after which one begins; and how long if not.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Takes what goes on of a request.
fn forwardable(
    front: &Front,
    found: &HeaderMap,
    to: &Recipient,
    (body, trace): (&Bytes, &Trace),
) -> ForwardableRequest {
    ForwardableRequest {
        path: front.path.clone(),
        headers: carried_headers(found, trace.request_id()),
        body: body.clone(),
        caller: to.admission.caller.clone(),
        address: to.connection.address,
    }
}

/// Returns the way to the other replicas, if a request may be forwarded: what was forwarded is not again.
fn forwarding<'f>(front: &'f Front, to: &Recipient) -> Option<&'f Forwarding> {
    front
        .forwarding
        .as_ref()
        .filter(|_| !to.admission.is_forwarded)
}

/// Has another replica answer a modern request that continues a call of its. Returns `None` if this
/// replica has to answer: as the call is over, if the other replica is not there.
pub(super) async fn answer_elsewhere(
    front: &Front,
    found: &HeaderMap,
    to: &Recipient,
    request: &message::Request<'_>,
    sent: (&Bytes, &Trace),
) -> Option<Response> {
    let forwarding = forwarding(front, to)?;
    if !MAY_ASK.contains(&&*request.method) {
        return None;
    }
    let state = request.params.string("requestState")?;
    let caller = &to.admission.caller;
    // With callers told apart, it is bound to one of them, which the other replica checks.
    let state = match caller.owner() {
        Some(_) => state.get(MARK_LEN..)?,
        None => &*state,
    };
    let owner = front.crossings.other_owner(state, caller.key())?.tag();
    let silence = 2 * front.keep_alive + PATIENCE.0;
    let patience = match to.accepts.streams() {
        true => silence,
        false => PATIENCE.1,
    };
    let forwarded = forwardable(front, found, to, sent);
    let sent = forwarding.send(owner, &forwarded, patience, &front.tasks);
    match sent.await {
        Some((answer, slot)) => {
            tracing::debug!("a call goes on at another replica");
            Some(answer.respond(&request.id, slot, &front.given_up, silence))
        }
        None => {
            tracing::info!("the replica that has a call is not there: the call is over");
            None
        }
    }
}

/// Passes on what a legacy caller says of something that has this number, if another replica gave that.
/// Returns whether it did.
pub(super) async fn pass_on(
    front: &Front,
    found: &HeaderMap,
    to: &Recipient,
    number: Option<u64>,
    sent: (&Bytes, &Trace),
) -> bool {
    let Some(forwarding) = forwarding(front, to) else {
        return false;
    };
    let Some(giver) = number.and_then(|number| forwarding.other_giver(number)) else {
        return false;
    };
    let request = forwardable(front, found, to, sent);
    let sent = forwarding.send(giver, &request, PATIENCE.0, &front.tasks);
    if sent.await.is_none() {
        tracing::info!("a caller's answer is dropped: the replica that asked is not there");
    }
    true
}

/// Tells all replicas what a legacy caller says of something that may be at any of them.
pub(super) fn tell_all(
    front: &Arc<Front>,
    found: &HeaderMap,
    to: &Recipient,
    sent: (&Bytes, &Trace),
) {
    let Some(slot) = forwarding(front, to).and_then(Forwarding::slot) else {
        return;
    };
    let request = forwardable(front, found, to, sent);
    let front = Arc::clone(front);
    let tasks = front.tasks.clone();
    tasks.spawn(async move {
        let _slot = slot;
        if let Some(forwarding) = &front.forwarding {
            forwarding.tell_all(&request, &front.tasks).await;
        }
    });
}
