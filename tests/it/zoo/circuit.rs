//! An upstream that fails call after call is not called any more, until it answers again.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Zoo, at, beast, beside};
use crate::support::upstream::{Fault, On, Times};
use crate::support::{BOUND, bounded};
use crate::upstreams::failed;

/// So many failures in a row open a circuit.
const FAILURES: usize = 5;

fn calls() -> On {
    On::Tool("search".into())
}

fn says(log: &str, words: &str) -> usize {
    log.lines()
        .filter(|line| line.contains(words) && line.contains("beast"))
        .count()
}

async fn circuit(zoo: &Zoo) -> Value {
    zoo.weir.told("beast").await["circuit"].clone()
}

#[tokio::test]
async fn calls_of_a_hanging_upstream_fail_at_once_and_it_is_found_again_within_a_second() {
    let up = beast().start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        assert_eq!(circuit(zoo).await["state"], "closed");
        up.fault(On::Anything, Times::Forever, Fault::StallHeaders);
        let stalled = (0..FAILURES).map(|_| zoo.call("search"));
        for reply in futures::future::join_all(stalled).await {
            failed(&reply, "beast");
        }
        let told = circuit(zoo).await;
        let state = told["state"].as_str().unwrap();
        assert!(["open", "half-open"].contains(&state), "{told}");
        assert_eq!(told["reason"], "no answer in time");
        // At most one of them is a probe and waits.
        let arrived = up.count("tools/call");
        for _ in 0..10 {
            let reply = zoo.call("search").await;
            failed(&reply, "beast");
            assert_eq!(reply.error()["data"]["reason"], "no answer in time");
        }
        assert!(up.count("tools/call") <= arrived + 3);
        up.heal();
        zoo.weir.wait_told("beast", "circuit/state", "closed").await;
        zoo.works().await;
        let log = zoo.weir.stderr();
        assert_eq!(says(&log, "circuit opens"), 1, "{log}");
        assert_eq!(says(&log, "circuit closes"), 1, "{log}");
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_lists_but_answers_no_call_is_probed_by_calls() {
    let up = beast().start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        zoo.works().await;
        up.fault(calls(), Times::Forever, Fault::Status(503));
        // The first time a good listing vouches for it, the second time only a call will do.
        let mut told = Value::Null;
        let begun = Instant::now();
        while told["state"] != "open" || begun.elapsed() < Duration::from_millis(300) {
            failed(&zoo.call("search").await, "beast");
            told = circuit(zoo).await;
            assert!(begun.elapsed() < BOUND, "{told}");
        }
        let next = told["next_try_in_seconds"].as_f64().unwrap();
        assert!(next <= 2.0, "{told}");
        up.heal();
        bounded("a call that works", async {
            while !zoo.call("search").await.succeeded() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(circuit(zoo).await["state"], "closed");
    })
    .await;
}

#[tokio::test]
async fn what_is_the_callers_or_the_tools_fault_opens_nothing() {
    let refusal = Fault::Error(200, r#"{"code":-32602,"message":"no"}"#.into());
    let up = beast().start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        // A server may fail at the arguments of one caller.
        let fails = Fault::Text(500, "no".into());
        let faults = [refusal, Fault::Text(400, "no".into()), Fault::Status(403)];
        for fault in faults.into_iter().chain([fails, Fault::Status(500)]) {
            up.fault(calls(), Times::Forever, fault);
            for _ in 0..2 * FAILURES {
                assert!(!zoo.call("search").await.succeeded());
            }
            assert_eq!(circuit(zoo).await["state"], "closed");
            up.heal();
        }
        zoo.works().await;
        assert_eq!(says(&zoo.weir.stderr(), "circuit opens"), 0);
    })
    .await;
}
