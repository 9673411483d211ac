//! Callers that are known without a request, and what a change of policies means for them.

use std::sync::Arc;

use crate::authentication::{KEY_ID, read_api_key_callers};
use crate::caller::{Caller, Principal};
use crate::config::{Config, ListenAuth, SentPolicies};
use crate::live::Snapshot;
use crate::policy::{Access, AccessChange, KnownCaller, Policies, PolicyRules, compare_access};

/// Returns the callers that a config names: those of its API keys, and those of tests of its policies.
/// It reads the file of the keys; one that cannot be read names none.
#[must_use]
pub fn configured_callers(config: &Config) -> Vec<KnownCaller> {
    let tests = config.policy.iter().flat_map(|policy| &policy.tests);
    let tests = tests.map(|test| test.caller());
    let all = api_key_callers(config).into_iter().chain(tests);
    all.map(KnownCaller::from).collect()
}

/// Returns a caller with what the config knows of it: one of an API key, named by its subject or the
/// id of the key, gets its tags.
#[must_use]
pub fn complete_caller(config: &Config, caller: Caller) -> Caller {
    if caller.principal() != Principal::ApiKey || !caller.identity().tags.is_empty() {
        return caller;
    }
    let subject = &caller.identity().subject;
    let mut keys = api_key_callers(config).into_iter();
    let known = keys.find(|known| {
        let known = known.identity();
        known.subject == *subject || known.tags.get(KEY_ID) == Some(subject)
    });
    known.unwrap_or(caller)
}

/// Returns the callers of a config's API keys; none if their file cannot be read.
fn api_key_callers(config: &Config) -> Vec<Caller> {
    let keys = match &config.listen.auth {
        Some(ListenAuth::Callers(ways)) => ways.api_keys.as_ref(),
        Some(ListenAuth::None) | None => None,
    };
    let callers = keys.and_then(|keys| read_api_key_callers(&keys.file).ok());
    callers.unwrap_or_default()
}

/// Returns what callers gain and lose by the policies of `after`, of what both catalogs have: one
/// caller of each class that listed something under `before`, and those that a config names.
///
/// It takes milliseconds for each class, and reads a file.
#[must_use]
pub fn access_changes(before: &Snapshot, after: &Snapshot) -> Vec<AccessChange> {
    let rules = |snapshot: &Snapshot| {
        let policies = snapshot.policies.as_deref();
        policies.map(|policies| Arc::as_ptr(policies.rules()))
    };
    if rules(before) == rules(after) {
        return Vec::new();
    }
    let mut callers = listing_callers(before);
    callers.extend(configured_callers(&after.config));
    callers.extend(configured_callers(&before.config));
    compare_access(Access::of(before), Access::of(after), &callers)
}

/// Returns what callers would gain and lose by these policies, of what is listed now: one caller of
/// each class that listed something, those that the config names, and `tested`. `None` are no
/// policies.
///
/// # Errors
/// The text of a policy is not Cedar.
pub fn access_under(
    snapshot: &Snapshot,
    policies: Option<&SentPolicies>,
    tested: Vec<KnownCaller>,
) -> Result<Vec<AccessChange>, String> {
    let settings = policies.map(SentPolicies::settings).transpose()?;
    let config = &snapshot.config;
    let policies = settings.map(|settings| {
        let rules = PolicyRules::of_settings(&settings, config.instance.as_ref());
        Policies::new(rules, &config.upstreams, &snapshot.catalog, config.memory)
    });
    let mut callers = listing_callers(snapshot);
    callers.extend(configured_callers(config));
    callers.extend(tested);
    let after = Access {
        policies: policies.as_ref(),
        catalog: &snapshot.catalog,
    };
    Ok(compare_access(Access::of(snapshot), after, &callers))
}

impl<'a> Access<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            policies: snapshot.policies.as_deref(),
            catalog: &snapshot.catalog,
        }
    }
}

/// Returns the callers that are known without a request: one of each class that listed something, and
/// those that the config names. It reads the file of the API keys.
#[must_use]
pub fn known_callers(snapshot: &Snapshot) -> Vec<KnownCaller> {
    let mut callers = listing_callers(snapshot);
    callers.extend(configured_callers(&snapshot.config));
    callers
}

/// Returns a caller of each class that listed something.
fn listing_callers(snapshot: &Snapshot) -> Vec<KnownCaller> {
    let policies = snapshot.policies.as_ref();
    let views = policies.map_or_else(Vec::new, |policies| policies.kept_views());
    let callers = views.iter().map(|view| {
        let (caller, era) = view.example();
        let caller = caller.clone();
        KnownCaller { caller, era }
    });
    callers.collect()
}
