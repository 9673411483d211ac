//! An MCP server hosted on Amazon Bedrock AgentCore Runtime (AgentCore developer guide, "Deploy MCP
//! servers in AgentCore Runtime"; model of `InvokeAgentRuntime`).

use crate::upstream::quirks::{Platform, Quirks};

/// A runtime starts a machine for each session, so requests have to name their session, and the
/// first may take 20 seconds. Its only operation is a POST.
pub(super) const QUIRKS: Quirks = Quirks {
    platform: Platform::Runtime,
    affinity: true,
    post_only: true,
    no_delete: true,
    may_require_session_later: false,
    refuses_unknown_versions: false,
};
