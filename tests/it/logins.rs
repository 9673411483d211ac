//! Upstreams that a person has to log in to: `weir login`, and weir with a stored login.

mod nearer;
pub mod rig;
mod serving;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use url::Url;

use crate::support::saas::SaaS;
use crate::support::upstream::Upstream;
use crate::support::weir::{Process, Weir};
use crate::support::{bounded, free_port};
use rig::{Rig, Waiting, get, mode};
pub use serving::{answered, call};

pub const AUTH: &str = "auth: { type: oauth2_authorization_code, client_id: known }";

#[tokio::test]
async fn a_login_asks_with_pkce_state_and_resource_and_stores_what_it_gets() {
    let rig = Rig::new(AUTH).await;
    let waiting = rig.login().await;
    assert_eq!(waiting.asked("client_id").as_deref(), Some("known"));
    assert_eq!(waiting.asked("response_type").as_deref(), Some("code"));
    assert_eq!(
        waiting.asked("code_challenge_method").as_deref(),
        Some("S256")
    );
    assert_eq!(waiting.asked("resource"), Some(rig.saas.url()));
    assert_eq!(waiting.asked("scope").as_deref(), Some("read write"));
    assert!(waiting.asked("state").unwrap().len() >= 16);
    let (status, page) = waiting.browse().await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(page.contains("Weir is logged in to linear."), "{page}");
    let (status, out, err) = waiting.process.wait_exit().await;
    assert_eq!(status.code(), Some(0), "{err}");
    assert!(out.contains("weir is logged in to linear"), "{out}");
    let asked = &rig.saas.asked("authorization_code")[0];
    assert_eq!(asked["resource"], rig.saas.url());
    let record = rig.record();
    assert_eq!(record["version"], 1);
    assert_eq!(record["issuer"], rig.saas.issuer());
    assert_eq!(record["refresh_token"], "refresh-secret-3");
    assert_eq!(record["scopes"], json!(["read", "write"]));
    for text in [&out, &err, &page] {
        assert!(!text.contains("-secret-"), "{text}");
    }
    assert_eq!(mode(&rig.stored()[0]), 0o600);
    assert_eq!(mode(&rig.home.path().join("state/oauth")), 0o700);
}

#[tokio::test]
async fn an_answer_to_another_login_is_turned_away_and_the_right_one_still_counts() {
    let rig = Rig::new(AUTH).await;
    let waiting = rig.login().await;
    let right = waiting.redirect().await;
    let mut forged = right.clone();
    forged.set_query(Some("code=stolen&state=guessed"));
    for wrong in [
        "code=stolen&state=guessed",
        "code=stolen",
        "error=access_denied",
        "",
    ] {
        forged.set_query(Some(wrong));
        let answer = get(forged.as_str()).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("belongs to another login"), "{page}");
    }
    let elsewhere = right.join("/favicon.ico").unwrap();
    assert_eq!(
        get(elsewhere.as_str()).await.status(),
        StatusCode::NOT_FOUND
    );
    assert!(rig.saas.asked("authorization_code").is_empty());
    assert_eq!(get(right.as_str()).await.status(), StatusCode::OK);
    let (code, err) = waiting.ended().await;
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("was rejected"), "{err}");
}

#[tokio::test]
async fn an_answer_of_another_issuer_ends_the_login_and_no_code_is_sent_anywhere() {
    let rig = Rig::new(AUTH).await;
    for iss in ["https://evil.example", ""] {
        rig.saas.script().redirect = vec![("iss", iss.to_owned())];
        let (status, page, code, err) = rig.logged_in().await;
        assert_eq!((status, code), (StatusCode::BAD_REQUEST, 2), "{err}");
        assert!(page.contains("Weir is not logged in to linear"), "{page}");
        assert!(
            err.contains("did not come from the authorization server"),
            "{err}"
        );
    }
    // A server that does not promise `iss` may leave it out, but a wrong one is rejected.
    rig.saas.script().metadata = json!({ "authorization_response_iss_parameter_supported": null });
    rig.saas.script().redirect = vec![("iss", "https://evil.example".to_owned())];
    assert_eq!(rig.logged_in().await.2, 2);
    assert!(rig.saas.asked("authorization_code").is_empty());
    assert!(rig.stored().is_empty());
    rig.saas.script().redirect = vec![("iss", String::new())];
    assert_eq!(rig.logged_in().await.2, 0);
}

#[tokio::test]
async fn who_says_no_is_understood_and_nothing_is_stored() {
    let rig = Rig::new(AUTH).await;
    let no = |error: &str| {
        vec![
            ("code", String::new()),
            ("error", error.to_owned()),
            ("error_description", "<b>own words</b>".to_owned()),
        ]
    };
    rig.saas.script().redirect = no("access_denied");
    let (status, page, code, err) = rig.logged_in().await;
    assert_eq!((status, code), (StatusCode::BAD_REQUEST, 2));
    for text in [&page, &err] {
        assert!(text.contains("access_denied"), "{text}");
        assert!(!text.contains("own words"), "{text}");
    }
    rig.saas.script().redirect = no("a-secret-in-an-error");
    let (_, page, code, err) = rig.logged_in().await;
    assert_eq!(code, 2);
    for text in [&page, &err] {
        assert!(text.contains("without a known error code"), "{text}");
        assert!(!text.contains("a-secret"), "{text}");
    }
    assert!(rig.stored().is_empty());
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_is_named_without_its_words() {
    let rig = Rig::new(AUTH).await;
    let cases = [
        (StatusCode::BAD_REQUEST, "invalid_grant", "(invalid_grant)"),
        (
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "(invalid_client)",
        ),
        (
            StatusCode::BAD_REQUEST,
            "odd-secret",
            "without a known error code",
        ),
        (StatusCode::SERVICE_UNAVAILABLE, "x", "503"),
    ];
    for (status, error, words) in cases {
        rig.saas.script().fail = Some((status, error));
        let (_, page, code, err) = rig.logged_in().await;
        assert_eq!(code, 2);
        assert!(err.contains(words), "{err}");
        assert!(
            !err.contains("odd-secret") && !page.contains("odd-secret"),
            "{err}"
        );
    }
    assert!(rig.stored().is_empty());
    let folder = rig.home.path().join("state/oauth");
    let left = std::fs::read_dir(folder).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
    assert!(
        left.iter().all(|path| path.extension().unwrap() == "lock"),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_server_without_pkce_is_refused_before_anybody_logs_in() {
    let rig = Rig::new(AUTH).await;
    for methods in [Value::Null, json!(["plain"])] {
        rig.saas.script().metadata = json!({ "code_challenge_methods_supported": methods });
        let err = rig.refused().await;
        assert!(err.contains("PKCE"), "{err}");
    }
}

#[tokio::test]
async fn what_a_stranger_names_is_not_gone_to() {
    let rig = Rig::new(AUTH).await;
    for (server, why) in [
        ("https://169.254.169.254/", "link-local"),
        ("https://metadata.google.internal/x", "link-local"),
        ("http://as.example.com", "plain http"),
    ] {
        rig.saas.script().resource = json!({ "authorization_servers": [server] });
        let err = rig.refused().await;
        let host = server.split('/').nth(2).unwrap();
        assert!(err.contains(host) && err.contains(why), "{err}");
    }
    rig.saas.script().resource = json!({});
    for (endpoint, url, why) in [
        ("token", "https://169.254.169.254/latest", "link-local"),
        (
            "token",
            "https://tokens.evil.example/token",
            "allowed_hosts",
        ),
        (
            "authorization",
            "https://login.evil.example/",
            "allowed_hosts",
        ),
        ("token", "ftp://127.0.0.1/", "https"),
    ] {
        rig.saas.script().metadata = json!({ (format!("{endpoint}_endpoint")): url });
        let err = rig.refused().await;
        assert!(err.contains(&format!("{endpoint} endpoint")), "{err}");
        assert!(err.contains(why), "{endpoint} {url}: {err}");
    }
    rig.saas.script().metadata = json!({ "issuer": "https://evil.example" });
    let err = rig.refused().await;
    assert!(err.contains("another issuer"), "{err}");
    rig.saas.script().metadata = json!({});
    rig.saas.script().resource = json!({ "resource": "https://other.example/mcp" });
    rig.saas.script().challenge = Some(format!(
        ", resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
        rig.saas.issuer()
    ));
    let err = rig.refused().await;
    assert!(err.contains("not about the upstream's URL"), "{err}");
}

#[tokio::test]
async fn scopes_are_those_of_the_config_else_of_the_challenge_else_of_the_metadata() {
    let rig = Rig::new(AUTH).await;
    let scope = async |rig: &Rig| {
        let waiting = rig.login().await;
        let scope = waiting.asked("scope").unwrap();
        waiting.process.stop().await;
        scope
    };
    assert_eq!(scope(&rig).await, "read write");
    let metadata = format!(
        "{}/.well-known/oauth-protected-resource/mcp",
        rig.saas.issuer()
    );
    rig.saas.script().challenge = Some(format!(
        ", resource_metadata=\"{metadata}\", scope=\"read\""
    ));
    assert_eq!(scope(&rig).await, "read");
    rig.saas.script().metadata = json!({ "scopes_supported": ["offline_access"] });
    assert_eq!(scope(&rig).await, "read offline_access");
    rig.write("auth: { type: oauth2_authorization_code, client_id: known, scopes: [mine] }");
    assert_eq!(scope(&rig).await, "mine");
}

#[tokio::test]
async fn weir_registers_itself_where_it_is_not_known() {
    let rig = Rig::new("auth: { type: oauth2_authorization_code }").await;
    let (_, _, code, err) = rig.logged_in().await;
    assert_eq!(code, 0, "{err}");
    let wanted = rig.saas.script().registered[0].clone();
    assert_eq!(wanted["token_endpoint_auth_method"], "none");
    assert_eq!(wanted["application_type"], "native");
    let redirect = wanted["redirect_uris"][0].as_str().unwrap().to_owned();
    assert!(redirect.starts_with("http://127.0.0.1:"), "{redirect}");
    assert_eq!(rig.record()["client"]["id"], "registered-1");
    // A server that supports no public clients.
    let methods = json!({ "token_endpoint_auth_methods_supported": ["client_secret_basic"] });
    rig.saas.script().metadata = methods;
    let (_, _, code, err) = rig.logged_in().await;
    assert_eq!(code, 0, "{err}");
    let client = &rig.record()["client"];
    assert_eq!(client["secret"], "registered-secret");
    assert_eq!(client["method"], "client_secret_basic");
    rig.saas.script().metadata = json!({ "registration_endpoint": null });
    let err = rig.refused().await;
    assert!(err.contains("set `auth.client_id`"), "{err}");
}

#[tokio::test]
async fn a_client_may_be_a_document_where_the_server_takes_that() {
    let document = "https://weir.example.com/client.json";
    let rig = Rig::new(&format!(
        "auth: {{ type: oauth2_authorization_code, client_metadata_url: \"{document}\" }}"
    ))
    .await;
    let (_, _, code, err) = rig.logged_in().await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(rig.record()["client"]["id"], document);
    assert!(rig.saas.script().registered.is_empty());
    rig.saas.script().metadata = json!({ "client_id_metadata_document_supported": false });
    let err = rig.refused().await;
    assert!(
        err.contains("does not support client id metadata documents"),
        "{err}"
    );
}

#[tokio::test]
async fn the_issuer_of_the_config_is_asked_whatever_the_upstream_names() {
    let upstream = Upstream::named("other").tools(["x"]).start().await;
    let other = SaaS::before(&upstream).await;
    let rig = Rig::new(AUTH).await;
    rig.write(&format!(
        "auth: {{ type: oauth2_authorization_code, client_id: known, issuer: \"{}\" }}",
        other.issuer()
    ));
    let (_, _, code, err) = rig.logged_in().await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(other.asked("authorization_code").len(), 1);
    assert_eq!(rig.record()["issuer"], other.issuer());
    assert_eq!(rig.record()["resource"], rig.saas.url());
}

#[tokio::test]
async fn the_address_of_a_browser_on_another_machine_can_be_pasted() {
    use tokio::io::AsyncWriteExt as _;
    let rig = Rig::new(AUTH).await;
    let (reader, writer) = std::io::pipe().unwrap();
    let args = ["login", "linear", "-c", rig.config().to_str().unwrap()].map(str::to_owned);
    let process = Process::start_with(args, |command| {
        command.stdin(Stdio::from(reader));
    });
    let waiting = Waiting::of(process).await;
    let redirect = waiting.redirect().await;
    let mut writer =
        tokio::fs::File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(writer)));
    let typed = format!("what?\n\n  {redirect}  \n");
    writer.write_all(typed.as_bytes()).await.unwrap();
    writer.flush().await.unwrap();
    let (code, err) = waiting.ended().await;
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("begins with http://127.0.0.1"), "{err}");
}

#[tokio::test]
async fn a_login_that_cannot_be_says_what_to_do() {
    let rig = Rig::new(AUTH).await;
    let path = rig.config();
    let path = path.to_str().unwrap();
    let ran = Process::start(["login", "lineal", "-c", path]);
    let (status, _, err) = ran.wait_exit().await;
    assert_eq!(status.code(), Some(2));
    assert!(
        err.contains("no upstream `lineal`") && err.contains("linear"),
        "{err}"
    );
    rig.write("auth: { type: none }");
    let err = rig.refused().await;
    assert!(err.contains("oauth2_authorization_code"), "{err}");
    let taken = free_port();
    let _held = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    rig.write(&format!(
        "auth: {{ type: oauth2_authorization_code, client_id: known, redirect_port: {taken} }}"
    ));
    let err = rig.refused().await;
    assert!(err.contains(&format!("port {taken}")), "{err}");
    assert!(err.contains("redirect_port"), "{err}");
}

#[tokio::test]
async fn breaking_off_leaves_nothing_behind() {
    let rig = Rig::new(AUTH).await;
    let waiting = rig.login().await;
    waiting.process.signal(Signal::INT);
    let (code, err) = waiting.ended().await;
    assert_eq!(code, 2, "{err}");
    assert!(!rig.home.path().join("state").exists());
}

#[tokio::test]
async fn no_secret_of_a_login_is_in_its_log() {
    let rig = Rig::new("auth: { type: oauth2_authorization_code }").await;
    let methods = json!({ "token_endpoint_auth_methods_supported": ["client_secret_basic"] });
    rig.saas.script().metadata = methods;
    let args = ["login", "linear", "-c", rig.config().to_str().unwrap()].map(str::to_owned);
    let process = Process::start_with(args, |command| {
        command.env("WEIR_LOG", "trace");
    });
    let waiting = Waiting::of(process).await;
    assert_eq!(waiting.browse().await.0, StatusCode::OK);
    let (status, out, err) = waiting.process.wait_exit().await;
    assert_eq!(status.code(), Some(0), "{err}");
    assert!(err.contains("TRACE"), "{err}");
    let asked = rig.saas.asked("authorization_code").remove(0);
    let record = rig.record();
    let secrets = [
        &asked["code"],
        &asked["code_verifier"],
        record["access_token"].as_str().unwrap(),
        record["refresh_token"].as_str().unwrap(),
        record["client"]["secret"].as_str().unwrap(),
    ];
    for secret in secrets {
        let at = err.lines().find(|line| line.contains(secret));
        assert_eq!(at, None, "`{secret}`");
        assert!(!out.contains(secret));
    }
}
