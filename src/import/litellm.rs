//! `mcp_servers` of LiteLLM's config (its `MCPServerManager.load_servers_from_config`).

use super::found::{FoundServer, disable_sse, disable_unknown_transport, read_scopes};
use super::report::{Note, NoteKind};
use super::server::{OAuthClientKeys, SigningKeys, UpstreamWriter};
use crate::document::node::{MapEntry, Node, Value};

/// The prefix of a reference to an environment variable.
const REFERENCE: &str = "os.environ/";

/// `mcp_servers`, if the file has it.
pub(super) fn servers(root: &Node) -> Option<&MapEntry> {
    let entry = root.get("mcp_servers")?;
    entry.node.entries().is_some().then_some(entry)
}

/// The servers, and what else there is in the file.
pub(super) fn items(root: &Node, servers: &MapEntry) -> (Vec<FoundServer>, Vec<Note>) {
    let entries = servers.node.entries().unwrap_or_default().iter();
    let items = entries.map(|entry| FoundServer {
        name: entry.key.clone(),
        at: entry.at,
        node: entry.node.map_texts(&reference),
        outer: aliases(root, &entry.key),
    });
    let note = |entry: &MapEntry, kind, text| Note {
        at: entry.at,
        kind,
        text,
    };
    let names = "names: weir exposes `name__tool` where LiteLLM has `name-tool`; `naming.separator` says what stands between";
    let mut notes = vec![note(servers, NoteKind::Changed, names.to_owned())];
    let others = root.entries().unwrap_or_default().iter();
    let others = others.filter(|entry| entry.key != servers.key);
    notes.extend(others.map(|entry| {
        let text = format!("`{}`: it is not about MCP servers", entry.key);
        note(entry, NoteKind::Foreign, text)
    }));
    (items.collect(), notes)
}

fn reference(text: &str) -> String {
    match text.strip_prefix(REFERENCE) {
        Some(name) => format!("${{{name}}}"),
        None => text.to_owned(),
    }
}

/// Another name of a server: `litellm_settings.mcp_aliases`.
fn aliases(root: &Node, server: &str) -> Vec<MapEntry> {
    let settings = root.get("litellm_settings");
    let aliases = settings.and_then(|settings| settings.node.get("mcp_aliases"));
    let aliases = aliases.and_then(|aliases| aliases.node.entries());
    let mut aliases = aliases.unwrap_or_default().iter();
    let found = aliases.find(|alias| alias.node.scalar().as_deref() == Some(server));
    let alias = found.map(|alias| MapEntry {
        key: "alias".to_owned(),
        at: alias.at,
        node: Node {
            at: alias.at,
            value: Value::Text(alias.key.clone()),
        },
    });
    alias.into_iter().collect()
}

pub(super) fn read(server: &mut UpstreamWriter<'_>, item: &FoundServer) {
    let Value::Map(entries) = &item.node.value else {
        server.disable("the file has no settings for this server");
        return;
    };
    let text = |key: &str| item.node.get(key)?.node.scalar();
    let (mut auth, mut aliased) = (None, false);
    for MapEntry { key, node, at } in entries.iter().chain(&item.outer) {
        server.reading(*at);
        match key.as_str() {
            _ if matches!(node.value, Value::Null) => {}
            "url" => server.url(key, node),
            "command" => server.text("command", node),
            "args" => server.args(node),
            "env" => server.env(node),
            "static_headers" | "headers" => server.headers(node),
            "transport" => transport(server, node),
            "allowed_tools" => tools(server, item, (key, node), true),
            "disallowed_tools" => tools(server, item, (key, node), false),
            "timeout" => server.call_seconds(key, node),
            "max_concurrent_requests" => server.in_flight(key, node),
            "alias" if aliased => {}
            "alias" => {
                aliased = true;
                server.namespace(key, &node.scalar().unwrap_or_default());
            }
            "auth_type" => auth = Some(*at),
            // Read with `auth_type`, or of no weight.
            _ if is_auth(key) => {}
            "spec_version" | "server_id" | "server_name" => {}
            "spec_path" => server.disable("it is an OpenAPI service, not an MCP server"),
            _ => server.left_out(key, why(key)),
        }
    }
    match auth {
        Some(at) => {
            server.reading(at);
            log_in(server, &item.node, &text("auth_type").unwrap_or_default());
        }
        None => without_type(server, &item.node),
    }
}

/// Names with or without one of the server's own before them, as LiteLLM takes both. No names, no filter.
fn tools(
    server: &mut UpstreamWriter<'_>,
    item: &FoundServer,
    (key, node): (&str, &Node),
    allowed: bool,
) {
    let Some(listed) = node.items() else {
        return server.tools(key, node, allowed);
    };
    if listed.is_empty() {
        return;
    }
    let known = item.node.entries().unwrap_or_default().iter();
    let known = known.chain(&item.outer);
    let known = known.filter(|entry| matches!(entry.key.as_str(), "alias" | "server_name"));
    let mut prefixes: Vec<_> = known.filter_map(|entry| entry.node.scalar()).collect();
    prefixes.push(item.name.clone());
    let own = |name: &str| {
        let mut rests = prefixes.iter().filter_map(|prefix| {
            let rest = name.strip_prefix(prefix.as_str())?.strip_prefix('-')?;
            (!prefix.is_empty() && !rest.is_empty()).then(|| rest.to_owned())
        });
        rests.next()
    };
    let mut names = Vec::new();
    for item in listed {
        names.push(item.clone());
        let Some(name) = item.scalar() else { continue };
        if let Some(own) = own(&name) {
            server.reading(item.at);
            server.changed(&format!(
                "`{key}`: `{name}` stands there as `{own}` too, the tool's own name"
            ));
            let value = Value::Text(own);
            names.push(Node { at: item.at, value });
        }
    }
    server.reading(node.at);
    let value = Value::List(names);
    server.tools(key, &Node { at: node.at, value }, allowed);
}

fn transport(server: &mut UpstreamWriter<'_>, node: &Node) {
    match node.scalar().as_deref() {
        Some("sse") => disable_sse(server),
        Some("http" | "stdio" | "streamable_http") => {}
        Some(_) | None => disable_unknown_transport(server),
    }
}

/// Keys that say how to log in.
fn is_auth(key: &str) -> bool {
    key.starts_with("aws_") || OAUTH.contains(&key) || TOKEN.contains(&key)
}

const TOKEN: [&str; 2] = ["authentication_token", "auth_value"];
const OAUTH: [&str; 13] = [
    "client_id",
    "client_secret",
    "scopes",
    "token_url",
    "authorization_url",
    "registration_url",
    "oauth2_flow",
    "issuer",
    "audience",
    "token_endpoint_auth_method",
    "token_exchange_endpoint",
    "token_exchange_profile",
    "subject_token_type",
];

/// Without a type LiteLLM logs in nowhere.
fn without_type(server: &mut UpstreamWriter<'_>, node: &Node) {
    for MapEntry { key, at, .. } in node.entries().unwrap_or_default() {
        if is_auth(key) {
            server.reading(*at);
            server.left_out(key, "there is no `auth_type` beside it");
        }
    }
}

fn log_in(server: &mut UpstreamWriter<'_>, node: &Node, kind: &str) {
    let text = |key: &str| node.get(key)?.node.scalar();
    let token = || TOKEN.iter().find_map(|key| text(key));
    let client = || OAuthClientKeys {
        token_url: text("token_url"),
        client_id: text("client_id"),
        client_secret: text("client_secret"),
        scopes: node
            .get("scopes")
            .map(|entry| read_scopes(&entry.node))
            .unwrap_or_default(),
        audience: text("audience"),
    };
    let place = TOKEN
        .iter()
        .chain(&["client_secret", "aws_secret_access_key"]);
    if let Some(entry) = place.filter_map(|key| node.get(key)).next() {
        server.reading(entry.at);
    }
    match (kind, token()) {
        ("none", _) => {}
        ("bearer_token", Some(token)) => server.token(&token),
        ("api_key", Some(key)) => server.key_header("X-API-Key", &key),
        ("basic", Some(pair)) => server.basic("auth_value", &pair),
        ("authorization", Some(value)) => match value.strip_prefix("Bearer ") {
            Some(token) => server.token(token),
            None => server.key_header("Authorization", &value),
        },
        ("oauth2", _) => {
            let client = client();
            let machine = text("oauth2_flow").as_deref() == Some("client_credentials");
            let person = text("authorization_url").is_some();
            if !machine && (person || client.token_url.is_none()) {
                server.login(&client);
            } else if !server.client_credentials(&client) {
                let why =
                    "OAuth client credentials need `token_url`, `client_id` and `client_secret`";
                server.left_out("auth_type", why);
            }
        }
        ("aws_sigv4", _) => server.sigv4(&SigningKeys {
            service: text("aws_service_name"),
            region: text("aws_region_name"),
            role: text("aws_role_name"),
            access_key_id: text("aws_access_key_id"),
            secret_access_key: text("aws_secret_access_key"),
            session_token: text("aws_session_token"),
        }),
        ("bearer_token" | "api_key" | "basic" | "authorization", None) => {
            let why = "callers bring their own credentials there; weir has one for all";
            server.left_out("auth_type", why);
        }
        _ => server.left_out("auth_type", "write it as weir's `auth`"),
    }
}

/// Why weir has nothing for a key.
fn why(key: &str) -> &'static str {
    match key {
        "access_groups" | "allow_all_keys" | "available_on_public_internet" | "allowed_params" => {
            "all callers of a weir see the same"
        }
        "extra_headers" | "oauth_passthrough" | "delegate_auth_to_upstream" | "dcr_bridge" => {
            "weir sends nothing on that a caller sent as a header"
        }
        "instructions" => "write them as `instructions` of the upstream",
        "description" | "mcp_info" => "weir shows what the server says of itself",
        "env_vars" => "write them as `env`",
        "allow_sampling" | "allow_elicitation" => {
            "they pass wherever caller and server have a session"
        }
        _ => "weir has nothing of that name",
    }
}
