//! `drift:` — how definitions are treated that differ from when they were first seen.

/// `drift:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// How a change beyond the threshold is treated.
    pub policy: DriftPolicy,
    /// The largest change that is applied without review.
    pub threshold: DriftThreshold,
}

/// `drift.policy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftPolicy {
    /// It replaces the previous definition. Nothing is compared, nothing is pinned.
    Accept,
    /// The pinned definition stays in the catalog until an operator accepts the new one.
    Hold,
    /// Neither definition is in the catalog until an operator accepts the new one.
    Quarantine,
}

/// `drift.threshold`: the classes of redefinitions that pass, each with those before it. That a text changes which models read
/// never passes: who wants that has no gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftThreshold {
    /// It means the same.
    Cosmetic,
    /// Calls that were valid still are.
    Widened,
    /// Calls that were valid may not be any more.
    Narrowed,
    /// An argument is required that was not required before.
    NewRequired,
    /// An annotation about what a call does has changed.
    Annotation,
}

impl Drift {
    /// Every change is applied.
    pub const ACCEPT: Self = Self {
        policy: DriftPolicy::Accept,
        threshold: DriftThreshold::Widened,
    };

    /// Returns whether definitions are pinned and compared at all.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.policy != DriftPolicy::Accept
    }
}

impl DriftPolicy {
    /// Returns the word in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Hold => "hold",
            Self::Quarantine => "quarantine",
        }
    }
}

impl DriftThreshold {
    /// Returns the word in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosmetic => "cosmetic",
            Self::Widened => "widened",
            Self::Narrowed => "narrowed",
            Self::NewRequired => "new_required",
            Self::Annotation => "annotation",
        }
    }
}
