//! What token endpoints answer (RFC 6749 §5), read as tolerantly as servers write it, and weir's words for their errors.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use oauth2::{AccessToken, RefreshToken, Scope};
use serde::{Deserialize, Deserializer, Serialize};

use crate::credentials::token::{GrantError, Token};
use crate::secret::Secret;

/// A successful answer. Where the `oauth2` crate's own wants `token_type` and a number in `expires_in`, servers leave out
/// the one and put the other into quotes.
#[derive(Debug, Deserialize, Serialize)]
pub struct Answer {
    access_token: AccessToken,
    #[serde(default)]
    token_type: Option<TokenType>,
    #[serde(default, deserialize_with = "seconds")]
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
        f.write_str("TokenType") // a server's text
    }
}

/// What an answer has that leaves it out.
static BEARER: std::sync::LazyLock<TokenType> =
    std::sync::LazyLock::new(|| TokenType("Bearer".to_owned()));

impl oauth2::TokenResponse for Answer {
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

impl Answer {
    /// The token, as it is sent to an upstream. `exchanged`: what came of a token exchange may be a token of no type
    /// (`N_A`, RFC 8693 §2.2.1), which is what the operator asked for then.
    ///
    /// # Errors
    /// It is none that a header carries.
    pub fn token(&self, exchanged: bool) -> Result<Token, GrantError> {
        let kind = self.token_type.as_ref().map_or("", |kind| kind.0.as_str());
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        let is_taken = kind.is_empty() || is("bearer") || (exchanged && is("n_a"));
        if !is_taken {
            return Err(GrantError::Refused(
                "the token endpoint gives a token of another type than Bearer".into(),
            ));
        }
        let token = self.access_token.secret();
        if token.is_empty() {
            return Err(GrantError::Refused(
                "the token endpoint gives an empty token".into(),
            ));
        }
        // 0 is what some servers say of tokens that do not end.
        let life = self.expires_in.filter(|seconds| *seconds > 0);
        let expires = match life {
            Some(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds)),
            None => jwt_end(token),
        };
        Ok(Token {
            header: header::AUTHORIZATION,
            value: Secret::new(&format!("Bearer {token}")),
            expires,
        })
    }
}

/// A number, a number in quotes, a fraction; nothing else is worth losing a token for.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let text = match value.as_str() {
        Some(text) => text.trim().to_owned(),
        None => value.to_string(),
    };
    let whole = text.split('.').next().unwrap_or_default();
    Ok(whole.parse().ok())
}

/// When a token ends that is a JWT (RFC 7519 §4.1.4), for servers that leave out `expires_in`. Not verified: it is only
/// about when the next one is fetched. Where `exp` is past by this machine's clock, the span from `iat` counts.
#[must_use]
pub fn jwt_end(token: &str) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
        iat: Option<f64>,
    }
    let mut parts = token.split('.');
    let (_, payload) = (parts.next()?, parts.next()?);
    parts.next()?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let Claims { exp, iat } = serde_json::from_slice(&payload).ok()?;
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp).ok()?)?;
    let now = SystemTime::now();
    if end > now {
        return Some(end);
    }
    now.checked_add(Duration::try_from_secs_f64(exp - iat?).ok()?)
}

/// Weir's words for an error of a token endpoint, and whether another try makes sense. What the server wrote beside a
/// code that is known (RFC 6749 §5.2, RFC 8707 §2, RFC 6749 §4.1.2.1) is not looked at: it may echo a secret.
#[must_use]
pub fn refusal(code: Option<&str>, status: StatusCode) -> GrantError {
    let meaning = match code.unwrap_or_default() {
        "invalid_client" => "the client or its secret is not accepted",
        "invalid_grant" => "the grant is not accepted, or not any more",
        "unauthorized_client" => "the client may not use this grant",
        "unsupported_grant_type" => "the server does not know this grant",
        "invalid_scope" => "a scope is unknown, or not for this client",
        "invalid_request" => "the server does not take the request",
        "invalid_target" => "the audience or resource is not accepted",
        "access_denied" => "the server denies the client a token",
        "server_error" | "temporarily_unavailable" | "slow_down" => {
            return GrantError::Passing("the token endpoint is unwell".into());
        }
        _ => {
            let status = status.as_u16();
            let words = format!("the token endpoint refuses with HTTP status {status}");
            return GrantError::Refused(words.into());
        }
    };
    let code = code.unwrap_or_default();
    GrantError::Refused(format!("the token endpoint says {code}: {meaning}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Result<Token, GrantError> {
        serde_json::from_str::<Answer>(json).unwrap().token(false)
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
            let token = answer(json).unwrap();
            assert_eq!(token.value.expose(), "Bearer t");
            assert!(has_left(&token, expected), "{json}");
        }
        assert!(answer(r#"{"access_token":"t","token_type":"DPoP"}"#).is_err());
        assert!(answer(r#"{"access_token":"t","token_type":"N_A"}"#).is_err());
        assert!(answer(r#"{"access_token":""}"#).is_err());
        let exchanged = r#"{"access_token":"t","token_type":"N_A"}"#;
        let exchanged: Answer = serde_json::from_str(exchanged).unwrap();
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
            answer(&json).unwrap()
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
        assert_eq!(jwt_end("an opaque token"), None);
    }

    #[test]
    fn errors_are_in_words_of_weirs_own() {
        let says = |code: &str| refusal(Some(code), StatusCode::BAD_REQUEST);
        assert!(matches!(
            says("temporarily_unavailable"),
            GrantError::Passing(_)
        ));
        assert_eq!(
            says("invalid_scope").to_string(),
            "the token endpoint says invalid_scope: a scope is unknown, or not for this client"
        );
        let echo = says("your secret is hunter2");
        assert_eq!(
            echo.to_string(),
            "the token endpoint refuses with HTTP status 400"
        );
        let debug =
            serde_json::from_str::<Answer>(r#"{"access_token":"hunter2","token_type":"hunter2"}"#);
        assert!(!format!("{:?}", debug.unwrap()).contains("hunter2"));
    }
}
