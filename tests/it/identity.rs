//! The door: who is let in, what is told to those who are not, and in which order things are checked.

use serde_json::{Value, json};

use crate::support::client::{MODERN, pool};
use crate::support::socket::{Answer, Socket};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const PUBLIC: &str = "https://weir.example/mcp";
const METADATA: &str = "https://weir.example/.well-known/oauth-protected-resource/mcp";
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"jira__search"}}"#;

/// A weir with this `listen.auth`, over one upstream.
async fn door(auth: &str) -> (Upstream, Weir) {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let listen = format!("request_bytes: 16KiB, auth: {auth}");
    let weir = Weir::over([&jira]).listen(&listen).start().await;
    (jira, weir)
}

/// The same for tokens of one issuer, none of which is ever right.
async fn tokens() -> (Upstream, Weir) {
    door(&format!(
        "{{ public_url: '{PUBLIC}', jwt: [{{ issuer: 'https://issuer.invalid' }}], metadata: {{ scopes: [mcp/read, mcp/write] }} }}"
    ))
    .await
}

/// Sends a request by hand and returns the answer.
async fn send(weir: &Weir, verb: &str, target: &str, lines: &[&str], body: &str) -> Answer {
    let mut socket = Socket::connect(weir.port()).await;
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let request =
        format!("{verb} {target} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n{body}");
    assert!(socket.send(request).await);
    socket.answer().await.expect("an answer")
}

/// The header lines of a correct `POST` in either era, without a credential.
fn lines(era: &str) -> Vec<&str> {
    let mut lines = vec![
        "host: localhost",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
    ];
    if era == MODERN {
        lines.extend([
            "mcp-protocol-version: 2026-07-28",
            "mcp-method: tools/call",
            "mcp-name: jira__search",
        ]);
    } else {
        lines.extend(["mcp-session-id: x"]);
    }
    lines
}

#[tokio::test]
async fn without_a_credential_every_request_is_challenged() {
    let (jira, weir) = tokens().await;
    let challenge = format!(r#"Bearer scope="mcp/read mcp/write", resource_metadata="{METADATA}""#);
    for era in [MODERN, "2025-11-25"] {
        for body in [CALL, "[]", "", "nonsense"] {
            let answer = send(&weir, "POST", "/mcp", &lines(era), body).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            let expected = json!({
                "jsonrpc": "2.0", "id": null,
                "error": { "code": -32600, "message": "unauthorized: a credential is needed" },
            });
            assert_eq!(body, expected);
        }
    }
    for verb in ["GET", "DELETE", "PUT"] {
        for target in ["/mcp", "/mcp/"] {
            let answer = send(&weir, verb, target, &lines("2025-11-25"), "").await;
            assert_eq!(answer.status, 401, "{verb} {answer:?}");
            assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
        }
    }
    // Another scheme counts as no credential.
    let basic = [lines(MODERN), vec!["authorization: Basic eDp5"]].concat();
    let answer = send(&weir, "POST", "/mcp", &basic, CALL).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
    assert_eq!(jira.count("tools/call"), 0);
}

#[tokio::test]
async fn a_wrong_credential_is_not_taken_for_none() {
    let (_jira, weir) = tokens().await;
    let start = r#"Bearer error="invalid_token", error_description=""#;
    for token in ["x", "a.b.c", "weir_x_y"] {
        let sent = format!("authorization: bearer {token}");
        let sent = [lines(MODERN), vec![&sent]].concat();
        let answer = send(&weir, "POST", "/mcp", &sent, CALL).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with(start), "{challenge}");
        let end = format!(r#"resource_metadata="{METADATA}""#);
        assert!(challenge.ends_with(&end), "{challenge}");
    }
}

#[tokio::test]
async fn what_is_not_exactly_one_credential_is_a_malformed_request() {
    let (_jira, weir) = tokens().await;
    let challenge = format!(
        r#"Bearer error="invalid_request", error_description="exactly one credential is needed, in a header", resource_metadata="{METADATA}""#
    );
    let secret = "planted-token";
    for (target, more) in [
        (
            "/mcp",
            vec![
                "authorization: Bearer planted-token",
                "authorization: Bearer planted-token",
            ],
        ),
        ("/mcp", vec!["authorization: Bearer"]),
        ("/mcp", vec!["authorization: Bearer planted-token x"]),
        ("/mcp?access_token=planted-token", vec![]),
        (
            "/mcp?a=b&access_token=planted-token",
            vec!["authorization: Bearer x"],
        ),
    ] {
        for verb in ["POST", "GET", "DELETE"] {
            let sent = [lines(MODERN), more.clone()].concat();
            let answer = send(&weir, verb, target, &sent, CALL).await;
            assert_eq!(answer.status, 400, "{verb} {target} {more:?}: {answer:?}");
            assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
            assert!(!format!("{answer:?}").contains(secret));
        }
    }
    assert!(!weir.stderr().contains(secret));
}

#[tokio::test]
async fn the_door_comes_after_the_origin_and_before_the_body() {
    let (_jira, weir) = tokens().await;
    let with = |more: &[&'static str]| [lines(MODERN), more.to_vec()].concat();
    let replace = |name: &str, line: &'static str| {
        let mut lines = lines(MODERN);
        lines.retain(|one| !one.starts_with(name));
        lines.push(line);
        lines
    };
    let rows = [
        (with(&["origin: http://evil.example"]), 403),
        (replace("host", "host: evil.example"), 403),
        (replace("host", "host: localhost:x"), 400),
        (replace("content-type", "content-type: text/plain"), 401),
        (replace("accept", "accept: text/html"), 401),
        (with(&["content-encoding: gzip"]), 401),
    ];
    for (lines, status) in rows {
        let answer = send(&weir, "POST", "/mcp", &lines, CALL).await;
        assert_eq!(answer.status, status, "{lines:?} {answer:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    // A body that never comes, and one that is too large by its header.
    for length in [1000, 1_000_000] {
        let mut socket = Socket::connect(weir.port()).await;
        let lines = lines(MODERN).join("\r\n");
        let head = format!("POST /mcp HTTP/1.1\r\n{lines}\r\ncontent-length: {length}\r\n\r\n");
        assert!(socket.send(head).await);
        assert_eq!(socket.answer().await.unwrap().status, 401);
    }
}

#[tokio::test]
async fn probes_preflights_and_metadata_need_no_credential() {
    let (_jira, weir) = tokens().await;
    for path in ["/healthz", "/readyz", "/ping"] {
        let answer = send(&weir, "GET", path, &["host: weir.example"], "").await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let lines = [
        "host: localhost",
        "origin: http://localhost:3000",
        "access-control-request-method: POST",
        "access-control-request-headers: authorization, content-type",
    ];
    let answer = send(&weir, "OPTIONS", "/mcp", &lines, "").await;
    assert_eq!(answer.status, 204);
    let allowed = answer.header("access-control-allow-headers");
    assert_eq!(allowed, Some("authorization, content-type"));
    // A page can read why it is refused.
    let lines = ["host: localhost", "origin: http://localhost:3000"];
    let answer = send(&weir, "GET", "/mcp", &lines, "").await;
    assert_eq!(answer.status, 401);
    let origin = answer.header("access-control-allow-origin");
    assert_eq!(origin, Some("http://localhost:3000"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("www-authenticate"), "{exposed}");
}

#[tokio::test]
async fn the_metadata_is_at_both_places_byte_for_byte() {
    let (_jira, weir) = door(&format!(
        "{{ public_url: '{PUBLIC}', jwt: [{{ issuer: 'https://b.example/' }}, {{ issuer: 'https://a.example' }}], metadata: {{ scopes: [mcp/read], documentation: 'https://docs.example/' }} }}"
    ))
    .await;
    let expected = concat!(
        r#"{"resource":"https://weir.example/mcp","authorization_servers":["https://b.example/","https://a.example"],"#,
        r#""scopes_supported":["mcp/read"],"bearer_methods_supported":["header"],"resource_name":"weir","#,
        r#""resource_documentation":"https://docs.example/"}"#
    );
    let place = "/.well-known/oauth-protected-resource";
    for path in [
        place.to_owned(),
        format!("{place}/mcp"),
        format!("{place}/mcp/"),
    ] {
        // A proxy in front has another `Host`, and pages of any origin read it.
        let lines = ["host: anything.example", "origin: https://page.example"];
        let answer = send(&weir, "GET", &path, &lines, "").await;
        assert_eq!((answer.status, &*answer.body), (200, expected), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        let lines = [
            "host: x",
            "access-control-request-headers: mcp-protocol-version",
        ];
        let answer = send(&weir, "OPTIONS", &path, &lines, "").await;
        assert_eq!(answer.status, 204);
        let allowed = answer.header("access-control-allow-headers");
        assert_eq!(allowed, Some("mcp-protocol-version"));
        assert_eq!(
            send(&weir, "POST", &path, &["host: x"], "").await.status,
            405
        );
    }
    for path in ["/other", "/mcp/x", "//mcp", "/mcp%20"] {
        let answer = send(&weir, "GET", &format!("{place}{path}"), &["host: x"], "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn on_loopback_the_url_is_that_of_the_request() {
    let (_jira, weir) =
        door("{ jwt: [{ issuer: 'https://issuer.invalid', audiences: [weir] }] }").await;
    let port = weir.port();
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let host_line = format!("host: {host}:{port}");
        let place = format!("http://{host}:{port}/.well-known/oauth-protected-resource");
        let answer = send(&weir, "GET", "/mcp", &[&host_line], "").await;
        let expected = format!(r#"Bearer resource_metadata="{place}/mcp""#);
        assert_eq!(answer.header("www-authenticate"), Some(&*expected));
        let target = "/.well-known/oauth-protected-resource/mcp";
        let answer = send(&weir, "GET", target, &[&host_line], "").await;
        let metadata: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(metadata["resource"], format!("http://{host}:{port}/mcp"));
    }
    // Nobody is told that somebody else's name is weir's.
    let target = "/.well-known/oauth-protected-resource/mcp";
    let answer = send(&weir, "GET", target, &["host: evil.example"], "").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn without_tokens_there_is_no_metadata_and_without_auth_no_door() {
    let (_jira, weir) = door("{ platform: { subject_header: X-User, from: [127.0.0.1] } }").await;
    let place = weir.path("/.well-known/oauth-protected-resource");
    assert_eq!(pool().get(&place).send().await.unwrap().status(), 404);
    let answer = send(&weir, "GET", "/mcp", &["host: localhost"], "").await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let (_jira, weir) = door("none").await;
    let place = weir.path("/.well-known/oauth-protected-resource");
    let answer = pool().get(&place).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("/mcp"));
    assert_eq!(weir.modern().call("jira__search", "{}").await.status, 200);
}
