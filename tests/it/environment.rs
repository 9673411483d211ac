//! The environment of child processes: what they inherit of weir's, and what they do not.

use std::fs;

use serde_json::Value;

use crate::support::weir::{Weir, child_upstream};

/// Variables of weir: those that children need to get out of a company's network, secrets beside
/// them, and some of nobody.
const VARIABLES: [(&str, &str); 16] = [
    ("HTTPS_PROXY", "http://proxy.corp:3128"),
    ("no_proxy", "localhost,.corp"),
    ("ALL_PROXY", "socks5://me:hunter2@proxy.corp:1080"),
    ("http_proxy", "me:hunter2@proxy.corp:3128"),
    ("NODE_EXTRA_CA_CERTS", "/etc/corp.pem"),
    ("SSL_CERT_FILE", "/etc/corp.pem"),
    ("SSL_CERT_DIR", "/etc/corp"),
    ("REQUESTS_CA_BUNDLE", "/etc/corp.pem"),
    ("npm_config_registry", "https://npm.corp/"),
    ("npm_config_//npm.corp/:_authToken", "hunter2"),
    ("NPM_CONFIG_CACHE", "/tmp/npm"),
    ("UV_INDEX_URL", "https://token@pypi.corp/simple"),
    ("UV_PUBLISH_TOKEN", "hunter2"),
    ("ERP_REGION", "eu"),
    ("ERP_API_KEY", "hunter2"),
    ("DATABASE_URL", "postgres://me:hunter2@db/erp"),
];

/// The variables that children inherit unasked.
const USUAL: [&str; 8] = [
    "HTTPS_PROXY",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "npm_config_registry",
    "NPM_CONFIG_CACHE",
];

async fn start(top: &str, more: &str) -> Weir {
    let kid = child_upstream("kid", &["--tools", "environ"]) + more;
    let builder = Weir::with(&kid).env(VARIABLES.map(|(name, value)| (name, value.to_owned())));
    let weir = builder.top(top).start().await;
    weir.wait_tools(["kid__environ"]).await;
    weir
}

/// Which of [`VARIABLES`] the child has, with `PATH`, in alphabetical order.
async fn inherited(weir: &Weir) -> Vec<String> {
    let text = weir.modern().call("kid__environ", "{}").await.text();
    let environ: Value = serde_json::from_str(&text).unwrap();
    let mut names = VARIABLES.map(|(name, _)| name).to_vec();
    names.push("PATH");
    let mut had: Vec<_> = names
        .into_iter()
        .filter(|name| environ.get(name).is_some())
        .map(str::to_owned)
        .collect();
    had.sort();
    had
}

/// [`USUAL`] and `PATH`, and more.
fn usual(more: &[&str]) -> Vec<String> {
    let mut names = [&USUAL, more, &["PATH"]].concat();
    names.sort_unstable();
    names.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_child_inherits_what_it_needs_to_get_out_and_no_secret() {
    let weir = start("", "").await;
    assert_eq!(inherited(&weir).await, usual(&[]));
    // Somebody behind such a proxy has to find out why the child cannot get out.
    let said = "not inherited, because they hold credentials: ALL_PROXY, UV_INDEX_URL, http_proxy";
    weir.wait_stderr(said).await;
    assert!(!weir.stderr().contains("hunter2"));
}

#[tokio::test]
async fn inherit_env_adds_variables_and_leaves_variables_out() {
    let top = "defaults: { inherit_env: [\"ERP_*\", \"!npm_*\", \"!*_DIR\"] }";
    let more = "    inherit_env: [SSL_CERT_DIR, ALL_PROXY]\n";
    let weir = start(top, more).await;
    let mut expected = usual(&["ALL_PROXY", "ERP_REGION"]);
    expected.retain(|name| name != "npm_config_registry");
    assert_eq!(inherited(&weir).await, expected);
    // From nothing on; a secret has to be named as a whole.
    let weir = start(
        "",
        "    inherit_env: [\"!*\", PATH, ERP_API_KEY, \"*TOKEN\"]\n",
    )
    .await;
    assert_eq!(inherited(&weir).await, ["ERP_API_KEY", "PATH"]);
}

#[tokio::test]
async fn a_change_of_inherit_env_starts_the_child_again() {
    let weir = start("", "").await;
    let file = weir.home.path().join("weir.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    fs::write(&file, yaml + "    inherit_env: [\"ERP_*\"]\n").unwrap();
    weir.wait_stderr("config applied").await;
    weir.wait_stderr("weir stopped the process").await;
    weir.resync("kid").await;
    assert_eq!(inherited(&weir).await, usual(&["ERP_REGION"]));
}

#[test]
fn mistakes_in_inherit_env_are_named() {
    let errors = |upstream: &str| {
        let yaml = format!("version: 1\nupstreams:\n  kid: {{ {upstream} }}\n");
        let file = std::path::Path::new("weir.yaml");
        weir::config::parse(&yaml, file, &|_| None)
            .unwrap_err()
            .to_string()
    };
    for wrong in ["A=B", "", "!"] {
        let said = errors(&format!("command: kid, inherit_env: [\"{wrong}\"]"));
        assert!(
            said.contains("upstreams.kid.inherit_env[0]: not the name of an environment variable"),
            "{said}"
        );
    }
    let said = errors("url: \"http://127.0.0.1:1/mcp\", inherit_env: [A]");
    assert!(
        said.contains("`inherit_env` belongs to an upstream with a `command`"),
        "{said}"
    );
}
