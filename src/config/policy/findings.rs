//! Mistakes in policies that the config alone shows: names that lead nowhere, attributes that do not
//! exist. A policy with one would never apply, or never be evaluated.

use cedar_policy::{ActionConstraint, EntityUid, PrincipalConstraint, ResourceConstraint};
use strsim::normalized_damerau_levenshtein;

use super::names::{
    AGENTCORE_ACTION, CALL_TOOL, DESTRUCTIVE, GATEWAY, MCP, PRINCIPALS, READ_ONLY, SEPARATOR,
    WEIR_ACTION, WEIR_ACTIONS, kind_name,
};
use super::{ExpressionReads, PolicySettings, TagReads, WrittenPolicy};
use crate::caller::Principal;
use crate::config::{Config, Connector, Endpoint, ListenAuth};

/// How alike two names have to be for one to be suggested.
const ALIKE: f64 = 0.6;

/// Returns the mistakes of a config's policies, each with its policy.
pub(in crate::config) fn find_mistakes<'p>(
    config: &Config,
    settings: &'p PolicySettings,
) -> Vec<(&'p WrittenPolicy, String)> {
    let mut found = Vec::new();
    for policy in &settings.policies {
        let mut check = PolicyCheck {
            config,
            settings,
            mistakes: Vec::new(),
        };
        check.policy(policy);
        check.mistakes.dedup();
        found.extend(check.mistakes.into_iter().map(|mistake| (policy, mistake)));
    }
    found
}

/// The checks of one policy.
struct PolicyCheck<'c> {
    config: &'c Config,
    settings: &'c PolicySettings,
    mistakes: Vec<String>,
}

impl PolicyCheck<'_> {
    fn policy(&mut self, written: &WrittenPolicy) {
        let policy = &written.policy;
        match policy.principal_constraint() {
            PrincipalConstraint::Is(name) | PrincipalConstraint::IsIn(name, _) => {
                self.kind(&name.to_string());
            }
            PrincipalConstraint::Any | PrincipalConstraint::Eq(_) | PrincipalConstraint::In(_) => {}
        }
        match policy.resource_constraint() {
            ResourceConstraint::Is(name) | ResourceConstraint::IsIn(name, _) => {
                self.kind(&name.to_string());
            }
            ResourceConstraint::Any | ResourceConstraint::Eq(_) | ResourceConstraint::In(_) => {}
        }
        let exact = match policy.action_constraint() {
            ActionConstraint::Eq(uid) => Some(uid),
            ActionConstraint::Any | ActionConstraint::In(_) => None,
        };
        if let Some(uid) = exact.filter(is_group) {
            let id = uid.id().unescaped();
            self.mistakes.push(format!(
                "`action == {uid}` never applies, because `{id}` is a group: write `action in`"
            ));
        }
        let reads = ExpressionReads::of(policy);
        for uid in policy.entity_literals() {
            self.entity(&uid);
            self.issuer(&uid, &reads.tags);
        }
        reads.types.iter().for_each(|name| self.kind(name));
        for attribute in &reads.unknown_attributes {
            self.mistakes
                .push(format!("there is no attribute `{attribute}`"));
        }
    }

    fn entity(&mut self, uid: &EntityUid) {
        let (kind, id) = (uid.type_name().to_string(), uid.id().unescaped());
        match kind.as_str() {
            AGENTCORE_ACTION => self.action(id),
            WEIR_ACTION if !WEIR_ACTIONS.contains(&id) => {
                let meant = suggestion(id, WEIR_ACTIONS.into_iter());
                self.mistakes
                    .push(format!("there is no action `{uid}`{meant}"));
            }
            GATEWAY => self.gateway(id),
            _ => self.kind(&kind),
        }
    }

    /// Checks that a subject is meant of one issuer: the same subject of two is two principals, and
    /// AgentCore's entities have the subject only.
    fn issuer(&mut self, uid: &EntityUid, tags: &TagReads) {
        let reads_issuer = match tags {
            TagReads::Named(names) => names.contains("iss"),
            TagReads::Any => false,
        };
        let is_user = uid.type_name().to_string() == kind_name(Principal::OAuthUser);
        if is_user && !reads_issuer && self.has_several_issuers() {
            self.mistakes.push(format!(
                "`{uid}` may be a subject of each issuer of `listen.auth`: add `when {{ principal.getTag(\"iss\") == \"…\" }}`"
            ));
        }
    }

    fn has_several_issuers(&self) -> bool {
        let Some(ListenAuth::Callers(ways)) = &self.config.listen.auth else {
            return false;
        };
        let mut issuers = ways.jwt.iter().map(|entry| &entry.issuer);
        let first = issuers.next();
        issuers.any(|issuer| Some(issuer) != first)
    }

    /// Checks the name of an action of AgentCore: a tool, or a group.
    fn action(&mut self, id: &str) {
        if matches!(id, MCP | CALL_TOOL) || self.has_gateway() {
            // The targets of gateways are not in the config.
            return;
        }
        let upstreams = || self.config.upstreams.keys().map(|id| id.as_str());
        let begins = |upstream: &str| {
            let rest = id.strip_prefix(upstream);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATOR))
        };
        if !upstreams().any(begins) {
            let name = id
                .split_once(SEPARATOR)
                .map_or(id, |(upstream, _)| upstream);
            let meant = suggestion(name, upstreams());
            let mistake = format!(
                "the action `{id}` is of no upstream of this config: actions are UPSTREAM{SEPARATOR}TOOL or UPSTREAM{meant}"
            );
            self.mistakes.push(mistake);
        }
    }

    fn has_gateway(&self) -> bool {
        let mut upstreams = self.config.upstreams.values();
        upstreams.any(|upstream| upstream.connector == Connector::AgentcoreGateway)
    }

    /// Checks the id of a resource.
    fn gateway(&mut self, id: &str) {
        let own = self.settings.gateway.as_deref();
        let instance = self
            .config
            .instance
            .as_ref()
            .map(|instance| instance.as_str());
        if own.or(instance) == Some(id) {
            return;
        }
        let is_of = |upstream: &crate::config::Upstream| match &upstream.endpoint {
            Endpoint::Http(endpoint) => endpoint.gateway.as_ref().is_some_and(|gateway| {
                let known = gateway.id.as_deref();
                known.is_some_and(|known| id.ends_with(&format!(":gateway/{known}")))
            }),
            Endpoint::Child { .. } => false,
        };
        if !self
            .config
            .upstreams
            .values()
            .any(|upstream| is_of(upstream))
        {
            self.mistakes.push(format!(
                "no resource has the id `{id}`: write it as `policy.gateway`, or leave out the resource"
            ));
        }
    }

    /// Checks the name of a type.
    fn kind(&mut self, name: &str) {
        let known = || {
            PRINCIPALS
                .map(kind_name)
                .into_iter()
                .chain([AGENTCORE_ACTION, WEIR_ACTION, GATEWAY])
        };
        if !known().any(|known| known == name) {
            let meant = suggestion(name, known());
            self.mistakes
                .push(format!("there is no type `{name}`{meant}"));
        }
    }
}

/// Returns whether an action is a group of others.
fn is_group(uid: &EntityUid) -> bool {
    let id = uid.id().unescaped();
    match uid.type_name().to_string().as_str() {
        AGENTCORE_ACTION => matches!(id, MCP | CALL_TOOL) || !id.contains(SEPARATOR),
        WEIR_ACTION => matches!(id, READ_ONLY | DESTRUCTIVE),
        _ => false,
    }
}

/// Returns the name that was probably meant, in words.
fn suggestion<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let alike = known.map(|known| (normalized_damerau_levenshtein(name, known), known));
    let best = alike.filter(|(likeness, _)| *likeness >= ALIKE);
    let best = best.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map_or_else(String::new, |(_, known)| {
        format!(" (did you mean `{known}`?)")
    })
}
