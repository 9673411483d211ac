//! Browser pages: those of allowed origins may send requests and read answers, others may not
//! (CORS, in the Fetch standard).

use http::Method;

use crate::support::client::{Modern, Reply, pool};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const LISTED: &str = "https://app.example.com";
const ALLOWED: [&str; 3] = [LISTED, "http://localhost:5173", "http://127.0.0.1:8080"];
const EVIL: [&str; 4] = [
    "https://evil.example",
    "https://app.example.com.evil.example",
    "http://app.example.com",
    "null",
];

async fn jira() -> (Upstream, Weir, Modern) {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = Weir::over([&jira]);
    let weir = weir.listen(&format!("allowed_origins: [\"{LISTED}\"]"));
    let weir = weir.start().await;
    let modern = weir.modern();
    (jira, weir, modern)
}

/// Asserts that a page of this origin may read the answer and the headers that are meant for it.
fn readable(reply: &Reply, origin: &str) {
    let all = |name| reply.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(all("access-control-allow-origin"), [origin], "{reply:?}");
    let exposed = reply.header("access-control-expose-headers").unwrap();
    assert!(
        exposed.to_lowercase().contains("mcp-session-id"),
        "{exposed}"
    );
    let vary: Vec<_> = all("vary");
    assert!(vary.iter().any(|name| *name == "origin"), "{reply:?}");
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}

fn unreadable(reply: &Reply) {
    let cors = reply
        .headers
        .keys()
        .find(|name| name.as_str().starts_with("access-control"));
    assert_eq!(cors, None, "{reply:?}");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_what_it_wants_to_send() {
    let (jira, _weir, modern) = jira().await;
    let wanted = "content-type,mcp-method,mcp-name,mcp-param-region,mcp-protocol-version";
    for (origin, method) in ALLOWED.iter().zip(["POST", "GET", "DELETE"]) {
        let headers = [
            ("origin", *origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", wanted),
        ];
        let reply = modern.raw(Method::OPTIONS, headers, "").await;
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{reply:?}");
        readable(&reply, origin);
        let methods = reply.header("access-control-allow-methods").unwrap();
        assert!(methods.split(", ").any(|one| one == method), "{methods}");
        assert_eq!(reply.header("access-control-allow-headers"), Some(wanted));
        assert!(reply.header("access-control-max-age").is_some());
    }
    let plain = modern.raw(Method::OPTIONS, [], "").await;
    assert_eq!(plain.status, 204);
    assert_eq!(plain.header("allow"), Some("POST, GET, DELETE, OPTIONS"));
    unreadable(&plain);
    assert_eq!(jira.count("tools/call"), 0);
}

#[tokio::test]
async fn a_page_of_another_origin_learns_nothing() {
    let (jira, weir, modern) = jira().await;
    let legacy = weir.legacy("2025-11-25").await;
    let session = legacy.session.clone().unwrap();
    for origin in EVIL {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("accept", "text/event-stream"),
            ("mcp-session-id", session.as_str()),
        ];
        for method in [Method::OPTIONS, Method::GET, Method::DELETE, Method::PUT] {
            let reply = modern.raw(method.clone(), headers, "").await;
            assert_eq!(reply.status, 403, "{origin} {method}");
            unreadable(&reply);
        }
        let call = modern.ask("tools/call", r#"{"name":"jira__search"}"#);
        let reply = call.header("origin", origin).send().await;
        assert_eq!(reply.status, 403, "{origin}");
        unreadable(&reply);
    }
    assert_eq!(jira.count("tools/call"), 0);
    assert!(
        legacy.call("jira__search", "{}").await.succeeded(),
        "not even its end"
    );
}

#[tokio::test]
async fn whatever_an_allowed_page_is_answered_it_may_read() {
    let (_jira, weir, modern) = jira().await;
    let legacy = weir.legacy("2025-11-25").await;
    let call = r#"{"name":"jira__search"}"#;
    for origin in ALLOWED {
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"page","version":"1"}}}"#;
        let headers = [("origin", origin), ("content-type", "application/json")];
        let opened = modern.raw(Method::POST, headers, initialize).await;
        assert!(opened.header("mcp-session-id").is_some(), "{opened:?}");
        let wrong = modern.ask("tools/call", call).header("mcp-name", "other");
        for (ask, status) in [
            (modern.ask("tools/call", call), 200),
            (legacy.ask("tools/call", call), 200),
            (wrong, 400),
            (modern.ask("no/method", "{}"), 404),
            (
                modern
                    .ask("tools/call", call)
                    .header("content-type", "text/plain"),
                415,
            ),
            (legacy.ask("ping", "{}").header("mcp-session-id", "x"), 404),
        ] {
            let reply = ask.header("origin", origin).send().await;
            assert_eq!(reply.status, status, "{reply:?}");
            readable(&reply, origin);
        }
        readable(&opened, origin);
        let headers = [
            ("origin", origin),
            ("mcp-session-id", "x"),
            ("accept", "text/event-stream"),
        ];
        for (method, status) in [
            (Method::GET, 404),
            (Method::DELETE, 404),
            (Method::PUT, 405),
        ] {
            let reply = modern.raw(method, headers, "").await;
            assert_eq!(reply.status, status, "{reply:?}");
            readable(&reply, origin);
        }
    }
    let params = r#"{"notifications":{"toolsListChanged":true}}"#;
    let listen = modern
        .ask("subscriptions/listen", params)
        .header("origin", LISTED);
    let listen = listen.stream().await;
    assert_eq!(listen.header("access-control-allow-origin"), Some(LISTED));
    assert_eq!(listen.header("content-type"), Some("text/event-stream"));
    // A request without `Origin` is of no page, and gets no such headers.
    unreadable(&modern.call("jira__search", "{}").await);
}

/// Without a token on the admin listener, a page in an operator's browser could send requests to
/// it.
#[tokio::test]
async fn no_page_reaches_the_admin_listener() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = Weir::over([&jira])
        .listen("allowed_hosts: [weir.example]")
        .start()
        .await;
    let ask = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        let mut request = pool().request(method, weir.admin_url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    for origin in EVIL.into_iter().chain(ALLOWED) {
        let page = [("origin", origin), ("content-type", "text/plain")];
        assert_eq!(ask(Method::POST, "/reload", &page).await, 403, "{origin}");
        assert_eq!(ask(Method::GET, "/catalog", &page).await, 403, "{origin}");
    }
    // A name whose DNS entry the attacker changed to this address.
    let rebound = [("host", "evil.example")];
    assert_eq!(ask(Method::GET, "/catalog", &rebound).await, 403);
    assert_eq!(ask(Method::GET, "/metrics", &rebound).await, 403);
    assert_eq!(ask(Method::GET, "/healthz", &rebound).await, 200);
    for host in ["localhost:8001", "127.0.0.1", "weir.example"] {
        let status = ask(Method::GET, "/catalog", &[("host", host)]).await;
        assert_eq!(status, 200, "{host}");
    }
}
