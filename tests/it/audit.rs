//! The record file: a line for each request, in a chain in which every break is found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Map, Value};

use crate::support::client::{Legacy, Modern, call_params, pool};
use crate::support::upstream::Upstream;
use crate::support::weir::{ADMIN_TOKEN, Builder, Process, Weir};

mod clients;
mod disk;
mod kills;
mod operators;

const CALL: &str = "tools/call";

/// The members of every line, in the order of the contract.
const MEMBERS: [&str; 31] = [
    "time",
    "request_id",
    "trace_id",
    "caller_identity",
    "caller_issuer",
    "agent",
    "session",
    "era",
    "method",
    "tool_name",
    "upstream",
    "original_name",
    "generation",
    "policy_decision",
    "policies",
    "pre_transform_hash",
    "arguments",
    "redaction_tokens_ids",
    "hooks",
    "upstream_status",
    "result_status",
    "blame",
    "latency_ms",
    "added_latency_us",
    "bytes_in",
    "bytes_out",
    "hops",
    "instance",
    "seq",
    "prev",
    "hash",
];

/// A line of the file.
pub type Line = Map<String, Value>;

/// A weir over these upstreams with a record file, and more settings of it in flow style.
fn audited<'a>(ups: impl IntoIterator<Item = &'a Upstream>, settings: &str) -> Builder {
    let audit = format!("audit: {{ file: audit/weir.jsonl, {settings} }}");
    Weir::over(ups).instance("weir-1").state().top(&audit)
}

fn file_of(weir: &Weir) -> PathBuf {
    weir.home.path().join("audit/weir.jsonl")
}

/// Reads the lines of a file.
fn lines(file: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// Reads the lines of all files in a folder, in the order of their numbers.
pub fn all_lines(folder: &Path) -> Vec<Line> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let mut lines: Vec<_> = files.flat_map(|file| lines(&file)).collect();
    lines.sort_by_key(|line| line["seq"].as_u64().unwrap());
    lines
}

/// Checks a chain without any code of weir's: numbers, hashes, members.
fn assert_chain(lines: &[Line]) {
    let mut prev = "0".repeat(64);
    for (line, number) in lines.iter().zip(1..) {
        assert_eq!(line["seq"], number, "{line:?}");
        assert_eq!(line["prev"], *prev, "{line:?}");
        let mut without = line.clone();
        without.shift_remove("hash");
        let text = serde_json::to_string(&without).unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(line["hash"], *hex, "{line:?}");
        prev = hex;
        let mut members: Vec<_> = line.keys().map(String::as_str).collect();
        members.retain(|member| !["event", "results", "guard"].contains(member));
        assert_eq!(members, MEMBERS, "{line:?}");
    }
}

/// Waits until a request has its line, and returns it.
pub async fn line_of(file: &Path, id: &str) -> Line {
    for _ in 0..500 {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = whole
            .lines()
            .map(|line| serde_json::from_str::<Line>(line).unwrap());
        if let Some(line) = lines.find(|line| line["request_id"] == id) {
            return line;
        }
        // Another process: nothing to be woken by.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no line of {id}");
}

/// Runs a command: its exit code, stdout and stderr.
async fn command(args: &[&str]) -> (Option<i32>, String, String) {
    let (status, out, err) = Process::start(args.iter().copied()).wait_exit().await;
    (status.code(), out, err)
}

/// Checks the record files of a weir's folder by `weir audit verify`.
async fn verified(home: &Path) -> String {
    let config = home.join("weir.yaml");
    let (code, out, err) = command(&["audit", "verify", "-c", config.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    out
}

async fn upstream(name: &str) -> Upstream {
    let upstream = Upstream::named(name)
        .tools(["echo"])
        .answers(
            "broken",
            r#"{"resultType":"complete","isError":true,"content":[{"type":"text","text":"no"}]}"#,
        )
        .errors("refuses", r#"{"code":-32000,"message":"no"}"#)
        .gate("slow");
    match name {
        "new" => upstream.modern(),
        _ => upstream.legacy("2025-11-25"),
    }
    .start()
    .await
}

fn text<'l>(line: &'l Line, member: &str) -> &'l str {
    line[member].as_str().unwrap_or("-")
}

/// The expected parts of the line of a request: era, method, answer of the upstream, answer.
type Expected = BTreeMap<String, [&'static str; 4]>;

/// Sends requests of both eras to upstreams of both, one after the other.
async fn send_each(modern: &Modern, legacy: &Legacy, expected: &mut Expected) {
    let ends = [
        ("echo", "result", "ok"),
        ("broken", "result", "tool_error"),
        ("refuses", "error", "error"),
    ];
    let ask = |era: &str, method: &str, params: &str| match era {
        "modern" => modern.ask(method, params),
        _ => legacy.ask(method, params),
    };
    for era in ["modern", "legacy"] {
        for up in ["old", "new"] {
            for (tool, upstream, status) in ends {
                let id = format!("{era}-{up}-{tool}");
                let params = call_params(&format!("{up}__{tool}"), r#"{"a":1}"#);
                let ask = ask(era, CALL, &params);
                ask.header("x-request-id", &id).send().await;
                expected.insert(id, [era, CALL, upstream, status]);
            }
        }
        let id = format!("{era}-list");
        let ask = ask(era, "tools/list", "{}");
        ask.header("x-request-id", &id).send().await;
        expected.insert(id, [era, "tools/list", "-", "ok"]);
    }
    let ping = legacy.ask("ping", "{}");
    ping.header("x-request-id", "ping").send().await;
    expected.insert("ping".into(), ["legacy", "ping", "-", "ok"]);
    let unknown = modern.ask(CALL, &call_params("none", "{}"));
    unknown.header("x-request-id", "unknown").send().await;
    expected.insert("unknown".into(), ["modern", CALL, "-", "refused"]);
}

/// Sends a call that its caller leaves, and one that is under way when weir stops.
async fn end_early(weir: &Weir, ups: &[Upstream; 2], legacy: &Legacy, expected: &mut Expected) {
    let modern = weir.modern();
    let left = modern.ask(CALL, &call_params("new__slow", "{}"));
    tokio::select! {
        _ = left.header("x-request-id", "left").send() => panic!("nobody releases it"),
        () = ups[1].wait_running("slow", 1) => {}
    }
    ups[1].wait_running("slow", 0).await;
    expected.insert("left".into(), ["modern", CALL, "-", "cancelled"]);
    let drained = legacy.ask(CALL, &call_params("old__slow", "{}"));
    let drained = drained.header("x-request-id", "drained").send();
    let stop = async {
        ups[0].wait_running("slow", 1).await;
        weir.signal(Signal::TERM);
    };
    tokio::join!(drained, stop);
    expected.insert("drained".into(), ["legacy", CALL, "-", "drained"]);
}

#[tokio::test]
async fn every_request_leaves_a_line_with_its_ending_in_both_eras() {
    let ups = [upstream("old").await, upstream("new").await];
    let weir = audited(&ups, "results: hash").listen("drain: 1s");
    let weir = weir.start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let mut expected = Expected::new();
    send_each(&weir.modern(), &legacy, &mut expected).await;
    end_early(&weir, &ups, &legacy, &mut expected).await;
    let file = file_of(&weir);
    wait_stopped(&file).await;
    let lines = lines(&file);
    weir.ended().await;
    assert_chain(&lines);
    let mut found = BTreeMap::new();
    for line in &lines {
        let id = text(line, "request_id");
        if expected.contains_key(id) {
            let said = ["era", "method", "upstream_status", "result_status"];
            let twice = found.insert(id.to_owned(), said.map(|member| text(line, member)));
            assert_eq!(twice, None, "{id}");
        }
    }
    assert_eq!(found, expected);
    assert_call(&lines);
    let methods: Vec<_> = lines.iter().map(|line| text(line, "method")).collect();
    assert_eq!(methods[..2], ["weir/start", "weir/checkpoint"]);
    assert_eq!(
        methods[methods.len() - 2..],
        ["weir/stop", "weir/checkpoint"]
    );
}

/// Checks the members of the line of a call.
fn assert_call(lines: &[Line]) {
    let mut lines = lines.iter();
    let call = lines.find(|line| line["request_id"] == "legacy-new-echo");
    let call = call.unwrap();
    assert_eq!(call["tool_name"], "new__echo");
    assert_eq!(call["original_name"], "echo");
    assert_eq!(call["upstream"], "new");
    assert_eq!(call["instance"], "weir-1");
    for hash in ["pre_transform_hash", "arguments", "results"] {
        assert!(text(call, hash).starts_with("hmac-sha256:"), "{call:?}");
    }
    let numbers = [
        "latency_ms",
        "added_latency_us",
        "bytes_in",
        "bytes_out",
        "generation",
    ];
    let is_number = |member: &&str| call[*member].is_number();
    assert!(numbers.iter().all(is_number), "{call:?}");
}

/// Waits until the last line of a file is the one with which weir stops.
pub async fn wait_stopped(file: &Path) {
    for _ in 0..1_000 {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') && text.contains("\"method\":\"weir/stop\"") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not stop");
}

#[tokio::test]
async fn sixty_four_callers_and_rotation_lose_double_and_move_nothing() {
    let up = upstream("new").await;
    let weir = audited([&up], "rotate: { bytes: 64KiB }").start().await;
    let url = weir.url();
    let callers = (0..64).map(|caller| {
        let modern = Modern::new(&url);
        async move {
            for call in 0..25 {
                let ask = modern.ask(CALL, &call_params("new__echo", "{}"));
                let id = format!("{caller}-{call}");
                assert!(ask.header("x-request-id", &id).send().await.succeeded());
            }
        }
    });
    futures::future::join_all(callers).await;
    weir.signal(Signal::TERM);
    wait_stopped(&file_of(&weir)).await;
    let home = weir.home.path().to_owned();
    let lines = all_lines(&home.join("audit"));
    assert_chain(&lines);
    let ids: Vec<_> = lines.iter().map(|line| text(line, "request_id")).collect();
    let ids: Vec<_> = ids
        .into_iter()
        .filter(|id| id.contains('-') && (2..6).contains(&id.len()))
        .collect();
    let different: BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), different.len()), (64 * 25, 64 * 25));
    let files = std::fs::read_dir(home.join("audit")).unwrap().count();
    assert!(files > 10, "{files} files");
    let out = verified(&home).await;
    assert!(out.contains("none is changed, missing or moved"), "{out}");
    weir.ended().await;
}

#[tokio::test]
async fn only_so_many_full_files_are_kept() {
    let up = upstream("new").await;
    let weir = audited([&up], "rotate: { bytes: 64KiB, keep: 2 }")
        .start()
        .await;
    let modern = weir.modern();
    let folder = weir.home.path().join("audit");
    for _ in 0..400 {
        modern.request("ping-like/unknown", "{}").await;
    }
    let full = || {
        let entries = std::fs::read_dir(&folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("weir-2"))
            .count()
    };
    assert!((1..=2).contains(&full()), "{}", full());
    let out = verified(weir.home.path()).await;
    assert!(out.contains("none is changed"), "{out}");
}

#[tokio::test]
async fn nothing_of_arguments_and_results_is_in_the_file_with_hash() {
    let planted = ["hunter2-secret", "4111111111111111", "alice@example.com"];
    let result = format!(
        r#"{{"resultType":"complete","content":[{{"type":"text","text":"{}"}}]}}"#,
        planted.join(" ")
    );
    let new = Upstream::named("new")
        .tools(["echo"])
        .answers("say", &result);
    let new = new.modern().start().await;
    let weir = audited([&new], "arguments: hash, results: hash")
        .start()
        .await;
    let modern = weir.modern();
    for (tool, id) in [
        ("new__say", "a"),
        ("new__echo", "b"),
        ("new__none", "c"),
        ("alice@example.com", "d"),
    ] {
        let args = format!(r#"{{"p":"{}"}}"#, planted.join(","));
        let ask = modern.ask(CALL, &call_params(tool, &args));
        ask.header("x-request-id", id).send().await;
    }
    line_of(&file_of(&weir), "d").await;
    let text = std::fs::read_to_string(file_of(&weir)).unwrap();
    for planted in planted {
        assert!(!text.contains(planted), "{planted}");
    }
    // The same data has the same hash, other data another one.
    let modern = weir.modern();
    for (id, args) in [("same", "{}"), ("again", "{}"), ("other", r#"{"x":1}"#)] {
        let ask = modern.ask(CALL, &call_params("new__echo", args));
        ask.header("x-request-id", id).send().await;
    }
    let file = file_of(&weir);
    let hash = async |id: &str| line_of(&file, id).await["arguments"].clone();
    let (same, again, other) = (hash("same").await, hash("again").await, hash("other").await);
    assert!(same == again && same != other, "{same} {again} {other}");
}

#[tokio::test]
async fn redacted_data_has_nothing_that_only_the_cleared_may_see() {
    let mail = Upstream::named("mail")
        .tools(["send"])
        .modern()
        .start()
        .await;
    let open = Upstream::named("open")
        .tools(["echo"])
        .modern()
        .start()
        .await;
    let guard = "guard: { redact: { towards_upstream: { EMAIL: restore }, towards_caller: { EMAIL: restore } } }";
    let weir = audited([&mail, &open], "arguments: redacted, results: redacted")
        .upstream("mail", guard)
        .start()
        .await;
    let modern = weir.modern();
    let args = r#"{"to":"ann\u0040x.example","text":"hello"}"#;
    for (tool, id) in [("mail__send", "a"), ("open__echo", "b")] {
        let ask = modern.ask(CALL, &call_params(tool, args));
        ask.header("x-request-id", id).send().await;
    }
    let file = file_of(&weir);
    let line = line_of(&file, "a").await;
    assert_eq!(
        text(&line, "arguments"),
        r#"{"to":"[EMAIL]","text":"hello"}"#
    );
    assert!(text(&line, "results").contains("[EMAIL]"), "{line:?}");
    // No rule is about the other one, and that is said.
    assert_eq!(text(&line_of(&file, "b").await, "arguments"), args);
    weir.wait_stderr("RECORDS HAVE DATA AS IT IS").await;
    weir.wait_stderr("upstreams=\"open\"").await;
}

#[tokio::test]
async fn a_request_has_one_id_in_all_weirs_of_a_chain() {
    let up = upstream("new").await;
    let far = audited([&up], "arguments: none").start().await;
    let near = Weir::with("")
        .and("far", &far.url())
        .instance("weir-0")
        .state();
    let near = near.top("audit: { file: audit/weir.jsonl }").start().await;
    near.wait_tools([
        "far__new__echo",
        "far__new__broken",
        "far__new__refuses",
        "far__new__slow",
    ])
    .await;
    let modern = near.modern();
    let ask = modern.ask(CALL, &call_params("far__new__echo", "{}"));
    assert!(
        ask.header("x-request-id", "one-id")
            .send()
            .await
            .succeeded()
    );
    let of_near = line_of(&file_of(&near), "one-id").await;
    let of_far = line_of(&file_of(&far), "one-id").await;
    assert_eq!(of_near["hops"], serde_json::json!([]));
    assert_eq!(of_far["hops"], serde_json::json!(["weir-0"]));
    assert_eq!(
        (text(&of_near, "instance"), text(&of_far, "instance")),
        ("weir-0", "weir-1")
    );
    assert_eq!(of_far["arguments"], Value::Null);
}
