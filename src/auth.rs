//! How weir proves to an upstream who it is. The caller's own token never goes this way.

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, header};

use crate::config::Auth;
use crate::secret::Secret;

/// A credential that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the credential has characters that an HTTP header cannot carry")]
pub struct CredentialError;

/// The headers that log in to an upstream, marked sensitive so that nothing prints them.
///
/// # Errors
/// A credential is no legal header value (RFC 9110 §5.5).
pub fn headers(auth: &Auth) -> Result<HeaderMap, CredentialError> {
    let mut headers = HeaderMap::new();
    match auth {
        Auth::None => {}
        Auth::Bearer(token) => {
            headers.insert(
                header::AUTHORIZATION,
                sensitive(&format!("Bearer {}", token.expose()))?,
            );
        }
        Auth::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            headers.insert(
                header::AUTHORIZATION,
                sensitive(&format!("Basic {encoded}"))?,
            );
        }
        Auth::Headers(pairs) => {
            for (name, value) in pairs {
                headers.insert(name.clone(), sensitive(Secret::expose(value))?);
            }
        }
    }
    Ok(headers)
}

fn sensitive(text: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| CredentialError)?;
    value.set_sensitive(true);
    Ok(value)
}
