//! Other programs' lists of MCP servers → weir YAML: the `mcp.json` of Claude Desktop, Cursor and VS Code, the configs
//! of agentgateway and LiteLLM; and the authorizer of an AgentCore gateway or runtime → `listen.auth.jwt`.
//!
//! Each format has a reader, which finds the servers (`FoundServer`) and knows what its keys mean; `server::UpstreamWriter` is what
//! all of them write to. Secrets do not come along: what looks like one becomes `{ env: NAME }`, and a comment lists the
//! names. What does not come along at all is in the [`ImportReport`].

mod agentgateway;
mod authorizer;
mod found;
mod insert;
mod litellm;
mod mcp_json;
mod new_upstream;
mod report;
mod server;
mod sort;
mod variables;
mod yaml;

use std::collections::HashSet;

use crate::document::node::{Position, SyntaxError};
use crate::document::parse;
use found::FoundServer;
pub use insert::{InsertError, insert};
pub use new_upstream::{NewAuth, NewUpstream, NewUpstreamError, NewValue};
pub use report::{ImportFormat, ImportReport, Note, NoteKind, ServerReport};
use server::UpstreamWriter;
use variables::Variables;
pub(crate) use yaml::scalar as yaml_scalar;

/// An error because of which nothing can be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Neither JSON, comments and trailing commas allowed, nor YAML.
    #[error("{at}: {source}")]
    Syntax {
        /// Its position.
        at: Position,
        /// The error.
        source: SyntaxError,
    },
    /// No servers.
    #[error(
        "no servers here: expected the key `mcpServers` (Claude, Cursor), `servers` (VS Code), `mcp_servers` (LiteLLM), `binds` or `mcp` (agentgateway), `customJWTAuthorizer` (AgentCore)"
    )]
    NoServers,
}

/// The result of an import.
#[derive(Clone, Debug)]
pub struct Imported {
    /// A config, with comments on what needs a decision. It is valid once the variables it lists are set. A server that
    /// weir would refuse is kept with `disabled: true` and the reason.
    pub yaml: String,
    /// The report: what was imported and what was not.
    pub report: ImportReport,
}

/// Turns another program's file into weir YAML. Which program's it is, its keys say.
///
/// # Errors
/// The text is neither JSON nor YAML, or has no servers in it.
pub fn import(text: &str) -> Result<Imported, ImportError> {
    let reading = parse::parse(text);
    if let Some((at, source)) = reading.errors.into_iter().next() {
        return Err(ImportError::Syntax { at, source });
    }
    let root = reading.root.ok_or(ImportError::NoServers)?;
    let (format, (items, notes)) = if let Some(servers) = mcp_json::servers(&root) {
        (ImportFormat::McpJson, mcp_json::items(&root, servers))
    } else if let Some(servers) = litellm::servers(&root) {
        (ImportFormat::LiteLlm, litellm::items(&root, servers))
    } else if agentgateway::is_config(&root) {
        (ImportFormat::Agentgateway, agentgateway::items(&root))
    } else if let Some(found) = authorizer::find(&root) {
        let (yaml, report) = authorizer::import(&root, found);
        return Ok(Imported { yaml, report });
    } else {
        return Err(ImportError::NoServers);
    };
    let mut notes = notes;
    notes.sort_by_key(|note| note.at);
    let mut variables = Variables::default();
    reserve_names(&items, &mut variables);
    variables.inputs.extend(mcp_json::inputs(&root));
    let mut taken = HashSet::new();
    let (mut body, mut keeps, mut servers) = (String::new(), false, Vec::new());
    for item in &items {
        let name = make_unique(&item.name, &mut taken);
        let mut server = UpstreamWriter::new(&name, item.at, &mut variables);
        match format {
            ImportFormat::McpJson => mcp_json::read(&mut server, &item.node),
            ImportFormat::LiteLlm => litellm::read(&mut server, item),
            ImportFormat::Agentgateway => agentgateway::read(&mut server, item, &root),
            // It has no servers, and is imported above.
            ImportFormat::AgentCoreAuthorizer => {}
        }
        let written = server.write();
        body.push_str(&written.yaml);
        keeps |= written.keeps;
        servers.push(written.report);
    }
    let upstreams = if body.is_empty() {
        "upstreams: {}\n"
    } else {
        "upstreams:\n"
    };
    let head = "# yaml-language-server: $schema=./weir.schema.json\n# Made by `weir import`.\n";
    let state = if keeps { "state: { dir: .weir }\n" } else { "" };
    Ok(Imported {
        yaml: format!(
            "{head}{}version: 1\n{state}{upstreams}{body}",
            variables.comment()
        ),
        report: ImportReport {
            format,
            servers,
            notes,
            variables: variables.names(),
        },
    })
}

/// Names that the file refers to must not be given to something else.
fn reserve_names(items: &[FoundServer], variables: &mut Variables) {
    for item in items {
        let outer = item.outer.iter().map(|entry| &entry.node);
        for node in std::iter::once(&item.node).chain(outer) {
            let _ = variables::rewrite(&node.to_json(), |name| variables.reserve(name));
        }
    }
}

/// An upstream's name: 1 to 64 printable characters, not taken.
fn make_unique(name: &str, taken: &mut HashSet<String>) -> String {
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
