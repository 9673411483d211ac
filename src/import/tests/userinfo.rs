//! The user and the password of a URL become `auth`, as they are meant.

use super::*;

fn of(url: &str) -> Imported {
    let file = serde_json::json!({ "mcpServers": { "s": { "url": url } } });
    let imported = import(&file.to_string()).unwrap();
    let said = format!("{}{:?}", imported.yaml, imported.report).to_lowercase();
    for secret in ["ghp_", "s%40cret", "s@cret", "hunter2"] {
        assert!(!said.contains(secret), "{said}");
    }
    imported
}

fn line(imported: &Imported, key: &str) -> String {
    let mut lines = imported.yaml.lines().map(str::trim);
    lines
        .find(|line| line.starts_with(key))
        .unwrap_or_default()
        .to_owned()
}

fn notes(imported: &Imported) -> Vec<String> {
    let notes = imported.report.servers[0].notes.iter();
    notes
        .map(|note| format!("{}: {}", note.kind, note.text))
        .collect()
}

#[test]
fn the_user_and_the_password_of_a_url_are_decoded() {
    let imported = of("https://me%40corp.com:s%40cret@host.example.com/mcp");
    assert_eq!(
        line(&imported, "auth:"),
        r#"auth: { type: basic, username: "me@corp.com", password: { env: S_PASSWORD } }"#
    );
    assert_eq!(
        line(&imported, "url:"),
        r#"url: "https://host.example.com/mcp""#
    );
    assert_eq!(
        notes(&imported),
        [
            "changed: the secret in `auth` is the variable S_PASSWORD now",
            "changed: S_PASSWORD is the password itself, without the url's percent-encoding",
        ]
    );
    let config = run(&imported.yaml);
    assert!(
        matches!(&config.upstreams["s"].auth, Auth::Basic { username, .. } if username == "me@corp.com")
    );
}

#[test]
fn what_a_url_says_of_variables_stays() {
    for (url, auth) in [
        (
            "https://me:${PASS}@host.example.com/mcp",
            r#"auth: { type: basic, username: "me", password: { env: PASS } }"#,
        ),
        (
            "https://${env:ME}:${env:PASS}@host.example.com/mcp",
            r#"auth: { type: basic, username: "${ME}", password: { env: PASS } }"#,
        ),
        (
            "https://me:hunter2${PASS}@host.example.com/mcp",
            r#"auth: { type: basic, username: "me", password: { env: S_PASSWORD } }"#,
        ),
        (
            "https://a+b%26c=d:${PASS:-hunter2}@host.example.com/mcp",
            r#"auth: { type: basic, username: "a+b&c=d", password: { env: S_PASSWORD } }"#,
        ),
        (
            "https://${ME:-a/b@c:d}:${PASS}@host.example.com/mcp",
            r#"auth: { type: basic, username: "${ME:-a/b@c:d}", password: { env: PASS } }"#,
        ),
        (
            "https://%24%7BME%7D:hunter2@host.example.com/mcp",
            r#"auth: { type: basic, username: "$${ME}", password: { env: S_PASSWORD } }"#,
        ),
        (
            "https://ghp_0123456789abcdefghij:hunter2@host.example.com/mcp",
            r#"auth: { type: basic, username: "${S_USERNAME}", password: { env: S_PASSWORD } }"#,
        ),
    ] {
        let imported = of(url);
        assert_eq!(line(&imported, "auth:"), auth);
        assert_eq!(
            line(&imported, "url:"),
            r#"url: "https://host.example.com/mcp""#
        );
    }
}

#[test]
fn a_user_without_a_password_is_not_printed() {
    for url in [
        "https://ghp_0123456789abcdefghij@host.example.com/mcp",
        "https://ghp_0123456789abcdefghij:@host.example.com/mcp",
        "https://hunter2@host.example.com/mcp",
        "https:///hunter2@host.example.com/mcp",
    ] {
        let imported = of(url);
        assert_eq!(line(&imported, "auth:"), "");
        assert_eq!(
            line(&imported, "url:"),
            r#"url: "https://host.example.com/mcp""#
        );
        assert!(imported.report.variables.is_empty());
        assert_eq!(
            notes(&imported),
            ["left out: `user@`: a user without a password; if it is a token, write it as `auth`"]
        );
        run(&imported.yaml);
    }
}

#[test]
fn credentials_in_what_is_hardly_a_url_are_not_printed() {
    for url in [
        "https:/me:hunter2@host.example.com/mcp",
        "https:\\\\me:hunter2@host.example.com",
        "me:hunter2@host",
    ] {
        assert_eq!(line(&of(url), "url:"), r#"url: "${S_URL}""#);
    }
}

#[test]
fn credentials_in_the_url_for_tokens_are_not_printed() {
    let file = r#"{ "mcp_servers": { "s": {
        "url": "https://a.example.com/mcp", "auth_type": "oauth2", "oauth2_flow": "client_credentials",
        "token_url": "https://me:hunter2@auth.example.com/token", "client_id": "a", "client_secret": "b"
    }}}"#;
    let imported = import(file).unwrap();
    let said = format!("{}{:?}", imported.yaml, imported.report).to_lowercase();
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(
        line(&imported, "token_url:"),
        r#"token_url: "${S_TOKEN_URL}""#
    );
}
