//! Explains, in weir's own words, that AWS rejected a request because it was authenticated in the
//! wrong way.

use http::{HeaderMap, StatusCode, header};

use crate::config::Auth;

/// How weir authenticates, as far as it matters for an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// With AWS Signature Version 4.
    Signature,
    /// With `Authorization: Bearer`, wherever the token comes from.
    Bearer,
    /// In another way, or not at all.
    Other,
}

impl AuthKind {
    /// Returns the kind of an `auth`.
    #[must_use]
    pub fn of(auth: &Auth) -> Self {
        match auth {
            Auth::Sigv4(_) => Self::Signature,
            Auth::Bearer(_)
            | Auth::ClientCredentials(_)
            | Auth::AuthorizationCode(_)
            | Auth::TokenExchange(_) => Self::Bearer,
            Auth::AgentcoreIdentity(identity) => match &identity.kind {
                crate::config::IdentityKind::Oauth2 { .. } => Self::Bearer,
                crate::config::IdentityKind::ApiKey { .. } => Self::Other,
            },
            Auth::None | Auth::Header { .. } | Auth::Basic { .. } => Self::Other,
        }
    }
}

/// Weir sent a signature to a runtime or gateway that takes tokens.
const WANTS_TOKEN: &str = "the upstream takes OAuth tokens, not signatures (SigV4): `auth` has to be \
    `oauth2_client_credentials`, `agentcore_identity` or `bearer`";
/// Weir sent a token to a runtime or gateway that takes signatures.
const WANTS_SIGNATURE: &str =
    "the upstream takes signatures (SigV4), not tokens: `auth` has to be `sigv4`";
/// Weir sent neither, and the answer does not tell which of the two the upstream takes.
const WANTS_OTHER: &str =
    "the upstream takes another kind of `auth`: signatures (`sigv4`) or OAuth tokens";

/// Explains a rejection if the answer tells that the upstream takes another kind of authentication:
/// a runtime takes SigV4 or JWT, never both (AgentCore developer guide, "Authenticate and authorize
/// with Inbound Auth"). The explanation contains no text of the answer.
#[must_use]
pub fn explain(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    auth: AuthKind,
) -> Option<&'static str> {
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    let says = |part: &str| body.contains(part);
    let mismatch = says("authorization method mismatch") || says("different authorization method");
    // AWS's answer to a request without a signature.
    let unsigned = says("missing authentication token");
    let challenged = headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().starts_with("bearer"));
    match auth {
        AuthKind::Signature if mismatch || challenged => Some(WANTS_TOKEN),
        AuthKind::Bearer if mismatch || (unsigned && !challenged) => Some(WANTS_SIGNATURE),
        AuthKind::Other if mismatch => Some(WANTS_OTHER),
        AuthKind::Other if challenged => Some(WANTS_TOKEN_ONLY),
        AuthKind::Other if unsigned => Some(WANTS_SIGNATURE_ONLY),
        AuthKind::Signature | AuthKind::Bearer | AuthKind::Other => None,
    }
}

/// Weir sent neither, and the answer asks for a token.
const WANTS_TOKEN_ONLY: &str = "the upstream takes OAuth tokens";
/// Weir sent neither, and the answer asks for a signature.
const WANTS_SIGNATURE_ONLY: &str = "the upstream takes signatures (SigV4)";

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const MISMATCH: &[u8] = br#"{"jsonrpc":"2.0","id":"null","error":{"code":-32002,"message":"Authorization method mismatch. The agent is configured for a different authorization method than what was used in your request."}}"#;
    const UNSIGNED: &[u8] = br#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Missing Authentication Token"},"id":"null"}"#;

    fn bare(status: u16, body: &[u8], sent: AuthKind) -> Option<&'static str> {
        let status = StatusCode::from_u16(status).unwrap();
        explain(status, &HeaderMap::new(), body, sent)
    }

    #[test]
    fn a_mismatch_is_explained_in_both_directions() {
        assert_eq!(bare(403, MISMATCH, AuthKind::Signature), Some(WANTS_TOKEN));
        assert_eq!(bare(403, MISMATCH, AuthKind::Bearer), Some(WANTS_SIGNATURE));
        assert_eq!(bare(403, MISMATCH, AuthKind::Other), Some(WANTS_OTHER));
        assert_eq!(bare(401, UNSIGNED, AuthKind::Bearer), Some(WANTS_SIGNATURE));
        let mut challenge = HeaderMap::new();
        let value = r#"Bearer resource_metadata="https://x/.well-known/oauth-protected-resource""#;
        challenge.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        let status = StatusCode::UNAUTHORIZED;
        let signed = explain(status, &challenge, b"", AuthKind::Signature);
        assert_eq!(signed, Some(WANTS_TOKEN));
        // An expired token is challenged too.
        assert_eq!(explain(status, &challenge, b"", AuthKind::Bearer), None);
    }

    #[test]
    fn what_is_no_mismatch_is_not_called_one() {
        let denied = br#"{"message":"User is not authorized to perform InvokeGateway"}"#;
        for sent in [AuthKind::Signature, AuthKind::Bearer, AuthKind::Other] {
            assert_eq!(bare(403, denied, sent), None);
            assert_eq!(bare(401, b"", sent), None);
            assert_eq!(bare(500, MISMATCH, sent), None);
        }
    }
}
