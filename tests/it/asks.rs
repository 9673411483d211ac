//! Messages of an upstream besides its answer: log messages (`server/utilities/logging.mdx`), and
//! requests for input.

use crate::support::at;
use crate::support::client::Modern;
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;

const LOG: &str = "notifications/message";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The levels from the least severe to the most (`server/utilities/logging.mdx`).
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

#[tokio::test]
async fn nobody_gets_log_messages_that_were_not_asked_for() {
    let new = Upstream::named("new")
        .logs("talk", LEVELS)
        .modern()
        .start()
        .await;
    let old = Upstream::named("old")
        .logs("talk", LEVELS)
        .legacy("2025-11-25")
        .start()
        .await;
    let weir = Weir::over([&new, &old]).start().await;
    for upstream in ["new", "old"] {
        let reply = weir.modern().call(&format!("{upstream}__talk"), "{}").await;
        assert_eq!(reply.text(), format!("{upstream}.talk {{}}"));
        assert_eq!(reply.notifications(LOG).len(), 0, "{reply:?}");
    }
}

#[tokio::test]
async fn log_messages_are_as_severe_as_was_asked_for() {
    let new = Upstream::named("new")
        .logs("talk", LEVELS)
        .modern()
        .start()
        .await;
    let weir = Weir::over([&new]).start().await;
    let modern = weir.modern();
    for (at, level) in LEVELS.iter().enumerate() {
        let ask = modern.ask("tools/call", r#"{"name":"new__talk"}"#);
        let reply = ask.meta(LOG_LEVEL, &format!("\"{level}\"")).send().await;
        let got: Vec<_> = reply
            .notifications(LOG)
            .iter()
            .map(|note| note["params"]["level"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(got, LEVELS[at..], "{level}");
        let meta = ["params", "_meta", LOG_LEVEL];
        let sent = new.last("tools/call").raw(&meta);
        assert_eq!(
            sent,
            Some(format!("\"{level}\"")),
            "the upstream is told too"
        );
    }
}

/// Declares that the caller can be asked for input.
fn able(mut modern: Modern) -> Modern {
    modern.capabilities = r#"{"elicitation":{}}"#.to_owned();
    modern
}

#[tokio::test]
async fn a_request_for_input_passes_both_ways_untouched() {
    let up = Upstream::named("up")
        .asks_input("who")
        .modern()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let (through, direct) = (able(weir.modern()), able(Modern::new(up.url())));
    let asked = through.call("up__who", r#"{"a":1e400}"#).await;
    assert_eq!(
        asked.result(),
        direct.call("who", r#"{"a":1e400}"#).await.result()
    );
    assert_eq!(asked.value()["resultType"], "input_required");
    assert!(asked.value().get("ttlMs").is_none());
    let capabilities = up.last("tools/call");
    let declared = [
        "params",
        "_meta",
        "io.modelcontextprotocol/clientCapabilities",
    ];
    assert_eq!(
        capabilities.raw(&declared).as_deref(),
        Some(r#"{"elicitation":{}}"#)
    );

    let state = at(&asked.result(), &["requestState"]).unwrap();
    let responses = r#"{ "who":{"content":{"name":"\u0041nn","n":1e400},"action":"accept"} }"#;
    let retry = |state: &str| {
        format!(
            r#"{{"name":"up__who","arguments":{{"a":1e400}},"inputResponses":{responses},"requestState":{state}}}"#
        )
    };
    let done = through.request("tools/call", &retry(&state)).await;
    assert_eq!(done.text(), responses);
    assert_eq!(done.value()["resultType"], "complete");
    let call = up.last("tools/call");
    assert_eq!(
        call.raw(&["params", "inputResponses"]).as_deref(),
        Some(responses)
    );
    assert_eq!(call.raw(&["params", "requestState"]), Some(state));

    let forged = through.request("tools/call", &retry("\"forged\"")).await;
    assert_eq!((forged.status, forged.code()), (200, -32602), "{forged:?}");
}

#[tokio::test]
async fn prompts_and_resources_ask_for_input_too() {
    const ASK: &str = r#"{"resultType":"input_required","requestState":"s\/1","inputRequests":{"who":{"params":{"message":"?"},"method":"elicitation/create"}}}"#;
    let up = Upstream::named("up")
        .answers_as(Kind::Prompts, "greet", ASK)
        .answers_as(Kind::Resources, "file:///a", ASK)
        .modern()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let modern = able(weir.modern());
    for (method, params) in [
        (
            "prompts/get",
            r#"{"name":"up__greet","requestState":"s\/1"}"#,
        ),
        (
            "resources/read",
            r#"{"uri":"file:///a","requestState":"s\/1"}"#,
        ),
    ] {
        let reply = modern.request(method, params).await;
        assert_eq!(reply.result(), ASK);
        let sent = up.last(method).raw(&["params", "requestState"]);
        assert_eq!(sent.as_deref(), Some(r#""s\/1""#));
    }
}

#[tokio::test]
async fn a_caller_that_cannot_be_asked_is_told_what_it_lacks() {
    let needs = r#"{"code":-32021,"message":"needs elicitation","data":{"requiredCapabilities":{"elicitation":{}},"n":1e400}}"#;
    let up = Upstream::named("up")
        .errors("who", needs)
        .modern()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let reply = weir.modern().call("up__who", "{}").await;
    assert_eq!((reply.status, reply.raw_error().as_str()), (400, needs));
    let declared = [
        "params",
        "_meta",
        "io.modelcontextprotocol/clientCapabilities",
    ];
    assert_eq!(up.last("tools/call").raw(&declared).as_deref(), Some("{}"));
}
