//! `auth` of an upstream, and secrets.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{AssumeRole, ScalarText};
use super::secret::SecretRef;

/// How weir logs in to an upstream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(tag = "type")]
pub(in crate::config) enum Auth {
    /// Not at all.
    None {},
    /// `Authorization: Bearer …`.
    Bearer {
        /// The token.
        token: SecretRef,
    },
    /// A header of the upstream's own. For several, write `headers`.
    Header {
        /// The header, such as `x-api-key`.
        name: String,
        /// What it says.
        value: SecretRef,
    },
    /// `Authorization: Basic …`.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: SecretRef,
    },
    /// AWS Signature Version 4; the default of both AWS connectors.
    Sigv4(Box<Sigv4>),
    /// OAuth 2 client credentials: weir is a client of an authorization server and fetches tokens there.
    #[serde(rename = "oauth2_client_credentials")]
    ClientCredentials(Box<ClientCredentials>),
    /// OAuth 2 authorization code: a person logs in once with `weir login`. Needs `state`.
    #[serde(rename = "oauth2_authorization_code")]
    AuthorizationCode(Box<AuthorizationCode>),
    /// OAuth 2 token exchange (RFC 8693): weir exchanges its own token for one that the upstream takes.
    #[serde(rename = "oauth2_token_exchange")]
    TokenExchange(Box<TokenExchange>),
    /// A token or an API key from AgentCore Identity.
    AgentcoreIdentity(Box<AgentcoreIdentity>),
}

/// AWS Signature Version 4. In all text, `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Sigv4 {
    /// The signing name, by default what the URL says, else `bedrock-agentcore`.
    pub(in crate::config) service: Option<String>,
    /// The region, by default what the URL says, else that of the profile or the environment.
    pub(in crate::config) region: Option<String>,
    /// A profile of the AWS configuration files. By default credentials come from the default chain: environment, profile, SSO, web identity, container, instance metadata.
    pub(in crate::config) profile: Option<String>,
    /// The role to assume: its ARN, or a mapping.
    pub(in crate::config) assume_role: Option<AssumeRole>,
    /// The id of an access key, where there is no better way than a key that does not end.
    pub(in crate::config) access_key_id: Option<String>,
    /// Its secret.
    pub(in crate::config) secret_access_key: Option<SecretRef>,
    /// Its session token, if it has one.
    pub(in crate::config) session_token: Option<SecretRef>,
}

/// How an OAuth client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Method")]
pub(in crate::config) enum ClientAuthMethod {
    /// The secret in the `Authorization` header.
    ClientSecretBasic,
    /// The secret in the request's body.
    ClientSecretPost,
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt,
    /// Not at all: a public client.
    None,
}

/// What an assertion is signed with.
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
    /// The token endpoint. Or write `issuer`.
    pub(in crate::config) token_url: Option<String>,
    /// The authorization server, whose metadata names the token endpoint.
    pub(in crate::config) issuer: Option<String>,
    /// Who weir is there.
    pub(in crate::config) client_id: String,
    /// What weir proves it with. Or write `private_key`.
    pub(in crate::config) client_secret: Option<SecretRef>,
    /// How it is proved; by default `client_secret_basic` with a secret, `private_key_jwt` with a key.
    pub(in crate::config) client_authentication: Option<ClientAuthMethod>,
    /// A private key in PEM (PKCS#8) that signs assertions.
    pub(in crate::config) private_key: Option<SecretRef>,
    /// What it signs with; by default what fits the key.
    pub(in crate::config) algorithm: Option<SigningAlgorithm>,
    /// The key's id at the authorization server (`kid`).
    pub(in crate::config) key_id: Option<String>,
    /// What the token may be used for.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// `audience` of the token request.
    pub(in crate::config) audience: Option<String>,
    /// `resource` of the token request (RFC 8707): a URL.
    pub(in crate::config) resource: Option<String>,
    /// Further parameters of the token request.
    pub(in crate::config) parameters: Option<IndexMap<String, ScalarText>>,
    /// Hosts besides the issuer's own that its metadata may name.
    pub(in crate::config) allowed_hosts: Option<Vec<String>>,
}

/// OAuth 2 token exchange. In all text, `${VAR}` is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TokenExchange {
    /// The token endpoint. Or write `issuer`.
    pub(in crate::config) token_url: Option<String>,
    /// The authorization server, whose metadata names the token endpoint.
    pub(in crate::config) issuer: Option<String>,
    /// Who weir is there.
    pub(in crate::config) client_id: String,
    /// What weir proves it with. Or write `private_key`.
    pub(in crate::config) client_secret: Option<SecretRef>,
    /// How it is proved; by default `client_secret_basic` with a secret, `private_key_jwt` with a key.
    pub(in crate::config) client_authentication: Option<ClientAuthMethod>,
    /// A private key in PEM (PKCS#8) that signs assertions.
    pub(in crate::config) private_key: Option<SecretRef>,
    /// What it signs with; by default what fits the key.
    pub(in crate::config) algorithm: Option<SigningAlgorithm>,
    /// The key's id at the authorization server (`kid`).
    pub(in crate::config) key_id: Option<String>,
    /// What the token may be used for.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// `audience` of the token request.
    pub(in crate::config) audience: Option<String>,
    /// `resource` of the token request (RFC 8707): a URL.
    pub(in crate::config) resource: Option<String>,
    /// Further parameters of the token request.
    pub(in crate::config) parameters: Option<IndexMap<String, ScalarText>>,
    /// Hosts besides the issuer's own that its metadata may name.
    pub(in crate::config) allowed_hosts: Option<Vec<String>>,
    /// Weir's own token, such as a projected service account token.
    pub(in crate::config) subject_token: SecretRef,
    /// Its type, by default `urn:ietf:params:oauth:token-type:jwt`.
    pub(in crate::config) subject_token_type: Option<String>,
    /// The token of the party that acts.
    pub(in crate::config) actor_token: Option<SecretRef>,
    /// Its type, by default `urn:ietf:params:oauth:token-type:jwt`.
    pub(in crate::config) actor_token_type: Option<String>,
    /// The type of the token that is asked for.
    pub(in crate::config) requested_token_type: Option<String>,
}

/// OAuth 2 authorization code. With nothing written, weir asks the upstream where to log in, and registers itself there. In all text, `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AuthorizationCode {
    /// The authorization server, by default the one that the upstream names.
    pub(in crate::config) issuer: Option<String>,
    /// Who weir is there, if it was registered beforehand.
    pub(in crate::config) client_id: Option<String>,
    /// What weir proves it with, if it has a secret.
    pub(in crate::config) client_secret: Option<SecretRef>,
    /// How it is proved; by default `client_secret_basic` with a secret, else `none`.
    pub(in crate::config) client_authentication: Option<ClientAuthMethod>,
    /// A client id metadata document: its URL is the client id.
    pub(in crate::config) client_metadata_url: Option<String>,
    /// What the token may be used for, by default what the upstream says.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// The port of the redirect to this machine, by default any that is free.
    #[schemars(range(min = 1, max = 65535))]
    pub(in crate::config) redirect_port: Option<u64>,
    /// Hosts besides the issuer's own that its metadata may name.
    pub(in crate::config) allowed_hosts: Option<Vec<String>>,
}

/// A token or an API key from AgentCore Identity. In all text, `${VAR}` is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AgentcoreIdentity {
    /// The workload identity's name.
    pub(in crate::config) workload: String,
    /// The credential provider's name.
    pub(in crate::config) provider: String,
    /// The region, by default what the URL says, else that of the profile or the environment.
    pub(in crate::config) region: Option<String>,
    /// `scopes` of the token.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// `resources` of the token.
    pub(in crate::config) resources: Option<Vec<String>>,
    /// `audiences` of the token.
    pub(in crate::config) audiences: Option<Vec<String>>,
    /// `customParameters` of the token.
    pub(in crate::config) parameters: Option<IndexMap<String, ScalarText>>,
    /// The provider gives an API key rather than a token.
    pub(in crate::config) api_key: Option<ApiKey>,
    /// A profile of the AWS configuration files, by default the default chain.
    pub(in crate::config) profile: Option<String>,
    /// The role to assume: its ARN, or a mapping.
    pub(in crate::config) assume_role: Option<AssumeRole>,
}

/// How an API key is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ApiKey {
    /// The header, such as `x-api-key`.
    pub(in crate::config) header: String,
    /// What goes before the key there, such as `Bearer `.
    pub(in crate::config) prefix: Option<String>,
}
