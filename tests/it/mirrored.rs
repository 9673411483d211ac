//! Arguments that are mirrored into `Mcp-Param-*` headers (2026-07-28
//! `basic/transports/streamable-http.mdx`): checked on arrival, and written anew for the upstream.

use crate::support::client::{Modern, Reply, sentinel};
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::Weir;

/// A tool with mirrored arguments: a string, an integer, a boolean, and one inside an object.
const GO: &str = r#"{"name":"go","inputSchema":{"type":"object","properties":{"to":{"type":"string","x-mcp-header":"To"},"times":{"type":"integer","x-mcp-header":"Times"},"fast":{"type":"boolean","x-mcp-header":"Fast"},"by":{"type":"object","properties":{"tenant":{"type":"string","x-mcp-header":"Tenant"}}},"note":{"type":"string"}}}}"#;
const ARGUMENTS: &str = r#"{"to":"Rome","times":3,"fast":true,"by":{"tenant":"eu"},"note":"n"}"#;
const HEADERS: [(&str, &str); 4] = [
    ("mcp-param-to", "Rome"),
    ("Mcp-Param-Times", "3"),
    ("MCP-PARAM-FAST", "true"),
    ("mcp-param-tenant", "eu"),
];

async fn over(era: &str) -> (Upstream, Weir) {
    let up = Upstream::named("up").raw_tool(GO);
    let up = match era {
        "modern" => up.modern(),
        version => up.legacy(version),
    };
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    (up, weir)
}

async fn go<'h>(
    modern: &Modern,
    arguments: &str,
    headers: impl IntoIterator<Item = &'h (&'h str, &'h str)>,
) -> Reply {
    let params = format!(r#"{{"name":"up__go","arguments":{arguments}}}"#);
    let ask = modern.ask("tools/call", &params);
    let ask = headers
        .into_iter()
        .fold(ask, |ask, (name, value)| ask.header(name, value));
    ask.send().await
}

#[tokio::test]
async fn a_call_with_every_header_right_passes_and_the_next_hop_gets_its_own() {
    let (up, weir) = over("modern").await;
    let modern = weir.modern();
    let reply = go(&modern, ARGUMENTS, &HEADERS).await;
    assert_eq!(reply.text(), format!("up.go {ARGUMENTS}"));
    let call = up.last("tools/call");
    for (name, value) in HEADERS {
        assert_eq!(call.header(name), Some(value), "{name}");
    }
    assert_eq!(call.header("mcp-name"), Some("go"));
    // A header that mirrors no argument is ignored.
    let mut more = HEADERS.to_vec();
    more.push(("mcp-param-other", "x"));
    assert!(go(&modern, ARGUMENTS, &more).await.succeeded());
}

#[tokio::test]
async fn a_value_that_is_no_header_travels_encoded() {
    let (up, weir) = over("modern").await;
    for value in ["Köln", " edge ", "=?base64?x?="] {
        let encoded = sentinel(value.as_bytes());
        let arguments = format!(r#"{{"to":"{value}"}}"#);
        let reply = go(
            &weir.modern(),
            &arguments,
            &[("mcp-param-to", encoded.as_str())],
        )
        .await;
        assert_eq!(reply.text(), format!("up.go {arguments}"));
        let call = up.last("tools/call");
        assert_eq!(call.header("mcp-param-to"), Some(encoded.as_str()));
    }
}

#[tokio::test]
async fn a_missing_or_different_header_is_refused_before_the_upstream_sees_anything() {
    for era in ["modern", "2025-11-25"] {
        let (up, weir) = over(era).await;
        let modern = weir.modern();
        for (left_out, _) in HEADERS {
            let rest = HEADERS.iter().filter(|(name, _)| *name != left_out);
            let reply = go(&modern, ARGUMENTS, rest).await;
            assert_eq!(
                (reply.status, reply.code()),
                (400, -32020),
                "{era} {left_out}"
            );
        }
        let half = sentinel(b"Rom");
        for (name, wrong) in [
            ("mcp-param-to", "rome"),
            ("mcp-param-to", half.as_str()),
            ("mcp-param-to", "=?base64?!?="),
            ("mcp-param-times", "4"),
            ("mcp-param-times", "three"),
            ("mcp-param-fast", "false"),
            ("mcp-param-tenant", ""),
        ] {
            let changed: Vec<_> = HEADERS
                .iter()
                .map(|(known, value)| {
                    let same = known.eq_ignore_ascii_case(name);
                    (*known, if same { wrong } else { *value })
                })
                .collect();
            let reply = go(&modern, ARGUMENTS, &changed).await;
            assert_eq!(
                (reply.status, reply.code()),
                (400, -32020),
                "{era} {name}: {wrong}"
            );
        }
        assert_eq!(up.count("tools/call"), 0);
    }
}

#[tokio::test]
async fn what_is_null_or_not_there_has_no_header() {
    let (up, weir) = over("modern").await;
    let modern = weir.modern();
    for arguments in [
        "{}",
        r#"{"to":null,"times":null}"#,
        r#"{"by":null}"#,
        r#"{"by":{}}"#,
        r#"{"by":{"tenant":null}}"#,
    ] {
        let reply = go(&modern, arguments, &[]).await;
        assert_eq!(reply.text(), format!("up.go {arguments}"));
        let headers = up.last("tools/call").headers;
        let mirrored = headers
            .keys()
            .filter(|name| name.as_str().starts_with("mcp-param"));
        assert_eq!(mirrored.count(), 0, "{headers:?}");
    }
    let none = modern.request("tools/call", r#"{"name":"up__go"}"#).await;
    assert!(none.succeeded(), "{none:?}");
}

#[tokio::test]
async fn headers_stay_on_the_side_that_knows_them() {
    let (up, weir) = over("modern").await;
    let reply = weir
        .legacy("2025-11-25")
        .await
        .call("up__go", ARGUMENTS)
        .await;
    assert_eq!(reply.text(), format!("up.go {ARGUMENTS}"));
    let call = up.last("tools/call");
    for (name, value) in HEADERS {
        assert_eq!(call.header(name), Some(value), "{name}");
    }
    let (up, weir) = over("2025-06-18").await;
    assert!(go(&weir.modern(), ARGUMENTS, &HEADERS).await.succeeded());
    let call = up.last("tools/call");
    for (name, _) in HEADERS {
        assert_eq!(call.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_preset_argument_has_the_header_of_its_preset_value() {
    let up = Upstream::named("up").raw_tool(GO).modern().start().await;
    let rules = "tools: { override: { go: { name: travel, set_args: { to: Köln } } } }";
    let weir = Weir::over([&up]).upstream("up", rules).start().await;
    let reply = weir.modern().call("up__travel", r#"{"note":"n"}"#).await;
    assert!(reply.succeeded(), "{reply:?}");
    let call = up.last("tools/call");
    let encoded = sentinel("Köln".as_bytes());
    assert_eq!(call.header("mcp-param-to"), Some(encoded.as_str()));
    assert_eq!(call.header("mcp-name"), Some("go"));
}

#[tokio::test]
async fn values_that_are_too_long_for_headers_are_refused_and_named() {
    let up = Upstream::named("up")
        .raw_tool(GO)
        .templates(["file:///{name}"]);
    let up = up.modern().start().await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let (long, half) = ("x".repeat(8_100), "y".repeat(5_000));
    let arguments = |to: &str, tenant: &str| {
        format!(r#"{{"to":"{to}","by":{{"tenant":"{tenant}"}},"note":"{long}{long}"}}"#)
    };
    // One alone, and several together. What is not ASCII is a third longer as a header.
    for (to, tenant, named) in [
        (format!("{long}{long}"), "eu".to_owned(), "`to`"),
        ("Rome".to_owned(), format!("{long}{long}"), "`by.tenant`"),
        (half.clone(), half.clone(), "`by.tenant`"),
        ("ö".repeat(3_500), String::new(), "`to`"),
    ] {
        let reply = legacy.call("up__go", &arguments(&to, &tenant)).await;
        assert_eq!(reply.code(), -32602, "{named}");
        let text = reply.error()["message"].to_string();
        assert!(text.contains(named) && text.contains("8192"), "{text}");
    }
    assert_eq!(up.count("tools/call"), 0);
    let reply = legacy.call("up__go", &arguments(&half, "eu")).await;
    assert!(reply.succeeded());
    // A name is a header too.
    let uri = format!("file:///{long}{long}");
    let params = format!(r#"{{"uri":"{uri}"}}"#);
    let reply = legacy.request("resources/read", &params).await;
    assert_eq!((reply.code(), up.count("resources/read")), (-32602, 0));
}

#[tokio::test]
async fn what_callers_send_headers_for_has_room_for_their_values_alone() {
    let up = Upstream::named("up").raw_tool(GO).modern().start().await;
    let weir = Weir::over([&up]).start().await;
    let bags = format!("a={}", "b".repeat(6_000));
    let call = async |to: &str| {
        let params = format!(r#"{{"name":"up__go","arguments":{{"to":"{to}"}}}}"#);
        let modern = weir.modern();
        let ask = modern.ask("tools/call", &params);
        let ask = ask.header("mcp-param-to", to).header("baggage", &bags);
        assert!(ask.send().await.succeeded());
        up.last("tools/call").header("baggage").map(str::to_owned)
    };
    assert_eq!(call("Rome").await.as_deref(), Some(bags.as_str()));
    // Baggage may be dropped by everybody; an argument may not.
    assert_eq!(call(&"x".repeat(5_000)).await, None);
}

#[tokio::test]
async fn a_caller_whose_requests_make_a_server_hang_up_opens_no_circuit() {
    for era in ["modern", "2025-11-25"] {
        let up = Upstream::named("up").tools(["bad", "good"]);
        let up = match era {
            "modern" => up.modern(),
            version => up.legacy(version),
        };
        let on = On::Tool("bad".to_owned());
        let up = up.fault(on, Times::Forever, Fault::Close).start().await;
        let weir = Weir::over([&up]).start().await;
        let modern = weir.modern();
        let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(200_000));
        for _ in 0..10 {
            assert_eq!(modern.call("up__bad", &large).await.code(), -32603);
        }
        let told = weir.told("up").await;
        assert!(!told.to_string().contains("\"open\""), "{told:#}");
        assert_eq!(up.count("tools/call"), 10, "{era}: each was tried");
        assert!(modern.call("up__good", "{}").await.succeeded());
    }
}
