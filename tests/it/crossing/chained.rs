//! Legacy callers over modern upstreams, through several weirs and beside calls.

use serde_json::{Value, json};

use crate::support::asking::{Asking, Call};
use crate::support::client::{Legacy, call_params};
use crate::support::weir::Weir;
use crate::support::{at, bounded, quote};

const V: &str = "2025-11-25";
const ABLE: &str =
    r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true}}"#;
const FORM: &str = r#"{"method":"elicitation/create","params":{"mode":"form","message":"\u0041?","requestedSchema":{"type":"object","properties":{}}}}"#;
const SAMPLE: &str =
    r#"{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1e400}}"#;
const ROOTS: &str = r#"{"method":"roots/list"}"#;
const URI: &str = "file:///x";
const EIGHT: &str = r#"["1","2","3","4","5","6","7","8"]"#;

async fn up() -> Asking {
    Asking::named("up")
        .tools(["ask"])
        .resources([URI])
        .modern()
        .start()
        .await
}

/// Starts three weirs, one over the other. The last one is the caller's.
async fn three(up: &Asking) -> [Weir; 3] {
    let near = Weir::with(&up.yaml()).start().await;
    let over = |weir: &Weir| {
        let url = weir.url();
        Weir::with(&format!(
            "  next:\n    url: \"{url}\"\n    namespace: \"\"\n"
        ))
    };
    let middle = over(&near).start().await;
    let far = over(&middle).start().await;
    far.wait_tools(["up__ask"]).await;
    [near, middle, far]
}

fn param(call: &Call, key: &str) -> Option<String> {
    call.request.raw(&["params", key])
}

#[tokio::test]
async fn questions_of_a_modern_upstream_pass_three_weirs_and_so_do_the_answers() {
    let up = up().await;
    let weirs = three(&up).await;
    let caller = Legacy::open_with(weirs[2].url(), V, ABLE).await;
    let asks = [("a", FORM), ("b", SAMPLE), ("c", ROOTS)];
    let answers = [
        r#"{"action":"accept","content":{"n":1e400}}"#,
        r#"{"role":"assistant","content":[],"model":"m"}"#,
        r#"{"roots":[ ]}"#,
    ];
    let asked = asks.map(|(key, ask)| format!("{key:?}:{ask}")).join(",");
    let question = format!(
        r#"{{"resultType":"input_required","inputRequests":{{{asked}}},"requestState":"s\/1"}}"#
    );
    let ask = caller.ask("tools/call", &call_params("up__ask", r#"{"n":1e400}"#));
    let upstream = async { up.call().await.answer(&question).await };
    let (mut stream, ()) = tokio::join!(ask.stream(), upstream);
    for ((_, ask), answer) in asks.into_iter().zip(answers) {
        let message = stream.next().await.unwrap();
        assert_eq!(at(&message, &["method"]), at(ask, &["method"]));
        assert_eq!(at(&message, &["params"]), at(ask, &["params"]));
        let id = at(&message, &["id"]).unwrap();
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#);
        assert_eq!(caller.post(&body).await.status, 202);
    }
    let retry = up.call().await;
    let [a, b, c] = answers;
    let responses = format!(r#"{{"a":{a},"b":{b},"c":{c}}}"#);
    assert_eq!(param(&retry, "inputResponses"), Some(responses));
    assert_eq!(param(&retry, "requestState").as_deref(), Some(r#""s\/1""#));
    let arguments = param(&retry, "arguments");
    assert_eq!(arguments.as_deref(), Some(r#"{"n":1e400}"#));
    let done = r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#;
    retry.answer(done).await;
    assert_eq!(stream.finish().await.text(), "done");
    assert_eq!(up.count("tools/call"), 2);
}

#[tokio::test]
async fn a_call_that_goes_round_or_too_far_asks_nobody() {
    let up = up().await;
    let weir = Weir::with(&up.yaml()).instance("near").start().await;
    let caller = Legacy::open_with(weir.url(), V, ABLE).await;
    for path in [r#"["a","near","b"]"#, EIGHT] {
        let ask = caller.ask("tools/call", &call_params("up__ask", "{}"));
        let reply = ask.meta("weir/path", path).send().await;
        assert_eq!((reply.status, reply.code()), (400, -32600), "{reply:?}");
        assert!(reply.events.is_empty(), "{reply:?}");
    }
    assert_eq!(up.count("tools/call"), 0);
}

#[tokio::test]
async fn what_a_modern_upstream_tells_comes_once_to_each_legacy_caller() {
    let up = up().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let one = Legacy::open_with(weir.url(), V, ABLE).await;
    let two = Legacy::open_with(weir.url(), V, ABLE).await;
    let uri = format!(r#"{{"uri":{}}}"#, quote(URI));
    let mut streams = Vec::new();
    for caller in [&one, &two] {
        assert_eq!(caller.request("ping", "{}").await.result(), "{}");
        let reply = caller.request("resources/subscribe", &uri).await;
        assert_eq!(reply.result(), "{}", "{reply:?}");
        streams.push(caller.listen().await);
    }
    assert_eq!(up.count("ping"), 0, "the modern era has none");
    let follows = |wishes: &Value| wishes["resourceSubscriptions"] == json!([URI]);
    let followed = |up: &Asking| up.listens().iter().filter(|wishes| follows(wishes)).count();
    assert_eq!(followed(&up), 1, "one stream for both");
    assert_eq!(up.updated(URI, &uri).await, 1);
    for stream in &mut streams {
        let told = stream.next_value().await;
        assert_eq!(told["method"], "notifications/resources/updated");
        assert_eq!(told["params"]["uri"], URI);
    }
    // Nothing comes twice: the next message is another one.
    let changed = "notifications/tools/list_changed";
    up.set_tools(&[r#"{"name":"new","inputSchema":{"type":"object"}}"#]);
    let wants = |wishes: &Value| wishes["toolsListChanged"] == true;
    assert!(up.publish(changed, "{}", wants).await > 0);
    for stream in &mut streams {
        assert_eq!(stream.next_value().await["method"], changed);
    }
    assert_eq!(one.tool_names().await, ["up__new"]);
    for caller in [&one, &two] {
        caller.request("resources/unsubscribe", &uri).await;
    }
    let ended = async {
        while followed(&up) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    bounded("the end of the stream", ended).await;
}

#[tokio::test]
async fn what_became_of_questions_is_counted() {
    let up = up().await;
    let weir = Weir::with(&up.yaml()).top("defaults: { timeouts: { ask: 300ms } }");
    let weir = weir.start().await;
    let question = format!(
        r#"{{"resultType":"input_required","inputRequests":{{"a":{FORM}}},"requestState":"s"}}"#
    );
    let done = r#"{"resultType":"complete","content":[]}"#;
    let caller = Legacy::open_with(weir.url(), V, ABLE).await;
    for outcome in [
        Some(r#""result":{"action":"decline"}"#),
        Some(r#""error":{"code":-1,"message":"no"}"#),
        None,
    ] {
        let ask = caller.ask("tools/call", &call_params("up__ask", "{}"));
        let upstream = async { up.call().await.answer(&question).await };
        let (mut stream, ()) = tokio::join!(ask.stream(), upstream);
        let asked = stream.next().await.unwrap();
        if let Some(outcome) = outcome {
            let id = at(&asked, &["id"]).unwrap();
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#);
            caller.post(&body).await;
        }
        up.call().await.answer(done).await;
        assert!(stream.finish().await.succeeded());
    }
    let unable = Legacy::open(weir.url(), V).await;
    let upstream = async { up.call().await.answer(&question).await };
    let (reply, ()) = tokio::join!(unable.call("up__ask", "{}"), upstream);
    assert_eq!(reply.value()["isError"], true, "{reply:?}");
    let expected = json!({"asked": 3, "answered": 1, "expired": 1, "refused": 2});
    let about = weir.admin("/upstreams").await["upstreams"][0].clone();
    assert_eq!(about["asks"], expected);
    for (outcome, count) in [
        ("asked", 3),
        ("answered", 1),
        ("expired", 1),
        ("refused", 2),
    ] {
        let name = format!(r#"weir_asks_total{{upstream="up",outcome="{outcome}"}}"#);
        assert_eq!(weir.metric(&name).await, count, "{name}");
    }
}
