//! The config of agentgateway: MCP targets, wherever they stand (its `types/local.rs`).

mod target;

use indexmap::IndexMap;

use super::found::FoundServer;
use super::report::{Note, NoteKind};
use crate::document::node::{MapEntry, Node, Position};
pub(super) use target::read;

/// Whether the file looks like one of agentgateway's.
pub(super) fn is_config(root: &Node) -> bool {
    let list = |key: &str| {
        root.get(key)
            .is_some_and(|entry| entry.node.items().is_some())
    };
    let simple = root.get("mcp");
    list("binds") || simple.is_some_and(|mcp| mcp.node.get("targets").is_some())
}

/// The targets, and what else there is in the file.
pub(super) fn items(root: &Node) -> (Vec<FoundServer>, Vec<Note>) {
    let mut found = GatewayConfig {
        root,
        items: Vec::new(),
        aside: IndexMap::new(),
    };
    for entry in root.entries().unwrap_or_default() {
        match entry.key.as_str() {
            "binds" => found.each(&entry.node, GatewayConfig::bind),
            "mcp" => found.backend(&entry.node, &mut Vec::new()),
            "backends" => {}
            _ => found.aside(entry),
        }
    }
    found.named_backends();
    let notes = found.aside.into_iter().map(|(key, (at, count))| {
        let more = if count > 1 {
            format!(", {count} times")
        } else {
            String::new()
        };
        let (kind, why) = target::explain_key(&key);
        Note {
            at,
            kind,
            text: format!("`{key}`{more}: {why}"),
        }
    });
    let mut notes: Vec<_> = notes.collect();
    if let Some(first) = found.items.first() {
        notes.push(Note {
            at: first.at,
            kind: NoteKind::Changed,
            text: "names: weir exposes `target__tool` where agentgateway has `target_tool`, or `tool` with a single target; `naming.separator` and `namespace` say so".to_owned(),
        });
    }
    (found.items, notes)
}

/// The file, and what was found in it so far.
struct GatewayConfig<'n> {
    root: &'n Node,
    items: Vec<FoundServer>,
    /// Keys that concern no server: the first position of each, and how often it occurs.
    aside: IndexMap<String, (Position, usize)>,
}

impl<'n> GatewayConfig<'n> {
    fn aside(&mut self, entry: &MapEntry) {
        let there = self.aside.entry(entry.key.clone());
        there.or_insert((entry.at, 0)).1 += 1;
    }

    fn each(&mut self, list: &'n Node, one: fn(&mut Self, &'n Node)) {
        for item in list.items().unwrap_or_default() {
            one(self, item);
        }
    }

    fn bind(&mut self, bind: &'n Node) {
        for entry in bind.entries().unwrap_or_default() {
            match entry.key.as_str() {
                "listeners" => self.each(&entry.node, Self::listener),
                _ => self.aside(entry),
            }
        }
    }

    fn listener(&mut self, listener: &'n Node) {
        for entry in listener.entries().unwrap_or_default() {
            match entry.key.as_str() {
                "routes" => self.each(&entry.node, Self::route),
                "name" => {}
                _ => self.aside(entry),
            }
        }
    }

    fn route(&mut self, route: &'n Node) {
        let mut outer = Vec::new();
        for entry in route.entries().unwrap_or_default() {
            match entry.key.as_str() {
                "policies" => self.policies(&entry.node, &mut outer),
                "backends" | "name" | "ruleName" => {}
                _ => self.aside(entry),
            }
        }
        let backends = route.get("backends").and_then(|entry| entry.node.items());
        for backend in backends.unwrap_or_default() {
            self.route_backend(backend, &outer);
        }
    }

    fn route_backend(&mut self, backend: &'n Node, outer: &[MapEntry]) {
        let mut policies = outer.to_vec();
        if let Some(entry) = backend.get("policies") {
            self.policies(&entry.node, &mut policies);
        }
        for entry in backend.entries().unwrap_or_default() {
            match entry.key.as_str() {
                "mcp" => self.backend(&entry.node, &mut policies),
                "policies" | "name" => {}
                _ => self.aside(entry),
            }
        }
    }

    /// Reads a mapping that has `targets`.
    fn backend(&mut self, mcp: &'n Node, policies: &mut Vec<MapEntry>) {
        if let Some(entry) = mcp.get("policies") {
            self.policies(&entry.node, policies);
        }
        for entry in mcp.entries().unwrap_or_default() {
            if !matches!(entry.key.as_str(), "targets" | "policies" | "name") {
                self.aside(entry);
            }
        }
        let targets = mcp.get("targets").and_then(|entry| entry.node.items());
        for target in targets.unwrap_or_default() {
            let item = FoundServer {
                name: target
                    .get("name")
                    .and_then(|entry| entry.node.scalar())
                    .unwrap_or_default(),
                at: target.at,
                node: target.map_texts(&braced),
                // No policy of a route is about a child.
                outer: match target.get("stdio") {
                    Some(_) => Vec::new(),
                    None => policies.iter().map(MapEntry::braced).collect(),
                },
            };
            let same = |known: &FoundServer| {
                let outer = |item: &FoundServer| -> Vec<_> {
                    item.outer
                        .iter()
                        .map(|entry| entry.node.to_json())
                        .collect()
                };
                known.node.to_json() == item.node.to_json() && outer(known) == outer(&item)
            };
            if !self.items.iter().any(same) {
                self.items.push(item);
            }
        }
    }

    /// Policies about a backend go with its targets; the others are about callers.
    fn policies(&mut self, policies: &'n Node, kept: &mut Vec<MapEntry>) {
        for entry in policies.entries().unwrap_or_default() {
            match entry.key.as_str() {
                "backendAuth" | "backendTLS" | "requestHeaderModifier" => {
                    kept.retain(|known| known.key != entry.key);
                    kept.push(entry.clone());
                }
                _ => self.aside(entry),
            }
        }
    }

    /// Backends at the top that are MCP servers, which routes only name.
    fn named_backends(&mut self) {
        let backends = self.root.get("backends");
        let backends = backends.and_then(|entry| entry.node.items());
        for backend in backends.unwrap_or_default() {
            if backend.get("mcp").is_some() {
                self.route_backend(backend, &[]);
            }
        }
    }
}

impl MapEntry {
    fn braced(&self) -> Self {
        Self {
            node: self.node.map_texts(&braced),
            ..self.clone()
        }
    }
}

/// `$NAME` as `${NAME}`; `$$` stays.
fn braced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        out.push('$');
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = after.find(|c| !word(c)).unwrap_or(after.len());
        let (name, left) = after.split_at(end);
        rest = after;
        if let Some(left) = after.strip_prefix('$') {
            out.push('$');
            rest = left;
        } else if name.starts_with(|c: char| !c.is_ascii_digit()) {
            out.push_str(&format!("{{{name}}}"));
            rest = left;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_braces_gets_them() {
        for (text, expected) in [
            ("$A/b", "${A}/b"),
            ("a$_B-${C}$D", "a${_B}-${C}${D}"),
            ("$1 $$A $ $", "$1 $$A $ $"),
            ("a", "a"),
        ] {
            assert_eq!(braced(text), expected);
        }
    }
}
