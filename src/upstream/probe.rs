//! Which era an upstream speaks, and the handshake that follows (`basic/versioning.mdx#backward-compatibility`).
//!
//! A modern request goes first. What answers it as modern is modern; an upstream that refuses its
//! credentials, is overloaded or does not answer has said nothing about its era; everything else is
//! legacy. Ids are not compared: real servers answer a probe with ids of their own.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::protocol::era::{Era, Version};
use crate::protocol::message::{self, Id};
use crate::protocol::{meta, method};
use crate::upstream::error::LinkError;
use crate::upstream::http::HttpWire;
use crate::upstream::http::handshake::Handshake;
use crate::upstream::introduction::{EraVerdict, Introduction, discovered, initialized, offered};
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{Affinity, Connection, Peer};
use crate::upstream::stdio::{Child, ChildClosed, ChildReply, ChildSpec};

/// Messages a child sends that belong to no request.
pub type UnsolicitedMessages = mpsc::Receiver<Bytes>;

/// Connects a link: finds the era out (or takes the one known), shakes hands.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no version that weir speaks.
pub async fn connect(
    link: &Link,
    known: Option<Era>,
) -> Result<(Peer, Option<UnsolicitedMessages>), LinkError> {
    let deadline = link.connect_deadline();
    match &link.wire {
        Wire::Http(wire) => over_http(link, wire, known, deadline)
            .await
            .map(|peer| (peer, None)),
        Wire::Child(spec) => {
            let (peer, unasked) = over_stdio(link, spec, known, deadline).await?;
            Ok((peer, Some(unasked)))
        }
    }
}

async fn over_http(
    link: &Link,
    wire: &HttpWire,
    known: Option<Era>,
    deadline: Instant,
) -> Result<Peer, LinkError> {
    let affinity = wire.affinity(None);
    let mut offered = Vec::new();
    if known != Some(Era::Legacy) {
        let ask = || {
            let body = discover(link.next_id());
            let (version, method) = (Version::MODERN.as_str(), Some(method::DISCOVER));
            wire.handshake(affinity.as_deref(), version, method, body, deadline)
        };
        let mut verdict = over_http_verdict(ask().await?, known)?;
        if matches!(verdict, EraVerdict::Again) {
            verdict = over_http_verdict(ask().await?, known)?;
        }
        match verdict {
            EraVerdict::Modern(introduction) => {
                let session = wire.session(Version::MODERN.as_str(), None, affinity);
                return Ok(introduction.peer(Era::Modern, Connection::Http(session)));
            }
            EraVerdict::Again => return Err(LinkError::Nonsense("no answer to server/discover")),
            EraVerdict::Legacy(versions) => offered = versions,
        }
    }
    let opening = Opening {
        link,
        wire,
        profile: &SessionProfile::OWN,
        affinity,
        deadline,
    };
    opening.session(&offered).await
}

/// What a legacy session is opened with.
#[derive(Clone, Debug)]
pub struct SessionProfile {
    /// The version to ask for.
    pub version: Version,
    /// `ClientCapabilities` as JSON text: never more than the callers of this session can do.
    pub capabilities: Cow<'static, str>,
    /// Random, and the same for all sessions that are opened for one caller: what leads them to the same instance of a
    /// server. `None` for the link's own session.
    pub key: Option<[u8; 16]>,
}

impl SessionProfile {
    /// Weir's own: it can do nothing that an upstream might ask for, because only a caller can.
    const OWN: Self = Self {
        version: Version::LATEST_LEGACY,
        capabilities: Cow::Borrowed("{}"),
        key: None,
    };
}

/// Opens a legacy session beside the one that the link has: over stdio, that is another process.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no legacy version.
pub async fn open_session(
    link: &Link,
    profile: &SessionProfile,
    deadline: Instant,
) -> Result<(Peer, Option<UnsolicitedMessages>), LinkError> {
    match &link.wire {
        Wire::Http(wire) => {
            let opening = Opening {
                link,
                wire,
                profile,
                affinity: wire.affinity(profile.key.as_ref()),
                deadline,
            };
            Ok((opening.session(&[]).await?, None))
        }
        Wire::Child(spec) => {
            let (child, unasked) = start(spec, link, deadline).await?;
            let peer = session_over_stdio(link, child, profile, deadline).await?;
            Ok((peer, Some(unasked)))
        }
    }
}

/// Why there is no session, and the versions that are named in its place.
type Refusal = (LinkError, Vec<Version>);

/// A legacy session being opened over HTTP.
struct Opening<'o> {
    link: &'o Link,
    wire: &'o HttpWire,
    profile: &'o SessionProfile,
    affinity: Option<Arc<Affinity>>,
    deadline: Instant,
}

impl Opening<'_> {
    /// Opens it in the version that is wanted, or in one that the upstream names instead. Where versions are refused
    /// and none is named, the others are tried.
    async fn session(self, offered: &[Version]) -> Result<Peer, LinkError> {
        let mut left = Version::ALL.to_vec();
        left.retain(|version| version.era() == Era::Legacy);
        let mut first = None;
        let mut next = best(self.profile.version, offered).or(Some(self.profile.version));
        while let Some(version) = next {
            left.retain(|other| *other != version);
            let (error, named) = match self.attempt(version).await? {
                Ok(peer) => return Ok(peer),
                Err(refused) => refused,
            };
            let others = match named.is_empty() {
                false => named
                    .iter()
                    .filter(|named| left.contains(named))
                    .copied()
                    .collect(),
                true if self.wire.quirks().refuses_unknown_versions => left.clone(),
                true => Vec::new(),
            };
            next = best(version, &others);
            first.get_or_insert(error);
        }
        Err(first.unwrap_or(LinkError::Nonsense("no answer to initialize")))
    }

    /// One `initialize`. Refused, it says why, and which versions there are if that is said.
    ///
    /// # Errors
    /// It failed otherwise.
    async fn attempt(&self, version: Version) -> Result<Result<Peer, Refusal>, LinkError> {
        let Self { link, wire, .. } = self;
        let affinity = self.affinity.as_deref();
        let (session, introduction) = loop {
            let led = affinity.is_some_and(Affinity::is_known);
            let body = initialize(link.next_id(), version, self.profile);
            let greeted = wire.handshake(affinity, version.as_str(), None, body, self.deadline);
            let failed = match greeted.await.and_then(evidence) {
                Ok(answer) => match introduced(answer) {
                    Ok(introduced) => break introduced,
                    Err(refused) => refused,
                },
                Err(error @ LinkError::Platform { .. }) => (error, Vec::new()),
                Err(error) => return Err(error),
            };
            if !led {
                return Ok(Err(failed));
            }
            // A server that keeps sessions of its own does not know what the platform gave in answer to the probe.
            affinity.map(Affinity::forget);
        };
        let affinity = self.affinity.clone();
        let session = wire.session(&introduction.version, session, affinity);
        let peer = introduction.peer(Era::Legacy, Connection::Http(session));
        link.post(&peer, message::notification(method::INITIALIZED, None))
            .await?;
        Ok(Ok(peer))
    }
}
/// What an answer to `initialize` says: the session, and who is there.
fn introduced(answer: Handshake) -> Result<(Option<HeaderValue>, Introduction), Refusal> {
    let named = answer.message.as_deref().map(offered).unwrap_or_default();
    match answer.message.as_deref().map(initialized) {
        Some(Ok(introduction)) => Ok((answer.session, introduction)),
        Some(Err(error)) if answer.status.is_success() => Err((error, named)),
        Some(Err(error @ LinkError::Refused { .. })) => Err((error, named)),
        Some(Err(_)) | None => Err((answer.refusal, named)),
    }
}

/// The newest version that is no newer than the one wanted, else the newest of all.
fn best(wanted: Version, among: &[Version]) -> Option<Version> {
    let older = among.iter().filter(|version| **version <= wanted).max();
    older.or_else(|| among.iter().max()).copied()
}

/// Statuses that say nothing about the era.
fn evidence(answer: Handshake) -> Result<Handshake, LinkError> {
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

fn over_http_verdict(answer: Handshake, known: Option<Era>) -> Result<EraVerdict, LinkError> {
    let answer = evidence(answer)?;
    let verdict = match answer.message.as_deref() {
        Some(message) => discovered(message)?,
        None => EraVerdict::Legacy(Vec::new()),
    };
    // Once modern, always modern: a proxy in between that answers nonsense is not a downgrade.
    match (verdict, known) {
        (EraVerdict::Legacy(_), Some(Era::Modern)) if answer.message.is_none() => {
            Err(answer.refusal)
        }
        (EraVerdict::Legacy(_), Some(Era::Modern)) => {
            Err(LinkError::Nonsense("no answer to server/discover"))
        }
        (verdict, _) => Ok(verdict),
    }
}

async fn over_stdio(
    link: &Link,
    spec: &ChildSpec,
    known: Option<Era>,
    deadline: Instant,
) -> Result<(Peer, UnsolicitedMessages), LinkError> {
    let (mut child, mut unasked) = start(spec, link, deadline).await?;
    if known != Some(Era::Legacy) {
        // Half the budget: what never answers a probe still gets its `initialize`.
        let patience = Instant::now() + deadline.duration_since(Instant::now()) / 2;
        match discover_child(link, &child, patience).await {
            Ok(EraVerdict::Modern(introduction)) => {
                return Ok((
                    introduction.peer(Era::Modern, Connection::Child(child)),
                    unasked,
                ));
            }
            Ok(EraVerdict::Again | EraVerdict::Legacy(_)) => {}
            // Old rmcp servers end at the first request before `initialize`: start another.
            Err(LinkError::ChildClosed(_)) => {
                child.stop().await;
                (child, unasked) = start(spec, link, deadline).await?;
            }
            Err(LinkError::Timeout) => {}
            Err(error) => return stopped(&child, error).await,
        }
    }
    let peer = session_over_stdio(link, child, &SessionProfile::OWN, deadline).await?;
    Ok((peer, unasked))
}

/// Asks a child who it is; twice, if it wants that.
async fn discover_child(
    link: &Link,
    child: &Arc<Child>,
    deadline: Instant,
) -> Result<EraVerdict, LinkError> {
    let mut verdict = EraVerdict::Again;
    for _ in 0..2 {
        let id = link.next_id();
        let message = ask(child, id, discover(id), deadline).await?;
        verdict = discovered(&message)?;
        if !matches!(verdict, EraVerdict::Again) {
            break;
        }
    }
    Ok(verdict)
}

async fn session_over_stdio(
    link: &Link,
    child: Arc<Child>,
    profile: &SessionProfile,
    deadline: Instant,
) -> Result<Peer, LinkError> {
    let id = link.next_id();
    let introduction = match ask(
        &child,
        id,
        initialize(id, profile.version, profile),
        deadline,
    )
    .await
    .and_then(|message| initialized(&message))
    {
        Ok(introduction) => introduction,
        Err(error) => return stopped(&child, error).await,
    };
    if let Err(closed) = child
        .send(message::notification(method::INITIALIZED, None))
        .await
    {
        return stopped(&child, LinkError::from_child(closed)).await;
    }
    Ok(introduction.peer(Era::Legacy, Connection::Child(child)))
}

async fn start(
    spec: &ChildSpec,
    link: &Link,
    deadline: Instant,
) -> Result<(Arc<Child>, UnsolicitedMessages), LinkError> {
    let read = tokio::time::timeout_at(deadline, spec.read_secrets());
    read.await
        .map_err(|_| LinkError::Timeout)?
        .map_err(LinkError::Start)?;
    Child::start(spec, link.tasks()).map_err(LinkError::Start)
}

async fn stopped<T>(child: &Arc<Child>, error: LinkError) -> Result<T, LinkError> {
    child.stop().await;
    Err(error)
}

async fn ask(
    child: &Arc<Child>,
    id: u64,
    body: Bytes,
    deadline: Instant,
) -> Result<Bytes, LinkError> {
    let answer = async {
        let mut replies = child
            .request(id, body)
            .await
            .map_err(LinkError::from_child)?;
        loop {
            match replies.next().await {
                Some(ChildReply::Notification(_)) => {}
                Some(ChildReply::Response(message)) => return Ok(message),
                Some(ChildReply::Closed(reason)) => {
                    return Err(LinkError::ChildClosed(ChildClosed(reason)));
                }
                None => return Err(LinkError::Nonsense("no answer")),
            }
        }
    };
    tokio::time::timeout_at(deadline, answer)
        .await
        .map_err(|_| LinkError::Timeout)?
}

fn discover(id: u64) -> Bytes {
    message::request(
        &Id::from(id),
        method::DISCOVER,
        &format!("{{\"_meta\":{}}}", request_meta(None, None)),
    )
}

/// The `_meta` of a modern request: version, who calls, what it can do; `capabilities` and `info` are JSON text.
#[must_use]
pub fn request_meta(capabilities: Option<&str>, info: Option<&str>) -> String {
    format!(
        "{{\"{}\":\"{}\",\"{}\":{},\"{}\":{}}}",
        meta::PROTOCOL_VERSION,
        Version::MODERN,
        meta::CLIENT_INFO,
        info.unwrap_or(meta::WEIR),
        meta::CLIENT_CAPABILITIES,
        capabilities.unwrap_or("{}"),
    )
}

fn initialize(id: u64, version: Version, profile: &SessionProfile) -> Bytes {
    let params = format!(
        "{{\"protocolVersion\":\"{version}\",\"capabilities\":{},\"clientInfo\":{}}}",
        profile.capabilities,
        meta::WEIR,
    );
    message::request(&Id::from(id), method::INITIALIZE, &params)
}
