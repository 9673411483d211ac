//! AWS Signature Version 4 with `aws-sigv4`, in the settings that services other than S3 expect
//! (IAM user guide, "Create a signed AWS API request").

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

use crate::credentials::rejection::CredentialVersion;

/// Headers that are not signed, because a proxy between weir and AWS may change them. The list is
/// botocore's (`SIGNED_HEADERS_BLACKLIST`), and `accept-encoding`. The list of `aws-sigv4` has only
/// four of them: with it, a load balancer that writes its own `traceparent` would break the
/// signature.
const UNSIGNED: [&str; 16] = [
    "accept-encoding",
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
    // These are the defaults, written out because AWS rejects signatures with any others. With
    // `Single` that would show only in paths that contain an ARN.
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

/// The values that a signature depends on besides the request.
#[derive(Clone, Copy, Debug)]
pub struct SigningContext<'s> {
    /// The AWS credentials that sign.
    pub identity: &'s Identity,
    /// The region, such as `us-east-1`.
    pub region: &'s str,
    /// The signing name of the service, such as `bedrock-agentcore`.
    pub service: &'s str,
    /// The time of the signature.
    pub time: SystemTime,
}

/// Identifies the credentials and the clock that a request was signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SigningVersion {
    /// The number of the credentials.
    pub(super) credentials: u32,
    /// The number of the clock's correction.
    pub(super) correction: u32,
}

impl From<SigningVersion> for CredentialVersion {
    fn from(version: SigningVersion) -> Self {
        Self(u64::from(version.credentials) << 32 | u64::from(version.correction))
    }
}

impl From<CredentialVersion> for SigningVersion {
    fn from(CredentialVersion(packed): CredentialVersion) -> Self {
        let [a, b, c, d, e, f, g, h] = packed.to_be_bytes();
        Self {
            credentials: u32::from_be_bytes([a, b, c, d]),
            correction: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

/// The reason why a request cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A header that is not UTF-8 text.
    #[error("a header of the request is not UTF-8")]
    Header,
    /// The library rejects the request.
    #[error("the request cannot be signed")]
    Request,
}

/// Adds the signature to `headers`, in place of one that is there already. `url` and `body` have to
/// be what is sent, byte for byte, and no header but those that are not signed may be added or
/// removed afterwards.
///
/// # Errors
/// The request cannot be signed.
pub fn sign(
    context: &SigningContext<'_>,
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
        .identity(context.identity)
        .region(context.region)
        .name(context.service)
        .time(context.time)
        .settings(SETTINGS.clone())
        .build();
    let params = params.map_err(|_| SignError::Request)?.into();
    // At trace level the library logs the canonical request, including the session token.
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
