//! The parts that the readers of all formats share: the servers that they find, and how to read
//! some of their keys.

use super::server::UpstreamWriter;
use crate::document::node::{MapEntry, Node, Position, Value};

/// A server of a file.
pub(super) struct FoundServer {
    /// Its name in the file.
    pub(super) name: String,
    /// Its position.
    pub(super) at: Position,
    pub(super) node: Node,
    /// Entries elsewhere in the file that apply to it.
    pub(super) outer: Vec<MapEntry>,
}

/// Disables a server with a transport that weir does not support. The report does not quote it.
pub(super) fn disable_unknown_transport(server: &mut UpstreamWriter<'_>) {
    server.disable("the file says a transport other than Streamable HTTP and stdio");
}

pub(super) fn disable_sse(server: &mut UpstreamWriter<'_>) {
    server.disable(
        "the file says HTTP+SSE, which weir does not speak: try the server's Streamable HTTP URL",
    );
}

/// Reads a list of scopes, or scopes in one text.
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
    /// Returns a copy in which every text is changed.
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
