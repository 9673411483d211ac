//! Tokens and API keys of AgentCore Identity (AgentCore developer guide, "Provide identity and
//! credential management for agent applications with Amazon Bedrock AgentCore Identity").

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderName, Method, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{AgentcoreIdentity, IdentityKind};
use crate::credentials::aws::api::{AGENTCORE, Api, ApiError, ApiRequest};
use crate::credentials::aws::context::AwsContext;
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::secrets::{OpenSecret, SecretUnavailable};
use crate::credentials::token::{GrantError, Token};
use crate::secret::Secret;

/// The longest that both calls may take together.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// The lifetime of what does not tell its own. AgentCore Identity keeps tokens itself and fetches a
/// new one only when one has expired, so asking often costs a call but no new token.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// The subject that a token is for.
#[derive(Clone, Debug)]
pub enum OnBehalfOf<'u> {
    /// Weir's own workload identity: `GetWorkloadAccessToken`.
    Workload,
    /// A user who authenticated with this JWT: `GetWorkloadAccessTokenForJWT`.
    Jwt(&'u Secret),
    /// A user whom weir names by an id: `GetWorkloadAccessTokenForUserId`.
    User(&'u str),
    /// A user whom this workload access token is for: AgentCore Runtime, where weir runs, got it.
    WorkloadToken(&'u Secret),
}

/// Fetches the tokens or API keys of one upstream from AgentCore Identity.
#[derive(Debug)]
pub struct AgentcoreIdentityClient {
    api: Api,
    workload: String,
    provider: String,
    kind: IdentityKind,
}

impl AgentcoreIdentityClient {
    /// Creates the client that the config describes. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        config: &AgentcoreIdentity,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let open = context.secrets.opener();
        Ok(Self::with_context(config, &context.into(), &open)?)
    }

    /// Creates a client that may find AWS services at another endpoint, see
    /// [`AwsContext::endpoint`].
    ///
    /// # Errors
    /// A key of the config that cannot be opened.
    pub fn with_context(
        config: &AgentcoreIdentity,
        context: &AwsContext,
        open: &OpenSecret<'_>,
    ) -> Result<Self, SecretUnavailable> {
        let region = config.region.as_deref();
        Ok(Self {
            api: Api::new(AGENTCORE, region, &config.credentials, context, open)?,
            workload: config.workload.clone(),
            provider: config.provider.clone(),
            kind: config.kind.clone(),
        })
    }

    /// Returns a number that changes whenever the AWS keys of the config have changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.api.version()
    }

    /// Fetches a token or an API key for weir itself. It always has an expiry: after five minutes
    /// if it does not tell its own.
    ///
    /// # Errors
    /// There is none.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        self.fetch_for(&OnBehalfOf::Workload).await
    }

    /// Fetches a token or an API key for a subject, see [`AgentcoreIdentityClient::fetch`].
    ///
    /// # Errors
    /// There is none.
    pub async fn fetch_for(&self, subject: &OnBehalfOf<'_>) -> Result<Token, GrantError> {
        let fetched = self.request(subject, Instant::now() + FETCH_TIMEOUT).await;
        fetched.map_err(|error| match error.is_temporary() {
            true => GrantError::Temporary(error.to_string().into()),
            false => GrantError::Rejected(error.to_string().into()),
        })
    }

    async fn request(
        &self,
        subject: &OnBehalfOf<'_>,
        deadline: Instant,
    ) -> Result<Token, ApiError> {
        let workload = self.workload_token(subject, deadline).await?;
        match &self.kind {
            IdentityKind::Oauth2 {
                scopes,
                resources,
                audiences,
                parameters,
            } => {
                let flow = match subject {
                    OnBehalfOf::Workload => "M2M",
                    OnBehalfOf::Jwt(_) | OnBehalfOf::User(_) | OnBehalfOf::WorkloadToken(_) => {
                        "ON_BEHALF_OF_TOKEN_EXCHANGE"
                    }
                };
                let mut body = json!({
                    "workloadIdentityToken": workload.expose(),
                    "resourceCredentialProviderName": self.provider,
                    "scopes": scopes,
                    "oauth2Flow": flow,
                });
                if let Some(members) = body.as_object_mut() {
                    for (name, values) in [("resources", resources), ("audiences", audiences)] {
                        if !values.is_empty() {
                            members.insert(name.to_owned(), json!(values));
                        }
                    }
                    if !parameters.is_empty() {
                        members.insert("customParameters".to_owned(), json!(parameters));
                    }
                }
                self.oauth2_token(&body, deadline).await
            }
            IdentityKind::ApiKey { header, prefix } => {
                let body = json!({
                    "workloadIdentityToken": workload.expose(),
                    "resourceCredentialProviderName": self.provider,
                });
                self.api_key(&body, header, prefix, deadline).await
            }
        }
    }

    /// Calls `GetResourceOauth2Token`.
    async fn oauth2_token(&self, body: &Value, deadline: Instant) -> Result<Token, ApiError> {
        let path = "/identities/oauth2/token";
        let response = self.post(path, body, deadline).await?;
        let token = text(&response, "accessToken")?;
        let default = || SystemTime::now() + DEFAULT_LIFETIME;
        Ok(Token {
            header: header::AUTHORIZATION,
            value: Secret::new(&format!("Bearer {token}")),
            expires: Some(jwt_expiry(token).unwrap_or_else(default)),
        })
    }

    /// Calls `GetResourceApiKey`.
    async fn api_key(
        &self,
        body: &Value,
        header: &HeaderName,
        prefix: &str,
        deadline: Instant,
    ) -> Result<Token, ApiError> {
        let response = self.post("/identities/api-key", body, deadline).await?;
        Ok(Token {
            header: header.clone(),
            value: Secret::new(&format!("{prefix}{}", text(&response, "apiKey")?)),
            expires: Some(SystemTime::now() + DEFAULT_LIFETIME),
        })
    }

    async fn workload_token(
        &self,
        subject: &OnBehalfOf<'_>,
        deadline: Instant,
    ) -> Result<Secret, ApiError> {
        let (path, body) = match subject {
            OnBehalfOf::Workload => (
                "/identities/GetWorkloadAccessToken",
                json!({ "workloadName": self.workload }),
            ),
            OnBehalfOf::Jwt(token) => (
                "/identities/GetWorkloadAccessTokenForJWT",
                json!({ "workloadName": self.workload, "userToken": token.expose() }),
            ),
            OnBehalfOf::User(id) => (
                "/identities/GetWorkloadAccessTokenForUserId",
                json!({ "workloadName": self.workload, "userId": id }),
            ),
            OnBehalfOf::WorkloadToken(token) => return Ok((*token).clone()),
        };
        let response = self.post(path, &body, deadline).await?;
        Ok(Secret::new(text(&response, "workloadAccessToken")?))
    }

    async fn post(&self, path: &str, body: &Value, deadline: Instant) -> Result<Value, ApiError> {
        let request = ApiRequest {
            method: Method::POST,
            target: path,
            operation: None,
            body: Bytes::from(body.to_string()),
        };
        self.api.call(&request, deadline).await
    }
}

fn text<'v>(response: &'v Value, member: &str) -> Result<&'v str, ApiError> {
    let member = response.get(member).and_then(Value::as_str);
    member.ok_or(ApiError::Unreadable("AgentCore Identity"))
}

/// Returns `exp` of a JWT (RFC 7519 §4.1.4) if the token is one. The signature is not checked:
/// `exp` only decides when the next token is fetched.
fn jwt_expiry(token: &str) -> Option<SystemTime> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let expiry = claims.get("exp")?.as_f64()?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(expiry).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_says_when_it_ends_and_other_tokens_do_not() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1768478400}"#);
        let end = jwt_expiry(&format!("e30.{claims}.x"));
        assert_eq!(end, Some(UNIX_EPOCH + Duration::from_secs(1_768_478_400)));
        for other in ["opaque", "a.b.c", "e30.e30.x", ""] {
            assert_eq!(jwt_expiry(other), None, "{other}");
        }
    }
}
