//! Dynamic client registration (RFC 7591).
//!
//! rmcp's own is not used: it registers public clients only, and its errors contain the server's
//! text.

use http::{Request, header};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::credentials::oauth::http::{OAuthHttpClient, OAuthHttpError};
use crate::credentials::oauth::store::{StoredClient, TokenEndpointAuthMethod};
use crate::secret::Secret;

/// The reason why weir could not register.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The request failed.
    #[error("the registration endpoint cannot be used")]
    Http(#[from] OAuthHttpError),
    /// The server rejected the registration.
    #[error("the server refuses to register weir ({})", code.unwrap_or("without a known error code"))]
    Rejected {
        /// The error code, if it is one of RFC 7591 §3.2.2.
        code: Option<&'static str>,
    },
    /// The server supports no client authentication that weir can register with.
    #[error("the server supports no client authentication that weir can register with")]
    Methods,
    /// The response is not a registration.
    #[error("the response is not a client registration")]
    Unreadable,
}

#[derive(Serialize)]
struct RegistrationRequest<'a> {
    client_name: &'a str,
    redirect_uris: [&'a str; 1],
    grant_types: [&'a str; 2],
    response_types: [&'a str; 1],
    token_endpoint_auth_method: TokenEndpointAuthMethod,
    application_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

#[derive(Deserialize)]
struct RegistrationResponse {
    client_id: String,
    client_secret: Option<String>,
    token_endpoint_auth_method: Option<String>,
}

#[derive(Deserialize)]
struct RegistrationErrorResponse {
    error: String,
}

/// The error codes that may be shown: those of RFC 7591 §3.2.2, and of RFC 6750 §3.1 for servers
/// that want a token for registering.
const ERROR_CODES: [&str; 6] = [
    "invalid_redirect_uri",
    "invalid_client_metadata",
    "invalid_software_statement",
    "unapproved_software_statement",
    "invalid_token",
    "access_denied",
];

/// Registers weir for one redirect URI. `methods` is `token_endpoint_auth_methods_supported` of the
/// server's metadata, if it has that.
pub(super) async fn register(
    http: &OAuthHttpClient,
    endpoint: &Url,
    redirect: &str,
    scopes: &[String],
    methods: Option<&[&str]>,
) -> Result<StoredClient, RegistrationError> {
    let method = choose_method(methods).ok_or(RegistrationError::Methods)?;
    let body = RegistrationRequest {
        client_name: "weir",
        redirect_uris: [redirect],
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        token_endpoint_auth_method: method,
        application_type: "native",
        scope: (!scopes.is_empty()).then(|| scopes.join(" ")),
    };
    let body = serde_json::to_vec(&body).map_err(|_| RegistrationError::Unreadable)?;
    let request = Request::post(endpoint.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(body)
        .map_err(|_| RegistrationError::Unreadable)?;
    let response = http.send(request).await?;
    if !response.status().is_success() {
        let error = serde_json::from_slice::<RegistrationErrorResponse>(response.body()).ok();
        let code =
            error.and_then(|error| ERROR_CODES.into_iter().find(|code| *code == error.error));
        return Err(RegistrationError::Rejected { code });
    }
    let client: RegistrationResponse =
        serde_json::from_slice(response.body()).map_err(|_| RegistrationError::Unreadable)?;
    // Some servers send an empty secret for none.
    let secret = client.client_secret.filter(|secret| !secret.is_empty());
    let registered = client.token_endpoint_auth_method.as_deref();
    let method = match (&secret, registered) {
        (None, _) | (_, Some("none")) => TokenEndpointAuthMethod::None,
        (_, Some("client_secret_post")) => TokenEndpointAuthMethod::Post,
        (_, Some("client_secret_basic")) => TokenEndpointAuthMethod::Basic,
        // A secret that weir did not ask for.
        _ if method == TokenEndpointAuthMethod::None => default_secret_method(methods),
        _ => method,
    };
    Ok(StoredClient {
        id: client.client_id,
        secret: secret.map(|secret| Secret::new(&secret)),
        method,
    })
}

/// Chooses how to authenticate: as a public client, which native apps are (RFC 8252 §8.4), if the
/// server supports that.
fn choose_method(methods: Option<&[&str]>) -> Option<TokenEndpointAuthMethod> {
    let supports = |name| methods.is_none_or(|methods| methods.contains(&name));
    [
        ("none", TokenEndpointAuthMethod::None),
        ("client_secret_basic", TokenEndpointAuthMethod::Basic),
        ("client_secret_post", TokenEndpointAuthMethod::Post),
    ]
    .into_iter()
    .find_map(|(name, method)| supports(name).then_some(method))
}

/// Returns how a secret is presented if the response does not tell: `client_secret_basic` is the
/// default (RFC 8414 §2).
fn default_secret_method(methods: Option<&[&str]>) -> TokenEndpointAuthMethod {
    let post = methods.is_some_and(|methods| {
        methods.contains(&"client_secret_post") && !methods.contains(&"client_secret_basic")
    });
    if post {
        TokenEndpointAuthMethod::Post
    } else {
        TokenEndpointAuthMethod::Basic
    }
}
