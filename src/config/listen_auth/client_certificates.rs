//! `listen.auth.client_certificates`

use std::path::PathBuf;

/// Client certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// A PEM file of the certificate authorities that sign callers' certificates.
    pub ca: PathBuf,
    /// A PEM file of the lists of certificates that they revoked.
    pub crl: Option<PathBuf>,
    /// Whether TLS is made only with a caller that has a certificate.
    pub is_required: bool,
}
