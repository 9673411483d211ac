//! Calls that wait for their callers to answer what a legacy upstream asked: under which sealed state
//! each is found again, once, by the principal and the request that it belongs to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::HashMap;
use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use tokio::sync::{mpsc, oneshot};

use crate::caller::PrincipalKey;
use crate::protocol::error::StateProblem;
use crate::replicas::ReplicaId;
use crate::seal::{KeyRing, NoRandom, Sealer};
use crate::upstream::{Link, Peer, RelayedMessage};

/// The purpose that the states are sealed for.
const PURPOSE: &str = "parked call";
/// The format of the states that are made now.
const FORMAT: u8 = 1;
/// The most calls that wait for their callers, at all upstreams together.
const MOST_PARKED: usize = 4_096;
/// The most calls that are known to be over: a state of one that was used is no state of one that is
/// gone.
const MOST_FINISHED: usize = 1_024;

/// The random name of a call that was parked.
pub type ExchangeId = [u8; 16];
/// The digest of what a state is bound to in its request.
pub type RequestDigest = [u8; 32];

/// The calls that wait.
#[derive(Debug)]
pub(super) struct ParkedCalls {
    sealer: Sealer,
    /// Tells this process from others with the same keys, and from earlier ones.
    own: ReplicaId,
    inner: Mutex<ParkedState>,
}

#[derive(Debug, Default)]
struct ParkedState {
    exchanges: HashMap<ExchangeId, Exchanged>,
    /// The number of those that wait, by the id of the link.
    waiting: HashMap<u64, usize>,
    total: usize,
    finished: VecDeque<ExchangeId>,
}

/// A call that asked its caller at least once, and is not over.
#[derive(Debug)]
struct Exchanged {
    round: u32,
    /// `None` while its upstream works on it.
    parked: Option<ParkedCall>,
}

/// A call that waits for its caller.
#[derive(Debug)]
pub struct ParkedCall {
    /// The link of its session.
    pub link: Arc<Link>,
    /// The server at the other end of its session.
    pub peer: Arc<Peer>,
    /// The number of the request on its link.
    pub number: u64,
    /// The names of the questions that wait for an answer.
    pub keys: Vec<String>,
    /// The time that the call has left.
    pub left: Duration,
    /// The time that it has left if it reports progress, where that prolongs it.
    pub longest: Option<Duration>,
    /// Has the call go on.
    pub resume: oneshot::Sender<Resumption>,
}

/// The part of a request that a call goes on with.
#[derive(Debug)]
pub struct Resumption {
    /// The caller's answers (`inputResponses`), as JSON text.
    pub answers: Option<String>,
    /// Receives its messages.
    pub out: mpsc::Sender<RelayedMessage>,
    /// The time at which it has to be over.
    pub deadline: tokio::time::Instant,
}

/// The content of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SealedState {
    /// In milliseconds since 1970.
    expires: u64,
    principal: [u8; 16],
    process: ReplicaId,
    exchange: ExchangeId,
    round: u32,
    request: RequestDigest,
}

/// The use of a state.
#[derive(Debug)]
pub enum StateCheck {
    /// It is not one of this weir's.
    Foreign,
    /// It continues no call.
    Bad(StateProblem),
    /// It continues this call.
    Good(ParkedTicket),
}

/// A state that is good, not used yet.
#[derive(Clone, Debug)]
pub struct ParkedTicket {
    /// The link of the call's session, whose gate it has to pass again.
    pub link: Arc<Link>,
    /// The names of the questions that wait for an answer.
    pub keys: Vec<String>,
    /// The time that the call has left.
    pub left: Duration,
    /// The time that it has left if it reports progress, where that prolongs it.
    pub longest: Option<Duration>,
    exchange: ExchangeId,
    round: u32,
}

/// Too many calls wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls wait for their callers")]
pub struct TooManyParked;

/// Returns the digest of what a state is bound to: method, name or URI, and arguments as they were
/// sent.
#[must_use]
pub fn request_digest(method: &str, name: &str, arguments: Option<&str>) -> RequestDigest {
    let mut digest = Context::new(&SHA256);
    for part in [method, name, arguments.unwrap_or_default()] {
        // The length goes before each part, so that no two lists of parts are the same bytes.
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(digest.finish().as_ref()) {
        *to = *from;
    }
    bytes
}

impl SealedState {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.expires.to_be_bytes());
        bytes.extend_from_slice(&self.principal);
        bytes.extend_from_slice(&self.process.bytes());
        bytes.extend_from_slice(&self.exchange);
        bytes.extend_from_slice(&self.round.to_be_bytes());
        bytes.extend_from_slice(&self.request);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[format], rest) = bytes.split_first_chunk::<1>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (&principal, rest) = rest.split_first_chunk::<16>()?;
        let (&process, rest) = rest.split_first_chunk::<16>()?;
        let (&exchange, rest) = rest.split_first_chunk::<16>()?;
        let (round, rest) = rest.split_first_chunk::<4>()?;
        let (&request, rest) = rest.split_first_chunk::<32>()?;
        (format == FORMAT && rest.is_empty()).then(|| Self {
            expires: u64::from_be_bytes(*expires),
            principal,
            process: ReplicaId::from_bytes(process),
            exchange,
            round: u32::from_be_bytes(*round),
            request,
        })
    }
}

impl ParkedCalls {
    /// Makes an empty table whose states are sealed with these keys.
    ///
    /// # Errors
    /// The keys cannot be derived, or there are no random numbers.
    pub(super) fn new(keys: &KeyRing) -> Result<Self, NoRandom> {
        Ok(Self {
            sealer: keys.sealer(PURPOSE).ok_or(NoRandom)?,
            own: ReplicaId::random()?,
            inner: Mutex::default(),
        })
    }

    /// Returns the id of this process.
    pub(super) fn own(&self) -> ReplicaId {
        self.own
    }

    /// Returns the replica that has the call which a state of this principal's continues; `None` if the
    /// state is none, or that is this process.
    pub(super) fn other_owner(&self, state: &str, principal: PrincipalKey) -> Option<ReplicaId> {
        let state = SealedState::from_bytes(&self.sealer.open(state)?)?;
        let is_good = state.principal == principal.bytes() && state.expires > now();
        (is_good && state.process != self.own).then_some(state.process)
    }

    /// Makes the state of a round of questions, which is good for `lives`.
    ///
    /// # Errors
    /// There are no random numbers.
    pub(super) fn seal(
        &self,
        (exchange, round): (ExchangeId, u32),
        principal: PrincipalKey,
        request: RequestDigest,
        lives: Duration,
    ) -> Result<String, NoRandom> {
        let state = SealedState {
            expires: now().saturating_add(milliseconds(lives)),
            principal: principal.bytes(),
            process: self.own,
            exchange,
            round,
            request,
        };
        self.sealer.seal(&state.to_bytes())
    }

    /// Parks a call in a round of questions.
    ///
    /// # Errors
    /// As many wait as may, at this upstream or at all.
    pub(super) fn park(
        &self,
        (exchange, round): (ExchangeId, u32),
        call: ParkedCall,
    ) -> Result<(), TooManyParked> {
        let most = call.link.config.limits.parked.get();
        let mut inner = self.inner.lock();
        let here = inner.waiting.get(&call.link.link_id).copied();
        if inner.total >= MOST_PARKED || here.unwrap_or_default() >= most {
            return Err(TooManyParked);
        }
        inner.total += 1;
        *inner.waiting.entry(call.link.link_id).or_default() += 1;
        let parked = Some(call);
        inner
            .exchanges
            .insert(exchange, Exchanged { round, parked });
        Ok(())
    }

    /// Returns what a state is good for to a principal with this request.
    pub(super) fn check(
        &self,
        state: &str,
        principal: PrincipalKey,
        request: &RequestDigest,
    ) -> StateCheck {
        let opened = self.sealer.open(state);
        let Some(state) = opened.and_then(|bytes| SealedState::from_bytes(&bytes)) else {
            return StateCheck::Foreign;
        };
        let is_own = state.principal == principal.bytes() && state.request == *request;
        if !is_own || state.expires <= now() {
            return StateCheck::Bad(StateProblem::Invalid);
        }
        let over = StateCheck::Bad(StateProblem::Over);
        if state.process != self.own {
            return over;
        }
        let inner = self.inner.lock();
        let Some(exchanged) = inner.exchanges.get(&state.exchange) else {
            return match inner.finished.contains(&state.exchange) {
                true => StateCheck::Bad(StateProblem::Invalid),
                false => over,
            };
        };
        let parked = exchanged.parked.as_ref();
        match parked.filter(|_| exchanged.round == state.round) {
            Some(parked) => StateCheck::Good(ParkedTicket {
                link: Arc::clone(&parked.link),
                keys: parked.keys.clone(),
                left: parked.left,
                longest: parked.longest,
                exchange: state.exchange,
                round: state.round,
            }),
            None => StateCheck::Bad(StateProblem::Invalid),
        }
    }

    /// Takes the call that a state continues. `None` if another request was faster, or the call is over.
    pub(super) fn claim(&self, ticket: &ParkedTicket) -> Option<ParkedCall> {
        self.take(&ticket.exchange, Some(ticket.round))
    }

    /// Takes back a call that is parked. Returns false if its caller has claimed it just now.
    pub(super) fn unpark(&self, exchange: &ExchangeId) -> bool {
        self.take(exchange, None).is_some()
    }

    fn take(&self, exchange: &ExchangeId, round: Option<u32>) -> Option<ParkedCall> {
        let mut inner = self.inner.lock();
        let exchanged = inner.exchanges.get_mut(exchange)?;
        if round.is_some_and(|round| round != exchanged.round) {
            return None;
        }
        let parked = exchanged.parked.take()?;
        inner.total = inner.total.saturating_sub(1);
        let id = parked.link.link_id;
        if let Some(waiting) = inner.waiting.get_mut(&id) {
            *waiting -= 1;
            if *waiting == 0 {
                inner.waiting.remove(&id);
            }
        }
        Some(parked)
    }

    /// Forgets a call that is over. `is_answered`: its caller got the answer, so that all its states
    /// were used.
    pub(super) fn end(&self, exchange: &ExchangeId, is_answered: bool) {
        drop(self.take(exchange, None));
        let mut inner = self.inner.lock();
        let is_known = inner.exchanges.remove(exchange).is_some();
        if is_known && is_answered {
            inner.finished.push_back(*exchange);
            if inner.finished.len() > MOST_FINISHED {
                inner.finished.pop_front();
            }
        }
    }

    /// Returns how many calls wait.
    pub(super) fn count(&self) -> usize {
        self.inner.lock().total
    }
}

/// Returns the milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, milliseconds)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Caller, Identity, Principal};

    fn calls() -> ParkedCalls {
        ParkedCalls::new(&KeyRing::from_texts(["k"]).unwrap()).unwrap()
    }

    fn user(subject: &str) -> PrincipalKey {
        Caller::new(Identity::new(Principal::ApiKey, subject)).key()
    }

    fn state() -> SealedState {
        SealedState {
            expires: 7,
            principal: [1; 16],
            process: ReplicaId::from_bytes([2; 16]),
            exchange: [3; 16],
            round: 9,
            request: [4; 32],
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_nothing_else_is() {
        let bytes = state().to_bytes();
        assert_eq!(SealedState::from_bytes(&bytes), Some(state()));
        for end in 0..bytes.len() {
            assert_eq!(SealedState::from_bytes(&bytes[..end]), None);
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(SealedState::from_bytes(&longer), None);
        let other = [&[FORMAT + 1], &bytes[1..]].concat();
        assert_eq!(SealedState::from_bytes(&other), None);
    }

    #[test]
    fn a_state_is_good_for_one_principal_and_request_only() {
        let calls = calls();
        let request = request_digest("tools/call", "a", Some("{}"));
        let minute = Duration::from_secs(60);
        let seal = |lives| calls.seal(([3; 16], 1), user("me"), request, lives);
        let state = seal(minute).unwrap();
        let check =
            |calls: &ParkedCalls, state: &str, who: &str, request: &RequestDigest| match calls
                .check(state, user(who), request)
            {
                StateCheck::Foreign => "foreign",
                StateCheck::Bad(StateProblem::Invalid) => "invalid",
                StateCheck::Bad(StateProblem::Over) => "over",
                StateCheck::Good(_) => "good",
            };
        assert_eq!(check(&calls, &state, "me", &request), "over");
        assert_eq!(check(&calls, &state, "you", &request), "invalid");
        for (method, name, arguments) in [
            ("prompts/get", "a", Some("{}")),
            ("tools/call", "b", Some("{}")),
            ("tools/call", "a", Some("{ }")),
            ("tools/call", "a", None),
        ] {
            let other = request_digest(method, name, arguments);
            assert_eq!(check(&calls, &state, "me", &other), "invalid");
        }
        let expired = seal(Duration::ZERO).unwrap();
        assert_eq!(check(&calls, &expired, "me", &request), "invalid");
        assert_eq!(check(&calls, "x", "me", &request), "foreign");
        let replica = self::calls();
        assert_eq!(check(&replica, &state, "me", &request), "over");
        let owner =
            |calls: &ParkedCalls, state: &str, who: &str| calls.other_owner(state, user(who));
        assert_eq!(owner(&replica, &state, "me"), Some(calls.own()));
        assert_eq!(owner(&replica, &state, "you"), None);
        assert_eq!(owner(&replica, &expired, "me"), None);
        assert_eq!(owner(&replica, "x", "me"), None);
        assert_eq!(owner(&calls, &state, "me"), None);
        let stranger = ParkedCalls::new(&KeyRing::from_texts(["other"]).unwrap()).unwrap();
        assert_eq!(check(&stranger, &state, "me", &request), "foreign");
    }

    #[test]
    fn no_two_requests_have_one_digest() {
        let all = [
            request_digest("a", "b", None),
            request_digest("ab", "", None),
            request_digest("a", "", Some("b")),
            request_digest("", "ab", None),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one));
        }
    }
}
