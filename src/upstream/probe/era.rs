//! The era of an upstream, as far as it is known from one connection to the next.

use crate::protocol::era::Era;
use crate::upstream::error::LinkError;

/// The era of an upstream, as far as it is known before it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownEra {
    /// Nothing, after so many attempts that ended without evidence. From the second on, `initialize`
    /// is tried too, which does no harm: there are legacy servers that fail, hang up or fall silent
    /// at a method that they do not know.
    Unknown {
        /// The number of attempts.
        attempts: u32,
    },
    /// Legacy, as far as is known: it answered `initialize`, but never the modern request.
    Assumed,
    /// As it said itself.
    Proven(Era),
}

impl Default for KnownEra {
    fn default() -> Self {
        Self::Unknown { attempts: 0 }
    }
}

impl KnownEra {
    /// Returns whether the upstream may be taken for legacy if it leaves the modern request
    /// unanswered.
    pub(super) fn allows_assumption(self) -> bool {
        matches!(self, Self::Unknown { attempts: 1.. } | Self::Assumed)
    }

    /// Returns what is known after an attempt to connect that failed.
    #[must_use]
    pub fn after_failure(self, error: &LinkError) -> Self {
        match self {
            // An upstream that does not answer at all proves nothing, and will not answer `initialize` either.
            Self::Unknown { attempts } if attempts > 0 || error.leaves_era_open() => {
                Self::Unknown {
                    attempts: attempts.saturating_add(1),
                }
            }
            // It answers, and is legacy no more: look again with an open mind next time.
            Self::Proven(Era::Legacy) | Self::Assumed if error.is_refusal() => Self::default(),
            Self::Unknown { .. } | Self::Assumed | Self::Proven(_) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn silence_and_failures_are_no_evidence_and_allow_to_try_the_other_era() {
        let failing = LinkError::Status(StatusCode::INTERNAL_SERVER_ERROR);
        let refusing = LinkError::Status(StatusCode::BAD_REQUEST);
        let unknown = KnownEra::default();
        assert!(!unknown.allows_assumption());
        for error in [&failing, &LinkError::Timeout, &LinkError::Idle] {
            assert!(unknown.after_failure(error).allows_assumption(), "{error}");
        }
        for error in [&refusing, &LinkError::SessionLost, &LinkError::Busy] {
            assert_eq!(unknown.after_failure(error), unknown, "{error}");
        }
        let modern = KnownEra::Proven(Era::Modern);
        for error in [&failing, &refusing, &LinkError::Timeout] {
            assert_eq!(modern.after_failure(error), modern);
        }
        for legacy in [KnownEra::Assumed, KnownEra::Proven(Era::Legacy)] {
            assert_eq!(legacy.after_failure(&failing), legacy);
            assert_eq!(legacy.after_failure(&refusing), unknown);
        }
    }
}
