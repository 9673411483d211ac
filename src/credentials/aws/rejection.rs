//! Reads why an AWS service rejected a request. Its texts are searched but never repeated: they may
//! echo the request.

use http::{HeaderMap, HeaderValue};

/// The reason why a signed request was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionCause {
    /// The time of the signature differs too much from AWS's time.
    Clock,
    /// The credentials have expired.
    Expired,
    /// AWS does not know the access key, or not with this session token.
    UnknownKey,
    /// The signature is not that of this request and this key.
    Mismatch,
    /// The upstream is an AgentCore runtime that takes JWTs.
    OtherMethod,
    /// The upstream asks for a bearer token.
    WantsBearer,
    /// The credentials are valid, but have no permission for this.
    Denied,
    /// Anything else.
    Unknown,
}

/// Texts in the body or in `x-amzn-errortype`, the more specific ones first: only the message of an
/// `InvalidSignatureException` tells that the clock is the reason.
const MARKERS: [(&str, RejectionCause); 17] = [
    ("RequestTimeTooSkewed", RejectionCause::Clock),
    ("Signature expired", RejectionCause::Clock),
    ("Signature not yet current", RejectionCause::Clock),
    ("RequestExpired", RejectionCause::Clock),
    ("RequestInTheFuture", RejectionCause::Clock),
    ("Authorization method mismatch", RejectionCause::OtherMethod),
    ("ExpiredToken", RejectionCause::Expired),
    (
        "security token included in the request is expired",
        RejectionCause::Expired,
    ),
    ("TokenRefreshRequired", RejectionCause::Expired),
    ("UnrecognizedClient", RejectionCause::UnknownKey),
    ("InvalidClientTokenId", RejectionCause::UnknownKey),
    ("InvalidAccessKeyId", RejectionCause::UnknownKey),
    (
        "security token included in the request is invalid",
        RejectionCause::UnknownKey,
    ),
    ("InvalidSignature", RejectionCause::Mismatch),
    ("SignatureDoesNotMatch", RejectionCause::Mismatch),
    ("AccessDenied", RejectionCause::Denied),
    ("is not authorized to perform", RejectionCause::Denied),
];

/// Most bytes of a body that are searched.
const SEARCHED: usize = 16 * 1024;

/// Reads the cause of a rejection from an answer.
#[must_use]
pub fn classify(headers: &HeaderMap, body: &[u8]) -> RejectionCause {
    let kind = headers.get("x-amzn-errortype");
    let kind = kind.map_or(&[] as &[u8], HeaderValue::as_bytes);
    let body = body.get(..SEARCHED).unwrap_or(body);
    for (marker, cause) in MARKERS {
        let marker = marker.as_bytes();
        if memchr::memmem::find(kind, marker).is_some()
            || memchr::memmem::find(body, marker).is_some()
        {
            return cause;
        }
    }
    let challenge = headers.get(http::header::WWW_AUTHENTICATE);
    let challenge = challenge.map_or(&[] as &[u8], HeaderValue::as_bytes);
    match challenge.get(..6) {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"bearer") => RejectionCause::WantsBearer,
        // The code with which MCP servers on AgentCore Runtime deny access.
        _ if memchr::memmem::find(body, b"-32002").is_some() => RejectionCause::Denied,
        _ => RejectionCause::Unknown,
    }
}

/// The error types that weir repeats in its own texts.
const KNOWN_TYPES: [&str; 20] = [
    "AccessDenied",
    "AccessDeniedException",
    "ConflictException",
    "DecryptionFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalServerError",
    "InternalServerException",
    "InvalidClientTokenId",
    "InvalidParameterException",
    "InvalidRequestException",
    "InvalidSignatureException",
    "RegionDisabledException",
    "ResourceNotFoundException",
    "ServiceQuotaExceededException",
    "SignatureDoesNotMatch",
    "ThrottlingException",
    "UnauthorizedException",
    "UnrecognizedClientException",
    "ValidationException",
];

/// Returns the type of an AWS error if weir knows it: `com.amazon#ThrottlingException:http://…` in
/// the header `x-amzn-errortype`, or `__type` or `code` in the body.
#[must_use]
pub fn read_error_type(headers: &HeaderMap, body: &[u8]) -> Option<&'static str> {
    let header = headers.get("x-amzn-errortype");
    let header = header.and_then(|value| value.to_str().ok());
    let written = header.map(str::to_owned).or_else(|| {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        let member = body.get("__type").or_else(|| body.get("code"))?;
        Some(member.as_str()?.to_owned())
    })?;
    let written = written.split(':').next().unwrap_or_default();
    let written = written.rsplit('#').next().unwrap_or_default();
    KNOWN_TYPES.into_iter().find(|known| *known == written)
}

/// Finds the first error type that weir knows anywhere in a text.
#[must_use]
pub(super) fn find_error_type(text: &str) -> Option<&'static str> {
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    words
        .filter_map(|word| KNOWN_TYPES.into_iter().find(|known| *known == word))
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(kind: &str, body: &str) -> RejectionCause {
        let kind = ("x-amzn-errortype".parse().unwrap(), kind.parse().unwrap());
        classify(&HeaderMap::from_iter([kind]), body.as_bytes())
    }

    #[test]
    fn a_refusal_is_read_for_what_it_means() {
        let expired = r#"{"message":"Signature expired: 20260115T120000Z is now earlier than 20260115T120500Z"}"#;
        assert_eq!(
            classified("InvalidSignatureException", expired),
            RejectionCause::Clock
        );
        let other = r#"{"message":"The request signature we calculated does not match"}"#;
        assert_eq!(
            classified("InvalidSignatureException", other),
            RejectionCause::Mismatch
        );
        let early =
            r#"{"__type":"InvalidSignatureException","message":"Signature not yet current: …"}"#;
        assert_eq!(classified("", early), RejectionCause::Clock);
        let jwt = r#"{"jsonrpc":"2.0","id":"null","error":{"code":-32002,"message":"Authorization method mismatch. The agent is configured for a different authorization method"}}"#;
        assert_eq!(classified("", jwt), RejectionCause::OtherMethod);
        assert_eq!(
            classified("ExpiredTokenException:http://x/", "{}"),
            RejectionCause::Expired
        );
        let denied = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"Authorization error - Insufficient permissions"}}"#;
        assert_eq!(classified("", denied), RejectionCause::Denied);
        assert_eq!(classified("", "nothing"), RejectionCause::Unknown);
    }

    #[test]
    fn an_upstream_that_wants_a_bearer_token_is_recognized() {
        let challenge = "Bearer resource_metadata=\"https://x\"".parse().unwrap();
        let headers = HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, challenge)]);
        assert_eq!(classify(&headers, b""), RejectionCause::WantsBearer);
    }

    #[test]
    fn only_error_types_that_are_known_are_repeated() {
        let none = HeaderMap::new();
        let body =
            br#"{"__type":"com.amazonaws.secretsmanager#ResourceNotFoundException","Message":"x"}"#;
        assert_eq!(
            read_error_type(&none, body),
            Some("ResourceNotFoundException")
        );
        let secret = br#"{"__type":"hunter2","Message":"x"}"#;
        assert_eq!(read_error_type(&none, secret), None);
        assert_eq!(
            find_error_type("code: AccessDenied, message: hunter2"),
            Some("AccessDenied")
        );
    }
}
