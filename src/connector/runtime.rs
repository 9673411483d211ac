//! An MCP server hosted on Amazon Bedrock AgentCore Runtime (AgentCore developer guide, "Deploy MCP servers in AgentCore
//! Runtime"; model of `InvokeAgentRuntime`).

use crate::upstream::quirks::{Errors, Quirks};

/// A runtime starts a machine for each session: requests have to say which is theirs, and the first of them may take 20
/// seconds. Its one operation is a POST.
pub(super) const QUIRKS: Quirks = Quirks {
    errors: Errors::Runtime,
    affinity: true,
    only_posts: true,
    keeps_sessions: true,
    sessions_may_come: false,
    refuses_versions: false,
};
