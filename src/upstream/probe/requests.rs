//! The requests of both handshakes, and the settings that a legacy session is opened with.

use std::borrow::Cow;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::protocol::era::Version;
use crate::protocol::message::{self, Id};
use crate::protocol::{meta, method};

/// The messages of a child that belong to no request.
pub type UnsolicitedMessages = mpsc::Receiver<Bytes>;

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
    pub(in crate::upstream) const OWN: Self = Self {
        version: Version::LATEST_LEGACY,
        capabilities: Cow::Borrowed("{}"),
        key: None,
    };
}

/// Returns the request `server/discover`.
pub(super) fn discover_request(id: u64) -> Bytes {
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

/// Returns the request `initialize`, which asks for a version.
pub(super) fn initialize_request(id: u64, version: Version, profile: &SessionProfile) -> Bytes {
    let params = format!(
        "{{\"protocolVersion\":\"{version}\",\"capabilities\":{},\"clientInfo\":{}}}",
        profile.capabilities,
        meta::WEIR,
    );
    message::request(&Id::from(id), method::INITIALIZE, &params)
}
