//! Secrets of AWS Secrets Manager.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{AwsSecret, SecretRef};
use crate::credentials::aws::With;
use crate::credentials::aws::api::{Api, Call, SECRETS_MANAGER};
use crate::credentials::secrets::{SecretCell, SecretError};
use crate::secret::Secret;

/// How long fetching a secret may take, credentials included.
const FETCH: Duration = Duration::from_secs(30);

/// Fetches one secret, as often as it is asked to; it keeps the AWS credentials, not the secret.
#[derive(Debug)]
pub struct Fetcher {
    api: Api,
    id: String,
    key: Option<String>,
}

impl Fetcher {
    /// For one secret. Opens nothing. `open` gives the cells of keys that are secrets themselves.
    ///
    /// # Errors
    /// One of those cannot be opened.
    pub fn new(
        secret: &AwsSecret,
        with: &With,
        open: &dyn Fn(&SecretRef) -> Result<SecretCell, SecretError>,
    ) -> Result<Self, SecretError> {
        let region = secret.region.as_deref().or(region_of(&secret.id));
        Ok(Self {
            api: Api::new(SECRETS_MANAGER, region, &secret.credentials, with, open)?,
            id: secret.id.clone(),
            key: secret.key.clone(),
        })
    }

    /// The secret as it is now (`GetSecretValue`, stage `AWSCURRENT`). Takes up to 30 s where AWS is slow.
    ///
    /// # Errors
    /// It cannot be had; the words say why and name the secret's id.
    pub async fn fetch(&self) -> Result<Secret, SecretError> {
        let missing = |why: &str| SecretError(format!("the AWS secret {}: {why}", self.id).into());
        let body = json!({ "SecretId": self.id }).to_string();
        let call = Call {
            method: Method::POST,
            target: "/",
            operation: Some("secretsmanager.GetSecretValue"),
            body: Bytes::from(body),
        };
        let answer = self.api.call(&call, Instant::now() + FETCH).await;
        let answer = answer.map_err(|error| missing(&error.to_string()))?;
        let text = answer.get("SecretString").and_then(Value::as_str);
        let text = text.ok_or_else(|| missing("it is not text"))?;
        let Some(key) = &self.key else {
            return Ok(Secret::new(text));
        };
        let members: Value =
            serde_json::from_str(text).map_err(|_| missing("it is not JSON, so it has no keys"))?;
        match members.get(key) {
            Some(Value::String(member)) => Ok(Secret::new(member)),
            Some(Value::Number(member)) => Ok(Secret::new(&member.to_string())),
            Some(_) => Err(missing(&format!("its key `{key}` is not text"))),
            None => Err(missing(&format!("it has no key `{key}`"))),
        }
    }
}

/// The region of an ARN: `arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf`.
fn region_of(id: &str) -> Option<&str> {
    let mut parts = id.split(':');
    let is_arn = parts.next() == Some("arn");
    parts.nth(2).filter(|region| is_arn && !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_says_its_region() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf";
        assert_eq!(region_of(arn), Some("eu-west-1"));
        assert_eq!(region_of("prod/db"), None);
        assert_eq!(region_of("a:b:c:d:e"), None);
    }
}
