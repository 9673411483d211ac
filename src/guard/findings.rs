//! The findings of rules for data in the messages of one request.

use std::collections::BTreeMap;

use crate::classes::Class;
use crate::config::RedactAction;

/// Most pseudonyms that are named for one request.
const IDS: usize = 256;

/// A way that data takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To the upstream.
    TowardsUpstream,
    /// To the caller.
    TowardsCaller,
}

impl Direction {
    /// Returns its setting under `guard.redact`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TowardsUpstream => "towards_upstream",
            Self::TowardsCaller => "towards_caller",
        }
    }
}

/// A message that may not pass, by the name of the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has data that may not pass ({rule})")]
pub struct Blocked {
    /// The rule: `towards_upstream.EMAIL`. It says nothing of the value.
    pub rule: Box<str>,
}

impl Blocked {
    /// Returns the reason why a text does not pass that cannot be looked at: it is not JSON, nested
    /// too deeply, or has a key twice.
    #[must_use]
    pub fn unreadable() -> Self {
        Self {
            rule: "unreadable".into(),
        }
    }

    /// Returns the reason why a text does not pass whose pseudonyms cannot be stored.
    pub(super) fn not_stored() -> Self {
        Self {
            rule: "pseudonyms are not stored".into(),
        }
    }

    /// Returns the reason why a text does not pass that has a value of a class in it.
    pub(super) fn by(direction: Direction, class: &Class) -> Self {
        Self {
            rule: format!("{}.{class}", direction.as_str()).into(),
        }
    }
}

/// The findings in the data of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many values, by direction, class and what happened to them.
    pub counts: BTreeMap<(Direction, Box<str>, &'static str), u64>,
    /// The pseudonyms that were made or restored, each once.
    pub pseudonyms: Vec<Box<str>>,
}

impl Findings {
    /// Returns whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.pseudonyms.is_empty()
    }

    /// Adds what was found elsewhere.
    pub fn add(&mut self, other: Self) {
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        for id in other.pseudonyms {
            self.add_pseudonym(&id);
        }
    }

    /// Counts a value.
    pub(super) fn count(&mut self, direction: Direction, class: &str, action: RedactAction) {
        let key = (direction, class.into(), action.as_str());
        *self.counts.entry(key).or_default() += 1;
    }

    /// Counts a pseudonym that cannot be turned back: it is damaged, or not made here for this tenant.
    pub(super) fn count_unknown(&mut self, direction: Direction, class: &str) {
        let key = (direction, class.into(), "unknown");
        *self.counts.entry(key).or_default() += 1;
    }

    /// Notes a pseudonym.
    pub(super) fn add_pseudonym(&mut self, id: &str) {
        if self.pseudonyms.len() < IDS && !self.pseudonyms.iter().any(|known| **known == *id) {
            self.pseudonyms.push(id.into());
        }
    }
}
