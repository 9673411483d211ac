//! Which words of an `mcp.json` are secrets, and which only look harmless.

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

/// Whether the value under this name is better kept out of a file. Rather once too often.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    if is_harmless(value) {
        return false;
    }
    is_secret_value(value) || is_secret_name(name)
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
    let known = SECRET_PREFIXES
        .iter()
        .any(|prefix| value.starts_with(prefix) && value.len() >= prefix.len() + 8);
    known
        || has_credentials(value)
        || has_random_part(value)
        || is_random(value)
        || is_telling_json(value)
}

/// Whether this is a URL with a password in it.
fn has_credentials(value: &str) -> bool {
    let after = value.split_once("://").map_or("", |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.split_once(':')
        .is_some_and(|(_, password)| !password.is_empty())
}

/// Whether this is a URL with a token in its path or query, as webhooks have.
fn has_random_part(value: &str) -> bool {
    let after = value.split_once("://").map_or("", |(_, after)| after);
    after.split(['/', '?', '&', '=', '#']).any(is_random)
}

/// Whether this is a JSON object with a secret by its names: `{"apiKey": …}`.
fn is_telling_json(value: &str) -> bool {
    value.starts_with('{') && is_secret_name(value)
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
    let word = matches!(
        value.to_lowercase().as_str(),
        "" | "true" | "false" | "yes" | "no" | "none" | "null"
    );
    let number = value.len() < 7
        && value
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let path = ["/", "./", "../", "~/", "C:\\"]
        .iter()
        .any(|start| value.starts_with(start))
        && !value.contains('=');
    let url = value.starts_with("http://") || value.starts_with("https://");
    let url = url && !has_credentials(value) && !has_random_part(value) && !value.contains('?');
    word || number || path || url
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
