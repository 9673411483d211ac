//! Classes of callers: those between whom no policy can tell a difference.

use std::collections::BTreeSet;

use cedar_policy::{AuthorizationError, EntityUid, PolicyId, Response};
use ring::digest::{Context as Hasher, SHA256};

use crate::caller::Caller;
use crate::config::policy_names::{has_tags, kind_name};
use crate::config::{ExpressionReads, TagReads};
use crate::policy::bits::BitSet;
use crate::policy::entities::PrincipalEntity;

/// Tells classes apart: a digest of what policies can read of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassKey([u8; 16]);

impl ClassKey {
    /// The key of identities that no policy can be asked about.
    pub(super) const NOBODY: Self = Self([0; 16]);

    /// Returns the bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The part of a caller that policies can read, besides its kind.
#[derive(Debug)]
pub(super) struct Projection {
    /// Whether a policy reads the id as a text.
    id: bool,
    /// The principals that policies name.
    named: BTreeSet<EntityUid>,
    tags: TagReads,
}

impl Projection {
    pub(super) fn of<'p>(policies: impl Iterator<Item = &'p ExpressionReads>) -> Self {
        let mut all = Self {
            id: false,
            named: BTreeSet::new(),
            tags: TagReads::Named(BTreeSet::new()),
        };
        for reads in policies {
            all.id |= reads.id;
            all.named.extend(reads.named.iter().cloned());
            match (&mut all.tags, &reads.tags) {
                (TagReads::Named(names), TagReads::Named(more)) => {
                    names.extend(more.iter().cloned());
                }
                (TagReads::Named(_), TagReads::Any) => all.tags = TagReads::Any,
                (TagReads::Any, _) => {}
            }
        }
        all
    }

    /// Returns the key of a caller's class.
    pub(super) fn key(&self, caller: &Caller, uid: &EntityUid) -> ClassKey {
        let identity = caller.identity();
        let mut hasher = Hasher::new(&SHA256);
        let mut add = |part: Option<&str>| {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hasher.update(&length.to_be_bytes());
            hasher.update(part.unwrap_or_default().as_bytes());
        };
        add(Some(kind_name(identity.principal)));
        let tells = self.id || self.named.contains(uid);
        add(tells.then_some(&*identity.subject));
        if has_tags(identity.principal) {
            let tag = |name: &str| {
                let tag = identity.tags.get(name).map(|text| &**text);
                let issuer = identity.issuer.as_deref();
                tag.or_else(|| issuer.filter(|_| name == "iss"))
            };
            match &self.tags {
                TagReads::Named(names) => names.iter().for_each(|name| add(tag(name))),
                TagReads::Any => {
                    for (name, text) in &identity.tags {
                        add(Some(name));
                        add(Some(text));
                    }
                    add(tag("iss"));
                }
            }
        }
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(hasher.finish().as_ref()) {
            *to = *from;
        }
        ClassKey(key)
    }
}

/// A class of callers, as one of them stands for all.
pub(super) struct CallerClass {
    pub(super) key: ClassKey,
    pub(super) principal: PrincipalEntity,
    /// By number, the policies whose list form holds, of those that say the same of every route.
    pub(super) holds: BitSet,
    /// Those whose list form cannot be evaluated.
    pub(super) fails: BitSet,
}

/// Takes which policies of a set of permits hold, and which cannot be evaluated.
pub(super) fn note(response: &Response, holds: &mut BitSet, fails: &mut BitSet) {
    let diagnostics = response.diagnostics();
    diagnostics
        .reason()
        .filter_map(number_of)
        .for_each(|number| holds.insert(number));
    for error in diagnostics.errors() {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        if let Some(number) = number_of(error.policy_id()) {
            fails.insert(number);
        }
    }
}

/// Returns the number of a policy, which is its id in all sets.
pub(super) fn number_of(id: &PolicyId) -> Option<usize> {
    let id: &str = id.as_ref();
    id.parse().ok()
}
