//! Spans: what a request becomes, whose they are below, and what upstreams learn of them.
//! `tests/telemetry` has the rest, with OpenTelemetry's own decoder.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use weir::sigv4::Verifier;

use crate::support::client::{Client, Modern, call_params, pool};
use crate::support::otlp::OtlpReceiver;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;
use crate::support::{bounded, free_port};

const META: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn both() -> [Upstream; 2] {
    let old = Upstream::named("old").tools(["echo"]).legacy("2025-11-25");
    let new = Upstream::named("new").tools(["echo"]).modern();
    [old.start().await, new.start().await]
}

#[tokio::test]
async fn a_call_is_a_server_span_and_a_client_span_which_the_upstream_gets_as_its_parent() {
    let (ups, receiver) = (both().await, OtlpReceiver::start().await);
    let weir = Weir::over(&ups).top(&receiver.setting()).start().await;
    for client in Client::both(&weir).await {
        for up in &ups {
            let tool = format!("{}__echo", up.name());
            let params = call_params(&tool, "{}");
            let ask = client.ask("tools/call", &params);
            let quoted = format!("\"{META}\"");
            let ask = ask
                .meta("traceparent", &quoted)
                .header("traceparent", HEADER);
            assert_eq!(ask.send().await.status, 200);
            let call = up.last("tools/call");
            let sent = call.raw(&["params", "_meta", "traceparent"]).unwrap();
            let sent = sent.trim_matches('"').to_owned();
            assert_eq!(call.header("traceparent"), Some(&*sent));
            let waiting = async {
                loop {
                    let spans = receiver.spans();
                    let client = spans.iter().find(|span| sent.contains(&span.id)).cloned();
                    let server = client.as_ref().and_then(|client| {
                        spans.iter().find(|span| span.id == client.parent).cloned()
                    });
                    if let (Some(server), Some(client)) = (server, client) {
                        break (server, client);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let (server, client_span) = tokio::time::timeout(Duration::from_secs(10), waiting)
                .await
                .unwrap();
            assert_eq!((server.kind, client_span.kind), (2, 3));
            assert_eq!(server.name, format!("tools/call {tool}"));
            assert_eq!(client_span.name, "tools/call echo");
            assert_eq!(
                (&*server.trace, &*server.parent),
                (TRACE, "00f067aa0ba902b7")
            );
            assert_eq!(server.links, ["b7ad6b7169203331"]);
            assert_eq!(sent, format!("00-{TRACE}-{}-01", client_span.id));
            assert!(client.era().starts_with(server.attribute("weir.era")));
            assert!(!server.attribute("weir.era").is_empty());
            assert_eq!(client_span.attribute("weir.upstream"), up.name());
            assert!(!server.has_failed && !client_span.has_failed);
        }
    }
}

#[tokio::test]
async fn a_recorded_call_is_the_example_of_its_bucket_and_others_are_not() {
    let (up, receiver) = (
        Upstream::named("up").tools(["echo"]),
        OtlpReceiver::start().await,
    );
    let up = up.modern().start().await;
    let weir = Weir::over([&up]).top(&receiver.setting()).start().await;
    let params = call_params("up__echo", "{}");
    let scrape = async |accept: &str| {
        let asked = pool()
            .get(weir.admin_url("/metrics"))
            .header("accept", accept);
        let answer = bounded("the metrics", asked.send()).await.unwrap();
        answer.text().await.unwrap()
    };
    for (flag, is_recorded) in [("00", false), ("01", true)] {
        let parent = format!("\"{}{flag}\"", &META[..META.len() - 2]);
        let client = Client::Modern(weir.modern());
        let ask = client
            .ask("tools/call", &params)
            .meta("traceparent", &parent);
        assert_eq!(ask.send().await.status, 200);
        // The record is written a moment after the answer.
        let counted = format!("}} {}\n", 1 + u32::from(is_recorded));
        let wait = async {
            loop {
                let text = scrape("application/openmetrics-text").await;
                let mut lines = text.split_inclusive('\n');
                if lines.any(|line| {
                    line.starts_with("weir_call_duration_seconds_count") && line.ends_with(&counted)
                }) {
                    return text;
                }
            }
        };
        let text = bounded("the call is counted", wait).await;
        let example = format!("# {{trace_id=\"{TRACE}\"}} ");
        assert_eq!(
            text.matches(&example).count(),
            if is_recorded { 2 } else { 0 },
            "{text}"
        );
        assert!(!scrape("text/plain").await.contains("trace_id"));
    }
}

#[tokio::test]
async fn what_goes_wrong_is_said_by_the_span_of_the_hop_where_it_did() {
    let up = Upstream::named("up")
        .tools(["echo"])
        .errors("refuses", r#"{"code":-32050,"message":"no more paper"}"#)
        .gate("slow")
        .modern();
    let (up, receiver) = (up.start().await, OtlpReceiver::start().await);
    let weir = Weir::over([&up])
        .upstream("up", "timeouts: { call: 300ms }")
        .top(&receiver.setting());
    let weir = weir.start().await;
    let modern = weir.modern();
    modern.call("up__refuses", "{}").await;
    let spans = receiver.wait_trace("tools/call up__refuses", 2).await;
    for span in &spans {
        assert!(span.has_failed, "{span:?}");
        assert_eq!(span.attribute("error.type"), "-32050");
        assert_eq!(span.attribute("rpc.response.status_code"), "-32050");
    }
    modern.call("up__slow", "{}").await;
    let spans = receiver.wait_trace("tools/call up__slow", 2).await;
    let kinds = spans.iter().map(|span| span.attribute("error.type"));
    assert_eq!(kinds.collect::<Vec<_>>(), ["timeout", "timeout"]);
    assert_eq!(spans[0].attribute("rpc.response.status_code"), "-32603");
    modern.call("no__such", "{}").await;
    // The name of a tool that is not there is no part of the name of a span.
    let spans = receiver.wait_trace("tools/call", 1).await;
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].attribute("error.type"), "-32602");
}

#[tokio::test]
async fn an_attempt_that_weir_does_not_send_says_why() {
    let go = r#"{"name":"go","inputSchema":{"type":"object","properties":{"to":{"type":"string","x-mcp-header":"To"}}}}"#;
    let up = Upstream::named("up").raw_tool(go).modern().start().await;
    let receiver = OtlpReceiver::start().await;
    let weir = Weir::over([&up]).top(&receiver.setting()).start().await;
    // Too long for the header that has to repeat it.
    let arguments = format!(r#"{{"to":"{}"}}"#, "x".repeat(20_000));
    let legacy = weir.legacy("2025-11-25").await;
    legacy.call("up__go", &arguments).await;
    assert_eq!(up.count("tools/call"), 0);
    let spans = receiver.wait_trace("tools/call up__go", 2).await;
    let kinds: Vec<_> = spans
        .iter()
        .map(|span| span.attribute("error.type"))
        .collect();
    assert_eq!(kinds, ["-32602", "-32602"], "{spans:?}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_holds_up_neither_calls_nor_the_end() {
    let up = Upstream::named("up").tools(["echo"]).modern().start().await;
    let port = free_port();
    let weir = Weir::over([&up]).top(&format!(
        "telemetry: {{ endpoint: \"http://127.0.0.1:{port}\", logs: true }}"
    ));
    let weir = weir.start().await;
    let modern = weir.modern();
    for _ in 0..50 {
        assert_eq!(modern.call("up__echo", "{}").await.status, 200);
    }
    let began = Instant::now();
    weir.signal(Signal::TERM);
    let (status, _, stderr) = weir.ended().await;
    assert!(status.success(), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(8), "{stderr}");
    assert!(
        stderr.contains("telemetry was not taken before the end")
            || stderr.contains("telemetry is not taken")
    );
}

#[tokio::test]
async fn a_receiver_of_aws_gets_signed_requests() {
    let verifier = Verifier {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: "wJalrXUtnFEMI".into(),
        session_token: None,
        region: "eu-west-1".into(),
        service: "xray".into(),
    };
    let up = Upstream::named("up").tools(["echo"]).modern().start().await;
    let receiver = OtlpReceiver::verifying(verifier).await;
    let auth = ", auth: { type: sigv4, service: xray, region: eu-west-1, access_key_id: AKIDEXAMPLE, secret_access_key: { value: wJalrXUtnFEMI } }";
    let weir = Weir::over([&up]).top(&receiver.setting_with(auth));
    let weir = weir.start().await;
    weir.modern().call("up__echo", "{}").await;
    // A request that is not signed right is refused, and not read.
    let spans = receiver.wait_trace("tools/call up__echo", 2).await;
    assert_eq!(spans.len(), 2);
}

#[tokio::test]
async fn metrics_are_sent_where_nobody_can_scrape_them() {
    let up = Upstream::named("up").tools(["echo"]).modern().start().await;
    let receiver = OtlpReceiver::start().await;
    let metrics = ", sample: 0, metrics: true, metrics_interval: 1s";
    let weir = Weir::over([&up]).top(&receiver.setting_with(metrics));
    let weir = weir.start().await;
    weir.modern().call("up__echo", "{}").await;
    let expected = [
        "weir_calls_total",
        "up__echo",
        "weir_call_added_seconds",
        "weir_upstream_up",
    ];
    receiver.wait_other("/v1/metrics", &expected).await;
}

#[tokio::test]
async fn metrics_are_lines_for_cloudwatch_where_nothing_can_be_sent() {
    let up = Upstream::named("up").tools(["echo"]).modern().start().await;
    let (home, port) = (tempfile::tempdir().unwrap(), free_port());
    let config = home.path().join("weir.yaml");
    let yaml = format!(
        "version: 1\nlisten: {{ address: '127.0.0.1:{port}' }}\ntelemetry: {{ emf: {{ namespace: bedrock-agentcore }}, metrics_interval: 1s }}\nupstreams: {{ up: {{ url: '{}' }} }}\n",
        up.url()
    );
    std::fs::write(&config, yaml).unwrap();
    let mut weir = tokio::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["serve", "--no-watch", "-c"])
        .arg(&config)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(weir.stdout.take().unwrap()).lines();
    let modern = Modern::new(format!("http://127.0.0.1:{port}/mcp"));
    let mut next = async || -> Value {
        let line = bounded("a line", lines.next_line()).await.unwrap();
        let line = line.unwrap();
        assert!(line.len() < 256 * 1024);
        serde_json::from_str(&line).unwrap()
    };
    // The first lines come once weir listens.
    next().await;
    for _ in 0..3 {
        modern.call("up__echo", "{}").await;
    }
    let line = loop {
        let line = next().await;
        if line.get("weir_call_duration_seconds").is_some() {
            break line;
        }
    };
    assert_eq!(
        (&line["upstream"], &line["tool"]),
        (&"up".into(), &"up__echo".into())
    );
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], "bedrock-agentcore");
    assert_eq!(
        directive["Dimensions"][0],
        serde_json::json!(["upstream", "method", "tool"])
    );
    for metric in directive["Metrics"].as_array().unwrap() {
        let name = metric["Name"].as_str().unwrap();
        assert!(line.get(name).is_some(), "{name}");
    }
    let times = &line["weir_call_duration_seconds"];
    let counts = times["Counts"].as_array().unwrap().iter();
    let total: u64 = counts.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(times["Count"], total);
    assert!(line["_aws"]["Timestamp"].as_u64().unwrap() > 1_700_000_000_000);
}

#[tokio::test]
async fn copies_of_records_are_sent_as_they_are_in_the_file() {
    let up = Upstream::named("up").tools(["echo"]).modern().start().await;
    let receiver = OtlpReceiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.jsonl");
    let audit = format!("\naudit: {{ file: \"{}\" }}", file.display());
    let setting = receiver.setting_with(", audit: true") + &audit;
    let weir = Weir::over([&up]).top(&setting).start().await;
    weir.modern().call("up__echo", "{}").await;
    let written = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let mut lines = text.lines().map(str::to_owned);
        lines.find(|line| line.contains("up__echo"))
    };
    let line = loop {
        match written() {
            Some(line) => break line,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    receiver
        .wait_other("/v1/logs", &["weir.audit", &line])
        .await;
}

#[test]
fn every_attribute_is_in_the_book() {
    let page = include_str!("../../docs/src/telemetry.md");
    for (name, _) in weir::telemetry::names::ALL {
        // Those of resources and of log records alone are told in words.
        let is_told = page.contains(&format!("`{name}`"));
        assert!(is_told, "docs/src/telemetry.md lacks `{name}`");
    }
}
