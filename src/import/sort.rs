//! Which words of an `mcp.json` are secrets, and which only look harmless.

use super::variables;

/// Parts of names whose values are secrets.
const SECRET_NAMES: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "CREDENTIAL",
    "AUTH",
    "COOKIE",
    "DSN",
    "CONNECTION_STRING",
    "PRIVATE",
    "DATABASE_URL",
];

/// How well-known tokens begin.
const SECRET_PREFIXES: &[&str] = &[
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "hf_",
    "npm_",
    "pypi-",
    "dop_v1_",
    "SG.",
    "lin_api_",
    "ntn_",
    "secret_",
    "Bearer ",
    "Basic ",
    "-----BEGIN",
];

/// Words before the secret in a header.
const SCHEMES: &[&str] = &["bearer", "basic", "digest", "token", "apikey", "key"];

/// Parts of the names of variables that stand for a place, so that a path may follow.
const PLACES: &[&str] = &[
    "HOME",
    "DIR",
    "PATH",
    "ROOT",
    "FOLDER",
    "WORKSPACE",
    "PWD",
    "URL",
    "URI",
    "HOST",
    "BASE",
    "ENDPOINT",
];

/// Whether the value under this name is better kept out of a file. Rather once too often. Of a value with references
/// counts what is written around them, and their defaults.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    if variables::refers(value) {
        return is_secret_around(name, value);
    }
    if is_harmless(value) {
        return false;
    }
    is_secret_value(value) || is_secret_name(name)
}

fn is_secret_around(name: &str, value: &str) -> bool {
    let literal = variables::literal(value);
    if literal.contains("://") {
        return is_secret_value(&literal);
    }
    let written = scheme(&literal).map_or(literal.as_str(), |(_, rest)| rest);
    if !written.contains(|c: char| c.is_alphanumeric()) {
        return false;
    }
    if written != literal && !literal.to_lowercase().starts_with("key ") {
        return true;
    }
    let is_place = |variable: &str| {
        let variable = variable.to_uppercase();
        PLACES.iter().any(|place| variable.contains(place))
    };
    match variables::leading(value) {
        // `/` behind it begins no path.
        Some(variable) if !is_place(variable) => {
            is_secret_name(name) && !is_word(written) || is_secret_value(written)
        }
        _ => is_secret(name, written),
    }
}

/// `Bearer `, `Basic ` and the like, and what follows.
pub(super) fn scheme(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(' ')?;
    let is_scheme = SCHEMES
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme));
    is_scheme.then_some((word, rest))
}

/// Whether a name says that its value is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name
        .trim_start_matches('-')
        .to_uppercase()
        .replace(['-', '.', ' '], "_");
    let ends = ["KEY", "_PAT", "_PASS", "_PWD"]
        .iter()
        .any(|end| name.ends_with(end));
    ends || matches!(name.as_str(), "PAT" | "PASS")
        || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Whether a value looks like a secret whatever its name.
pub(super) fn is_secret_value(value: &str) -> bool {
    is_token(value)
        || has_credentials(value)
        || has_random_part(value)
        || has_telling_part(value)
        || is_telling_json(value)
}

/// Whether a command has a secret in it.
pub(super) fn is_telling_command(command: &str) -> bool {
    has_credentials(command) || has_telling_part(command)
}

/// Whether a value is made as tokens are.
pub(super) fn is_token(value: &str) -> bool {
    let known = SECRET_PREFIXES
        .iter()
        .any(|prefix| value.starts_with(prefix) && value.len() >= prefix.len() + 8);
    known || is_random(value)
}

/// Whether there is a URL with a password in it, or with a token for a user.
pub(super) fn has_credentials(value: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
    let in_url = value.split("://").zip(value.split("://").skip(1));
    let mut in_url = in_url.map(|(before, after)| {
        let after = after.split(ends).next().unwrap_or_default();
        // The passwords of databases have slashes, though they should not.
        match before.ends_with("http") || before.ends_with("https") {
            true => after.split(['/', '?', '#']).next().unwrap_or_default(),
            false => after,
        }
    });
    in_url.any(is_login)
}

/// `user:password@host`, or `token@host`.
fn is_login(authority: &str) -> bool {
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    match user.split_once(':') {
        Some((user, password)) => !password.is_empty() || is_token(user),
        None => is_token(user),
    }
}

/// Whether there is a `name=value` or a `Name: value` with a secret by its name, as in queries, connection strings and
/// commands.
fn has_telling_part(value: &str) -> bool {
    let separates = |c: char| c.is_whitespace() || matches!(c, '?' | '&' | ';' | ',');
    let around = |c: char| matches!(c, '"' | '\'' | ',' | '{' | '}');
    let is_scheme = |word: &str| {
        SCHEMES
            .iter()
            .any(|scheme| word.eq_ignore_ascii_case(scheme))
    };
    let mut parts = value.split(separates).filter(|part| !part.is_empty());
    while let Some(part) = parts.next() {
        let (name, said) = match part.split_once('=') {
            Some((name, said)) => (Some(name), Some(said)),
            None => match part.split_once(':') {
                // An image has a path before its tag, and a URL says nothing like this.
                Some((name, _)) if name.contains('/') => continue,
                Some((_, said)) if said.starts_with("//") => continue,
                Some((name, "")) => (Some(name), None),
                Some((name, said)) => (Some(name), Some(said)),
                None => continue,
            },
        };
        let Some(name) = name.filter(|name| is_secret_name(name.trim_matches(around))) else {
            continue;
        };
        let said = said.into_iter().chain(parts.clone());
        let mut said = said.map(|said| said.trim_matches(around));
        let said = said.find(|word| !is_scheme(word));
        if !name.is_empty() && !is_harmless(said.unwrap_or_default()) {
            return true;
        }
    }
    false
}

/// Whether this is a URL with a token in its path or query, as webhooks have.
fn has_random_part(value: &str) -> bool {
    let after = value.split_once("://").map_or("", |(_, after)| after);
    after.split(['/', '?', '&', '=', '#']).any(is_random)
}

/// Whether this is a JSON object with a secret by its names: `{"apiKey": …}`.
fn is_telling_json(value: &str) -> bool {
    value.starts_with('{')
        && match serde_json::from_str(value) {
            Ok(json) => is_telling("", &json),
            Err(_) => is_secret_name(value),
        }
}

fn is_telling(name: &str, json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Object(members) => {
            members.iter().any(|(name, json)| is_telling(name, json))
        }
        serde_json::Value::Array(items) => items.iter().any(|json| is_telling(name, json)),
        serde_json::Value::String(text) => {
            is_secret(name, scheme(text).map_or(text, |(_, rest)| rest))
        }
        serde_json::Value::Number(number) => is_secret(name, &number.to_string()),
        serde_json::Value::Null | serde_json::Value::Bool(_) => false,
    }
}

/// 20 or more of the characters that tokens are made of, letters and digits mixed.
fn is_random(value: &str) -> bool {
    let body = value.trim_end_matches('=');
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let count = |kind: fn(&u8) -> bool| body.bytes().filter(kind).count();
    body.len() >= 20
        && body.bytes().all(legal)
        && count(u8::is_ascii_digit) >= 3
        && count(u8::is_ascii_alphabetic) >= 3
}

/// Short numbers, truth values, paths, and URLs without credentials hide nothing, whatever their names.
fn is_harmless(value: &str) -> bool {
    let path = ["/", "./", "../", "~/", "C:\\"]
        .iter()
        .any(|start| value.starts_with(start))
        && !value.contains('=');
    let url = value.starts_with("http://") || value.starts_with("https://");
    let url = url && !has_credentials(value) && !has_random_part(value) && !value.contains('?');
    is_word(value) || path || url
}

/// A short number or a truth value.
fn is_word(value: &str) -> bool {
    let word = matches!(
        value.to_lowercase().as_str(),
        "" | "true" | "false" | "yes" | "no" | "none" | "null"
    );
    let number = value.len() < 7
        && value
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    word || number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_name_or_by_look() {
        for (name, value) in [
            ("GITHUB_PERSONAL_ACCESS_TOKEN", "abc"),
            ("X-Api-Key", "abc"),
            ("X", "ghp_0123456789abcdef"),
            ("X", "550e8400-e29b-41d4-a716-446655440000"),
            ("X", "postgres://me:pw@db/x"),
            ("PGPASSWORD", "hunter2"),
            ("--api-key", "abc"),
            (
                "HOOK",
                "https://hooks.example.com/T00/B00/abcdefghij0123456789",
            ),
            ("MCP_HEADERS", "{\"Authorization\": \"Bearer x\"}"),
            ("--config", "{\"apiKey\":\"a=b\"}"),
        ] {
            assert!(is_secret(name, value), "{name}={value}");
        }
    }

    #[test]
    fn harmless_values_stay() {
        for (name, value) in [
            ("NODE_ENV", "production"),
            ("MAX_TOKENS", "1000"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key.json"),
            ("AUTH_URL", "https://login.example.com/authorize"),
            ("USE_API_KEY", "true"),
            ("", "@modelcontextprotocol/server-everything@2025.11.25"),
            ("", "mcp-server-fetch==2025.4.7"),
        ] {
            assert!(!is_secret(name, value), "{name}={value}");
        }
    }
}
