//! A JSON Web Token as it arrived: its parts, its header and its claims, nothing of it verified.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::keys::parse_algorithm;
use crate::authentication::refusal::Refusal;

/// The longest token that is read. HTTP servers take headers of 8 to 32 KiB; a token with 200 groups
/// has about 10 KiB.
const MAX_TOKEN: usize = 16 * 1024;

const MALFORMED: &str = "the token is not a JSON Web Token that can be read";
const ALGORITHM: &str = "the algorithm of the token is not accepted";
const KIND: &str = "the token is not an access token";

/// A token whose signature is yet to be verified.
#[derive(Debug)]
pub(super) struct UnverifiedToken<'t> {
    /// The header and the payload, as they were signed.
    pub(super) signed: &'t str,
    /// The signature, in base64url.
    pub(super) signature: &'t str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: ClaimSet,
}

/// The claims of a token, in order. No name occurs twice (RFC 7519 §4): two parsers could read such
/// a token differently.
#[derive(Debug)]
pub(super) struct ClaimSet(pub(super) Map<String, Value>);

/// Refuses a token that is too long to be read.
///
/// # Errors
/// It is.
pub(super) fn check_length(token: &str) -> Result<(), Refusal> {
    if token.len() <= MAX_TOKEN {
        return Ok(());
    }
    let reason = format!("the token has {} bytes, more than {MAX_TOKEN}", token.len());
    Err(Refusal::invalid_token(MALFORMED, reason))
}

impl<'t> UnverifiedToken<'t> {
    /// Takes a token apart. The work is linear in its length.
    ///
    /// # Errors
    /// It is malformed, of an algorithm that is not accepted, or no access token.
    pub(super) fn parse(token: &'t str) -> Result<Self, Refusal> {
        let malformed = |reason: &str| Refusal::invalid_token(MALFORMED, reason);
        let parts = (token.rsplit_once('.'))
            .and_then(|(signed, signature)| Some((signed, signed.split_once('.')?, signature)));
        let Some((signed, (header, payload), signature)) = parts else {
            return Err(malformed("it is not three parts with dots between them"));
        };
        if payload.contains('.') {
            let reason = "it has more than three parts: an encrypted token has five";
            return Err(malformed(reason));
        }
        let header = decode_object(header)
            .ok_or_else(|| malformed("its header is not a JSON object in base64url"))?;
        let (algorithm, key_id) = check_header(&header)?;
        let claims = decode_object(payload).ok_or_else(|| {
            malformed("its payload is not a JSON object in base64url, or has a claim twice")
        })?;
        check_kind(&claims)?;
        Ok(Self {
            signed,
            signature,
            algorithm,
            key_id,
            claims,
        })
    }
}

fn decode_object(part: &str) -> Option<ClaimSet> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Checks the header (RFC 7515 §4). `jku`, `jwk`, `x5u` and `x5c`, with which a token would bring its
/// own key, are not read.
fn check_header(header: &ClaimSet) -> Result<(Algorithm, Option<String>), Refusal> {
    let text = |name: &str| match header.0.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => {
            let reason = format!("`{name}` of its header is not text");
            Err(Refusal::invalid_token(MALFORMED, reason))
        }
    };
    let written = text("alg")?.unwrap_or_default();
    let Some(algorithm) = parse_algorithm(written) else {
        let reason = format!(
            "its algorithm is `{}`; accepted are RS256 to RS512, PS256 to PS512, ES256, ES384 and EdDSA",
            excerpt(written)
        );
        return Err(Refusal::invalid_token(ALGORITHM, reason));
    };
    if header.0.contains_key("crit") {
        let reason = "its header has `crit`: weir knows no extension (RFC 7515 §4.1.11)";
        return Err(Refusal::invalid_token(MALFORMED, reason));
    }
    if let Some(kind) = text("typ")?
        && !is_access_token(kind)
    {
        let reason = format!(
            "`typ` of its header is `{}`, and not `at+jwt` or `JWT`",
            excerpt(kind)
        );
        return Err(Refusal::invalid_token(KIND, reason));
    }
    Ok((algorithm, text("kid")?.map(str::to_owned)))
}

/// Returns whether `typ` of a header fits an access token (RFC 9068 §2.1; RFC 7515 §4.1.9: case does
/// not count, and `application/` may be left out).
fn is_access_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    matches!(kind, "jwt" | "at+jwt")
}

/// Refuses tokens of other kinds where their claims say so. An ID token is for the client that it was
/// issued to, not for a server.
fn check_kind(claims: &ClaimSet) -> Result<(), Refusal> {
    let text = |name: &str| claims.0.get(name).and_then(Value::as_str);
    let reason = match (text("token_use"), text("typ")) {
        // Amazon Cognito, "Understanding user pool JSON web tokens".
        (Some(usage), _) if usage != "access" => {
            format!("`token_use` is `{}`, and not `access`", excerpt(usage))
        }
        // Keycloak.
        (_, Some(kind @ ("ID" | "Refresh" | "Offline" | "Logout"))) => {
            format!("`typ` of its claims is `{kind}`, and not `Bearer`")
        }
        // OpenID Connect Core §3.1.3.6 and §3.3.2.11: members of ID tokens only.
        _ if claims.0.contains_key("at_hash") || claims.0.contains_key("c_hash") => {
            "it is an ID token: it has `at_hash` or `c_hash`".to_owned()
        }
        // OpenID Connect Back-Channel Logout §2.4, security event tokens (RFC 8417).
        _ if claims.0.contains_key("events") => {
            "it has `events`: it is a logout token or another security event".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Refusal::invalid_token(KIND, reason))
}

impl<'de> Deserialize<'de> for ClaimSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(UniqueMembers)
    }
}

/// Reads the members of an object, and refuses one that occurs twice.
struct UniqueMembers;

impl<'de> Visitor<'de> for UniqueMembers {
    type Value = ClaimSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without duplicate members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<ClaimSet, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = from.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(ClaimSet(members))
    }
}

/// Returns the beginning of a text of a token, for operators.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 120;
    let mut shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    crate::printable::line(&shown).into_owned()
}
