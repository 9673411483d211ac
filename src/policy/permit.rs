//! Permission as a value: without a [`Permit`], no request of a caller reaches an upstream.

use crate::caller::Caller;
use crate::name::UpstreamIndex;
use crate::policy::Decision;

/// Proof that a caller may send one request to one upstream of one snapshot.
///
/// It cannot be copied: a second request needs a decision of its own. `Snapshot::link` wants a
/// permit, so code without one has no link to send over.
#[derive(Debug)]
pub struct Permit {
    upstream: UpstreamIndex,
    generation: u64,
}

impl Permit {
    /// Permits a request where there is no policy: every caller may use every upstream of the
    /// snapshot with this generation.
    #[must_use]
    pub fn open(_: &Caller, upstream: UpstreamIndex, generation: u64) -> Self {
        Self {
            upstream,
            generation,
        }
    }

    /// Permits a request that a decision allows; `None` for any other.
    #[must_use]
    pub fn decided(decision: &Decision, upstream: UpstreamIndex, generation: u64) -> Option<Self> {
        decision.is_allowed().then_some(Self {
            upstream,
            generation,
        })
    }

    /// Returns the upstream that the request may go to.
    #[must_use]
    pub fn upstream(&self) -> UpstreamIndex {
        self.upstream
    }

    /// Returns the generation of the snapshot that the request was permitted by.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
