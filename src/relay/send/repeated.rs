//! A call that is sent again with answers to what its upstream asked (2026-07-28
//! `basic/patterns/mrtr.mdx`): the same request under another id. Or, where the call became a task,
//! the requests about that task.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderMap;
use tokio::time::Instant;

use crate::bridge::RetryMembers;
use crate::caller::{Presence, Turn};
use crate::json::{self, Object};
use crate::memory::{MemoryShare, OverBudget, Reservation};
use crate::protocol::era::Era;
use crate::protocol::{headers, hops, meta};
use crate::relay::Scope;
use crate::relay::call::Target;
use crate::relay::send::in_flight::{CancelOnDrop, SendingRequest};
use crate::upstream::gate::Claim;
use crate::upstream::{Exchange, Link, LinkError, OutboundRequest, Peer};

/// A request as it was sent, to be sent again.
#[derive(Clone)]
pub(super) struct RepeatedRequest {
    pub(super) link: Arc<Link>,
    pub(super) peer: Arc<Peer>,
    method: &'static str,
    /// The upstream's own name of the tool or prompt, or the URI of the resource.
    pub(super) name: Option<Arc<str>>,
    params: String,
    headers: HeaderMap,
    memory: MemoryShare,
    turn: Turn,
    presence: Option<Presence>,
    /// The part of `limits.memory` that it takes.
    _kept: Arc<Reservation>,
}

/// The outcome of sending it again: the guard that cancels it, and the exchange with the upstream.
pub(super) type Resent = Result<(CancelOnDrop, Result<Exchange, LinkError>), LinkError>;

impl RepeatedRequest {
    /// Keeps a request that is about to be sent.
    ///
    /// # Errors
    /// There is no memory left for it.
    pub(super) fn of(
        scope: &Scope<'_>,
        (link, peer): (&Arc<Link>, &Arc<Peer>),
        target: &Target<'_>,
        outbound: &OutboundRequest,
    ) -> Result<Self, OverBudget> {
        let claim = scope.claim();
        let kept = outbound.memory.reserve(outbound.bytes())?;
        Ok(Self {
            link: Arc::clone(link),
            peer: Arc::clone(peer),
            method: outbound.method,
            name: target.name.clone(),
            params: outbound.params.clone(),
            headers: outbound.headers.clone(),
            memory: outbound.memory.clone(),
            turn: claim.turn,
            presence: claim.presence.cloned(),
            _kept: Arc::new(kept),
        })
    }

    /// Makes it a request about the task that the call became: the id of the task in place of what
    /// the call has, and the same `_meta` without a progress token, which is the call's own.
    pub(super) fn turn_to_task(&mut self, method: &'static str, id: &str) {
        let mut params = format!("{{\"taskId\":{}", json::quote(id));
        let all = Object::parse(&self.params);
        if let Ok(Some(mut own)) = all.and_then(|all| all.object("_meta")) {
            own.remove(meta::PROGRESS_TOKEN);
            params.push_str(&format!(",\"_meta\":{}", own.to_text()));
        }
        params.push('}');
        self.params = params;
        self.method = method;
        self.name = None;
        headers::remove_params(&mut self.headers);
        if self.peer.era() == Era::Modern {
            headers::write_method(&mut self.headers, method);
            // An id that no header can carry is one that the upstream did not give for this.
            let _ = headers::write_name(&mut self.headers, method, id);
        }
    }

    /// Makes the request as it is sent now, under a new id. It has to be over when `left` has passed.
    pub(super) fn outbound(&self, members: &RetryMembers, left: Duration) -> OutboundRequest {
        let id = self.link.next_id();
        OutboundRequest {
            id,
            method: self.method,
            params: retry_params(&self.params, members, id, left),
            headers: self.headers.clone(),
            memory: self.memory.clone(),
        }
    }

    /// Sends it again, as [`Self::outbound`] made it, once it has a place among the calls in flight. It has
    /// to be over at `deadline`.
    pub(super) fn send(
        &self,
        outbound: OutboundRequest,
        deadline: Instant,
    ) -> BoxFuture<'static, Resent> {
        let (link, peer) = (Arc::clone(&self.link), Arc::clone(&self.peer));
        let (turn, presence) = (self.turn, self.presence.clone());
        async move {
            let presence = presence.as_ref();
            let mut slot = link.gate.enter(Claim { turn, presence }, deadline).await?;
            slot.note_size(outbound.params.len());
            // A child may have been started anew while its caller was asked.
            let peer = match peer.is_open() || peer.is_of_principal {
                true => peer,
                false => link.wait_for_peer(deadline).await?,
            };
            Ok::<_, LinkError>(
                SendingRequest::new(&link, &peer, outbound, deadline, Some(slot)).await,
            )
        }
        .boxed()
    }
}

/// Returns the params of a call with the answers, under another progress token and with the time that
/// is left.
fn retry_params(params: &str, members: &RetryMembers, id: u64, left: Duration) -> String {
    let Ok(mut all) = Object::parse(params) else {
        return params.to_owned();
    };
    let own = all.borrowed("_meta").map(Object::parse);
    if let Some(Ok(mut own)) = own {
        if own.contains(meta::PROGRESS_TOKEN) {
            own.set(meta::PROGRESS_TOKEN, id.to_string());
        }
        if own.contains(meta::DEADLINE) {
            own.set(meta::DEADLINE, hops::travelling(left).to_string());
        }
        all.set("_meta", own.to_text());
    }
    // Those of an earlier round are over.
    for (key, value) in [
        ("inputResponses", &members.responses),
        ("requestState", &members.state),
    ] {
        match value {
            Some(value) => all.set(key, value.clone()),
            None => {
                all.remove(key);
            }
        }
    }
    all.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_sent_again_differs_in_its_answers_its_token_and_its_time() {
        let params = r#"{"name":"x","arguments":{"n":1e400},"_meta":{"progressToken":7,"weir/deadlineMs":900,"a":"\u0041"}}"#;
        let members = RetryMembers {
            responses: Some(r#"{"a":{ }}"#.to_owned()),
            state: Some(r#""s\/""#.to_owned()),
        };
        assert_eq!(
            retry_params(params, &members, 9, Duration::from_secs(1)),
            r#"{"name":"x","arguments":{"n":1e400},"_meta":{"progressToken":9,"weir/deadlineMs":900,"a":"\u0041"},"inputResponses":{"a":{ }},"requestState":"s\/"}"#
        );
        let bare = r#"{"name":"x","requestState":"old"}"#;
        let none = RetryMembers::default();
        assert_eq!(
            retry_params(bare, &none, 9, Duration::ZERO),
            r#"{"name":"x"}"#
        );
    }
}
