//! Secrets of AWS Secrets Manager.

use crate::auth::aws::With;
use crate::auth::secrets::{SecretCell, SecretError};
use crate::config::{AwsSecret, SecretRef};
use crate::secret::Secret;

/// Fetches one secret, as often as it is asked to; it keeps the AWS credentials, not the secret.
#[derive(Debug)]
pub struct Fetcher {}

impl Fetcher {
    /// For one secret. Opens nothing. `open` gives the cells of keys that are secrets themselves.
    ///
    /// # Errors
    /// One of those cannot be opened.
    pub fn new(
        _secret: &AwsSecret,
        _with: &With,
        _open: &dyn Fn(&SecretRef) -> Result<SecretCell, SecretError>,
    ) -> Result<Self, SecretError> {
        Ok(Self {})
    }

    /// The secret as it is now (`GetSecretValue`, stage `AWSCURRENT`). Takes up to 30 s where AWS is slow.
    ///
    /// # Errors
    /// It cannot be had; the words say why and name the secret's id.
    pub async fn fetch(&self) -> Result<Secret, SecretError> {
        Err(SecretError("not built".into()))
    }
}
