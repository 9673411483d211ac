//! Why there is no TLS configuration.

use std::path::PathBuf;
use std::sync::Arc;

use crate::files::FileError;
use crate::pem::PemError;

/// The reason why a TLS configuration cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates that this machine trusts cannot be used.
    #[error("no usable TLS certificates on this machine")]
    Machine(#[source] Arc<rustls::Error>),
    /// A file that `tls` names cannot be read.
    #[error(transparent)]
    File(#[from] Arc<FileError>),
    /// The content of such a file cannot be used.
    #[error("`{}`: {source}", path.display())]
    Pem {
        /// The file of the certificates.
        path: PathBuf,
        /// The mistake in it, or in the private key that belongs to it.
        source: PemError,
    },
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Machine(Arc::new(error))
    }
}
