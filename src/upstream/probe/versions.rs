//! The versions that `initialize` asks for, one after the other.

use crate::protocol::era::{Era, Version};
use crate::upstream::error::LinkError;

/// A refused `initialize`.
#[derive(Debug)]
pub(super) struct RefusedVersion {
    /// The reason.
    pub(super) error: LinkError,
    /// The versions that the upstream named instead.
    pub(super) named: Vec<Version>,
    /// Whether another version may be accepted although none was named.
    pub(super) try_others: bool,
}

/// The legacy versions that were not tried yet.
#[derive(Debug)]
pub(super) struct VersionsLeft {
    left: Vec<Version>,
    /// The reason of the first refusal, which is about the best version.
    first: Option<LinkError>,
}

impl VersionsLeft {
    pub(super) fn new() -> Self {
        let legacy = |version: &Version| version.era() == Era::Legacy;
        Self {
            left: Version::ALL.into_iter().filter(legacy).collect(),
            first: None,
        }
    }

    /// Returns the version to try after this one was refused.
    ///
    /// # Errors
    /// There is none: the reason of the first refusal.
    pub(super) fn next(
        &mut self,
        version: Version,
        refused: RefusedVersion,
    ) -> Result<Version, LinkError> {
        self.left.retain(|other| *other != version);
        let first = self.first.take().unwrap_or(refused.error);
        let next = match refused.named.is_empty() {
            true if refused.try_others => best_version(version, &self.left),
            true => None,
            false => {
                let left = |named: &&Version| self.left.contains(named);
                let named: Vec<_> = refused.named.iter().filter(left).copied().collect();
                best_version(version, &named)
            }
        };
        match next {
            Some(next) => {
                self.first = Some(first);
                Ok(next)
            }
            None => Err(first),
        }
    }
}

/// Returns the newest version that is no newer than `wanted`, or else the newest of all.
pub(super) fn best_version(wanted: Version, among: &[Version]) -> Option<Version> {
    let older = among.iter().filter(|version| **version <= wanted).max();
    older.or_else(|| among.iter().max()).copied()
}
