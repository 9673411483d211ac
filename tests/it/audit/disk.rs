//! A full disk: by a limit of file sizes, which is the same to a program.

use super::*;

/// Sets the limit of file sizes of a running weir; `None` is none.
fn limit(weir: &Weir, bytes: Option<u64>) {
    let pid = rustix::process::Pid::from_raw(weir.pid() as i32);
    let (current, maximum) = (bytes, None);
    let limits = rustix::process::Rlimit { current, maximum };
    rustix::process::prlimit(pid, rustix::process::Resource::Fsize, limits).unwrap();
}

fn size(file: &Path) -> u64 {
    file.metadata().unwrap().len()
}

#[tokio::test]
async fn a_full_disk_refuses_calls_and_nothing_runs_without_its_record() {
    let ups = [upstream("old").await, upstream("new").await];
    let weir = audited(&ups, "").start().await;
    let (modern, legacy) = (weir.modern(), weir.legacy("2025-11-25").await);
    let file = file_of(&weir);
    assert!(modern.call("new__echo", "{}").await.succeeded());
    limit(&weir, Some(size(&file) + 3_000));
    let mut refused = None;
    for call in 0..200 {
        let ask = modern.ask(CALL, &call_params("new__echo", "{}"));
        let reply = ask
            .header("x-request-id", &format!("full-{call}"))
            .send()
            .await;
        if !reply.succeeded() {
            refused = Some(reply);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = refused.expect("a refusal");
    let error = refused.error();
    assert_eq!((refused.status, refused.code()), (200, -32603));
    assert_eq!(error["data"], serde_json::json!({ "reason": "audit" }));
    let legacy_refused = legacy.call("old__echo", "{}").await;
    assert_eq!(legacy_refused.error()["data"]["reason"], "audit");
    assert_eq!(weir.metric("weir_audit_failing").await, 1);
    weir.wait_stderr("records cannot be written").await;
    // Lists need no upstream, and go on.
    assert!(!modern.tool_names().await.is_empty());
    let before = ups[1].count(CALL);
    assert!(!modern.call("new__echo", "{}").await.succeeded());
    assert_eq!(ups[1].count(CALL), before, "it is not sent");
    limit(&weir, None);
    let mut tries = 0;
    while !modern.call("new__echo", "{}").await.succeeded() {
        tries += 1;
        assert!(tries < 100);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(legacy.call("old__echo", "{}").await.succeeded());
    weir.wait_stderr("records are written again").await;
    weir.signal(Signal::TERM);
    wait_stopped(&file).await;
    let lines = lines(&file);
    assert_chain(&lines);
    let ran = |up: &str| {
        let of = |line: &&Line| line["upstream"] == up && line["method"] == CALL;
        lines.iter().filter(of).count()
    };
    assert_eq!(ran("new"), ups[1].count(CALL));
    assert_eq!(ran("old"), ups[0].count(CALL));
    weir.ended().await;
}

#[tokio::test]
async fn with_drop_calls_go_on_and_their_lines_come_later() {
    let up = upstream("new").await;
    let weir = audited([&up], "on_failure: drop").start().await;
    let modern = weir.modern();
    let file = file_of(&weir);
    limit(&weir, Some(size(&file)));
    for call in 0..50 {
        let ask = modern.ask(CALL, &call_params("new__echo", "{}"));
        let reply = ask
            .header("x-request-id", &format!("kept-{call}"))
            .send()
            .await;
        assert!(reply.succeeded());
    }
    weir.wait_stderr("records cannot be written").await;
    limit(&weir, None);
    line_of(&file, "kept-49").await;
    assert_eq!(weir.metric("weir_audit_missing_total").await, 0);
    assert_chain(&lines(&file));
}

#[tokio::test]
async fn lines_that_are_left_out_leave_a_gap_with_their_number() {
    let up = upstream("new").await;
    let weir = audited([&up], "on_failure: drop").start().await;
    let file = file_of(&weir);
    limit(&weir, Some(size(&file)));
    let url = weir.url();
    let callers = (0..32).map(|_| {
        let modern = Modern::new(&url);
        async move {
            for _ in 0..300 {
                modern.request("unknown/method", "{}").await;
            }
        }
    });
    futures::future::join_all(callers).await;
    let missing = weir.metric("weir_audit_missing_total").await;
    assert!(missing > 0);
    limit(&weir, None);
    weir.wait_stderr("records are written again").await;
    weir.signal(Signal::TERM);
    wait_stopped(&file).await;
    let lines = lines(&file);
    assert_chain(&lines);
    let gaps = lines.iter().filter(|line| line["method"] == "weir/gap");
    let told: u64 = gaps
        .map(|line| line["event"]["missing"].as_u64().unwrap())
        .sum();
    assert_eq!(told, missing);
    weir.ended().await;
}

#[tokio::test]
async fn a_weir_whose_disk_is_full_at_its_start_refuses_calls() {
    let up = upstream("new").await;
    let weir = Weir::over([&up]).top("audit: { file: full.jsonl }");
    let weir = weir
        .start_in(|home, yaml| {
            std::os::unix::fs::symlink("/dev/full", home.join("full.jsonl")).unwrap();
            std::fs::write(home.join("weir.yaml"), yaml).unwrap();
        })
        .await;
    weir.wait_stderr("records cannot be written").await;
    let refused = weir.modern().call("new__echo", "{}").await;
    assert_eq!(refused.error()["data"]["reason"], "audit");
    assert_eq!(up.count(CALL), 0);
}

#[tokio::test]
async fn sixty_four_callers_over_a_disk_that_fills_up_and_rotation_leave_a_line_for_each_call() {
    let up = upstream("new").await;
    let weir = audited([&up], "rotate: { bytes: 64KiB }").start().await;
    let (file, url) = (file_of(&weir), weir.url());
    let callers = (0..64).map(|_| {
        let modern = Modern::new(&url);
        async move {
            for _ in 0..20 {
                modern.call("new__echo", "{}").await;
            }
        }
    });
    let fill = async {
        for _ in 0..4 {
            limit(&weir, Some(size(&file) + 3_000));
            weir.wait_stderr("records cannot be written").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            limit(&weir, None);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::join!(futures::future::join_all(callers), fill);
    weir.signal(Signal::TERM);
    wait_stopped(&file).await;
    let home = weir.home.path().to_owned();
    let lines = all_lines(&home.join("audit"));
    assert_chain(&lines);
    verified(&home).await;
    let ran = lines
        .iter()
        .filter(|line| line["upstream_status"] == "result");
    assert_eq!(ran.count(), up.count(CALL));
    let calls = lines.iter().filter(|line| line["method"] == CALL);
    assert_eq!(calls.count(), 64 * 20, "refused ones too");
    weir.ended().await;
}
