//! Requests that belong to a call of another replica, where no balancer leads them: the answers of a
//! modern caller, whose `requestState` names the replica that keeps the call; those of a legacy caller,
//! whose ids name it; and what legacy callers say of requests that another replica runs.
//!
//! The whole request goes to that replica, once, without the caller's credential: a sealed token says who
//! the caller is. The other replica does all that is done for a request, and its answer comes back byte for
//! byte. Nothing is run here in its place: without that replica, the call is over.

mod exchange;
mod token;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foldhash::HashMap;
use futures::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::caller::Caller;
use crate::metrics::Metrics;
use crate::protocol::headers::{self, PARAM_PREFIX};
use crate::protocol::trace::REQUEST_ID;
use crate::replicas::{ReplicaId, ReplicaTag};
use crate::seal::{KeyRing, NoRandom};

use self::token::{ForwardRefusal, ForwardTokens};

pub(super) use self::exchange::ReplicaAnswer;
pub use self::exchange::ReplicaTarget;
pub(super) use self::token::ForwardedRequest;

/// The header of the token.
const TOKEN: HeaderName = HeaderName::from_static("weir-forwarded");
/// The most requests that are forwarded at once. One more finds its call over.
const AT_ONCE: usize = 1024;
/// How long all replicas together have to take what all of them are told.
const TELL: Duration = Duration::from_secs(5);
/// The most replicas whose addresses are known.
const KNOWN: usize = 256;

/// The headers of a request that go on with it, besides those of arguments (`Mcp-Param-*`).
const CARRIED: [HeaderName; 9] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    headers::VERSION,
    headers::SESSION,
    headers::METHOD,
    headers::NAME,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// The way to the other replicas.
#[derive(Debug)]
pub struct Forwarding {
    own: ReplicaTag,
    tokens: ForwardTokens,
    targets: Vec<ReplicaTarget>,
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// Where replicas were found: the number of the target, and its address.
    found: Mutex<HashMap<ReplicaTag, (usize, SocketAddr)>>,
}

/// A request that may be forwarded.
pub(super) struct ForwardableRequest {
    /// Its path.
    pub(super) path: Box<str>,
    /// The headers of it that go on.
    pub(super) headers: HeaderMap,
    /// Its body.
    pub(super) body: Bytes,
    /// Its sender, and the address that the sender connected from.
    pub(super) caller: Caller,
    pub(super) address: Option<IpAddr>,
}

/// Returns the headers of a request that go on with it, under its id.
pub(super) fn carried_headers(found: &HeaderMap, request_id: &str) -> HeaderMap {
    let is_carried =
        |name: &HeaderName| CARRIED.contains(name) || name.as_str().starts_with(PARAM_PREFIX);
    let carried = found.iter().filter(|(name, _)| is_carried(name));
    let mut copied = HeaderMap::new();
    for (name, value) in carried {
        copied.append(name.clone(), headers::detach(value));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        copied.insert(REQUEST_ID, id);
    }
    copied
}

impl ForwardableRequest {
    /// Makes the request for a replica, or for each of them.
    fn to_request(
        &self,
        tokens: &ForwardTokens,
        target: Option<ReplicaTag>,
    ) -> Option<Request<Full<Bytes>>> {
        let token = tokens.make(target, (&self.caller, self.address), &self.body);
        if token.is_none() {
            tracing::warn!("a request is not forwarded: its caller has too many claims");
        }
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().ok()?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(TOKEN, token?);
        Some(request)
    }
}

impl Forwarding {
    /// Makes the way to the other replicas. Opens nothing.
    ///
    /// # Errors
    /// The keys cannot be derived.
    pub fn new(
        keys: &KeyRing,
        own: ReplicaId,
        targets: Vec<ReplicaTarget>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, NoRandom> {
        Ok(Self {
            own: own.tag(),
            tokens: ForwardTokens::new(keys, own.tag())?,
            targets,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            metrics: Arc::clone(metrics),
            found: Mutex::default(),
        })
    }

    /// Reads the token of a request that another replica forwards; `None` if it has none.
    ///
    /// # Errors
    /// The status to refuse it with: its token is not good, or it is for another replica.
    pub(super) fn receive(
        &self,
        found: &HeaderMap,
    ) -> Result<Option<ForwardedRequest>, StatusCode> {
        let Some(token) = found.get(TOKEN) else {
            return Ok(None);
        };
        match self.tokens.take(token.as_bytes()) {
            Ok(forwarded) => Ok(Some(forwarded)),
            Err(ForwardRefusal::Misdirected) => {
                self.metrics.count_received("misdirected");
                Err(StatusCode::MISDIRECTED_REQUEST)
            }
            Err(ForwardRefusal::Invalid) => {
                self.metrics.count_received("refused");
                tracing::warn!("a request with the token of no replica was refused");
                Err(StatusCode::FORBIDDEN)
            }
        }
    }

    /// Returns the replica that gave a number, if that is another one.
    pub(super) fn other_giver(&self, number: u64) -> Option<ReplicaTag> {
        ReplicaTag::of_number(number).filter(|tag| *tag != self.own)
    }

    /// Takes the place of one request that is forwarded; `None` if as many are as may.
    pub(super) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
        if slot.is_none() {
            self.metrics.count_forwarded("busy");
            tracing::warn!("a request is not forwarded: {AT_ONCE} are already");
        }
        slot
    }

    /// Sends a request to a replica and waits for the head of its answer. Returns `None` if that replica
    /// is not there.
    pub(super) async fn send(
        &self,
        tag: ReplicaTag,
        request: &ForwardableRequest,
        patience: Duration,
        tasks: &TaskTracker,
    ) -> Option<(ReplicaAnswer, OwnedSemaphorePermit)> {
        let slot = self.slot()?;
        if request.to_request(&self.tokens, Some(tag)).is_none() {
            self.metrics.count_forwarded("large");
            return None;
        }
        let answer = self.look_for(tag, request, patience, tasks).await;
        self.metrics.count_forwarded(match answer {
            Some(_) => "answered",
            None => "absent",
        });
        Some((answer?, slot))
    }

    /// Asks the replica where it was found last, or else at each address in turn, until it answers.
    async fn look_for(
        &self,
        tag: ReplicaTag,
        request: &ForwardableRequest,
        patience: Duration,
        tasks: &TaskTracker,
    ) -> Option<ReplicaAnswer> {
        let known = self.found.lock().get(&tag).copied();
        let ask = async |(index, address): (usize, SocketAddr)| {
            let request = request.to_request(&self.tokens, Some(tag))?;
            let target = self.targets.get(index)?;
            target.send(address, request, patience, tasks).await
        };
        if let Some(known) = known
            && let Some(answer) = ask(known).await
        {
            return Some(answer);
        }
        self.found.lock().remove(&tag);
        for (index, target) in self.targets.iter().enumerate() {
            for address in target.addresses().await {
                let place = (index, address);
                if known == Some(place) {
                    continue;
                }
                if let Some(answer) = ask(place).await {
                    self.remember(tag, place);
                    return Some(answer);
                }
            }
        }
        None
    }

    fn remember(&self, tag: ReplicaTag, place: (usize, SocketAddr)) {
        let mut found = self.found.lock();
        if found.len() >= KNOWN {
            found.clear();
        }
        found.insert(tag, place);
    }

    /// Tells all replicas, this one among them.
    pub(super) async fn tell_all(&self, request: &ForwardableRequest, tasks: &TaskTracker) {
        let all = self.targets.iter().map(|target| async move {
            for address in target.addresses().await {
                let outcome = match request.to_request(&self.tokens, None) {
                    None => "large",
                    Some(request) => match target.send(address, request, TELL, tasks).await {
                        Some(_) => "answered",
                        None => "absent",
                    },
                };
                self.metrics.count_forwarded(outcome);
            }
        });
        let all = join_all(all);
        let _ = tokio::time::timeout(TELL, all).await;
    }
}
