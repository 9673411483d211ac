//! Finds the era that an upstream speaks, and shakes hands
//! (`basic/versioning.mdx#backward-compatibility`).
//!
//! A modern request goes first. An upstream that answers it as a modern one is modern. One that
//! refuses weir's credentials, is overloaded or does not answer gives no evidence about its era.
//! Everything else is legacy. Ids are not compared: real servers answer a probe with ids of their
//! own.

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
use crate::upstream::http::handshake::HandshakeAnswer;
use crate::upstream::introduction::{
    EraVerdict, Introduction, read_discover_answer, read_initialize_answer, read_offered_versions,
};
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{Affinity, Connection, Peer};
use crate::upstream::stdio::{Child, ChildClosed, ChildReply, ChildSpec};

/// The messages of a child that belong to no request.
pub type UnsolicitedMessages = mpsc::Receiver<Bytes>;

/// Connects a link: finds the era, or takes the known one, and shakes hands.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no version that weir speaks.
pub async fn connect(
    link: &Link,
    known: Option<Era>,
) -> Result<(Peer, Option<UnsolicitedMessages>), LinkError> {
    let deadline = link.connect_deadline();
    match &link.wire {
        Wire::Http(wire) => connect_http(link, wire, known, deadline)
            .await
            .map(|peer| (peer, None)),
        Wire::Child(spec) => {
            let (peer, unsolicited) = connect_stdio(link, spec, known, deadline).await?;
            Ok((peer, Some(unsolicited)))
        }
    }
}

async fn connect_http(
    link: &Link,
    wire: &HttpWire,
    known: Option<Era>,
    deadline: Instant,
) -> Result<Peer, LinkError> {
    let affinity = wire.new_affinity(None);
    let mut offered = Vec::new();
    if known != Some(Era::Legacy) {
        let send_discover = || {
            let body = discover_request(link.next_id());
            let (version, method) = (Version::MODERN.as_str(), Some(method::DISCOVER));
            wire.send_handshake(affinity.as_deref(), version, method, body, deadline)
        };
        let mut verdict = read_http_verdict(send_discover().await?, known)?;
        if matches!(verdict, EraVerdict::Again) {
            verdict = read_http_verdict(send_discover().await?, known)?;
        }
        match verdict {
            EraVerdict::Modern(introduction) => {
                let session = wire.new_session(Version::MODERN.as_str(), None, affinity);
                return Ok(introduction.into_peer(Era::Modern, Connection::Http(session)));
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

/// The version, capabilities and key that a legacy session is opened with.
#[derive(Clone, Debug)]
pub struct SessionProfile {
    /// The version to ask for.
    pub version: Version,
    /// `ClientCapabilities` as JSON text: never more than the caller of this session can do.
    pub capabilities: Cow<'static, str>,
    /// Random, and the same for all sessions that are opened for one caller. It leads them to the
    /// same instance of a server. `None` for the link's own session.
    pub key: Option<[u8; 16]>,
}

impl SessionProfile {
    /// The profile of the link's own session. It declares no capabilities, because only a caller
    /// can do what an upstream may ask for.
    const OWN: Self = Self {
        version: Version::LATEST_LEGACY,
        capabilities: Cow::Borrowed("{}"),
        key: None,
    };
}

/// Opens a legacy session beside the link's own. Over stdio that is another process.
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
                affinity: wire.new_affinity(profile.key.as_ref()),
                deadline,
            };
            Ok((opening.session(&[]).await?, None))
        }
        Wire::Child(spec) => {
            let (child, unsolicited) = start_child(spec, link, deadline).await?;
            let peer = open_session_over_stdio(link, child, profile, deadline).await?;
            Ok((peer, Some(unsolicited)))
        }
    }
}

/// A refused `initialize`: the reason, and the versions that the upstream named instead.
struct RefusedVersion {
    error: LinkError,
    named: Vec<Version>,
}

/// A legacy session being opened over HTTP.
struct Opening<'o> {
    link: &'o Link,
    wire: &'o HttpWire,
    profile: &'o SessionProfile,
    affinity: Option<Arc<Affinity>>,
    deadline: Instant,
}

impl Opening<'_> {
    /// Opens the session in the version of the profile, or in one that the upstream names instead.
    /// If the upstream refuses a version and names none, the other versions are tried.
    async fn session(self, offered: &[Version]) -> Result<Peer, LinkError> {
        let mut left = Version::ALL.to_vec();
        left.retain(|version| version.era() == Era::Legacy);
        let mut first = None;
        let mut next = best_version(self.profile.version, offered).or(Some(self.profile.version));
        while let Some(version) = next {
            left.retain(|other| *other != version);
            let RefusedVersion { error, named } = match self.attempt(version).await? {
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
            next = best_version(version, &others);
            first.get_or_insert(error);
        }
        Err(first.unwrap_or(LinkError::Nonsense("no answer to initialize")))
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
            let sent = wire.send_handshake(affinity, version.as_str(), None, body, self.deadline);
            let failed = match sent.await.and_then(require_evidence) {
                Ok(answer) => match read_introduction(answer) {
                    Ok(introduced) => break introduced,
                    Err(refused) => refused,
                },
                Err(error @ LinkError::Platform { .. }) => RefusedVersion {
                    error,
                    named: Vec::new(),
                },
                Err(error) => return Err(error),
            };
            if !has_session_id {
                return Ok(Err(failed));
            }
            // The platform gave a session id in answer to the probe. A server with sessions of its
            // own does not know it and refuses, so try once more without it.
            affinity.map(Affinity::forget);
        };
        let affinity = self.affinity.clone();
        let session = wire.new_session(&introduction.version, session, affinity);
        let peer = introduction.into_peer(Era::Legacy, Connection::Http(session));
        link.post(&peer, message::notification(method::INITIALIZED, None))
            .await?;
        Ok(Ok(peer))
    }
}

/// Reads an answer to `initialize`: the session id, and what the server says of itself.
fn read_introduction(
    answer: HandshakeAnswer,
) -> Result<(Option<HeaderValue>, Introduction), RefusedVersion> {
    let named = answer
        .message
        .as_deref()
        .map(read_offered_versions)
        .unwrap_or_default();
    match answer.message.as_deref().map(read_initialize_answer) {
        Some(Ok(introduction)) => Ok((answer.session, introduction)),
        Some(Err(error)) if answer.status.is_success() => Err(RefusedVersion { error, named }),
        Some(Err(error @ LinkError::Refused { .. })) => Err(RefusedVersion { error, named }),
        Some(Err(_)) | None => Err(RefusedVersion {
            error: answer.refusal,
            named,
        }),
    }
}

/// Returns the newest version that is no newer than `wanted`, or else the newest of all.
fn best_version(wanted: Version, among: &[Version]) -> Option<Version> {
    let older = among.iter().filter(|version| **version <= wanted).max();
    older.or_else(|| among.iter().max()).copied()
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

fn read_http_verdict(answer: HandshakeAnswer, known: Option<Era>) -> Result<EraVerdict, LinkError> {
    let answer = require_evidence(answer)?;
    let verdict = match answer.message.as_deref() {
        Some(message) => read_discover_answer(message)?,
        None => EraVerdict::Legacy(Vec::new()),
    };
    // Once modern, always modern: a proxy in between that answers nonsense must not downgrade the
    // era.
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

async fn connect_stdio(
    link: &Link,
    spec: &ChildSpec,
    known: Option<Era>,
    deadline: Instant,
) -> Result<(Peer, UnsolicitedMessages), LinkError> {
    let (mut child, mut unsolicited) = start_child(spec, link, deadline).await?;
    if known != Some(Era::Legacy) {
        // Half the budget, so that there is time for `initialize` if the child never answers the
        // probe.
        let probe_deadline = Instant::now() + deadline.duration_since(Instant::now()) / 2;
        match discover_child(link, &child, probe_deadline).await {
            Ok(EraVerdict::Modern(introduction)) => {
                return Ok((
                    introduction.into_peer(Era::Modern, Connection::Child(child)),
                    unsolicited,
                ));
            }
            Ok(EraVerdict::Again | EraVerdict::Legacy(_)) => {}
            // Old rmcp servers exit when a request comes before `initialize`: start another
            // process.
            Err(LinkError::ChildClosed(_)) => {
                child.stop().await;
                (child, unsolicited) = start_child(spec, link, deadline).await?;
            }
            Err(LinkError::Timeout) => {}
            Err(error) => return stop_with(&child, error).await,
        }
    }
    let peer = open_session_over_stdio(link, child, &SessionProfile::OWN, deadline).await?;
    Ok((peer, unsolicited))
}

/// Sends `server/discover` to a child; a second time if it asks for that.
async fn discover_child(
    link: &Link,
    child: &Arc<Child>,
    deadline: Instant,
) -> Result<EraVerdict, LinkError> {
    let mut verdict = EraVerdict::Again;
    for _ in 0..2 {
        let id = link.next_id();
        let message = ask_child(child, id, discover_request(id), deadline).await?;
        verdict = read_discover_answer(&message)?;
        if !matches!(verdict, EraVerdict::Again) {
            break;
        }
    }
    Ok(verdict)
}

async fn open_session_over_stdio(
    link: &Link,
    child: Arc<Child>,
    profile: &SessionProfile,
    deadline: Instant,
) -> Result<Peer, LinkError> {
    let id = link.next_id();
    let introduction = match ask_child(
        &child,
        id,
        initialize_request(id, profile.version, profile),
        deadline,
    )
    .await
    .and_then(|message| read_initialize_answer(&message))
    {
        Ok(introduction) => introduction,
        Err(error) => return stop_with(&child, error).await,
    };
    if let Err(closed) = child
        .send(message::notification(method::INITIALIZED, None))
        .await
    {
        return stop_with(&child, LinkError::from_child(closed)).await;
    }
    Ok(introduction.into_peer(Era::Legacy, Connection::Child(child)))
}

async fn start_child(
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

/// Stops a child that cannot be used, and returns the reason.
async fn stop_with<T>(child: &Arc<Child>, error: LinkError) -> Result<T, LinkError> {
    child.stop().await;
    Err(error)
}

async fn ask_child(
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

fn discover_request(id: u64) -> Bytes {
    message::request(
        &Id::from(id),
        method::DISCOVER,
        &format!("{{\"_meta\":{}}}", request_meta(None, None)),
    )
}

/// Returns the `_meta` of a modern request: version, client info and client capabilities.
/// `capabilities` and `info` are JSON text; by default weir names itself, and declares no
/// capabilities.
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

fn initialize_request(id: u64, version: Version, profile: &SessionProfile) -> Bytes {
    let params = format!(
        "{{\"protocolVersion\":\"{version}\",\"capabilities\":{},\"clientInfo\":{}}}",
        profile.capabilities,
        meta::WEIR,
    );
    message::request(&Id::from(id), method::INITIALIZE, &params)
}
