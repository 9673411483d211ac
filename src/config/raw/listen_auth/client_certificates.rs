//! `listen.auth.client_certificates`

use schemars::JsonSchema;
use serde::Deserialize;

/// Client certificates. They need `listen.tls`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientCertificates {
    /// A PEM file of the certificate authorities that sign callers' certificates. It is watched.
    pub(in crate::config) ca: String,
}
