//! What a server says of itself, in either handshake.

use std::borrow::Cow;

use crate::json::{self, Object};
use crate::protocol::era::{Era, Version};
use crate::protocol::message::{Message, Outcome};
use crate::protocol::{hops, meta, method};
use crate::upstream::error::LinkError;
use crate::upstream::peer::{Capabilities, Connection, Peer};

/// The oldest version that still shares the message format; offered by nobody, accepted from old servers.
const OLDEST: &str = "2024-11-05";

/// The most bytes of an upstream's `capabilities.extensions` that are passed on.
const LONGEST_EXTENSIONS: usize = 16 * 1024;

/// What an answer to `server/discover` says.
pub(super) enum EraVerdict {
    Modern(Introduction),
    /// Modern, but it wants to be asked once more: -32022, and yet it speaks weir's version.
    Again,
    /// Legacy, and which versions of that it says it speaks, if it says so.
    Legacy(Vec<Version>),
}

/// What a server says of itself, in either handshake.
pub(super) struct Introduction {
    pub(super) version: String,
    /// All that it speaks, if it says so.
    versions: Vec<String>,
    capabilities: Capabilities,
    server: String,
    extensions: Box<str>,
}

impl Introduction {
    pub(super) fn peer(self, era: Era, connection: Connection) -> Peer {
        let mut peer = Peer::new(
            era,
            self.version,
            self.capabilities,
            self.server,
            self.extensions,
            connection,
        );
        if !self.versions.is_empty() {
            peer.versions = self.versions;
        }
        peer
    }
}

/// Reads the answer to `server/discover`.
///
/// # Errors
/// It is modern, and has no version in common with weir.
pub(super) fn discovered(message: &[u8]) -> Result<EraVerdict, LinkError> {
    let Ok(Ok(Message::Response(response))) = std::str::from_utf8(message).map(Message::parse)
    else {
        return Ok(EraVerdict::Legacy(Vec::new()));
    };
    match response.outcome {
        Outcome::Error(error) => refusal(error),
        Outcome::Result(result) => {
            let Ok(result) = Object::parse(result) else {
                return Ok(EraVerdict::Legacy(Vec::new()));
            };
            Ok(match modern(&result) {
                Some(introduction) => EraVerdict::Modern(introduction),
                None => EraVerdict::Legacy(legacy(&strings(result.get("supportedVersions")))),
            })
        }
    }
}

/// The legacy versions among those that an error names (`lifecycle.mdx#error-handling`, -32022).
pub(super) fn offered(message: &[u8]) -> Vec<Version> {
    let Ok(Ok(Message::Response(response))) = std::str::from_utf8(message).map(Message::parse)
    else {
        return Vec::new();
    };
    match response.outcome {
        Outcome::Error(error) => {
            let error = Object::parse(error).ok();
            let data = error.as_ref().and_then(|error| error.get("data"));
            legacy(&supported(data))
        }
        Outcome::Result(_) => Vec::new(),
    }
}

fn legacy(versions: &[String]) -> Vec<Version> {
    let versions = versions.iter().filter_map(|text| Version::parse(text));
    versions
        .filter(|version| version.era() == Era::Legacy)
        .collect()
}

/// What an error in answer to `server/discover` says.
fn refusal(error: &str) -> Result<EraVerdict, LinkError> {
    let Ok(error) = Object::parse(error) else {
        return Ok(EraVerdict::Legacy(Vec::new()));
    };
    match error.get("code") {
        // Modern, but of another revision: its list says whether a legacy one is among them.
        Some("-32022") => {
            let versions = supported(error.get("data"));
            let legacy = legacy(&versions);
            if versions.iter().any(|text| text == Version::MODERN.as_str()) {
                Ok(EraVerdict::Again)
            } else if legacy.is_empty() {
                Err(LinkError::NoCommonVersion(versions.join(", ")))
            } else {
                Ok(EraVerdict::Legacy(legacy))
            }
        }
        Some("-32020" | "-32021") => Ok(EraVerdict::Modern(Introduction {
            version: Version::MODERN.to_string(),
            versions: Vec::new(),
            capabilities: Capabilities {
                tools: true,
                prompts: true,
                resources: true,
                completions: true,
                ..Capabilities::default()
            },
            server: String::new(),
            extensions: Box::default(),
        })),
        _ => Ok(EraVerdict::Legacy(Vec::new())),
    }
}

/// A `DiscoverResult` that has weir's version.
fn modern(result: &Object<'_>) -> Option<Introduction> {
    let versions = strings(result.get("supportedVersions"));
    let modern = versions.iter().any(|text| text == Version::MODERN.as_str());
    let server = result
        .get("_meta")
        .and_then(|text| Object::parse(text).ok());
    let server = server.as_ref().and_then(|meta| meta.get(meta::SERVER_INFO));
    modern.then(|| Introduction {
        version: Version::MODERN.to_string(),
        versions,
        capabilities: Capabilities::read(result.get("capabilities")),
        server: self_description(server),
        extensions: extensions(result.get("capabilities")),
    })
}

/// Reads the answer to `initialize`.
///
/// # Errors
/// It is a refusal, no answer, or of a version that weir does not speak.
pub(super) fn initialized(message: &[u8]) -> Result<Introduction, LinkError> {
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
        capabilities: Capabilities::read(result.get("capabilities")),
        server: self_description(result.get("serverInfo")),
        extensions: Box::default(),
    })
}

fn extensions(capabilities: Option<&str>) -> Box<str> {
    let capabilities = capabilities.and_then(|text| Object::parse(text).ok());
    let extensions = capabilities
        .as_ref()
        .and_then(|all| all.get("extensions"))
        .filter(|text| json::is_object(text) && text.len() <= LONGEST_EXTENSIONS);
    extensions.map(Box::from).unwrap_or_default()
}

/// A JSON-RPC error in answer to something weir asked for itself. Its message stays unsaid: the request carried
/// credentials, and an upstream may repeat what it was sent.
#[must_use]
pub(super) fn refused(method: &'static str, error: &str) -> LinkError {
    LinkError::Refused {
        method,
        error: coded(error),
    }
}

/// A JSON-RPC error's code, and what that means by JSON-RPC 2.0 §5.1 or MCP, or to another weir.
fn coded(error: &str) -> String {
    let error = Object::parse(error).ok();
    let code = error.as_ref().and_then(|error| error.get("code"));
    let Some(code) = code.and_then(|code| code.trim().parse::<i64>().ok()) else {
        return "a JSON-RPC error without a code".to_owned();
    };
    // Of all words only those that weir itself would say.
    let message = error.as_ref().and_then(|error| error.string("message"));
    let known = [hops::AGAIN, hops::TOO_FAR].into_iter();
    let known = message.and_then(|message| known.rev().find(|words| message.ends_with(words)));
    if let Some(words) = known {
        return format!("JSON-RPC error {code}, {words}");
    }
    let words = match code {
        -32700 => ", parse error",
        -32600 => ", invalid request",
        -32601 => ", method not found",
        -32602 => ", invalid params",
        -32603 => ", internal error",
        _ => "",
    };
    format!("JSON-RPC error {code}{words}")
}

fn supported(data: Option<&str>) -> Vec<String> {
    let data = data.and_then(|text| Object::parse(text).ok());
    data.as_ref()
        .map(|data| strings(data.get("supported")))
        .unwrap_or_default()
}

fn strings(text: Option<&str>) -> Vec<String> {
    let cut = |text: Cow<'_, str>| text.chars().take(40).collect();
    json::strings(text).into_iter().take(20).map(cut).collect()
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
