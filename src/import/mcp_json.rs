//! The `mcp.json` of Claude Desktop, Cursor, VS Code and those that write it like them.

use super::found::{FoundServer, disable_sse, disable_unknown_transport, read_scopes};
use super::report::{Note, NoteKind};
use super::server::{OAuthClientKeys, UpstreamWriter};
use super::yaml;
use crate::document::node::{MapEntry, Node, Value};

/// Keys at the top that say nothing of a server.
const SILENT: [&str; 3] = ["$schema", "inputs", "mcp"];

/// `mcpServers`, `servers`, or `mcp.servers` of VS Code's settings.
pub(super) fn servers(root: &Node) -> Option<&MapEntry> {
    let mcp = root.get("mcp").and_then(|mcp| mcp.node.get("servers"));
    let entry = root
        .get("mcpServers")
        .or_else(|| root.get("servers"))
        .or(mcp)?;
    entry.node.entries().is_some().then_some(entry)
}

/// The servers, and what else there is in the file.
pub(super) fn items(root: &Node, servers: &MapEntry) -> (Vec<FoundServer>, Vec<Note>) {
    let entries = servers.node.entries().unwrap_or_default().iter();
    let items = entries.map(|entry| FoundServer {
        name: entry.key.clone(),
        at: entry.at,
        node: entry.node.clone(),
        outer: Vec::new(),
    });
    // VS Code's settings have servers among hundreds of other things.
    let is_settings = root.get(&servers.key).is_none();
    let others = root.entries().unwrap_or_default().iter();
    let others = others.filter(|entry| {
        !is_settings && entry.key != servers.key && !SILENT.contains(&entry.key.as_str())
    });
    let notes = others.map(|entry| Note {
        at: entry.at,
        kind: NoteKind::Foreign,
        text: format!("`{}`: it is the client's own", entry.key),
    });
    (items.collect(), notes.collect())
}

/// Returns the inputs that VS Code asks for when it starts a server: variable and question.
pub(super) fn inputs(root: &Node) -> Vec<(String, String)> {
    let inputs = root.get("inputs").and_then(|entry| entry.node.items());
    let inputs = inputs.unwrap_or_default().iter().filter_map(|input| {
        let text = |key: &str| input.get(key)?.node.scalar();
        Some((yaml::variable(&text("id")?), text("description")?))
    });
    inputs.collect()
}

pub(super) fn read(server: &mut UpstreamWriter<'_>, node: &Node) {
    let Value::Map(entries) = &node.value else {
        server.disable("the file has no settings for this server");
        return;
    };
    for MapEntry { key, node, at } in entries {
        server.reading(*at);
        match key.as_str() {
            "command" => server.text("command", node),
            "url" | "serverUrl" | "httpUrl" => server.url(key, node),
            "cwd" => server.text("cwd", node),
            "args" => server.args(node),
            "env" => server.env(node),
            "headers" => server.headers(node),
            "type" | "transport" | "transportType" => transport(server, node),
            "disabled" if matches!(node.value, Value::Bool(true)) => server.switch_off(),
            "enabled" if matches!(node.value, Value::Bool(false)) => server.switch_off(),
            "disabled" | "enabled" if matches!(node.value, Value::Bool(_)) => {}
            "includeTools" | "enabledTools" | "allowedTools" => server.tools(key, node, true),
            "excludeTools" | "disabledTools" => server.tools(key, node, false),
            "oauth" => oauth(server, node),
            "auth" if node.scalar().as_deref() == Some("oauth") => {
                server.login(&OAuthClientKeys::default())
            }
            _ => server.left_out(key, why(key)),
        }
    }
}

fn transport(server: &mut UpstreamWriter<'_>, node: &Node) {
    match node.scalar().as_deref() {
        Some("sse") => disable_sse(server),
        // The `command` or the `url` says it too.
        Some("stdio" | "http" | "streamable-http" | "streamableHttp" | "streamable_http") => {}
        Some(_) | None => disable_unknown_transport(server),
    }
}

/// `{ clientId, clientSecret, scopes }`
fn oauth(server: &mut UpstreamWriter<'_>, node: &Node) {
    let mut client = OAuthClientKeys::default();
    for MapEntry { key, node, at } in node.entries().unwrap_or_default() {
        server.reading(*at);
        match key.as_str() {
            "clientId" | "client_id" => client.client_id = node.scalar(),
            "clientSecret" | "client_secret" => client.client_secret = node.scalar(),
            "scopes" | "scope" => client.scopes = read_scopes(node),
            "enabled" => {}
            _ => server.left_out(&format!("oauth.{key}"), "weir finds it out, or has its own"),
        }
    }
    server.login(&client);
}

/// Explains why a key is not imported.
fn why(key: &str) -> &'static str {
    match key {
        "alwaysAllow" | "autoApprove" | "autoApproveAll" | "trust" => {
            "clients ask people to approve calls; weir does not"
        }
        "envFile" => "what is in that file goes into `env`, or into weir's own environment",
        "timeout" | "requestTimeout" | "initTimeout" | "startupTimeout" => {
            "clients do not agree on its unit; weir's is `timeouts: { call: 120s }`"
        }
        "auth" | "authProviderType" | "bearerTokenEnvVar" => {
            "write it as weir's `auth`; no secret is taken over"
        }
        "tools" | "toolFilter" | "transforms" => {
            "write it as weir's `tools: { allow, deny, override }`"
        }
        "description" | "name" | "title" | "icon" | "note" | "comment" => {
            "weir shows what the server says of itself"
        }
        "dev" | "sandbox" | "sandboxEnabled" | "gallery" | "version" | "watch" => {
            "it is the editor's own"
        }
        _ => "weir has nothing of that name",
    }
}
