//! Calls of modern callers that legacy upstreams may ask something: their sessions, and those calls
//! among them that wait for their callers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::caller::{PrincipalKey, ShareKey};
use crate::replicas::ReplicaId;
use crate::seal::{KeyRing, NoRandom};
use crate::session::exclusive::{ExclusiveSession, SessionSort};
use crate::session::exclusive_pool::ExclusivePool;
use crate::session::parked::{
    ExchangeId, ParkedCall, ParkedCalls, ParkedTicket, RequestDigest, StateCheck, TooManyParked,
};
use crate::upstream::caller_login::CallerLogin;
use crate::upstream::{Link, LinkError};

/// The calls of modern callers that may be asked something.
#[derive(Debug)]
pub struct Crossings {
    pool: Arc<ExclusivePool>,
    parked: ParkedCalls,
    /// Cancelled when weir begins to stop: no caller can come back any more.
    draining: CancellationToken,
}

impl Crossings {
    /// Begins without calls. Calls that wait for their callers end with `draining`, sessions without a
    /// call with `stop`.
    ///
    /// # Errors
    /// The keys cannot be derived, or there are no random numbers.
    pub fn new(
        keys: &KeyRing,
        draining: CancellationToken,
        stop: CancellationToken,
    ) -> Result<Self, NoRandom> {
        Ok(Self {
            pool: ExclusivePool::new(stop),
            parked: ParkedCalls::new(keys)?,
            draining,
        })
    }

    /// Begins for a caller that is alone, with keys that nobody else has.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn for_one(
        draining: CancellationToken,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, NoRandom> {
        let text = KeyRing::new_text()?;
        let keys = KeyRing::from_texts([text.as_str()]).ok_or(NoRandom)?;
        Self::new(&keys, draining, stop).map(Arc::new)
    }

    /// Returns a session of this sort for one call.
    ///
    /// # Errors
    /// None can be opened until `deadline`.
    pub async fn session(
        &self,
        link: &Arc<Link>,
        sort: SessionSort,
        opener: (ShareKey, Option<Arc<CallerLogin>>),
        deadline: Instant,
    ) -> Result<ExclusiveSession, LinkError> {
        self.pool.take(link, sort, opener, deadline).await
    }

    /// Keeps a session for the next call, or ends it.
    pub fn give_back(&self, session: ExclusiveSession) {
        self.pool.give_back(session);
    }

    /// Forgets the sessions over a link that no call has, after its upstream has forgotten one.
    pub fn forget_sessions(&self, link: &Link) {
        self.pool.forget(link.link_id);
    }

    /// Makes the state of a round of questions.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn seal(
        &self,
        at: (ExchangeId, u32),
        principal: PrincipalKey,
        request: RequestDigest,
        lives: Duration,
    ) -> Result<String, NoRandom> {
        self.parked.seal(at, principal, request, lives)
    }

    /// Parks a call in a round of questions.
    ///
    /// # Errors
    /// As many wait as may.
    pub fn park(&self, at: (ExchangeId, u32), call: ParkedCall) -> Result<(), TooManyParked> {
        self.parked.park(at, call)
    }

    /// Returns the id of this process, which its states name.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.parked.own()
    }

    /// Returns the other replica that has the call which a state of this principal's continues.
    #[must_use]
    pub fn other_owner(&self, state: &str, principal: PrincipalKey) -> Option<ReplicaId> {
        self.parked.other_owner(state, principal)
    }

    /// Returns what a state is good for.
    #[must_use]
    pub fn check(
        &self,
        state: &str,
        principal: PrincipalKey,
        request: &RequestDigest,
    ) -> StateCheck {
        self.parked.check(state, principal, request)
    }

    /// Takes the call that a state continues. `None` if another request was faster, or the call is over.
    #[must_use]
    pub fn claim(&self, ticket: &ParkedTicket) -> Option<ParkedCall> {
        self.parked.claim(ticket)
    }

    /// Takes back a call that is parked. Returns false if its caller has claimed it just now.
    #[must_use]
    pub fn unpark(&self, exchange: &ExchangeId) -> bool {
        self.parked.unpark(exchange)
    }

    /// Forgets a call that is over.
    pub fn end(&self, exchange: &ExchangeId, is_answered: bool) {
        self.parked.end(exchange, is_answered);
    }

    /// Returns how many calls wait for their callers.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked.count()
    }

    /// Returns whether weir is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until weir is about to stop.
    pub async fn drained(&self) {
        self.draining.cancelled().await;
    }
}
