//! The signature itself: `aws-sigv4` with the settings that services other than S3 expect.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    self, PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody,
    SignableRequest, SignatureLocation, SigningSettings, UriPathNormalizationMode,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tracing::dispatcher::{self, Dispatch};
use url::Url;

/// Headers that are not signed, because what stands between weir and AWS may change them. The list is botocore's
/// (`SIGNED_HEADERS_BLACKLIST`); that of `aws-sigv4` has only four of them, and a load balancer that writes its own
/// `traceparent` would break the signature.
const UNSIGNED: [&str; 15] = [
    "authorization",
    "baggage",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

static SETTINGS: LazyLock<SigningSettings> = LazyLock::new(|| {
    let mut settings = SigningSettings::default();
    // Spelt out though they are the defaults: each of the others gives a signature that AWS refuses, and `Single`
    // would show only where the path has an ARN in it.
    settings.percent_encoding_mode = PercentEncodingMode::Double;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Enabled;
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    settings.signature_location = SignatureLocation::Headers;
    settings.session_token_mode = SessionTokenMode::Include;
    settings.excluded_headers = Some(UNSIGNED.iter().copied().map(Cow::Borrowed).collect());
    settings
});

/// `x-amz-date`
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// `x-amz-security-token`
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What a signature is made for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'s> {
    /// Who signs.
    pub identity: &'s Identity,
    /// Such as `us-east-1`.
    pub region: &'s str,
    /// The signing name, such as `bedrock-agentcore`.
    pub service: &'s str,
    /// When.
    pub time: SystemTime,
}

/// The request cannot be signed as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A header that is not text.
    #[error("a header of the request is not UTF-8")]
    Header,
    /// The library refuses it.
    #[error("the request cannot be signed")]
    Request,
}

/// Puts the signature on. `url` has to be the URL as it is sent, `body` the body as it is sent, and nothing but
/// unsigned headers may come or go afterwards. What logged in before is taken off.
///
/// # Errors
/// The request has something that no signature covers.
pub fn sign(
    scope: &Scope<'_>,
    method: &Method,
    url: &Url,
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), SignError> {
    for name in [header::AUTHORIZATION, DATE, TOKEN] {
        headers.remove(name);
    }
    let mut texts = Vec::with_capacity(headers.len());
    for (name, value) in &*headers {
        let value = std::str::from_utf8(value.as_bytes()).map_err(|_| SignError::Header)?;
        texts.push((name.as_str(), value));
    }
    let texts = texts.into_iter();
    let body = SignableBody::Bytes(body);
    let request = SignableRequest::new(method.as_str(), url.as_str(), texts, body);
    let request = request.map_err(|_| SignError::Request)?;
    let params = v4::SigningParams::builder()
        .identity(scope.identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.time)
        .settings(SETTINGS.clone())
        .build();
    let params = params.map_err(|_| SignError::Request)?.into();
    // At trace level the library writes down the canonical request, session token and all.
    let signed =
        dispatcher::with_default(&Dispatch::none(), || http_request::sign(request, &params));
    let signed = signed.map_err(|_| SignError::Request)?;
    let (signed, _) = signed.into_parts();
    for header in signed.into_parts().0 {
        let mut value = HeaderValue::from_str(header.value()).map_err(|_| SignError::Request)?;
        value.set_sensitive(header.name() != DATE.as_str());
        headers.insert(HeaderName::from_static(header.name()), value);
    }
    Ok(())
}
