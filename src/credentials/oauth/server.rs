//! Which authorization server an upstream belongs to: from its 401 (RFC 9728), or from the config.
//!
//! rmcp's `transport::auth` reads the challenge, finds the metadata of the resource and of the server, and writes the
//! authorization request with PKCE. Everything that it sends goes through [`Door`], which refuses what weir does
//! not go to. What it does with codes and tokens is not used: it logs them.

use std::sync::Arc;

use http::{Method, Request, StatusCode, header};
use oauth2::PkceCodeVerifier;
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, AuthorizationMetadata, InMemoryStateStore, OAuthClientConfig,
    StateStore as _,
};
use url::Url;

use crate::config::AuthorizationCode;
use crate::credentials::oauth::callback::Expected;
use crate::credentials::oauth::discovery;
use crate::credentials::oauth::door::Door;
use crate::credentials::oauth::http::HttpError;
use crate::credentials::reach::Unreachable;

/// What is sent to the upstream so that it asks for a login. Some let everybody in for a handshake; this opens no session.
const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;

/// Why no authorization server was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The upstream did not answer.
    #[error("the upstream does not answer")]
    Upstream(#[source] HttpError),
    /// Metadata could not be fetched.
    #[error("the metadata at {host} cannot be had")]
    Fetch {
        /// Where.
        host: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// Metadata is answered with 5xx, or leads elsewhere.
    #[error("{host} does not give its metadata")]
    Refused {
        /// Where.
        host: String,
    },
    /// The upstream names no server, and does not ask for a login.
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
    /// The metadata is of another issuer than it was asked for (RFC 8414 §3.3).
    #[error("the authorization server's metadata is of another issuer")]
    OtherIssuer,
    /// An endpoint is missing or none that weir goes to.
    #[error("the authorization server's {endpoint} endpoint cannot be used")]
    Endpoint {
        /// `authorization`, `token`, `registration`
        endpoint: &'static str,
        /// Why.
        #[source]
        source: Option<Unreachable>,
    },
    /// `code_challenge_methods_supported` has no `S256`, or is missing, which means the same.
    #[error(
        "the authorization server does not support PKCE with S256, without which weir logs in nowhere"
    )]
    Pkce,
    /// The configured issuer publishes nothing that weir can use.
    #[error("the issuer of the config")]
    Issuer(#[source] discovery::DiscoveryError),
    /// Anything else.
    #[error("no authorization server was found")]
    Other,
}

/// An authorization server, found.
pub(super) struct Server {
    manager: AuthorizationManager,
    metadata: AuthorizationMetadata,
    states: InMemoryStateStore,
    /// The issuer, as its metadata writes it.
    pub(super) issuer: String,
    /// Where tokens come from.
    pub(super) token_endpoint: Url,
    /// What is asked for.
    pub(super) scopes: Vec<String>,
}

/// An authorization request (RFC 6749 §4.1.1, RFC 7636, RFC 8707), ready for a browser.
pub(super) struct Asking {
    /// Where the browser goes.
    pub(super) url: Url,
    /// What has to come back.
    pub(super) expected: Expected,
    /// `code_verifier`
    pub(super) verifier: PkceCodeVerifier,
    /// `resource`
    pub(super) resource: String,
}

impl Server {
    /// Finds the server of an upstream.
    pub(super) async fn find(
        upstream: &Url,
        config: &AuthorizationCode,
        door: &Arc<Door>,
    ) -> Result<Self, FindError> {
        let challenge = challenge(upstream, door).await?;
        let manager = AuthorizationManager::new_with_oauth_http_client(
            upstream.clone(),
            Arc::clone(door) as Arc<_>,
        );
        let mut manager = manager.await.map_err(|_| FindError::Other)?;
        let resolved = manager
            .resolve_metadata_from_challenge(challenge.as_deref())
            .await;
        let (metadata, is_published) = match &config.issuer {
            // Asked all the same: what the resource is called and its scopes are its own affair.
            Some(issuer) => (published(issuer, door).await?, true),
            None => {
                let resolved = resolved.map_err(|error| explained(error, upstream, door))?;
                (resolved.metadata, resolved.source.is_discovered())
            }
        };
        // Servers of 2025-03-26 publish nothing and have their endpoints at known paths.
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
        let endpoint = |name, written: &str| endpoint(name, written, &issuer, door);
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

    /// Where clients register themselves (RFC 7591), if anywhere.
    pub(super) fn registration_endpoint(&self, door: &Door) -> Result<Option<Url>, FindError> {
        let written = self.metadata.registration_endpoint.as_deref();
        written
            .map(|written| endpoint("registration", written, &self.issuer, door))
            .transpose()
    }

    /// Whether a client may be a document (draft-ietf-oauth-client-id-metadata-document).
    pub(super) fn takes_documents(&self) -> bool {
        self.says("client_id_metadata_document_supported")
    }

    /// `token_endpoint_auth_methods_supported`, if it says.
    pub(super) fn methods(&self) -> Option<Vec<&str>> {
        let key = "token_endpoint_auth_methods_supported";
        let methods = self.metadata.additional_fields.get(key)?.as_array()?;
        Some(
            methods
                .iter()
                .filter_map(|method| method.as_str())
                .collect(),
        )
    }

    fn says(&self, key: &str) -> bool {
        let value = self.metadata.additional_fields.get(key);
        value.and_then(serde_json::Value::as_bool) == Some(true)
    }

    /// The request that a browser carries to the server.
    pub(super) async fn asking(
        &mut self,
        client_id: &str,
        redirect: &str,
    ) -> Result<Asking, FindError> {
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
        let kept = self.states.load(&state).await.map_err(other)?;
        let kept = kept.ok_or(FindError::Other)?;
        // Without it there is no refresh token (OpenID Connect Core §11).
        if scopes.contains(&"offline_access") {
            url.query_pairs_mut().append_pair("prompt", "consent");
        }
        let must_name_issuer = self.says("authorization_response_iss_parameter_supported");
        let expected = Expected {
            state,
            issuer: self.issuer.clone(),
            must_name_issuer,
        };
        Ok(Asking {
            url,
            expected,
            verifier: kept.into_pkce_verifier(),
            resource,
        })
    }
}

/// What the upstream says in a 401: its `WWW-Authenticate` headers, or an empty text without any. `None` if it
/// lets weir in without a login.
async fn challenge(upstream: &Url, door: &Door) -> Result<Option<String>, FindError> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(upstream.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .body(HELLO.as_bytes().to_vec())
        .map_err(|_| FindError::Other)?;
    let answer = door.http.head(request).await.map_err(FindError::Upstream)?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let challenges = answer.headers().get_all(header::WWW_AUTHENTICATE).iter();
    let challenges: Vec<_> = challenges.filter_map(|value| value.to_str().ok()).collect();
    Ok(Some(challenges.join(", ")))
}

/// The metadata of a configured issuer.
async fn published(issuer: &Url, door: &Door) -> Result<AuthorizationMetadata, FindError> {
    let found = discovery::metadata(issuer, &door.http).await;
    let (_, text) = found.map_err(FindError::Issuer)?;
    let unusable = |_| FindError::Issuer(discovery::DiscoveryError::None);
    serde_json::from_slice(&text).map_err(unusable)
}

fn endpoint(
    name: &'static str,
    written: &str,
    issuer: &str,
    door: &Door,
) -> Result<Url, FindError> {
    let unusable = |source| FindError::Endpoint {
        endpoint: name,
        source,
    };
    let url = Url::parse(written).map_err(|_| unusable(None))?;
    let issuer = Url::parse(issuer).map_err(|_| unusable(None))?;
    door.belongs(&url, &issuer)
        .map_err(|source| unusable(Some(source)))?;
    Ok(url)
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

fn fetch(url: &Url, source: HttpError) -> FindError {
    FindError::Fetch {
        host: host(url),
        source,
    }
}

/// Weir's own words for what rmcp says, which may have text of the server in it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all others are of steps that are not taken with rmcp"
)]
fn explained(error: AuthError, upstream: &Url, door: &Door) -> FindError {
    match error {
        AuthError::DiscoveryRequestFailed { url, source } => match source.downcast::<HttpError>() {
            Ok(source) if url == *upstream => FindError::Upstream(*source),
            Ok(source) => fetch(&url, *source),
            Err(_) => FindError::Refused { host: host(&url) },
        },
        AuthError::ProtectedResourceMetadataInvalid { .. } => FindError::Resource,
        AuthError::AuthorizationServersUnavailable {
            authorization_servers,
            ..
        } => {
            let named = authorization_servers
                .iter()
                .filter_map(|named| Url::parse(named).ok());
            let mut refused = named.filter_map(|url| Some((door.http.may(&url).err()?, url)));
            match refused.next() {
                Some((source, url)) => fetch(&url, source.into()),
                None => FindError::NoMetadata,
            }
        }
        AuthError::AuthorizationServerMismatch { .. }
        | AuthError::AuthorizationServerMissingIssuer { .. } => FindError::OtherIssuer,
        _ => FindError::Other,
    }
}
