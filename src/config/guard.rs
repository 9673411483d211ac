//! `guard:` — the data that may pass, of weir, of an upstream and of a tool.

mod field_path;

use std::time::Duration;

use indexmap::IndexMap;

use super::fingerprint::Fingerprint;
use crate::secret::Secret;

pub use field_path::{FieldPath, FieldPathError, FieldStep};

/// Most classes that the config may add.
pub(super) const MAX_DETECTORS: usize = 64;
/// Most fields that one `fields` may name.
pub(super) const MAX_FIELDS: usize = 256;
/// Most bytes of a compiled pattern.
pub(super) const PATTERN_BYTES: usize = 1 << 20;

/// `guard:` of weir, with what belongs to no single route.
#[derive(Debug)]
pub struct GuardSettings {
    /// The rules for all upstreams.
    pub rules: GuardRules,
    /// The classes that the config adds.
    pub detectors: Box<[CustomDetector]>,
    /// The form and the keys of pseudonyms.
    pub pseudonyms: PseudonymSettings,
    /// Equal for two settings that mean the same. Those of upstreams and tools are not in it.
    pub fingerprint: Fingerprint,
}

/// The rules of weir, of an upstream or of a tool. What is more specific goes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardRules {
    /// `redact`
    pub redact: RedactRules,
}

/// `guard:` of an upstream and of its tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamGuard {
    /// The rules for all of the upstream.
    pub rules: GuardRules,
    /// The rules for single tools, by the upstream's own name.
    pub tools: IndexMap<Box<str>, GuardRules>,
}

/// The treatment of values, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedactRules {
    /// On the way to upstreams.
    pub towards_upstream: ClassActions,
    /// On the way to callers.
    pub towards_caller: ClassActions,
    /// Fields whose whole value is of a class.
    pub fields: Vec<FieldRule>,
}

/// Actions by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassActions {
    /// Of the classes that are named.
    pub named: IndexMap<Box<str>, RedactAction>,
    /// Of all other classes: `*`; `None` leaves them to the less specific rules.
    pub others: Option<RedactAction>,
}

/// A field whose whole value is of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Where it is.
    pub path: FieldPath,
    /// The class.
    pub class: Box<str>,
}

/// The treatment of a value of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RedactAction {
    /// A pseudonym takes its place.
    Tokenise,
    /// The name of its class takes its place.
    Mask,
    /// The message is refused.
    Block,
    /// It passes and is counted.
    Report,
    /// It passes.
    Pass,
    /// It passes, and pseudonyms become the values that they stand for.
    Restore,
}

/// A class that the config adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomDetector {
    /// Its name.
    pub class: Box<str>,
    /// The pattern of its values, which compiles within the bounds.
    pub pattern: Box<str>,
}

/// The form and the keys of pseudonyms.
#[derive(Clone, Debug)]
pub struct PseudonymSettings {
    /// The keys, of which the first one makes pseudonyms; empty if one is to be generated.
    pub keys: Vec<Secret>,
    /// The form of pseudonyms.
    pub form: PseudonymForm,
    /// The time for which the value behind a stored one is kept.
    pub keep: Duration,
    /// The tag of callers that names their tenant; `None` if all are one.
    pub tenant: Option<Box<str>>,
}

/// `guard.redact.form`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PseudonymForm {
    /// A short id, with the value kept in the state folder.
    Stored,
    /// The encrypted value.
    Sealed,
}

impl RedactAction {
    /// Returns its name in the config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokenise => "tokenise",
            Self::Mask => "mask",
            Self::Block => "block",
            Self::Report => "report",
            Self::Pass => "pass",
            Self::Restore => "restore",
        }
    }
}

impl RedactRules {
    /// Returns whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            towards_upstream,
            towards_caller,
            fields,
        } = self;
        fields.is_empty() && towards_upstream.is_empty() && towards_caller.is_empty()
    }
}

impl ClassActions {
    /// Returns whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others.is_none()
    }

    /// Returns the action for a class; `None` if nothing is written for it.
    #[must_use]
    pub fn get(&self, class: &str) -> Option<RedactAction> {
        self.named.get(class).copied().or(self.others)
    }
}
