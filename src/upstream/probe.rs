//! Which era an upstream speaks, and the handshake that follows (`basic/versioning.mdx#backward-compatibility`).
//!
//! A modern request goes first. What answers it as modern is modern; an upstream that refuses its
//! credentials, is overloaded or does not answer has said nothing about its era; everything else is
//! legacy. Ids are not compared: real servers answer a probe with ids of their own.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::json::{self, Object};
use crate::protocol::era::{Era, Version};
use crate::protocol::message::{self, Id, Message, Outcome};
use crate::protocol::{meta, method};
use crate::upstream::error::LinkError;
use crate::upstream::http::{Handshake, HttpWire};
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{HttpSession, Offers, Peer, Via};
use crate::upstream::stdio::{Child, ChildClosed, ChildSpec, Reply};

/// The oldest version that still shares the message format; offered by nobody, accepted from old servers.
const OLDEST: &str = "2024-11-05";

/// `Implementation` of weir, as JSON text.
pub const WEIR: &str = concat!(
    "{\"name\":\"weir\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"}"
);

/// Messages a child sends that belong to no request.
pub type Unasked = mpsc::Receiver<Bytes>;

/// Connects a link: finds the era out (or takes the one known), shakes hands.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no version that weir speaks.
pub async fn connect(
    link: &Link,
    known: Option<Era>,
) -> Result<(Peer, Option<Unasked>), LinkError> {
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

/// What an answer to `server/discover` says.
enum Verdict {
    Modern(Introduction),
    Legacy,
}

/// What a server says of itself, in either handshake.
struct Introduction {
    version: String,
    /// All that it speaks, if it says so.
    versions: Vec<String>,
    offers: Offers,
    server: String,
}

async fn over_http(
    link: &Link,
    wire: &HttpWire,
    known: Option<Era>,
    deadline: Instant,
) -> Result<Peer, LinkError> {
    if known != Some(Era::Legacy) {
        let body = discover(link.next_id());
        let answer = wire
            .handshake(
                Version::MODERN.as_str(),
                Some(method::DISCOVER),
                body,
                deadline,
            )
            .await?;
        if let Verdict::Modern(introduction) = over_http_verdict(answer, known)? {
            let session = wire.session(Version::MODERN.as_str(), None);
            return Ok(introduction.peer(Era::Modern, Via::Http(session)));
        }
    }
    let body = initialize(link.next_id());
    let answer = wire
        .handshake(Version::LATEST_LEGACY.as_str(), None, body, deadline)
        .await?;
    let answer = evidence(answer)?;
    let introduction = match answer.message.as_deref().map(initialized) {
        Some(Ok(introduction)) => introduction,
        Some(Err(error)) if answer.status.is_success() => return Err(error),
        Some(Err(error @ LinkError::Refused { .. })) => return Err(error),
        Some(Err(_)) | None => return Err(answer.refusal),
    };
    let session: HttpSession = wire.session(&introduction.version, answer.session);
    let peer = introduction.peer(Era::Legacy, Via::Http(session));
    link.post(&peer, message::notification(method::INITIALIZED, None))
        .await?;
    Ok(peer)
}

/// Statuses that say nothing about the era.
fn evidence(answer: Handshake) -> Result<Handshake, LinkError> {
    match answer.status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_TIMEOUT => Err(answer.refusal),
        status if status.is_server_error() => Err(answer.refusal),
        _ => Ok(answer),
    }
}

fn over_http_verdict(answer: Handshake, known: Option<Era>) -> Result<Verdict, LinkError> {
    let answer = evidence(answer)?;
    let verdict = match answer.message.as_deref() {
        Some(message) => discovered(message)?,
        None => Verdict::Legacy,
    };
    // Once modern, always modern: a proxy in between that answers nonsense is not a downgrade.
    match (verdict, known) {
        (Verdict::Legacy, Some(Era::Modern)) if answer.message.is_none() => Err(answer.refusal),
        (Verdict::Legacy, Some(Era::Modern)) => {
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
) -> Result<(Peer, Unasked), LinkError> {
    let (mut child, mut unasked) = start(spec, link)?;
    if known != Some(Era::Legacy) {
        let id = link.next_id();
        // Half the budget: what never answers a probe still gets its `initialize`.
        let patience = Instant::now() + deadline.duration_since(Instant::now()) / 2;
        match ask(&child, id, discover(id), patience).await {
            Ok(message) => {
                if let Verdict::Modern(introduction) = discovered(&message)? {
                    return Ok((introduction.peer(Era::Modern, Via::Child(child)), unasked));
                }
            }
            // Old rmcp servers end at the first request before `initialize`: start another.
            Err(LinkError::ChildClosed(_)) => {
                child.stop().await;
                (child, unasked) = start(spec, link)?;
            }
            Err(LinkError::Timeout) => {}
            Err(error) => return stopped(&child, error).await,
        }
    }
    let id = link.next_id();
    let introduction = match ask(&child, id, initialize(id), deadline)
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
    Ok((introduction.peer(Era::Legacy, Via::Child(child)), unasked))
}

fn start(spec: &ChildSpec, link: &Link) -> Result<(Arc<Child>, Unasked), LinkError> {
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
                Some(Reply::Notification(_)) => {}
                Some(Reply::Response(message)) => return Ok(message),
                Some(Reply::Closed(reason)) => {
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

impl Introduction {
    fn peer(self, era: Era, via: Via) -> Peer {
        let mut peer = Peer::new(era, self.version, self.offers, self.server, via);
        if !self.versions.is_empty() {
            peer.versions = self.versions;
        }
        peer
    }
}

fn discover(id: u64) -> Bytes {
    message::request(
        &Id::from(id),
        method::DISCOVER,
        &format!("{{\"_meta\":{}}}", own_meta(None, None)),
    )
}

/// The `_meta` of a modern request: version, who calls, what it can do; `capabilities` and `info` are JSON text.
#[must_use]
pub fn own_meta(capabilities: Option<&str>, info: Option<&str>) -> String {
    format!(
        "{{\"{}\":\"{}\",\"{}\":{},\"{}\":{}}}",
        meta::PROTOCOL_VERSION,
        Version::MODERN,
        meta::CLIENT_INFO,
        info.unwrap_or(WEIR),
        meta::CLIENT_CAPABILITIES,
        capabilities.unwrap_or("{}"),
    )
}

/// Weir declares no capability of its own: what an upstream may ask, only a caller can answer.
fn initialize(id: u64) -> Bytes {
    let params = format!(
        "{{\"protocolVersion\":\"{}\",\"capabilities\":{{}},\"clientInfo\":{WEIR}}}",
        Version::LATEST_LEGACY
    );
    message::request(&Id::from(id), method::INITIALIZE, &params)
}

fn discovered(message: &[u8]) -> Result<Verdict, LinkError> {
    let Ok(Ok(Message::Response(response))) = std::str::from_utf8(message).map(Message::parse)
    else {
        return Ok(Verdict::Legacy);
    };
    match response.outcome {
        Outcome::Error(error) => {
            let Ok(error) = Object::parse(error) else {
                return Ok(Verdict::Legacy);
            };
            match error.get("code") {
                // Modern, but of another revision: its list says whether a legacy one is among them.
                Some("-32022") => match supported(error.get("data")) {
                    versions
                        if versions
                            .iter()
                            .any(|version| Version::parse(version).is_some()) =>
                    {
                        Ok(Verdict::Legacy)
                    }
                    versions => Err(LinkError::NoCommonVersion(versions.join(", "))),
                },
                Some("-32020" | "-32021") => Ok(Verdict::Modern(Introduction {
                    version: Version::MODERN.to_string(),
                    versions: Vec::new(),
                    offers: Offers {
                        tools: true,
                        prompts: true,
                        resources: true,
                        completions: true,
                        list_changed: false,
                    },
                    server: String::new(),
                })),
                _ => Ok(Verdict::Legacy),
            }
        }
        Outcome::Result(result) => {
            let Ok(result) = Object::parse(result) else {
                return Ok(Verdict::Legacy);
            };
            let versions = strings(result.get("supportedVersions"));
            if !versions
                .iter()
                .any(|version| version == Version::MODERN.as_str())
            {
                return Ok(Verdict::Legacy);
            }
            let server = result
                .get("_meta")
                .and_then(|text| Object::parse(text).ok());
            let server = server.as_ref().and_then(|meta| meta.get(meta::SERVER_INFO));
            Ok(Verdict::Modern(Introduction {
                version: Version::MODERN.to_string(),
                versions,
                offers: Offers::read(result.get("capabilities")),
                server: self_description(server),
            }))
        }
    }
}

fn initialized(message: &[u8]) -> Result<Introduction, LinkError> {
    let Ok(Ok(Message::Response(response))) = std::str::from_utf8(message).map(Message::parse)
    else {
        return Err(LinkError::Nonsense("no answer to initialize"));
    };
    let result = match response.outcome {
        Outcome::Result(result) => result,
        Outcome::Error(error) => return Err(refused(method::INITIALIZE, error)),
    };
    let result =
        Object::parse(result).map_err(|_| LinkError::Nonsense("an odd answer to initialize"))?;
    let version = result
        .string("protocolVersion")
        .unwrap_or_default()
        .into_owned();
    let spoken = Version::parse(&version).is_some_and(|version| version.era() == Era::Legacy)
        || version == OLDEST;
    if !spoken {
        return Err(LinkError::NoCommonVersion(
            version.chars().take(40).collect(),
        ));
    }
    Ok(Introduction {
        version,
        versions: Vec::new(),
        offers: Offers::read(result.get("capabilities")),
        server: self_description(result.get("serverInfo")),
    })
}

/// A JSON-RPC error in answer to something weir asked for itself.
#[must_use]
pub fn refused(method: &'static str, error: &str) -> LinkError {
    LinkError::Refused {
        method,
        error: error.chars().take(300).collect(),
    }
}

fn supported(data: Option<&str>) -> Vec<String> {
    let data = data.and_then(|text| Object::parse(text).ok());
    data.as_ref()
        .map(|data| strings(data.get("supported")))
        .unwrap_or_default()
}

fn strings(text: Option<&str>) -> Vec<String> {
    let items = text
        .and_then(|text| serde_json::from_str::<Vec<&RawValue>>(text).ok())
        .unwrap_or_default();
    items
        .iter()
        .filter_map(|item| json::string(item.get()))
        .map(|text| text.chars().take(40).collect())
        .take(20)
        .collect()
}

fn self_description(info: Option<&str>) -> String {
    let Some(Ok(info)) = info.map(Object::parse) else {
        return String::new();
    };
    let part = |key| {
        info.string(key)
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control())
            .take(60)
            .collect::<String>()
    };
    format!("{} {}", part("name"), part("version"))
        .trim()
        .to_owned()
}
