//! Tokens and API keys of AgentCore Identity.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{AgentcoreIdentity, IdentityKind, SecretRef};
use crate::credentials::aws::With;
use crate::credentials::aws::api::{AGENTCORE, Api, ApiError, Call};
use crate::credentials::secrets::{SecretCell, SecretError};
use crate::credentials::token::{GrantError, Token};
use crate::credentials::{Around, SetupError};
use crate::secret::Secret;

/// How long the two calls may take together.
const FETCH: Duration = Duration::from_secs(30);
/// The life of what does not say when it ends. Identity keeps tokens itself and gives a new one when one has ended,
/// so that asking often costs a call and no new token.
const SHORT: Duration = Duration::from_secs(300);

/// On whose behalf a token is asked for.
#[derive(Clone, Debug)]
pub enum For<'u> {
    /// Weir's own: `GetWorkloadAccessToken`.
    Workload,
    /// A person who has proved who they are with a JWT: `GetWorkloadAccessTokenForJWT`.
    Jwt(&'u Secret),
    /// A person whom weir vouches for: `GetWorkloadAccessTokenForUserId`.
    User(&'u str),
}

/// Asks AgentCore Identity for one upstream.
#[derive(Debug)]
pub struct Identity {
    api: Api,
    workload: String,
    provider: String,
    kind: IdentityKind,
}

impl Identity {
    /// As the config wants it. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(config: &AgentcoreIdentity, around: &Around) -> Result<Self, SetupError> {
        let open = |secret: &SecretRef| around.secrets.open(secret);
        Ok(Self::with(config, &around.into(), &open)?)
    }

    /// The same, where AWS services may be elsewhere.
    ///
    /// # Errors
    /// A key of the config that cannot be opened.
    pub fn with(
        config: &AgentcoreIdentity,
        with: &With,
        open: &dyn Fn(&SecretRef) -> Result<SecretCell, SecretError>,
    ) -> Result<Self, SecretError> {
        let region = config.region.as_deref();
        Ok(Self {
            api: Api::new(AGENTCORE, region, &config.credentials, with, open)?,
            workload: config.workload.clone(),
            provider: config.provider.clone(),
            kind: config.kind.clone(),
        })
    }

    /// Another number whenever what it logs in to AWS with has changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.api.version()
    }

    /// A token or an API key. It says when it ends: what does not say so itself is taken to last five minutes.
    ///
    /// # Errors
    /// There is none.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        self.fetch_for(&For::Workload).await
    }

    /// The same, on somebody's behalf.
    ///
    /// # Errors
    /// There is none.
    pub async fn fetch_for(&self, whom: &For<'_>) -> Result<Token, GrantError> {
        let fetched = self.ask(whom, Instant::now() + FETCH).await;
        fetched.map_err(|error| match error.is_passing() {
            true => GrantError::Passing(error.to_string().into()),
            false => GrantError::Refused(error.to_string().into()),
        })
    }

    async fn ask(&self, whom: &For<'_>, deadline: Instant) -> Result<Token, ApiError> {
        let workload = self.workload_token(whom, deadline).await?;
        match &self.kind {
            IdentityKind::Oauth2 {
                scopes,
                resources,
                audiences,
                parameters,
            } => {
                let flow = match whom {
                    For::Workload => "M2M",
                    For::Jwt(_) | For::User(_) => "ON_BEHALF_OF_TOKEN_EXCHANGE",
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
                let said = self
                    .post("/identities/oauth2/token", &body, deadline)
                    .await?;
                let token = text(&said, "accessToken")?;
                Ok(Token {
                    header: header::AUTHORIZATION,
                    value: Secret::new(&format!("Bearer {token}")),
                    expires: Some(jwt_end(token).unwrap_or_else(|| SystemTime::now() + SHORT)),
                })
            }
            IdentityKind::ApiKey { header, prefix } => {
                let body = json!({
                    "workloadIdentityToken": workload.expose(),
                    "resourceCredentialProviderName": self.provider,
                });
                let said = self.post("/identities/api-key", &body, deadline).await?;
                Ok(Token {
                    header: header.clone(),
                    value: Secret::new(&format!("{prefix}{}", text(&said, "apiKey")?)),
                    expires: Some(SystemTime::now() + SHORT),
                })
            }
        }
    }

    async fn workload_token(&self, whom: &For<'_>, deadline: Instant) -> Result<Secret, ApiError> {
        let (path, body) = match whom {
            For::Workload => (
                "/identities/GetWorkloadAccessToken",
                json!({ "workloadName": self.workload }),
            ),
            For::Jwt(token) => (
                "/identities/GetWorkloadAccessTokenForJWT",
                json!({ "workloadName": self.workload, "userToken": token.expose() }),
            ),
            For::User(id) => (
                "/identities/GetWorkloadAccessTokenForUserId",
                json!({ "workloadName": self.workload, "userId": id }),
            ),
        };
        let said = self.post(path, &body, deadline).await?;
        Ok(Secret::new(text(&said, "workloadAccessToken")?))
    }

    async fn post(&self, path: &str, body: &Value, deadline: Instant) -> Result<Value, ApiError> {
        let call = Call {
            method: Method::POST,
            target: path,
            operation: None,
            body: Bytes::from(body.to_string()),
        };
        self.api.call(&call, deadline).await
    }
}

fn text<'v>(said: &'v Value, member: &str) -> Result<&'v str, ApiError> {
    let member = said.get(member).and_then(Value::as_str);
    member.ok_or(ApiError::Nonsense("AgentCore Identity"))
}

/// `exp` of a JWT (RFC 7519 §4.1.4), if the token is one. Nothing rests on it but when the next is asked for.
fn jwt_end(token: &str) -> Option<SystemTime> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let end = claims.get("exp")?.as_f64()?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(end).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_says_when_it_ends_and_other_tokens_do_not() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1768478400}"#);
        let end = jwt_end(&format!("e30.{claims}.x"));
        assert_eq!(end, Some(UNIX_EPOCH + Duration::from_secs(1_768_478_400)));
        for other in ["opaque", "a.b.c", "e30.e30.x", ""] {
            assert_eq!(jwt_end(other), None, "{other}");
        }
    }
}
