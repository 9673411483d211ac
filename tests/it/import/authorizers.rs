//! The authorizer of an AgentCore gateway or runtime becomes `listen.auth.jwt`.

use std::fs;

use serde_json::{Value, json};

use super::{imported, path};
use crate::support::ran::{Ran, weir};
use crate::support::weir::Process;

/// Imports an authorizer as `get-agent-runtime` prints it.
async fn imported_authorizer(authorizer: Value) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("runtime.json");
    let authorizer = json!({ "authorizerConfiguration": { "customJWTAuthorizer": authorizer } });
    fs::write(&file, authorizer.to_string()).unwrap();
    weir(["import", file.to_str().unwrap()]).await
}

/// Whether `weir check` takes a config with these variables, and what it says.
async fn checked(yaml: &str, variables: &[(&'static str, &'static str)]) -> (bool, String) {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("weir.yaml");
    fs::write(&config, yaml).unwrap();
    let variables = variables.to_vec();
    let check = Process::start_with(["check", "-c", config.to_str().unwrap()], |command| {
        command.envs(variables);
    });
    let (status, _, err) = check.wait_exit().await;
    (status.success(), err)
}

const URL: (&str, &str) = ("WEIR_PUBLIC_URL", "https://weir.example.com/mcp");

#[tokio::test]
async fn all_rules_come_along_and_the_rest_is_said() {
    let ran = imported("gateway.json").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    insta::assert_snapshot!(format!("{}---\n{}", ran.out, ran.err));
    let (valid, err) = checked(&ran.out, &[URL]).await;
    assert!(valid, "{err}");
    let (valid, err) = checked(&ran.out, &[]).await;
    assert!(!valid && err.contains("WEIR_PUBLIC_URL"), "{err}");
    let file = path("gateway.json");
    let ran = weir(["import", "--strict", file.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
}

#[tokio::test]
async fn a_rule_that_weir_does_not_have_lets_nobody_in() {
    let claim = |name: &str, operator: &str| {
        json!({
            "inboundTokenClaimName": name, "inboundTokenClaimValueType": "STRING",
            "authorizingClaimMatchValue": {
                "claimMatchOperator": operator, "claimMatchValue": { "matchValueString": "a" },
            },
        })
    };
    for claims in [
        json!([claim("x", "STARTS_WITH")]),
        json!([claim("x", "CONTAINS")]),
        json!([claim("x", "EQUALS"), claim("x", "EQUALS")]),
    ] {
        let ran = imported_authorizer(json!({
            "discoveryUrl": "https://a.example/.well-known/openid-configuration",
            "allowedAudience": ["weir"], "customClaims": claims,
        }))
        .await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            ran.err
                .contains("1 left out; set WEIR_PUBLIC_URL, WEIR_UNDECIDED"),
            "{ran:?}"
        );
        let (valid, err) = checked(&ran.out, &[URL]).await;
        assert!(
            !valid && err.contains("WEIR_UNDECIDED"),
            "{err}\n{}",
            ran.out
        );
    }
}

#[tokio::test]
async fn without_audience_and_client_the_audience_is_the_endpoint() {
    let ran = imported_authorizer(json!({
        "discoveryUrl": "https://a.example/.well-known/openid-configuration",
        "allowedScopes": ["a"],
    }))
    .await;
    assert!(
        ran.err
            .contains("AgentCore accepts tokens for any audience"),
        "{ran:?}"
    );
    let (valid, err) = checked(&ran.out, &[URL]).await;
    assert!(valid, "{err}");
}
