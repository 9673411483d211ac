//! Every place of a message that carries text, one by one: planted there, an address reaches nobody who is not
//! cleared for it.

use crate::support::asking::Asking;
use crate::support::client::{Client, Legacy};
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;

use super::planted::{MAIL, assert_absent, assert_clean};
use super::rules;

/// Ways to write an address in JSON.
const SPELLINGS: [&str; 6] = [
    "ann.planted@example.com",
    r"ann.planted\u0040example.com",
    r"\u0061nn\u002Eplanted\u0040\u0065xample.com",
    r"Ann <ann.planted@example.com>, \ud83d\ude00",
    r"\ud800ann.planted\u0040example.com",
    r"mailto:ann.planted%40example.com?x=1",
];

/// Arguments with a text at each kind of place.
fn arguments(text: &str) -> Vec<String> {
    let within = |text: &str| text.replace('\\', r"\\").replace('"', r#"\""#);
    vec![
        format!("{{\"a\":\"{text}\"}}"),
        format!("{{\"a\":[[{{\"b\":[\"x\",\"{text}\"]}}]]}}"),
        format!("{{\"{text}\":1}}"),
        format!("{{\"a\":{{\"k {text}\":{{\"c\":null}}}}}}"),
        // JSON within text.
        format!(
            "{{\"a\":\"{}\"}}",
            within(&format!("{{\"b\":[\"{text}\"]}}"))
        ),
        format!("{{\"type\":\"{text}\",\"id\":\"{text}\",\"uri\":\"{text}\"}}"),
    ]
}

#[tokio::test]
async fn arguments_of_tools_and_prompts_in_every_spelling() {
    let new = Upstream::named("new")
        .tools(["t"])
        .prompts(["p"])
        .modern()
        .start()
        .await;
    let old = Upstream::named("old")
        .tools(["t"])
        .prompts(["p"])
        .legacy("2025-06-18")
        .start()
        .await;
    let weir = Weir::over([&new, &old]).top(&rules()).state().start().await;
    for caller in Client::both(&weir).await {
        for upstream in ["new", "old"] {
            for arguments in SPELLINGS.iter().flat_map(|text| arguments(text)) {
                let reply = caller.call(&format!("{upstream}__t"), &arguments).await;
                assert!(reply.succeeded(), "{arguments}: {reply:?}");
                let params = format!("{{\"name\":\"{upstream}__p\",\"arguments\":{arguments}}}");
                caller.request("prompts/get", &params).await;
            }
        }
    }
    assert_clean(&[MAIL], &new, &weir);
    assert_clean(&[MAIL], &old, &weir);
}

#[tokio::test]
async fn meta_completions_and_uris() {
    let new = Upstream::named("new")
        .tools(["t"])
        .prompts(["p"])
        .templates(["x://u/{who}"])
        .modern()
        .start()
        .await;
    let weir = Weir::over([&new])
        .upstream("new", "forward_meta: true")
        .top(&rules())
        .state()
        .start()
        .await;
    for caller in Client::both(&weir).await {
        for text in SPELLINGS {
            let ask = caller.ask("tools/call", r#"{"name":"new__t"}"#);
            ask.meta("own/key", &format!("[\"{text}\"]")).send().await;
            let params = format!(
                "{{\"ref\":{{\"type\":\"ref/prompt\",\"name\":\"new__p\"}},\"argument\":{{\"name\":\"who\",\"value\":\"{text}\"}},\"context\":{{\"arguments\":{{\"other\":\"{text}\"}}}}}}"
            );
            caller.request("completion/complete", &params).await;
            // Half a surrogate pair is no URI.
            if !text.contains(r"\ud800") {
                let uri = format!("{{\"uri\":\"x://u/{text}\"}}");
                caller.request("resources/read", &uri).await;
            }
        }
    }
    assert!(new.count("completion/complete") > 0 && new.count("resources/read") > 0);
    assert_clean(&[MAIL], &new, &weir);
}

#[tokio::test]
async fn capabilities_of_a_client() {
    let old = Upstream::named("old")
        .tools(["t"])
        .legacy("2025-11-25")
        .start()
        .await;
    let new = Upstream::named("new").tools(["t"]).modern().start().await;
    let weir = Weir::over([&old, &new])
        .upstream("new", "forward_meta: true")
        .top(&rules())
        .start()
        .await;
    let planted = format!(r#"{{"elicitation":{{}},"experimental":{{"x":{{"who":"{MAIL}"}}}}}}"#);
    let legacy = Legacy::open_with(weir.url(), "2025-11-25", &planted).await;
    assert!(legacy.call("old__t", "{}").await.succeeded());
    let mut modern = weir.modern();
    modern.capabilities = planted;
    for upstream in ["old", "new"] {
        assert!(
            modern
                .call(&format!("{upstream}__t"), "{}")
                .await
                .succeeded()
        );
    }
    assert_clean(&[MAIL], &old, &weir);
    assert_clean(&[MAIL], &new, &weir);
    // Others tell what they can do.
    let able = Legacy::open_with(weir.url(), "2025-11-25", r#"{"elicitation":{}}"#).await;
    assert!(able.call("old__t", "{}").await.succeeded());
    let opened = old.last("initialize");
    assert_eq!(
        opened.value["params"]["capabilities"]["elicitation"],
        serde_json::json!({})
    );
}

#[tokio::test]
async fn progress_and_log_messages_on_their_way_back() {
    let rules = "guard: { redact: { towards_caller: { EMAIL: mask } } }";
    let up = Asking::named("up").tools(["t"]).start().await;
    let weir = Weir::with(&up.yaml()).top(rules).start().await;
    let caller = Legacy::open(weir.url(), "2025-11-25").await;
    let ask = caller.ask(
        "tools/call",
        r#"{"name":"up__t","_meta":{"progressToken":"p"}}"#,
    );
    let (reply, ()) = tokio::join!(ask.send(), async {
        let call = up.call().await;
        let token = call
            .request
            .raw(&["params", "_meta", "progressToken"])
            .unwrap();
        call.say(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1,"message":"asking {MAIL}"}}}}"#
        ))
        .await;
        call.say(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":{{"to":["{MAIL}"]}}}}}}"#
        ))
        .await;
        call.answer(&format!(
            r#"{{"content":[{{"type":"text","text":"{MAIL}"}}]}}"#
        ))
        .await;
    });
    assert_eq!(reply.text(), "[EMAIL]");
    let progress = reply.notifications("notifications/progress");
    assert_eq!(progress[0]["params"]["message"], "asking [EMAIL]");
    let logs = reply.notifications("notifications/message");
    assert_eq!(logs[0]["params"]["data"]["to"][0], "[EMAIL]");
}

#[tokio::test]
async fn what_servers_ask_and_callers_answer() {
    let up = Asking::named("up").tools(["t"]).start().await;
    let guard =
        "guard: { redact: { towards_upstream: { EMAIL: mask }, towards_caller: { EMAIL: mask } } }";
    let weir = Weir::with(&up.yaml()).top(guard).start().await;
    let caller = Legacy::open_with(weir.url(), "2025-11-25", r#"{"elicitation":{}}"#).await;
    let ask = caller.ask("tools/call", r#"{"name":"up__t"}"#);
    let (mut stream, call) = tokio::join!(ask.stream(), async {
        let call = up.call().await;
        call.say(&format!(
            r#"{{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{{"message":"Is it {MAIL}?","requestedSchema":{{"type":"object","properties":{{}}}}}}}}"#
        ))
        .await;
        call
    });
    let asked = stream.next_value().await;
    assert_eq!(asked["params"]["message"], "Is it [EMAIL]?", "{asked}");
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept","content":{{"mail":"{MAIL}","type":"{MAIL}"}}}}}}"#,
        asked["id"]
    );
    caller.post(&body).await;
    let answer = up.answered("\"q\"").await;
    assert_absent(&[MAIL], answer.as_bytes(), "the answer");
    assert!(
        answer.contains(r#"{"mail":"[EMAIL]","type":"[EMAIL]"}"#),
        "{answer}"
    );
    call.answer(r#"{"content":[]}"#).await;
}

#[tokio::test]
async fn results_of_prompts_and_resources() {
    let prompt = format!(
        r#"{{"description":"{MAIL}","messages":[{{"role":"user","content":{{"type":"text","text":"{MAIL}"}}}}],"resultType":"complete"}}"#
    );
    let resource = format!(
        r#"{{"contents":[{{"uri":"x://r","text":"{MAIL}","_meta":{{"a":"{MAIL}"}}}}],"resultType":"complete"}}"#
    );
    let new = Upstream::named("new")
        .answers_as(Kind::Prompts, "p", &prompt)
        .resources(["x://r"])
        .answers_as(Kind::Resources, "x://r", &resource)
        .modern()
        .start()
        .await;
    let guard = "guard: { redact: { towards_caller: { \"*\": mask } } }";
    let weir = Weir::over([&new]).top(guard).start().await;
    for caller in Client::both(&weir).await {
        for (method, params) in [
            ("prompts/get", r#"{"name":"new__p"}"#),
            ("resources/read", r#"{"uri":"x://r"}"#),
        ] {
            let reply = caller.request(method, params).await;
            let result = reply.result();
            assert_absent(&[MAIL], result.as_bytes(), method);
            assert!(result.contains("[EMAIL]"), "{result}");
        }
    }
}
