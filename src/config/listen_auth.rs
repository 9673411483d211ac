//! `listen.auth`: how callers are authenticated.

mod api_keys;
mod client_certificates;
mod jwt;
mod platform;

use std::net::SocketAddr;

pub use api_keys::{ApiKeyEntry, ApiKeySettings};
pub use client_certificates::ClientCertificates;
pub use jwt::{AudienceRule, ClaimRule, JwksOrigin, JwtIssuer};
pub use platform::PlatformIdentity;

/// `listen.auth`: how callers are authenticated.
#[derive(Clone, Debug)]
pub enum ListenAuth {
    /// Not by weir: something in front of it authenticates, or the address is loopback.
    None,
    /// In one of these ways.
    Callers(Box<CallerAuth>),
}

/// The ways in which callers may be authenticated. There is at least one, and every request needs
/// one of them.
#[derive(Clone, Debug)]
pub struct CallerAuth {
    /// The URL of the MCP endpoint as clients know it, as it is written. `None` only on loopback, or
    /// without `jwt`.
    pub public_url: Option<Box<str>>,
    /// Issuers of tokens. A token needs one entry that fits.
    pub jwt: Vec<JwtIssuer>,
    /// API keys.
    pub api_keys: Option<ApiKeySettings>,
    /// Client certificates.
    pub client_certificates: Option<ClientCertificates>,
    /// An identity that a platform in front asserts.
    pub platform: Option<PlatformIdentity>,
    /// The metadata that clients are told.
    pub metadata: ResourceMetadata,
}

impl CallerAuth {
    /// Returns whether tokens are configured, and the URL that they are for is not. It can be derived
    /// on loopback only.
    #[must_use]
    pub fn lacks_public_url(&self) -> bool {
        !self.jwt.is_empty() && self.public_url.is_none()
    }
}

/// Why weir does not listen at an address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Nothing is said of callers.
    #[error(
        "{0} can be reached from a network: set `listen.auth` in the config, if only to `none`"
    )]
    Open(SocketAddr),
    /// Nothing is said of the resource that tokens are for.
    #[error(
        "{0} can be reached from a network: tokens need `listen.auth.public_url` in the config"
    )]
    NoPublicUrl(SocketAddr),
}

/// `listen.auth.metadata`: the metadata of the protected resource (RFC 9728 §2), with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceMetadata {
    /// `resource_name`
    pub name: Box<str>,
    /// `scopes_supported`, each once. Challenges name them too.
    pub scopes: Vec<Box<str>>,
    /// `authorization_servers`, each once.
    pub authorization_servers: Vec<Box<str>>,
    /// `resource_documentation`
    pub documentation: Option<Box<str>>,
}
