//! The handshake over HTTP.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::era::KnownEra;
use super::requests::{SessionProfile, discover_request, initialize_request};
use super::versions::{RefusedVersion, VersionsLeft, best_version};
use crate::protocol::era::{Era, Version};
use crate::protocol::{message, method};
use crate::upstream::caller_login::CallerLogin;
use crate::upstream::cookies::Cookies;
use crate::upstream::error::LinkError;
use crate::upstream::http::HttpWire;
use crate::upstream::http::handshake::HandshakeAnswer;
use crate::upstream::introduction::{
    EraVerdict, Introduction, may_refuse_version, read_discover_answer, read_initialize_answer,
    read_offered_versions,
};
use crate::upstream::link::Link;
use crate::upstream::peer::{Affinity, Connection, Peer, SenderIdentity};

/// How long a server that never answered the modern request may take to answer it after all. Calls
/// wait meanwhile.
const SECOND_CHANCE: Duration = Duration::from_secs(1);

/// Finds the era of an upstream, or takes the known one, and shakes hands.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no version that weir speaks.
pub(super) async fn connect(
    link: &Link,
    wire: &HttpWire,
    known: KnownEra,
) -> Result<(Peer, KnownEra), LinkError> {
    let deadline = link.connect_deadline();
    let (affinity, cookies) = (wire.new_affinity(None), Arc::<Cookies>::default());
    let (mut offered, mut unanswered) = (Vec::new(), None);
    if known != KnownEra::Proven(Era::Legacy) {
        let verdict = discover(link, wire, affinity.as_deref(), &cookies, known, deadline);
        match verdict.await {
            Ok(EraVerdict::Modern(introduction)) => {
                let version = Version::MODERN.as_str();
                let session = wire.new_session(version, None, affinity, cookies, None);
                let peer = introduction.into_peer(Connection::Http(session));
                return Ok((peer, KnownEra::Proven(Era::Modern)));
            }
            Ok(EraVerdict::Again) => {
                return Err(LinkError::Nonsense("no answer to server/discover"));
            }
            Ok(EraVerdict::Legacy(versions)) => offered = versions,
            Err(error) if known.allows_assumption() && error.leaves_era_open() => {
                unanswered = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    let opening = Opening {
        link,
        wire,
        profile: &SessionProfile::OWN,
        login: None,
        method: None,
        affinity,
        cookies,
        deadline,
    };
    match (opening.session(&offered).await, unanswered) {
        (Ok(peer), Some(_)) if peer.era() == Era::Legacy => Ok((peer, KnownEra::Assumed)),
        (Ok(peer), _) => {
            let era = peer.era();
            Ok((peer, KnownEra::Proven(era)))
        }
        // It knows no `initialize`. So the answer that counts is the one to the modern request.
        (Err(error), Some(unanswered)) if error.is_refusal() => Err(unanswered),
        (Err(error), _) => Err(error),
    }
}

/// Sends `server/discover`; a second time if the upstream asks for that.
async fn discover(
    link: &Link,
    wire: &HttpWire,
    affinity: Option<&Affinity>,
    cookies: &Cookies,
    known: KnownEra,
    deadline: Instant,
) -> Result<EraVerdict, LinkError> {
    let half = deadline.saturating_duration_since(Instant::now()) / 2;
    let deadline = match known {
        // Leaves time for `initialize`.
        KnownEra::Unknown { attempts: 1.. } => Instant::now() + half,
        KnownEra::Assumed => Instant::now() + half.min(SECOND_CHANCE),
        KnownEra::Unknown { .. } | KnownEra::Proven(_) => deadline,
    };
    let send = || {
        let body = discover_request(link.next_id());
        let (version, method) = (Version::MODERN.as_str(), Some(method::DISCOVER));
        let sender = SenderIdentity {
            cookies,
            login: None,
        };
        wire.send_handshake(affinity, sender, version, method, body, deadline)
    };
    match read_verdict(send().await?, known)? {
        EraVerdict::Again => read_verdict(send().await?, known),
        verdict @ (EraVerdict::Modern(_) | EraVerdict::Legacy(_)) => Ok(verdict),
    }
}

/// Opens a legacy session beside the link's own, with the login of a caller if there is one.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no legacy version.
pub(super) async fn open_session(
    link: &Link,
    wire: &HttpWire,
    profile: &SessionProfile,
    login: Option<&Arc<CallerLogin>>,
) -> Result<Peer, LinkError> {
    let is_modern = |peer: Arc<Peer>| peer.era() == Era::Modern;
    let opening = Opening {
        link,
        wire,
        profile,
        login,
        method: link
            .current_peer()
            .is_some_and(is_modern)
            .then_some(method::INITIALIZE),
        affinity: wire.new_affinity(profile.key.as_ref()),
        cookies: Arc::default(),
        deadline: link.connect_deadline(),
    };
    let peer = opening.session(&[]).await?;
    match peer.era() {
        Era::Legacy => Ok(peer),
        Era::Modern => Err(LinkError::NoCommonVersion(Version::MODERN.to_string())),
    }
}

/// A legacy session being opened over HTTP. An upstream that turns out to be modern has none.
struct Opening<'o> {
    link: &'o Link,
    wire: &'o HttpWire,
    profile: &'o SessionProfile,
    login: Option<&'o Arc<CallerLogin>>,
    /// The value of `Mcp-Method`, for an upstream that is known to be modern and is asked whether it
    /// speaks the legacy era, too. A modern server wants the header with every request.
    method: Option<&'static str>,
    affinity: Option<Arc<Affinity>>,
    cookies: Arc<Cookies>,
    deadline: Instant,
}

impl Opening<'_> {
    /// Opens the session in the version of the profile, or in one that the upstream names instead.
    /// If the upstream refuses a version and names none, the other versions are tried.
    async fn session(self, offered: &[Version]) -> Result<Peer, LinkError> {
        let mut left = VersionsLeft::new();
        let wanted = self.profile.version;
        let mut version = best_version(wanted, offered).unwrap_or(wanted);
        loop {
            match self.attempt(version).await? {
                Ok(peer) => return Ok(peer),
                Err(refused) => version = left.next(version, refused)?,
            }
        }
    }

    /// Sends one `initialize`. The inner error says that it was refused, and which versions the
    /// upstream named.
    ///
    /// # Errors
    /// It failed for another reason.
    async fn attempt(&self, version: Version) -> Result<Result<Peer, RefusedVersion>, LinkError> {
        let Self { link, wire, .. } = self;
        let affinity = self.affinity.as_deref();
        let (session, introduction) = loop {
            let has_session_id = affinity.is_some_and(Affinity::is_known);
            let body = initialize_request(link.next_id(), version, self.profile);
            let sent = wire.send_handshake(
                affinity,
                SenderIdentity {
                    cookies: &self.cookies,
                    login: self.login.map(Arc::as_ref),
                },
                version.as_str(),
                self.method,
                body,
                self.deadline,
            );
            let failed = match sent.await.and_then(require_evidence) {
                Ok(answer) => match read_introduction(answer) {
                    Ok(introduced) => break introduced,
                    Err(refused) => refused,
                },
                Err(error @ LinkError::Platform { .. }) => RefusedVersion {
                    error,
                    named: Vec::new(),
                    try_others: false,
                },
                Err(error) => return Err(error),
            };
            if !has_session_id {
                let try_others = failed.try_others || wire.quirks().refuses_unknown_versions;
                return Ok(Err(RefusedVersion {
                    try_others,
                    ..failed
                }));
            }
            // The platform gave a session id in answer to the probe. A server with sessions of its
            // own does not know it and refuses, so try once more without it.
            affinity.map(Affinity::forget);
        };
        let (affinity, cookies) = (self.affinity.clone(), Arc::clone(&self.cookies));
        let is_legacy = introduction.era == Era::Legacy;
        let session = wire.new_session(
            &introduction.version,
            session.filter(|_| is_legacy),
            affinity,
            cookies,
            self.login,
        );
        let peer = introduction.into_peer(Connection::Http(session));
        if !is_legacy {
            return Ok(Ok(peer));
        }
        let initialized = message::notification(method::INITIALIZED, None);
        let posted = link.post(&peer, initialized, link.list_deadline()).await;
        posted.map_err(|error| error.in_answer_to(method::INITIALIZED))?;
        Ok(Ok(peer))
    }
}

/// Reads an answer to `initialize`: the session id, and what the server says of itself.
fn read_introduction(
    answer: HandshakeAnswer,
) -> Result<(Option<HeaderValue>, Introduction), RefusedVersion> {
    let message = answer.message.as_deref();
    let refuse = |error| RefusedVersion {
        error,
        named: message.map(read_offered_versions).unwrap_or_default(),
        try_others: message.is_some_and(may_refuse_version),
    };
    match message.map(read_initialize_answer) {
        Some(Ok(introduction)) => Ok((answer.session, introduction)),
        Some(Err(error)) if answer.status.is_success() => Err(refuse(error)),
        Some(Err(error @ LinkError::Refused { .. })) => Err(refuse(error)),
        Some(Err(_)) | None => Err(refuse(answer.refusal)),
    }
}

/// Passes an answer on, unless its status says nothing about the era: the request was refused or
/// failed before the server looked at the method.
fn require_evidence(answer: HandshakeAnswer) -> Result<HandshakeAnswer, LinkError> {
    match answer.status {
        status
            if !status.is_success()
                && matches!(
                    answer.refusal,
                    LinkError::Platform { .. } | LinkError::Throttled { .. }
                ) =>
        {
            Err(answer.refusal)
        }
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_TIMEOUT => Err(answer.refusal),
        status if status.is_server_error() => Err(answer.refusal),
        _ => Ok(answer),
    }
}

fn read_verdict(answer: HandshakeAnswer, known: KnownEra) -> Result<EraVerdict, LinkError> {
    let answer = require_evidence(answer)?;
    let verdict = match answer.message.as_deref() {
        Some(message) => read_discover_answer(message)?,
        None => EraVerdict::Legacy(Vec::new()),
    };
    // Once modern, always modern: a proxy in between that answers nonsense must not downgrade the
    // era.
    match (verdict, known) {
        (EraVerdict::Legacy(_), KnownEra::Proven(Era::Modern)) if answer.message.is_none() => {
            Err(answer.refusal)
        }
        (EraVerdict::Legacy(_), KnownEra::Proven(Era::Modern)) => {
            Err(LinkError::Nonsense("no answer to server/discover"))
        }
        (verdict, _) => Ok(verdict),
    }
}
