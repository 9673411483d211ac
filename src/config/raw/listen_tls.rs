//! `listen.tls`: the listener's own TLS.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{SecretRef, TlsVersion};

/// TLS of the listener: weir is then at `https://`, over HTTP/1.1 and HTTP/2. A certificate that is
/// replaced is used by the next connection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ListenTls {
    /// A PEM file with the certificate of weir, followed by its intermediate certificates. It is
    /// watched.
    pub(in crate::config) cert: String,
    /// The private key of the certificate, in PEM: PKCS#8, PKCS#1 or SEC1. Not from AWS Secrets
    /// Manager.
    pub(in crate::config) key: SecretRef,
    /// The minimum TLS version: 1.2 if it is left out.
    pub(in crate::config) min_version: Option<TlsVersion>,
}
