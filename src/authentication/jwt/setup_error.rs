//! Why tokens cannot be verified at all.

use std::path::PathBuf;

use super::keys::JwksError;
use crate::credentials::SetupError;
use crate::files::FileError;

/// Why tokens cannot be verified at all. A mistake in the config, or a file that changed since.
#[derive(Debug, thiserror::Error)]
pub enum JwtSetupError {
    /// There is no HTTP client for keys.
    #[error(transparent)]
    Http(#[from] SetupError),
    /// A file of keys cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of keys has no usable ones.
    #[error("file `{}`: {source}", path.display())]
    Jwks {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: JwksError,
    },
}
