//! The actions of policies: which one a route is, and the groups that it is in.

use cedar_policy::EntityUid;

use crate::catalog::diff::UpstreamConfigs;
use crate::catalog::{Kind, Repetition};
use crate::config::policy_names::{
    AGENTCORE_ACTION, CALL_TOOL, DESTRUCTIVE, GET_PROMPT, MCP, READ_ONLY, READ_RESOURCE, SEPARATOR,
    WEIR_ACTION,
};
use crate::config::{Connector, Endpoint, Upstream};
use crate::json::Object;
use crate::policy::entities::uid;
use crate::policy::rules::PolicyRules;

/// Facts about an upstream that name the actions of its routes.
#[derive(Debug)]
pub(super) struct UpstreamActions {
    /// Its key in the config.
    pub(super) id: Box<str>,
    /// Whether it is an AgentCore Gateway, whose tools bring the names of their targets.
    pub(super) is_gateway: bool,
    /// Whether the annotations of its tools are believed.
    pub(super) is_trusted: bool,
    /// The resource of all its routes.
    pub(super) resource: Option<EntityUid>,
}

/// An action, and the groups that it is in.
#[derive(Clone, Debug)]
pub(super) struct Action {
    pub(super) uid: EntityUid,
    pub(super) groups: Vec<EntityUid>,
}

impl UpstreamActions {
    pub(super) fn of(rules: &PolicyRules, upstream: &Upstream) -> Self {
        let gateway = match &upstream.endpoint {
            Endpoint::Http(endpoint) => endpoint.gateway.as_ref(),
            Endpoint::Child { .. } => None,
        };
        let id = gateway.and_then(|gateway| gateway.id.as_deref());
        let region = gateway.and_then(|gateway| gateway.region.as_deref());
        Self {
            id: upstream.id.as_str().into(),
            is_gateway: upstream.connector == Connector::AgentcoreGateway,
            is_trusted: upstream.forward_meta,
            resource: id
                .and_then(|id| arn_of(rules, id, region))
                .or_else(|| rules.resource.clone()),
        }
    }

    /// Returns the action of a tool; `None` for a tool of a gateway that would be taken for one of
    /// another upstream.
    ///
    /// `hints` are its annotations, if the upstream's are believed and a policy asks for them.
    pub(super) fn tool(
        &self,
        configs: &UpstreamConfigs,
        original: &str,
        hints: Option<ToolHints>,
    ) -> Option<Action> {
        let target = original.split_once(SEPARATOR).map(|(target, _)| target);
        let (action, group) = match target.filter(|_| self.is_gateway) {
            Some(target) => {
                let taken = configs.contains_key(target) && *target != *self.id;
                (!taken).then(|| (original.to_owned(), target))?
            }
            None => (format!("{}{SEPARATOR}{original}", self.id), &*self.id),
        };
        let hinted = hints.map(|hints| match hints {
            ToolHints::ReadOnly => READ_ONLY,
            ToolHints::Destructive => DESTRUCTIVE,
            ToolHints::Additive => "",
        });
        let hinted = hinted.filter(|group| !group.is_empty());
        let groups = [
            uid(AGENTCORE_ACTION, group),
            uid(AGENTCORE_ACTION, CALL_TOOL),
            uid(AGENTCORE_ACTION, MCP),
            hinted.and_then(|group| uid(WEIR_ACTION, group)),
        ];
        Some(Action {
            uid: uid(AGENTCORE_ACTION, &action)?,
            groups: groups.into_iter().flatten().collect(),
        })
    }
}

impl Action {
    /// Returns the action of all prompts, or of all resources.
    pub(super) fn of_kind(kind: Kind) -> Option<Self> {
        let action = match kind {
            Kind::Prompts => GET_PROMPT,
            Kind::Resources | Kind::Templates => READ_RESOURCE,
            Kind::Tools | Kind::Instructions => return None,
        };
        Some(Self {
            uid: uid(WEIR_ACTION, action)?,
            groups: uid(AGENTCORE_ACTION, MCP).into_iter().collect(),
        })
    }
}

/// Returns the ARN by which policies name a gateway. The account of a gateway is not in the config.
fn arn_of(rules: &PolicyRules, id: &str, region: Option<&str>) -> Option<EntityUid> {
    let is_named = |uid: &&&EntityUid| {
        let arn = uid.id().unescaped();
        let mut parts = arn.splitn(6, ':');
        let (scheme, service) = (parts.next(), parts.nth(1));
        let (of, name) = (parts.next(), parts.nth(1));
        scheme == Some("arn")
            && service == Some("bedrock-agentcore")
            && (region.is_none() || of == region)
            && name.and_then(|name| name.strip_prefix("gateway/")) == Some(id)
    };
    let named = rules.named_gateways();
    named.iter().find(is_named).map(|uid| (*uid).clone())
}

/// The effect of a tool, as its annotations say (`ToolAnnotations` in the schema of the
/// specification).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToolHints {
    /// It changes nothing.
    ReadOnly,
    /// It changes something, and may destroy something: what is said of a tool without hints.
    Destructive,
    /// It only adds something.
    Additive,
}

impl ToolHints {
    /// Reads the definition of a tool.
    pub(super) fn read(repetition: Repetition, definition: &Object<'_>) -> Self {
        if repetition == Repetition::ReadOnly {
            return Self::ReadOnly;
        }
        let hints = definition.object("annotations").ok().flatten();
        match hints.unwrap_or_default().get("destructiveHint") {
            Some("false") => Self::Additive,
            Some(_) | None => Self::Destructive,
        }
    }
}
