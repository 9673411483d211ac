//! Two configs are compared whole: what differs is either put in force or refused by name.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::*;

/// The effect of a reload on a setting that changed.
#[derive(Debug, PartialEq)]
enum Reload {
    /// It is refused, and names the key.
    Refused(&'static str),
    /// It is put in force.
    Applied,
    /// There is nothing to do: the two texts mean the same.
    Unchanged,
}
use Reload::{Applied, Refused, Unchanged};

/// The path of a file beside these tests.
macro_rules! policies {
    ($file:literal) => {
        concat!(
            "'",
            env!("CARGO_MANIFEST_DIR"),
            "/src/config/tests/policies/",
            $file,
            "'"
        )
    };
}

/// The path of a key beside these tests.
macro_rules! audit_key {
    ($file:literal) => {
        concat!(
            "'",
            env!("CARGO_MANIFEST_DIR"),
            "/src/config/tests/audit/",
            $file,
            "'"
        )
    };
}

/// Every key of the schema's top level and of the mappings `listen`, `admin`, `state`, `naming` and
/// `defaults`, with two values that differ.
const KEYS: [(&str, &str, &str, Reload); 101] = [
    ("version", "1", "null", Unchanged),
    ("listen", "{}", "{ page_size: 7 }", Refused("listen")),
    (
        "listen.address",
        "127.0.0.1:1",
        "127.0.0.1:2",
        Refused("listen"),
    ),
    ("listen.path", "/a", "/b", Refused("listen")),
    ("listen.allowed_hosts", "[a]", "[b]", Refused("listen")),
    (
        "listen.allowed_origins",
        "['https://a']",
        "[]",
        Refused("listen"),
    ),
    ("listen.page_size", "1", "2", Refused("listen")),
    ("listen.request_bytes", "1KiB", "2KiB", Refused("listen")),
    ("listen.header_timeout", "1s", "2s", Refused("listen")),
    ("listen.body_timeout", "1s", "2s", Refused("listen")),
    ("listen.connections", "1", "2", Refused("listen")),
    ("listen.keep_alive", "1s", "2s", Refused("listen")),
    ("listen.drain", "1s", "2s", Refused("listen")),
    ("listen.sessions", "own", "platform", Refused("listen")),
    ("listen.schemas", "original", "inline", Refused("listen")),
    (
        "listen.auth",
        "none",
        "{ platform: { subject_header: x-subject, from: [127.0.0.0/8] } }",
        Applied,
    ),
    ("listen.tls", "null", "PAIR", Refused("listen")),
    (
        "on_publish",
        "{ synchronize: { gateway: gw-ab12cdef34, target: a } }",
        "{ synchronize: { gateway: gw-ab12cdef34, target: b } }",
        Applied,
    ),
    ("limits", "null", "{ memory: 64MiB }", Applied),
    ("limits.memory", "64MiB", "32MiB", Applied),
    (
        "limits.rates",
        "[{ per: caller, requests: 1/1s }]",
        "[{ per: caller, requests: 2/1s }]",
        Applied,
    ),
    (
        "policy",
        "null",
        concat!("{ files: [", policies!("a.cedar"), "] }"),
        Applied,
    ),
    (
        "policy.files",
        concat!("[", policies!("a.cedar"), "]"),
        concat!("[", policies!("b.cedar"), "]"),
        Applied,
    ),
    ("policy.mode", "enforce", "log_only", Applied),
    ("policy.gateway", "a", "b", Applied),
    (
        "policy.covers",
        "[tools]",
        "[tools, prompts, resources]",
        Applied,
    ),
    ("policy.validation", "strict", "off", Applied),
    (
        "policy.tests",
        "[]",
        concat!("[", policies!("tests.yaml"), "]"),
        Applied,
    ),
    (
        "guard",
        "null",
        "{ redact: { towards_upstream: { EMAIL: mask } } }",
        Applied,
    ),
    (
        "guard.redact",
        "{ towards_upstream: { EMAIL: mask } }",
        "{ towards_upstream: { EMAIL: block } }",
        Applied,
    ),
    (
        "guard.validate",
        "{ arguments: report }",
        "{ arguments: refuse }",
        Applied,
    ),
    ("audit", "null", "{ file: a.jsonl }", Refused("audit")),
    ("audit.file", "a.jsonl", "b.jsonl", Refused("audit")),
    ("audit.arguments", "hash", "none", Refused("audit")),
    ("audit.results", "hash", "none", Refused("audit")),
    ("audit.on_failure", "refuse", "drop", Refused("audit")),
    (
        "audit.sign",
        concat!("{ file: ", audit_key!("a.pem"), " }"),
        concat!("{ file: ", audit_key!("b.pem"), " }"),
        Refused("audit"),
    ),
    (
        "audit.hash_key",
        "{ value: 0123456789-0123456789-0123456789 }",
        "{ value: 9876543210-9876543210-9876543210 }",
        Refused("audit"),
    ),
    ("audit.fsync", "always", "1s", Refused("audit")),
    ("audit.rotate", "null", "{ keep: 3 }", Refused("audit")),
    ("audit.checkpoints", "a", "b", Refused("audit")),
    (
        "telemetry",
        "null",
        "{ endpoint: 'http://127.0.0.1:1' }",
        Applied,
    ),
    (
        "telemetry.endpoint",
        "'http://127.0.0.1:1'",
        "'http://127.0.0.1:2'",
        Applied,
    ),
    (
        "telemetry.traces_endpoint",
        "'http://127.0.0.1:1'",
        "'http://127.0.0.1:2'",
        Applied,
    ),
    (
        "telemetry.logs_endpoint",
        "'http://127.0.0.1:1'",
        "'http://127.0.0.1:2'",
        Applied,
    ),
    ("telemetry.logs", "true", "false", Applied),
    (
        "telemetry.metrics_endpoint",
        "'http://127.0.0.1:1'",
        "'http://127.0.0.1:2'",
        Applied,
    ),
    ("telemetry.metrics", "true", "false", Applied),
    ("telemetry.metrics_interval", "10s", "20s", Applied),
    ("telemetry.emf", "{}", "{ namespace: a }", Applied),
    ("telemetry.audit", "false", "null", Applied),
    ("telemetry.headers", "{ x-a: b }", "{ x-a: c }", Applied),
    (
        "telemetry.auth",
        "{ type: none }",
        "{ type: sigv4 }",
        Applied,
    ),
    ("telemetry.tls", "null", "{ min_version: '1.3' }", Applied),
    ("telemetry.allow_plain_http", "true", "false", Applied),
    ("telemetry.sample", "0.1", "1", Applied),
    ("telemetry.resource", "{ a: b }", "{ a: c }", Applied),
    ("telemetry.timeout", "1s", "2s", Applied),
    ("telemetry.compression", "none", "gzip", Applied),
    ("hooks", "null", "{ h: { socket: a.sock } }", Applied),
    ("admin", "null", "{}", Refused("admin")),
    (
        "admin.address",
        "127.0.0.1:1",
        "127.0.0.1:2",
        Refused("admin"),
    ),
    ("admin.token", "{ value: a }", "{ value: b }", Applied),
    ("admin.token", "null", "{ value: b }", Refused("admin")),
    ("admin.mode", "'0600'", "'0660'", Refused("admin")),
    ("admin.reading", "token", "open", Refused("admin")),
    ("admin.page", "read", "write", Refused("admin")),
    ("admin.try_tools", "false", "true", Refused("admin")),
    (
        "admin.auth",
        "{ read: [{ kind: oauth_user, subjects: [a] }] }",
        "{ read: [{ kind: oauth_user, subjects: [b] }] }",
        Refused("admin"),
    ),
    ("state", "null", "{ dir: a }", Refused("state")),
    ("state.dir", "a", "b", Refused("state")),
    (
        "sealing_key",
        "{ value: 0123456789-0123456789-0123456789 }",
        "{ value: 9876543210-9876543210-9876543210 }",
        Refused("sealing_key"),
    ),
    (
        "sealing_keys",
        "[{ value: 0123456789-0123456789-0123456789 }]",
        "[{ value: 9876543210-9876543210-9876543210 }]",
        Refused("sealing_key"),
    ),
    ("instance", "a", "b", Refused("instance")),
    (
        "replicas",
        "null",
        "{ store: { url: 'redis://127.0.0.1' } }",
        Refused("replicas"),
    ),
    (
        "replicas.store",
        "{ url: 'redis://127.0.0.1', password: { value: a } }",
        "{ url: 'redis://127.0.0.1', password: { value: b } }",
        Refused("replicas"),
    ),
    (
        "replicas.peers",
        "['http://127.0.0.1:1']",
        "['http://127.0.0.1:2']",
        Refused("replicas"),
    ),
    (
        "replicas.peer_tls",
        "{ server_name: a }",
        "{ server_name: b }",
        Refused("replicas"),
    ),
    ("replicas.prefix", "a", "b", Refused("replicas")),
    ("replicas.when_lost", "local", "refuse", Refused("replicas")),
    ("naming", "null", "{ separator: _ }", Applied),
    ("naming.separator", "__", "_", Applied),
    ("naming.charset", "mcp", "strict", Applied),
    ("naming.max_length", "63", "64", Applied),
    ("server", "null", "{ title: a }", Applied),
    ("server.title", "a", "b", Applied),
    ("server.description", "a", "b", Applied),
    ("server.website_url", "https://a", "https://b", Applied),
    ("server.icons", "[]", "[{ src: 'https://a' }]", Applied),
    ("server.instructions", "a", "b", Applied),
    ("defaults", "null", "{ resync: 5m }", Applied),
    ("defaults.resync", "1m", "2m", Applied),
    ("defaults.stale", "null", "{ policy: hide }", Applied),
    ("defaults.drift", "accept", "hold", Applied),
    ("defaults.timeouts", "null", "{ idle: 3s }", Applied),
    ("defaults.limits", "null", "{ tools: 3 }", Applied),
    ("defaults.instructions", "true", "false", Applied),
    ("defaults.inherit_env", "null", "[A]", Applied),
    ("defaults.retry", "null", "{ idempotent: true }", Applied),
    ("upstreams", "null", "{ x: { command: y } }", Applied),
    ("mcpServers", "null", "{ x: { command: y } }", Applied),
];

/// `listen.tls` with a certificate that there is.
fn pair() -> String {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let cert = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("cert.pem"), cert).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        folder
    });
    let folder = FOLDER.path().display();
    format!("{{ cert: {folder}/cert.pem, key: {{ file: {folder}/key.pem }} }}")
}

/// A config with an upstream, and the key with a value.
fn with(key: &str, value: &str) -> Config {
    let value = &value.replace("PAIR", &pair());
    let upstream = "{ u: { command: u } }";
    // Two keys hold upstreams: the one that is not in question holds the one that is always there.
    let always = if key == "upstreams" {
        "mcpServers"
    } else {
        "upstreams"
    };
    let beside = match key {
        // Only a socket has permissions.
        "admin.mode" => "address: 'unix:a.sock', ",
        "policy.files" | "audit.file" | "telemetry.endpoint" => "",
        "replicas.store" => "",
        _ if key.starts_with("replicas.") => "store: { url: 'redis://127.0.0.1' }, ",
        _ if key.starts_with("telemetry.") => "endpoint: 'http://127.0.0.1:3', ",
        _ if key.starts_with("audit.") => "file: x.jsonl, ",
        // Without files there is no policy.
        _ if key.starts_with("policy.") => concat!("files: [", policies!("a.cedar"), "], "),
        _ => "",
    };
    let text = match key.split_once('.') {
        // Operators are callers.
        Some((outer, inner)) if key == "admin.auth" => {
            let callers = "platform: { subject_header: X-User, from: [127.0.0.1] }";
            format!("listen: {{ auth: {{ {callers} }} }}\n{outer}: {{ {inner}: {value} }}")
        }
        Some((outer, inner)) => format!("{outer}: {{ {beside}{inner}: {value} }}"),
        None => format!("{key}: {value}"),
    };
    let shared = match key.starts_with("replicas") {
        true => "instance: a\nsealing_key: { value: 0123456789-0123456789-0123456789 }\n",
        false => "",
    };
    config(&format!("{text}\n{always}: {upstream}\n{shared}"))
}

fn reload(before: &Config, after: &Config) -> Reload {
    match before.fixed_changes(after).as_slice() {
        [] if before.is_same(after) => Unchanged,
        [] => Applied,
        [field] => Refused(field),
        more => panic!("{more:?}"),
    }
}

#[test]
fn whatever_is_written_otherwise_is_applied_or_refused_by_name() {
    for (key, one, other, expected) in &KEYS {
        let (one, other) = (with(key, one), with(key, other));
        assert_eq!(reload(&one, &other), *expected, "{key}");
        assert_eq!(reload(&other, &one), *expected, "{key}");
        assert_eq!(reload(&one, &one), Unchanged, "{key}");
    }
}

#[test]
fn no_key_of_the_schema_is_left_out_of_the_comparison() {
    let schema = schema();
    let mut keys = BTreeSet::new();
    for key in schema["properties"].as_object().unwrap().keys() {
        keys.insert(key.clone());
        let mapping = format!("{}{}", key[..1].to_uppercase(), &key[1..]);
        let mapping = schema["definitions"][mapping]["properties"].as_object();
        let inner = mapping.into_iter().flatten();
        keys.extend(inner.map(|(inner, _)| format!("{key}.{inner}")));
    }
    let compared: BTreeSet<_> = KEYS.iter().map(|(key, ..)| (*key).to_owned()).collect();
    assert_eq!(keys, compared);
}
