//! Tokens that expire: fetched once however many calls wait, renewed before they expire, and
//! fetched again after a 401.
//!
//! The calls that use a token have it renewed, so no timer is needed for that. An upstream without
//! calls is still listed at every resync, which uses the token too. If even that is rarer than
//! tokens expire, the next call waits for a new one. A fetch that failed is tried again by itself.

mod completion;
mod current;
#[cfg(test)]
mod tests;
mod timing;

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::FutureExt as _;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{HttpEndpoint, Upstream};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::{NoCredential, SetupError};
use crate::credentials::grant::Grant;
use crate::credentials::rejection::{CredentialVersion, Rejection, RejectionOutcome};
use crate::credentials::status::{CredentialState, StatusCell};
use crate::credentials::token::{GrantError, Token};
use completion::CompletionGuard;
use current::CurrentToken;

/// The longest that all requests for one token may take together: metadata, then the token.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest pause between two tokens that are fetched because of a 401, unless the rejected
/// token has used up half its lifetime. An upstream that rejects everything must not cause a token
/// request for every call.
const REJECTION_PAUSE: Duration = Duration::from_secs(5);
/// Calls without a token wait for the next attempt if it is at most this far away, so that a brief
/// failure of the token endpoint fails no call.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// The pause between two checks whether somebody has logged in, or a secret has changed.
const CHECK_PAUSE: Duration = Duration::from_secs(1);

/// The tokens of one upstream.
#[derive(Debug)]
pub struct TokenSource {
    grant: Arc<Grant>,
    status: Arc<StatusCell>,
    tasks: TaskTracker,
    stop: CancellationToken,
    current: ArcSwapOption<CurrentToken>,
    refresh: Mutex<SingleFlightRefresh>,
    /// Changes whenever a refresh has ended.
    completed: watch::Sender<u64>,
    /// The number of the newest token that the upstream accepted.
    last_accepted: AtomicU64,
    /// Whether the upstream's rejection is the reason for the current state.
    is_rejected: AtomicBool,
}

/// The refresh that all calls share, and how the last one ended.
#[derive(Debug, Default)]
struct SingleFlightRefresh {
    in_progress: bool,
    task: Option<AbortHandle>,
    /// The task that refreshes again after a failure.
    retry: Option<AbortHandle>,
    /// Failures in a row.
    failures: u32,
    failed: Option<FailedRefresh>,
    /// When a token was last fetched because of a 401.
    last_forced: Option<Instant>,
}

#[derive(Clone, Debug)]
struct FailedRefresh {
    error: GrantError,
    next_try: Instant,
    /// The version of the grant: once that has changed, another attempt is worth it at once.
    version: u64,
}

/// The answer to a request for a newer token.
enum RefreshRequest {
    /// There is a newer token already.
    Unneeded,
    /// A refresh is in progress.
    InProgress,
    /// The last refresh failed, and the next attempt is not due.
    Failed(FailedRefresh),
    /// The token is new and was rejected: there is no other before this instant.
    TooSoon(Instant),
}

impl TokenSource {
    /// Creates the source that an upstream's `auth` describes. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        upstream: &Upstream,
        endpoint: &HttpEndpoint,
        context: &CredentialsContext,
        status: Arc<StatusCell>,
    ) -> Result<Arc<Self>, SetupError> {
        let grant = Grant::new(upstream, endpoint, context)?;
        Ok(Self::from_grant(grant, context, status))
    }

    /// Creates the source of a grant's tokens.
    pub fn from_grant(
        grant: Grant,
        context: &CredentialsContext,
        status: Arc<StatusCell>,
    ) -> Arc<Self> {
        Arc::new(Self {
            grant: Arc::new(grant),
            status,
            tasks: context.tasks.clone(),
            stop: context.stop.clone(),
            current: ArcSwapOption::empty(),
            refresh: Mutex::default(),
            completed: watch::Sender::new(0),
            last_accepted: AtomicU64::new(0),
            is_rejected: AtomicBool::new(false),
        })
    }

    /// Adds the token to a request, and waits for it if there is none.
    ///
    /// # Errors
    /// No token arrived before `deadline`.
    pub async fn apply(
        self: &Arc<Self>,
        headers: &mut HeaderMap,
        deadline: Instant,
    ) -> Result<CredentialVersion, NoCredential> {
        if let Some(version) = self.apply_current(headers) {
            return Ok(version);
        }
        let mut completed = self.completed.subscribe();
        loop {
            completed.mark_unchanged();
            if let Some(version) = self.apply_current(headers) {
                return Ok(version);
            }
            let until = match self.request_refresh(self.number(), false) {
                RefreshRequest::Unneeded => continue,
                RefreshRequest::InProgress => deadline,
                RefreshRequest::TooSoon(until) => until,
                RefreshRequest::Failed(failed) => {
                    self.report_failure(&failed);
                    if failed.next_try > Instant::now() + SHORT_WAIT {
                        return Err(NoCredential(failed.error.to_string().into()));
                    }
                    failed.next_try
                }
            };
            let waited = tokio::time::timeout_at(until.min(deadline), completed.changed()).await;
            if waited.is_err() && Instant::now() >= deadline {
                return Err(NoCredential("no token came in time".into()));
            }
        }
    }

    /// Adds the token in use if it has not expired, and has it renewed when that is due.
    fn apply_current(self: &Arc<Self>, headers: &mut HeaderMap) -> Option<CredentialVersion> {
        let current = self.current.load();
        let (current, now) = (current.as_ref()?, Instant::now());
        if current.lifetime.is_over(now) {
            return None;
        }
        if current.lifetime.is_due(now) && self.grant.may_prolong(current.expires) {
            self.request_refresh(current.number, false);
        }
        headers.insert(current.header.clone(), current.value.clone());
        Some(CredentialVersion(current.number))
    }

    /// Returns the number of the token in use; 0 before the first.
    fn number(&self) -> u64 {
        let current = self.current.load();
        current.as_ref().map_or(0, |current| current.number)
    }

    /// Notes that the upstream accepted the token of this version.
    pub fn handle_accepted(&self, version: CredentialVersion) {
        let CredentialVersion(number) = version;
        if self.last_accepted.load(Ordering::Relaxed) < number {
            self.last_accepted.store(number, Ordering::Relaxed);
        }
        if self.is_rejected.load(Ordering::Relaxed)
            && self.is_rejected.swap(false, Ordering::Relaxed)
        {
            self.clear_rejection();
        }
    }

    /// Leaves the state that a rejection caused, for the one that the token endpoint causes.
    fn clear_rejection(&self) {
        let refresh = self.refresh();
        match &refresh.failed {
            Some(failed) => self.report_failure(failed),
            None => {
                let current = self.current.load();
                let expires = current.as_ref().and_then(|current| current.expires);
                self.status.set_ok(expires);
            }
        }
    }

    /// Waits for a newer token after a 401, unless the rejected one was new. Returns whether
    /// another attempt may succeed.
    pub async fn handle_rejection(
        self: &Arc<Self>,
        version: CredentialVersion,
        rejection: &Rejection<'_>,
        deadline: Instant,
    ) -> RejectionOutcome {
        let CredentialVersion(number) = version;
        if rejection.status != StatusCode::UNAUTHORIZED {
            return self.handle_forbidden(number, rejection.headers);
        }
        let mut completed = self.completed.subscribe();
        let mut is_requested = false;
        loop {
            completed.mark_unchanged();
            match self.request_refresh(number, !is_requested) {
                RefreshRequest::Unneeded => return RejectionOutcome::Retry,
                RefreshRequest::InProgress => is_requested = true,
                RefreshRequest::Failed(failed) => {
                    self.report_failure(&failed);
                    return RejectionOutcome::Final(Some(failed.error.to_string().into()));
                }
                RefreshRequest::TooSoon(until) => {
                    let reason = "a new token was rejected with HTTP status 401";
                    self.enter_rejected(reason, Some(until));
                    return RejectionOutcome::Final(Some(reason.into()));
                }
            }
            let completed = tokio::time::timeout_at(deadline, completed.changed());
            if completed.await.is_err() {
                return RejectionOutcome::Final(Some("no token came in time".into()));
            }
        }
    }

    /// Handles a 403: the token is valid but insufficient (RFC 6750 §3.1). That concerns the
    /// credential only if it was never accepted; otherwise it concerns this one request.
    fn handle_forbidden(&self, number: u64, headers: &HeaderMap) -> RejectionOutcome {
        let lacks_scope = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .any(|value| memchr::memmem::find(value.as_bytes(), b"insufficient_scope").is_some());
        let reason = match lacks_scope {
            true => "the token lacks a scope",
            false => "the token was rejected with HTTP status 403",
        };
        if self.last_accepted.load(Ordering::Relaxed) < number {
            self.enter_rejected(reason, None);
        }
        RejectionOutcome::Final(Some(reason.into()))
    }

    fn enter_rejected(&self, reason: &str, next_try: Option<Instant>) {
        self.is_rejected.store(true, Ordering::Relaxed);
        self.status
            .enter(CredentialState::Failing, Some(reason), next_try);
    }

    fn refresh(&self) -> MutexGuard<'_, SingleFlightRefresh> {
        self.refresh.lock()
    }

    /// Has a token fetched that is newer than number `than`, unless there is one. `is_rejected`:
    /// because the upstream answered 401 to that one.
    fn request_refresh(self: &Arc<Self>, than: u64, is_rejected: bool) -> RefreshRequest {
        let (mut refresh, now) = (self.refresh(), Instant::now());
        let current = self.current.load();
        // Checked under the lock: otherwise a late caller would start a second refresh.
        if current
            .as_ref()
            .is_some_and(|current| current.number > than)
        {
            return RefreshRequest::Unneeded;
        }
        if refresh.in_progress {
            return RefreshRequest::InProgress;
        }
        if let Some(failed) = &refresh.failed
            && now < failed.next_try
            && failed.version == self.grant.version()
        {
            return RefreshRequest::Failed(failed.clone());
        }
        let is_young = |current: &Arc<CurrentToken>| current.lifetime.is_young(now);
        if is_rejected && current.as_ref().is_some_and(is_young) {
            if let Some(until) = refresh.last_forced.map(|last| last + REJECTION_PAUSE)
                && now < until
            {
                return RefreshRequest::TooSoon(until);
            }
            refresh.last_forced = Some(now);
        }
        // A failure that lasts stays visible during each attempt.
        if refresh.failed.is_none() && !self.is_rejected.load(Ordering::Relaxed) {
            self.status.enter(CredentialState::Refreshing, None, None);
        }
        refresh.in_progress = true;
        drop(refresh);
        self.start_refresh(is_rejected);
        RefreshRequest::InProgress
    }

    /// Starts a refresh as a task of its own: the call that needs it may give up while others still
    /// wait for it.
    fn start_refresh(self: &Arc<Self>, is_rejected: bool) {
        let grant = Arc::clone(&self.grant);
        let (source, version) = (Arc::downgrade(self), grant.version());
        let broken = Err(GrantError::Temporary("the token request broke off".into()));
        let guard = CompletionGuard::new(broken, move |result| {
            if let Some(source) = source.upgrade() {
                source.complete_refresh(result, version);
            }
        });
        let refresh = async move {
            let result = tokio::time::timeout(REFRESH_TIMEOUT, grant.fetch(is_rejected)).await;
            guard.complete(result.unwrap_or_else(|_| {
                Err(GrantError::Temporary(
                    "the token request took too long".into(),
                ))
            }));
        };
        // Without the lock: a runtime that is shutting down drops the task at once, and its guard
        // takes the lock.
        let task = self.spawn(refresh);
        self.refresh().task = Some(task);
    }

    /// Ends a refresh with its result. `version` is the grant's version when the refresh began.
    fn complete_refresh(self: &Arc<Self>, result: Result<Token, GrantError>, version: u64) {
        let mut refresh = self.refresh();
        refresh.in_progress = false;
        self.status.count_request(result.is_ok());
        let mut retry_at = None;
        match result.and_then(|token| CurrentToken::new(token, self.number() + 1)) {
            Ok(current) => {
                let expires = current.expires;
                self.current.store(Some(Arc::new(current)));
                refresh.failures = 0;
                refresh.failed = None;
                // After a rejection only `handle_accepted` knows that the upstream accepts the new
                // token.
                if !self.is_rejected.load(Ordering::Relaxed) {
                    self.status.set_ok(expires);
                }
            }
            Err(error) => {
                let current = self.current.load();
                let left = current.as_ref().and_then(|current| current.lifetime.left());
                let wait = timing::next_wait(&error, refresh.failures, left);
                let next_try = Instant::now() + wait;
                let failed = FailedRefresh {
                    error,
                    next_try,
                    version,
                };
                refresh.failures = refresh.failures.saturating_add(1);
                self.report_failure(&failed);
                refresh.failed = Some(failed);
                retry_at = self.grant.retries_by_itself().then_some(next_try);
            }
        }
        drop(refresh);
        if let Some(at) = retry_at {
            self.schedule_retry(at, version);
        }
        self.completed.send_modify(|completed| *completed += 1);
    }

    /// Spawns a task that ends with weir.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let task = self.stop.clone().run_until_cancelled_owned(task);
        self.tasks.spawn(task.map(|_| ())).abort_handle()
    }

    /// Refreshes again at an instant, or as soon as the grant has changed, even without calls: the
    /// state that operators see must not depend on calls. `version` is the grant's version when it
    /// failed.
    fn schedule_retry(self: &Arc<Self>, at: Instant, version: u64) {
        let source = Arc::downgrade(self);
        let task = self.spawn(async move {
            while Instant::now() < at {
                tokio::time::sleep_until(at.min(Instant::now() + CHECK_PAUSE)).await;
                match source.upgrade() {
                    Some(source) if source.grant.version() == version => {}
                    Some(_) => break,
                    None => return,
                }
            }
            if let Some(source) = source.upgrade() {
                source.request_refresh(source.number(), false);
            }
        });
        if let Some(earlier) = self.refresh().retry.replace(task) {
            earlier.abort();
        }
    }

    /// Enters the state that a failed refresh causes: that depends on whether the token in use is
    /// still valid.
    fn report_failure(&self, failed: &FailedRefresh) {
        let current = self.current.load();
        let is_valid = current
            .as_ref()
            .is_some_and(|current| !current.lifetime.is_over(Instant::now()));
        let state = match &failed.error {
            GrantError::LoginNeeded(_) => CredentialState::ReauthNeeded,
            GrantError::Temporary(_) | GrantError::RetryAfter(..) | GrantError::Rejected(_) => {
                match is_valid {
                    true => CredentialState::Expiring,
                    false => CredentialState::Failing,
                }
            }
        };
        let reason = failed.error.to_string();
        self.status
            .enter(state, Some(&reason), Some(failed.next_try));
    }
}

impl Drop for TokenSource {
    fn drop(&mut self) {
        // No call can wait for them any more.
        let refresh = self.refresh();
        for task in [&refresh.task, &refresh.retry].into_iter().flatten() {
            task.abort();
        }
    }
}
