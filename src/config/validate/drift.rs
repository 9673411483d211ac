//! `drift:`

use crate::config::{Drift, DriftPolicy, DriftThreshold, raw};

/// Takes the value of each key that is written, otherwise that of `base`.
pub(super) fn resolve_drift(raw: raw::Drift, base: Drift) -> Drift {
    Drift {
        policy: match raw.policy {
            Some(raw::DriftPolicy::Accept) => DriftPolicy::Accept,
            Some(raw::DriftPolicy::Hold) => DriftPolicy::Hold,
            Some(raw::DriftPolicy::Quarantine) => DriftPolicy::Quarantine,
            None => base.policy,
        },
        threshold: match raw.threshold {
            Some(raw::DriftThreshold::Cosmetic) => DriftThreshold::Cosmetic,
            Some(raw::DriftThreshold::Widened) => DriftThreshold::Widened,
            Some(raw::DriftThreshold::Narrowed) => DriftThreshold::Narrowed,
            Some(raw::DriftThreshold::NewRequired) => DriftThreshold::NewRequired,
            Some(raw::DriftThreshold::Annotation) => DriftThreshold::Annotation,
            None => base.threshold,
        },
    }
}
