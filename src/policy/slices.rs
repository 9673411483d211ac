//! Slices: the policies that apply to an action, found when they are loaded. A whole set takes time
//! in proportion to its size; its slices do not.

use std::sync::Arc;

use cedar_policy::{ActionConstraint, EntityUid, PolicySet, ResourceConstraint};
use foldhash::{HashMap, HashSet};

use crate::config::InputReads;
use crate::config::policy_names::GATEWAY;
use crate::policy::actions::Action;
use crate::policy::bits::BitSet;
use crate::policy::classes::CallerClass;
use crate::policy::rules::{LoadedPolicy, PolicyRules, set_of};

/// The policies that apply to some actions.
pub(super) struct PolicySlice {
    /// Their numbers, without those that are only recorded.
    active: Vec<u32>,
    /// The policies that decide.
    pub(super) deciding: PolicySet,
    /// The numbers of those that say the same of every call of a class: see [`Self::settle`].
    settled: Vec<u32>,
    /// The other ones that decide.
    pub(super) open: PolicySet,
    /// All, if some are only recorded.
    pub(super) all: Option<PolicySet>,
    /// The list forms of those that may say something else of each route.
    pub(super) lists: Option<PolicySet>,
    /// The arguments that any of them reads.
    pub(super) input: InputReads,
    /// Whether any of them reads arguments or time.
    pub(super) reads_unknown: bool,
    /// Whether any of them reads the time.
    pub(super) reads_now: bool,
    /// Whether any of them reads `context.weir`.
    pub(super) reads_weir: bool,
    /// Whether any of them reads action or resource in its conditions.
    pub(super) reads_scope: bool,
}

/// The policies that hold for a class of callers whatever it calls and when.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) permits: Vec<Arc<str>>,
    pub(super) forbids: Vec<Arc<str>>,
}

impl PolicySlice {
    fn of(rules: &PolicyRules, numbers: &[u32]) -> Self {
        let get = |number: &u32| rules.policies.get(*number as usize);
        let policies = || numbers.iter().filter_map(get);
        let active = |policy: &&LoadedPolicy| !policy.log_only;
        let of_route = |policy: &&LoadedPolicy| policy.reads.is_of_route();
        let is_open = |policy: &&LoadedPolicy| !policy.is_settled();
        let reads = |what: fn(&LoadedPolicy) -> bool| policies().any(what);
        Self {
            settled: numbers
                .iter()
                .filter(|number| {
                    get(number).is_some_and(|policy| !policy.log_only && policy.is_settled())
                })
                .copied()
                .collect(),
            open: set_of(
                policies()
                    .filter(active)
                    .filter(is_open)
                    .map(|policy| &policy.body),
            ),
            active: numbers
                .iter()
                .filter(|number| get(number).is_some_and(|policy| !policy.log_only))
                .copied()
                .collect(),
            deciding: set_of(policies().filter(active).map(|policy| &policy.body)),
            all: reads(|policy| policy.log_only)
                .then(|| set_of(policies().map(|policy| &policy.body))),
            lists: reads(|policy| policy.reads.is_of_route()).then(|| {
                let some = policies().filter(active).filter(of_route);
                set_of(some.filter_map(|policy| policy.list.as_ref()))
            }),
            input: joined(policies()),
            reads_unknown: reads(|policy| policy.reads.unknown),
            reads_now: reads(|policy| policy.reads.now),
            reads_weir: reads(|policy| policy.reads.weir),
            reads_scope: reads(|policy| policy.reads.scope),
        }
    }

    /// Returns whether its decision is the same for every call of a caller's class.
    pub(super) fn is_fixed(&self) -> bool {
        !(self.reads_unknown || self.reads_weir || self.reads_scope)
    }

    /// Returns which policies hold for a class whatever it calls and when, so that they need not be
    /// evaluated for each call; `None` if one of them cannot be evaluated.
    pub(super) fn settle(&self, rules: &PolicyRules, class: &CallerClass) -> Option<Settled> {
        let mut settled = Settled::default();
        for number in &self.settled {
            let number = *number as usize;
            if class.fails.contains(number) {
                return None;
            }
            if class.holds.contains(number) {
                let policy = rules.policies.get(number)?;
                let holding = match policy.permits {
                    true => &mut settled.permits,
                    false => &mut settled.forbids,
                };
                holding.push(Arc::clone(&policy.name));
            }
        }
        Some(settled)
    }

    /// Returns whether a call may be allowed, by which list forms hold and which cannot be evaluated.
    pub(super) fn may_allow(&self, rules: &PolicyRules, holds: &BitSet, fails: &BitSet) -> bool {
        let mut permitted = false;
        for number in &self.active {
            let number = *number as usize;
            let Some(policy) = rules.policies.get(number) else {
                continue;
            };
            if policy.exact && fails.contains(number) {
                return false;
            }
            if holds.contains(number) {
                if !policy.permits {
                    return false;
                }
                permitted = true;
            }
        }
        permitted
    }

    /// Returns whether a call may be allowed, where no policy says something else of each route.
    pub(super) fn may_allow_class(&self, rules: &PolicyRules, class: &CallerClass) -> bool {
        self.may_allow(rules, &class.holds, &class.fails)
    }
}

fn joined<'p>(policies: impl Iterator<Item = &'p LoadedPolicy>) -> InputReads {
    let mut all = InputReads::Nothing;
    for policy in policies {
        all = match (all, &policy.reads.input) {
            (all, InputReads::Nothing) => all,
            (InputReads::Whole, _) | (_, InputReads::Whole) => InputReads::Whole,
            (InputReads::Nothing, some @ InputReads::Members(_)) => some.clone(),
            (InputReads::Members(mut all), InputReads::Members(some)) => {
                all.extend(some.iter().cloned());
                InputReads::Members(all)
            }
        };
    }
    all
}

/// Finds the slices of actions. Actions with the same policies share one.
pub(super) struct SliceFinder<'r> {
    rules: &'r PolicyRules,
    /// The policies by the action or group that they name.
    by_action: HashMap<&'r EntityUid, Vec<u32>>,
    /// Those that name none.
    of_any: Vec<u32>,
    /// The actions and groups that policies name.
    named: HashSet<&'r EntityUid>,
    known: HashMap<Vec<u32>, u32>,
    slices: Vec<PolicySlice>,
}

impl<'r> SliceFinder<'r> {
    pub(super) fn new(rules: &'r PolicyRules) -> Self {
        let mut by_action: HashMap<_, Vec<u32>> = HashMap::default();
        let mut of_any = Vec::new();
        for (policy, number) in rules.policies.iter().zip(0..) {
            match &policy.action {
                ActionConstraint::Any => of_any.push(number),
                ActionConstraint::Eq(uid) => by_action.entry(uid).or_default().push(number),
                ActionConstraint::In(uids) => {
                    for uid in uids {
                        by_action.entry(uid).or_default().push(number);
                    }
                }
            }
        }
        let named = by_action.keys().copied().collect();
        Self {
            rules,
            by_action,
            of_any,
            named,
            known: HashMap::default(),
            slices: Vec::new(),
        }
    }

    /// Returns whether a policy names this action or group.
    pub(super) fn names(&self, uid: Option<&EntityUid>) -> bool {
        uid.is_some_and(|uid| self.named.contains(uid))
    }

    /// Returns the number of the slice of an action on a resource.
    pub(super) fn find(&mut self, action: &Action, resource: Option<&EntityUid>) -> u32 {
        let mut numbers = self.of_any.clone();
        numbers.extend(self.by_action.get(&action.uid).into_iter().flatten());
        for group in &action.groups {
            let policies = self.by_action.get(group).into_iter().flatten();
            let policies = policies.filter(|number| self.is_in(**number));
            numbers.extend(policies);
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| self.is_about(*number, resource));
        if let Some(known) = self.known.get(&numbers) {
            return *known;
        }
        let number = u32::try_from(self.slices.len()).unwrap_or(u32::MAX);
        self.slices.push(PolicySlice::of(self.rules, &numbers));
        self.known.insert(numbers, number);
        number
    }

    /// Returns whether a policy is about what is in the groups that it names, and not about an action
    /// that is called like a group.
    fn is_in(&self, number: u32) -> bool {
        let policy = self.rules.policies.get(number as usize);
        policy.is_some_and(|policy| matches!(policy.action, ActionConstraint::In(_)))
    }

    fn is_about(&self, number: u32, resource: Option<&EntityUid>) -> bool {
        let policy = self.rules.policies.get(number as usize);
        policy.is_some_and(|policy| policy.is_about(resource))
    }

    /// Returns the arguments that a slice reads.
    pub(super) fn input_of(&self, slice: u32) -> &InputReads {
        let slice = self.slices.get(slice as usize);
        slice.map_or(&InputReads::Nothing, |slice| &slice.input)
    }

    /// Returns the slices that were found.
    pub(super) fn finish(self) -> Box<[PolicySlice]> {
        self.slices.into()
    }
}

impl LoadedPolicy {
    /// Returns whether it says the same of every call of a class: its list form is all of it, and no
    /// other for each route.
    fn is_settled(&self) -> bool {
        self.exact && !self.reads.is_of_route()
    }

    /// Returns whether it applies to a resource.
    fn is_about(&self, resource: Option<&EntityUid>) -> bool {
        match &self.resource {
            ResourceConstraint::Any => true,
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => Some(uid) == resource,
            ResourceConstraint::Is(kind) => kind.to_string() == GATEWAY,
            ResourceConstraint::IsIn(kind, uid) => {
                kind.to_string() == GATEWAY && Some(uid) == resource
            }
        }
    }

    /// Returns whether it applies to an action on a resource.
    pub(super) fn applies_to(&self, action: &Action, resource: Option<&EntityUid>) -> bool {
        let applies = match &self.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => *uid == action.uid,
            ActionConstraint::In(uids) => {
                uids.contains(&action.uid) || action.groups.iter().any(|group| uids.contains(group))
            }
        };
        applies && self.is_about(resource)
    }
}
