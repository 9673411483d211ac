//! The entities of policies: AgentCore's, and weir's own kinds of callers.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{
    Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression as Value,
};

use crate::caller::Caller;
use crate::config::policy_names::{
    AGENTCORE_ACTION, GATEWAY, PRINCIPALS, WEIR_ACTION, has_tags, kind_name,
};

/// Returns the entity of a type of these; `None` for any other type.
pub(super) fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    static TYPES: LazyLock<BTreeMap<&'static str, EntityTypeName>> = LazyLock::new(|| {
        let principals = PRINCIPALS.map(kind_name);
        let names = [AGENTCORE_ACTION, WEIR_ACTION, GATEWAY];
        let names = names.into_iter().chain(principals);
        let types = names.map(|name| Some((name, EntityTypeName::from_str(name).ok()?)));
        types.flatten().collect()
    });
    let kind = TYPES.get(kind)?.clone();
    Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// The principal of a request, as policies see it.
#[derive(Clone, Debug)]
pub(super) struct PrincipalEntity {
    pub(super) uid: EntityUid,
    /// Itself, with its id and tags.
    pub(super) entities: Entities,
}

impl PrincipalEntity {
    /// Makes the principal of a caller; `None` if its claims cannot be entities, which would be a
    /// mistake in weir.
    pub(super) fn of(caller: &Caller) -> Option<Self> {
        let identity = caller.identity();
        let uid = uid(kind_name(identity.principal), &identity.subject)?;
        let id = Value::new_string(identity.subject.to_string());
        let issuer = identity.issuer.as_deref();
        let issuer = issuer.filter(|_| !identity.tags.contains_key("iss"));
        let issuer = issuer.map(|issuer| ("iss".to_owned(), Value::new_string(issuer.to_owned())));
        let tags = identity.tags.iter();
        let tags = tags.map(|(name, text)| (name.to_string(), Value::new_string(text.to_string())));
        let tags = tags.chain(issuer).filter(|_| has_tags(identity.principal));
        let attributes = [("id".to_owned(), id)];
        let entity = Entity::new_with_tags(uid.clone(), attributes, [], tags).ok()?;
        let entities = Entities::from_entities([entity], None).ok()?;
        Some(Self { uid, entities })
    }
}

/// Returns the entities of an action and of the groups it is in, each with those that it is in
/// itself.
pub(super) fn action_entities(action: &EntityUid, groups: &[EntityUid]) -> Vec<Entity> {
    let mut all = vec![Entity::new_no_attrs(
        action.clone(),
        groups.iter().cloned().collect(),
    )];
    all.extend(
        groups
            .iter()
            .map(|group| Entity::new_no_attrs(group.clone(), HashSet::new())),
    );
    all
}
