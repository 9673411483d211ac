//! The memory of a keeper between attempts to list its upstream: what decides when it tries again.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::catalog::{Digest, PerKind};
use crate::live::keeper::targets::TargetSync;
use crate::upstream::LinkError;
use crate::upstream::list::Listed;
use crate::upstream::probe::KnownEra;

/// The first pause after a failure; it doubles.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause while the upstream answers with failures, or its process ends again and again.
pub(super) const LONGEST_FAILING: Duration = Duration::from_secs(30);
/// A connection lost sooner than this counts as a failure.
const SHORT_LIVED: Duration = Duration::from_secs(5);
/// The first pause after a listing that is no good: the upstream answers, and will do so again.
pub(super) const FIRST_PAUSE_UNUSABLE: Duration = Duration::from_secs(2);
/// The longest pause while some lists fail and others do not.
const LONGEST_PART: Duration = Duration::from_secs(5 * 60);

/// The memory of a keeper between attempts.
#[derive(Default)]
pub(super) struct KeeperState {
    pub(super) era: KnownEra,
    pub(super) failures: u32,
    /// Listings in a row that lacked a kind because its list failed.
    pub(super) parts: u32,
    /// The kinds whose list did not come in time.
    pub(super) hung: PerKind<bool>,
    /// When these are waited for again as long as any other.
    pub(super) patient_at: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) short_lives: u32,
    /// The upstream asked not to be asked before.
    pub(super) not_before: Option<Instant>,
    pub(super) watch: Option<AbortOnDropHandle<()>>,
    pub(super) targets: TargetSync,
    /// The digest of the last listing that succeeded.
    pub(super) listed: Option<Digest>,
    /// Whether an operator waits for the listing that comes next.
    pub(super) is_ordered: bool,
    /// Whether the listing that comes next has to be this replica's own.
    pub(super) is_own: bool,
}

impl KeeperState {
    /// Notes what an attempt found. Returns whether it differs from the listing before.
    pub(super) fn note(&mut self, attempt: &Result<Listed, LinkError>) -> bool {
        let Ok(listed) = attempt else {
            return false;
        };
        let digest = listed.listing.digest();
        self.listed.replace(digest) != Some(digest)
    }

    /// Returns how long to wait after a listing before the lists that failed are tried again with
    /// all patience; `None` if none failed. The time doubles, so that a list that always fails costs
    /// little.
    pub(super) fn pause_after_part(&mut self, listed: &Listed) -> Option<Duration> {
        if listed.failed.is_empty() {
            (self.parts, self.hung, self.patient_at) = (0, PerKind::default(), None);
            return None;
        }
        self.not_before = listed.retry_after.map(|after| Instant::now() + after);
        let left = self
            .patient_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        let pause = match left.filter(|left| !left.is_zero()) {
            Some(left) => left,
            None => {
                let pause = FIRST_PAUSE_UNUSABLE.saturating_mul(2_u32.saturating_pow(self.parts));
                let pause = pause.min(LONGEST_PART);
                self.parts = self.parts.saturating_add(1);
                self.hung = listed.hung;
                self.patient_at = Some(Instant::now() + pause);
                pause
            }
        };
        Some(pause.max(listed.retry_after.unwrap_or_default()))
    }

    /// Returns the kinds whose list kept weir waiting in vain, and is not waited for again so soon.
    pub(super) fn impatient(&self) -> PerKind<bool> {
        match self.patient_at {
            Some(at) if Instant::now() < at => self.hung,
            Some(_) | None => PerKind::default(),
        }
    }

    /// How long to rest before connecting again: nothing, unless connections end soon after they
    /// began.
    pub(super) fn rest(&mut self) -> Duration {
        // Each connection counts once, however often the next one fails.
        match self.connected.take() {
            Some(at) if at.elapsed() < SHORT_LIVED => {
                self.short_lives = self.short_lives.saturating_add(1)
            }
            Some(_) => self.short_lives = 0,
            None => return Duration::ZERO,
        }
        match self.short_lives {
            0 | 1 => Duration::ZERO,
            lives => (FIRST_PAUSE * 2_u32.saturating_pow(lives)).min(LONGEST_FAILING),
        }
    }
}
