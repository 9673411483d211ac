//! Upstreams that are child processes, and weir as a process itself.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};

use crate::support::bounded;
use crate::support::weir::{Process, Weir, child_upstream};
use crate::upstreams::{failed, works};

#[tokio::test]
async fn a_child_of_either_era_is_listed_and_callable() {
    for (era, extra) in [
        ("legacy", ""),
        ("modern", ""),
        ("dual", ""),
        ("legacy", "--exit-on-probe"),
        ("legacy", "--silent-on-probe"),
        ("legacy", "--noise"),
    ] {
        let mut args = vec!["--era", era, "--tools", "search,garbage,split"];
        args.extend((!extra.is_empty()).then_some(extra));
        let weir = Weir::with(&child_upstream("kid", &args)).start().await;
        weir.wait_tools(["kid__garbage", "kid__search", "kid__split"])
            .await;
        works(&weir, "kid").await;
        for tool in ["garbage", "split"] {
            let reply = weir
                .modern()
                .call(&format!("kid__{tool}"), r#"{"n":1e400}"#)
                .await;
            assert_eq!(
                reply.text(),
                format!(r#"kid.{tool} {{"n":1e400}}"#),
                "{era} {extra}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_fails_its_call_at_once() {
    for era in ["legacy", "modern"] {
        let args = ["--era", era, "--tools", "search,nan,latin"];
        let weir = Weir::with(&child_upstream("kid", &args)).start().await;
        weir.wait_tools(["kid__latin", "kid__nan", "kid__search"])
            .await;
        for (tool, reason) in [("nan", "not JSON"), ("latin", "not UTF-8")] {
            let started = Instant::now();
            let reply = weir.modern().call(&format!("kid__{tool}"), "{}").await;
            failed(&reply, "kid");
            assert_eq!(reply.error()["data"]["reason"], "the answer is not MCP");
            assert!(started.elapsed() < Duration::from_secs(10), "{era} {tool}");
            weir.wait_told("kid", "last_failed_call/reason", reason)
                .await;
        }
        works(&weir, "kid").await;
    }
}

#[tokio::test]
async fn a_child_that_crashes_fails_that_call_and_is_started_again() {
    let weir = Weir::with(&child_upstream("kid", &["--tools", "search,crash"]))
        .start()
        .await;
    weir.wait_tools(["kid__crash", "kid__search"]).await;
    failed(&weir.modern().call("kid__crash", "{}").await, "kid");
    weir.resync("kid").await;
    works(&weir, "kid").await;
}

/// Waits for the pid that a child wrote.
async fn pid(file: &Path) -> Pid {
    bounded("the child's pid", async {
        loop {
            if let Ok(text) = std::fs::read_to_string(file) {
                return Pid::from_raw(text.parse().unwrap()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Waits until a process is gone. Polls, because the process is not a child of this one.
async fn gone(pid: Pid) {
    bounded("the child's end", async {
        while test_kill_process(pid).is_ok() && !is_zombie(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Returns whether a process is dead but not reaped: a container may have no process that reaps
/// orphans.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn an_interrupt_ends_weir_and_every_child() {
    let home = tempfile::tempdir().unwrap();
    let (calm, deaf) = (home.path().join("calm"), home.path().join("deaf"));
    let yaml = child_upstream("calm", &["--pid", calm.to_str().unwrap()])
        + &child_upstream(
            "deaf",
            &["--ignore-sigterm", "--pid", deaf.to_str().unwrap()],
        );
    let weir = Weir::with(&yaml).start().await;
    let (calm, deaf) = (pid(&calm).await, pid(&deaf).await);
    weir.wait_tools(["calm__echo", "deaf__echo"]).await;
    let (status, _, _) = weir.interrupt().await;
    assert!(status.success(), "{status}");
    gone(calm).await;
    gone(deaf).await;
}

#[tokio::test]
async fn a_killed_weir_leaves_no_orphan() {
    let home = tempfile::tempdir().unwrap();
    let (calm, deaf) = (home.path().join("calm"), home.path().join("deaf"));
    let yaml = child_upstream("calm", &["--pid", calm.to_str().unwrap()])
        + &child_upstream(
            "deaf",
            &["--ignore-sigterm", "--pid", deaf.to_str().unwrap()],
        );
    let weir = Weir::with(&yaml).start().await;
    let (calm, deaf) = (pid(&calm).await, pid(&deaf).await);
    drop(weir);
    gone(calm).await;
    gone(deaf).await;
}

#[tokio::test]
async fn a_child_that_was_killed_comes_back_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pid");
    let yaml = child_upstream(
        "kid",
        &["--tools", "search", "--pid", file.to_str().unwrap()],
    );
    let weir = Weir::with(&yaml).start().await;
    weir.wait_tools(["kid__search"]).await;
    let first = pid(&file).await;
    std::fs::remove_file(&file).unwrap();
    rustix::process::kill_process(first, Signal::KILL).unwrap();
    assert_ne!(pid(&file).await, first);
    weir.resync("kid").await;
    works(&weir, "kid").await;
}

#[tokio::test]
async fn what_a_child_writes_to_stderr_is_in_the_log_under_its_name() {
    let args = ["--flood-stderr", "300000", "--tools", "search"];
    let weir = Weir::with(&child_upstream("kid", &args)).start().await;
    weir.wait_tools(["kid__search"]).await;
    weir.wait_stderr("kid is up").await;
    works(&weir, "kid").await;
    let log = weir.stderr();
    let line = log.lines().find(|line| line.contains("kid is up")).unwrap();
    assert!(line.replace("kid is up", "").contains("kid"), "{line}");
}

#[tokio::test]
async fn a_child_is_told_of_a_cancelled_call() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let args = ["--tools", "hang,search", "--log", log.to_str().unwrap()];
    let weir = Weir::with(&child_upstream("kid", &args)).start().await;
    weir.wait_tools(["kid__hang", "kid__search"]).await;
    let saw = async |what: &str| {
        bounded(what, async {
            while !std::fs::read_to_string(&log)
                .unwrap_or_default()
                .contains(what)
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    };
    let modern = weir.modern();
    tokio::select! {
        reply = modern.call("kid__hang", "{}") => panic!("it hangs: {reply:?}"),
        () = saw("\"hang\"") => {}
    }
    drop(modern);
    saw("\nCANCELLED ").await;
    works(&weir, "kid").await;
}

#[tokio::test]
async fn a_wrong_config_is_refused_whole_with_every_mistake() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("weir.yaml");
    let wrong = "version: 1\nlisten: { adress: 127.0.0.1:0 }\nnaming: { max_length: 5 }\nupstreams:\n  a:\n    url: not a url\n  b:\n    url: http://127.0.0.1:1/mcp\n    auth: { type: bearer }\n  c:\n    command: x\n    url: http://127.0.0.1:1/mcp\n  d:\n    url: http://127.0.0.1:1/mcp\n    resync: often\n";
    std::fs::write(&file, wrong).unwrap();
    for command in ["serve", "check"] {
        let weir = Process::start([command, "-c", file.to_str().unwrap()]);
        let (status, stdout, stderr) = weir.wait_exit().await;
        assert_eq!(status.code(), Some(2), "{command}: {stdout}{stderr}");
        let said = format!("{stdout}{stderr}");
        for position in [":2:", ":3:", ":6:", ":9:", ":11:", ":15:"] {
            assert!(
                said.contains(&format!("weir.yaml{position}")),
                "{position} {said}"
            );
        }
        assert!(said.contains("address"), "a suggestion: {said}");
        assert!(
            said.lines()
                .filter(|line| line.contains("weir.yaml:"))
                .count()
                >= 6,
            "{said}"
        );
    }
}
