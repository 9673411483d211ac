//! What an AWS service means when it refuses a request. Its words are looked at, never repeated: they may echo the request.

use http::HeaderMap;

/// Why a signed request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The time of the signature is too far from AWS's.
    Clock,
    /// The credentials have come to their end.
    Expired,
    /// AWS does not know the key, or not with this session token.
    UnknownKey,
    /// The signature is not the one of this request and this key.
    Mismatch,
    /// An AgentCore runtime that takes a JWT.
    OtherMethod,
    /// The upstream asks for a bearer token.
    WantsBearer,
    /// The credentials are good, but may not do this.
    Denied,
    /// Something else.
    Unknown,
}

/// What the body and `x-amzn-errortype` may say, the more telling first: an `InvalidSignatureException` says only in
/// its message that the clock is the reason.
const SIGNS: [(&str, Cause); 17] = [
    ("RequestTimeTooSkewed", Cause::Clock),
    ("Signature expired", Cause::Clock),
    ("Signature not yet current", Cause::Clock),
    ("RequestExpired", Cause::Clock),
    ("RequestInTheFuture", Cause::Clock),
    ("Authorization method mismatch", Cause::OtherMethod),
    ("ExpiredToken", Cause::Expired),
    (
        "security token included in the request is expired",
        Cause::Expired,
    ),
    ("TokenRefreshRequired", Cause::Expired),
    ("UnrecognizedClient", Cause::UnknownKey),
    ("InvalidClientTokenId", Cause::UnknownKey),
    ("InvalidAccessKeyId", Cause::UnknownKey),
    (
        "security token included in the request is invalid",
        Cause::UnknownKey,
    ),
    ("InvalidSignature", Cause::Mismatch),
    ("SignatureDoesNotMatch", Cause::Mismatch),
    ("AccessDenied", Cause::Denied),
    ("is not authorized to perform", Cause::Denied),
];

/// Most bytes of a body that are looked at.
const LOOKED_AT: usize = 16 * 1024;

/// Reads a refusal.
#[must_use]
pub fn cause(headers: &HeaderMap, body: &[u8]) -> Cause {
    let kind = headers.get("x-amzn-errortype");
    let kind = kind.map_or(&[] as &[u8], http::HeaderValue::as_bytes);
    let body = body.get(..LOOKED_AT).unwrap_or(body);
    for (sign, cause) in SIGNS {
        let sign = sign.as_bytes();
        if memchr::memmem::find(kind, sign).is_some() || memchr::memmem::find(body, sign).is_some()
        {
            return cause;
        }
    }
    let challenge = headers.get(http::header::WWW_AUTHENTICATE);
    let challenge = challenge.map_or(&[] as &[u8], http::HeaderValue::as_bytes);
    match challenge.get(..6) {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"bearer") => Cause::WantsBearer,
        // MCP servers on AgentCore Runtime say it in JSON-RPC.
        _ if memchr::memmem::find(body, b"-32002").is_some() => Cause::Denied,
        _ => Cause::Unknown,
    }
}

/// The error types that weir repeats in its own messages.
const KNOWN: [&str; 20] = [
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

/// The type of an AWS error, if it is one of those that weir knows: `com.amazon#ThrottlingException:http://…` in a
/// header, `__type` or `code` in a body.
#[must_use]
pub fn error_type(headers: &HeaderMap, body: &[u8]) -> Option<&'static str> {
    let header = headers.get("x-amzn-errortype");
    let header = header.and_then(|value| value.to_str().ok());
    let told = header.map(str::to_owned).or_else(|| {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        let told = body.get("__type").or_else(|| body.get("code"))?;
        Some(told.as_str()?.to_owned())
    })?;
    let told = told.split(':').next().unwrap_or_default();
    let told = told.rsplit('#').next().unwrap_or_default();
    KNOWN.into_iter().find(|known| *known == told)
}

/// One of the error types that weir knows, wherever in the text it is.
#[must_use]
pub(super) fn mentioned(text: &str) -> Option<&'static str> {
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    words
        .filter_map(|word| KNOWN.into_iter().find(|known| *known == word))
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: &str, body: &str) -> Cause {
        let kind = ("x-amzn-errortype".parse().unwrap(), kind.parse().unwrap());
        cause(&HeaderMap::from_iter([kind]), body.as_bytes())
    }

    #[test]
    fn a_refusal_is_read_for_what_it_means() {
        let expired = r#"{"message":"Signature expired: 20260115T120000Z is now earlier than 20260115T120500Z"}"#;
        assert_eq!(told("InvalidSignatureException", expired), Cause::Clock);
        let other = r#"{"message":"The request signature we calculated does not match"}"#;
        assert_eq!(told("InvalidSignatureException", other), Cause::Mismatch);
        let early =
            r#"{"__type":"InvalidSignatureException","message":"Signature not yet current: …"}"#;
        assert_eq!(told("", early), Cause::Clock);
        let jwt = r#"{"jsonrpc":"2.0","id":"null","error":{"code":-32002,"message":"Authorization method mismatch. The agent is configured for a different authorization method"}}"#;
        assert_eq!(told("", jwt), Cause::OtherMethod);
        assert_eq!(
            told("ExpiredTokenException:http://x/", "{}"),
            Cause::Expired
        );
        let denied = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"Authorization error - Insufficient permissions"}}"#;
        assert_eq!(told("", denied), Cause::Denied);
        assert_eq!(told("", "nothing"), Cause::Unknown);
    }

    #[test]
    fn an_upstream_that_wants_a_bearer_token_is_recognized() {
        let challenge = "Bearer resource_metadata=\"https://x\"".parse().unwrap();
        let headers = HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, challenge)]);
        assert_eq!(cause(&headers, b""), Cause::WantsBearer);
    }

    #[test]
    fn only_error_types_that_are_known_are_repeated() {
        let none = HeaderMap::new();
        let body =
            br#"{"__type":"com.amazonaws.secretsmanager#ResourceNotFoundException","Message":"x"}"#;
        assert_eq!(error_type(&none, body), Some("ResourceNotFoundException"));
        let secret = br#"{"__type":"hunter2","Message":"x"}"#;
        assert_eq!(error_type(&none, secret), None);
        assert_eq!(
            mentioned("code: AccessDenied, message: hunter2"),
            Some("AccessDenied")
        );
    }
}
