//! An MCP server on AgentCore Runtime as upstream.
