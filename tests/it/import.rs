//! Other programs' files become configs, and what does not come along is said.
//!
//! The short files are those of `docs/src/migrating.md`.

mod authorizers;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::ran::{Ran, weir};
use crate::support::tls::Ca;
use crate::support::weir::Process;

const FILES: [&str; 6] = [
    "mcp.json",
    "agentgateway.yaml",
    "litellm.yaml",
    "odd.mcp.json",
    "odd.agentgateway.yaml",
    "odd.litellm.yaml",
];

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/import")
        .join(file)
}

/// Runs `weir import` and writes places as if the file were here.
async fn imported(file: &str) -> Ran {
    let full = path(file);
    let full = full.to_str().unwrap();
    let mut ran = weir(["import", full]).await;
    ran.err = ran.err.replace(full, file);
    ran
}

#[tokio::test]
async fn what_is_imported_is_written_and_what_is_not_is_said() {
    for file in FILES {
        let ran = imported(file).await;
        assert_eq!(ran.code, Some(0), "{file}: {ran:?}");
        assert!(!ran.out.to_lowercase().contains("hunter2"), "{}", ran.out);
        assert!(!ran.err.to_lowercase().contains("hunter2"), "{}", ran.err);
        insta::assert_snapshot!(file, format!("{}---\n{}", ran.out, ran.err));
    }
}

#[tokio::test]
async fn the_docs_show_what_becomes_of_the_short_files() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/migrating.md");
    let page = fs::read_to_string(page).unwrap();
    for file in ["mcp.json", "agentgateway.yaml", "litellm.yaml"] {
        let source = fs::read_to_string(path(file)).unwrap();
        assert!(page.contains(source.trim_end()), "{file}");
        let ran = imported(file).await;
        // Behind the two lines that all of them begin with.
        let yaml = ran.out.splitn(3, '\n').nth(2).unwrap();
        assert!(page.contains(yaml.trim_end()), "{file}: {yaml}");
    }
}

#[tokio::test]
async fn check_takes_every_config_that_import_prints() {
    for file in FILES {
        let ran = imported(file).await;
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("weir.yaml");
        fs::write(&config, &ran.out).unwrap();
        let (ca, client) = (Ca::new("ca"), Ca::new("ca").client("weir"));
        for (name, text) in [
            ("ca.pem", &ca.pem),
            ("client.pem", &client.cert),
            ("client.key", &client.key),
            ("remote.key", &"t0ken".to_owned()),
        ] {
            fs::write(home.path().join(name), text).unwrap();
        }
        let names = ran.out.lines().filter_map(|line| line.strip_prefix("#   "));
        let names = names.filter_map(|line| line.split_whitespace().next());
        let names: Vec<String> = names.map(str::to_owned).collect();
        let args = ["check", "-c", config.to_str().unwrap()];
        let check = Process::start_with(args, |command| {
            command.envs(names.iter().map(|name| (name, "t0ken")));
        });
        let (status, out, err) = check.wait_exit().await;
        assert!(status.success(), "{file}: {out}{err}\n{}", ran.out);
    }
}

#[tokio::test]
async fn strict_is_content_with_what_came_along_whole() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("mcp.json");
    let server = r#"{ "mcpServers": { "a": { "command": "x", "env": { "TOKEN": "hunter2" } } } }"#;
    fs::write(&whole, server).unwrap();
    let ran = weir(["import", "--strict", whole.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.err
            .contains("1 server of mcp.json, nothing left out; set TOKEN"),
        "{ran:?}"
    );
    for (file, part) in [
        (
            "mcp.json",
            "2 servers of mcp.json, 2 left out; set GITHUB_TOKEN",
        ),
        ("odd.mcp.json", "disabled"),
    ] {
        let file = path(file);
        let ran = weir(["import", "--strict", file.to_str().unwrap()]).await;
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains(part), "{part}: {ran:?}");
        assert!(
            ran.out.contains("upstreams:"),
            "the config is there all the same"
        );
    }
}
