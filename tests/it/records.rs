//! Records: every request leaves exactly one, whatever its method and its ending.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::client::{Ask, Legacy, Modern, call_params};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// The members of a record that are compared: method, outcome, blame.
type Said = (String, String, Option<String>);

fn said(method: &str, outcome: &str, blame: Option<&str>) -> Said {
    (method.into(), outcome.into(), blame.map(str::to_owned))
}

/// All records in a log, by request id.
fn records(log: &str) -> BTreeMap<String, Vec<Said>> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut records = BTreeMap::<String, Vec<Said>>::new();
    for line in lines.filter(|line| line["target"] == "weir::calls") {
        let fields = &line["fields"];
        let text = |key: &str| fields[key].as_str().map(str::to_owned);
        let record = (
            text("method").unwrap(),
            text("outcome").unwrap(),
            text("blame"),
        );
        let of = records.entry(text("request_id").unwrap()).or_default();
        of.push(record);
    }
    records
}

/// An upstream in the era of `name`, which is `old` or `new`.
async fn upstream(name: &str) -> Upstream {
    let upstream = Upstream::named(name)
        .tools(["echo"])
        .errors("refuses", r#"{"code":-32000,"message":"no"}"#)
        .progress("streams", 2)
        .gate("slow")
        .gate("stuck");
    match name {
        "new" => upstream.modern(),
        _ => upstream.legacy("2025-11-25"),
    }
    .start()
    .await
}

/// A weir that logs its records, over an upstream of each era.
async fn weir(ups: &[Upstream; 2]) -> Weir {
    let weir = Weir::over(ups).listen("drain: 1s").env([
        ("WEIR_LOG", "info,weir::calls=debug".to_owned()),
        ("WEIR_LOG_FORMAT", "json".to_owned()),
    ]);
    weir.start().await
}

/// Requests that are sent and answered one after the other, and what is expected to be recorded of
/// each.
struct Table {
    expected: BTreeMap<String, Vec<Said>>,
}

impl Table {
    fn expect(&mut self, id: &str, said: Said) {
        let of = self.expected.entry(id.to_owned()).or_default();
        of.push(said);
    }

    async fn send(&mut self, id: &str, ask: Ask<'_>, said: Said) {
        ask.header("x-request-id", id).send().await;
        self.expect(id, said);
    }
}

const CALL: &str = "tools/call";
const CALLER: Option<&str> = Some("caller");

async fn modern_requests(table: &mut Table, client: &Modern) {
    let call = |tool: &str| client.ask(CALL, &call_params(tool, "{}"));
    let ok = |method| said(method, "ok", None);
    let failed = |method| said(method, "failed", CALLER);
    for up in ["old", "new"] {
        let tool = |tool: &str| call(&format!("{up}__{tool}"));
        let id = |what: &str| format!("modern-{up}-{what}");
        table.send(&id("ok"), tool("echo"), ok(CALL)).await;
        table.send(&id("streams"), tool("streams"), ok(CALL)).await;
        let refused = said(CALL, "error", None);
        table.send(&id("error"), tool("refuses"), refused).await;
    }
    table.send("m-unknown", call("none"), failed(CALL)).await;
    let header = call("new__echo").header("mcp-name", "other");
    table.send("m-header", header, failed(CALL)).await;
    let envelope = call("new__echo").without_meta("io.modelcontextprotocol/clientCapabilities");
    table.send("m-envelope", envelope, failed(CALL)).await;
    let unknown = "made/up";
    table
        .send("m-method", client.ask(unknown, "{}"), failed(unknown))
        .await;
    for method in ["tools/list", "resources/templates/list", "server/discover"] {
        let id = format!("m-{method}");
        table.send(&id, client.ask(method, "{}"), ok(method)).await;
    }
    let listen = "subscriptions/listen";
    let wrong = client.ask(listen, r#"{"notifications":1}"#);
    table.send("m-listen-wrong", wrong, failed(listen)).await;
}

async fn legacy_requests(table: &mut Table, client: &Legacy) {
    let call = |tool: &str| client.ask(CALL, &call_params(tool, "{}"));
    let ok = |method| said(method, "ok", None);
    let failed = |method| said(method, "failed", CALLER);
    for up in ["old", "new"] {
        let tool = |tool: &str| call(&format!("{up}__{tool}"));
        let id = |what: &str| format!("legacy-{up}-{what}");
        table.send(&id("ok"), tool("echo"), ok(CALL)).await;
        table.send(&id("streams"), tool("streams"), ok(CALL)).await;
        let refused = said(CALL, "error", None);
        table.send(&id("error"), tool("refuses"), refused).await;
    }
    table.send("l-unknown", call("none"), failed(CALL)).await;
    let sessionless = call("old__echo").without("mcp-session-id");
    table.send("l-sessionless", sessionless, failed(CALL)).await;
    for method in ["ping", "tools/list", "prompts/list", "tasks/list"] {
        let id = format!("l-{method}");
        table.send(&id, client.ask(method, "{}"), ok(method)).await;
    }
    let level = client.ask("logging/setLevel", r#"{"level":"info"}"#);
    table.send("l-level", level, ok("logging/setLevel")).await;
    let again = client.ask("initialize", r#"{"protocolVersion":"2025-11-25"}"#);
    table.send("l-again", again, ok("initialize")).await;
    let versionless = client.ask("initialize", "{}");
    table
        .send("l-versionless", versionless, failed("initialize"))
        .await;
}

/// A batch: one id for the HTTP request, a record for each message that is a request.
async fn batch(table: &mut Table, client: &Legacy) {
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/initialized"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]"#;
    let ask = client.ask("ping", "{}").header("x-request-id", "batch");
    ask.send_body(batch).await;
    table.expect("batch", said("ping", "ok", None));
    table.expect("batch", said("tools/list", "ok", None));
}

/// Calls that are cancelled, and callers that leave, which in legacy is no cancellation.
async fn calls_that_end_early(
    table: &mut Table,
    ups: &[Upstream; 2],
    modern: &Modern,
    legacy: &Legacy,
) {
    let slow = |up: &str| call_params(&format!("{up}__slow"), "{}");
    let cancelled = legacy.ask(CALL, &slow("old")).id("77");
    let cancelled = cancelled.header("x-request-id", "cancelled").send();
    let cancel = async {
        ups[0].wait_running("slow", 1).await;
        legacy
            .notify("notifications/cancelled", r#"{"requestId":77}"#)
            .await;
    };
    tokio::join!(cancelled, cancel);
    table.expect("cancelled", said(CALL, "cancelled", None));
    ups[0].wait_running("slow", 0).await;
    let left = modern.ask(CALL, &slow("new"));
    let left = left.header("x-request-id", "left").send();
    tokio::select! {
        _ = left => panic!("nobody releases it"),
        () = ups[1].wait_running("slow", 1) => {}
    }
    table.expect("left", said(CALL, "cancelled", None));
    ups[1].wait_running("slow", 0).await;
    let gone = legacy.ask(CALL, &slow("old"));
    let gone = gone.header("x-request-id", "gone").send();
    tokio::select! {
        _ = gone => panic!("nobody releases it"),
        () = ups[0].wait_running("slow", 1) => {}
    }
    ups[0].release("slow");
    ups[0].wait_running("slow", 0).await;
    table.expect("gone", said(CALL, "ok", None));
}

#[tokio::test]
async fn every_request_leaves_one_record_whatever_its_method_and_ending() {
    let ups = [upstream("old").await, upstream("new").await];
    let weir = weir(&ups).await;
    let (modern, legacy) = (weir.modern(), weir.legacy("2025-11-25").await);
    let mut table = Table {
        expected: BTreeMap::new(),
    };
    modern_requests(&mut table, &modern).await;
    legacy_requests(&mut table, &legacy).await;

    batch(&mut table, &weir.legacy("2025-03-26").await).await;
    calls_that_end_early(&mut table, &ups, &modern, &legacy).await;

    // Streams that their caller leaves, and that end with weir.
    let listen = || modern.ask("subscriptions/listen", r#"{"notifications":{}}"#);
    let mut closed = listen().header("x-request-id", "closed").stream().await;
    closed.next_value().await;
    drop(closed);
    table.expect("closed", said("subscriptions/listen", "cancelled", None));
    let mut open = listen().header("x-request-id", "open").stream().await;
    open.next_value().await;
    table.expect("open", said("subscriptions/listen", "ok", None));

    // Given up when weir stops.
    let stuck = |up: &str| call_params(&format!("{up}__stuck"), "{}");
    let drained = modern.ask(CALL, &stuck("new"));
    let drained = drained.header("x-request-id", "drained").send();
    let drained_legacy = legacy.ask(CALL, &stuck("old"));
    let drained_legacy = drained_legacy
        .header("x-request-id", "drained-legacy")
        .send();
    let stop = async {
        for up in &ups {
            up.wait_running("stuck", 1).await;
        }
        weir.signal(Signal::TERM);
    };
    tokio::join!(drained, drained_legacy, stop);
    for id in ["drained", "drained-legacy"] {
        table.expect(id, said(CALL, "failed", Some("weir")));
    }
    drop(open);

    let (_, _, log) = weir.ended().await;
    let recorded = records(&log);
    for (id, said) in &table.expected {
        assert_eq!(recorded.get(id), Some(said), "{id}: {log}");
    }
    // The other ids were made by weir, for the sessions that the clients opened.
    let introductions = recorded
        .iter()
        .filter(|(id, _)| !table.expected.contains_key(*id));
    for (id, said) in introductions {
        assert_eq!(said.len(), 1, "{id}: {said:?}");
        assert_eq!(said[0].0, "initialize", "{id}: {said:?}");
    }
}
