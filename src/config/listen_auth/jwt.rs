//! `listen.auth.jwt[]`: the issuers whose tokens are accepted, and which of their tokens.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use url::Url;

/// An entry of `listen.auth.jwt`: a token of the issuer has to meet all of it. Several entries may
/// have the same issuer; then one of them is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuer {
    /// `iss` of its tokens, compared character by character.
    pub issuer: Box<str>,
    /// Where its keys come from.
    pub keys: JwksOrigin,
    /// Additional hosts that its metadata may name: `HOST` or `HOST:PORT`, lower case.
    pub allowed_hosts: Vec<String>,
    /// How long keys stay in use after they were fetched while they cannot be fetched again.
    pub keys_max_age: Duration,
    /// Which audience (`aud`) a token must have.
    pub audience: AudienceRule,
    /// The clients that a token may be issued to: the first of `client_id`, `azp`, `appid` and
    /// `cid`. Empty for any.
    pub clients: Vec<String>,
    /// The scopes of which a token needs one. Empty for none.
    pub scopes: Vec<String>,
    /// The scopes of which a token needs all.
    pub all_scopes: Vec<String>,
    /// The values that other claims must have, by their names or dotted paths.
    pub claims: IndexMap<String, ClaimRule>,
    /// How far the issuer's clock and weir's may differ.
    pub leeway: Duration,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JwksOrigin {
    /// The metadata of the issuer at its well-known places (OpenID Connect Discovery §4, RFC 8414 §3).
    Issuer(Url),
    /// Metadata at this place.
    Metadata(Url),
    /// A JWK Set at this place.
    Url(Url),
    /// A JWK Set in a file, absolute, which may be replaced while weir runs.
    File(PathBuf),
}

/// Which audience a token must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AudienceRule {
    /// `listen.auth.public_url`.
    PublicUrl,
    /// One of these.
    OneOf(Vec<String>),
    /// Any, or none. The clients are checked instead: tokens of Amazon Cognito have no `aud`.
    Any,
}

/// The value that a claim must have, with the operators of a `customJWTAuthorizer` of Amazon Bedrock AgentCore
/// (`claimMatchOperator`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimRule {
    /// The claim is this text, or a number or a truth value that is written so.
    Equals(String),
    /// The claim is a list with this text in it.
    Contains(String),
    /// The claim is a list with one of these texts in it.
    ContainsAny(Vec<String>),
}

impl std::hash::Hash for JwtIssuer {
    /// Hashes every setting. A new field does not compile until it is in it.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let Self {
            issuer,
            keys,
            allowed_hosts,
            keys_max_age,
            audience,
            clients,
            scopes,
            all_scopes,
            claims,
            leeway,
        } = self;
        (issuer, keys, allowed_hosts, keys_max_age, audience).hash(state);
        (clients, scopes, all_scopes, leeway).hash(state);
        claims.as_slice().hash(state);
    }
}

impl JwtIssuer {
    /// Returns the scopes that a token needs for this entry, for metadata and challenges.
    pub fn needed_scopes(&self) -> impl Iterator<Item = &str> {
        let all = self.scopes.iter().chain(&self.all_scopes);
        all.map(String::as_str)
    }
}
