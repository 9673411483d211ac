//! Reads what a server says of itself, in either handshake.

use std::borrow::Cow;

use crate::json::{self, Object};
use crate::protocol::era::{Era, Version};
use crate::protocol::message::{Message, Outcome};
use crate::protocol::{hops, meta, method};
use crate::upstream::error::LinkError;
use crate::upstream::instructions::GivenInstructions;
use crate::upstream::peer::{Capabilities, Connection, Peer};

/// The most bytes of an upstream's `capabilities.extensions` that are kept.
const LONGEST_EXTENSIONS: usize = 16 * 1024;

/// The era, as far as an answer to `server/discover` tells it.
pub(super) enum EraVerdict {
    Modern(Introduction),
    /// Modern, but to be asked once more: it answered -32022, and yet it speaks weir's version.
    Again,
    /// Legacy, with the legacy versions that it names, if any.
    Legacy(Vec<Version>),
}

/// The description that a server gives of itself, in either handshake.
pub(super) struct Introduction {
    /// The era of its version.
    pub(super) era: Era,
    pub(super) version: String,
    /// All versions that it speaks, if it names them.
    versions: Vec<String>,
    capabilities: Capabilities,
    server: String,
    extensions: Box<str>,
    instructions: GivenInstructions,
}

impl Introduction {
    pub(super) fn into_peer(self, connection: Connection) -> Peer {
        let mut peer = Peer::new(
            self.era,
            self.version,
            self.capabilities,
            self.server,
            self.extensions,
            connection,
        );
        if !self.versions.is_empty() {
            peer.versions = self.versions;
        }
        peer.instructions = self.instructions;
        peer
    }
}

/// Reads the answer to `server/discover`.
///
/// # Errors
/// It is modern, and has no version in common with weir.
pub(super) fn read_discover_answer(message: &[u8]) -> Result<EraVerdict, LinkError> {
    let Ok(Ok(Message::Response(response))) = std::str::from_utf8(message).map(Message::parse)
    else {
        return Ok(EraVerdict::Legacy(Vec::new()));
    };
    match response.outcome {
        Outcome::Error(error) => read_discover_error(error),
        Outcome::Result(result) => {
            let Ok(result) = Object::parse(result) else {
                return Ok(EraVerdict::Legacy(Vec::new()));
            };
            Ok(match read_discover_result(&result) {
                Some(introduction) => EraVerdict::Modern(introduction),
                None => EraVerdict::Legacy(legacy_versions(&read_strings(
                    result.get("supportedVersions"),
                ))),
            })
        }
    }
}

/// Reads the legacy versions that an error names (`lifecycle.mdx#error-handling`, -32022).
pub(super) fn read_offered_versions(message: &[u8]) -> Vec<Version> {
    let Ok(Ok(Message::Response(response))) = std::str::from_utf8(message).map(Message::parse)
    else {
        return Vec::new();
    };
    match response.outcome {
        Outcome::Error(error) => {
            let error = Object::parse(error).ok();
            let data = error.as_ref().and_then(|error| error.get("data"));
            legacy_versions(&read_supported(data))
        }
        Outcome::Result(_) => Vec::new(),
    }
}

/// Returns whether an error in answer to `initialize` may be about the version that weir asked for.
/// The specification wants -32602 for that; servers have other codes too, but then they speak of the
/// version.
pub(super) fn may_refuse_version(message: &[u8]) -> bool {
    let Ok(Ok(Message::Response(response))) = std::str::from_utf8(message).map(Message::parse)
    else {
        return false;
    };
    match response.outcome {
        Outcome::Error(error) => Object::parse(error).is_ok_and(|error| {
            let data = error.get("data").map(Object::parse);
            if matches!(data, Some(Ok(data)) if data.contains("supported")) {
                // It says which versions it has instead.
                return false;
            }
            let text = error.string("message").unwrap_or_default();
            error.get("code") == Some("-32602") || text.to_ascii_lowercase().contains("version")
        }),
        Outcome::Result(_) => false,
    }
}

fn legacy_versions(versions: &[String]) -> Vec<Version> {
    let versions = versions.iter().filter_map(|text| Version::parse(text));
    versions
        .filter(|version| version.era() == Era::Legacy)
        .collect()
}

/// Reads an error in answer to `server/discover`.
fn read_discover_error(error: &str) -> Result<EraVerdict, LinkError> {
    let Ok(error) = Object::parse(error) else {
        return Ok(EraVerdict::Legacy(Vec::new()));
    };
    match error.get("code") {
        // Modern, but of another revision: its list says whether a legacy one is among them.
        Some("-32022") => {
            let versions = read_supported(error.get("data"));
            let legacy = legacy_versions(&versions);
            if versions.iter().any(|text| text == Version::MODERN.as_str()) {
                Ok(EraVerdict::Again)
            } else if legacy.is_empty() {
                Err(LinkError::NoCommonVersion(versions.join(", ")))
            } else {
                Ok(EraVerdict::Legacy(legacy))
            }
        }
        Some("-32020" | "-32021") => Ok(EraVerdict::Modern(Introduction {
            era: Era::Modern,
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
            instructions: GivenInstructions::default(),
        })),
        _ => Ok(EraVerdict::Legacy(Vec::new())),
    }
}

/// Reads a `DiscoverResult`. Returns `None` if it does not name weir's version.
fn read_discover_result(result: &Object<'_>) -> Option<Introduction> {
    let versions = read_strings(result.get("supportedVersions"));
    let modern = versions.iter().any(|text| text == Version::MODERN.as_str());
    let server = result
        .get("_meta")
        .and_then(|text| Object::parse(text).ok());
    let server = server.as_ref().and_then(|meta| meta.get(meta::SERVER_INFO));
    modern.then(|| Introduction {
        era: Era::Modern,
        version: Version::MODERN.to_string(),
        versions,
        capabilities: Capabilities::read(result.get("capabilities")),
        server: read_server_info(server),
        extensions: read_extensions(result.get("capabilities")),
        instructions: GivenInstructions::read(result),
    })
}

/// Reads the answer to `initialize`. A server may answer with the modern version: it is modern, whatever
/// it was asked.
///
/// # Errors
/// It is a refusal, no answer, or names a version that weir does not speak.
pub(super) fn read_initialize_answer(message: &[u8]) -> Result<Introduction, LinkError> {
    let Ok(Ok(Message::Response(response))) = std::str::from_utf8(message).map(Message::parse)
    else {
        return Err(LinkError::Nonsense("no answer to initialize"));
    };
    let result = match response.outcome {
        Outcome::Result(result) => result,
        Outcome::Error(error) => return Err(refused_error(method::INITIALIZE, error)),
    };
    let result =
        Object::parse(result).map_err(|_| LinkError::Nonsense("an odd answer to initialize"))?;
    let version = result
        .string("protocolVersion")
        .unwrap_or_default()
        .into_owned();
    let Some(spoken) = Version::parse(&version) else {
        return Err(LinkError::NoCommonVersion(
            version.chars().take(40).collect(),
        ));
    };
    Ok(Introduction {
        era: spoken.era(),
        version,
        versions: Vec::new(),
        capabilities: Capabilities::read(result.get("capabilities")),
        server: read_server_info(result.get("serverInfo")),
        extensions: read_extensions(result.get("capabilities")),
        instructions: GivenInstructions::read(&result),
    })
}

fn read_extensions(capabilities: Option<&str>) -> Box<str> {
    let capabilities = capabilities.and_then(|text| Object::parse(text).ok());
    let extensions = capabilities
        .as_ref()
        .and_then(|all| all.get("extensions"))
        .filter(|text| json::is_object(text) && text.len() <= LONGEST_EXTENSIONS);
    extensions.map(Box::from).unwrap_or_default()
}

/// Returns the link error for a JSON-RPC error in answer to a request of weir's own. The error's
/// message is left out: the request carried credentials, and an upstream may repeat what it was
/// sent.
#[must_use]
pub(super) fn refused_error(method: &'static str, error: &str) -> LinkError {
    LinkError::Refused {
        method,
        error: describe_code(error),
    }
}

/// Describes the code of a JSON-RPC error: what it means by JSON-RPC 2.0 §5.1, by MCP, or to
/// another weir.
fn describe_code(error: &str) -> String {
    let error = Object::parse(error).ok();
    let code = error.as_ref().and_then(|error| error.get("code"));
    let Some(code) = code.and_then(|code| code.trim().parse::<i64>().ok()) else {
        return "a JSON-RPC error without a code".to_owned();
    };
    // Of the message only what another weir wrote is shown: it repeats nothing of the request.
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

fn read_supported(data: Option<&str>) -> Vec<String> {
    let data = data.and_then(|text| Object::parse(text).ok());
    data.as_ref()
        .map(|data| read_strings(data.get("supported")))
        .unwrap_or_default()
}

fn read_strings(text: Option<&str>) -> Vec<String> {
    let cut = |text: Cow<'_, str>| text.chars().take(40).collect();
    json::strings(text).into_iter().take(20).map(cut).collect()
}

fn read_server_info(info: Option<&str>) -> String {
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
