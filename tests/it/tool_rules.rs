//! Rules of the operator for single tools: a time limit, annotations; and upstreams of which only
//! tools are exposed that change nothing.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{Weir, child_upstream};

/// A tool with these annotations.
fn tool(name: &str, annotations: &str) -> String {
    format!(r#"{{"name":"{name}","annotations":{annotations},"inputSchema":{{}}}}"#)
}

/// The annotations of a tool, as callers see them.
async fn annotations(weir: &Weir, name: &str) -> Value {
    let all = weir.modern().list_all("tools/list").await;
    let all = all
        .iter()
        .map(|raw| serde_json::from_str::<Value>(raw).unwrap());
    let mut found = all.filter(|tool| tool["name"] == name);
    found.next().unwrap()["annotations"].clone()
}

#[tokio::test]
async fn a_read_only_upstream_exposes_what_says_that_it_only_reads() {
    let ann = Upstream::named("ann").tools(["plain"]).start().await;
    for (name, annotations) in [
        ("reads", r#"{"readOnlyHint":true}"#),
        ("writes", r#"{"readOnlyHint":false}"#),
        ("repeats", r#"{"idempotentHint":true}"#),
        ("wrong", r#"{"readOnlyHint":true,"title":"T"}"#),
        ("silent", r#"{"title":"T"}"#),
    ] {
        ann.add_raw(Kind::Tools, &tool(name, annotations));
    }
    ann.add_raw(Kind::Prompts, r#"{"name":"p"}"#);
    let rules = "read_only: true\ntools:\n  override:\n    wrong: { annotations: { readOnlyHint: false } }\n    silent: { annotations: { readOnlyHint: true } }";
    let weir = Weir::over([&ann]).upstream("ann", rules).start().await;
    weir.wait_tools(["ann__reads", "ann__silent"]).await;
    for client in Client::both(&weir).await {
        assert_eq!(client.call("ann__reads", "{}").await.text(), "ann.reads {}");
        assert_eq!(
            client.call("ann__silent", "{}").await.text(),
            "ann.silent {}"
        );
        for hidden in ["plain", "writes", "repeats", "wrong"] {
            let refused = client.call(&format!("ann__{hidden}"), "{}").await;
            assert_eq!(refused.code(), -32602, "{hidden}");
        }
        let prompts = client.list_all("prompts/list").await;
        assert_eq!(prompts.len(), 1);
    }
    assert_eq!(ann.count("tools/call"), 4);
    // The rest of the annotations stays.
    let seen = annotations(&weir, "ann__silent").await;
    assert_eq!(seen, json!({ "title": "T", "readOnlyHint": true }));
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["explain", "ann__writes", "--url", &weir.admin_url("")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("`read_only` is set, and its annotations do not have `readOnlyHint: true`"),
        "{text}"
    );
    assert!(
        text.contains("weir.yaml:") && text.contains("read_only at"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn annotations_of_the_operator_take_the_place_of_the_tools_own() {
    let ann = Upstream::named("ann").start().await;
    ann.add_raw(
        Kind::Tools,
        &tool("a", r#"{"destructiveHint":true,"x":1.50,"title":"Old"}"#),
    );
    ann.add_raw(Kind::Tools, r#"{"name":"b","inputSchema":{}}"#);
    let rules = "tools: { override: { a: { annotations: { title: New, destructiveHint: false } }, b: { annotations: { openWorldHint: false } } } }";
    let weir = Weir::over([&ann]).upstream("ann", rules).start().await;
    weir.wait_tools(["ann__a", "ann__b"]).await;
    let all = weir.modern().list_all("tools/list").await;
    let own = r#""annotations":{"destructiveHint":false,"x":1.50,"title":"New"}"#;
    assert!(all[0].contains(own), "{}", all[0]);
    assert_eq!(
        annotations(&weir, "ann__b").await,
        json!({ "openWorldHint": false })
    );
}

#[tokio::test]
async fn a_tool_has_a_time_limit_of_its_own() {
    let ann = Upstream::named("ann").tools(["slow", "other"]);
    let ann = ann.gate("slow").start().await;
    let child = child_upstream("kid", &["--tools", "hang"]);
    let url = ann.url();
    let rules = "tools: { override: { slow: { timeout: 300ms }, hang: { timeout: 300ms } } }";
    let yaml = format!("  ann:\n    url: \"{url}\"\n    {rules}\n{child}    {rules}\n");
    let weir = Weir::with(&yaml).start().await;
    weir.wait_tools(["ann__other", "ann__slow", "kid__hang"])
        .await;
    for client in Client::both(&weir).await {
        for name in ["ann__slow", "kid__hang"] {
            let begun = std::time::Instant::now();
            let reply = client.call(name, "{}").await;
            assert_eq!(reply.code(), -32603, "{name}");
            let took = begun.elapsed();
            assert!(took >= Duration::from_millis(300), "{name}: {took:?}");
            assert!(took < Duration::from_secs(10), "{name}: {took:?}");
        }
        assert_eq!(client.call("ann__other", "{}").await.text(), "ann.other {}");
    }
}

#[tokio::test]
async fn progress_gives_a_call_its_time_anew_whether_or_not_the_caller_wants_to_hear_of_it() {
    let pause = Duration::from_millis(400);
    let ann = Upstream::named("ann").tools(["steps", "strict"]).dual();
    let ann = ann.progress("steps", 5).pause("steps", pause);
    let ann = ann
        .progress("strict", 5)
        .pause("strict", pause)
        .start()
        .await;
    let (url, child) = (ann.url(), child_upstream("kid", &["--tools", "steps"]));
    let resets = "steps: { timeout: 1200ms, timeout_resets_on_progress: true }";
    let yaml = format!(
        "  ann:\n    url: \"{url}\"\n    tools: {{ override: {{ {resets}, strict: {{ timeout: 1200ms }} }} }}\n\
         {child}    tools: {{ override: {{ {resets} }} }}\n"
    );
    let weir = Weir::with(&yaml).start().await;
    weir.wait_tools(["ann__steps", "ann__strict", "kid__steps"])
        .await;
    for client in Client::both(&weir).await {
        for name in ["ann__steps", "kid__steps"] {
            let silent = client.call(name, "{}").await;
            assert!(
                silent.succeeded(),
                "{} {name}: {}",
                client.era(),
                silent.message()
            );
            assert!(silent.notifications("notifications/progress").is_empty());
            let asked = client.ask(
                "tools/call",
                &format!(r#"{{"name":"{name}","arguments":{{}}}}"#),
            );
            let asked = asked.meta("progressToken", "\"mine\"").send().await;
            assert!(asked.succeeded(), "{} {name}", client.era());
            assert_eq!(asked.notifications("notifications/progress").len(), 5);
        }
        let asked = client.ask("tools/call", r#"{"name":"ann__strict","arguments":{}}"#);
        let strict = asked.meta("progressToken", "\"mine\"").send().await;
        assert_eq!(strict.code(), -32603);
    }
}
