//! `guard.validate`: arguments and results of tools are checked against the schemas of their tool, and
//! for characters that hide, before they reach the other side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::client::Client;
use crate::support::ran;
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{Weir, child_upstream};

/// A tool with these schemas.
fn tool(name: &str, input: &str, output: Option<&str>) -> String {
    let output = output.map(|schema| format!(",\"outputSchema\":{schema}"));
    let output = output.unwrap_or_default();
    format!(r#"{{"name":"{name}","inputSchema":{input}{output}}}"#)
}

const PAY: &str = r#"{"type":"object","properties":{"amount":{"type":"integer","minimum":1},"currency":{"enum":["EUR","USD"]}},"required":["amount"],"additionalProperties":false}"#;
const RECEIPT: &str =
    r#"{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]}"#;

/// The text of a tool error.
async fn refused(client: &Client, tool: &str, arguments: &str) -> String {
    let reply = client.call(tool, arguments).await;
    let value = reply.value();
    assert_eq!(value["isError"], true, "{}: {value}", client.era());
    let kind = client.is_modern().then(|| json!("complete"));
    assert_eq!(value.get("resultType").cloned(), kind, "{value}");
    assert_eq!(reply.status, 200);
    reply.text()
}

/// The value of a series of `weir_guard_validation_total`.
async fn found(weir: &Weir, labels: &str) -> u64 {
    let name = format!("weir_guard_validation_total{{{labels}}}");
    weir.metric(&name).await
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_a_tool_error_and_reach_no_upstream() {
    let erp = Upstream::named("erp").start().await;
    erp.add_raw(Kind::Tools, &tool("pay", PAY, None));
    let weir = Weir::over([&erp])
        .top("guard: { validate: { arguments: refuse } }")
        .start()
        .await;
    weir.wait_tools(["erp__pay"]).await;
    for client in Client::both(&weir).await {
        let text = refused(&client, "erp__pay", r#"{"currency":"secret"}"#).await;
        let beginning = "invalid params: the arguments of erp__pay do not fit: ";
        assert!(text.starts_with(beginning), "{text}");
        assert!(
            text.contains(r#"`/` must have the member "amount" (required)"#),
            "{text}"
        );
        assert!(
            text.contains(r#"`/currency` must be one of ["EUR","USD"] (enum)"#),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        let text = refused(
            &client,
            "erp__pay",
            "{\"amount\":1,\"tip\":[{\"a\":1,\"a\":2}]}",
        )
        .await;
        assert!(text.contains("an object has a key twice"), "{text}");
        // Arguments that fit arrive as they were written.
        let fits = client.call("erp__pay", r#"{ "amount" : 1.0 }"#).await;
        assert_eq!(fits.text(), r#"erp.pay { "amount" : 1.0 }"#);
    }
    assert_eq!(erp.count("tools/call"), 2);
    let labels = r#"upstream="erp",part="arguments",found="schema",consequence="refused""#;
    assert_eq!(found(&weir, labels).await, 2);
    let log = weir.stderr();
    assert!(
        log.contains("/currency") && !log.contains("secret"),
        "{log}"
    );
}

#[tokio::test]
async fn a_tool_and_an_upstream_have_settings_of_their_own() {
    let erp = Upstream::named("erp").start().await;
    let hr = Upstream::named("hr").start().await;
    for tool_name in ["pay", "ask", "old"] {
        erp.add_raw(Kind::Tools, &tool(tool_name, PAY, None));
    }
    hr.add_raw(Kind::Tools, &tool("pay", PAY, None));
    let own = "guard: { validate: { arguments: report } }\ntools: { override: { pay: { guard: { validate: { arguments: refuse } } }, old: { guard: { validate: { arguments: \"off\" } } } } }";
    let weir = Weir::over([&erp, &hr]).upstream("erp", own).start().await;
    weir.wait_tools(["erp__ask", "erp__old", "erp__pay", "hr__pay"])
        .await;
    for client in Client::both(&weir).await {
        refused(&client, "erp__pay", "{}").await;
        for passes in ["erp__ask", "erp__old", "hr__pay"] {
            let reply = client.call(passes, "{}").await;
            assert!(reply.text().ends_with(" {}"), "{passes}");
        }
    }
    let labels = r#"upstream="erp",part="arguments",found="schema",consequence="reported""#;
    assert_eq!(found(&weir, labels).await, 2);
}

#[tokio::test]
async fn arguments_that_weir_sets_are_checked_with_those_of_the_caller() {
    let erp = Upstream::named("erp").start().await;
    let schema = r#"{"type":"object","properties":{"q":{"type":"string"},"tenant":{"type":"string"}},"required":["q","tenant"],"additionalProperties":false}"#;
    erp.add_raw(Kind::Tools, &tool("find", schema, None));
    let own = "guard: { validate: { arguments: refuse } }\ntools: { override: { find: { set_args: { tenant: eu } } } }";
    let weir = Weir::over([&erp]).upstream("erp", own).start().await;
    weir.wait_tools(["erp__find"]).await;
    for client in Client::both(&weir).await {
        let reply = client.call("erp__find", r#"{"q":"x"}"#).await;
        assert_eq!(reply.text(), r#"erp.find {"q":"x","tenant":"eu"}"#);
        refused(&client, "erp__find", "{}").await;
    }
}

#[tokio::test]
async fn a_child_is_called_with_what_fits_only() {
    let child = child_upstream("kid", &["--tools", "one"]);
    let yaml = format!("{child}    guard: {{ validate: {{ limits: {{ string: 4 }} }} }}\n");
    let weir = Weir::with(&yaml).start().await;
    weir.wait_tools(["kid__one"]).await;
    for client in Client::both(&weir).await {
        let text = refused(&client, "kid__one", r#"{"q":"12345"}"#).await;
        assert!(text.contains("a text has more than 4 bytes"), "{text}");
        assert!(client.call("kid__one", r#"{"q":"1234"}"#).await.succeeded());
    }
}

#[tokio::test]
async fn results_that_do_not_fit_are_refused_in_words_of_weirs_own() {
    let erp = Upstream::named("erp").start().await;
    for name in ["good", "bad", "none", "error"] {
        erp.add_raw(Kind::Tools, &tool(name, "{}", Some(RECEIPT)));
    }
    erp.set_answer(
        "good",
        r#"{"content":[],"structuredContent":{"ok":true,"x":1e400}}"#,
    );
    erp.set_answer(
        "bad",
        r#"{"content":[],"structuredContent":{"ok":"secret"}}"#,
    );
    erp.set_answer("none", r#"{"content":[]}"#);
    erp.set_answer("error", r#"{"content":[],"isError":true}"#);
    let weir = Weir::over([&erp])
        .top("guard: { validate: { results: refuse } }")
        .start()
        .await;
    weir.wait_tools(["erp__bad", "erp__error", "erp__good", "erp__none"])
        .await;
    for client in Client::both(&weir).await {
        for name in ["erp__bad", "erp__none"] {
            let error = client.call(name, "{}").await.error();
            assert_eq!(error["code"], -32603, "{error}");
            assert_eq!(error["data"]["upstream"], "erp");
            let reason = "its result does not fit the outputSchema of the tool";
            assert_eq!(error["data"]["reason"], reason);
        }
        assert_eq!(
            client.call("erp__error", "{}").await.value()["isError"],
            true
        );
        // 1e400 is no number that every reader holds.
        assert_eq!(client.call("erp__good", "{}").await.code(), -32603);
    }
    erp.set_answer(
        "good",
        r#"{"content":[],"structuredContent":{ "ok" : true }}"#,
    );
    for client in Client::both(&weir).await {
        let result = client.call("erp__good", "{}").await.result();
        assert!(result.contains(r#"{ "ok" : true }"#), "{result}");
    }
    let log = weir.stderr();
    assert!(log.contains("/ok") && !log.contains("secret"), "{log}");
}

#[tokio::test]
async fn results_that_are_only_reported_pass_as_they_came() {
    let erp = Upstream::named("erp").start().await;
    erp.add_raw(Kind::Tools, &tool("bad", "{}", Some(RECEIPT)));
    let raw = r#"{"content":[],"structuredContent":{ "ok" : 1e400 }}"#;
    erp.set_answer("bad", raw);
    let weir = Weir::over([&erp])
        .top("guard: { validate: { results: report } }")
        .start()
        .await;
    weir.wait_tools(["erp__bad"]).await;
    for client in Client::both(&weir).await {
        let result = client.call("erp__bad", "{}").await.result();
        assert!(
            result.contains(r#""structuredContent":{ "ok" : 1e400 }"#),
            "{result}"
        );
    }
    let labels = r#"upstream="erp",part="results",found="limit",consequence="reported""#;
    assert_eq!(found(&weir, labels).await, 2);
}

#[tokio::test]
async fn characters_that_hide_are_cut_out_on_both_ways_and_nothing_else_changes() {
    let erp = Upstream::named("erp").start().await;
    erp.add_raw(Kind::Tools, &tool("say", "{}", None));
    erp.add_raw(Kind::Tools, &tool("strict", "{}", None));
    let hidden = "{\"content\":[{\"type\":\"text\",\"text\":\"a\u{e0061}b\\u202e \u{2764}\u{fe0f}\"}],\"x\":1e400}";
    erp.set_answer("say", hidden);
    let own = "guard: { validate: { invisible: { arguments: remove, results: remove } } }\ntools: { override: { strict: { guard: { validate: { invisible: { arguments: refuse, results: refuse } } } } } }";
    let weir = Weir::over([&erp]).upstream("erp", own).start().await;
    weir.wait_tools(["erp__say", "erp__strict"]).await;
    for client in Client::both(&weir).await {
        let sent = "{\"q\" : \"pay\\u200b\u{202e}001\" , \"n\":1e400}";
        let result = client.call("erp__say", sent).await.result();
        let clean = "{\"type\":\"text\",\"text\":\"ab \u{2764}\u{fe0f}\"}";
        assert!(
            result.contains(clean) && result.contains("1e400"),
            "{result}"
        );
        let seen = erp.last("tools/call").body;
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(
            seen.contains("{\"q\" : \"pay001\" , \"n\":1e400}"),
            "{seen}"
        );
        let text = refused(&client, "erp__strict", sent).await;
        assert!(text.contains("2 control or invisible characters"), "{text}");
    }
    erp.set_answer("strict", hidden);
    for client in Client::both(&weir).await {
        let error = client.call("erp__strict", "{}").await.error();
        let reason = "its result has control or invisible characters";
        assert_eq!(error["data"]["reason"], reason, "{error}");
    }
}

#[tokio::test]
async fn nothing_is_fetched_that_a_schema_refers_to() {
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let counter = Arc::clone(&asked);
    let mut double = JoinSet::new();
    double.spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let erp = Upstream::named("erp").start().await;
    let remote = format!(
        r#"{{"type":"object","properties":{{"a":{{"$ref":"http://127.0.0.1:{port}/s.json"}}}}}}"#
    );
    let file =
        r#"{"$schema":"http://127.0.0.1:1/meta","properties":{"a":{"$ref":"file:///etc/passwd"}}}"#;
    erp.add_raw(Kind::Tools, &tool("remote", &remote, None));
    erp.add_raw(Kind::Tools, &tool("file", file, None));
    let weir = Weir::over([&erp])
        .top("guard: { validate: { arguments: refuse } }")
        .start()
        .await;
    weir.wait_tools(["erp__file", "erp__remote"]).await;
    for client in Client::both(&weir).await {
        for name in ["erp__remote", "erp__file"] {
            assert!(client.call(name, r#"{"a":1}"#).await.succeeded(), "{name}");
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    drop(double);
    // The operator is told once, and can look it up.
    let log = weir.stderr();
    let said = log.matches("its schema cannot be applied").count();
    assert_eq!(said, 2, "{log}");
    let told = weir.told("erp").await;
    let unchecked = told["unchecked_schemas"].to_string();
    assert!(
        unchecked.contains("inputSchema of `erp__remote`: it refers to"),
        "{unchecked}"
    );
    let labels = r#"upstream="erp",part="arguments",found="unchecked",consequence="reported""#;
    assert_eq!(found(&weir, labels).await, 4);
    let home = weir.home.path().join("weir.yaml");
    let check = ran::weir(["check", "-c", home.to_str().unwrap(), "--online"]).await;
    assert!(
        check.out.contains("calls of `erp__remote` are not checked"),
        "{check:?}"
    );
}

#[tokio::test]
async fn schemas_that_explode_cost_their_callers_and_others_little() {
    let erp = Upstream::named("erp").tools(["plain"]).start().await;
    // 2^60 ways through references; a pattern that explodes in other engines; references in a circle.
    let defs: Vec<_> = (0..60)
        .map(|number| {
            let next = number + 1;
            format!(r##""d{number}":{{"anyOf":[{{"$ref":"#/$defs/d{next}"}},{{"$ref":"#/$defs/d{next}"}}]}}"##)
        })
        .collect();
    let fan = format!(
        r##"{{"properties":{{"a":{{"$ref":"#/$defs/d0"}}}},"$defs":{{{},"d60":{{"type":"integer"}}}}}}"##,
        defs.join(",")
    );
    erp.add_raw(Kind::Tools, &tool("fan", &fan, None));
    let pattern = r#"{"properties":{"a":{"pattern":"^(a+)+$"}}}"#;
    erp.add_raw(Kind::Tools, &tool("pattern", pattern, None));
    let circle = r##"{"properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"oneOf":[{"$ref":"#/$defs/x"},{"$ref":"#/$defs/x"}]}}}"##;
    erp.add_raw(Kind::Tools, &tool("circle", circle, None));
    let weir = Weir::over([&erp])
        .top("guard: { validate: { arguments: refuse } }")
        .start()
        .await;
    weir.wait_tools(["erp__circle", "erp__fan", "erp__pattern", "erp__plain"])
        .await;
    let long = format!(r#"{{"a":"{}!"}}"#, "a".repeat(20_000));
    let before = weir.cpu();
    for client in Client::both(&weir).await {
        for name in ["erp__fan", "erp__circle", "erp__plain"] {
            assert!(
                client.call(name, r#"{"a":"x"}"#).await.succeeded(),
                "{name}"
            );
        }
        refused(&client, "erp__pattern", &long).await;
    }
    let spent = weir.cpu() - before;
    assert!(spent.as_secs() < 5, "{spent:?}");
}

#[tokio::test]
async fn a_reload_puts_other_checks_in_force() {
    let erp = Upstream::named("erp").start().await;
    erp.add_raw(Kind::Tools, &tool("pay", PAY, None));
    let weir = Weir::over([&erp]).unwatched().start().await;
    weir.wait_tools(["erp__pay"]).await;
    let client = weir.modern();
    assert!(client.call("erp__pay", "{}").await.text().ends_with(" {}"));
    let path = weir.home.path().join("weir.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let guard = "guard: { validate: { arguments: refuse } }\n";
    std::fs::write(&path, format!("{guard}{text}")).unwrap();
    let reload = weir.operate("/reload").send().await.unwrap();
    assert!(reload.status().is_success());
    let refused = client.call("erp__pay", "{}").await;
    assert_eq!(refused.value()["isError"], true);
}
