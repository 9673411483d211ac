//! One question to the policies, in Cedar's terms, and the answer.

use std::borrow::Cow;
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Context, Decision as Verdict, Entities, EntityUid, EvaluationError,
    PolicySet, Request, Response, RestrictedExpression as Value,
};

use crate::catalog::Kind;
use crate::policy::actions::Action;
use crate::policy::classes::{CallerClass, note};
use crate::policy::decision::Decision;
use crate::policy::entities::action_entities;
use crate::policy::input::input;
use crate::policy::input_types::InputTypes;
use crate::policy::request::PolicyRequest;
use crate::policy::rules::PolicyRules;
use crate::policy::slices::{PolicySlice, Settled};
use crate::protocol::method;

/// A request, with what policies know of its route.
pub(super) struct Asked<'a> {
    pub(super) request: &'a PolicyRequest<'a>,
    pub(super) upstream: &'a str,
    pub(super) action: &'a Action,
    pub(super) resource: &'a EntityUid,
    pub(super) types: &'a InputTypes,
}

impl Asked<'_> {
    /// Returns `context.weir`.
    fn weir(&self) -> Option<Value> {
        let text = |text: &str| Value::new_string(text.to_owned());
        let method = match self.request.kind {
            Kind::Tools => method::TOOLS_CALL,
            Kind::Prompts => method::PROMPTS_GET,
            Kind::Resources | Kind::Templates | Kind::Instructions => method::RESOURCES_READ,
        };
        let members = [
            ("upstream", text(self.upstream)),
            ("exposed", text(self.request.exposed)),
            ("era", Value::new_string(self.request.era.to_string())),
            ("method", text(method)),
        ];
        Value::new_record(members.map(|(name, value)| (name.to_owned(), value))).ok()
    }

    /// Returns what a slice reads of the context.
    fn context(&self, slice: &PolicySlice) -> Result<Context, String> {
        let mut members = Vec::with_capacity(3);
        if slice.reads_unknown {
            let input = input(self.request.arguments, &slice.input, self.types);
            let input = input.map_err(|error| error.to_string())?;
            let input = Value::new_record(input).map_err(|_| "the arguments have a key twice")?;
            members.push(("input".to_owned(), input));
        }
        if slice.reads_now {
            let now = chrono::DateTime::<chrono::Utc>::from(self.request.now);
            let now = Value::new_datetime(now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
            let system = Value::new_record([("now".to_owned(), now)]);
            members.extend(system.ok().map(|system| ("system".to_owned(), system)));
        }
        if slice.reads_weir {
            members.extend(self.weir().map(|weir| ("weir".to_owned(), weir)));
        }
        let context = Context::from_pairs(members);
        context.map_err(|_| "the arguments cannot be read by policies".to_owned())
    }

    fn cedar(&self, class: &CallerClass, context: Context) -> Option<Request> {
        let principal = class.principal.uid.clone();
        let (action, resource) = (self.action.uid.clone(), self.resource.clone());
        Request::new(principal, action, resource, context, None).ok()
    }

    /// Returns the entities that a slice reads.
    fn entities<'c>(&self, class: &'c CallerClass, scope: bool) -> Option<Cow<'c, Entities>> {
        let principal = &class.principal.entities;
        if !scope {
            return Some(Cow::Borrowed(principal));
        }
        let action = action_entities(&self.action.uid, &self.action.groups);
        principal
            .clone()
            .add_entities(action, None)
            .ok()
            .map(Cow::Owned)
    }
}

impl PolicyRules {
    /// Decides. What is settled for the class is not evaluated again.
    pub(super) fn authorize(
        &self,
        class: &CallerClass,
        slice: &PolicySlice,
        asked: &Asked<'_>,
    ) -> Decision {
        let context = match asked.context(slice) {
            Ok(context) => context,
            Err(error) => return Decision::failed(error),
        };
        let entities = asked.entities(class, slice.reads_scope);
        let (Some(request), Some(entities)) = (asked.cedar(class, context), entities) else {
            return Decision::failed("the request cannot be read by policies");
        };
        let decide = |policies: &PolicySet, settled: Settled| {
            let response = self.authorizer.is_authorized(&request, policies, &entities);
            self.decision_of(&response, settled)
        };
        let mut decision = match slice.settle(self, class) {
            Some(settled) => decide(&slice.open, settled),
            None => decide(&slice.deciding, Settled::default()),
        };
        if let Some(all) = &slice.all
            && decision.allowed
        {
            let all = decide(all, Settled::default());
            if !all.allowed {
                decision.would_deny = true;
                decision.policies.extend(all.policies);
            }
        }
        decision
    }

    /// Returns whether a call of a route may be allowed, where policies say something else of each
    /// route.
    pub(super) fn may_allow(
        &self,
        class: &CallerClass,
        slice: &PolicySlice,
        asked: &Asked<'_>,
    ) -> bool {
        let weir = asked.weir().map(|weir| ("weir".to_owned(), weir));
        let context = Context::from_pairs(weir).ok();
        let request = context.and_then(|context| asked.cedar(class, context));
        let entities = asked.entities(class, slice.reads_scope);
        let (Some(request), Some(entities), Some(lists)) = (request, entities, &slice.lists) else {
            return false;
        };
        let (mut holds, mut fails) = (class.holds.clone(), class.fails.clone());
        let response = self.authorizer.is_authorized(&request, lists, &entities);
        note(&response, &mut holds, &mut fails);
        slice.may_allow(self, &holds, &fails)
    }

    /// Returns the decision of some policies, and of those that are settled.
    fn decision_of(&self, response: &Response, settled: Settled) -> Decision {
        let name = |id| self.policy(id).map(|policy| Arc::clone(&policy.name));
        let diagnostics = response.diagnostics();
        let mut errors: Vec<String> = Vec::new();
        for AuthorizationError::PolicyEvaluationError(error) in diagnostics.errors() {
            let name = name(error.policy_id());
            let reason = describe(error.inner());
            errors.push(format!(
                "policy {}: {reason}",
                name.as_deref().unwrap_or_default()
            ));
        }
        let Settled {
            mut permits,
            mut forbids,
        } = settled;
        // The reasons are permits if one holds and no forbid does, otherwise forbids.
        let holding = match response.decision() {
            Verdict::Allow => &mut permits,
            Verdict::Deny => &mut forbids,
        };
        holding.extend(diagnostics.reason().filter_map(name));
        let is_permitted = forbids.is_empty() && !permits.is_empty();
        let mut policies = match forbids.is_empty() {
            true => permits,
            false => forbids,
        };
        policies.sort_unstable();
        errors.sort_unstable();
        Decision {
            // Cedar leaves out what it cannot evaluate: a forbid would not forbid.
            allowed: is_permitted && errors.is_empty(),
            would_deny: false,
            policies,
            errors,
        }
    }
}

/// Describes an error without the values that it is about: they are a caller's.
fn describe(error: &EvaluationError) -> String {
    match error {
        EvaluationError::IntegerOverflow(_) => "a sum or product is beyond 64 bits".to_owned(),
        EvaluationError::FailedExtensionFunctionExecution(_) => {
            "a function cannot take its argument".to_owned()
        }
        EvaluationError::EntityAttrDoesNotExist(_) => {
            "the caller has no such claim: ask `hasTag` before `getTag`".to_owned()
        }
        EvaluationError::EntityDoesNotExist(_)
        | EvaluationError::RecordAttrDoesNotExist(_)
        | EvaluationError::FailedExtensionFunctionLookup(_)
        | EvaluationError::TypeError(_)
        | EvaluationError::WrongNumArguments(_)
        | EvaluationError::UnlinkedSlot(_)
        | EvaluationError::NonValue(_)
        | EvaluationError::RecursionLimit(_) => error.to_string().replace('\n', " "),
    }
}
