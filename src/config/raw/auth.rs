//! `auth` of an upstream, and secrets.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{AssumeRole, ScalarText};
use super::secret::SecretRef;

/// How weir authenticates to an upstream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(tag = "type")]
pub(in crate::config) enum Auth {
    /// No authentication.
    None {},
    /// `Authorization: Bearer …`.
    Bearer {
        /// The token.
        token: SecretRef,
    },
    /// A single header with a secret. For several headers, use `headers`.
    Header {
        /// The name of the header, such as `x-api-key`.
        name: String,
        /// The value of the header.
        value: SecretRef,
    },
    /// `Authorization: Basic …`.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: SecretRef,
    },
    /// AWS Signature Version 4, the default of both AWS connectors.
    Sigv4(Box<Sigv4>),
    /// OAuth 2 client credentials: weir gets tokens from an authorization server as its client.
    #[serde(rename = "oauth2_client_credentials")]
    ClientCredentials(Box<ClientCredentials>),
    /// OAuth 2 authorization code: a person logs in once with `weir login`. Needs `state`.
    #[serde(rename = "oauth2_authorization_code")]
    AuthorizationCode(Box<AuthorizationCode>),
    /// OAuth 2 token exchange (RFC 8693): weir exchanges its own token for one that the upstream
    /// accepts.
    #[serde(rename = "oauth2_token_exchange")]
    TokenExchange(Box<TokenExchange>),
    /// A token or an API key from AgentCore Identity.
    AgentcoreIdentity(Box<AgentcoreIdentity>),
}

/// AWS Signature Version 4. In all text, `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Sigv4 {
    /// The service name to sign for. Default: that of the URL, otherwise `bedrock-agentcore`.
    pub(in crate::config) service: Option<String>,
    /// The AWS region. Default: that of the URL, otherwise of the profile or the environment.
    pub(in crate::config) region: Option<String>,
    /// A profile of the AWS configuration files. Default: credentials of the default chain
    /// (environment, profile, SSO, web identity, container, instance metadata).
    pub(in crate::config) profile: Option<String>,
    /// The role to assume: its ARN, or a mapping.
    pub(in crate::config) assume_role: Option<AssumeRole>,
    /// The id of a long-lived access key. Prefer the default chain.
    pub(in crate::config) access_key_id: Option<String>,
    /// The secret of the access key.
    pub(in crate::config) secret_access_key: Option<SecretRef>,
    /// The session token of the access key, if it is a temporary one.
    pub(in crate::config) session_token: Option<SecretRef>,
}

/// How an OAuth client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Method")]
pub(in crate::config) enum ClientAuthMethod {
    /// The secret, in the `Authorization` header.
    ClientSecretBasic,
    /// The secret, in the request body.
    ClientSecretPost,
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt,
    /// No authentication: a public client.
    None,
}

/// The signature algorithm of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "Algorithm")]
pub(in crate::config) enum SigningAlgorithm {
    /// RSA PKCS#1 v1.5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    #[serde(rename = "RS384")]
    Rs384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    #[serde(rename = "RS512")]
    Rs512,
    /// RSA PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// RSA PSS with SHA-384.
    #[serde(rename = "PS384")]
    Ps384,
    /// RSA PSS with SHA-512.
    #[serde(rename = "PS512")]
    Ps512,
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// OAuth 2 client credentials. In all text, `${VAR}` is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientCredentials {
    /// The URL of the token endpoint. Alternative: `issuer`.
    pub(in crate::config) token_url: Option<String>,
    /// The URL of the authorization server, whose metadata gives the token endpoint.
    pub(in crate::config) issuer: Option<String>,
    /// The client id of weir at the authorization server.
    pub(in crate::config) client_id: String,
    /// The client secret. Alternative: `private_key`.
    pub(in crate::config) client_secret: Option<SecretRef>,
    /// How the client authenticates. Default: `client_secret_basic` with a secret,
    /// `private_key_jwt` with a key.
    pub(in crate::config) client_authentication: Option<ClientAuthMethod>,
    /// A private key in PEM (PKCS#8) that signs assertions.
    pub(in crate::config) private_key: Option<SecretRef>,
    /// The signature algorithm. Default: one that fits the key.
    pub(in crate::config) algorithm: Option<SigningAlgorithm>,
    /// The id of the key at the authorization server (`kid`).
    pub(in crate::config) key_id: Option<String>,
    /// The scopes to request. Default: none.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// The `audience` of the token request.
    pub(in crate::config) audience: Option<String>,
    /// The `resource` of the token request (RFC 8707): a URL.
    pub(in crate::config) resource: Option<String>,
    /// Additional parameters of the token request.
    pub(in crate::config) parameters: Option<IndexMap<String, ScalarText>>,
    /// Additional hosts that the metadata of the issuer may refer to.
    pub(in crate::config) allowed_hosts: Option<Vec<String>>,
}

/// The subject of a token exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ExchangeSubject {
    /// The caller.
    Caller,
}

/// The subject of a credential of AgentCore Identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum IdentitySubject {
    /// The caller, by the token that it authenticated with (`GetWorkloadAccessTokenForJWT`).
    Caller,
    /// The caller, by the subject of that token (`GetWorkloadAccessTokenForUserId`).
    CallerId,
    /// The caller, by the workload access token that AgentCore Runtime, where weir runs, sent with its
    /// request. Needs `listen.auth.platform.workload_token`.
    WorkloadToken,
}

/// The answer to callers without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum WithoutCaller {
    /// An error.
    Refuse,
    /// The call is made with the login of `listing_auth`.
    Service,
}

/// OAuth 2 token exchange. In all text, `${VAR}` is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TokenExchange {
    /// The URL of the token endpoint. Alternative: `issuer`.
    pub(in crate::config) token_url: Option<String>,
    /// The URL of the authorization server, whose metadata gives the token endpoint.
    pub(in crate::config) issuer: Option<String>,
    /// The client id of weir at the authorization server.
    pub(in crate::config) client_id: String,
    /// The client secret. Alternative: `private_key`.
    pub(in crate::config) client_secret: Option<SecretRef>,
    /// How the client authenticates. Default: `client_secret_basic` with a secret,
    /// `private_key_jwt` with a key.
    pub(in crate::config) client_authentication: Option<ClientAuthMethod>,
    /// A private key in PEM (PKCS#8) that signs assertions.
    pub(in crate::config) private_key: Option<SecretRef>,
    /// The signature algorithm. Default: one that fits the key.
    pub(in crate::config) algorithm: Option<SigningAlgorithm>,
    /// The id of the key at the authorization server (`kid`).
    pub(in crate::config) key_id: Option<String>,
    /// The scopes to request. Default: none.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// The `audience` of the token request.
    pub(in crate::config) audience: Option<String>,
    /// The `resource` of the token request (RFC 8707): a URL.
    pub(in crate::config) resource: Option<String>,
    /// Additional parameters of the token request.
    pub(in crate::config) parameters: Option<IndexMap<String, ScalarText>>,
    /// Additional hosts that the metadata of the issuer may refer to.
    pub(in crate::config) allowed_hosts: Option<Vec<String>>,
    /// The token to exchange, such as a projected service account token. Alternative: `subject`.
    pub(in crate::config) subject_token: Option<SecretRef>,
    /// Exchange the token that each caller authenticated with, so that the upstream sees the caller.
    /// Needs `listing_auth`. Callers without a token are refused.
    pub(in crate::config) subject: Option<ExchangeSubject>,
    /// Whether callers without a token are refused, or served with `listing_auth`. Default: `refuse`.
    pub(in crate::config) without_caller: Option<WithoutCaller>,
    /// The type of that token. Default: `urn:ietf:params:oauth:token-type:jwt`, and
    /// `urn:ietf:params:oauth:token-type:access_token` for the token of a caller.
    pub(in crate::config) subject_token_type: Option<String>,
    /// The token of the acting party (`actor_token`).
    pub(in crate::config) actor_token: Option<SecretRef>,
    /// The type of that token. Default: `urn:ietf:params:oauth:token-type:jwt`.
    pub(in crate::config) actor_token_type: Option<String>,
    /// The type of token to request. Default: left to the authorization server.
    pub(in crate::config) requested_token_type: Option<String>,
}

/// OAuth 2 authorization code. By default weir asks the upstream for its authorization server, and
/// registers there. In all text, `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AuthorizationCode {
    /// The URL of the authorization server. Default: the one that the upstream names.
    pub(in crate::config) issuer: Option<String>,
    /// The client id of weir, if it was registered in advance.
    pub(in crate::config) client_id: Option<String>,
    /// The client secret, if there is one.
    pub(in crate::config) client_secret: Option<SecretRef>,
    /// How the client authenticates. Default: `client_secret_basic` with a secret, otherwise
    /// `none`.
    pub(in crate::config) client_authentication: Option<ClientAuthMethod>,
    /// The URL of a client id metadata document, which serves as client id.
    pub(in crate::config) client_metadata_url: Option<String>,
    /// The scopes to request. Default: those that the upstream names.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// The port of the redirect to this machine. Default: any free port.
    #[schemars(range(min = 1, max = 65535))]
    pub(in crate::config) redirect_port: Option<u64>,
    /// Additional hosts that the metadata of the issuer may refer to.
    pub(in crate::config) allowed_hosts: Option<Vec<String>>,
}

/// A token or an API key from AgentCore Identity. In all text, `${VAR}` is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AgentcoreIdentity {
    /// The name of the workload identity. Required without `subject: workload_token`.
    pub(in crate::config) workload: Option<String>,
    /// The name of the credential provider.
    pub(in crate::config) provider: String,
    /// The AWS region. Default: that of the URL, otherwise of the profile or the environment.
    pub(in crate::config) region: Option<String>,
    /// The `scopes` of the token.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// The `resources` of the token.
    pub(in crate::config) resources: Option<Vec<String>>,
    /// The `audiences` of the token.
    pub(in crate::config) audiences: Option<Vec<String>>,
    /// The `customParameters` of the token.
    pub(in crate::config) parameters: Option<IndexMap<String, ScalarText>>,
    /// Get a credential for each caller instead of one for weir. Needs `listing_auth`. Callers without
    /// a token are refused.
    pub(in crate::config) subject: Option<IdentitySubject>,
    /// Whether callers without a token are refused, or served with `listing_auth`. Default: `refuse`.
    pub(in crate::config) without_caller: Option<WithoutCaller>,
    /// Get an API key instead of a token, and send it like this.
    pub(in crate::config) api_key: Option<ApiKey>,
    /// A profile of the AWS configuration files. Default: the default chain.
    pub(in crate::config) profile: Option<String>,
    /// The role to assume: its ARN, or a mapping.
    pub(in crate::config) assume_role: Option<AssumeRole>,
}

/// How an API key is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ApiKey {
    /// The name of the header, such as `x-api-key`.
    pub(in crate::config) header: String,
    /// The text before the key in that header, such as `Bearer `. Default: none.
    pub(in crate::config) prefix: Option<String>,
}
