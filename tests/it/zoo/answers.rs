//! Animals that list well and answer calls badly, or oddly.

use std::time::Duration;

use super::{Zoo, at, beast, beside, beside_with};
use crate::support::upstream::{Fault, On, Shape, Times, Upstream};

async fn started() -> Upstream {
    beast().start().await
}

/// Calls meet `fault`, twice; then all is well again.
async fn answers_with(fault: Fault, public: &str, operators: &str) {
    let up = started().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        up.fault(On::Tool("search".into()), Times::Forever, fault);
        zoo.fails(public, operators).await;
        zoo.fails(public, operators).await;
        up.heal();
        zoo.works().await;
    })
    .await;
}

/// Calls meet `fault` and work all the same.
async fn tolerates(fault: Fault) {
    let up = started().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        up.fault(On::Tool("search".into()), Times::Forever, fault);
        zoo.works().await;
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn stalling_before_the_head() {
    let words = "no answer within the time budget";
    answers_with(Fault::StallHeaders, "no answer in time", words).await;
}

#[tokio::test]
async fn stalling_in_the_middle_of_a_body() {
    let words = "fell silent in the middle of an answer";
    answers_with(Fault::StallBody, "the answer stopped coming", words).await;
}

#[tokio::test]
async fn breaking_off_in_the_middle_of_a_body() {
    let words = "the connection broke off";
    answers_with(Fault::CloseBody, words, words).await;
}

#[tokio::test]
async fn nothing_but_keep_alives() {
    let words = "no answer within the time budget";
    answers_with(Fault::KeepAlives, "no answer in time", words).await;
}

#[tokio::test]
async fn a_web_page() {
    let words = "not MCP: a web page (text/html)";
    answers_with(Fault::Html, "the answer is not MCP", words).await;
}

#[tokio::test]
async fn plain_text() {
    let fault = Fault::Text(200, "Hello.".into());
    let words = "not MCP: text/plain, neither JSON nor an event stream";
    answers_with(fault, "the answer is not MCP", words).await;
}

#[tokio::test]
async fn json_that_is_cut_off() {
    let fault = Fault::Json(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"#.into());
    let words = "not MCP: not JSON";
    answers_with(fault, "the answer is not MCP", words).await;
}

#[tokio::test]
async fn statuses() {
    let http = "answered with an HTTP error";
    let wait = "asks to be left alone for a while";
    let later = "HTTP status 429 Too Many Requests, to be asked again in 7 s";
    let statuses = [
        (401, "weir is not let in", "HTTP status 401 Unauthorized"),
        (403, "weir is not let in", "HTTP status 403 Forbidden"),
        (404, http, "HTTP status 404 Not Found"),
        (500, http, "HTTP status 500 Internal Server Error"),
        (502, http, "HTTP status 502 Bad Gateway"),
        (
            503,
            wait,
            "HTTP status 503 Service Unavailable, to be asked again in 7 s",
        ),
        (429, wait, later),
    ];
    let up = started().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        for (status, public, operators) in statuses {
            let fault = Fault::Later(status, "7".into());
            up.fault(On::Tool("search".into()), Times::Forever, fault);
            zoo.fails(public, operators).await;
            zoo.fails(public, operators).await;
            up.heal();
            zoo.works().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_somebody_else() {
    tolerates(Fault::ForeignId("4711".into())).await;
}

#[tokio::test]
async fn an_id_that_became_a_string() {
    tolerates(Fault::ForeignId("\"1\"".into())).await;
}

#[tokio::test]
async fn the_same_answer_twice() {
    tolerates(Fault::Twice).await;
}

#[tokio::test]
async fn an_answer_of_fifty_megabytes() {
    let up = started().await;
    let yaml = at(&up.url()).replace("call: 800ms", "call: 10s");
    let slack = Duration::from_millis(400);
    // Eight of them would be 400 MB; what there is are buffers that the allocator keeps for the next.
    beside_with(&yaml, slack, 128 << 20, async |zoo: &Zoo| {
        zoo.listed().await;
        for shape in [Shape::Json, Shape::Sse] {
            let flood = Fault::Flood(50 << 20, shape);
            up.fault(On::Tool("search".into()), Times::Forever, flood);
            let words = "the answer is larger than 1048576 bytes";
            zoo.fails("the answer is too large", words).await;
            let eight = futures::future::join_all((0..8).map(|_| zoo.call("search"))).await;
            eight
                .iter()
                .for_each(|reply| crate::upstreams::failed(reply, "beast"));
            up.heal();
            zoo.works().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_as_deep_as_the_sea() {
    let depth = 200_000;
    let deep = format!(
        r#"{{"content":[],"structuredContent":{{"a":{}{}}}}}"#,
        "[".repeat(depth),
        "]".repeat(depth)
    );
    let up = beast().answers("search", &deep).start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        for _ in 0..3 {
            let reply = zoo.call("search").await;
            let message = reply.message();
            // Nobody has to read it to pass it on.
            assert!(
                message.contains(&"[".repeat(depth)),
                "{} bytes",
                message.len()
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_call() {
    let up = beast().gate("slow").start().await;
    let yaml = at(&up.url()).replace("call: 800ms", "call: 5s");
    beside(&yaml, async |zoo: &Zoo| {
        zoo.listed().await;
        let restart = async {
            up.wait_running("slow", 1).await;
            up.restart().await;
        };
        let (reply, ()) = tokio::join!(zoo.call("slow"), restart);
        crate::upstreams::failed(&reply, "beast");
        let reason = &reply.error()["data"]["reason"];
        assert_eq!(reason, "the connection broke off", "{reply:?}");
        zoo.works().await;
        let told = zoo.weir.told("beast").await;
        let reason = told["last_failed_call"]["reason"].as_str().unwrap();
        assert!(reason.contains("the connection broke off"), "{told:#}");
    })
    .await;
}
