//! `drift:` — what becomes of definitions that say otherwise than when they were first seen.

/// `drift:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What becomes of a redefinition that goes further than the threshold.
    pub policy: DriftPolicy,
    /// How far a redefinition may go that needs nobody's consent.
    pub threshold: DriftThreshold,
}

/// `drift.policy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftPolicy {
    /// It takes the place of the definition before. Nothing is compared, nothing is pinned.
    Accept,
    /// The pinned definition stays in the catalog until an operator accepts the new one.
    Hold,
    /// Neither is in the catalog until an operator accepts the new one.
    Quarantine,
}

/// `drift.threshold`: the classes of redefinitions that pass, each with those before it. That a text changes which models read
/// never passes: who wants that has no gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftThreshold {
    /// It means the same.
    Cosmetic,
    /// Calls that were right still are.
    Widened,
    /// Calls that were right may be so no more.
    Narrowed,
    /// An argument has to be there that had not to.
    NewRequired,
    /// A hint about what a call does says otherwise.
    Annotation,
}

impl Drift {
    /// Every redefinition is taken.
    pub const ACCEPT: Self = Self {
        policy: DriftPolicy::Accept,
        threshold: DriftThreshold::Widened,
    };

    /// Whether definitions are pinned and compared at all.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.policy != DriftPolicy::Accept
    }
}

impl DriftPolicy {
    /// As it is written.
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
    /// As it is written.
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
