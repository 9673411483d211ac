//! The config of agentgateway: MCP targets, wherever they stand (its `types/local.rs`).

use indexmap::IndexMap;

use super::Item;
use super::report::{Fate, Note};
use super::server::{Server, Signing};
use crate::config::node::{Entry, Node, Position, Value};

/// Whether the file looks like one of agentgateway's.
pub(super) fn is(root: &Node) -> bool {
    let list = |key: &str| {
        root.get(key)
            .is_some_and(|entry| entry.node.items().is_some())
    };
    let simple = root.get("mcp");
    list("binds") || simple.is_some_and(|mcp| mcp.node.get("targets").is_some())
}

/// The targets, and what else there is in the file.
pub(super) fn items(root: &Node) -> (Vec<Item>, Vec<Note>) {
    let mut found = Found {
        root,
        items: Vec::new(),
        aside: IndexMap::new(),
    };
    for entry in root.entries().unwrap_or_default() {
        match entry.key.as_str() {
            "binds" => found.each(&entry.node, Found::bind),
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
        let (fate, why) = elsewhere(&key);
        Note {
            at,
            fate,
            text: format!("`{key}`{more}: {why}"),
        }
    });
    let mut notes: Vec<_> = notes.collect();
    if let Some(first) = found.items.first() {
        notes.push(Note {
            at: first.at,
            fate: Fate::Changed,
            text: "names: weir exposes `target__tool` where agentgateway has `target_tool`, or `tool` with a single target; `naming.separator` and `namespace` say so".to_owned(),
        });
    }
    (found.items, notes)
}

/// What is found on the way through the file.
struct Found<'n> {
    root: &'n Node,
    items: Vec<Item>,
    /// What concerns no server: where it stands first, and how often.
    aside: IndexMap<String, (Position, usize)>,
}

impl<'n> Found<'n> {
    fn aside(&mut self, entry: &Entry) {
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

    fn route_backend(&mut self, backend: &'n Node, outer: &[Entry]) {
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

    /// What has `targets`.
    fn backend(&mut self, mcp: &'n Node, policies: &mut Vec<Entry>) {
        if let Some(entry) = mcp.get("policies") {
            self.policies(&entry.node, policies);
        }
        for entry in mcp.entries().unwrap_or_default() {
            if !matches!(entry.key.as_str(), "targets" | "policies") {
                self.aside(entry);
            }
        }
        let targets = mcp.get("targets").and_then(|entry| entry.node.items());
        for target in targets.unwrap_or_default() {
            let item = Item {
                name: target
                    .get("name")
                    .and_then(|entry| entry.node.scalar())
                    .unwrap_or_default(),
                at: target.at,
                node: target.mapped(&braced),
                outer: policies.iter().map(Entry::braced).collect(),
            };
            let same = |known: &Item| {
                let outer = |item: &Item| -> Vec<_> {
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
    fn policies(&mut self, policies: &'n Node, kept: &mut Vec<Entry>) {
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

impl Entry {
    fn braced(&self) -> Self {
        Self {
            node: self.node.mapped(&braced),
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

pub(super) fn read(server: &mut Server<'_>, item: &Item, root: &Node) {
    let mut outer = item.outer.clone();
    for Entry { key, node, at } in item.node.entries().unwrap_or_default() {
        server.reading(*at);
        match key.as_str() {
            "name" => {}
            "stdio" => stdio(server, node),
            "mcp" => http(server, node, &item.outer, root),
            "sse" => {
                super::sse(server);
                http(server, node, &item.outer, root);
            }
            "openapi" => server.disable("it is an OpenAPI service, not an MCP server"),
            "policies" => {
                for entry in node.entries().unwrap_or_default() {
                    outer.retain(|known| known.key != entry.key);
                    outer.push(entry.clone());
                }
            }
            "condition" => server.left_out(key, "all callers of a weir see the same"),
            _ => server.left_out(key, "weir has nothing of that name"),
        }
    }
    for Entry { key, node, at } in &outer {
        server.reading(*at);
        match key.as_str() {
            "backendAuth" => auth(server, node),
            "backendTLS" => tls(server, node),
            "requestHeaderModifier" => headers(server, node),
            _ => server.left_out(key, elsewhere(key).1),
        }
    }
}

fn stdio(server: &mut Server<'_>, node: &Node) {
    for Entry { key, node, at } in node.entries().unwrap_or_default() {
        server.reading(*at);
        match key.as_str() {
            "cmd" => server.text("command", node),
            "args" => server.args(node),
            "env" => server.env(node),
            "clearEnv" => {}
            _ => server.left_out(&format!("stdio.{key}"), "weir has nothing of that name"),
        }
    }
    let clear = node.get("clearEnv").map(|entry| &entry.node.value);
    if !matches!(clear, Some(Value::Bool(true))) {
        server.changed("a child of weir inherits PATH, HOME and the like only: what else it needs goes into `env`");
    }
}

/// `host` as a URL; `host`, `port` and `path`; or the name of a backend.
fn http(server: &mut Server<'_>, node: &Node, policies: &[Entry], root: &Node) {
    let text = |key: &str| node.get(key)?.node.scalar();
    let tls = policies.iter().any(|entry| entry.key == "backendTLS");
    let scheme = if tls { "https" } else { "http" };
    let path = text("path").unwrap_or_default();
    let host = match (text("host"), text("backend")) {
        (Some(host), _) => host,
        (None, Some(name)) => match backend(root, &name) {
            Some(host) => host,
            None => return server.disable("its backend is described elsewhere"),
        },
        (None, None) => return server.disable("it has no host"),
    };
    let authority = match text("port") {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    let url = match authority.contains("://") {
        true => format!("{authority}{path}"),
        false => format!("{scheme}://{authority}{path}"),
    };
    let value = Value::Text(url);
    server.url(&Node { at: node.at, value });
}

/// The host of a backend that is described at the top.
fn backend(root: &Node, name: &str) -> Option<String> {
    let name = name.rsplit('/').next()?;
    let backends = root.get("backends")?.node.items()?;
    let mut named = backends.iter().filter(|backend| {
        let found = backend.get("name").and_then(|entry| entry.node.scalar());
        found.as_deref() == Some(name)
    });
    named.next()?.get("host")?.node.scalar()
}

fn auth(server: &mut Server<'_>, node: &Node) {
    for Entry { key, node, at } in node.entries().unwrap_or_default() {
        server.reading(*at);
        match key.as_str() {
            "key" => bearer(server, node),
            "aws" => {
                let text = |key: &str| node.get(key)?.node.scalar();
                server.sigv4(&Signing {
                    service: text("serviceName").or_else(|| text("service")),
                    region: text("region"),
                    role: text("assumeRole").or_else(|| text("roleArn")),
                    access_key_id: text("accessKeyId"),
                    secret_access_key: text("secretAccessKey"),
                    session_token: text("sessionToken"),
                });
            }
            "passthrough" => server.left_out(
                "backendAuth.passthrough",
                "weir sends no caller's token on; it logs in itself, with `auth`",
            ),
            _ => server.left_out(&format!("backendAuth.{key}"), "write it as weir's `auth`"),
        }
    }
}

/// A key as text or in a file; or as `value`, with the place where it is sent.
fn bearer(server: &mut Server<'_>, node: &Node) {
    let inner = node.get("value").map_or(node, |entry| &entry.node);
    if node.get("location").is_some() {
        let why = "weir sends it as a bearer token; `auth: header` names another header";
        server.left_out("backendAuth.key.location", why);
    }
    let file = inner.get("file").and_then(|entry| entry.node.scalar());
    match (inner.scalar(), file) {
        (Some(text), _) => server.token(&text),
        (None, Some(file)) => {
            let file = server.quoted(&file, "auth");
            server.bearer(&format!("{{ file: {file} }}"));
            server.changed("a relative path is taken from the folder of weir's config");
        }
        (None, None) => server.left_out("backendAuth.key", "it is neither text nor a file"),
    }
}

fn tls(server: &mut Server<'_>, node: &Node) {
    let mut members = Vec::new();
    for Entry { key, node, at } in node.entries().unwrap_or_default() {
        server.reading(*at);
        let member = match key.as_str() {
            "root" => "ca",
            "cert" => "cert",
            "key" => "key",
            "hostname" => "server_name",
            "insecure" | "insecureHost" if matches!(node.value, Value::Bool(false)) => continue,
            "insecure" | "insecureHost" => {
                let why = "weir always checks certificates; `tls: { ca: FILE }` says whose";
                server.left_out(&format!("backendTLS.{key}"), why);
                continue;
            }
            _ => {
                let key = format!("backendTLS.{key}");
                server.left_out(&key, "weir has nothing of that name");
                continue;
            }
        };
        let Some(text) = node.scalar() else {
            server.left_out(&format!("backendTLS.{key}"), "it is not text");
            continue;
        };
        let text = server.quoted(&text, &format!("tls.{member}"));
        members.push(match member {
            "key" => format!("key: {{ file: {text} }}"),
            _ => format!("{member}: {text}"),
        });
    }
    if !members.is_empty() {
        server.line(format!("tls: {{ {} }}", members.join(", ")));
        server.carried("tls");
    }
}

/// Headers that are set or added.
fn headers(server: &mut Server<'_>, node: &Node) {
    let mut all = Vec::new();
    for entry in node.entries().unwrap_or_default() {
        server.reading(entry.at);
        match entry.key.as_str() {
            "set" | "add" => all.extend(entry.node.entries().unwrap_or_default().to_vec()),
            key => {
                let key = format!("requestHeaderModifier.{key}");
                server.left_out(&key, "weir sends no header of a caller on");
            }
        }
    }
    if !all.is_empty() {
        let value = Value::Map(all);
        server.headers(&Node { at: node.at, value });
    }
}

/// What becomes of what concerns no server.
fn elsewhere(key: &str) -> (Fate, &'static str) {
    let why = match key {
        "port" | "protocol" | "hostname" | "hostnames" | "tls" | "gateways" => {
            return (Fate::Foreign, "`listen` says where callers connect");
        }
        "config" | "frontendPolicies" | "ui" | "llm" | "services" | "workloads" | "ai" | "host"
        | "a2a" | "service" | "aws" | "routeGroups" | "tcpRoutes" => {
            return (Fate::Foreign, "it is not about MCP servers");
        }
        "statefulMode" | "sseKeepAlive" | "failureMode" => {
            return (
                Fate::Foreign,
                "weir finds out which servers keep sessions, and one that fails takes none along",
            );
        }
        "matches" | "weight" => "a weir has one endpoint, and one catalog there",
        "prefixMode" => "`namespace: \"\"` exposes an upstream's names as they are",
        "cors" => "`listen.allowed_origins` says which origins may call",
        "jwtAuth" | "mcpAuthentication" | "basicAuth" | "apiKey" | "oidc" | "extAuthz" => {
            "weir does not check who calls: what stands before it does"
        }
        "mcpAuthorization" | "authorization" => {
            "all callers of a weir see the same; `tools: { allow, deny }` holds for all"
        }
        "localRateLimit" | "remoteRateLimit" | "mcpRemoteRateLimit" => {
            "`limits.in_flight` is what bounds calls"
        }
        "timeout" => "`timeouts` are set per upstream",
        "retry" => "`retry` is set per upstream",
        _ => "weir has nothing of that name",
    };
    (Fate::LeftOut, why)
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
