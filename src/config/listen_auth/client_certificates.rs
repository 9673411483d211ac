//! `listen.auth.client_certificates`

use std::path::PathBuf;

/// Client certificates.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// A PEM file of the certificate authorities that sign callers' certificates.
    pub ca: PathBuf,
}
