//! No secret beside a reference, or in its default, is printed.

use super::*;

const SECRETS: [&str; 3] = ["hunter2", "ghp_0123456789", "abc$"];

/// A server, and a line of what it becomes.
fn cases() -> Vec<(serde_json::Value, &'static str)> {
    let env =
        |name: &str, value: &str| serde_json::json!({ "command": "x", "env": { name: value } });
    let arg = |value: &str| serde_json::json!({ "command": "x", "args": [value] });
    let url = |value: &str| serde_json::json!({ "url": value });
    let header = |name: &str, value: &str| serde_json::json!({ "url": "https://a.example.com", "headers": { name: value } });
    vec![
        (
            env(
                "DATABASE_URL",
                "postgres://admin:hunter2pass@${DB_HOST}/app",
            ),
            "DATABASE_URL: { env: DATABASE_URL }",
        ),
        (
            env("T", "${TOK:-ghp_0123456789abcdefghij}"),
            "T: { env: T }",
        ),
        (
            header("X-Api-Key", "abc${FOO}"),
            "X-Api-Key: { env: S_X_API_KEY }",
        ),
        (
            header("X-Api-Key", "${FOO:-hunter2}"),
            "X-Api-Key: { env: S_X_API_KEY }",
        ),
        (
            header("Authorization", "Bearer hunter2${FOO}"),
            "Authorization: { env: S_AUTHORIZATION }",
        ),
        (
            arg("postgres://admin:hunter2pass@${DB_HOST}/app?a=b"),
            r#"args: ["${S_SECRET}"]"#,
        ),
        (env("K", "${X:-Bearer hunter2}"), "K: { env: K }"),
        (
            arg("--api-key=${KEY:-hunter2}"),
            r#"args: ["--api-key=${S_API_KEY}"]"#,
        ),
        (
            arg("Authorization: Bearer hunter2${X}"),
            r#"args: ["Authorization: Bearer ${S_TOKEN}"]"#,
        ),
        (
            url("https://a.example.com/${A:-ghp_0123456789abcdefghij}/mcp?b=1"),
            r#"url: "https://a.example.com/${S_SECRET}/mcp?b=1""#,
        ),
        (
            url("https://${H}/mcp?apiKey=hunter2${B}&team=${C:-a&b?c#d/e}"),
            r#"url: "https://${H}/mcp?apiKey=${S_API_KEY}&team=${C:-a&b?c#d/e}""#,
        ),
    ]
}

#[test]
fn no_secret_around_a_reference_is_printed() {
    for (server, expected) in cases() {
        for format in ["mcpServers", "mcp_servers"] {
            let imported = import(&serde_json::json!({ format: { "s": server } }).to_string());
            let imported = imported.unwrap();
            let said = format!("{}{:?}", imported.yaml, imported.report).to_lowercase();
            for secret in SECRETS {
                assert!(!said.contains(secret), "{server}: {said}");
            }
            let yaml = &imported.yaml;
            assert!(yaml.lines().any(|line| line.trim() == expected), "{yaml}");
        }
    }
}

#[test]
fn what_a_hidden_text_referred_to_is_said() {
    let file = r#"{"mcpServers": { "s": { "command": "x", "env": { "DATABASE_URL": "postgres://a:hunter2@${DB_HOST}/app" } } }}"#;
    let notes = &import(file).unwrap().report.servers[0].notes;
    let notes: Vec<_> = notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(
        notes,
        [
            "the secret in `env.DATABASE_URL` is the variable DATABASE_URL now",
            "DATABASE_URL is set to the whole text, with what its references stand for",
        ]
    );
}

#[test]
fn references_with_nothing_secret_around_them_stay() {
    for (name, value) in [
        ("DATABASE_URL", "postgres://${U}:${P}@${H:-db}:5432/app"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "${HOME}/key.json"),
        ("AUTH_URL", "${BASE_URL}/authorize"),
        ("AUTH_URL", "https://${HOST}/authorize"),
        ("X_TOKEN", "Token ${T}"),
        ("X_TOKEN", "${T}${U:-}"),
        ("LEVEL", "${LEVEL:-debug}"),
    ] {
        let file = serde_json::json!({ "mcpServers": { "s": {
            "command": "x", "env": { name: value }, "args": [value, format!("--x={value}")],
        }}});
        let imported = import(&file.to_string()).unwrap();
        let yaml = &imported.yaml;
        assert_eq!(yaml.matches(value).count(), 3, "{yaml}");
        assert!(imported.report.servers[0].notes.is_empty(), "{yaml}");
    }
}
