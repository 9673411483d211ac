//! How weir logs in to an upstream, as the config says it.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderName;
use indexmap::IndexMap;
use url::Url;

use crate::secret::Secret;

/// A secret reference: where a secret comes from.
#[derive(Clone, Debug)]
pub enum SecretRef {
    /// An environment variable or a literal: what it was when the config was read.
    Fixed(Secret),
    /// A file, which may be replaced while weir runs.
    File {
        /// The file, absolute.
        path: PathBuf,
        /// Its content when the config was read.
        first: Secret,
    },
    /// AWS Secrets Manager; fetched when it is needed.
    Aws(Arc<AwsSecret>),
}

/// A secret in AWS Secrets Manager.
#[derive(Clone, Debug)]
pub struct AwsSecret {
    /// Its name or ARN.
    pub id: String,
    /// The member of the JSON object that the secret is; `None` takes the whole text.
    pub key: Option<String>,
    /// Its region; `None` is that of the ARN, else that of the credentials.
    pub region: Option<String>,
    /// The AWS credentials of the request.
    pub credentials: AwsCredentials,
}

/// How weir logs in to an upstream.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Not at all.
    None,
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer(SecretRef),
    /// A header of the upstream's own, such as `x-api-key`.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its value.
        value: SecretRef,
    },
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: SecretRef,
    },
    /// AWS Signature Version 4.
    Sigv4(Box<Sigv4>),
    /// OAuth 2 client credentials (RFC 6749 §4.4).
    ClientCredentials(Box<ClientCredentials>),
    /// OAuth 2 authorization code with PKCE, after `weir login`.
    AuthorizationCode(Box<AuthorizationCode>),
    /// OAuth 2 token exchange (RFC 8693).
    TokenExchange(Box<TokenExchange>),
    /// A token or an API key from AgentCore Identity.
    AgentcoreIdentity(Box<AgentcoreIdentity>),
}

impl Auth {
    /// Returns the AWS credentials that sign requests, to the upstream or to AgentCore Identity.
    #[must_use]
    pub fn aws_credentials(&self) -> Option<&AwsCredentials> {
        match self {
            Self::Sigv4(sigv4) => Some(&sigv4.credentials),
            Self::AgentcoreIdentity(identity) => Some(&identity.credentials),
            Self::None
            | Self::Bearer(_)
            | Self::Header { .. }
            | Self::Basic { .. }
            | Self::ClientCredentials(_)
            | Self::AuthorizationCode(_)
            | Self::TokenExchange(_) => None,
        }
    }
}

/// `auth: { type: sigv4 }`
#[derive(Clone, Debug)]
pub struct Sigv4 {
    /// The signing name, by default `bedrock-agentcore`.
    pub service: String,
    /// The region; `None` is that of the credentials' profile or environment.
    pub region: Option<String>,
    /// The AWS credentials to sign with.
    pub credentials: AwsCredentials,
}

/// Where AWS credentials come from.
#[derive(Clone, Debug)]
pub struct AwsCredentials {
    /// The credentials to begin with.
    pub source: AwsSource,
    /// The role to assume with them.
    pub assume_role: Option<AssumeRole>,
}

/// The AWS credentials to begin with.
#[derive(Clone, Debug)]
pub enum AwsSource {
    /// The default chain: environment, profile, SSO, web identity, container, instance metadata (IMDSv2).
    Chain {
        /// The profile; `None` is `AWS_PROFILE` or `default`.
        profile: Option<String>,
    },
    /// Keys of the config.
    Keys {
        /// `aws_access_key_id`
        access_key_id: String,
        /// `aws_secret_access_key`
        secret_access_key: SecretRef,
        /// `aws_session_token`
        session_token: Option<SecretRef>,
    },
}

/// `assume_role`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role's ARN.
    pub arn: String,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
    /// The session's name, by default `weir`.
    pub session_name: String,
}

/// A client of an OAuth 2 authorization server.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    /// Where tokens come from.
    pub server: TokenServer,
    /// `client_id`
    pub client_id: String,
    /// How the client proves who it is.
    pub authentication: ClientAuthentication,
    /// Hosts besides the issuer's own that its metadata may name.
    pub allowed_hosts: Vec<String>,
    /// Whether plain `http` is allowed beyond loopback.
    pub allow_plain_http: bool,
}

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenServer {
    /// The token endpoint.
    TokenUrl(Url),
    /// The issuer, whose metadata names the token endpoint (RFC 8414, OpenID Connect Discovery).
    Issuer(Url),
}

/// How an OAuth client proves who it is.
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// A public client.
    None,
    /// `client_secret_basic` (RFC 6749 §2.3.1).
    SecretBasic(SecretRef),
    /// `client_secret_post` (RFC 6749 §2.3.1).
    SecretPost(SecretRef),
    /// `private_key_jwt` (RFC 7523, OpenID Connect Core §9).
    PrivateKeyJwt {
        /// The private key: PEM, PKCS#8.
        key: SecretRef,
        /// `RS256`, `PS256`, `ES256`, `EdDSA`, …; `None` is what fits the key.
        algorithm: Option<String>,
        /// `kid` of the assertion's header.
        key_id: Option<String>,
    },
}

/// The parameters of a token request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenParameters {
    /// `scope`; empty leaves it to the server.
    pub scopes: Vec<String>,
    /// `audience`
    pub audience: Option<String>,
    /// `resource` (RFC 8707).
    pub resource: Option<Url>,
    /// Further parameters of the token request.
    pub parameters: IndexMap<String, String>,
}

/// `auth: { type: oauth2_client_credentials }`
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The client.
    pub client: OAuthClient,
    /// The parameters of the token request.
    pub token: TokenParameters,
}

/// `auth: { type: oauth2_token_exchange }`
#[derive(Clone, Debug)]
pub struct TokenExchange {
    /// The client.
    pub client: OAuthClient,
    /// The parameters of the token request.
    pub token: TokenParameters,
    /// The token that is exchanged.
    pub subject: ExchangeSubject,
    /// `subject_token_type`, by default `urn:ietf:params:oauth:token-type:jwt` for weir's own token
    /// and `…:access_token` for a caller's.
    pub subject_token_type: String,
    /// `actor_token` and its type.
    pub actor_token: Option<(SecretRef, String)>,
    /// `requested_token_type`
    pub requested_token_type: Option<String>,
}

/// The token that is exchanged (`subject_token`).
#[derive(Clone, Debug)]
pub enum ExchangeSubject {
    /// Weir's own, such as a projected service account token.
    Own(SecretRef),
    /// The token that the caller authenticated with.
    Caller,
}

/// How weir logs in to an upstream for each of its callers.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// The exchange: [`Auth::TokenExchange`] or [`Auth::AgentcoreIdentity`] with a caller as subject.
    pub auth: Auth,
    /// Whether callers without a token are served with weir's own login.
    pub without_caller: WithoutCaller,
}

/// `without_caller`: what becomes of callers without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutCaller {
    /// They are refused.
    #[default]
    Refuse,
    /// They are served with weir's own login.
    Service,
}

/// `auth: { type: oauth2_authorization_code }`
#[derive(Clone, Debug)]
pub struct AuthorizationCode {
    /// The issuer; `None` asks the upstream (RFC 9728).
    pub issuer: Option<Url>,
    /// How weir is registered there.
    pub client: Registration,
    /// `scope`; empty takes what the upstream says.
    pub scopes: Vec<String>,
    /// The port of the loopback redirect; 0 is any.
    pub redirect_port: u16,
    /// Hosts besides the issuer's own that its metadata may name.
    pub allowed_hosts: Vec<String>,
    /// Whether plain `http` is allowed beyond loopback.
    pub allow_plain_http: bool,
}

/// How weir is known to an authorization server.
#[derive(Clone, Debug)]
pub enum Registration {
    /// Registered beforehand.
    Known {
        /// `client_id`
        client_id: String,
        /// How the client proves who it is.
        authentication: ClientAuthentication,
    },
    /// A client id metadata document (draft-ietf-oauth-client-id-metadata-document): its URL is the client id.
    Document(Url),
    /// Registered by weir itself when it logs in (RFC 7591).
    Dynamic,
}

/// `auth: { type: agentcore_identity }`
#[derive(Clone, Debug)]
pub struct AgentcoreIdentity {
    /// The workload identity's name; empty if its token is the platform's.
    pub workload: String,
    /// The credential provider's name.
    pub provider: String,
    /// The kind of credential that the provider gives.
    pub kind: IdentityKind,
    /// The subject that it is for.
    pub subject: IdentitySubject,
    /// The region; `None` is that of the credentials.
    pub region: Option<String>,
    /// The AWS credentials of the request.
    pub credentials: AwsCredentials,
}

/// The subject of a credential of AgentCore Identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentitySubject {
    /// Weir's own workload (`GetWorkloadAccessToken`).
    Workload,
    /// The caller, by its token (`GetWorkloadAccessTokenForJWT`).
    Caller,
    /// The caller, by the subject of its token (`GetWorkloadAccessTokenForUserId`).
    CallerId,
    /// The caller, by the workload access token that the platform in front sent with its request.
    WorkloadToken,
}

/// A kind of credential that a provider of AgentCore Identity gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// An access token (`GetResourceOauth2Token`, flow M2M), sent as a bearer token.
    Oauth2 {
        /// `scopes`
        scopes: Vec<String>,
        /// `resources`
        resources: Vec<String>,
        /// `audiences`
        audiences: Vec<String>,
        /// `customParameters`
        parameters: IndexMap<String, String>,
    },
    /// An API key (`GetResourceApiKey`).
    ApiKey {
        /// The header it is sent in.
        header: HeaderName,
        /// The text before it there, such as `Bearer `.
        prefix: String,
    },
}

impl Auth {
    /// Returns whether each caller has a login of its own.
    #[must_use]
    pub fn is_of_caller(&self) -> bool {
        match self {
            Self::TokenExchange(exchange) => matches!(exchange.subject, ExchangeSubject::Caller),
            Self::AgentcoreIdentity(identity) => identity.subject != IdentitySubject::Workload,
            Self::None
            | Self::Bearer(_)
            | Self::Header { .. }
            | Self::Basic { .. }
            | Self::Sigv4(_)
            | Self::ClientCredentials(_)
            | Self::AuthorizationCode(_) => false,
        }
    }

    /// Returns the word in the config.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer(_) => "bearer",
            Self::Header { .. } => "header",
            Self::Basic { .. } => "basic",
            Self::Sigv4(_) => "sigv4",
            Self::ClientCredentials(_) => "oauth2_client_credentials",
            Self::AuthorizationCode(_) => "oauth2_authorization_code",
            Self::TokenExchange(_) => "oauth2_token_exchange",
            Self::AgentcoreIdentity(_) => "agentcore_identity",
        }
    }
}

impl SecretRef {
    /// Returns the text as it was when the config was read, for tests.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        self.first().map_or("", Secret::expose)
    }

    /// Returns the secret as it was when the config was read; `None` if it is fetched when needed.
    #[must_use]
    pub fn first(&self) -> Option<&Secret> {
        match self {
            Self::Fixed(secret) | Self::File { first: secret, .. } => Some(secret),
            Self::Aws(_) => None,
        }
    }
}
