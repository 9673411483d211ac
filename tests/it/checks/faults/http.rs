//! The parts of HTTP that are refused before a request is one of MCP.

use super::post::Post;
use super::{CALL, Rig};
use crate::support::client::Legacy;
use crate::support::socket::Socket;

#[tokio::test]
async fn what_http_itself_refuses_has_the_status_of_http() {
    let rig = Rig::start().await;
    let call = Post::modern("tools/call", CALL);
    let many: Vec<_> = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "x".repeat(200_000));
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    for (request, status) in [
        (get("/mcp", &large), 431),
        (get("/mcp", &many.concat()), 431),
        (call.head() + &large + "\r\n", 431),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (get("/mcp", "bad header\r\n"), 400),
        (get("/", ""), 404),
        // A slash at the end changes nothing: this is a GET without a session.
        (get("/mcp/", ""), 400),
        (get("/mcp//", ""), 404),
        (get("/mcp/x", ""), 404),
        (get("/MCP", ""), 404),
        (call.text().replacen("/mcp", "/other", 1), 404),
    ] {
        let answer = rig.send(&request).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(rig.arrived(), 0);
}

#[tokio::test]
async fn the_endpoint_says_which_http_methods_it_takes() {
    let rig = Rig::start().await;
    for verb in ["PUT", "PATCH", "HEAD", "TRACE"] {
        let request =
            format!("{verb} /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut socket = Socket::connect(rig.weir.port()).await;
        assert!(socket.send(request).await);
        let head = socket.head().await.unwrap();
        assert_eq!(head.status, 405, "{verb}");
        assert_eq!(
            head.header("allow"),
            Some("POST, GET, DELETE, OPTIONS"),
            "{verb}"
        );
    }
}

/// A `HEAD` answered as `GET` would be a stream, and a session has only one.
#[tokio::test]
async fn a_head_request_leaves_the_sessions_stream_alone() {
    let rig = Rig::start().await;
    let legacy = Legacy::resume(rig.weir.url(), &rig.old, "2025-03-26");
    let mut stream = legacy.listen().await;
    let get = Post::new("x", "{}").header("mcp-session-id", &rig.old);
    let head = get
        .header("accept", "text/event-stream")
        .verb("HEAD")
        .body("");
    let mut socket = Socket::connect(rig.weir.port()).await;
    assert!(socket.send(head.text()).await);
    assert_eq!(socket.head().await.unwrap().status, 405);
    rig.asked[0].add_tool("added");
    rig.weir.resync("new").await;
    let told = stream.next_value().await;
    assert_eq!(told["method"], "notifications/tools/list_changed");
}
