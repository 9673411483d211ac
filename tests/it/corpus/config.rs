//! Config files and `mcp.json` files, as an operator may write, break or paste them.

use std::mem::Discriminant;
use std::path::Path;

use serde_json::Value;
use weir::config::{self, Config, ConfigErrors, Endpoint, ProblemKind};
use weir::document::SyntaxError;
use weir::import::{Imported, import};
use weir::secret::Secret;

/// The value of every environment variable where the checks look for leaks.
const CANARY: &str = "c4n4ry-c4n4ry-c4n4ry-c4n4ry-c4n4ry";
/// A secret by its look. Where it stands as a value, `import` must not copy it.
const TOKEN: &str = "ghp_c4n4ryc4n4ryc4n4ry";

/// Reads any text as a config and as an `mcp.json`.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let read = parse(text, &canary);
    match &read {
        Ok(config) => valid(config),
        Err(errors) => explained(text, errors),
    }
    if !text.contains("${") && !text.contains("c4n4ry") {
        let shown = match &read {
            Ok(config) => format!("{config:?}"),
            Err(errors) => format!("{errors} {errors:?}"),
        };
        assert!(!shown.contains("c4n4ry"), "a secret is shown");
    }
    if let Ok(json) = serde_json::from_str::<Value>(text) {
        as_json(text, &read);
        imported(text, Some(&json));
    } else {
        imported(text, None);
    }
}

fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    config::parse(text, Path::new("/nowhere/weir.yaml"), env)
}

/// Checks what the types do not say about a config that is valid.
fn valid(config: &Config) {
    let open = !config.listen.address.ip().is_loopback();
    assert!(!open || config.listen.auth.is_some());
    assert!(config.listen.path.starts_with('/'));
    if let Some(admin) = &config.admin {
        assert!(admin.address.is_local() || admin.token.is_some());
    }
    for (id, upstream) in &config.upstreams {
        assert_eq!(*id, upstream.id);
        assert!(upstream.origin.starts_with("/nowhere/weir.yaml:"));
        match &upstream.endpoint {
            Endpoint::Http(endpoint) => {
                let url = &endpoint.url;
                assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
                assert!(url.username().is_empty() && url.password().is_none());
                assert!(url.fragment().is_none());
                for (_, value) in &endpoint.headers {
                    let sendable = |text: &Secret| http::HeaderValue::from_str(text.expose());
                    assert!(value.first().is_none_or(|text| sendable(text).is_ok()));
                }
            }
            Endpoint::Child {
                program, args, env, ..
            } => {
                assert!(!program.as_os_str().is_empty());
                assert!(args.iter().all(|arg| !arg.contains('\0')));
                let legal = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
                assert!(env.iter().all(|(name, _)| legal(name)));
            }
        }
        let budgets = &upstream.timeouts;
        let all = [budgets.connect, budgets.list, budgets.call, budgets.idle];
        assert!(all.iter().all(|budget| !budget.is_zero()));
    }
}

/// Errors are one a line, in the order of the file, and each stands inside it.
fn explained(text: &str, errors: &ConfigErrors) {
    assert!(errors.iter().len() > 0, "refused without a reason");
    assert_eq!(errors.to_string().lines().count(), errors.iter().len());
    // A carriage return by itself ends a line of YAML. The end of the file is a line of its own.
    let lines = text.split(['\r', '\n']).count() + 1;
    let places: Vec<_> = errors.iter().map(|problem| problem.position()).collect();
    assert!(places.is_sorted());
    for place in places.into_iter().flatten() {
        assert!(place.line >= 1 && place.column >= 1);
        assert!(place.line <= lines, "{place} of {lines} lines");
    }
}

/// The value of every variable that a config names.
fn canary(name: &str) -> Option<String> {
    let is_named = !weir::config::is_standard_variable(name);
    is_named.then(|| CANARY.to_owned())
}

/// JSON is a subset of what is read, and white space in it means nothing.
fn as_json(text: &str, read: &Result<Config, ConfigErrors>) {
    let tight = parse(&without_space(text), &canary);
    match (read, &tight) {
        (Ok(a), Ok(b)) => assert_eq!(but_places(a), but_places(b)),
        (Err(a), Err(b)) => assert_eq!(kinds(a), kinds(b)),
        _ => panic!("{read:?}\nwithout white space: {tight:?}"),
    }
    if let Err(errors) = read {
        let mut kinds = errors.iter().map(|problem| problem.kind());
        assert!(
            !kinds.any(|kind| matches!(kind, ProblemKind::Syntax(SyntaxError::Grammar(_)))),
            "{errors}"
        );
    }
}

fn kinds(errors: &ConfigErrors) -> Vec<(String, Discriminant<ProblemKind>)> {
    let kind = |kind: &ProblemKind| std::mem::discriminant(kind);
    let all = errors.iter();
    let mut all: Vec<_> = all
        .map(|problem| (problem.key().to_owned(), kind(problem.kind())))
        .collect();
    all.sort_by(|a, b| {
        a.0.cmp(&b.0)
            .then(format!("{:?}", a.1).cmp(&format!("{:?}", b.1)))
    });
    all
}

fn but_places(config: &Config) -> String {
    let text = format!("{config:#?}");
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("origin: "));
    lines.collect::<Vec<_>>().join("\n")
}

fn without_space(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let inside = |c: &char| {
        let keep = quoted || !matches!(c, ' ' | '\t' | '\r' | '\n');
        quoted ^= *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        keep
    };
    text.chars().filter(inside).collect()
}

/// Checks that what is imported is a config once its variables are set, and has no secret in it.
fn imported(text: &str, json: Option<&Value>) {
    let Ok(Imported { yaml, .. }) = import(text) else {
        return;
    };
    // Values that fit where a variable of such a name is likely to stand.
    let env = |name: &str| {
        let name = name.to_uppercase();
        let value = match &*name {
            name if name.contains("PORT") => "1",
            name if name.contains("URL") || name.contains("ENDPOINT") => "https://localhost",
            _ => "localhost",
        };
        (!weir::config::is_standard_variable(&name)).then(|| value.to_owned())
    };
    let read = parse(&yaml, &env);
    assert!(read.is_ok(), "{}\n{yaml}", read.unwrap_err());
    let hidden = json.map_or(0, secrets);
    if hidden > 0 && hidden == text.matches(TOKEN).count() {
        assert!(!yaml.contains(TOKEN), "a secret comes along\n{yaml}");
    }
}

/// Counts the places where the token is a value of its own where secrets are looked for.
fn secrets(json: &Value) -> usize {
    let places = ["/mcpServers", "/servers", "/mcp/servers"];
    let Some(Value::Object(servers)) = places.iter().find_map(|place| json.pointer(place)) else {
        return 0;
    };
    let values = servers.values().flat_map(|server| {
        let of = |key| server.get(key).and_then(Value::as_object);
        let named = ["env", "headers"].into_iter().filter_map(of);
        let args = server.get("args").and_then(Value::as_array);
        let args = args.into_iter().flatten();
        named.flat_map(|members| members.values()).chain(args)
    });
    let is_token = |value: &&Value| value.as_str() == Some(TOKEN);
    values.filter(is_token).count()
}
