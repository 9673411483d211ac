//! `listen.auth.jwt[]`

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::raw::forms::{Duration, ScalarText};

/// An issuer of JSON Web Tokens, and which of its tokens are accepted. A token has to meet all that
/// is written. Several entries may have the same issuer: then one of them is enough. In all text,
/// `${VAR}` is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct JwtIssuer {
    /// The issuer, exactly as its tokens have it (`iss`). Its keys are found by its metadata (OpenID
    /// Connect Discovery, RFC 8414), unless `discovery_url` or `jwks` says where they are. May be
    /// left out with a `discovery_url` from which it follows.
    pub(in crate::config) issuer: Option<String>,
    /// The URL of the issuer's metadata.
    pub(in crate::config) discovery_url: Option<String>,
    /// The keys of the issuer, if it has no metadata.
    pub(in crate::config) jwks: Option<Jwks>,
    /// Additional hosts that the metadata of the issuer may refer to: needed for hosts that are
    /// nearer to weir than the issuer.
    pub(in crate::config) allowed_hosts: Option<Vec<String>>,
    /// How long keys stay in use after they were last fetched, while the issuer cannot be reached.
    /// Default: 24h.
    pub(in crate::config) keys_max_age: Option<Duration>,
    /// The audiences (`aud`) of which a token needs one. Default: `public_url`; with `clients`, any
    /// audience or none.
    pub(in crate::config) audiences: Option<Vec<String>>,
    /// The clients that a token may be issued to: the first of `client_id`, `azp`, `appid` and `cid`
    /// that it has. Default: any.
    pub(in crate::config) clients: Option<Vec<String>>,
    /// The scopes (`scope` or `scp`) of which a token needs one. Clients are told to ask for the
    /// first. Default: none is needed.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// The scopes of which a token needs all. Default: none is needed.
    pub(in crate::config) all_scopes: Option<Vec<String>>,
    /// The values that other claims must have, by their names. A dot leads into an object:
    /// `realm_access.roles`.
    pub(in crate::config) claims: Option<IndexMap<String, ClaimRule>>,
    /// How far the clocks of the issuer and of weir may differ: at most 5m. Default: 60s.
    pub(in crate::config) leeway: Option<Duration>,
}

/// The keys of an issuer: a JWK Set (RFC 7517).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Jwks {
    /// Its URL.
    Url(String),
    /// The path of a file. It is watched: new keys are in use within a second.
    File(String),
}

/// The value that a claim must have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ClaimRule {
    /// The claim is this text, or a number or a truth value that is written so.
    Equals(ScalarText),
    /// The claim is a list with this text in it.
    Contains(ScalarText),
    /// The claim is a list with one of these texts in it.
    ContainsAny(Vec<ScalarText>),
}
