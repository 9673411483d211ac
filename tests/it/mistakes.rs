//! A config that is not YAML, or not what was meant: the error says what to write, not which rule of
//! the grammar is broken.

use std::process::Command;

/// Errors of `weir check`.
fn errors(yaml: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("weir.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["check", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{yaml}\n{text}");
    text
}

/// The config of an upstream with these lines.
fn upstream(lines: &str) -> String {
    format!("version: 1\nupstreams:\n  a:\n{lines}\n")
}

const BLANK: &str = "a blank is missing after the `:`";

/// Lines of an upstream, each with the message that it gets.
const MISTAKES: [(&str, &str); 27] = [
    (
        "    url: https://a/\n    tools: { allow: [*] }",
        "5:22: a value that begins with `*` needs quotes, such as \"*\"",
    ),
    (
        "    url: https://a/\n    tools:\n      allow:\n        - *",
        "7:11: a value that begins with `*` needs quotes",
    ),
    (
        "    url: https://a/\n    tools: { deny: [issue_*, *delete*] }",
        "a value that begins with `*` needs quotes",
    ),
    (
        "    url: https://a/\n    namespace: *",
        "a value that begins with `*` needs quotes",
    ),
    (
        "    command: \"C:\\Users\\me\\x.exe\"",
        "write a Windows path in single quotes",
    ),
    (
        "    command: \"D:\\mcp\\x.exe\"",
        "write a Windows path in single quotes",
    ),
    (
        "    command: \"C:\\tools\\new.exe\"",
        "upstreams.a.command: has a tab, a line break or the like",
    ),
    (
        "\turl: https://a/",
        "a tab in the indentation: YAML indents with blanks only",
    ),
    ("  \turl: https://a/", "a tab in the indentation"),
    (
        "    url: https://a/\n\tnamespace: x",
        "a tab in the indentation",
    ),
    (
        "    url:https://a/",
        "found text; a key has a blank after its `:`",
    ),
    ("    url: https://a/\n    namespace:x\n", BLANK),
    (
        "    url: https://a/\n    namespace:x\n    resync: 5m",
        BLANK,
    ),
    ("    url: https://a/\n    tools: {allow:[a]}", BLANK),
    (
        "    url: https://a/\n  a:\n    url: https://b/",
        "key `a` is already written at 3:3",
    ),
    (
        "    command: npx\n    args: [-y, @scope/pkg]",
        "a value that begins with `@` needs quotes, such as \"@scope/package\"",
    ),
    (
        "    command: %APPDATA%\\x.exe",
        "a value that begins with `%` needs quotes",
    ),
    (
        "    command: `which x`",
        "a value that begins with ``` needs quotes",
    ),
    ("    url: {{ .Values.url }}", "weir fills in no templates"),
    (
        "    url: https://a/\n    tools: { override: { q: { description: Finds: all } } }",
        "a value that has `: ` in it needs quotes",
    ),
    (
        "    url: https://a/\n    namespace: Note: this",
        "a value that has `: ` in it needs quotes",
    ),
    (
        "    url: \"https://a/\n    namespace: x",
        "a closing quote is missing",
    ),
    (
        "    url: https://a/\n    namespace: 'it's'",
        "inside single quotes a quote is written twice",
    ),
    (
        "    command: npx\n    args: [\"a\", \"b\"\n    namespace: x",
        "a closing `]` or `}` is missing",
    ),
    (
        "    url: https://a/\n   namespace: x",
        "indented differently",
    ),
    ("    url: https://a/\n      namespace: x", "indented deeper"),
    (
        "    url: https://a/\n\u{a0}   namespace: x",
        "no-break space",
    ),
];

#[test]
fn a_text_that_is_no_yaml_is_told_what_to_write() {
    for (lines, expected) in MISTAKES {
        let said = errors(&upstream(lines));
        assert!(said.contains(expected), "{lines}\n{said}");
    }
    let said = errors("version:1\nupstreams:\n  a: { url: https://a/ }\n");
    assert!(said.contains(BLANK), "{said}");
}

#[test]
fn a_variable_where_none_is_replaced_is_told_so() {
    let plain = "variables are not replaced in this setting: write the value itself";
    let listen = "or start weir with `--listen IP:PORT`";
    for (yaml, key, expected) in [
        (
            "listen: { address: \"127.0.0.1:${PORT}\" }\n",
            "listen.address",
            listen,
        ),
        (
            "listen: { address: $HOST:8000 }\n",
            "listen.address",
            listen,
        ),
        (
            "admin: { address: \"{env:ADMIN}\" }\n",
            "admin.address",
            "variables are not replaced",
        ),
        ("listen: { path: \"/${P}\" }\n", "listen.path", plain),
        (
            "listen: { allowed_hosts: [\"${H}\"] }\n",
            "listen.allowed_hosts[0]",
            plain,
        ),
        ("instance: ${HOSTNAME}\n", "instance", plain),
        ("state: { dir: \"${HOME}/weir\" }\n", "state.dir", plain),
        ("defaults: { resync: \"${R}\" }\n", "defaults.resync", plain),
        (
            "upstreams: { a: { url: \"https://a/\", namespace: \"$NS\" } }\n",
            "upstreams.a.namespace",
            plain,
        ),
    ] {
        let said = errors(&format!("version: 1\n{yaml}"));
        assert!(
            said.contains(key) && said.contains(expected),
            "{yaml}{said}"
        );
        assert!(!said.contains("did you mean"), "{said}");
    }
    // Without a variable the rule itself is told.
    let said = errors("version: 1\nlisten: { address: here }\n");
    assert!(said.contains("not an address: write IP:PORT"), "{said}");
    // Weir's own `--listen` is not for the other listener.
    let said = errors("version: 1\nadmin: { address: \"127.0.0.1:${P}\" }\n");
    assert!(!said.contains("--listen"), "{said}");
}
