//! Tokens that end: fetched once however many calls wait, renewed ahead of their end, fetched again after a 401.
//!
//! A token is renewed by whoever uses it, so there is no timer for that. An upstream that nobody calls is still listed at
//! every resync; where even that is rarer than tokens end, the next call waits for a new one. What failed is tried again
//! unasked.

mod again;
mod pace;
#[cfg(test)]
pub(in crate::credentials) mod tests;

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{HttpEndpoint, Upstream};
use crate::credentials::grant::Grant;
use crate::credentials::state::{Phase, StateCell};
use crate::credentials::{Around, NoCredential, Refused, SetupError, Stamp, Verdict};
use crate::secret::Secret;
use again::Landing;
use pace::Life;

/// How long all requests for one token may take together: metadata, then the token.
const FLIGHT: Duration = Duration::from_secs(30);
/// Between two tokens that are fetched because of a 401, unless the refused one has lived for half its time. An
/// upstream that refuses everything is no reason to ask the token endpoint at every call.
const SPACING: Duration = Duration::from_secs(5);
/// Calls without a token wait for a next try that is this near, so that a hiccup of the token endpoint fails none.
const SOON: Duration = Duration::from_secs(1);

/// A token, and the header it is sent in.
#[derive(Clone, Debug)]
pub struct Token {
    /// The header.
    pub header: HeaderName,
    /// What it says, `Bearer ` and the like included.
    pub value: Secret,
    /// When it ends, if that is known. One that does not say is renewed every five minutes, and used until then
    /// or until it is refused.
    pub expires: Option<SystemTime>,
}

/// Why no token was had. The words are weir's own: no text of a peer, no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It may work another time: no connection, a timeout, 5xx, 429.
    #[error("{0}")]
    Passing(Box<str>),
    /// The same, and the server said when (`Retry-After`).
    #[error("{0}")]
    Later(Box<str>, Duration),
    /// The server says no, and will again: `invalid_client`, `invalid_scope`.
    #[error("{0}")]
    Refused(Box<str>),
    /// A person has to log in.
    #[error("{0}")]
    Reauth(Box<str>),
}

/// Where tokens of one upstream come from.
#[derive(Debug)]
pub struct TokenSource {
    grant: Arc<Grant>,
    state: Arc<StateCell>,
    tasks: TaskTracker,
    stop: CancellationToken,
    held: ArcSwapOption<Held>,
    flight: Mutex<Flight>,
    /// Moves whenever a flight has landed.
    landed: watch::Sender<u64>,
    /// The last token that the upstream let in.
    let_in: AtomicU64,
    /// Whether the state is what it is because the upstream refused.
    refused: AtomicBool,
}

/// The token in use.
#[derive(Debug)]
struct Held {
    number: u64,
    header: HeaderName,
    value: HeaderValue,
    life: Life,
    expires: Option<SystemTime>,
}

/// The one request for a token, and how the last one went.
#[derive(Debug, Default)]
struct Flight {
    under_way: bool,
    task: Option<AbortHandle>,
    /// What asks again after a failure.
    retry: Option<AbortHandle>,
    /// In a row.
    failures: u32,
    failed: Option<Failed>,
    /// When a token was last fetched because of a 401.
    forced: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Failed {
    error: GrantError,
    next_try: Instant,
    /// Of the grant: with another secret it is worth another try at once.
    version: u64,
}

/// What came of asking for a new token.
enum Asked {
    /// There is one already.
    There,
    /// A flight is under way.
    UnderWay,
    /// Not now.
    Failed(Failed),
    /// The token is new, and was refused: until then there is no other.
    TooSoon(Instant),
}

impl TokenSource {
    /// The source that an upstream's `auth` names. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        upstream: &Upstream,
        endpoint: &HttpEndpoint,
        around: &Around,
        state: Arc<StateCell>,
    ) -> Result<Arc<Self>, SetupError> {
        let grant = Grant::new(upstream, endpoint, around)?;
        Ok(Self::over(grant, around, state))
    }

    fn over(grant: Grant, around: &Around, state: Arc<StateCell>) -> Arc<Self> {
        Arc::new(Self {
            grant: Arc::new(grant),
            state,
            tasks: around.tasks.clone(),
            stop: around.stop.clone(),
            held: ArcSwapOption::empty(),
            flight: Mutex::default(),
            landed: watch::Sender::new(0),
            let_in: AtomicU64::new(0),
            refused: AtomicBool::new(false),
        })
    }

    /// Puts the token on.
    ///
    /// # Errors
    /// There is none, and none came until `deadline`.
    pub async fn put(
        self: &Arc<Self>,
        headers: &mut HeaderMap,
        deadline: Instant,
    ) -> Result<Stamp, NoCredential> {
        if let Some(stamp) = self.put_held(headers) {
            return Ok(stamp);
        }
        let mut landed = self.landed.subscribe();
        loop {
            landed.mark_unchanged();
            if let Some(stamp) = self.put_held(headers) {
                return Ok(stamp);
            }
            let until = match self.ask(self.number(), false) {
                Asked::There => continue,
                Asked::UnderWay => deadline,
                Asked::TooSoon(until) => until,
                Asked::Failed(failed) => {
                    self.show(&failed);
                    if failed.next_try > Instant::now() + SOON {
                        return Err(NoCredential(failed.error.to_string().into()));
                    }
                    failed.next_try
                }
            };
            let waited = tokio::time::timeout_at(until.min(deadline), landed.changed()).await;
            if waited.is_err() && Instant::now() >= deadline {
                return Err(NoCredential("no token came in time".into()));
            }
        }
    }

    /// The token in use, if there is one that has not ended. Has it renewed when it is time.
    fn put_held(self: &Arc<Self>, headers: &mut HeaderMap) -> Option<Stamp> {
        let held = self.held.load();
        let (held, now) = (held.as_ref()?, Instant::now());
        if held.life.is_over(now) {
            return None;
        }
        if held.life.is_due(now) {
            self.ask(held.number, false);
        }
        headers.insert(held.header.clone(), held.value.clone());
        Some(Stamp::Numbered(held.number))
    }

    /// The number of the last token; 0 before the first.
    fn number(&self) -> u64 {
        self.held.load().as_ref().map_or(0, |held| held.number)
    }

    /// The token was let in.
    pub fn accepted(&self, stamp: &Stamp) {
        if let Stamp::Numbered(number) = stamp
            && self.let_in.load(Ordering::Relaxed) < *number
        {
            self.let_in.store(*number, Ordering::Relaxed);
        }
        if self.refused.load(Ordering::Relaxed) && self.refused.swap(false, Ordering::Relaxed) {
            self.relieved();
        }
    }

    /// The upstream is content again; how the token endpoint is, is another matter.
    fn relieved(&self) {
        let flight = self.flight();
        match &flight.failed {
            Some(failed) => self.show(failed),
            None => {
                let expires = self.held.load().as_ref().and_then(|held| held.expires);
                self.state.ok(expires);
            }
        }
    }

    /// The token was refused. After a 401 there is another token if this one was not new.
    pub async fn refused(
        self: &Arc<Self>,
        stamp: &Stamp,
        refusal: &Refused<'_>,
        deadline: Instant,
    ) -> Verdict {
        let Stamp::Numbered(number) = *stamp else {
            return Verdict::Final(None);
        };
        if refusal.status != StatusCode::UNAUTHORIZED {
            return self.forbidden(number, refusal.headers);
        }
        let mut landed = self.landed.subscribe();
        let mut asked = false;
        loop {
            landed.mark_unchanged();
            match self.ask(number, !asked) {
                Asked::There => return Verdict::Again,
                Asked::UnderWay => asked = true,
                Asked::Failed(failed) => {
                    self.show(&failed);
                    return Verdict::Final(Some(failed.error.to_string().into()));
                }
                Asked::TooSoon(until) => {
                    let why = "a new token was refused with HTTP status 401";
                    self.enter_refused(why, Some(until));
                    return Verdict::Final(Some(why.into()));
                }
            }
            if tokio::time::timeout_at(deadline, landed.changed())
                .await
                .is_err()
            {
                return Verdict::Final(Some("no token came in time".into()));
            }
        }
    }

    /// 403: the token is good and not good enough. That says something about the credential only where it
    /// was never let in: otherwise it is about this one request.
    fn forbidden(&self, number: u64, headers: &HeaderMap) -> Verdict {
        let lacks_scope = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .any(|value| memchr::memmem::find(value.as_bytes(), b"insufficient_scope").is_some());
        let why = match lacks_scope {
            true => "the token lacks a scope",
            false => "the token was refused with HTTP status 403",
        };
        if self.let_in.load(Ordering::Relaxed) < number {
            self.enter_refused(why, None);
        }
        Verdict::Final(Some(why.into()))
    }

    fn enter_refused(&self, why: &str, next_try: Option<Instant>) {
        self.refused.store(true, Ordering::Relaxed);
        self.state.enter(Phase::Failing, Some(why), next_try);
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock()
    }

    /// Asks for a newer token than this one. `refused`: because the upstream said 401 to it.
    fn ask(self: &Arc<Self>, than: u64, refused: bool) -> Asked {
        let (mut flight, now) = (self.flight(), Instant::now());
        let held = self.held.load();
        // Looked at under the lock, or whoever comes late would start another flight.
        if held.as_ref().is_some_and(|held| held.number > than) {
            return Asked::There;
        }
        if flight.under_way {
            return Asked::UnderWay;
        }
        if let Some(failed) = &flight.failed
            && now < failed.next_try
            && failed.version == self.grant.version()
        {
            return Asked::Failed(failed.clone());
        }
        if refused && held.as_ref().is_some_and(|held| held.life.is_young(now)) {
            if let Some(free) = flight.forced.map(|forced| forced + SPACING)
                && now < free
            {
                return Asked::TooSoon(free);
            }
            flight.forced = Some(now);
        }
        // A state that has lasted is not interrupted by each try.
        if flight.failed.is_none() && !self.refused.load(Ordering::Relaxed) {
            self.state.enter(Phase::Refreshing, None, None);
        }
        flight.under_way = true;
        drop(flight);
        self.launch(refused);
        Asked::UnderWay
    }

    /// A task of its own: whoever asked may give up, others wait for it too.
    fn launch(self: &Arc<Self>, refused: bool) {
        let grant = Arc::clone(&self.grant);
        let landing = Landing {
            source: Arc::downgrade(self),
            version: grant.version(),
            result: Err(GrantError::Passing("the token request broke off".into())),
        };
        let flight = async move {
            let result = tokio::time::timeout(FLIGHT, grant.fetch(refused)).await;
            landing.with(result.unwrap_or_else(|_| {
                Err(GrantError::Passing(
                    "the token request took too long".into(),
                ))
            }));
        };
        // Without the lock: a runtime that is ending drops the task, which lands it, at once.
        let task = self.spawn(flight);
        self.flight().task = Some(task);
    }

    fn land(self: &Arc<Self>, result: Result<Token, GrantError>, version: u64) {
        let mut flight = self.flight();
        flight.under_way = false;
        self.state.requested(result.is_ok());
        let mut again = None;
        match result.and_then(|token| Held::new(token, self.number() + 1)) {
            Ok(held) => {
                let expires = held.expires;
                self.held.store(Some(Arc::new(held)));
                flight.failures = 0;
                flight.failed = None;
                // Whether the upstream takes it, `accepted` learns.
                if !self.refused.load(Ordering::Relaxed) {
                    self.state.ok(expires);
                }
            }
            Err(error) => {
                let held = self.held.load();
                let left = held.as_ref().and_then(|held| held.life.left());
                let next_try = Instant::now() + pace::until_next(&error, flight.failures, left);
                let failed = Failed {
                    error,
                    next_try,
                    version,
                };
                flight.failures = flight.failures.saturating_add(1);
                self.show(&failed);
                flight.failed = Some(failed);
                again = Some(next_try);
            }
        }
        drop(flight);
        if let Some(at) = again {
            self.retry(at, version);
        }
        self.landed.send_modify(|landed| *landed += 1);
    }

    /// What a failure means depends on whether there is a token meanwhile.
    fn show(&self, failed: &Failed) {
        let held = self.held.load();
        let valid = held
            .as_ref()
            .is_some_and(|held| !held.life.is_over(Instant::now()));
        let phase = match &failed.error {
            GrantError::Reauth(_) => Phase::ReauthNeeded,
            GrantError::Passing(_) | GrantError::Later(..) | GrantError::Refused(_) => {
                match valid {
                    true => Phase::Expiring,
                    false => Phase::Failing,
                }
            }
        };
        let why = failed.error.to_string();
        self.state.enter(phase, Some(&why), Some(failed.next_try));
    }
}

impl Drop for TokenSource {
    fn drop(&mut self) {
        // Nobody waits any more.
        let flight = self.flight();
        for task in [&flight.task, &flight.retry].into_iter().flatten() {
            task.abort();
        }
    }
}

impl Held {
    fn new(token: Token, number: u64) -> Result<Self, GrantError> {
        let mut value = HeaderValue::from_str(token.value.expose()).map_err(|_| {
            GrantError::Refused("the token has characters that no header has".into())
        })?;
        value.set_sensitive(true);
        let life = Life::until(token.expires).ok_or_else(|| {
            GrantError::Passing("the token had ended before it came: are the clocks right?".into())
        })?;
        Ok(Self {
            number,
            header: token.header,
            value,
            life,
            expires: token.expires,
        })
    }
}
