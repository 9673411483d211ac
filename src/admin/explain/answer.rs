//! The answer of `GET /explain`.

use serde::{Deserialize, Serialize};

use crate::admin::drift::PendingDefinition;
use crate::admin::explain::rules::AppliedRule;
use crate::catalog::{Kind, NameOrigin};
use crate::policy::CallerName;

/// Everything that is known about a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The name that was asked for.
    pub name: String,
    /// Everything that is exposed under it: at most one of each kind.
    pub exposed: Vec<Exposed>,
    /// Hidden definitions that would be exposed under the name, or have it at their upstream.
    pub hidden: Vec<Hidden>,
    /// Other names that may have been meant, if nothing known has the name.
    pub near: Vec<NearMatch>,
    /// Upstreams without a listing, if nothing known has the name: it may be theirs.
    pub unlisted: Vec<UnlistedUpstream>,
}

/// Something exposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    /// Its kind.
    pub kind: Kind,
    /// Its name at its upstream.
    pub original: String,
    /// How its name was made.
    pub named: NameOrigin,
    /// The rules of the config that affected it.
    pub rules: Vec<AppliedRule>,
    /// Name conflicts that involve it, each described in a sentence.
    pub conflicts: Vec<String>,
    /// The eras in whose lists it is.
    pub eras: Vec<String>,
    /// The weirs through which it came, nearest first.
    pub through: Vec<String>,
    /// The time in `_meta["weir/stale"]`: when it was last confirmed, here or at a weir before this one.
    #[serde(default)]
    pub stamped: Option<String>,
    /// The consequences for a caller that its upstream asks something, in sentences; empty if the upstream is
    /// not connected, or it is no tool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<String>,
    /// How the upstream's definition differs, if the pinned one is shown instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<PendingDefinition>,
    /// The word of policy on the caller that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<ExplainedAccess>,
    /// Its upstream.
    pub upstream: Owner,
}

/// The word of policy on a caller and something exposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedAccess {
    /// The caller.
    pub caller: CallerName,
    /// Whether the caller sees it: it may use it with some arguments, at some time.
    pub listed: bool,
    /// The decision now about a use without arguments: `allow`, `deny` or `would_deny`.
    pub decision: String,
    /// The policies that decide this: permits of what is allowed, forbids of what is denied; none where
    /// nothing permits it.
    pub policies: Vec<String>,
    /// Why policies could not be evaluated; each of them denies.
    pub errors: Vec<String>,
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its place in the config: `file:line`.
    pub at: String,
    /// Its kind.
    pub connector: String,
    /// Its listing, if there is one.
    pub listed: Option<ListingStatus>,
    /// Its link; `None` if upstreams are not asked.
    #[serde(rename = "way")]
    pub link: Option<LinkStatus>,
}

/// Something that is known and not exposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// Its kind.
    pub kind: Kind,
    /// Its name at its upstream.
    pub original: String,
    /// The name that it would be exposed under.
    pub wanted: String,
    /// Why it is not exposed.
    pub why: HiddenReason,
    /// The same as a sentence.
    pub because: String,
    /// The rules of the config that hide it.
    pub rules: Vec<AppliedRule>,
    /// How it differs from its pin, if that is why it is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<PendingDefinition>,
    /// Its upstream.
    pub upstream: Owner,
}

/// Why something is not exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenReason {
    /// `tools.deny` matches it.
    Denied,
    /// `tools.allow` does not match it.
    NotAllowed,
    /// Its definition cannot be used.
    Quarantined,
    /// It differs from its pin.
    Drifted,
    /// It came from this weir.
    Own,
    /// It came through too many weirs.
    Far,
    /// Its upstream fails, and `stale` hides what it listed.
    Stale,
}

/// An upstream without a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlistedUpstream {
    /// Its name.
    pub upstream: String,
    /// Why.
    pub because: String,
}

/// The age and origin of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingStatus {
    /// Whether it is of an earlier run of weir.
    pub stored: bool,
    /// How long ago it was last confirmed.
    pub seconds_ago: u64,
    /// Whether the upstream has failed since.
    pub stale: bool,
}

/// The state of the link to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// `up`, `failing` or `connecting`.
    pub state: String,
    /// Why it fails.
    pub reason: Option<String>,
    /// `closed`, `open` or `half-open`.
    pub circuit: String,
    /// The credentials, if there are any.
    pub credentials: Option<CredentialsStatus>,
}

/// The state of credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsStatus {
    /// `auth.type`
    pub r#type: String,
    /// `ok`, `refreshing`, `expiring`, `failing`, `reauth_needed`, `clock_skew`
    pub state: String,
    /// Why.
    pub reason: Option<String>,
}

/// Something that is exposed under another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMatch {
    /// Its kind.
    pub kind: Kind,
    /// Its exposed name.
    pub name: String,
    /// Its upstream.
    pub upstream: String,
    /// How its name differs from the one that was asked for.
    pub because: String,
}
