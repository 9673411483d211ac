//! `admin.auth`: which callers of `listen.auth` are operators.

use indexmap::IndexMap;

use crate::caller::Principal;
use crate::config::ClaimRule;

/// `admin.auth`: which callers of `listen.auth` are operators. A caller that may write may read too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AdminRoles {
    /// Those that may read. One rule that fits is enough.
    pub read: Vec<OperatorRule>,
    /// Those that may change something.
    pub write: Vec<OperatorRule>,
}

/// A rule that makes callers operators. All that is in it has to hold, and it says something besides
/// the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRule {
    /// The kind of the identity: subjects of two kinds are different principals.
    pub kind: Principal,
    /// The issuer; `None` for any that `listen.auth` knows.
    pub issuer: Option<String>,
    /// The subjects of which one is needed. Empty for any.
    pub subjects: Vec<String>,
    /// The scopes of which one is needed. Empty for none.
    pub scopes: Vec<String>,
    /// The values that claims must have, by their names or dotted paths; tags, for an API key.
    pub claims: IndexMap<String, ClaimRule>,
}

impl std::hash::Hash for OperatorRule {
    /// Hashes every setting. A new field does not compile until it is in it.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let Self {
            kind,
            issuer,
            subjects,
            scopes,
            claims,
        } = self;
        (kind, issuer, subjects, scopes).hash(state);
        claims.as_slice().hash(state);
    }
}
