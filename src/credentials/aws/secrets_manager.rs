//! Secrets of AWS Secrets Manager.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::AwsSecret;
use crate::credentials::aws::api::{Api, ApiRequest, SECRETS_MANAGER};
use crate::credentials::aws::context::AwsContext;
use crate::credentials::secrets::{Fetch, OpenSecret, SecretUnavailable};
use crate::secret::Secret;

/// The longest that one fetch may take, including the AWS credentials for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches one secret. Keeps the AWS credentials, but not the secret.
#[derive(Debug)]
pub struct SecretFetcher {
    api: Api,
    id: String,
    key: Option<String>,
}

impl SecretFetcher {
    /// Creates the fetcher of one secret. Opens no connection. `open` opens AWS keys that are
    /// secrets themselves.
    ///
    /// # Errors
    /// Such a key cannot be opened.
    pub fn new(
        secret: &AwsSecret,
        context: &AwsContext,
        open: &OpenSecret<'_>,
    ) -> Result<Self, SecretUnavailable> {
        let region = secret.region.as_deref().or(region_of(&secret.id));
        Ok(Self {
            api: Api::new(SECRETS_MANAGER, region, &secret.credentials, context, open)?,
            id: secret.id.clone(),
            key: secret.key.clone(),
        })
    }

    /// Creates a function that fetches one secret whenever it is called.
    ///
    /// # Errors
    /// As of [`SecretFetcher::new`].
    pub fn make_fetch(
        secret: &AwsSecret,
        context: &AwsContext,
        open: &OpenSecret<'_>,
    ) -> Result<Fetch, SecretUnavailable> {
        let fetcher = Arc::new(Self::new(secret, context, open)?);
        Ok(Box::new(move || {
            let fetcher = Arc::clone(&fetcher);
            Box::pin(async move { fetcher.fetch().await })
        }))
    }

    /// Fetches the current version of the secret (`GetSecretValue`, staging label `AWSCURRENT`).
    /// Takes at most 30 s.
    ///
    /// # Errors
    /// There is none. The text gives the reason and names the id of the secret.
    pub async fn fetch(&self) -> Result<Secret, SecretUnavailable> {
        let missing =
            |why: &str| SecretUnavailable(format!("the AWS secret {}: {why}", self.id).into());
        let body = json!({ "SecretId": self.id }).to_string();
        let request = ApiRequest {
            method: Method::POST,
            target: "/",
            operation: Some("secretsmanager.GetSecretValue"),
            body: Bytes::from(body),
        };
        let response = self
            .api
            .call(&request, Instant::now() + FETCH_TIMEOUT)
            .await;
        let response = response.map_err(|error| missing(&error.to_string()))?;
        let text = response.get("SecretString").and_then(Value::as_str);
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

/// Returns the region of an ARN: `arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf`.
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
