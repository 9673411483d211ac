//! Whether policies fit the tools that are listed: Cedar's strict validation against a schema that is
//! made of the input schemas of tools.
//!
//! Validating each policy for each tool would take seconds. Of the tools that a policy is about, those
//! whose arguments look the same to it are represented by one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, EntityUid, Policy, PolicySet, Schema, ValidationMode, Validator,
};
use foldhash::HashSet;
use serde_json::{Map, Value, json};

use crate::config::policy_names::{
    AGENTCORE_ACTION, GATEWAY, PRINCIPALS, WEIR_ACTION, has_tags, kind_name,
};
use crate::config::{InputReads, PolicySettings, PolicyValidation};
use crate::policy::classes::number_of;
use crate::policy::findings::{PolicyFinding, Validated};
use crate::policy::input_types::{InputType, InputTypes};
use crate::policy::policies::Policies;
use crate::policy::rules::LoadedPolicy;

/// Most kinds of arguments that a policy is validated for. More are left out: they would take seconds.
const MOST_SHAPES: usize = 64;

impl Policies {
    /// Returns the policies that do not fit the tools of this catalog, in their order. It may take a
    /// second where there are hundreds of policies, unless the tools look the same to them as last
    /// time.
    #[must_use]
    pub fn findings(&self, settings: &PolicySettings) -> Vec<PolicyFinding> {
        if settings.validation == PolicyValidation::Off {
            return Vec::new();
        }
        let policies = || self.rules().policies.iter().zip(&settings.policies);
        let shapes: Vec<_> = policies()
            .map(|(policy, _)| self.shapes_of(policy))
            .collect();
        let listed = self.listed_actions();
        let unlisted: Vec<_> = policies()
            .map(|(policy, _)| unlisted(policy, &listed))
            .collect();
        let mut validated = self.rules().validated.lock();
        if let Some(last) = &*validated
            && last.shapes == shapes
            && last.unlisted == unlisted
        {
            return last.findings.clone();
        }
        let mut job = ValidationJob::default();
        let mut findings = Vec::new();
        for ((policy, written), (shapes, unlisted)) in policies().zip(shapes.iter().zip(&unlisted))
        {
            findings.extend(unlisted.iter().map(|uid| PolicyFinding {
                origin: written.origin.clone(),
                message: format!("no tool `{}` is listed", uid.id().unescaped()),
                is_error: false,
            }));
            job.add(policy, &written.policy, shapes);
        }
        findings.extend(job.run().into_iter().filter_map(|(number, message)| {
            Some(PolicyFinding {
                origin: settings.policies.get(number)?.origin.clone(),
                message,
                is_error: true,
            })
        }));
        findings.sort();
        findings.dedup();
        *validated = Some(Validated {
            shapes,
            unlisted,
            findings: findings.clone(),
        });
        findings
    }

    /// Returns how the arguments of those tools look to a policy that it is about.
    fn shapes_of(&self, policy: &LoadedPolicy) -> BTreeMap<InputTypes, EntityUid> {
        let mut shapes = BTreeMap::new();
        for (action, types) in self.tools_under(policy) {
            let shape = types.seen_by(&policy.reads.input);
            if shape.has_unknown() {
                continue;
            }
            match shapes.entry(shape) {
                Entry::Vacant(vacant) => {
                    vacant.insert(action.clone());
                }
                // The same one whatever the order of the tools.
                Entry::Occupied(mut taken) if action < taken.get() => {
                    taken.insert(action.clone());
                }
                Entry::Occupied(_) => {}
            }
        }
        shapes
    }
}

/// Returns the tools that a policy names and nobody lists.
fn unlisted(policy: &LoadedPolicy, listed: &HashSet<&EntityUid>) -> Vec<EntityUid> {
    let named: &[EntityUid] = match &policy.action {
        ActionConstraint::Eq(uid) => std::slice::from_ref(uid),
        ActionConstraint::In(uids) => uids,
        ActionConstraint::Any => &[],
    };
    let unlisted = named
        .iter()
        .filter(|uid| uid.type_name().to_string() == AGENTCORE_ACTION && !listed.contains(uid));
    unlisted.cloned().collect()
}

/// Policies to be validated, and the schema for that.
#[derive(Default)]
struct ValidationJob {
    /// The number of each, and a tool that has it.
    shapes: BTreeMap<InputTypes, (usize, EntityUid)>,
    policies: Vec<Policy>,
    /// The actions that conditions name.
    named: BTreeSet<EntityUid>,
}

impl ValidationJob {
    /// Adds a policy for the arguments that it is about.
    fn add(
        &mut self,
        loaded: &LoadedPolicy,
        policy: &Policy,
        shapes: &BTreeMap<InputTypes, EntityUid>,
    ) {
        if shapes.is_empty() {
            return;
        }
        let mut actions = Vec::new();
        for (shape, tool) in shapes.iter().take(MOST_SHAPES) {
            let next = self.shapes.len();
            let known = self.shapes.entry(shape.clone());
            let (number, _) = known.or_insert_with(|| (next, tool.clone()));
            actions.push(json!({ "type": AGENTCORE_ACTION, "id": name_of(*number) }));
        }
        let Ok(mut json) = policy.to_json() else {
            return;
        };
        if let Value::Object(members) = &mut json {
            members.insert(
                "action".to_owned(),
                json!({ "op": "in", "entities": actions }),
            );
        }
        let Ok(policy) = Policy::from_json(Some(policy.id().clone()), json) else {
            return;
        };
        let literals = loaded.body.entity_literals().into_iter();
        self.named.extend(literals.filter(|uid| {
            let kind = uid.type_name().to_string();
            kind == AGENTCORE_ACTION || kind == WEIR_ACTION
        }));
        self.policies.push(policy);
    }

    /// Validates; returns the numbers of policies and what is wrong with them.
    fn run(self) -> Vec<(usize, String)> {
        let schema = match Schema::from_json_value(self.schema()) {
            Ok(schema) => schema,
            // Names of arguments that no schema of Cedar can have.
            Err(_) => return Vec::new(),
        };
        let Ok(set) = PolicySet::from_policies(self.policies) else {
            return Vec::new();
        };
        let names = self.shapes.values().map(|(number, tool)| {
            (
                format!("{AGENTCORE_ACTION}::\"{}\"", name_of(*number)),
                tool.to_string(),
            )
        });
        let names: Vec<_> = names.collect();
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        let errors = result.validation_errors().filter_map(|error| {
            let text = error.to_string().replace('\n', " ");
            let id = format!("for policy `{}`, ", error.policy_id());
            let mut text = text.replacen(&id, "", 1);
            for (name, tool) in &names {
                text = text.replace(name, tool);
            }
            Some((number_of(error.policy_id())?, text))
        });
        errors.collect()
    }

    fn schema(&self) -> Value {
        let mut types: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for principal in PRINCIPALS {
            let Some((namespace, name)) = kind_name(principal).split_once("::") else {
                continue;
            };
            let id = json!({ "id": { "type": "String" } });
            let mut entity = json!({ "shape": { "type": "Record", "attributes": id } });
            if has_tags(principal)
                && let Value::Object(members) = &mut entity
            {
                members.insert("tags".to_owned(), json!({ "type": "String" }));
            }
            let all = types.entry(namespace).or_default();
            all.insert(name.to_owned(), entity);
        }
        let gateway = GATEWAY.rsplit("::").next().unwrap_or_default().to_owned();
        types
            .entry("AgentCore")
            .or_default()
            .insert(gateway, json!({}));
        let mut actions: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for uid in &self.named {
            let kind = uid.type_name().to_string();
            let namespace = if kind == WEIR_ACTION {
                "Weir"
            } else {
                "AgentCore"
            };
            let all = actions.entry(namespace).or_default();
            all.insert(uid.id().unescaped().to_owned(), json!({}));
        }
        let agentcore = actions.entry("AgentCore").or_default();
        for (shape, (number, _)) in &self.shapes {
            let action = json!({ "appliesTo": {
                "principalTypes": PRINCIPALS.map(kind_name),
                "resourceTypes": [GATEWAY],
                "context": context_of(shape),
            } });
            agentcore.insert(name_of(*number), action);
        }
        let mut schema = Map::new();
        for namespace in ["AgentCore", "Weir"] {
            let members = json!({
                "entityTypes": types.remove(namespace).unwrap_or_default(),
                "actions": actions.remove(namespace).unwrap_or_default(),
            });
            schema.insert(namespace.to_owned(), members);
        }
        Value::Object(schema)
    }
}

/// Returns the name of the action that stands for all with some arguments.
fn name_of(shape: usize) -> String {
    format!("arguments {shape}")
}

fn context_of(shape: &InputTypes) -> Value {
    let text = json!({ "type": "String" });
    json!({ "type": "Record", "attributes": {
        "input": record_of(shape),
        "system": { "type": "Record", "attributes": {
            "now": { "type": "Extension", "name": "datetime" },
        } },
        "weir": { "type": "Record", "attributes": {
            "upstream": text, "exposed": text, "era": text, "method": text,
        } },
    } })
}

fn record_of(types: &InputTypes) -> Value {
    let mut attributes = Map::new();
    for (name, member) in types.iter() {
        let mut attribute = type_of(&member.kind);
        if let Value::Object(members) = &mut attribute {
            members.insert("required".to_owned(), member.required.into());
        }
        attributes.insert(name.to_owned(), attribute);
    }
    json!({ "type": "Record", "attributes": attributes })
}

fn type_of(kind: &InputType) -> Value {
    match kind {
        InputType::Text | InputType::Any => json!({ "type": "String" }),
        InputType::Integer => json!({ "type": "Long" }),
        InputType::Truth => json!({ "type": "Boolean" }),
        InputType::Number => json!({ "type": "Extension", "name": "decimal" }),
        InputType::List(items) => json!({ "type": "Set", "element": type_of(items) }),
        InputType::Record(types) => record_of(types),
    }
}

impl InputTypes {
    /// Returns the members that are read.
    fn seen_by(&self, reads: &InputReads) -> Self {
        self.only(|name| match reads {
            InputReads::Nothing => false,
            InputReads::Whole => true,
            InputReads::Members(names) => names.contains(name),
        })
    }

    /// Returns whether a member may have any type: then nothing can be said of it.
    fn has_unknown(&self) -> bool {
        self.iter().any(|(_, member)| member.kind.has_unknown())
    }
}

impl InputType {
    fn has_unknown(&self) -> bool {
        match self {
            Self::Any => true,
            Self::List(items) => items.has_unknown(),
            Self::Record(types) => types.has_unknown(),
            Self::Text | Self::Integer | Self::Truth | Self::Number => false,
        }
    }
}
