//! Responses of token endpoints (RFC 6749 §5), read as tolerantly as servers write them, and weir's
//! own texts for their errors.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
};
use oauth2::{AccessToken, EndpointNotSet, RefreshToken, Scope, StandardRevocableToken};
use serde::{Deserialize, Deserializer, Serialize};

use crate::credentials::token::{GrantError, Token};
use crate::secret::Secret;

/// The client of the `oauth2` crate that reads [`AccessTokenResponse`].
pub(super) type LibraryClient<TokenEndpoint = EndpointNotSet> = oauth2::Client<
    BasicErrorResponse,
    AccessTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    TokenEndpoint,
>;

/// A successful response (RFC 6749 §5.1). Unlike the `oauth2` crate's own type, it accepts a
/// missing `token_type` and an `expires_in` in quotes: there are servers that send them.
#[derive(Debug, Deserialize, Serialize)]
pub struct AccessTokenResponse {
    access_token: AccessToken,
    #[serde(default)]
    token_type: Option<TokenType>,
    #[serde(default, deserialize_with = "read_seconds")]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
}

/// `token_type`
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct TokenType(String);

impl oauth2::TokenType for TokenType {}

impl fmt::Debug for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It is a server's text, and may be a secret.
        f.write_str("TokenType")
    }
}

/// The type of a token whose response leaves it out.
static BEARER: std::sync::LazyLock<TokenType> =
    std::sync::LazyLock::new(|| TokenType("Bearer".to_owned()));

impl oauth2::TokenResponse for AccessTokenResponse {
    type TokenType = TokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &TokenType {
        self.token_type.as_ref().unwrap_or(&BEARER)
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.map(Duration::from_secs)
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl AccessTokenResponse {
    /// Returns the token in the form in which it is sent to an upstream. `is_exchanged`: the result
    /// of a token exchange may have no type (`N_A`, RFC 8693 §2.2.1), if the operator asked for
    /// such a token.
    ///
    /// # Errors
    /// The token is empty, or of a type that the `Authorization` header does not carry.
    pub fn token(&self, is_exchanged: bool) -> Result<Token, GrantError> {
        let kind = self.token_type.as_ref().map_or("", |kind| kind.0.as_str());
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        let is_usable = kind.is_empty() || is("bearer") || (is_exchanged && is("n_a"));
        if !is_usable {
            return Err(GrantError::Rejected(
                "the token endpoint gives a token of another type than Bearer".into(),
            ));
        }
        let token = self.access_token.secret();
        if token.is_empty() {
            return Err(GrantError::Rejected(
                "the token endpoint gives an empty token".into(),
            ));
        }
        // Some servers send 0 for tokens that do not expire.
        let lifetime = self.expires_in.filter(|seconds| *seconds > 0);
        let expires = match lifetime {
            Some(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds)),
            None => jwt_expiry(token),
        };
        Ok(Token {
            header: header::AUTHORIZATION,
            value: Secret::new(&format!("Bearer {token}")),
            expires,
        })
    }
}

/// Reads a number, a number in quotes, or a fraction. Anything else counts as missing: it is no
/// reason to reject a token.
fn read_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let text = match value.as_str() {
        Some(text) => text.trim().to_owned(),
        None => value.to_string(),
    };
    let whole = text.split('.').next().unwrap_or_default();
    Ok(whole.parse().ok())
}

/// Returns when a JWT expires (RFC 7519 §4.1.4), for servers that leave out `expires_in`. The
/// signature is not checked: the expiry only decides when the next token is fetched. If `exp` is in
/// the past by this machine's clock, the time from `iat` to `exp` counts from now.
#[must_use]
pub fn jwt_expiry(token: &str) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Lifetime {
        exp: f64,
        iat: Option<f64>,
    }
    let mut parts = token.split('.');
    let (_, payload) = (parts.next()?, parts.next()?);
    parts.next()?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let Lifetime { exp, iat } = serde_json::from_slice(&payload).ok()?;
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp).ok()?)?;
    let now = SystemTime::now();
    if end > now {
        return Some(end);
    }
    now.checked_add(Duration::try_from_secs_f64(exp - iat?).ok()?)
}

/// Explains an error of a token endpoint in weir's own words. Of the server's text, only codes that
/// are known are used (RFC 6749 §5.2 and §4.1.2.1, RFC 8707 §2): the rest may echo a secret.
#[must_use]
pub fn explain_error(code: Option<&str>, status: StatusCode) -> GrantError {
    let code = code.unwrap_or_default();
    let meaning = match code {
        "invalid_client" => "the client or its secret is not accepted",
        "invalid_grant" => "the grant is not accepted, or no longer",
        "unauthorized_client" => "the client may not use this grant",
        "unsupported_grant_type" => "the server does not support this grant",
        "invalid_scope" => "a scope is unknown, or not for this client",
        "invalid_request" => "the server does not accept the request",
        "invalid_target" => "the audience or resource is not accepted",
        "access_denied" => "the server denies the client a token",
        "server_error" | "temporarily_unavailable" | "slow_down" => {
            return GrantError::Temporary("the token endpoint has a temporary failure".into());
        }
        _ => {
            let status = status.as_u16();
            let reason =
                format!("the token endpoint rejects the request with HTTP status {status}");
            return GrantError::Rejected(reason.into());
        }
    };
    GrantError::Rejected(format!("the token endpoint answers {code}: {meaning}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Token, GrantError> {
        serde_json::from_str::<AccessTokenResponse>(json)
            .unwrap()
            .token(false)
    }

    /// Whether it has about so many seconds left.
    fn has_left(token: &Token, expected: Option<u64>) -> bool {
        let left = token
            .expires
            .map(|end| end.duration_since(SystemTime::now()));
        let left = left.map(|left| left.unwrap().as_secs_f64());
        match (left, expected) {
            (Some(left), Some(expected)) => (left - expected as f64).abs() < 10.0,
            (left, expected) => left.is_none() && expected.is_none(),
        }
    }

    #[test]
    fn answers_are_read_as_servers_write_them() {
        let cases = [
            (
                r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#,
                Some(3600),
            ),
            (
                r#"{"access_token":"t","token_type":"bEARER","expires_in":"3600"}"#,
                Some(3600),
            ),
            (
                r#"{"access_token":"t","expires_in":3599.9,"scope":["a"]}"#,
                Some(3599),
            ),
            (
                r#"{"access_token":"t","expires_in":null,"token_type":null}"#,
                None,
            ),
            (r#"{"access_token":"t","expires_in":0}"#, None),
            (r#"{"access_token":"t","expires_in":-5}"#, None),
            (r#"{"access_token":"t","expires_in":{}}"#, None),
        ];
        for (json, expected) in cases {
            let token = read(json).unwrap();
            assert_eq!(token.value.expose(), "Bearer t");
            assert!(has_left(&token, expected), "{json}");
        }
        assert!(read(r#"{"access_token":"t","token_type":"DPoP"}"#).is_err());
        assert!(read(r#"{"access_token":"t","token_type":"N_A"}"#).is_err());
        assert!(read(r#"{"access_token":""}"#).is_err());
        let exchanged = r#"{"access_token":"t","token_type":"N_A"}"#;
        let exchanged: AccessTokenResponse = serde_json::from_str(exchanged).unwrap();
        assert!(exchanged.token(true).is_ok());
    }

    #[test]
    fn a_jwt_says_when_it_ends_where_the_answer_does_not() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap().as_secs();
        let token = |claims: String| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let of = |claims| {
            let token = token(claims);
            let json = format!(r#"{{"access_token":"{token}"}}"#);
            read(&json).unwrap()
        };
        let good = of(format!(r#"{{"exp":{}}}"#, now + 100));
        assert!(has_left(&good, Some(100)));
        // This machine's clock is an hour ahead.
        let (iat, exp) = (now - 3600, now - 3000);
        let behind = of(format!(r#"{{"iat":{iat},"exp":{exp}}}"#));
        assert!(has_left(&behind, Some(600)));
        for claims in [
            format!(r#"{{"exp":{exp}}}"#),
            r#"{"exp":1e300}"#.to_owned(),
            "not json".to_owned(),
        ] {
            assert!(has_left(&of(claims.clone()), None), "{claims}");
        }
        assert_eq!(jwt_expiry("an opaque token"), None);
    }

    #[test]
    fn errors_are_in_words_of_weirs_own() {
        let says = |code: &str| explain_error(Some(code), StatusCode::BAD_REQUEST);
        assert!(matches!(
            says("temporarily_unavailable"),
            GrantError::Temporary(_)
        ));
        assert_eq!(
            says("invalid_scope").to_string(),
            "the token endpoint answers invalid_scope: a scope is unknown, or not for this client"
        );
        let echo = says("your secret is hunter2");
        assert_eq!(
            echo.to_string(),
            "the token endpoint rejects the request with HTTP status 400"
        );
        let debug = serde_json::from_str::<AccessTokenResponse>(
            r#"{"access_token":"hunter2","token_type":"hunter2"}"#,
        );
        assert!(!format!("{:?}", debug.unwrap()).contains("hunter2"));
    }
}
