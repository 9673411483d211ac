//! `weir add`: one more upstream in a config file that people keep by hand.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

const CONFIG: &str = "# Ours.\nversion: 1   # the only one\n\nupstreams:\n  # The first.\n  ann: { url: \"https://ann.example/mcp\" }   # keep\n\n# The end.\n";

/// Runs `weir add` on a config: exit status, stdout and stderr.
fn add(config: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["add", "-c"])
        .arg(config)
        .args(args)
        .env("GITHUB_TOKEN", "t")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn an_upstream_is_added_and_the_rest_of_the_file_stays() {
    let home = tempfile::tempdir().unwrap();
    let (file, link) = (home.path().join("real.yaml"), home.path().join("weir.yaml"));
    std::fs::write(&file, CONFIG).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, &link).unwrap();
    let github = [
        "github",
        "--url",
        "https://github.example/mcp",
        "--auth",
        "env:GITHUB_TOKEN",
        "--header",
        "X-Team=sales",
    ];
    let (code, said, error) = add(&link, &[&github[..], &["--dry-run"]].concat());
    assert_eq!(code, 0, "{error}");
    assert!(
        said.contains("+  github:") && said.contains("+    url: "),
        "{said}"
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        CONFIG,
        "a dry run writes nothing"
    );
    let (code, _, error) = add(&link, &github);
    assert_eq!(code, 0, "{error}");
    let (code, _, error) = add(
        &link,
        &[
            "files",
            "--env",
            "LEVEL=info",
            "--",
            "npx",
            "-y",
            "@a/files",
            "/srv",
        ],
    );
    assert_eq!(code, 0, "{error}");
    let expected = CONFIG.replace(
        "\n\n# The end.",
        "\n  github:\n    url: \"https://github.example/mcp\"\n    auth: { type: bearer, token: { env: GITHUB_TOKEN } }\n    headers:\n      X-Team: \"sales\"\n  \
         files:\n    command: npx\n    args: [\"-y\", \"@a/files\", \"/srv\"]\n    env:\n      LEVEL: \"info\"\n\n# The end.",
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        std::fs::read_dir(home.path()).unwrap().count(),
        2,
        "nothing is left over"
    );
}

#[test]
fn what_cannot_be_added_leaves_the_file_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("weir.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    for (args, part) in [
        (
            vec!["ann", "--url", "https://a.example/mcp"],
            "there is an upstream of this name already, in line 6",
        ),
        (
            vec!["new", "--url", "http://a.example/mcp"],
            "plain http to `a.example`",
        ),
        (
            vec![
                "new",
                "--url",
                "https://a.example/mcp",
                "--auth",
                "s3cr3t-t0ken",
            ],
            "write env:VARIABLE or file:PATH",
        ),
        (
            vec![
                "new",
                "--env",
                "API_KEY=sk-live-0123456789abcdef",
                "--",
                "x",
            ],
            "looks like a secret",
        ),
        (vec!["new"], "required"),
    ] {
        let (code, _, error) = add(&file, &args);
        assert_eq!(code, 2, "{args:?}");
        assert!(error.contains(part), "{args:?}: {error}");
        assert!(
            !error.contains("s3cr3t-t0ken") && !error.contains("0123456789abcdef"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), CONFIG);
    }
    for text in [
        "{ \"mcpServers\": {} }\n",
        "upstreams: { a: { command: a } }\n",
    ] {
        std::fs::write(&file, text).unwrap();
        let (code, _, error) = add(&file, &["new", "--url", "https://a.example/mcp"]);
        assert_eq!(code, 2);
        assert!(error.contains("add the upstream by hand"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn a_server_json_of_the_registry_is_added() {
    let home = tempfile::tempdir().unwrap();
    let (file, from) = (
        home.path().join("weir.yaml"),
        home.path().join("server.json"),
    );
    std::fs::write(&file, "version: 1").unwrap();
    let server = r#"{"name":"io.github.a/b","packages":[{"registryType":"pypi","identifier":"a-b","version":"1.0","transport":{"type":"stdio"},"environmentVariables":[{"name":"A_KEY","isRequired":true,"isSecret":true}]}]}"#;
    std::fs::write(&from, server).unwrap();
    let (code, _, error) = add(&file, &["b", "--from", from.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    assert!(
        error.contains("A_KEY"),
        "a variable that is not set is said: {error}"
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "version: 1\nupstreams:\n  b:\n    command: uvx\n    args: [\"a-b==1.0\"]\n    env:\n      A_KEY: { env: A_KEY }\n"
    );
}
