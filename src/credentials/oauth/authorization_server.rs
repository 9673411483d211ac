//! Finds the authorization server of an upstream: from the upstream's 401 (RFC 9728), or from the
//! config.
//!
//! rmcp's `transport::auth` reads the challenge, finds the metadata of the resource and of the
//! server, and builds the authorization request with PKCE. Its requests go through
//! [`LoginHttpClient`], which checks their URLs. What rmcp does with codes and tokens is not used,
//! because it logs them.

use std::sync::Arc;

use http::{Method, Request, StatusCode, header};
use oauth2::PkceCodeVerifier;
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, AuthorizationMetadata, InMemoryStateStore, OAuthClientConfig,
    StateStore as _,
};
use url::Url;

use crate::config::AuthorizationCode;
use crate::credentials::oauth::callback::ExpectedRedirect;
use crate::credentials::oauth::discovery;
use crate::credentials::oauth::http::OAuthHttpError;
use crate::credentials::oauth::login_http::LoginHttpClient;
use crate::credentials::reach::ForbiddenUrl;

/// The request that makes an upstream ask for a login. Not a handshake, because some upstreams
/// answer that without a login, and it would open a session.
const PROBE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;

/// The reason why no authorization server was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The upstream did not answer.
    #[error("the upstream does not answer")]
    Upstream(#[source] OAuthHttpError),
    /// Metadata could not be fetched.
    #[error("the metadata at {host} cannot be fetched")]
    Fetch {
        /// The host.
        host: String,
        /// The reason.
        #[source]
        source: OAuthHttpError,
    },
    /// A request for metadata was answered with 5xx or a redirect.
    #[error("{host} does not answer with its metadata")]
    Refused {
        /// The host.
        host: String,
    },
    /// The upstream names no authorization server, and does not ask for a login.
    #[error(
        "the upstream answers without a login and names no authorization server; set `auth.issuer` if it has one"
    )]
    None,
    /// The protected resource metadata is of another resource, or none (RFC 9728 §3.3).
    #[error("the upstream's protected resource metadata is not about the upstream's URL")]
    Resource,
    /// None of the servers that the upstream names publishes metadata that weir can use.
    #[error(
        "no metadata at the authorization server that the upstream names; set `auth.issuer` if it has another"
    )]
    NoMetadata,
    /// The metadata names another issuer than the one that it was requested for (RFC 8414 §3.3).
    #[error("the authorization server's metadata is of another issuer")]
    OtherIssuer,
    /// An endpoint is missing, or weir sends nothing to it.
    #[error("the authorization server's {endpoint} endpoint cannot be used")]
    Endpoint {
        /// The endpoint: `authorization`, `token` or `registration`.
        endpoint: &'static str,
        /// The reason.
        #[source]
        source: Option<ForbiddenUrl>,
    },
    /// `code_challenge_methods_supported` has no `S256`, or is missing, which means the same.
    #[error("the authorization server does not support PKCE with S256, which weir requires")]
    Pkce,
    /// The issuer of the config publishes no usable metadata.
    #[error("the issuer of the config has no usable metadata")]
    Issuer(#[source] discovery::DiscoveryError),
    /// Any other failure.
    #[error("no authorization server was found")]
    Other,
}

/// The authorization server of an upstream.
pub(super) struct AuthorizationServer {
    manager: AuthorizationManager,
    metadata: AuthorizationMetadata,
    states: InMemoryStateStore,
    /// The issuer, as its metadata writes it.
    pub(super) issuer: String,
    /// The token endpoint.
    pub(super) token_endpoint: Url,
    /// The scopes that weir requests.
    pub(super) scopes: Vec<String>,
}

/// An authorization request (RFC 6749 §4.1.1, RFC 7636, RFC 8707), ready for a browser.
pub(super) struct AuthorizationRequest {
    /// The URL to open in a browser.
    pub(super) url: Url,
    /// The values that the response has to match.
    pub(super) expected: ExpectedRedirect,
    /// `code_verifier`
    pub(super) verifier: PkceCodeVerifier,
    /// `resource`
    pub(super) resource: String,
}

impl AuthorizationServer {
    /// Finds the server of an upstream.
    pub(super) async fn find(
        upstream: &Url,
        config: &AuthorizationCode,
        http: &Arc<LoginHttpClient>,
    ) -> Result<Self, FindError> {
        let challenge = fetch_challenge(upstream, http).await?;
        let manager = AuthorizationManager::new_with_oauth_http_client(
            upstream.clone(),
            Arc::clone(http) as Arc<_>,
        );
        let mut manager = manager.await.map_err(|_| FindError::Other)?;
        let resolved = manager
            .resolve_metadata_from_challenge(challenge.as_deref())
            .await;
        let (metadata, is_published) = match &config.issuer {
            // The upstream is asked even so: the name of the resource and its scopes come from
            // there.
            Some(issuer) => (fetch_configured(issuer, http).await?, true),
            None => {
                let resolved = resolved.map_err(|error| explain(error, upstream, http))?;
                (resolved.metadata, resolved.source.is_discovered())
            }
        };
        // Without metadata the endpoints are at the default paths of 2025-03-26
        // (basic/authorization). Only a 401 tells that they exist.
        if !is_published && challenge.is_none() {
            return Err(FindError::None);
        }
        let methods = metadata.code_challenge_methods_supported.as_deref();
        if is_published && !methods.is_some_and(|methods| methods.iter().any(|m| m == "S256")) {
            return Err(FindError::Pkce);
        }
        let issuer = match &metadata.issuer {
            Some(issuer) => issuer.clone(),
            None => upstream.origin().ascii_serialization(),
        };
        let endpoint = |name, written: &str| parse_endpoint(name, written, &issuer, http);
        endpoint("authorization", &metadata.authorization_endpoint)?;
        let token_endpoint = endpoint("token", &metadata.token_endpoint)?;
        let states = InMemoryStateStore::new();
        manager.set_state_store(states.clone());
        manager.set_metadata(metadata.clone());
        let scopes = match config.scopes.as_slice() {
            [] => manager.select_initial_scopes(&[]).await,
            scopes => scopes.to_vec(),
        };
        Ok(Self {
            manager,
            states,
            issuer,
            token_endpoint,
            scopes,
            metadata,
        })
    }

    /// Returns the endpoint for dynamic client registration (RFC 7591), if there is one.
    pub(super) fn registration_endpoint(
        &self,
        http: &LoginHttpClient,
    ) -> Result<Option<Url>, FindError> {
        let written = self.metadata.registration_endpoint.as_deref();
        written
            .map(|written| parse_endpoint("registration", written, &self.issuer, http))
            .transpose()
    }

    /// Returns whether the URL of a metadata document may be a client id
    /// (draft-ietf-oauth-client-id-metadata-document).
    pub(super) fn supports_documents(&self) -> bool {
        self.supports("client_id_metadata_document_supported")
    }

    /// Returns `token_endpoint_auth_methods_supported`, if the metadata has it.
    pub(super) fn auth_methods(&self) -> Option<Vec<&str>> {
        let key = "token_endpoint_auth_methods_supported";
        let methods = self.metadata.additional_fields.get(key)?.as_array()?;
        Some(
            methods
                .iter()
                .filter_map(|method| method.as_str())
                .collect(),
        )
    }

    fn supports(&self, key: &str) -> bool {
        let value = self.metadata.additional_fields.get(key);
        value.and_then(serde_json::Value::as_bool) == Some(true)
    }

    /// Builds the authorization request.
    pub(super) async fn build_request(
        &mut self,
        client_id: &str,
        redirect: &str,
    ) -> Result<AuthorizationRequest, FindError> {
        let client = OAuthClientConfig::new(client_id, redirect);
        let other = |_| FindError::Other;
        self.manager.configure_client(client).map_err(other)?;
        let scopes: Vec<_> = self.scopes.iter().map(String::as_str).collect();
        let url = self.manager.get_authorization_url(&scopes).await;
        let mut url: Url = url.map_err(other)?.parse().map_err(|_| FindError::Other)?;
        let parameter = |name: &str| {
            let mut pairs = url.query_pairs();
            let found = pairs.find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned())
        };
        let (state, resource) = (parameter("state"), parameter("resource"));
        let (state, resource) = state.zip(resource).ok_or(FindError::Other)?;
        let stored = self.states.load(&state).await.map_err(other)?;
        let stored = stored.ok_or(FindError::Other)?;
        // Otherwise the server gives no refresh token (OpenID Connect Core §11).
        if scopes.contains(&"offline_access") {
            url.query_pairs_mut().append_pair("prompt", "consent");
        }
        let must_name_issuer = self.supports("authorization_response_iss_parameter_supported");
        let expected = ExpectedRedirect {
            state,
            issuer: self.issuer.clone(),
            must_name_issuer,
        };
        Ok(AuthorizationRequest {
            url,
            expected,
            verifier: stored.into_pkce_verifier(),
            resource,
        })
    }
}

/// Sends a request without a login. Returns the `WWW-Authenticate` headers of a 401, or an empty
/// text if it has none; `None` if the upstream does not answer 401.
async fn fetch_challenge(
    upstream: &Url,
    http: &LoginHttpClient,
) -> Result<Option<String>, FindError> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(upstream.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .body(PROBE.as_bytes().to_vec())
        .map_err(|_| FindError::Other)?;
    let response = http.client.send_for_head(request).await;
    let response = response.map_err(FindError::Upstream)?;
    if response.status() != StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    let challenges: Vec<_> = challenges.filter_map(|value| value.to_str().ok()).collect();
    Ok(Some(challenges.join(", ")))
}

/// Fetches the metadata of the issuer that the config names.
async fn fetch_configured(
    issuer: &Url,
    http: &LoginHttpClient,
) -> Result<AuthorizationMetadata, FindError> {
    let found = discovery::fetch_metadata(issuer, &http.client).await;
    let (_, text) = found.map_err(FindError::Issuer)?;
    let unusable = |_| FindError::Issuer(discovery::DiscoveryError::None);
    serde_json::from_slice(&text).map_err(unusable)
}

/// Parses an endpoint of the metadata, and checks that it belongs to the issuer.
fn parse_endpoint(
    name: &'static str,
    written: &str,
    issuer: &str,
    http: &LoginHttpClient,
) -> Result<Url, FindError> {
    let unusable = |source| FindError::Endpoint {
        endpoint: name,
        source,
    };
    let url = Url::parse(written).map_err(|_| unusable(None))?;
    let issuer = Url::parse(issuer).map_err(|_| unusable(None))?;
    http.check_endpoint(&url, &issuer)
        .map_err(|source| unusable(Some(source)))?;
    Ok(url)
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

fn cannot_fetch(url: &Url, source: OAuthHttpError) -> FindError {
    FindError::Fetch {
        host: host(url),
        source,
    }
}

/// Explains an error of rmcp in weir's own words: rmcp's may contain text of the server.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other errors are of steps that weir does not take with rmcp"
)]
fn explain(error: AuthError, upstream: &Url, http: &LoginHttpClient) -> FindError {
    match error {
        AuthError::DiscoveryRequestFailed { url, source } => {
            match source.downcast::<OAuthHttpError>() {
                Ok(source) if url == *upstream => FindError::Upstream(*source),
                Ok(source) => cannot_fetch(&url, *source),
                Err(_) => FindError::Refused { host: host(&url) },
            }
        }
        AuthError::ProtectedResourceMetadataInvalid { .. } => FindError::Resource,
        AuthError::AuthorizationServersUnavailable {
            authorization_servers,
            ..
        } => {
            let named = authorization_servers
                .iter()
                .filter_map(|named| Url::parse(named).ok());
            let mut forbidden = named.filter_map(|url| Some((http.client.check(&url).err()?, url)));
            match forbidden.next() {
                Some((source, url)) => cannot_fetch(&url, source.into()),
                None => FindError::NoMetadata,
            }
        }
        AuthError::AuthorizationServerMismatch { .. }
        | AuthError::AuthorizationServerMissingIssuer { .. } => FindError::OtherIssuer,
        _ => FindError::Other,
    }
}
