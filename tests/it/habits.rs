//! Habits of clients that are a little off, or older than the revisions that weir prefers.

use http::Method;

use crate::face_stdio::Piped;
use crate::support::client::{Client, Legacy, Modern};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const OLD: &str = "2024-11-05";

async fn rig() -> (Upstream, Weir) {
    let up = Upstream::named("up").tools(["search"]).progress("work", 1);
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    (up, weir)
}

#[tokio::test]
async fn media_types_are_read_without_case_and_with_parameters() {
    let (_up, weir) = rig().await;
    for caller in Client::both(&weir).await {
        for (accept, kind) in [
            ("Application/JSON, Text/Event-Stream", "text/event-stream"),
            (
                "TEXT/EVENT-STREAM;q=0.5 , APPLICATION/JSON",
                "text/event-stream",
            ),
            ("*/*", "text/event-stream"),
            ("Text/*;q=0.1,application/*", "text/event-stream"),
            ("APPLICATION/*; q=0.9", "application/json"),
            ("Application/Json;charset=UTF-8", "application/json"),
            (
                "application/json, text/event-stream;q=0",
                "application/json",
            ),
            ("", "text/event-stream"),
        ] {
            let ask = caller.ask("tools/call", r#"{"name":"up__work"}"#);
            let ask = ask.meta("progressToken", "1").header("accept", accept);
            let ask = ask.header("content-type", "Application/JSON; Charset=UTF-8");
            let reply = ask.send().await;
            let context = format!("{} {accept}", caller.era());
            assert_eq!(
                (reply.status, reply.succeeded()),
                (200, true),
                "{context}: {reply:?}"
            );
            assert_eq!(reply.header("content-type"), Some(kind), "{context}");
        }
        for accept in ["text/html", "application/json;q=0", "application/jsonp"] {
            let ask = caller.ask("tools/list", "{}").header("accept", accept);
            assert_eq!(ask.send().await.status, 406, "{accept}");
        }
    }
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_path_changes_nothing() {
    let (_up, weir) = rig().await;
    let url = format!("{}/", weir.url());
    let modern = Modern::new(&url);
    assert_eq!(modern.tool_names().await, ["up__search", "up__work"]);
    let legacy = Legacy::open(&url, "2025-11-25").await;
    assert!(legacy.call("up__search", "{}").await.succeeded());
    let stream = legacy.listen().await;
    assert_eq!(stream.status, 200);
    assert!(legacy.delete().await.status < 300);
    assert_eq!(legacy.request("tools/list", "{}").await.status, 404);
}

#[tokio::test]
async fn other_paths_say_where_the_endpoint_is() {
    let (_up, weir) = rig().await;
    for path in [
        "/",
        "/sse",
        "/mcp/x",
        "/.well-known/oauth-protected-resource",
    ] {
        for method in [Method::GET, Method::POST] {
            let headers = [("content-type", "application/json")];
            let other = Modern::new(weir.path(path));
            let reply = other.raw(method, headers, "{}").await;
            let body = String::from_utf8_lossy(&reply.body);
            assert_eq!(reply.status, 404, "{path}");
            assert!(body.contains("/mcp"), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_the_reason() {
    let (_up, weir) = rig().await;
    for caller in Client::both(&weir).await {
        for coding in ["gzip", "GZip", "br, identity"] {
            let ask = caller
                .ask("tools/list", "{}")
                .header("content-encoding", coding);
            let reply = ask.send().await;
            assert_eq!(reply.status, 415, "{reply:?}");
            assert_eq!(reply.header("accept-encoding"), Some("identity"));
            let message = reply.error()["message"].to_string();
            assert!(message.contains("Content-Encoding"), "{message}");
        }
        let ask = caller
            .ask("tools/list", "{}")
            .header("content-encoding", "Identity");
        assert!(ask.send().await.succeeded());
    }
}

#[tokio::test]
async fn a_client_of_2024_11_05_is_served() {
    let (up, weir) = rig().await;
    let legacy = Legacy::open(weir.url(), OLD).await;
    assert_eq!(legacy.version, OLD);
    let ask = legacy.ask("tools/call", r#"{"name":"up__work"}"#);
    // That revision knows no such header.
    let ask = ask
        .without("mcp-protocol-version")
        .meta("progressToken", "\"t\"");
    let reply = ask.send().await;
    assert_eq!(reply.text(), "up.work {}");
    assert_eq!(reply.notifications("notifications/progress").len(), 1);
    assert!(legacy.tool_names().await.contains(&"up__search".to_owned()));
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    let reply = legacy.post(batch).await;
    assert_eq!((reply.status, reply.code()), (400, -32600), "{reply:?}");
    drop(up);

    let home = tempfile::tempdir().unwrap();
    let up = Upstream::named("up").tools(["search"]).start().await;
    let config = home.path().join("weir.yaml");
    let yaml = format!("version: 1\nupstreams:\n  up:\n    url: \"{}\"\n", up.url());
    std::fs::write(&config, yaml).unwrap();
    let mut piped = Piped::start(&config, false);
    let params = format!(
        r#"{{"protocolVersion":"{OLD}","capabilities":{{}},"clientInfo":{{"name":"c","version":"1"}}}}"#
    );
    piped.request("1", "initialize", &params).await;
    let welcome = piped.find("the answer", |message| message["id"] == 1).await;
    assert!(
        welcome.contains(&format!("\"protocolVersion\":\"{OLD}\"")),
        "{welcome}"
    );
    piped
        .send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
        .await;
    piped
        .request("2", "tools/call", r#"{"name":"up__search"}"#)
        .await;
    let answer = piped.find("the answer", |message| message["id"] == 2).await;
    assert!(answer.contains("up.search {}"), "{answer}");
}
