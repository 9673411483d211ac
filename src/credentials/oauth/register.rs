//! Dynamic client registration (RFC 7591).
//!
//! Not rmcp's: it registers public clients only, and its errors have the server's text in them.

use http::{Request, header};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::credentials::oauth::http::{Http, HttpError};
use crate::credentials::oauth::store::{ClientRecord, Method};
use crate::secret::Secret;

/// Why weir could not register.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// No answer.
    #[error("the registration endpoint cannot be used")]
    Http(#[from] HttpError),
    /// The server said no, with a code of RFC 7591 §3.2.2 if it has one.
    #[error("the server refuses to register weir ({})", code.unwrap_or("without a known error code"))]
    Refused {
        /// The code.
        code: Option<&'static str>,
    },
    /// None of the ways to authenticate that the server takes is one that weir can register for.
    #[error("the server takes no client authentication that weir can register for")]
    Methods,
    /// The answer is no registration.
    #[error("the answer is not a client registration")]
    Nonsense,
}

#[derive(Serialize)]
struct Ask<'a> {
    client_name: &'a str,
    redirect_uris: [&'a str; 1],
    grant_types: [&'a str; 2],
    response_types: [&'a str; 1],
    token_endpoint_auth_method: Method,
    application_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    client_id: String,
    client_secret: Option<String>,
    token_endpoint_auth_method: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// The codes of RFC 7591 §3.2.2, and of RFC 6750 §3.1 for servers that want a token first.
const CODES: [&str; 6] = [
    "invalid_redirect_uri",
    "invalid_client_metadata",
    "invalid_software_statement",
    "unapproved_software_statement",
    "invalid_token",
    "access_denied",
];

/// Registers weir for one redirect URI. `methods` is what the server says it takes at the token endpoint.
pub(super) async fn register(
    http: &Http,
    endpoint: &Url,
    redirect: &str,
    scopes: &[String],
    methods: Option<&[&str]>,
) -> Result<ClientRecord, RegistrationError> {
    let method = preferred(methods).ok_or(RegistrationError::Methods)?;
    let ask = Ask {
        client_name: "weir",
        redirect_uris: [redirect],
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        token_endpoint_auth_method: method,
        application_type: "native",
        scope: (!scopes.is_empty()).then(|| scopes.join(" ")),
    };
    let body = serde_json::to_vec(&ask).map_err(|_| RegistrationError::Nonsense)?;
    let request = Request::post(endpoint.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(body)
        .map_err(|_| RegistrationError::Nonsense)?;
    let answer = http.send(request).await?;
    if !answer.status().is_success() {
        let refusal = serde_json::from_slice::<Refusal>(answer.body()).ok();
        let code =
            refusal.and_then(|refusal| CODES.into_iter().find(|code| *code == refusal.error));
        return Err(RegistrationError::Refused { code });
    }
    let answer: Answer =
        serde_json::from_slice(answer.body()).map_err(|_| RegistrationError::Nonsense)?;
    // Some send an empty one for no secret.
    let secret = answer.client_secret.filter(|secret| !secret.is_empty());
    let said = answer.token_endpoint_auth_method.as_deref();
    let method = match (&secret, said) {
        (None, _) | (_, Some("none")) => Method::None,
        (_, Some("client_secret_post")) => Method::Post,
        (_, Some("client_secret_basic")) => Method::Basic,
        // A secret that was not asked for.
        _ if method == Method::None => preferred_secret(methods),
        _ => method,
    };
    Ok(ClientRecord {
        id: answer.client_id,
        secret: secret.map(|secret| Secret::new(&secret)),
        method,
    })
}

/// A public client, as native apps are (RFC 8252 §8.4), unless the server takes none.
fn preferred(methods: Option<&[&str]>) -> Option<Method> {
    let takes = |name| methods.is_none_or(|methods| methods.contains(&name));
    [
        ("none", Method::None),
        ("client_secret_basic", Method::Basic),
        ("client_secret_post", Method::Post),
    ]
    .into_iter()
    .find_map(|(name, method)| takes(name).then_some(method))
}

/// Where nothing is said, it is `client_secret_basic` (RFC 8414 §2).
fn preferred_secret(methods: Option<&[&str]>) -> Method {
    let post = methods.is_some_and(|methods| {
        methods.contains(&"client_secret_post") && !methods.contains(&"client_secret_basic")
    });
    if post { Method::Post } else { Method::Basic }
}
