//! Child processes that need long to start, as those do that download themselves first.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::bounded;
use crate::support::client::{Reply, pool};
use crate::support::weir::{Weir, child_upstream};
use crate::upstreams::{failed, works};

/// Budgets of everything but the start.
const BUDGETS: &str = "connect: 100ms, list: 2s";
/// Longer than [`BUDGETS`]: what they ended before is ended by now.
const LONG: Duration = Duration::from_secs(3);

/// A child that does not read before a file is there.
struct SlowChild {
    home: tempfile::TempDir,
}

impl SlowChild {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home }
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("up")
    }

    /// The upstream `kid`, with more arguments and more members of `timeouts`.
    fn yaml(&self, args: &[&str], timeouts: &str) -> String {
        let file = self.file();
        let mut all = vec!["--start-when", file.to_str().unwrap()];
        all.extend(args);
        if !args.contains(&"--tools") {
            all.extend(["--tools", "search"]);
        }
        let kid = child_upstream("kid", &all);
        format!("{kid}    timeouts: {{ {BUDGETS}{timeouts} }}\n")
    }

    fn come_up(&self) {
        fs::write(self.file(), "").unwrap();
    }

    fn hang(&self) {
        fs::remove_file(self.file()).unwrap();
    }
}

/// Counts the processes of `kid` that were started.
fn started(weir: &Weir) -> usize {
    weir.stderr().matches("kid is up").count()
}

async fn told(weir: &Weir) -> String {
    let got = pool().get(weir.path("/readyz")).send().await.unwrap();
    got.text().await.unwrap()
}

fn reason(reply: &Reply) -> String {
    failed(reply, "kid");
    reply.error()["data"]["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_child_that_starts_slowly_comes_up_in_its_first_process() {
    for (args, era, processes) in [
        (vec!["--era", "legacy"], "legacy", 1),
        (vec!["--era", "legacy", "--silent-on-probe"], "legacy", 1),
        (vec!["--era", "modern"], "modern", 1),
        (vec!["--era", "dual"], "modern", 1),
        // It takes `initialize` as well, and that came last.
        (vec!["--era", "dual", "--either-era"], "legacy", 1),
        // It ends by itself, so it takes another one.
        (vec!["--era", "legacy", "--exit-on-probe"], "legacy", 2),
    ] {
        let slow = SlowChild::new();
        let weir = Weir::with(&slow.yaml(&args, "")).start().await;
        weir.wait_stderr("kid is up").await;
        tokio::time::sleep(LONG).await;
        let row = weir.told("kid").await;
        assert_eq!(row["state"], "starting", "{args:?}: {row:#}");
        assert!(row["starting_for_seconds"].as_u64() >= Some(2), "{row:#}");
        assert_eq!(started(&weir), 1, "{args:?}: {}", weir.stderr());
        slow.come_up();
        weir.wait_tools(["kid__search"]).await;
        works(&weir, "kid").await;
        let row = weir.told("kid").await;
        assert_eq!((&row["state"], &row["era"]), (&"up".into(), &era.into()));
        assert_eq!(started(&weir), processes, "{args:?}: {}", weir.stderr());
    }
}

#[tokio::test]
async fn nothing_waits_for_a_child_that_starts_slowly() {
    let slow = SlowChild::new();
    let quick = child_upstream("quick", &["--tools", "search"]);
    // `start` waits for readiness.
    let weir = Weir::with(&(slow.yaml(&[], "") + &quick)).start().await;
    weir.wait_tools(["quick__search"]).await;
    works(&weir, "quick").await;
    let ready = told(&weir).await;
    assert!(ready.contains(r#""ready":true"#), "{ready}");
    assert!(ready.contains(r#""starting":["kid"]"#), "{ready}");
    let metrics = pool().get(weir.admin_url("/metrics")).send().await;
    let metrics = metrics.unwrap().text().await.unwrap();
    for line in [
        r#"weir_upstream_starting{upstream="kid"} 1"#,
        r#"weir_upstream_starting{upstream="quick"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_child_that_weir_ends_is_said_to_be_ended_by_weir() {
    let slow = SlowChild::new();
    let weir = Weir::with(&slow.yaml(&[], ", start: 1s")).start().await;
    let said = "weir ended the process, because it did not answer within 1s: if it needs longer, raise `timeouts.start`";
    weir.wait_told("kid", "reason", said).await;
    weir.wait_stderr("weir stopped the process; it ").await;
    // The next process has its time too, and that is said beside the failure of the last one.
    let row = weir.wait_told("kid", "starting_for_seconds", "0").await;
    assert_eq!(row["state"], "failing");
    slow.come_up();
    weir.wait_tools(["kid__search"]).await;
    weir.resync("kid").await;
    works(&weir, "kid").await;
}

#[tokio::test]
async fn a_call_waits_for_a_child_that_starts_within_its_own_time() {
    let slow = SlowChild::new();
    slow.come_up();
    let yaml = slow.yaml(&[], ", call: 1500ms");
    let weir = Weir::with(&yaml).state().start().await;
    weir.wait_tools(["kid__search"]).await;
    let stored = weir.home.path().join("state/listings");
    while fs::read_dir(&stored).is_ok_and(|files| files.count() == 0) || !stored.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    slow.hang();
    let weir = weir.restart().await;
    // Its tools are listed already.
    assert_eq!(weir.tool_names().await, ["kid__search"]);
    let reply = weir.modern().call("kid__search", "{}").await;
    assert_eq!(reason(&reply), "the process is still starting");
    let legacy = weir.legacy("2025-11-25").await;
    let (reply, ()) = tokio::join!(legacy.call("kid__search", "{}"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        slow.come_up();
    });
    assert_eq!(reply.text(), "kid.search {}");
    assert_eq!(started(&weir), 1);
}

#[tokio::test]
async fn a_process_of_a_caller_that_starts_slowly_is_there_for_a_later_call() {
    let slow = SlowChild::new();
    slow.come_up();
    let args = ["--tools", "search,count"];
    let yaml = slow.yaml(&args, ", call: 1500ms") + "    sessions: per_caller\n";
    let weir = Weir::with(&yaml).start().await;
    weir.wait_tools(["kid__count", "kid__search"]).await;
    slow.hang();
    let caller = weir.legacy("2025-11-25").await;
    let (one, two) = tokio::join!(
        caller.call("kid__count", "{}"),
        caller.call("kid__count", "{}")
    );
    for reply in [one, two] {
        assert_eq!(reason(&reply), "the process is still starting");
    }
    slow.come_up();
    assert_eq!(caller.call("kid__count", "{}").await.text(), "1");
    // One that all callers share, and the caller's own.
    assert_eq!(started(&weir), 2, "{}", weir.stderr());
    // A caller that leaves takes its process along.
    slow.hang();
    let other = weir.legacy("2025-11-25").await;
    assert_eq!(
        reason(&other.call("kid__count", "{}").await),
        "the process is still starting"
    );
    other.delete().await;
    weir.wait_stderr("weir stopped the process; it ").await;
}

#[tokio::test]
async fn a_caller_that_leaves_while_its_process_starts_takes_it_along() {
    let slow = SlowChild::new();
    slow.come_up();
    let yaml = slow.yaml(&["--tools", "count"], ", call: 60s") + "    sessions: per_caller\n";
    let weir = Weir::with(&yaml).start().await;
    weir.wait_tools(["kid__count"]).await;
    slow.hang();
    let caller = weir.legacy("2025-11-25").await;
    let leave = async {
        bounded("its process to start", async {
            while started(&weir) < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        caller.delete().await;
        weir.wait_stderr("weir stopped the process; it ").await;
    };
    let (reply, ()) = tokio::join!(caller.call("kid__count", "{}"), leave);
    assert_eq!(reason(&reply), "the session was lost");
    assert_eq!(started(&weir), 2, "{}", weir.stderr());
}

#[test]
fn only_children_have_a_time_to_start_in() {
    let yaml = "version: 1\nupstreams:\n  a: { url: \"http://127.0.0.1:1/mcp\", timeouts: { start: 1s } }\n";
    let wrong = weir::config::parse(yaml, Path::new("weir.yaml"), &|_| None).unwrap_err();
    let wrong = wrong.to_string();
    assert!(wrong.contains("timeouts.start"), "{wrong}");
}

#[tokio::test]
async fn a_missing_interpreter_is_named_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let script = |name: &str, first: &str| {
        let path = home.path().join(name);
        fs::write(&path, format!("{first}\nexit 1\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        path.display().to_string()
    };
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/sh", bin.join("python3")).unwrap();
    let path = bin.display();
    let env = script("env", "#!/usr/bin/env node22");
    let fixed = script("fixed", "#!/opt/no/such/python");
    let windows = script("windows", "#!/bin/sh\r");
    for (command, more, said) in [
        (
            &*env,
            String::new(),
            "is a script for `node22`, and there is no such program in the `PATH` of the process: install it",
        ),
        (
            &*fixed,
            String::new(),
            "is a script for `/opt/no/such/python`, and there is no such program: install it",
        ),
        (
            &*windows,
            String::new(),
            "is a script for `/bin/sh\\\\r`, and there is no such program",
        ),
        (
            "no-such-program",
            String::new(),
            "there is no program `no-such-program` in the `PATH` of the process: install it",
        ),
        (
            "python",
            format!("    env: {{ PATH: \"{path}\" }}\n"),
            "`python3` is there; write that, or install it",
        ),
    ] {
        let yaml = format!("  kid:\n    command: \"{command}\"\n{more}");
        let weir = Weir::with(&yaml).start().await;
        weir.wait_told("kid", "reason", said).await;
    }
}

#[tokio::test]
async fn a_report_about_the_probe_is_not_ninety_log_lines() {
    let args = ["--pydantic", "--tools", "search"];
    let weir = Weir::with(&child_upstream("kid", &args)).start().await;
    weir.wait_tools(["kid__search"]).await;
    weir.wait_stderr(
        "93 more lines of this report are logged at level debug: weir asked `server/discover`",
    )
    .await;
    let log = weir.stderr();
    assert!(
        log.contains("31 validation errors for ClientRequest"),
        "{log}"
    );
    assert!(!log.contains("errors.pydantic.dev"), "{log}");
}
