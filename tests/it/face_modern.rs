//! Weir as a server of the modern era, 2026-07-28.

use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Ask, MODERN, Modern, pool, sentinel};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const CLAIM: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const INFO: &str = "io.modelcontextprotocol/clientInfo";

async fn jira() -> (Upstream, Weir, Modern) {
    let jira = Upstream::named("jira")
        .tools(["search", "get", "close"])
        .start()
        .await;
    let weir = Weir::over([&jira]).start().await;
    let modern = weir.modern();
    (jira, weir, modern)
}

/// Returns status and code of an error, after asserting that the id is the request's.
async fn refused(ask: Ask<'_>) -> (u16, i64) {
    let reply = ask.id("\"my id\"").send().await;
    assert_eq!(reply.id().as_deref(), Some("\"my id\""), "{reply:?}");
    (reply.status, reply.code())
}

#[tokio::test]
async fn discover_names_the_version_and_how_long_it_holds() {
    let (_jira, _weir, modern) = jira().await;
    let reply = modern.request("server/discover", "{}").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("mcp-session-id"), None);
    let result = reply.value();
    assert_eq!(result["resultType"], "complete");
    assert!(
        result["supportedVersions"]
            .as_array()
            .unwrap()
            .contains(&json!(MODERN))
    );
    assert!(result["ttlMs"].as_u64().is_some(), "{result}");
    assert!(["public", "private"].contains(&result["cacheScope"].as_str().unwrap()));
    assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
}

#[tokio::test]
async fn lists_are_stable_legal_and_stamped() {
    let jira = Upstream::named("jira")
        .tools(["a", "b", "c", "d", "e"])
        .start()
        .await;
    let wiki = Upstream::named("wiki").tools(["a", "b"]).start().await;
    let weir = Weir::over([&jira, &wiki])
        .listen("page_size: 2")
        .start()
        .await;
    let modern = weir.modern();
    let names = modern.tool_names().await;
    assert_eq!(names, modern.tool_names().await);
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), 7, "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("jira__") || name.starts_with("wiki__"))
    );
    let (mut cursor, mut scopes) = ("{}".to_owned(), Vec::new());
    loop {
        let page = modern.request("tools/list", &cursor).await.value();
        assert_eq!(page["resultType"], "complete");
        assert!(page["ttlMs"].as_u64().is_some(), "{page}");
        scopes.push(page["cacheScope"].clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = json!({ "cursor": next }).to_string(),
            None => break,
        }
    }
    assert_eq!(scopes.len(), 4);
    scopes.dedup();
    assert_eq!(scopes.len(), 1);
}

#[tokio::test]
async fn a_cursor_stays_with_its_snapshot_and_a_bogus_one_is_refused() {
    let jira = Upstream::named("jira")
        .tools(["a", "b", "c", "d", "e"])
        .start()
        .await;
    let weir = Weir::over([&jira]).listen("page_size: 2").start().await;
    let modern = weir.modern();
    let before = modern.tool_names().await;
    let first = modern.request("tools/list", "{}").await.value();
    let mut names: Vec<Value> = first["tools"].as_array().unwrap().clone();
    let mut cursor = first["nextCursor"].clone();
    jira.set_tools(["b", "x", "y", "z"]);
    weir.resync("jira").await;
    while let Value::String(next) = &cursor {
        let page = modern
            .request("tools/list", &json!({ "cursor": next }).to_string())
            .await
            .value();
        names.extend(page["tools"].as_array().unwrap().clone());
        cursor = page["nextCursor"].clone();
    }
    let names: Vec<&str> = names
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, before);
    assert_eq!(weir.tool_names().await.len(), 4);
    for bogus in ["nonsense", "", "AAAA"] {
        let reply = modern
            .request("tools/list", &json!({ "cursor": bogus }).to_string())
            .await;
        assert_eq!((reply.status, reply.code()), (200, -32602), "{bogus:?}");
    }
}

#[tokio::test]
async fn a_call_reaches_the_upstream_under_the_original_name() {
    let (jira, _weir, modern) = jira().await;
    let reply = modern.call("jira__search", r#"{"q":"x"}"#).await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, r#"jira.search {"q":"x"}"#)
    );
    assert_eq!(reply.value()["resultType"], "complete");
    let seen = jira.last("tools/call");
    assert_eq!(seen.header("mcp-name"), Some("search"));
    assert_eq!(seen.header("mcp-method"), Some("tools/call"));
    assert_eq!(seen.value["params"]["name"], "search");
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error() {
    let (jira, _weir, modern) = jira().await;
    for name in ["jira__nope", "search", "wiki__search", "", "jira__"] {
        let params = json!({"name": name, "arguments": {}}).to_string();
        assert_eq!(
            refused(modern.ask("tools/call", &params)).await,
            (200, -32602),
            "{name:?}"
        );
    }
    assert_eq!(jira.count("tools/call"), 0);
}

#[tokio::test]
async fn headers_that_disagree_with_the_body_are_refused() {
    let (jira, _weir, modern) = jira().await;
    let call = || modern.ask("tools/call", r#"{"name":"jira__search"}"#);
    let mismatch = (400, -32020);
    for header in ["mcp-method", "mcp-name", "mcp-protocol-version"] {
        assert_eq!(
            refused(call().without(header)).await,
            mismatch,
            "no {header}"
        );
    }
    let list = modern
        .ask("tools/list", "{}")
        .header("mcp-method", "TOOLS/LIST");
    assert_eq!(refused(list).await, mismatch);
    assert_eq!(
        refused(call().header("mcp-method", "tools/list")).await,
        mismatch
    );
    assert_eq!(
        refused(call().header("mcp-name", "jira__get")).await,
        mismatch
    );
    assert_eq!(
        refused(call().header("mcp-name", "JIRA__search")).await,
        mismatch
    );
    assert_eq!(
        refused(call().header("mcp-name", "=?base64?!!!?=")).await,
        mismatch
    );
    assert_eq!(
        refused(call().header("mcp-protocol-version", "2025-11-25")).await,
        mismatch
    );
    assert_eq!(jira.count("tools/call"), 0);
}

#[tokio::test]
async fn a_name_may_be_encoded_or_padded() {
    let (_jira, _weir, modern) = jira().await;
    let call = || modern.ask("tools/call", r#"{"name":"jira__search"}"#);
    let encoded = sentinel(b"jira__search");
    assert!(call().header("mcp-name", &encoded).send().await.succeeded());
    assert!(
        call()
            .header("mcp-name", " jira__search\t")
            .send()
            .await
            .succeeded()
    );
    assert!(
        call()
            .header("mcp-method", "\ttools/call ")
            .send()
            .await
            .succeeded()
    );
}

#[tokio::test]
async fn an_unsupported_version_says_which_are_supported() {
    let (_jira, _weir, modern) = jira().await;
    let ask = modern.ask("tools/list", "{}").meta(CLAIM, "\"v999.0.0\"");
    let reply = ask.header("mcp-protocol-version", "v999.0.0").send().await;
    assert_eq!((reply.status, reply.code()), (400, -32022));
    let data = &reply.error()["data"];
    assert_eq!(data["requested"], "v999.0.0");
    let discover = modern.request("server/discover", "{}").await.value();
    let known = discover["supportedVersions"].as_array().unwrap();
    let supported = data["supported"].as_array().unwrap();
    assert!(!supported.is_empty() && supported.iter().all(|version| known.contains(version)));
}

#[tokio::test]
async fn the_envelope_is_required_but_not_who_asks() {
    let (_jira, _weir, modern) = jira().await;
    let list = || modern.ask("tools/list", "{}");
    assert_eq!(refused(list().exactly("{}")).await, (400, -32602));
    assert_eq!(refused(list().without_meta(CLAIM)).await, (400, -32602));
    assert_eq!(
        refused(list().without_meta(CAPABILITIES)).await,
        (400, -32602)
    );
    assert!(list().without_meta(INFO).send().await.succeeded());
}

#[tokio::test]
async fn removed_and_unknown_methods_are_not_found() {
    let (_jira, _weir, modern) = jira().await;
    let removed = [
        "unknown/method",
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
    ];
    for method in removed {
        assert_eq!(
            refused(modern.ask(method, "{}")).await,
            (404, -32601),
            "{method}"
        );
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let (_jira, _weir, modern) = jira().await;
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/list"),
    ];
    let good = modern.ask("tools/list", "{}").body();
    let post = async |body: String| {
        let reply = modern.raw(Method::POST, headers, &body).await;
        (reply.status, reply.code(), reply.id())
    };
    for broken in ["", "{", "not json", "{\"jsonrpc\":\"2.0\",}"] {
        let (status, code, id) = post(broken.to_owned()).await;
        assert_eq!((status, code), (400, -32700), "{broken:?}");
        assert!(id.is_none() || id.as_deref() == Some("null"));
    }
    let invalid = [
        format!("[{good}]"),
        format!(r#"[{{"jsonrpc":"2.0","id":1,"method":"ping"}},{good}]"#),
        good.replacen("\"id\":1", "\"id\":null", 1),
        good.replacen("\"2.0\"", "\"1.0\"", 1),
        good.replacen("\"id\":1", "\"id\":1,\"id\":1", 1),
        good.replacen("{\"_meta\"", "{\"_meta\":{},\"_meta\"", 1),
        good.replacen(
            "\"_meta\":{",
            &format!("\"_meta\":{{\"{CLAIM}\":\"{MODERN}\","),
            1,
        ),
        "3".to_owned(),
    ];
    for body in invalid {
        assert_ne!(body, good);
        let (status, code, _) = post(body.clone()).await;
        assert_eq!((status, code), (400, -32600), "{body}");
    }
}

#[tokio::test]
async fn the_wrong_media_type_or_size_is_refused_before_anything_else() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = Weir::over([&jira])
        .listen("request_bytes: 64KiB")
        .start()
        .await;
    let modern = weir.modern();
    let call = || modern.ask("tools/call", r#"{"name":"jira__search"}"#);
    assert_eq!(
        call()
            .header("content-type", "text/plain")
            .send()
            .await
            .status,
        415
    );
    assert_eq!(
        call().header("accept", "text/html").send().await.status,
        406
    );
    let big = format!(r#"{{"q":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(modern.call("jira__search", &big).await.status, 413);
    assert_eq!(jira.count("tools/call"), 0);
    assert!(
        call()
            .header("content-type", "application/json; charset=utf-8")
            .send()
            .await
            .succeeded()
    );
}

#[tokio::test]
async fn an_answer_of_one_message_is_json_whatever_is_accepted_first() {
    let (_jira, _weir, modern) = jira().await;
    let headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream, application/json"),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/list"),
    ];
    let list = modern.ask("tools/list", "{}").body();
    let reply = modern.raw(Method::POST, headers, &list).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert!(reply.succeeded(), "{reply:?}");
}

#[tokio::test]
async fn a_notification_is_accepted_in_silence() {
    let (_jira, _weir, modern) = jira().await;
    let reply = modern.notify("notifications/progress", "{}").await;
    assert_eq!((reply.status, reply.body.len()), (202, 0));
}

#[tokio::test]
async fn only_loopback_may_ask() {
    let (_jira, weir, modern) = jira().await;
    let list = || modern.ask("tools/list", "{}");
    for origin in [
        "http://evil.example",
        "http://localhost.evil.example",
        "null",
    ] {
        assert_eq!(
            list().header("origin", origin).send().await.status,
            403,
            "{origin}"
        );
    }
    for host in ["evil.example", "127.0.0.1.evil.example:80"] {
        let status = list().header("host", host).send().await.status;
        assert!([403, 421].contains(&status), "{host}: {status}");
    }
    assert_eq!(
        list()
            .header("origin", "http://localhost:3000")
            .send()
            .await
            .status,
        200
    );
    assert_eq!(list().send().await.status, 200);
    let health = pool().get(weir.path("/healthz"));
    let health = health.header("host", "evil.example").send().await;
    assert_eq!(health.unwrap().status(), 200, "probes are not guarded");
}

#[tokio::test]
async fn an_unknown_resource_is_invalid_params() {
    let up = Upstream::named("up").resources(["file:///a"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let ask = weir.modern();
    assert_eq!(
        refused(ask.ask("resources/read", r#"{"uri":"file:///nope"}"#)).await,
        (200, -32602)
    );
}
