//! Finds the era that an upstream speaks, and shakes hands
//! (`basic/versioning.mdx#backward-compatibility`).
//!
//! A modern request goes first. An upstream that answers it as a modern one is modern. One that
//! refuses weir's credentials, is overloaded or does not answer gives no evidence about its era.
//! Everything else is legacy. Ids are not compared: real servers answer a probe with ids of their
//! own.

mod requests;
mod stdio;

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

pub use requests::{SessionProfile, UnsolicitedMessages, request_meta};
use requests::{discover_request, initialize_request};

use crate::protocol::era::{Era, Version};
use crate::protocol::{message, method};
use crate::upstream::error::LinkError;
use crate::upstream::http::HttpWire;
use crate::upstream::http::handshake::HandshakeAnswer;
use crate::upstream::introduction::{
    EraVerdict, Introduction, read_discover_answer, read_initialize_answer, read_offered_versions,
};
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{Affinity, Connection, Peer};

/// Connects a link: finds the era, or takes the known one, and shakes hands.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no version that weir speaks.
pub async fn connect(
    link: &Link,
    known: Option<Era>,
) -> Result<(Peer, Option<UnsolicitedMessages>), LinkError> {
    match &link.wire {
        Wire::Http(wire) => connect_http(link, wire, known, link.connect_deadline())
            .await
            .map(|peer| (peer, None)),
        Wire::Child(spec) => {
            let (peer, unsolicited) = stdio::connect(link, spec, known).await?;
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

/// Opens a legacy session beside the link's own. Over stdio that is another process.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no legacy version.
pub async fn open_session(
    link: &Link,
    profile: &SessionProfile,
) -> Result<(Peer, Option<UnsolicitedMessages>), LinkError> {
    match &link.wire {
        Wire::Http(wire) => {
            let opening = Opening {
                link,
                wire,
                profile,
                affinity: wire.new_affinity(profile.key.as_ref()),
                deadline: link.connect_deadline(),
            };
            Ok((opening.session(&[]).await?, None))
        }
        Wire::Child(spec) => {
            let (peer, unsolicited) = stdio::open_session(link, spec, profile).await?;
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
