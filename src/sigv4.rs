//! Verifies AWS Signature Version 4: computes the signature again from the bytes that arrived.
//!
//! It shares no code with the signer (`credentials::aws`) on purpose: canonical form and key
//! derivation are written here from the description of the algorithm, so that signer and verifier
//! agree only if both are right.
//! Source: "Create a signed AWS API request", AWS Identity and Access Management user guide.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::hex;

use http::{HeaderMap, StatusCode};
use ring::{digest, hmac};

/// How far the clocks of both ends may differ.
pub const WINDOW: Duration = Duration::from_secs(300);

/// Verifier of requests that are signed with one key for one region and service.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// `AKIA…`
    pub access_key_id: String,
    /// The key that only client and server know.
    pub secret_access_key: String,
    /// The expected `x-amz-security-token`; with `None`, a request must not have one.
    pub session_token: Option<String>,
    /// The region in the credential scope.
    pub region: String,
    /// The service in the credential scope.
    pub service: String,
}

/// Request as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedRequest<'r> {
    /// `POST`
    pub method: &'r str,
    /// Path and query, with every `%` escape as it arrived.
    pub target: &'r str,
    /// Its headers, `host` among them.
    pub headers: &'r HeaderMap,
    /// Its body.
    pub body: &'r [u8],
}

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("Missing Authentication Token")]
    Missing,
    /// The `authorization` header, or the date, is not what the algorithm prescribes.
    #[error("Authorization header is incomplete.")]
    Malformed,
    /// Signed with a key that is not known here.
    #[error("The security token included in the request is invalid.")]
    Key,
    /// Not the session token that belongs to the key.
    #[error("The security token included in the request is expired")]
    Token,
    /// Signed for another day, region or service.
    #[error("Credential should be scoped to a valid region and service.")]
    Scope,
    /// Signed too long ago.
    #[error("Signature expired: the request was signed too long ago")]
    Expired,
    /// Signed for later.
    #[error("Signature not yet current: the request was signed for later")]
    NotYet,
    /// A header that has to be signed is not.
    #[error("'Host' or an 'X-Amz-' header must be a 'SignedHeader' in the AWS Authorization.")]
    Unsigned,
    /// Another request than this one was signed, or another key was used.
    #[error("The request signature we calculated does not match the signature you provided.")]
    Mismatch,
}

impl SignatureError {
    /// Returns AWS's name for it, for `x-amzn-errortype`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Malformed => "IncompleteSignatureException",
            Self::Key => "UnrecognizedClientException",
            Self::Token => "ExpiredTokenException",
            Self::Scope | Self::Expired | Self::NotYet | Self::Unsigned | Self::Mismatch => {
                "InvalidSignatureException"
            }
        }
    }

    /// Returns the HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        StatusCode::FORBIDDEN
    }

    /// Returns the body of the answer.
    #[must_use]
    pub fn body(self) -> String {
        format!(r#"{{"message":"{self}"}}"#)
    }
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`
struct Authorization<'r> {
    key: &'r str,
    day: &'r str,
    region: &'r str,
    service: &'r str,
    signed: &'r str,
    signature: &'r str,
}

impl<'r> Authorization<'r> {
    fn of(headers: &'r HeaderMap) -> Result<Self, SignatureError> {
        let header = headers
            .get("authorization")
            .ok_or(SignatureError::Missing)?;
        let text = header.to_str().map_err(|_| SignatureError::Malformed)?;
        Self::parse(text).ok_or(SignatureError::Malformed)
    }

    fn parse(text: &'r str) -> Option<Self> {
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for part in text.strip_prefix("AWS4-HMAC-SHA256 ")?.split(',') {
            match part.trim().split_once('=')? {
                ("Credential", value) => credential = Some(value),
                ("SignedHeaders", value) => signed = Some(value),
                ("Signature", value) => signature = Some(value),
                _ => return None,
            }
        }
        let mut scope = credential?.split('/');
        let authorization = Self {
            key: scope.next()?,
            day: scope.next()?,
            region: scope.next()?,
            service: scope.next()?,
            signed: signed?,
            signature: signature?,
        };
        (scope.eq(["aws4_request"])).then_some(authorization)
    }
}

impl Verifier {
    /// Verifies that exactly this request was signed with the key, and at about `now`.
    ///
    /// # Errors
    /// It was not.
    pub fn verify(
        &self,
        request: &ReceivedRequest<'_>,
        now: SystemTime,
    ) -> Result<(), SignatureError> {
        let authorization = Authorization::of(request.headers)?;
        if authorization.key != self.access_key_id {
            return Err(SignatureError::Key);
        }
        let token = request.headers.get("x-amz-security-token");
        if token.map(http::HeaderValue::as_bytes)
            != self.session_token.as_deref().map(str::as_bytes)
        {
            return Err(SignatureError::Token);
        }
        let date = request.headers.get("x-amz-date");
        let date = date.and_then(|date| date.to_str().ok());
        let date = date.ok_or(SignatureError::Malformed)?;
        if authorization.region != self.region
            || authorization.service != self.service
            || !date.starts_with(authorization.day)
        {
            return Err(SignatureError::Scope);
        }
        let signed_at = seconds(date).ok_or(SignatureError::Malformed)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if signed_at + WINDOW.as_secs() < now {
            return Err(SignatureError::Expired);
        }
        if now + WINDOW.as_secs() < signed_at {
            return Err(SignatureError::NotYet);
        }
        let names: Vec<&str> = authorization.signed.split(';').collect();
        let needed = |name: &str| name == "host" || name.starts_with("x-amz-");
        let arrived = request.headers.keys().map(http::HeaderName::as_str);
        if !names.contains(&"host") || !arrived.filter(|n| needed(n)).all(|n| names.contains(&n)) {
            return Err(SignatureError::Unsigned);
        }
        let canonical = canonical(request, &names);
        let hashed = hex::text(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let scope = format!(
            "{}/{}/{}/aws4_request",
            authorization.day, self.region, self.service
        );
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
        match hex::text(&self.tag(authorization.day, &text)) == authorization.signature {
            true => Ok(()),
            false => Err(SignatureError::Mismatch),
        }
    }

    fn tag(&self, day: &str, text: &str) -> Vec<u8> {
        let mut key = format!("AWS4{}", self.secret_access_key).into_bytes();
        for part in [day, &self.region, &self.service, "aws4_request", text] {
            let hashed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
            key = hashed.as_ref().to_vec();
        }
        key
    }
}

/// Returns the canonical request: one text for all ways to write the same request.
fn canonical(request: &ReceivedRequest<'_>, names: &[&str]) -> String {
    let (path, query) = match request.target.split_once('?') {
        Some((path, query)) => (path, query),
        None => (request.target, ""),
    };
    let mut headers = String::new();
    for name in names {
        let values = request.headers.get_all(*name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let values = values.map(|v| v.split_whitespace().collect::<Vec<_>>().join(" "));
        let values: Vec<String> = values.collect();
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let body = hex::text(digest::digest(&digest::SHA256, request.body).as_ref());
    format!(
        "{}\n{}\n{}\n{headers}\n{}\n{body}",
        request.method,
        // Every service but S3 encodes what is encoded on the wire once more.
        encoded(path.as_bytes(), true),
        canonical_query(query),
        names.join(";"),
    )
}

fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| {
            let again = |text: &str| encoded(&decoded(text), false);
            (again(name), again(value))
        })
        .collect();
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

fn encoded(bytes: &[u8], is_path: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte));
            }
            b'/' if is_path => text.push('/'),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, ..] => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok()),
            _ => None,
        };
        bytes.push(escape.unwrap_or(*first));
        rest = match escape {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    bytes
}

/// Returns the seconds since 1970 of a time like `20260115T120000Z`.
fn seconds(date: &str) -> Option<u64> {
    let (day, time) = date.strip_suffix('Z')?.split_once('T')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if day.len() != 8 || time.len() != 6 || !digits(day) || !digits(time) {
        return None;
    }
    let number = |text: &str, from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month) = (number(day, 0, 4)?, number(day, 4, 6)?);
    // Days since 1970 in closed form. A year begins in March here, so that a leap day is its last.
    let (shifted, march) = match month {
        1 | 2 => (year.checked_sub(1)?, month + 9),
        _ => (year, month.checked_sub(3)?),
    };
    let before = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400;
    let days = (before + (153 * march + 2) / 5 + number(day, 6, 8)?).checked_sub(719_469)?;
    let clock = number(time, 0, 2)? * 3600 + number(time, 2, 4)? * 60 + number(time, 4, 6)?;
    Some(days * 86_400 + clock)
}
