//! The door of the page: who comes in, and what they may do there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::admin::{AdminAccess, AdminSender};
use crate::allowance::Allowance;
use crate::config::AdminPage;
use crate::page::session::{self, SessionSeal};
use crate::protocol::origin::{is_own_origin, is_same_origin};
use crate::seal::{NoRandom, Sealer};

/// Wrong tokens: ten at once, then one a second. Beyond that nobody logs in.
const ATTEMPT: Duration = Duration::from_secs(1);
const ATTEMPTS: Duration = Duration::from_secs(10);

/// A visitor who came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Visitor {
    /// Whether they see who called what.
    pub(super) sees_calls: bool,
    /// Whether they may change something.
    pub(super) may_write: bool,
    /// Whether they may call tools.
    pub(super) may_try: bool,
    /// Whether they have logged in, so that they can log out.
    pub(super) has_session: bool,
}

/// The verdict on a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DoorVerdict {
    /// It is answered.
    Open(Visitor, AdminSender),
    /// Its sender has to log in.
    LogIn,
    /// It is refused, with these words.
    Refused(StatusCode, &'static str),
}

/// An attempt to log in that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginFailure {
    /// There is no token, so that none can be right.
    NoToken,
    /// It is another text.
    Wrong,
    /// There were too many wrong ones of late.
    TooMany(Duration),
    /// No cookie could be made.
    NoCookie,
}

/// Decides who comes in.
pub(super) struct Door {
    access: Arc<AdminAccess>,
    mode: AdminPage,
    /// Whether operators may call tools at all.
    tries: bool,
    seal: SessionSeal,
    attempts: Mutex<Allowance>,
}

impl Door {
    pub(super) const fn new(
        access: Arc<AdminAccess>,
        (mode, tries): (AdminPage, bool),
        sealer: Sealer,
    ) -> Self {
        Self {
            access,
            mode,
            tries,
            seal: SessionSeal::new(sealer),
            attempts: Mutex::new(Allowance::new(ATTEMPTS)),
        }
    }

    /// Returns whether the page may change anything at all.
    pub(super) fn writes(&self) -> bool {
        self.mode == AdminPage::Write
    }

    /// Returns whether there is a token to log in with.
    pub(super) fn has_token(&self) -> bool {
        self.access.token().is_some()
    }

    /// Checks where a request comes from, whoever sent it. `None` if it may go on.
    pub(super) fn check_origin(&self, request: &Parts) -> Option<DoorVerdict> {
        if self.access.check_host(request).is_err() {
            let words = "this Host is not allowed: use the address that weir listens at, or list the name in \
                 `listen.allowed_hosts`";
            return Some(DoorVerdict::Refused(StatusCode::FORBIDDEN, words));
        }
        let is_own = match reads(request) {
            // Another site may link here; its scripts may not read.
            true => is_own_origin(request),
            false => is_same_origin(request),
        };
        let words = "this came from a page of another site";
        (!is_own).then_some(DoorVerdict::Refused(StatusCode::FORBIDDEN, words))
    }

    /// Decides on a request that comes from the right place.
    pub(super) async fn enter(&self, request: &Parts) -> DoorVerdict {
        let has_session = self.has_session(&request.headers);
        let has_token = has_session || self.access.has_token(&request.headers);
        let sender = match has_token || self.access.is_open() {
            true => Some(AdminSender::default()),
            false => self.access.sender_with_role(request).await,
        };
        // A plan is looked at, and changes nothing.
        let is_plan = request.uri.path() == "/page/plan";
        if !reads(request) && !is_plan {
            return match (self.writes(), sender) {
                (false, _) => DoorVerdict::Refused(
                    StatusCode::FORBIDDEN,
                    "this page changes nothing: `admin.page` is not `write`",
                ),
                (true, None) => DoorVerdict::LogIn,
                (true, Some(sender)) => DoorVerdict::Open(self.known(has_session), sender),
            };
        }
        match sender {
            Some(sender) => DoorVerdict::Open(self.known(has_session), sender),
            None if self.access.reads_openly() => {
                DoorVerdict::Open(Visitor::default(), AdminSender::default())
            }
            None => DoorVerdict::LogIn,
        }
    }

    fn known(&self, has_session: bool) -> Visitor {
        Visitor {
            sees_calls: true,
            may_write: self.writes(),
            may_try: self.writes() && self.tries,
            has_session,
        }
    }

    fn has_session(&self, headers: &HeaderMap) -> bool {
        let Some(token) = self.access.token() else {
            return false;
        };
        let now = SystemTime::now();
        let mut sent = session::values(headers).take(16);
        sent.any(|value| self.seal.is_good(value, &token, now))
    }

    /// Returns the value of a cookie for somebody who sends the token.
    pub(super) fn log_in(&self, text: &str) -> Result<String, LoginFailure> {
        let token = self.access.token().ok_or(LoginFailure::NoToken)?;
        let now = Instant::now();
        let mut attempts = self.attempts.lock();
        let debt = attempts.debt(now);
        if !debt.is_zero() {
            return Err(LoginFailure::TooMany(debt));
        }
        if !self.access.is_token(text) {
            attempts.spend(ATTEMPT, now);
            return Err(LoginFailure::Wrong);
        }
        let sealed = self.seal.seal(&token, SystemTime::now());
        sealed.map_err(|NoRandom| LoginFailure::NoCookie)
    }
}

fn reads(request: &Parts) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
}
