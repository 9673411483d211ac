//! The names of types and actions in policies: AgentCore's, and weir's own.

use crate::caller::Principal;

/// The type of actions of AgentCore: tools, groups of tools.
pub(crate) const AGENTCORE_ACTION: &str = "AgentCore::Action";
/// The type of weir's own actions.
pub(crate) const WEIR_ACTION: &str = "Weir::Action";
/// The type of resources.
pub(crate) const GATEWAY: &str = "AgentCore::Gateway";

/// The group of all calls of tools (AgentCore developer guide, "Policy scope").
pub(crate) const CALL_TOOL: &str = "CallTool";
/// The group of everything.
pub(crate) const MCP: &str = "Mcp";
/// The action of `prompts/get`.
pub(crate) const GET_PROMPT: &str = "get_prompt";
/// The action of `resources/read`.
pub(crate) const READ_RESOURCE: &str = "read_resource";
/// The group of tools that change nothing, by their annotations.
pub(crate) const READ_ONLY: &str = "read_only";
/// The group of tools that may destroy something, by their annotations.
pub(crate) const DESTRUCTIVE: &str = "destructive";
/// Weir's own actions and groups.
pub(crate) const WEIR_ACTIONS: [&str; 4] = [GET_PROMPT, READ_RESOURCE, READ_ONLY, DESTRUCTIVE];

/// The kinds of principals.
pub(crate) const PRINCIPALS: [Principal; 6] = [
    Principal::Anonymous,
    Principal::Local,
    Principal::OAuthUser,
    Principal::IamEntity,
    Principal::ApiKey,
    Principal::Workload,
];

/// Returns the name of a kind of principals.
pub(crate) const fn kind_name(principal: Principal) -> &'static str {
    match principal {
        Principal::Anonymous => "Weir::Anonymous",
        Principal::Local => "Weir::Local",
        Principal::OAuthUser => "AgentCore::OAuthUser",
        Principal::IamEntity => "AgentCore::IamEntity",
        Principal::ApiKey => "Weir::ApiKey",
        Principal::Workload => "Weir::Workload",
    }
}

/// Returns whether principals of a kind have tags. AgentCore's `IamEntity` has none.
pub(crate) const fn has_tags(principal: Principal) -> bool {
    !matches!(principal, Principal::IamEntity)
}

/// Stands between a target and a tool in the names of AgentCore Gateway (developer guide, "Understand
/// how AgentCore Gateway tools are named").
pub(crate) const SEPARATOR: &str = "___";
