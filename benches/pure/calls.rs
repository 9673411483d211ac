//! The cost for each call besides its bytes: envelopes, counters, records, spans.

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use futures::FutureExt as _;
use weir::audit::{AuditKeys, AuditLog, AuditSigner};
use weir::caller::Caller;
use weir::config::{ValidateAction, ValidateSettings};
use weir::guard::validate::{Schemas, check_arguments};
use weir::json::Object;
use weir::metrics::Metrics;
use weir::name::{Instance, UpstreamId};
use weir::protocol::era::Era;
use weir::protocol::hops::Onward;
use weir::protocol::message::{Message, Request};
use weir::protocol::trace::Trace;
use weir::record::{Record, RecordedData, RequestOrigin};
use weir::telemetry::{LogKinds, Pipeline, Sampler, names};

/// Arguments of a tool with ten properties, and its schema: `guard.validate.arguments`.
#[divan::bench]
fn validate_ten_arguments(bencher: Bencher<'_, '_>) {
    let property = |n: usize| match n % 3 {
        0 => format!(r#""p{n}":{{"type":"string","maxLength":200}}"#),
        1 => format!(r#""p{n}":{{"type":"integer","minimum":0}}"#),
        _ => format!(r#""p{n}":{{"type":"array","items":{{"type":"string"}}}}"#),
    };
    let properties: Vec<_> = (0..10).map(property).collect();
    let definition: Arc<str> = format!(
        r#"{{"name":"t","inputSchema":{{"type":"object","properties":{{{}}},"required":["p0","p1"],"additionalProperties":false}}}}"#,
        properties.join(",")
    )
    .into();
    let arguments = r#"{"p0":"some text","p1":7,"p2":["a","b"],"p3":"more text","p4":12,"p5":["c"],"p6":"x","p7":1,"p8":[],"p9":"y"}"#;
    let settings = ValidateSettings {
        arguments: ValidateAction::Refuse,
        ..ValidateSettings::default()
    };
    let schemas = Schemas::default();
    bencher.bench(|| {
        let (tool, _) = schemas.of(&definition, &settings);
        let checked = check_arguments(&settings, &tool, Some(black_box(arguments)));
        assert!(checked.findings.is_empty());
    });
}

const QUERY: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"erp__query_orders","arguments":{"customer":"4711","since":"2026-01-01","limit":20}}}"#;

/// Returns the request of [`QUERY`].
fn query() -> Request<'static> {
    let Ok(Message::Request(request)) = Message::parse(QUERY) else {
        unreachable!("the text above is a request");
    };
    request
}

/// Records a call, from its first note to its end.
#[divan::bench(threads = [1, 2])]
fn count_a_call(bencher: Bencher<'_, '_>) {
    let metrics = Metrics::new();
    let upstream = metrics.upstream(&UpstreamId::parse("erp").expect("a legal key"));
    let trace = Trace::new();
    bencher.bench(|| {
        let mut record = Record::open(&metrics, Caller::anonymous(), "tools/call", &trace);
        record.set_destination(
            &upstream,
            "tools/call",
            Some(black_box("erp__query_orders")),
        );
        record.succeed();
    });
}

/// Records a call in the record file: the cost for the task that answers the call. The writer works
/// on another thread.
#[divan::bench]
fn record_a_call_in_the_file(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let config = weir::config::parse(
        "audit: { file: weir.jsonl }",
        &folder.path().join("weir.yaml"),
        &|_| None,
    );
    let settings = config.expect("a config").audit.expect("settings");
    let key = AuditSigner::new_pem().expect("a key");
    let keys = AuditKeys {
        hash: vec![7; 32],
        signer: AuditSigner::from_pem(&key).expect("a key"),
    };
    let log = runtime.block_on(async {
        AuditLog::start(&settings, keys, "weir-1", &Arc::default()).expect("a log")
    });
    let metrics = Metrics::new();
    let upstream = metrics.upstream(&UpstreamId::parse("erp").expect("a legal key"));
    let (trace, original) = (Trace::new(), Arc::from("query_orders"));
    let request = query();
    bencher.bench_local(|| {
        let record = Record::open(&metrics, Caller::anonymous(), "tools/call", &trace);
        let mut record = record.audited(Some(&log), black_box(&request), QUERY.len());
        record.set_scope(Era::Modern, 7);
        let admitted = record.admit().now_or_never();
        record.set_destination(&upstream, "tools/call", Some("erp__query_orders"));
        record.set_original(&original);
        record.set_sent_arguments(recorded(
            request.params.get("arguments").unwrap_or_default(),
        ));
        record.note_sent();
        record.note_answer("result");
        record.succeed();
        let result = r#"{"content":[{"type":"text","text":"no orders"}]}"#;
        record.set_result(recorded(black_box(result)));
        admitted
    });
    runtime.block_on(log.stop());
}

fn recorded(sent: &str) -> RecordedData<'_> {
    RecordedData {
        sent,
        unrestored: None,
        guard: None,
    }
}

/// Records a call with the span of the request and that of an attempt, as they are encoded and wait.
/// Sending them, 512 at once, is not in it.
#[divan::bench(args = ["off", "not recorded", "recorded"])]
fn trace_a_call(bencher: Bencher<'_, '_>, which: &str) {
    let metrics = Metrics::new();
    let upstream = metrics.upstream(&UpstreamId::parse("erp").expect("a legal key"));
    let sampler = Sampler {
        follows_parent: true,
        ratio: if which == "recorded" { 1.0 } else { 0.0 },
    };
    let pipeline = Pipeline::new(
        Some(sampler),
        LogKinds::default(),
        [("service.name", "weir")],
    );
    let is_on = which != "off";
    metrics
        .tracer()
        .replace(is_on.then(|| Arc::clone(&pipeline)));
    let (trace, original) = (Trace::new(), Arc::from("query_orders"));
    let request = query();
    bencher.bench_local(|| {
        let mut record = Record::open(&metrics, Caller::anonymous(), "tools/call", &trace);
        record.begin_span(black_box(&request), RequestOrigin::http(None, None));
        record.set_scope(Era::Modern, 7);
        record.set_destination(&upstream, "tools/call", Some("erp__query_orders"));
        record.set_original(&original);
        let client = record.place().and_then(|place| {
            let mut span = place.client("tools/call query_orders")?;
            span.set(names::METHOD, "tools/call");
            span.set(names::TOOL, "query_orders");
            span.set(names::UPSTREAM, "erp");
            span.set(names::CONNECTOR, "on_prem");
            span.set(names::TRANSPORT, "tcp");
            span.set(names::NETWORK_PROTOCOL, "http");
            span.set(names::SERVER_ADDRESS, "127.0.0.1");
            span.set(names::ATTEMPT, 1);
            Some(span)
        });
        let onward = record
            .place()
            .and_then(|place| place.onward(&trace, client.as_ref()));
        record.note_sent();
        record.note_answer("result");
        record.succeed();
        record.set_result(recorded(black_box(
            r#"{"content":[{"type":"text","text":"no orders"}]}"#,
        )));
        drop((client, record));
        // The exporter does the same, and sends it.
        drop(pipeline.spans.take_full());
        onward
    });
}

/// Measures giving an id to a request without one, and writing it twice.
#[divan::bench]
fn name_a_request(bencher: Bencher<'_, '_>) {
    let headers = http::HeaderMap::new();
    bencher.bench(|| {
        let mut sent = http::HeaderMap::with_capacity(8);
        let trace = Trace::of(black_box(&headers));
        trace.write(&mut sent, usize::MAX);
        trace.answer(&mut sent);
        sent
    });
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"jira__search","arguments":{"query":"assignee = currentUser() AND status != Done","limit":50},"_meta":{"progressToken":"p-17","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

#[divan::bench]
fn parse_envelope(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Object::parse(black_box(CALL)).map(|object| object.len()));
}

#[divan::bench]
fn rename_a_call(bencher: Bencher<'_, '_>) {
    bencher.bench(|| {
        let mut envelope = Object::parse(black_box(CALL)).ok()?;
        let mut params = Object::parse(envelope.borrowed("params")?).ok()?;
        params.set("name", "\"search\"");
        envelope.set("id", "4711");
        envelope.set("params", params.to_text());
        Some(envelope.to_text())
    });
}

/// `_meta` on its next hop: of a caller that sends none, of a modern one, and of a weir.
const METAS: [&str; 3] = [
    "{}",
    r#"{"progressToken":"p-17","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#,
    r#"{"progressToken":"p-17","weir/path":["us-west-2","us-east-1"],"weir/deadlineMs":119500}"#,
];

#[divan::bench(args = [0, 1, 2])]
fn meta_as_it_is(bencher: Bencher<'_, '_>, which: usize) {
    let meta = Object::parse(METAS[which]).expect("JSON");
    bencher.bench(|| black_box(&meta).clone().to_text());
}

#[divan::bench(args = [0, 1, 2])]
fn meta_with_path_and_deadline(bencher: Bencher<'_, '_>, which: usize) {
    let meta = Object::parse(METAS[which]).expect("JSON");
    let own = Instance::parse("eu-edge-1").expect("a legal name");
    let onward = Onward {
        own: Some(&own),
        left: Duration::from_secs(120),
    };
    bencher.bench(|| {
        let mut meta = black_box(&meta).clone();
        onward.mark(&mut meta).map(|()| meta.to_text())
    });
}
