//! Limits of what callers may ask for (`limits.rates`): who is refused, with which answer, and who is
//! not concerned.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::face_stdio::Piped;
use crate::support::bounded;
use crate::support::client::{Client, Legacy, Modern, Reply};
use crate::support::principals::Issuer;
use crate::support::ran;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const VERSION: &str = "2025-11-25";

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

async fn up() -> Upstream {
    let up = Upstream::named("up").tools(["search", "other"]);
    up.gate("slow").prompts(["greet"]).start().await
}

/// Weir over it with these rules.
async fn limited(up: &Upstream, rates: &str) -> Weir {
    let weir = Weir::over([up]).top(&format!("limits: {{ rates: [{rates}] }}"));
    weir.start().await
}

/// A client of each era, each at an address of its own.
async fn both(weir: &Weir) -> [Client; 2] {
    [
        Client::Modern(Modern::at(weir.url(), address(4))),
        Client::Legacy(Legacy::open_at(weir.url(), VERSION, address(5)).await),
    ]
}

/// Checks that an answer is the refusal of this rule. Returns the seconds to wait.
fn refused(reply: &Reply, rule: &str) -> u64 {
    assert_eq!(reply.status, 200, "{reply:?}");
    let error = reply.error();
    assert_eq!(error["code"], 429, "{error}");
    assert_eq!(error["data"]["limit"], rule, "{error}");
    let seconds = error["data"]["retryAfterSeconds"].as_u64().unwrap();
    let header = seconds.to_string();
    assert_eq!(reply.header("retry-after"), Some(&*header), "{reply:?}");
    seconds
}

async fn refusals(weir: &Weir, rule: &str) -> u64 {
    weir.metric(&format!("weir_limited_total{{rule=\"{rule}\"}}"))
        .await
}

#[tokio::test]
async fn a_burst_passes_and_then_429_says_when_to_come_back() {
    let up = up().await;
    let weir = limited(&up, "{ name: few, per: caller, requests: 4/1m, burst: 3 }").await;
    for client in both(&weir).await {
        for _ in 0..3 {
            assert!(client.call("up__search", "{}").await.succeeded());
        }
        let seconds = refused(&client.call("up__search", "{}").await, "few");
        assert!((10..=15).contains(&seconds), "{}: {seconds}", client.era());
        // Other methods are not limited, and an unknown tool stays unknown.
        assert!(
            client
                .request("prompts/get", r#"{"name":"up__greet"}"#)
                .await
                .succeeded()
        );
        assert_eq!(client.call("up__nope", "{}").await.code(), -32602);
        assert!(client.tool_names().await.contains(&"up__search".to_owned()));
    }
    assert_eq!(up.count("tools/call"), 6);
    assert_eq!(refusals(&weir, "few").await, 2);
}

#[tokio::test]
async fn a_tool_error_says_the_same_to_models() {
    let up = up().await;
    let rule = "{ per: caller, tools: ['up__s*'], requests: 1/1h, answer: tool_error }";
    let weir = limited(&up, rule).await;
    for client in both(&weir).await {
        assert!(client.call("up__search", "{}").await.succeeded());
        let reply = client.call("up__search", "{}").await;
        let result = reply.value();
        assert_eq!(result["isError"], true, "{result}");
        assert!(reply.text().contains("`rate-1`"), "{result}");
        let kind = client.is_modern().then_some("complete");
        assert_eq!(result["resultType"].as_str(), kind);
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
        assert!(client.call("up__other", "{}").await.succeeded());
    }
    assert_eq!(up.count("tools/call"), 4);
}

#[tokio::test]
async fn calls_at_the_same_time_are_bounded_for_each_caller() {
    let up = up().await;
    let weir = limited(&up, "{ name: slots, per: caller, in_flight: 2 }").await;
    for client in both(&weir).await {
        let before = up.count("tools/call");
        let slow = join_all([0, 1].map(|_| client.call("up__slow", "{}")));
        let rest = async {
            bounded("two calls", async {
                while up.count("tools/call") < before + 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            assert_eq!(refused(&client.call("up__search", "{}").await, "slots"), 1);
            // Another caller has its own.
            let other = Modern::at(weir.url(), address(9));
            assert!(other.call("up__search", "{}").await.succeeded());
            up.release("slow");
            up.release("slow");
        };
        let (done, ()) = tokio::join!(slow, rest);
        assert!(done.iter().all(Reply::succeeded), "{done:?}");
        assert!(client.call("up__search", "{}").await.succeeded());
    }
}

#[tokio::test]
async fn a_call_that_is_cancelled_gives_its_place_back() {
    let up = up().await;
    let weir = limited(&up, "{ name: one, per: all, in_flight: 1 }").await;
    let modern = weir.modern();
    let passes = async || {
        bounded("the place", async {
            while !modern.call("up__search", "{}").await.succeeded() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    let arrived = async |number: usize| {
        bounded("the call", async {
            while up.count("tools/call") < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    // A modern caller hangs up.
    let slow = modern.call("up__slow", "{}");
    tokio::select! {
        reply = slow => panic!("{reply:?}"),
        () = arrived(1) => {}
    }
    passes().await;
    // A legacy one says that it does not want it any more.
    let legacy = weir.legacy(VERSION).await;
    let before = up.count("tools/call");
    let slow = legacy.ask("tools/call", r#"{"name":"up__slow","arguments":{}}"#);
    let rest = async {
        arrived(before + 1).await;
        let cancelled = r#"{"requestId":77}"#;
        legacy.notify("notifications/cancelled", cancelled).await;
    };
    let _ = tokio::join!(slow.id("77").send(), rest);
    passes().await;
}

#[tokio::test]
async fn one_caller_cannot_starve_the_rest() {
    let up = up().await;
    let weir = limited(
        &up,
        "{ per: caller, requests: 100/1h, burst: 20, in_flight: 4 }",
    )
    .await;
    let greedy = Modern::at(weir.url(), address(2));
    let flood = join_all((0..300).map(|_| greedy.call("up__search", "{}")));
    let others = async {
        for last in 20..30 {
            let client = Modern::at(weir.url(), address(last));
            for _ in 0..20 {
                let reply = client.call("up__search", "{}").await;
                assert!(reply.succeeded(), "{reply:?}");
            }
        }
    };
    let (flood, ()) = tokio::join!(flood, others);
    let passed = flood.iter().filter(|reply| reply.succeeded()).count();
    assert!((1..=20).contains(&passed), "{passed}");
    assert_eq!(up.count("tools/call"), passed + 200);
}

#[tokio::test]
async fn principals_have_their_own_whatever_token_and_session_they_use() {
    let (up, issuer) = (up().await, Issuer::new());
    let rule = "limits: { rates: [{ name: mine, per: caller, requests: 3/1h }] }";
    let weir = issuer
        .start(Weir::over([&up]).top(rule), "page_size: 100")
        .await;
    let calls = async |subject: &str| {
        let (one, other) = (issuer.token(subject), issuer.token(subject));
        let legacy = Legacy::open_token(weir.url(), VERSION, &one).await;
        assert!(legacy.call("up__search", "{}").await.succeeded());
        let modern = Modern::with(weir.url(), &other);
        assert!(modern.call("up__search", "{}").await.succeeded());
        let again = Legacy::open_token(weir.url(), VERSION, &other).await;
        assert!(again.call("up__search", "{}").await.succeeded());
        for reply in [
            again.call("up__search", "{}").await,
            modern.call("up__search", "{}").await,
            legacy.call("up__search", "{}").await,
        ] {
            refused(&reply, "mine");
        }
    };
    calls("ann").await;
    calls("bob").await;
    assert_eq!(up.count("tools/call"), 6);
}

#[tokio::test]
async fn each_call_of_a_batch_counts() {
    let up = Upstream::named("up").tools(["search"]).start().await;
    let weir = limited(&up, "{ per: caller, requests: 2/1h }").await;
    let legacy = weir.legacy("2025-03-26").await;
    let call = |id: u32| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "up__search", "arguments": {}}})
    };
    let batch = Value::from_iter((0..5).map(call)).to_string();
    let reply = legacy.post(&batch).await;
    let answers: Vec<Value> = match reply.events.as_slice() {
        [] => serde_json::from_slice(&reply.body).unwrap(),
        events => {
            let events = events.iter();
            events
                .map(|event| serde_json::from_str(event).unwrap())
                .collect()
        }
    };
    let refused = answers.iter().filter(|one| one["error"]["code"] == 429);
    assert_eq!((answers.len(), refused.count()), (5, 3), "{answers:?}");
    assert_eq!(up.count("tools/call"), 2);
}

#[tokio::test]
async fn the_caller_on_stdio_is_limited_too() {
    let up = up().await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("weir.yaml");
    let rule = "{ per: caller, requests: 1/1h }, { name: lists, per: all, methods: [tools/list], requests: 1/1h }";
    let yaml = format!(
        "limits: {{ rates: [{rule}] }}\nupstreams: {{ up: {{ url: \"{}\" }} }}\n",
        up.url()
    );
    std::fs::write(&file, yaml).unwrap();
    let mut weir = Piped::start(&file, true);
    let call = r#"{"name":"up__search","arguments":{}}"#;
    weir.result("1", "tools/call", call).await;
    let refused: Value = serde_json::from_str(&weir.ask("2", "tools/call", call).await).unwrap();
    assert_eq!(refused["error"]["code"], 429, "{refused}");
    assert_eq!(refused["error"]["data"]["retryAfterSeconds"], 3600);
    weir.result("3", "tools/list", "{}").await;
    let refused: Value = serde_json::from_str(&weir.ask("4", "tools/list", "{}").await).unwrap();
    assert_eq!(refused["error"]["data"]["limit"], "lists", "{refused}");
    weir.end().await;
}

#[tokio::test]
async fn answers_count_by_their_bytes() {
    let text = "x".repeat(64 * 1024);
    let answer = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
    let up = Upstream::named("up").answers("large", &answer);
    let up = up.tools(["search"]).start().await;
    let weir = limited(&up, "{ name: bytes, per: caller, bytes: 100KiB/1h }").await;
    for client in both(&weir).await {
        // An answer that is there is not cut, so two pass.
        for _ in 0..2 {
            assert!(client.call("up__large", "{}").await.text().len() == text.len());
        }
        let seconds = refused(&client.call("up__search", "{}").await, "bytes");
        assert!((900..1200).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn a_reload_changes_rules_and_keeps_what_the_others_know() {
    let up = up().await;
    let keeps = "{ name: keeps, per: tool, tools: [up__search], requests: 1/1h }";
    let other = |number: u32| {
        format!(
            "limits: {{ rates: [{keeps}, {{ name: other, per: tool, tools: [up__other], requests: {number}/1h }}] }}"
        )
    };
    let weir = Weir::over([&up]).top(&other(1)).unwatched().start().await;
    let modern = weir.modern();
    for tool in ["up__search", "up__other"] {
        assert!(modern.call(tool, "{}").await.succeeded());
    }
    refused(&modern.call("up__other", "{}").await, "other");
    let path = weir.home.path().join("weir.yaml");
    let yaml = std::fs::read_to_string(&path).unwrap();
    let reload = async |text: String| {
        std::fs::write(&path, text).unwrap();
        let answer = weir.operate("/reload").send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(reload(yaml.replace(&other(1), &other(2))).await, 200);
    refused(&modern.call("up__search", "{}").await, "keeps");
    assert!(modern.call("up__other", "{}").await.succeeded());
    // A rule that is wrong changes nothing.
    assert_eq!(reload(yaml.replace(": 1/1h", ": 0/1h")).await, 422);
    refused(&modern.call("up__search", "{}").await, "keeps");
    assert_eq!(reload(yaml.replace(&other(1), "")).await, 200);
    for tool in ["up__search", "up__other"] {
        assert!(modern.call(tool, "{}").await.succeeded());
    }
}

#[tokio::test]
async fn a_rule_about_tools_that_are_not_listed_is_told_by_check() {
    let up = up().await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("weir.yaml");
    let rule = "{ per: all, tools: ['up__s*', 'down__*'], requests: 1/1h }";
    let yaml = format!(
        "limits: {{ rates: [{rule}] }}\nupstreams: {{ up: {{ url: \"{}\" }} }}\n",
        up.url()
    );
    std::fs::write(&file, yaml).unwrap();
    let ran = ran::weir(["check", "--online", "-c", file.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told = "limits.rates[0].tools[1]: no tool that is listed fits `down__*`";
    assert!(ran.out.contains(told), "{ran:?}");
    assert!(!ran.out.contains("tools[0]"), "{ran:?}");
}
