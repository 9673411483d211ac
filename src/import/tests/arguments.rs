//! No secret of a command line is printed.

use super::*;

/// Returns arguments as YAML's list. Neither the YAML nor the report may hold what is secret there.
fn args(file: &serde_json::Value, secrets: &[&str]) -> String {
    let imported = import(&file.to_string()).unwrap();
    let said = format!("{}{:?}", imported.yaml, imported.report).to_lowercase();
    for secret in secrets {
        assert!(!said.contains(&secret.to_lowercase()), "{secret}: {said}");
    }
    run(&imported.yaml);
    let mut lines = imported.yaml.lines();
    let line = lines.find_map(|line| line.trim().strip_prefix("args: "));
    line.unwrap_or_default().to_owned()
}

/// Arguments, what is secret in them, and what becomes of them.
const SECRET: &[(&[&str], &[&str], &str)] = &[
    (
        &["postgresql://user:hunter2pass@host/db?sslmode=require"],
        &["hunter2"],
        r#"["${S_SECRET}"]"#,
    ),
    (
        &["--header", "X-Api-Key: dXNlcjpwYXNzd29yZDE="],
        &["dXNlcjpw"],
        r#"["--header", "X-Api-Key: ${S_X_API_KEY}"]"#,
    ),
    (
        &["--header", "Authorization: Basic dXNlcjpwYXNzd29yZA=="],
        &["dXNlcjpw"],
        r#"["--header", "Authorization: Basic ${S_AUTHORIZATION}"]"#,
    ),
    (
        &["--header", "X-Api-Key:supersecret9"],
        &["supersecret9"],
        r#"["--header", "X-Api-Key:${S_X_API_KEY}"]"#,
    ),
    (
        &["--header", "authorization:bearer hunter2"],
        &["hunter2"],
        r#"["--header", "authorization:bearer ${S_TOKEN}"]"#,
    ),
    (
        &["--header=X-Api-Key: hunter2="],
        &["hunter2"],
        r#"["--header=X-Api-Key: ${S_X_API_KEY}"]"#,
    ),
    (
        &["--env=API_KEY=hunter2"],
        &["hunter2"],
        r#"["--env=API_KEY=${S_API_KEY}"]"#,
    ),
    (
        &["--api-key", "hunter2=="],
        &["hunter2"],
        r#"["--api-key", "${S_API_KEY}"]"#,
    ),
    (
        &["--api-key=hunter2=x"],
        &["hunter2"],
        r#"["--api-key=${S_API_KEY}"]"#,
    ),
    (
        &["--dsn=postgres://me:hunter2@db/x?a=b"],
        &["hunter2"],
        r#"["--dsn=${S_DSN}"]"#,
    ),
    (
        &["jdbc:postgresql://db/x?user=me&password=hunter2"],
        &["hunter2"],
        r#"["jdbc:${S_JDBC}"]"#,
    ),
    (
        &["Server=db;User=sa;Password=hunter2"],
        &["hunter2"],
        r#"["Server=${S_SERVER}"]"#,
    ),
    (
        &["--//npm.example.com/:_authToken=hunter2"],
        &["hunter2"],
        r#"["${S_SECRET}"]"#,
    ),
    (
        &["-c", "curl -H 'X-Api-Key: hunter2' https://a.example.com"],
        &["hunter2"],
        r#"["-c", "${S_C}"]"#,
    ),
    (
        &[
            "-c",
            "curl -u hunter2:x -H 'Cookie: hunter3' -H 'A: Bearer hunter4'",
        ],
        &["hunter2", "hunter3", "hunter4"],
        r#"["-c", "${S_C}"]"#,
    ),
    (
        &[
            "--url",
            "https://ghp_0123456789abcdefghij@a.example.com/mcp",
        ],
        &["ghp_0123456789"],
        r#"["--url", "${S_URL}"]"#,
    ),
    (
        &[
            "--header \"Authorization: Bearer hunter2\"",
            "X-Api-Key: hunter3",
        ],
        &["hunter2", "hunter3"],
        r#"["${S_SECRET}", "X-Api-Key: ${S_X_API_KEY}"]"#,
    ),
    (
        &["--key:hunter2", "x:y", "ghp_0123456789"],
        &["hunter2", "ghp_0123456789"],
        r#"["--key:${S_KEY}", "x:y", "${S_SECRET}"]"#,
    ),
    (
        &["amqp://me:p/hunter2@host/"],
        &["hunter2"],
        r#"["${S_SECRET}"]"#,
    ),
    (
        &["-u", "me:hunter2", "a:1,token:hunter3"],
        &["hunter2", "hunter3"],
        r#"["-u", "me:${S_PASSWORD}", "a:${S_A}"]"#,
    ),
];

#[test]
fn no_secret_of_a_command_is_printed() {
    let file = r#"{"mcpServers": {"s": { "command": "env API_KEY=hunter2 npx", "env": { "H": "X-Api-Key:hunter2" } }}}"#;
    let imported = import(file).unwrap();
    let said = format!("{}{:?}", imported.yaml, imported.report);
    assert!(!said.contains("hunter2"), "{said}");
    assert!(
        imported.yaml.contains("command: \"${S_COMMAND}\""),
        "{said}"
    );
}

#[test]
fn no_secret_of_an_argument_is_printed() {
    for &(given, secrets, expected) in SECRET {
        let servers = serde_json::json!({ "s": { "command": "x", "args": given } });
        for format in ["mcpServers", "mcp_servers"] {
            let file = serde_json::json!({ format: servers });
            assert_eq!(args(&file, secrets), expected, "{given:?}");
        }
    }
}

#[test]
fn arguments_that_only_look_like_secrets_stay() {
    for given in [
        ["--mode=fast", "--verbose"],
        ["-p", "8080:80"],
        ["-v", "/srv/secrets:/secrets:ro"],
        ["--url", "https://a.example.com:8443/mcp?team=a"],
        ["http://a.example.com/mcp", "ghcr.io/org/auth-server:latest"],
        ["pkg==1.2.3", "@scope/pkg@1.2.3"],
        ["--header", "X-Org: acme"],
        ["--header", "Authorization: "],
        ["--key-file=/run/key.pem", "--api-key="],
        ["postgres://me@db/x", "-e"],
    ] {
        let file = serde_json::json!({ "mcpServers": { "s": { "command": "x", "args": given } } });
        let imported = import(&file.to_string()).unwrap();
        let config = run(&imported.yaml);
        let Endpoint::Child { args, .. } = &config.upstreams["s"].endpoint else {
            panic!("{}", imported.yaml);
        };
        assert_eq!(args, &given, "{}", imported.yaml);
    }
}
