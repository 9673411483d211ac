//! One MCP target: how it is reached, and what is said of its backend.

use super::super::found::{FoundServer, disable_sse};
use super::super::report::NoteKind;
use super::super::server::{SigningKeys, UpstreamWriter};
use crate::document::node::{MapEntry, Node, Value};

pub(in crate::import) fn read(server: &mut UpstreamWriter<'_>, item: &FoundServer, root: &Node) {
    let mut policies = item.outer.clone();
    let own = item.node.get("policies");
    let own = own.and_then(|entry| entry.node.entries());
    for entry in own.unwrap_or_default() {
        policies.retain(|known| known.key != entry.key);
        policies.push(entry.clone());
    }
    for MapEntry { key, node, at } in item.node.entries().unwrap_or_default() {
        server.reading(*at);
        match key.as_str() {
            "name" | "policies" => {}
            "stdio" => stdio(server, node),
            "mcp" => http(server, node, &policies, root),
            "sse" => {
                disable_sse(server);
                http(server, node, &policies, root);
            }
            "openapi" => server.disable("it is an OpenAPI service, not an MCP server"),
            "condition" => server.left_out(key, "all callers of a weir see the same"),
            _ => server.left_out(key, "weir has nothing of that name"),
        }
    }
    for MapEntry { key, node, at } in &policies {
        server.reading(*at);
        match key.as_str() {
            "backendAuth" => auth(server, node),
            "backendTLS" => tls(server, node),
            "requestHeaderModifier" => headers(server, node),
            _ => server.left_out(key, explain_key(key).1),
        }
    }
}

fn stdio(server: &mut UpstreamWriter<'_>, node: &Node) {
    for MapEntry { key, node, at } in node.entries().unwrap_or_default() {
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
fn http(server: &mut UpstreamWriter<'_>, node: &Node, policies: &[MapEntry], root: &Node) {
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
    server.url("mcp", &Node { at: node.at, value });
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

fn auth(server: &mut UpstreamWriter<'_>, node: &Node) {
    for MapEntry { key, node, at } in node.entries().unwrap_or_default() {
        server.reading(*at);
        match key.as_str() {
            "key" => bearer(server, node),
            "aws" => {
                let text = |key: &str| node.get(key)?.node.scalar();
                server.sigv4(&SigningKeys {
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

/// Paths are weir's own.
const FILES: &str = "a relative path is taken from the folder of weir's config";

/// A key as text or in a file; or as `value`, with the place where it is sent.
fn bearer(server: &mut UpstreamWriter<'_>, node: &Node) {
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
            server.changed(FILES);
        }
        (None, None) => server.left_out("backendAuth.key", "it is neither text nor a file"),
    }
}

fn tls(server: &mut UpstreamWriter<'_>, node: &Node) {
    let mut members = Vec::new();
    for MapEntry { key, node, at } in node.entries().unwrap_or_default() {
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
        server.set("tls", format!("{{ {} }}", members.join(", ")), "tls");
        server.reading(node.at);
        server.changed(FILES);
    }
}

/// Headers that are set or added.
fn headers(server: &mut UpstreamWriter<'_>, node: &Node) {
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

/// Explains why a key that concerns no server is not imported.
pub(super) fn explain_key(key: &str) -> (NoteKind, &'static str) {
    let why = match key {
        "port" | "protocol" | "hostname" | "hostnames" | "tls" | "gateways" => {
            return (NoteKind::Foreign, "`listen` says where callers connect");
        }
        "config" | "frontendPolicies" | "ui" | "llm" | "services" | "workloads" | "ai" | "host"
        | "a2a" | "service" | "aws" | "routeGroups" | "tcpRoutes" => {
            return (NoteKind::Foreign, "it is not about MCP servers");
        }
        "statefulMode" | "sseKeepAlive" | "failureMode" => {
            return (
                NoteKind::Foreign,
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
    (NoteKind::LeftOut, why)
}
