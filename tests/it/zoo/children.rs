//! Animals that are child processes.

use super::{BUDGETS, Zoo, beside};
use crate::support::weir::child_upstream;
use crate::upstreams::failed;

/// A child has to start, which takes Python a while on a busy machine.
fn child(args: &[&str]) -> String {
    let patient = BUDGETS.replace("list: 800ms", "list: 5s");
    child_upstream("beast", args) + &patient
}

#[tokio::test]
async fn garbage_on_stdout() {
    let yaml = child(&["--noise", "--tools", "search,garbage"]);
    beside(&yaml, async |zoo: &Zoo| {
        zoo.listed().await;
        for _ in 0..3 {
            let reply = zoo.call("garbage").await;
            assert_eq!(reply.text(), r#"beast.garbage {"q":1}"#);
        }
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn dying_in_a_call() {
    beside(&child(&["--tools", "search,crash"]), async |zoo: &Zoo| {
        zoo.listed().await;
        let reply = zoo.call("crash").await;
        failed(&reply, "beast");
        assert_eq!(reply.error()["data"]["reason"], "the process ended");
        zoo.weir
            .wait_told("beast", "last_failed_call", "the child process ended")
            .await;
        zoo.weir.resync("beast").await;
        zoo.listed().await;
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn dying_at_once_again_and_again() {
    let yaml = format!("  beast:\n    command: \"false\"\n{BUDGETS}");
    beside(&yaml, async |zoo: &Zoo| {
        let told = zoo.is_out("the child process ended").await;
        assert_eq!(told["tools"], 0);
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_not_there() {
    let yaml = format!("  beast:\n    command: no-such-program-anywhere\n{BUDGETS}");
    beside(&yaml, async |zoo: &Zoo| {
        zoo.is_out("no-such-program-anywhere").await;
    })
    .await;
}

#[tokio::test]
async fn never_a_word() {
    let budgets = BUDGETS.replace("connect:", "start: 1s, connect:");
    let yaml = format!("  beast:\n    command: sleep\n    args: [\"1000\"]\n{budgets}");
    beside(&yaml, async |zoo: &Zoo| {
        zoo.is_out("it did not answer within 1s").await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_on_stderr() {
    let yaml = child(&["--tools", "search", "--flood-stderr", "20000000"]);
    beside(&yaml, async |zoo: &Zoo| {
        zoo.listed().await;
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn deaf_to_sigterm() {
    let args = ["--tools", "search,hang", "--ignore-sigterm"];
    beside(&child(&args), async |zoo: &Zoo| {
        zoo.listed().await;
        let reply = zoo.call("hang").await;
        failed(&reply, "beast");
        assert_eq!(reply.error()["data"]["reason"], "no answer in time");
        zoo.works().await;
    })
    .await;
}
