//! Why credentials cannot be set up, and why there are none for a request.

use crate::credentials::secrets::SecretUnavailable;

/// The reason why credentials cannot be set up. All of them show in the config.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A secret that cannot be opened.
    #[error(transparent)]
    Secret(#[from] SecretUnavailable),
    /// The credential has characters that an HTTP header cannot carry (RFC 9110 §5.5).
    #[error("the credential has characters that an HTTP header cannot carry")]
    Header,
    /// The files of `tls`, or the certificates of this machine, cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// The HTTP client for token requests cannot be built.
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
    /// Any other mistake in the config, described in weir's own words.
    #[error("{0}")]
    Config(String),
}

/// Weir has no credential for a request. The text is weir's own: it contains no text of a peer and
/// no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no credential for the upstream: {0}")]
pub struct NoCredential(pub Box<str>);
