//! The policies of a config, taken apart: where each applies, what it reads, its list form.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Authorizer, Effect, EntityUid, Policy, PolicyId, PolicySet,
    PrincipalConstraint, ResourceConstraint,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::caller::IdentityDigest;
use crate::catalog::Kind;
use crate::config::policy_names::GATEWAY;
use crate::config::{
    Config, ExpressionReads, Fingerprint, PolicyCoverage, PolicyMode, PolicySettings, WrittenPolicy,
};
use crate::lookups::LookupCounts;
use crate::name::Instance;
use crate::policy::classes::{CallerClass, ClassKey, Projection, number_of};
use crate::policy::entities::uid;
use crate::policy::findings::Validated;
use crate::policy::list_form::list_form;
use crate::recent::Recent;

/// Most callers whose class is remembered, twice.
pub(super) const CALLERS: usize = 8 * 1024;
/// Most classes that are remembered, twice.
pub(super) const CLASSES: usize = 512;

/// One policy, taken apart.
pub(super) struct LoadedPolicy {
    /// Its name in records.
    pub(super) name: Arc<str>,
    pub(super) permits: bool,
    pub(super) log_only: bool,
    pub(super) action: ActionConstraint,
    pub(super) resource: ResourceConstraint,
    /// The policy for any action and resource: those are looked at when slices are made.
    pub(super) body: Policy,
    /// Its list form, as a permit; `None` for a forbid that may not apply.
    pub(super) list: Option<Policy>,
    /// Whether the list form is the whole policy.
    pub(super) exact: bool,
    pub(super) reads: ExpressionReads,
}

/// The policies of a config, and what is known of its callers. They outlive catalogs.
pub struct PolicyRules {
    pub(super) fingerprint: Fingerprint,
    pub(super) mode: PolicyMode,
    pub(super) covers: PolicyCoverage,
    /// The resource of what is behind no gateway that a policy names.
    pub(super) resource: Option<EntityUid>,
    pub(super) policies: Vec<LoadedPolicy>,
    /// The list forms of policies that say the same of every route.
    pub(super) lists: PolicySet,
    pub(super) projection: Projection,
    pub(super) authorizer: Authorizer,
    pub(super) callers: Mutex<Recent<IdentityDigest, Arc<CallerClass>>>,
    pub(super) classes: Mutex<Recent<ClassKey, Arc<CallerClass>>>,
    pub(super) validated: Mutex<Option<Validated>>,
    pub(super) lookups: Arc<LookupCounts>,
}

impl std::fmt::Debug for PolicyRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let policies = self.policies.len();
        f.debug_struct("PolicyRules")
            .field("policies", &policies)
            .finish_non_exhaustive()
    }
}

impl PolicyRules {
    /// Takes the policies of a config apart; `None` if it has none.
    #[must_use]
    pub fn of(config: &Config) -> Option<Arc<Self>> {
        let settings = config.policy.as_ref()?;
        Some(Self::of_settings(settings, config.instance.as_ref()))
    }

    /// Takes policies apart. `instance` is the name of this weir, the resource where no other is set.
    #[must_use]
    pub fn of_settings(settings: &PolicySettings, instance: Option<&Instance>) -> Arc<Self> {
        let policies: Vec<_> = settings.policies.iter().map(LoadedPolicy::of).collect();
        let instance = || instance.map_or("weir", Instance::as_str);
        let gateway = settings.gateway.as_deref().unwrap_or_else(instance);
        let lists = policies.iter().filter(|policy| !policy.reads.is_of_route());
        let lists = set_of(
            lists
                .filter(|policy| !policy.log_only)
                .filter_map(|policy| policy.list.as_ref()),
        );
        Arc::new(Self {
            fingerprint: settings.fingerprint,
            mode: settings.mode,
            covers: settings.covers,
            resource: uid(GATEWAY, gateway),
            lists,
            projection: Projection::of(policies.iter().map(|policy| &policy.reads)),
            policies,
            authorizer: Authorizer::new(),
            callers: Mutex::new(Recent::new(CALLERS)),
            classes: Mutex::new(Recent::new(CLASSES)),
            validated: Mutex::new(None),
            lookups: Arc::default(),
        })
    }

    /// Returns how many look-ups of views found one, and how many did not.
    #[must_use]
    pub fn view_lookups(&self) -> (u64, u64) {
        self.lookups.counts()
    }

    /// Returns whether it was made of the policies of this config.
    #[must_use]
    pub fn is_of(&self, config: &Config) -> bool {
        let settings = config.policy.as_ref();
        settings.is_some_and(|settings| settings.fingerprint == self.fingerprint)
    }

    /// Returns whether requests of a kind need a permit.
    pub(super) fn covers_kind(&self, kind: Kind) -> bool {
        match kind {
            Kind::Tools => self.covers.tools,
            Kind::Prompts => self.covers.prompts,
            Kind::Resources | Kind::Templates => self.covers.resources,
            Kind::Instructions => false,
        }
    }

    /// Returns whether callers may be kept from seeing some of a kind.
    pub(super) fn hides(&self, kind: Kind) -> bool {
        self.covers_kind(kind) && self.mode == PolicyMode::Enforce
    }

    /// Returns the ids of gateways that policies name as resources.
    pub(super) fn named_gateways(&self) -> BTreeSet<&EntityUid> {
        let named = self
            .policies
            .iter()
            .filter_map(|policy| match &policy.resource {
                ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => Some(uid),
                ResourceConstraint::IsIn(_, uid) => Some(uid),
                ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
            });
        named.collect()
    }

    /// Returns the policy with this id in a set.
    pub(super) fn policy(&self, id: &PolicyId) -> Option<&LoadedPolicy> {
        self.policies.get(number_of(id)?)
    }
}

impl LoadedPolicy {
    fn of(written: &WrittenPolicy) -> Self {
        let WrittenPolicy {
            name,
            log_only,
            policy,
            ..
        } = written;
        let permits = policy.effect() == Effect::Permit;
        let json = policy.to_json().unwrap_or_default();
        let conditions = json.get("conditions").cloned().unwrap_or_default();
        let mut reads = ExpressionReads::of(policy);
        reads.named.extend(match policy.principal_constraint() {
            PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::In(uid)
            | PrincipalConstraint::IsIn(_, uid) => Some(uid),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        });
        let list = list_form(permits, &conditions);
        let exact = list.as_ref().is_some_and(|list| list.exact);
        let list = list.and_then(|list| {
            let mut json = anywhere(&json);
            if let Value::Object(members) = &mut json {
                members.insert("effect".to_owned(), "permit".into());
                members.insert("conditions".to_owned(), list.conditions);
            }
            parse(policy.id(), json)
        });
        let body = parse(policy.id(), anywhere(&json)).unwrap_or_else(|| {
            // It has been parsed before, so this does not happen; it would need its entities.
            reads.scope = true;
            policy.clone()
        });
        Self {
            name: (&**name).into(),
            permits,
            log_only: *log_only,
            action: policy.action_constraint(),
            resource: policy.resource_constraint(),
            body,
            list,
            exact,
            reads,
        }
    }
}

/// Returns a policy for any action and resource.
fn anywhere(json: &Value) -> Value {
    let mut json = json.clone();
    if let Value::Object(members) = &mut json {
        members.insert("action".to_owned(), json!({ "op": "All" }));
        members.insert("resource".to_owned(), json!({ "op": "All" }));
    }
    json
}

/// Parses a policy that was changed. Of its text, and not of its JSON: a policy keeps what it was
/// made of, and there are many copies.
fn parse(id: &PolicyId, json: Value) -> Option<Policy> {
    let policy = Policy::from_json(Some(id.clone()), json).ok()?;
    let text = policy.to_cedar();
    text.and_then(|text| Policy::parse(Some(id.clone()), text).ok())
        .or(Some(policy))
}

/// Returns a set of these policies, of which no two have one id.
pub(super) fn set_of<'p>(policies: impl Iterator<Item = &'p Policy>) -> PolicySet {
    let mut set = PolicySet::new();
    for policy in policies {
        // Only a second policy with the same id is refused.
        let _ = set.add(policy.clone());
    }
    set
}
