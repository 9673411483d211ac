//! The `mcp.json` of Claude Desktop, Cursor and VS Code → weir YAML.
//!
//! Secrets do not come along: what looks like one becomes `{ env: NAME }`, and a comment lists the names.

mod server;
mod sort;
mod variables;
mod yaml;

use std::collections::HashSet;

use super::node::{self, Entry, Node, Position, SyntaxError};
use server::Server;
use variables::Variables;

/// Why a text is not an `mcp.json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not JSON, comments and trailing commas allowed.
    #[error("{at}: {source}")]
    Syntax {
        /// Where.
        at: Position,
        /// What.
        source: SyntaxError,
    },
    /// JSON without servers.
    #[error(
        "no servers here: expected the key `mcpServers` (Claude, Cursor) or `servers` (VS Code)"
    )]
    NoServers,
}

/// Turns an `mcp.json` into weir YAML, with comments on what needs a decision.
///
/// The YAML is a valid config once the variables it lists are set. A server that weir would refuse is kept with
/// `disabled: true` and the reason.
///
/// # Errors
/// The text is no JSON, or has no servers in it.
pub fn import(text: &str) -> Result<String, ImportError> {
    let reading = node::read(text);
    if let Some((at, source)) = reading.errors.into_iter().next() {
        return Err(ImportError::Syntax { at, source });
    }
    let root = reading.root.ok_or(ImportError::NoServers)?;
    let servers = servers(&root).ok_or(ImportError::NoServers)?;
    let mut variables = Variables::default();
    reserve(servers, &mut variables);
    inputs(&root, &mut variables);
    let mut taken = HashSet::new();
    let mut body = String::new();
    for entry in servers {
        let name = unique(&entry.key, &mut taken);
        body.push_str(&Server::new(&name, &entry.node, &mut variables).yaml());
    }
    let upstreams = if body.is_empty() {
        "upstreams: {}\n"
    } else {
        "upstreams:\n"
    };
    let head = "# yaml-language-server: $schema=./weir.schema.json\n# Made by `weir import`.\n";
    Ok(format!(
        "{head}{}version: 1\n{upstreams}{body}",
        variables.comment()
    ))
}

/// `mcpServers`, `servers`, or `mcp.servers` of VS Code's settings.
fn servers(root: &Node) -> Option<&[Entry]> {
    let mcp = root.get("mcp").and_then(|mcp| mcp.node.get("servers"));
    let entry = root
        .get("mcpServers")
        .or_else(|| root.get("servers"))
        .or(mcp)?;
    entry.node.entries()
}

/// Names that the file refers to must not be given to something else.
fn reserve(servers: &[Entry], variables: &mut Variables) {
    for entry in servers {
        let _ = variables::rewrite(&entry.node.to_json(), |name| variables.reserve(name));
    }
}

/// VS Code asks for these when it starts a server.
fn inputs(root: &Node, variables: &mut Variables) {
    let inputs = root.get("inputs").and_then(|entry| entry.node.items());
    for input in inputs.unwrap_or_default() {
        let text = |key: &str| input.get(key)?.node.scalar();
        if let (Some(id), Some(description)) = (text("id"), text("description")) {
            variables.inputs.insert(yaml::variable(&id), description);
        }
    }
}

/// An upstream's name: 1 to 64 printable characters, not taken.
fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let legal: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let legal = if legal.is_empty() {
        "unnamed".to_owned()
    } else {
        legal
    };
    let stem: String = legal.chars().take(58).collect();
    let numbered = (2..).map(|number| format!("{stem}-{number}"));
    let mut names = std::iter::once(legal.clone()).chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or(legal);
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests;
