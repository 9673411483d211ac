//! A platform in front gives the ids of sessions, as Amazon Bedrock AgentCore Runtime does: any id is good,
//! none is needed, and its health check needs neither a session nor a credential.

use http::Method;

use crate::support::asking::Asking;
use crate::support::client::{Client, Legacy, Modern, Reply, call_params};
use crate::support::principals::Issuer;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const PLATFORM: &str = "sessions: platform";
const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

async fn jira() -> Upstream {
    Upstream::named("jira").tools(["search"]).start().await
}

/// Posts a body as the platform does, with these headers besides.
async fn posted(url: &str, more: &[(&str, &str)], body: &str) -> Reply {
    let mut headers = vec![
        ("content-type", "application/json"),
        ("accept", "application/json"),
    ];
    headers.extend_from_slice(more);
    Modern::new(url).raw(Method::POST, headers, body).await
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_health_check_needs_neither_a_session_nor_a_credential() {
    let (jira, issuer) = (jira().await, Issuer::new());
    let weir = issuer.start(Weir::over([&jira]), PLATFORM).await;
    let (url, slash) = (weir.url(), format!("{}/", weir.url()));
    for (body, id) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "1"),
        (
            r#"{"jsonrpc":"2.0","id":"a\u0041","method":"ping","params":null}"#,
            r#""a\u0041""#,
        ),
        (
            r#"{"method":"ping","params":{},"id":2,"jsonrpc":"2.0"}"#,
            "2",
        ),
    ] {
        for url in [&url, &slash] {
            for more in [&[][..], &[("mcp-session-id", "x")]] {
                let reply = posted(url, more, body).await;
                let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
                assert_eq!((reply.status, text(&reply)), (200, expected), "{body}");
            }
        }
    }
    // Everything else does, and so does a wrong credential.
    let padded = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","x":"{}"}}"#,
        "x".repeat(1024)
    );
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","method":"ping"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#,
        padded.as_str(),
        "nonsense",
    ] {
        assert_eq!(posted(&url, &[], body).await.status, 401, "{body}");
    }
    let wrong = [("authorization", "Bearer a.b.c")];
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(posted(&url, &wrong, ping).await.status, 401);
    // Without a platform it is a request like any other.
    let own = issuer.start(Weir::over([&jira]), "page_size: 100").await;
    assert_eq!(posted(&own.url(), &[], ping).await.status, 401);
}

#[tokio::test]
async fn any_id_is_a_session_and_so_is_none() {
    let jira = jira().await;
    let weir = Weir::over([&jira]).listen(PLATFORM).start().await;
    weir.wait_told("jira", "state", "up").await;
    for version in VERSIONS {
        let client = Legacy::resume(weir.url(), "of-the-platform", version);
        for reply in [
            client.request("tools/list", "{}").await,
            client.call("jira__search", "{}").await,
            // The ids change from request to request.
            client
                .ask("tools/call", &call_params("jira__search", "{}"))
                .header("mcp-session-id", "another one, with spaces")
                .send()
                .await,
            client
                .ask("tools/list", "{}")
                .without("mcp-session-id")
                .without("mcp-protocol-version")
                .send()
                .await,
        ] {
            assert!(reply.succeeded(), "{version}: {reply:?}");
            assert_eq!(reply.header("mcp-session-id"), None);
        }
    }
    // As the sample's client does: one request, nothing before it.
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let reply = posted(&weir.url(), &[], list).await;
    assert!(text(&reply).contains("jira__search"), "{reply:?}");
    // An unknown version is refused all the same.
    let unknown = [("mcp-protocol-version", "1999-01-01")];
    assert_eq!(posted(&weir.url(), &unknown, list).await.status, 400);
}

#[tokio::test]
async fn clients_of_both_eras_work_as_behind_no_platform() {
    let jira = jira().await;
    let weir = Weir::over([&jira]).listen(PLATFORM).start().await;
    weir.wait_told("jira", "state", "up").await;
    for client in Client::both(&weir).await {
        assert!(
            client
                .tool_names()
                .await
                .contains(&"jira__search".to_owned())
        );
        assert!(client.call("jira__search", "{}").await.succeeded());
    }
    let legacy = Legacy::open(weir.url(), "2025-06-18").await;
    assert_eq!(
        (legacy.session.as_deref(), legacy.version.as_str()),
        (None, "2025-06-18")
    );
    // A modern request stays one with an id of the platform's on it.
    let modern = Modern::new(weir.url());
    let ask = modern.ask("tools/call", &call_params("jira__search", "{}"));
    let reply = ask.header("mcp-session-id", "of-the-platform").send().await;
    assert!(
        reply.succeeded() && text(&reply).contains("resultType"),
        "{reply:?}"
    );
    let ended = Legacy::resume(weir.url(), "of-the-platform", "2025-06-18");
    assert_eq!(ended.delete().await.status, 204);
    assert!(ended.call("jira__search", "{}").await.succeeded());
}

#[tokio::test]
async fn what_initialize_said_is_known_under_the_id_and_to_its_principal_only() {
    const ABLE: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"x","version":"1"}}"#;
    let (up, issuer) = (
        Asking::named("up").tools(["ask"]).start().await,
        Issuer::new(),
    );
    let weir = issuer.start(Weir::with(&up.yaml()), PLATFORM).await;
    let client = |subject: &str, session: &str| {
        let token = issuer.token(subject);
        Legacy::resume_token(weir.url(), session, "2025-11-25", &token)
    };
    let opened = client("ann", "s").request("initialize", ABLE).await;
    assert_eq!(opened.value()["protocolVersion"], "2025-11-25");
    // The upstream is told of what the client of the call can do.
    for (subject, session, told) in [("ann", "other", 0), ("bob", "s", 0), ("ann", "s", 1)] {
        let client = client(subject, session);
        let call = client.call("up__ask", "{}");
        let upstream = async { up.call().await.answer(r#"{"content":[]}"#).await };
        let (reply, ()) = tokio::join!(call, upstream);
        assert!(reply.succeeded(), "{reply:?}");
        let sessions = up.requests("initialize");
        let able = sessions
            .iter()
            .filter(|sent| sent.value["params"]["capabilities"]["elicitation"].is_object());
        assert_eq!(able.count(), told, "{subject} {session}: {sessions:?}");
    }
}
