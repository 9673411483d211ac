//! Why AWS refuses what weir logged in with, in weir's own words.

use http::{HeaderMap, StatusCode, header};

use crate::config::Auth;

/// What weir logs in with, as far as it matters to who refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// An AWS Signature Version 4.
    Signature,
    /// `Authorization: Bearer`, wherever the token is from.
    Bearer,
    /// Something else, or nothing.
    Other,
}

impl Sent {
    /// What credentials of this kind send.
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

/// A runtime or gateway that takes tokens was sent a signature.
const WANTS_TOKEN: &str = "the upstream takes OAuth tokens, not signatures (SigV4): `auth` has to be \
    `oauth2_client_credentials`, `agentcore_identity` or `bearer`";
/// A runtime or gateway that takes signatures was sent a token.
const WANTS_SIGNATURE: &str =
    "the upstream takes signatures (SigV4), not tokens: `auth` has to be `sigv4`";
/// It does not say which, and weir sent neither.
const WANTS_OTHER: &str =
    "the upstream takes another way of logging in: signatures (`sigv4`) or OAuth tokens";

/// Why a request was refused, where the answer gives it away: a runtime takes SigV4 or JWT, never both (AgentCore
/// developer guide, "Authenticate and authorize with Inbound Auth"). No text of the answer is in it.
#[must_use]
pub fn explain(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    sent: Sent,
) -> Option<&'static str> {
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    let says = |part: &str| body.contains(part);
    let mismatch = says("authorization method mismatch") || says("different authorization method");
    // What AWS says of a request without any signature.
    let unsigned = says("missing authentication token");
    let challenged = headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().starts_with("bearer"));
    match sent {
        Sent::Signature if mismatch || challenged => Some(WANTS_TOKEN),
        Sent::Bearer if mismatch || (unsigned && !challenged) => Some(WANTS_SIGNATURE),
        Sent::Other if mismatch => Some(WANTS_OTHER),
        Sent::Other if challenged => Some(WANTS_TOKEN_ONLY),
        Sent::Other if unsigned => Some(WANTS_SIGNATURE_ONLY),
        Sent::Signature | Sent::Bearer | Sent::Other => None,
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

    fn bare(status: u16, body: &[u8], sent: Sent) -> Option<&'static str> {
        let status = StatusCode::from_u16(status).unwrap();
        explain(status, &HeaderMap::new(), body, sent)
    }

    #[test]
    fn a_mismatch_is_explained_in_both_directions() {
        assert_eq!(bare(403, MISMATCH, Sent::Signature), Some(WANTS_TOKEN));
        assert_eq!(bare(403, MISMATCH, Sent::Bearer), Some(WANTS_SIGNATURE));
        assert_eq!(bare(403, MISMATCH, Sent::Other), Some(WANTS_OTHER));
        assert_eq!(bare(401, UNSIGNED, Sent::Bearer), Some(WANTS_SIGNATURE));
        let mut challenge = HeaderMap::new();
        let value = r#"Bearer resource_metadata="https://x/.well-known/oauth-protected-resource""#;
        challenge.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        let status = StatusCode::UNAUTHORIZED;
        let signed = explain(status, &challenge, b"", Sent::Signature);
        assert_eq!(signed, Some(WANTS_TOKEN));
        // A token that is too old is challenged too.
        assert_eq!(explain(status, &challenge, b"", Sent::Bearer), None);
    }

    #[test]
    fn what_is_no_mismatch_is_not_called_one() {
        let denied = br#"{"message":"User is not authorized to perform InvokeGateway"}"#;
        for sent in [Sent::Signature, Sent::Bearer, Sent::Other] {
            assert_eq!(bare(403, denied, sent), None);
            assert_eq!(bare(401, b"", sent), None);
            assert_eq!(bare(500, MISMATCH, sent), None);
        }
    }
}
