//! What the readers of all formats share: the servers that they find, and how they read some of their parts.

use super::server::UpstreamWriter;
use crate::document::node::{MapEntry, Node, Position, Value};

/// A server of a file.
pub(super) struct FoundServer {
    /// What the file calls it.
    pub(super) name: String,
    /// Where it stands.
    pub(super) at: Position,
    pub(super) node: Node,
    /// What is said of it elsewhere in the file.
    pub(super) outer: Vec<MapEntry>,
}

/// A transport that weir does not speak; no word of it is repeated.
pub(super) fn disable_unknown_transport(server: &mut UpstreamWriter<'_>) {
    server.disable("the file says a transport other than Streamable HTTP and stdio");
}

pub(super) fn disable_sse(server: &mut UpstreamWriter<'_>) {
    server.disable(
        "the file says HTTP+SSE, which weir does not speak: try the server's Streamable HTTP URL",
    );
}

/// A list of scopes, or scopes in one text.
pub(super) fn read_scopes(node: &Node) -> Vec<String> {
    match node.items() {
        Some(items) => items.iter().filter_map(Node::scalar).collect(),
        None => {
            let text = node.scalar().unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        }
    }
}

impl Node {
    /// The same, every text changed.
    pub(super) fn map_texts(&self, change: &impl Fn(&str) -> String) -> Self {
        let value = match &self.value {
            Value::Text(text) => Value::Text(change(text)),
            Value::List(items) => {
                Value::List(items.iter().map(|item| item.map_texts(change)).collect())
            }
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| MapEntry {
                    node: entry.node.map_texts(change),
                    ..entry.clone()
                });
                Value::Map(entries.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Removed => self.value.clone(),
        };
        Self { at: self.at, value }
    }
}
