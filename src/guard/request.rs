//! The guard of one request: the rules for its data and for that of its answer.

use std::sync::Arc;

use crate::caller::Caller;
use crate::config::RedactAction;
use crate::guard::coverage::Shape;
use crate::guard::findings::{Blocked, Direction, Findings};
use crate::guard::plan::{DirectionPlan, Guard, RoutePlan};
use crate::guard::redact::{Redactor, Restorer};
use crate::large::take_turn;
use crate::name::UpstreamId;

/// The rules for the data of one request.
#[derive(Clone, Debug)]
pub struct RequestGuard {
    guard: Arc<Guard>,
    plan: Arc<RoutePlan>,
    /// The tenant of the caller; `None` for a caller without one.
    tenant: Option<Box<str>>,
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
        let tenant = match &guard.tenant {
            None => Some("".into()),
            Some(tag) => {
                let tenant = caller.identity().tags.get(tag);
                tenant.filter(|tenant| !tenant.is_empty()).cloned()
            }
        };
        Some(Self {
            guard: Arc::clone(guard),
            plan: Arc::clone(plan),
            tenant,
        })
    }

    fn direction(&self, direction: Direction) -> &DirectionPlan {
        match direction {
            Direction::TowardsUpstream => &self.plan.towards_upstream,
            Direction::TowardsCaller => &self.plan.towards_caller,
        }
    }

    fn redactor<'r>(&'r self, direction: Direction, plan: &'r DirectionPlan) -> Redactor<'r> {
        Redactor {
            direction,
            plan,
            pseudonyms: self.guard.pseudonyms.as_deref(),
            tenant: self.tenant.as_deref(),
            findings: Findings::default(),
            has_made: false,
            is_nested: false,
        }
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
        let found = self.direction(direction).find("", name);
        let Some(first) = found.first() else {
            return Ok(());
        };
        findings.count(direction, first.class.name(), RedactAction::Block);
        Err(Blocked::by(direction, &first.class))
    }

    /// Puts values in place of the pseudonyms that are turned back in this direction. `None` if the
    /// text stays as it is. The future may be dropped and made again.
    ///
    /// # Errors
    /// The text cannot be looked at.
    pub async fn restore(
        &self,
        direction: Direction,
        shape: &'static Shape,
        text: &str,
        findings: &mut Findings,
    ) -> Result<Option<String>, Blocked> {
        let plan = self.direction(direction);
        let (Some(pseudonyms), Some(tenant), true) =
            (&self.guard.pseudonyms, &self.tenant, plan.restores())
        else {
            return Ok(None);
        };
        let turn = take_turn(text.len()).await;
        let mut restorer = Restorer {
            direction,
            plan,
            pseudonyms,
            tenant,
            findings: Findings::default(),
            is_nested: false,
        };
        let restored = restorer.edit(shape, text);
        drop(turn);
        self.note(restorer.findings, findings);
        restored
    }

    /// Replaces what may not pass in a JSON text. `None` if it stays as it is.
    ///
    /// Until it is done it changes nothing that another run would not change alike, so the future
    /// may be dropped and made again.
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
        if !self.direction(direction).redacts() {
            return Ok(None);
        }
        let turn = take_turn(text.len()).await;
        let mut redactor = self.redactor(direction, self.direction(direction));
        let redacted = redactor.edit(shape, text);
        let (has_made, found) = (redactor.has_made, redactor.findings);
        drop(turn);
        if has_made && let Some(pseudonyms) = &self.guard.pseudonyms {
            let saved = pseudonyms.saved().await;
            saved.map_err(|_| Blocked::not_stored())?;
        }
        self.note(found, findings);
        redacted
    }

    /// Returns whether a JSON text has something in it that may not pass as it is, or cannot be
    /// looked at.
    #[must_use]
    pub fn finds(&self, direction: Direction, shape: &'static Shape, text: &str) -> bool {
        let mut redactor = Redactor {
            // Nothing is kept of what is found.
            tenant: None,
            ..self.redactor(direction, self.direction(direction))
        };
        !matches!(redactor.edit(shape, text), Ok(None))
    }

    /// Masks in a JSON text for the record file every class that the rules do something with on
    /// either way: an upstream or a caller may be cleared for it, and readers of the file are not.
    /// Pseudonyms stay. `None` if the text stays as it is.
    ///
    /// # Errors
    /// It may not be written down at all.
    pub fn mask_for_record(
        &self,
        shape: &'static Shape,
        text: &str,
    ) -> Result<Option<String>, Blocked> {
        match &self.plan.records {
            Some(plan) => self
                .redactor(Direction::TowardsUpstream, plan)
                .edit(shape, text),
            None => Err(Blocked::unreadable()),
        }
    }

    /// Counts what was found.
    fn note(&self, found: Findings, findings: &mut Findings) {
        for ((direction, class, action), count) in &found.counts {
            let metrics = &self.guard.metrics;
            metrics.guarded(direction.as_str(), class, action, *count);
        }
        findings.add(found);
    }
}
