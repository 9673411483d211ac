//! `admin:`

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::ScalarText;
use super::listen_auth::ClaimRule;
use super::secret::SecretRef;

/// The listener for operators: status, catalog, metrics, reload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// The address to listen on, as `IP:PORT`, or `unix:PATH` for a Unix socket, whose permissions
    /// decide who may use it. Default: 127.0.0.1:8001.
    pub(in crate::config) address: Option<String>,
    /// The permissions of the Unix socket, in octal: `0600` for weir's user, `0660` for its group
    /// too. `0600` if this is left out.
    pub(in crate::config) mode: Option<ScalarText>,
    /// The token that operators must send as `Authorization: Bearer`. Another one takes effect with
    /// the reload, and that of a file when the file is replaced; it ends logins at the page. Whether
    /// there is one cannot change while weir runs. Required if the address is not loopback. Default: on an address of loopback, weir makes one for requests that change
    /// something and stores it in the state folder; `weir admin-token` prints it. A Unix socket
    /// needs none.
    pub(in crate::config) token: Option<SecretRef>,
    /// Whether `token` or a role is needed for requests that change nothing too. Default: `token`.
    pub(in crate::config) reading: Option<AdminReading>,
    /// The page for people, at `/`: what it may do. Default: `read`.
    pub(in crate::config) page: Option<AdminPage>,
    /// Whether operators may call tools: with `POST /try`, and on a page that may `write`. They act
    /// with the credentials of the upstreams, under policies, rules and limits, as the caller
    /// `operator` of the kind `local`. Default: `false`.
    pub(in crate::config) try_tools: Option<bool>,
    /// The callers of `listen.auth` that are operators, besides those with the token. They log in
    /// as they do there. Default: none.
    pub(in crate::config) auth: Option<AdminRoles>,
}

/// Which callers of `listen.auth` are operators. One rule that fits is enough.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AdminRoles {
    /// Those that may read: upstreams, catalog, metrics.
    pub(in crate::config) read: Option<Vec<OperatorRule>>,
    /// Those that may also change something: resync, reload, accept, compare, try.
    pub(in crate::config) write: Option<Vec<OperatorRule>>,
}

/// A rule that makes callers operators. All that is written has to hold, and something besides
/// `kind` and `issuer` has to be. In all text, `${VAR}` is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct OperatorRule {
    /// The kind of the identity. The same subject of two kinds is two principals.
    pub(in crate::config) kind: OperatorKind,
    /// The issuer of an `oauth_user`. Required if `listen.auth` knows several.
    pub(in crate::config) issuer: Option<String>,
    /// The subjects of which one is needed. Default: any.
    pub(in crate::config) subjects: Option<Vec<String>>,
    /// The scopes of which one is needed. Default: none is.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// The values that claims must have, by their names or dotted paths; for an API key its tags.
    pub(in crate::config) claims: Option<IndexMap<String, ClaimRule>>,
}

/// The kind of an identity.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OperatorKind {
    /// A token of `listen.auth.jwt`, or a user that `listen.auth.platform` asserts.
    OauthUser,
    /// An ARN that `listen.auth.platform` asserts.
    IamEntity,
    /// A key of `listen.auth.api_keys`.
    ApiKey,
    /// A client certificate. The admin listener has no TLS, so that none arrives there.
    Workload,
}

/// `token` or `open`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AdminReading {
    /// Every request needs the token, if one is written.
    Token,
    /// Only requests that change something need the token. Only on loopback or a Unix socket.
    Open,
}

/// `read`, `write` or `off`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AdminPage {
    /// It shows, and changes nothing.
    Read,
    /// It also accepts definitions, lists upstreams and reloads, for those who log in with the token.
    Write,
    /// There is none.
    Off,
}
