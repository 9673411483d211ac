//! `listen.auth.client_certificates`

use schemars::JsonSchema;
use serde::Deserialize;

/// Client certificates. They need `listen.tls`. The caller is the SPIFFE id of its certificate, else
/// the first DNS name, else the digest.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientCertificates {
    /// A PEM file of the certificate authorities that sign callers' certificates. It is watched.
    pub(in crate::config) ca: String,
    /// A PEM file of the lists of revoked certificates of all these authorities, intermediate ones
    /// included: without its authority's list a certificate is refused. It is watched.
    pub(in crate::config) crl: Option<String>,
    /// Whether a caller without a certificate is refused at the handshake, also where other ways
    /// are configured. It is not if this is left out.
    pub(in crate::config) required: Option<bool>,
}
