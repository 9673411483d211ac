//! Single requests, right and wrong ones.

use http::Method;
use serde_json::json;

use super::{CAPABILITIES, CLAIM, ID, INFO, Rig, is_json, refused};
use crate::support::client::{MODERN, sentinel};
use crate::support::socket;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

#[tokio::test]
async fn a_call_reaches_the_upstream_by_its_own_name_in_body_and_header() {
    let rig = Rig::start().await;
    let reply = rig.call().send().await;
    assert_eq!(reply.status, 200);
    is_json(&reply);
    assert_eq!(reply.value()["resultType"], "complete");
    assert_eq!(reply.text(), r#"jira.search {"q":"x"}"#);
    let seen = rig.jira.last("tools/call");
    assert_eq!(seen.value["params"]["name"], "search");
    assert_eq!(seen.header("mcp-name"), Some("search"));
    assert_eq!(seen.header("mcp-method"), Some("tools/call"));
    assert_eq!(seen.header("mcp-protocol-version"), Some(MODERN));
}

#[tokio::test]
async fn an_unknown_tool_and_a_name_without_its_prefix_are_protocol_errors() {
    let rig = Rig::start().await;
    let legacy = rig.legacy().await;
    for name in [
        "nope",
        "search",
        "jira__nope",
        "jira_search",
        "JIRA__search",
        "",
    ] {
        let params = json!({ "name": name }).to_string();
        for ask in [
            rig.modern.ask("tools/call", &params),
            legacy.ask("tools/call", &params),
        ] {
            let reply = refused(ask, 200, -32602).await;
            assert!(!reply.message().contains("isError"), "{reply:?}");
        }
    }
    rig.unasked();
}

#[tokio::test]
async fn mcp_method_is_there_and_says_what_the_body_says() {
    let rig = Rig::start().await;
    let list = || rig.modern.ask("tools/list", "{}");
    refused(list().without("mcp-method"), 400, -32020).await;
    for wrong in [
        "tools/call",
        "TOOLS/LIST",
        "",
        "=?base64?dG9vbHMvbGlzdA==?=",
    ] {
        refused(list().header("mcp-method", wrong), 400, -32020).await;
    }
    refused(rig.call().without("mcp-method"), 400, -32020).await;
    rig.unasked();
}

#[tokio::test]
async fn mcp_name_is_there_and_says_what_the_body_says() {
    let rig = Rig::start().await;
    refused(rig.call().without("mcp-name"), 400, -32020).await;
    let half = sentinel(b"jira__sear");
    let latin = sentinel(&[0xff, 0xfe]);
    for wrong in [
        "search",
        "jira__get",
        "JIRA__SEARCH",
        "",
        "=?base64?!!!?=",
        "=?base64?amlyYV9fc2VhcmNo",
        &half,
        &latin,
    ] {
        refused(rig.call().header("mcp-name", wrong), 400, -32020).await;
    }
    rig.unasked();
}

#[tokio::test]
async fn mcp_name_may_be_encoded_or_padded_and_header_names_have_no_case() {
    let rig = Rig::start().await;
    for name in [
        &sentinel(b"jira__search"),
        " jira__search",
        "jira__search\t ",
    ] {
        let reply = rig.call().header("mcp-name", name).send().await;
        assert_eq!(reply.status, 200, "{name:?}: {reply:?}");
        assert!(reply.succeeded());
    }
    let body = rig.call().body();
    for title in ["mcp-name", "MCP-NAME", "mCp-NaMe"] {
        let head = [
            "Content-Type: application/json".to_owned(),
            "aCCEPT: application/json, text/event-stream".to_owned(),
            format!("MCP-PROTOCOL-VERSION: {MODERN}"),
            "Mcp-METHOD:tools/call".to_owned(),
            format!("{title}:   jira__search \t"),
        ];
        let answer = socket::post(&rig.weir, &head, &body).await;
        assert_eq!(answer.status, 200, "{title}: {answer:?}");
    }
    assert_eq!(rig.jira.count("tools/call"), 6);
}

#[tokio::test]
async fn a_mirrored_argument_has_its_header() {
    const GO: &str = r#"{"name":"go","inputSchema":{"type":"object","properties":{"to":{"type":"string","x-mcp-header":"To"},"times":{"type":"integer","x-mcp-header":"Times"}}}}"#;
    let up = Upstream::named("up").raw_tool(GO).modern().start().await;
    let weir = Weir::over([&up]).start().await;
    let modern = weir.modern();
    let go = |arguments: &str| {
        let params = format!(r#"{{"name":"up__go","arguments":{arguments}}}"#);
        modern.ask("tools/call", &params)
    };
    let rome = || go(r#"{"to":"Rome","times":3}"#);
    let right = || {
        rome()
            .header("mcp-param-to", "Rome")
            .header("mcp-param-times", "3")
    };
    refused(rome(), 400, -32020).await;
    refused(right().without("mcp-param-times"), 400, -32020).await;
    refused(right().header("mcp-param-to", "Paris"), 400, -32020).await;
    refused(right().header("mcp-param-times", "4"), 400, -32020).await;
    assert_eq!(up.count("tools/call"), 0);
    assert!(right().send().await.succeeded());
    assert_eq!(up.last("tools/call").header("mcp-param-to"), Some("Rome"));
    let nothing = go(r#"{"to":null}"#).send().await;
    assert_eq!(
        (nothing.status, nothing.succeeded()),
        (200, true),
        "{nothing:?}"
    );
    assert_eq!(up.last("tools/call").header("mcp-param-to"), None);
}

#[tokio::test]
async fn the_version_is_in_the_header_and_the_same_in_the_body() {
    let rig = Rig::start().await;
    let version = "mcp-protocol-version";
    refused(rig.call().without(version), 400, -32020).await;
    for other in [
        "2025-11-25",
        "2026-07-29",
        "v999.0.0",
        "",
        "2026-07-28, 2026-07-28",
    ] {
        refused(rig.call().header(version, other), 400, -32020).await;
    }
    rig.unasked();
}

#[tokio::test]
async fn an_unsupported_version_is_told_which_are_supported() {
    let rig = Rig::start().await;
    let discovered = rig.modern.request("server/discover", "{}").await.value();
    let known = discovered["supportedVersions"].as_array().unwrap();
    for version in ["v999.0.0", "2026-07-29", "1999-01-01", "2025-11-25"] {
        let ask = rig.call().meta(CLAIM, &format!("\"{version}\""));
        let reply = refused(ask.header("mcp-protocol-version", version), 400, -32022).await;
        let data = &reply.error()["data"];
        assert_eq!(data["requested"], version);
        let supported = data["supported"].as_array().unwrap();
        assert!(!supported.is_empty(), "{data}");
        assert!(supported.iter().all(|one| known.contains(one)), "{data}");
    }
    rig.unasked();
}

#[tokio::test]
async fn the_envelope_is_required_but_for_who_asks() {
    let rig = Rig::start().await;
    let bare = r#"{"name":"jira__search"}"#;
    refused(rig.call().exactly(bare), 400, -32602).await;
    refused(rig.call().without_meta(CLAIM), 400, -32602).await;
    refused(rig.call().without_meta(CAPABILITIES), 400, -32602).await;
    refused(rig.call().meta(CAPABILITIES, "[1]"), 400, -32602).await;
    refused(rig.call().meta(CLAIM, "20260728"), 400, -32602).await;
    // Another version in the header does not make it another mistake.
    let odd = rig
        .call()
        .exactly(bare)
        .header("mcp-protocol-version", "2099-01-01");
    refused(odd, 400, -32602).await;
    rig.unasked();
    let anonymous = rig.call().without_meta(INFO).send().await;
    assert_eq!((anonymous.status, anonymous.succeeded()), (200, true));
}

#[tokio::test]
async fn unknown_and_removed_methods_are_not_found() {
    let rig = Rig::start().await;
    for method in [
        "unknown/method",
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
    ] {
        let ask = rig
            .modern
            .ask(method, r#"{"uri":"file:///a","level":"info"}"#);
        let reply = refused(ask, 404, -32601).await;
        assert_eq!(reply.header("mcp-session-id"), None, "{method}");
    }
    rig.unasked();
}

/// Returns the headers of a correct modern list.
const LIST: [(&str, &str); 4] = [
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", MODERN),
    ("mcp-method", "tools/list"),
];

#[tokio::test]
async fn what_is_no_json_is_a_parse_error_without_an_id() {
    let rig = Rig::start().await;
    let legacy = rig.legacy().await;
    for body in [
        "",
        "{",
        "nonsense",
        "{\"jsonrpc\":\"2.0\",}",
        "[",
        "[1,",
        "{}}",
        "\u{0}",
    ] {
        for reply in [
            rig.modern.raw(Method::POST, LIST, body).await,
            legacy.post(body).await,
        ] {
            assert_eq!((reply.status, reply.code()), (400, -32700), "{body:?}");
            assert!(reply.id().is_none_or(|id| id == "null"), "{reply:?}");
            is_json(&reply);
        }
    }
}

#[tokio::test]
async fn what_is_no_message_is_an_invalid_request() {
    let rig = Rig::start().await;
    let good = rig.modern.ask("tools/list", "{}").id("1").body();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for body in [
        format!("[{good}]"),
        format!("[{ping},{good}]"),
        format!("[{good},{ping}]"),
        good.replacen("\"id\":1", "\"id\":null", 1),
        good.replacen("\"id\":1", "\"id\":1.5", 1),
        good.replacen("\"2.0\"", "\"1.0\"", 1),
        good.replacen("\"jsonrpc\":\"2.0\",", "", 1),
        "\"text\"".to_owned(),
    ] {
        assert_ne!(body, good);
        let reply = rig.modern.raw(Method::POST, LIST, &body).await;
        assert_eq!(
            (reply.status, reply.code()),
            (400, -32600),
            "{body}: {reply:?}"
        );
        is_json(&reply);
    }
    // The era of an array is that of its elements, whatever the headers say.
    let old = rig.weir.legacy("2025-03-26").await;
    let reply = old.post(&format!("[{ping},{good}]")).await;
    assert_eq!((reply.status, reply.code()), (400, -32600), "{reply:?}");
}

#[tokio::test]
async fn the_wrong_media_type_or_size_never_gets_upstream() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = Weir::over([&jira]);
    let weir = weir.listen("request_bytes: 64KiB").start().await;
    let (modern, legacy) = (weir.modern(), weir.legacy("2025-11-25").await);
    let params = r#"{"name":"jira__search","arguments":{"q":"x"}}"#;
    let large = format!(
        r#"{{"name":"jira__search","arguments":{{"q":"{}"}}}}"#,
        "x".repeat(64 << 10)
    );
    let before = jira.log().seen().requests.len();
    for ask in [
        modern.ask("tools/call", params),
        legacy.ask("tools/call", params),
    ] {
        let reply = ask.header("content-type", "text/plain").send().await;
        assert_eq!(reply.status, 415, "{reply:?}");
    }
    for ask in [
        modern.ask("tools/call", params),
        legacy.ask("tools/call", params),
    ] {
        let reply = ask.without("content-type").send().await;
        assert_eq!(reply.status, 415, "{reply:?}");
    }
    for ask in [
        modern.ask("tools/call", params),
        legacy.ask("tools/call", params),
    ] {
        let reply = ask.header("accept", "text/html").send().await;
        assert_eq!(reply.status, 406, "{reply:?}");
    }
    for ask in [
        modern.ask("tools/call", &large),
        legacy.ask("tools/call", &large),
    ] {
        assert_eq!(ask.send().await.status, 413);
    }
    assert_eq!(jira.count("tools/call"), 0);
    assert_eq!(jira.log().seen().requests.len(), before);
    assert!(modern.call("jira__search", "{}").await.succeeded());
}

#[tokio::test]
async fn a_notification_is_accepted_in_silence() {
    let rig = Rig::start().await;
    let legacy = rig.legacy().await;
    for method in [
        "notifications/progress",
        "notifications/cancelled",
        "notifications/x",
    ] {
        for reply in [
            rig.modern
                .notify(method, r#"{"requestId":"nobody's"}"#)
                .await,
            legacy.notify(method, r#"{"requestId":"nobody's"}"#).await,
        ] {
            assert_eq!((reply.status, reply.body.len()), (202, 0), "{method}");
        }
    }
    rig.unasked();
}

#[tokio::test]
async fn pages_and_names_from_elsewhere_are_turned_away() {
    let rig = Rig::start().await;
    let legacy = rig.legacy().await;
    for origin in [
        "http://evil.example",
        "https://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "null",
        "not an origin",
    ] {
        for ask in [rig.call(), legacy.ask("tools/list", "{}")] {
            let reply = ask.header("origin", origin).id(ID).send().await;
            assert_eq!(reply.status, 403, "{origin}: {reply:?}");
        }
    }
    for host in ["evil.example", "127.0.0.1.evil.example:80", "weir"] {
        let reply = rig.call().header("host", host).send().await;
        assert_eq!(reply.status, 403, "{host}: {reply:?}");
    }
    rig.unasked();
    for origin in [
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://[::1]:80",
    ] {
        let reply = rig.call().header("origin", origin).send().await;
        assert_eq!(reply.status, 200, "{origin}: {reply:?}");
    }
    assert_eq!(rig.call().send().await.status, 200);
}
