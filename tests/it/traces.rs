//! Request ids and trace context: in, through and out.

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::client::{Client, Legacy, Modern, Reply, call_params, pool};
use crate::support::upstream::{Builder, Recorded, Upstream};
use crate::support::weir::{Process, Weir, child_upstream};
use crate::support::{bounded, free_port};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
const BAGGAGE: &str = "user=alice,weird=\"\\x\"";
const ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// An upstream of each era.
async fn both() -> [Upstream; 2] {
    let old = |builder: Builder| builder.legacy("2025-11-25");
    [
        old(Upstream::named("old").tools(["echo"])).start().await,
        Upstream::named("new")
            .tools(["echo"])
            .modern()
            .start()
            .await,
    ]
}

fn id_of(reply: &Reply) -> &str {
    reply.header("x-request-id").expect("the request is named")
}

/// An id that weir made.
fn is_made(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn meta(call: &Recorded, key: &str) -> Option<String> {
    call.raw(&["params", "_meta", key])
}

fn text(raw: &str) -> String {
    serde_json::to_string(raw).unwrap()
}

#[tokio::test]
async fn every_answer_of_the_endpoint_names_its_request() {
    let ups = both().await;
    let weir = Weir::over(&ups).start().await;
    for client in Client::both(&weir).await {
        for (method, params) in [("tools/list", "{}"), ("no/such", "{}")] {
            let ask = client.ask(method, params).header("x-request-id", ID);
            assert_eq!(id_of(&ask.send().await), ID);
        }
    }
    let legacy = weir.legacy("2025-11-25").await;
    let stream = legacy.listen().await;
    assert!(is_made(stream.header("x-request-id").unwrap()));
    let noted = legacy
        .notify("notifications/roots/list_changed", "{}")
        .await;
    let call = legacy.call("old__echo", "{}").await;
    let ended = legacy.delete().await;
    assert_eq!([noted.status, call.status, ended.status], [202, 200, 204]);
    for reply in [&noted, &call, &ended] {
        assert!(is_made(id_of(reply)), "{reply:?}");
    }
    assert_ne!(id_of(&call), id_of(&ended));
    // An invalid id is not sent back: weir makes one.
    let modern = weir.modern();
    let odd = modern.ask("tools/list", "{}").header("x-request-id", "a b");
    assert!(is_made(id_of(&odd.send().await)));
}

#[tokio::test]
async fn every_refusal_names_its_request() {
    let ups = both().await;
    let weir = Weir::over(&ups).listen("request_bytes: 2KiB").start().await;
    let modern = weir.modern();
    let strange = Legacy::resume(weir.url(), "strange", "2025-11-25");
    let unknown = strange.ask("ping", "{}").header("x-request-id", ID);
    assert_eq!(id_of(&unknown.send().await), ID);
    let (json, evil) = (
        ("content-type", "application/json"),
        ("origin", "http://evil"),
    );
    let html = ("accept", "text/html");
    let large = "x".repeat(4096);
    let refused = async |status: u16, method, headers: &[(&str, &str)], body| {
        let headers = headers.iter().copied().chain([("x-request-id", ID)]);
        let reply = modern.raw(method, headers, body).await;
        assert_eq!((reply.status, id_of(&reply)), (status, ID), "{reply:?}");
    };
    refused(400, Method::POST, &[json], "{").await;
    refused(403, Method::POST, &[json, evil], "{}").await;
    refused(403, Method::GET, &[evil], "").await;
    refused(405, Method::PUT, &[], "").await;
    refused(406, Method::POST, &[json, html], "{}").await;
    refused(413, Method::POST, &[json], &large).await;
    refused(415, Method::POST, &[], "{}").await;
}

#[tokio::test]
async fn headers_go_on_to_upstreams_of_either_era() {
    let ups = both().await;
    let weir = Weir::over(&ups).start().await;
    for client in Client::both(&weir).await {
        for up in &ups {
            let params = call_params(&format!("{}__echo", up.name()), "{}");
            let ask = client.ask("tools/call", &params);
            let ask = ask
                .header("traceparent", PARENT)
                .header("tracestate", STATE);
            let ask = ask.header("baggage", BAGGAGE).header("x-request-id", ID);
            let reply = ask.send().await;
            assert!(reply.succeeded(), "{reply:?}");
            let call = up.last("tools/call");
            for (name, value) in [
                ("traceparent", PARENT),
                ("tracestate", STATE),
                ("baggage", BAGGAGE),
            ] {
                assert_eq!(call.header(name), Some(value));
                assert_eq!(meta(&call, name), Some(text(value)), "{call:?}");
            }
            assert_eq!(call.header("x-request-id"), Some(ID));
            // The header is enough.
            assert_eq!(meta(&call, "weir/requestId"), None);
        }
    }
}

#[tokio::test]
async fn meta_goes_on_as_it_is_and_wins_over_headers() {
    let ups = both().await;
    let weir = Weir::over(&ups).start().await;
    for client in Client::both(&weir).await {
        for up in &ups {
            let params = call_params(&format!("{}__echo", up.name()), "{}");
            let ask = client.ask("tools/call", &params);
            // An escape that means nothing: bytes are kept.
            let spelled = format!("\"\\u0030{}\"", &PARENT[1..]);
            let ask = ask
                .meta("traceparent", &spelled)
                .meta("weir/requestId", &text(ID));
            let other = PARENT.replace("4bf9", "aaaa");
            let reply = ask
                .header("traceparent", &other)
                .header("tracestate", STATE)
                .send()
                .await;
            assert_eq!(id_of(&reply), ID);
            let call = up.last("tools/call");
            assert_eq!(meta(&call, "traceparent"), Some(spelled));
            assert_eq!(meta(&call, "weir/requestId"), Some(text(ID)));
            assert_eq!(call.header("traceparent"), Some(PARENT));
            assert_eq!(call.header("x-request-id"), Some(ID));
            // It belongs to the other parent.
            assert_eq!(
                (call.header("tracestate"), meta(&call, "tracestate")),
                (None, None)
            );
        }
    }
}

#[tokio::test]
async fn what_is_malformed_is_not_copied() {
    let ups = both().await;
    let weir = Weir::over(&ups).start().await;
    for client in Client::both(&weir).await {
        for up in &ups {
            let params = call_params(&format!("{}__echo", up.name()), "{}");
            let ask = client.ask("tools/call", &params);
            let ask = ask
                .header("traceparent", "00-a-b-01")
                .header("tracestate", "x");
            let long = format!("k={}", "v".repeat(9000));
            let ask = ask
                .header("baggage", &long)
                .header("x-request-id", "two words");
            let ask = ask.meta("baggage", "\"\"");
            assert!(ask.send().await.succeeded());
            let call = up.last("tools/call");
            for name in ["traceparent", "tracestate", "baggage"] {
                assert_eq!(call.header(name), None);
            }
            assert_eq!(meta(&call, "traceparent"), None);
            assert_eq!(meta(&call, "baggage").as_deref(), Some("\"\""));
            assert!(is_made(call.header("x-request-id").unwrap()));
        }
    }
}

#[tokio::test]
async fn a_legacy_call_that_says_nothing_keeps_its_params() {
    let [old, new] = both().await;
    let weir = Weir::over([&old, &new]).start().await;
    let legacy = weir.legacy("2025-06-18").await;
    let reply = legacy.request(
        "tools/call",
        r#"{"name":"old__echo" , "arguments":{"n": 1e400}}"#,
    );
    let reply = reply.await;
    let call = old.last("tools/call");
    let params = call.raw(&["params"]).unwrap();
    // Nothing but what weir says of the chain.
    let own = call.raw(&["params", "_meta"]).unwrap();
    assert!(own.starts_with(r#"{"weir/path":["#), "{own}");
    let expected = format!(r#"{{"name":"echo","arguments":{{"n": 1e400}},"_meta":{own}}}"#);
    assert_eq!(params, expected);
    assert_eq!(meta(&call, "traceparent"), None);
    assert_eq!(call.header("x-request-id"), Some(id_of(&reply)));
    assert!(is_made(id_of(&reply)));
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_context() {
    let [old, new] = both().await;
    let weir = Weir::over([&old, &new]).start().await;
    let legacy = weir.legacy("2025-03-26").await;
    let call = |id: u8, meta: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"old__echo","arguments":{{}},"_meta":{meta}}}}}"#
        )
    };
    let first = call(
        1,
        &format!(r#"{{"traceparent":"{PARENT}","weir/requestId":"one"}}"#),
    );
    let reply = legacy.post(&format!("[{first},{}]", call(2, "{}"))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let calls = old.requests("tools/call");
    let of = |has: bool| {
        let call = calls
            .iter()
            .find(|call| call.header("traceparent").is_some() == has);
        call.unwrap().header("x-request-id").unwrap()
    };
    assert_eq!((of(true), of(false)), ("one", id_of(&reply)));
}

#[tokio::test]
async fn a_child_is_told_in_meta() {
    for era in ["legacy", "modern"] {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("log");
        let yaml = child_upstream("kid", &["--era", era, "--log", log.to_str().unwrap()]);
        let weir = Weir::with(&yaml).start().await;
        weir.wait_tools(["kid__echo"]).await;
        let legacy = weir.legacy("2025-11-25").await;
        let ask = legacy.ask("tools/call", &call_params("kid__echo", "{}"));
        let ask = ask.header("traceparent", PARENT).header("x-request-id", ID);
        assert!(ask.send().await.succeeded());
        let heard = std::fs::read_to_string(&log).unwrap();
        let call = heard
            .lines()
            .find(|line| line.contains("tools/call"))
            .unwrap();
        let at = |key| crate::support::at(call, &["params", "_meta", key]);
        assert_eq!(at("weir/requestId"), Some(text(ID)), "{call}");
        assert_eq!(at("traceparent"), Some(text(PARENT)), "{call}");
    }
}

#[tokio::test]
async fn a_chain_of_weirs_passes_both_on_over_http_and_over_stdio() {
    let [old, new] = both().await;
    let inner = Weir::over([&old, &new]).start().await;
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("weir.yaml");
    let yaml = format!(
        "version: 1\nupstreams:\n  b: {{ url: \"{}\" }}\n",
        inner.url()
    );
    std::fs::write(&config, yaml).unwrap();
    let middle = format!(
        "  a:\n    command: \"{}\"\n    args: [serve, --stdio, -c, \"{}\"]\n",
        env!("CARGO_BIN_EXE_weir"),
        config.display()
    );
    let outer = Weir::with(&middle).start().await;
    outer
        .wait_tools(["a__b__old__echo", "a__b__new__echo"])
        .await;
    for client in Client::both(&outer).await {
        for up in [&old, &new] {
            let params = call_params(&format!("a__b__{}__echo", up.name()), "{}");
            let ask = client.ask("tools/call", &params);
            let reply = ask
                .header("x-request-id", ID)
                .header("traceparent", PARENT)
                .send()
                .await;
            assert!(reply.succeeded(), "{reply:?}");
            assert_eq!(id_of(&reply), ID);
            let call = up.last("tools/call");
            assert_eq!(call.header("x-request-id"), Some(ID));
            assert_eq!(call.header("traceparent"), Some(PARENT));
            assert_eq!(meta(&call, "traceparent"), Some(text(PARENT)));
        }
    }
}

#[tokio::test]
async fn probes_have_no_request_ids() {
    let [old, new] = both().await;
    let weir = Weir::over([&old, &new]).start().await;
    let answer = bounded("a probe", pool().get(weir.path("/healthz")).send()).await;
    assert!(!answer.unwrap().headers().contains_key("x-request-id"));
}

/// A weir that logs each call as an object; gives the lines about calls that there are after `calls`.
async fn logged(up: &Upstream, calls: impl AsyncFnOnce(&str)) -> (Vec<Value>, String) {
    let (home, listen) = (tempfile::tempdir().unwrap(), free_port());
    let config = home.path().join("weir.yaml");
    let yaml = Weir::over([up]).upstream(&up.name(), "timeouts: { call: 1s }");
    std::fs::write(&config, yaml.yaml(listen, free_port())).unwrap();
    let args = ["serve", "-c", config.to_str().unwrap()];
    let process = Process::start_with(args, |command| {
        command.env("WEIR_LOG", "info,weir::calls=debug");
        command.env("WEIR_LOG_FORMAT", "json");
    });
    let ready = format!("http://127.0.0.1:{listen}/readyz");
    bounded("readiness", async {
        let http = pool();
        while !http
            .get(&ready)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    calls(&format!("http://127.0.0.1:{listen}/mcp")).await;
    process.signal(Signal::TERM);
    let (_, _, stderr) = process.wait_exit().await;
    let lines = stderr.lines().filter(|line| line.starts_with('{'));
    let lines = lines.map(|line| serde_json::from_str(line).unwrap());
    let lines = lines
        .filter(|line: &Value| line["target"] == "weir::calls")
        .collect();
    (lines, stderr)
}

/// Requests with texts that no log may repeat; the last tool and the resource are unknown.
async fn planted_requests(url: &str) {
    let client = Modern::new(url);
    for (tool, id) in [
        ("echo", "id-echo"),
        ("refuses", "id-refuses"),
        ("slow", "id-slow"),
        ("planted-unknown", "id-unknown"),
    ] {
        let params = call_params(&format!("up__{tool}"), r#"{"q":"planted-argument"}"#);
        let ask = client.ask("tools/call", &params);
        let ask = ask.header("x-request-id", id);
        ask.header("traceparent", PARENT)
            .header("baggage", "planted=planted")
            .send()
            .await;
    }
    let unknown = r#"{"uri":"planted://x"}"#;
    client.request("resources/read", unknown).await;
}

/// Two requests were refused before they went anywhere.
fn assert_refused(lines: &[Value]) {
    let refused = lines.iter().map(|line| &line["fields"]);
    let refused = refused.filter(|fields| fields["upstream"].is_null());
    let refused: Vec<_> = refused
        .map(|fields| (&fields["method"], &fields["outcome"], &fields["blame"]))
        .collect();
    let failed = |method| (Value::from(method), "failed".into(), "caller".into());
    let expected = [failed("tools/call"), failed("resources/read")];
    assert!(
        refused
            .into_iter()
            .eq(expected.iter().map(|(a, b, c)| (a, b, c))),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_request_is_a_line_of_the_log_and_says_nothing_of_what_was_said() {
    let up = Upstream::named("up")
        .tools(["echo"])
        .answers(
            "echo",
            r#"{"content":[{"type":"text","text":"planted-result"}]}"#,
        )
        .errors("refuses", r#"{"code":-32000,"message":"planted-error"}"#)
        .gate("slow")
        .start()
        .await;
    let (lines, stderr) = logged(&up, async |url| planted_requests(url).await).await;
    assert_refused(&lines);
    let told = lines.iter().map(|line| &line["fields"]);
    let told: Vec<_> = told
        .filter(|fields| !fields["upstream"].is_null())
        .collect();
    let of = |key: &str| {
        told.iter()
            .map(|fields| fields[key].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("tool"),
        ["up__echo", "up__refuses", "up__slow"],
        "{stderr}"
    );
    assert_eq!(of("outcome"), ["ok", "error", "failed"]);
    assert_eq!(
        of("blame"),
        [Value::Null, Value::Null, Value::from("upstream")]
    );
    assert_eq!(of("request_id"), ["id-echo", "id-refuses", "id-slow"]);
    for fields in &told {
        assert_eq!(
            (&fields["upstream"], &fields["method"]),
            (&"up".into(), &"tools/call".into())
        );
        assert_eq!(fields["trace_id"], PARENT[3..35]);
        assert!(fields["ms"].as_f64().unwrap() > 0.0);
    }
    assert!(told[2]["ms"].as_f64().unwrap() >= 1000.0);
    assert!(
        lines
            .iter()
            .all(|line| line["level"] == "DEBUG" && line["timestamp"].is_string())
    );
    assert!(!stderr.contains("planted"), "{stderr}");
    // The warning about the failed call names it too.
    assert_eq!(stderr.matches("id-slow").count(), 2, "{stderr}");
}
