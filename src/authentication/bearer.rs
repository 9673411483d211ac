//! The credential in a request's headers (RFC 6750 §2.1).

use std::fmt;

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::Refusal;

/// The scheme of tokens and API keys, in any case (RFC 9110 §11.1).
const BEARER: &str = "bearer";
/// The query parameter that RFC 6750 §2.3 has for tokens, and that MCP forbids: URLs are logged.
const QUERY_PARAMETER: &str = "access_token";

/// A token or an API key as it was sent. It is not checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Presented<'r> {
    pub(super) text: &'r str,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented")
    }
}

/// Reads the one credential of a request. Another scheme than `Bearer` counts as none (RFC 6750
/// §3.1).
///
/// # Errors
/// There are several, it is in the query, or it has characters that no token has.
pub(super) fn read_bearer(request: &Parts) -> Result<Option<Presented<'_>>, Refusal> {
    if request.uri.query().is_some_and(has_token) {
        return Err(Refusal::malformed("a token in the query"));
    }
    let mut sent = request.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        return Err(Refusal::malformed("more than one `Authorization`"));
    }
    let Ok(text) = value.to_str() else {
        return Err(Refusal::malformed("`Authorization` is not ASCII"));
    };
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return Ok(None);
    }
    let token = rest.trim_matches(' ');
    if token.is_empty() || !token.bytes().all(is_legal) {
        return Err(Refusal::malformed(
            "the token is empty or has characters that none has",
        ));
    }
    Ok(Some(Presented { text: token }))
}

/// Returns whether a character may be in a token: `b64token` (RFC 6750 §2.1).
fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// Returns whether a query has a token, in any spelling of its name that decodes to it.
fn has_token(query: &str) -> bool {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.any(|(name, _)| name.eq_ignore_ascii_case(QUERY_PARAMETER))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, values: &[&str]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for value in values {
            request = request.header("authorization", *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn exactly_one_bearer_token_is_read() {
        type Expected = Result<Option<&'static str>, ()>;
        let table: [(&[&str], Expected); 13] = [
            (&[], Ok(None)),
            (&["Bearer abc"], Ok(Some("abc"))),
            (&["bEARER  a.b-c_~+/=="], Ok(Some("a.b-c_~+/=="))),
            (&["Basic abc"], Ok(None)),
            (&["Bearerabc"], Ok(None)),
            (&["Bearer"], Err(())),
            (&["Bearer "], Err(())),
            (&["Bearer a b"], Err(())),
            (&["Bearer a,b"], Err(())),
            (&["Bearer a, Bearer b"], Err(())),
            (&["Bearer \u{e9}"], Err(())),
            (&["Bearer a", "Bearer a"], Err(())),
            (&["Basic a", "Bearer a"], Err(())),
        ];
        for (sent, expected) in table {
            let request = parts("/mcp", sent);
            let read = read_bearer(&request);
            let read = read.map(|one| one.map(|one| one.text)).map_err(|_| ());
            assert_eq!(read, expected, "{sent:?}");
        }
    }

    #[test]
    fn a_token_in_the_query_is_refused_and_not_told() {
        for query in [
            "access_token=secret",
            "a=b&Access_Token=secret",
            "%61ccess_token=secret",
        ] {
            let request = parts(&format!("/mcp?{query}"), &[]);
            let refusal = read_bearer(&request).unwrap_err();
            assert!(!format!("{refusal:?}").contains("secret"));
            assert_eq!(refusal.kind.status(), http::StatusCode::BAD_REQUEST);
        }
        assert!(read_bearer(&parts("/mcp?a=access_token", &[])).is_ok());
    }
}
