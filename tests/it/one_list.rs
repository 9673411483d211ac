//! One list of an upstream that fails costs the others nothing, and itself nothing that it had.

use serde_json::{Value, json};

use crate::support::client::{Client, names, pool};
use crate::support::upstream::{Fault, Kind, On, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};

const PATIENT: &str = "timeouts: { list: 20s }";

/// The ways in which a list fails.
fn failures() -> [Fault; 5] {
    [
        Fault::Error(200, r#"{"code":-32603,"message":"boom"}"#.to_owned()),
        Fault::Status(500),
        Fault::Result(r#"{"prompts":7,"tools":7}"#.to_owned()),
        Fault::Html,
        Fault::Close,
    ]
}

/// A server with one of each kind, which speaks one era.
async fn full(modern: bool) -> Upstream {
    let up = Upstream::named("ann").tools(["t"]).prompts(["p"]);
    let up = up.resources(["file:///r"]).templates(["note://{id}"]);
    let up = if modern {
        up.modern()
    } else {
        up.legacy("2025-11-25")
    };
    up.start().await
}

/// Counts what callers of either era see, by kind.
async fn seen(weir: &Weir) -> [usize; 4] {
    let mut found = Vec::new();
    for caller in Client::both(weir).await {
        let mut counts = [0; 4];
        for (count, kind) in counts.iter_mut().zip(Kind::ALL) {
            *count = caller.list_all(kind.method()).await.len();
        }
        found.push(counts);
    }
    assert_eq!(found[0], found[1]);
    found[0]
}

/// One value of `/metrics`.
async fn metric(weir: &Weir, series: &str) -> String {
    let answer = pool().get(weir.admin_url("/metrics")).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series}: {text}"))
        .trim()
        .to_owned()
}

#[tokio::test]
async fn a_list_that_never_came_costs_the_others_nothing_and_is_said() {
    for modern in [false, true] {
        for (at, failing) in ["prompts/list", "tools/list"].into_iter().enumerate() {
            for fault in failures() {
                let up = full(modern).await;
                up.fault(On::Method(failing.into()), Times::Forever, fault.clone());
                let weir = Weir::over([&up]).start().await;
                let told = weir.wait_told("ann", "state", "up").await;
                let mut expected = [1; 4];
                expected[1 - at] = 0;
                assert_eq!(seen(&weir).await, expected, "{fault:?}, modern: {modern}");
                let lists = &told["failed_lists"];
                assert_eq!(lists[0]["list"], failing, "{told:#}");
                assert!(!lists[0]["reason"].as_str().unwrap().is_empty());
                assert_eq!(lists.as_array().unwrap().len(), 1);
                let kind = failing.split('/').next().unwrap();
                let series = format!("weir_listing_failed{{upstream=\"ann\",kind=\"{kind}\"}}");
                assert_eq!(metric(&weir, &series).await, "1");
                // It comes back by itself, and that is said too.
                up.heal();
                weir.resync("ann").await;
                assert_eq!(seen(&weir).await, [1; 4]);
                assert_eq!(weir.told("ann").await["failed_lists"], json!([]));
                assert_eq!(metric(&weir, &series).await, "0");
            }
        }
    }
}

#[tokio::test]
async fn a_list_that_fails_later_keeps_what_it_had_and_is_logged_once() {
    let up = full(true).await;
    let weir = Weir::over([&up]).state().start().await;
    assert_eq!(seen(&weir).await, [1; 4]);
    up.fault(
        On::Method("prompts/list".into()),
        Times::Forever,
        Fault::Status(500),
    );
    up.add_tool("new");
    for _ in 0..3 {
        weir.resync("ann").await;
    }
    assert_eq!(seen(&weir).await, [2, 1, 1, 1]);
    let told = weir.told("ann").await;
    assert_eq!(
        (&told["state"], &told["prompts"], &told["stale"]),
        (&json!("up"), &json!(1), &json!(true))
    );
    let lines = |text: &str| text.matches("one list fails").count();
    assert_eq!(lines(&weir.stderr()), 1, "{}", weir.stderr());
    assert!(
        weir.modern()
            .request("prompts/get", r#"{"name":"ann__p"}"#)
            .await
            .succeeded()
    );
    // The stored listing has it as well.
    let weir = weir.restart().await;
    weir.wait_told("ann", "state", "up").await;
    assert_eq!(seen(&weir).await, [2, 1, 1, 1]);
    up.heal();
    weir.wait_told("ann", "failed_lists", "[]").await;
    weir.wait_stderr("the list that failed comes again").await;
}

#[tokio::test]
async fn a_list_that_hangs_holds_up_no_other() {
    for modern in [false, true] {
        let up = full(modern).await;
        up.fault(
            On::Method("prompts/list".into()),
            Times::Forever,
            Fault::StallHeaders,
        );
        let builder = Weir::over([&up]).upstream("ann", PATIENT);
        let start = tokio::time::Instant::now();
        let mut weir = None;
        let starting = async { weir = Some(builder.listen("page_size: 100").start().await) };
        // It is ready when the whole listing has ended; callers see the tools long before.
        starting.await;
        let weir = weir.unwrap();
        let took = start.elapsed();
        assert!(
            took.as_secs() < 26,
            "one list timeout, not several: {took:?}"
        );
        assert_eq!(seen(&weir).await, [1, 0, 1, 1]);
        up.add_tool("new");
        let start = tokio::time::Instant::now();
        up.notify_list_changed(Kind::Tools);
        weir.wait_tools(["ann__t", "ann__new"]).await;
        let took = start.elapsed();
        assert!(took.as_secs() < 15, "tools waited for prompts: {took:?}");
    }
}

#[tokio::test]
async fn no_list_of_use_is_a_failure_of_the_upstream() {
    let up = full(true).await;
    up.fail_lists(Times::Forever, 500);
    let weir = Weir::over([&up]).start().await;
    let told = weir.wait_told("ann", "state", "failing").await;
    assert_eq!(told["reason"], "HTTP status 500 Internal Server Error");
}

#[tokio::test]
async fn null_where_a_list_belongs_is_an_empty_one() {
    for modern in [false, true] {
        let up = full(modern).await;
        let stamps =
            r#""ttlMs":600000,"cacheScope":"public","resultType":"complete","nextCursor":null"#;
        let null = format!(r#"{{"prompts":null,{stamps}}}"#);
        up.fault(
            On::Method("prompts/list".into()),
            Times::Forever,
            Fault::Result(null),
        );
        let weir = Weir::over([&up]).start().await;
        let told = weir.wait_told("ann", "state", "up").await;
        assert_eq!(told["failed_lists"], json!([]));
        assert_eq!(seen(&weir).await, [1, 0, 1, 1]);
    }
}

#[tokio::test]
async fn an_empty_cursor_ends_the_list_of_a_peer_of_an_older_revision() {
    let tool = r#"{"name":"t","inputSchema":{"type":"object"}}"#;
    let page = format!(r#"{{"tools":[{tool}],"nextCursor":"","ttlMs":0,"cacheScope":"public"}}"#);
    for (modern, tools) in [(false, 1), (true, 0)] {
        let up = full(modern).await;
        up.fault(
            On::Method("tools/list".into()),
            Times::Forever,
            Fault::Result(page.clone()),
        );
        let weir = Weir::over([&up]).start().await;
        weir.wait_told("ann", "state", "up").await;
        assert_eq!(seen(&weir).await, [tools, 1, 1, 1], "modern: {modern}");
        let sent = up.last("tools/list").value["params"]["cursor"].clone();
        assert_eq!(sent, if modern { json!("") } else { Value::Null });
    }
}

#[tokio::test]
async fn one_list_of_a_child_fails_alone_too() {
    let error = r#"prompts/list={"code":-32603,"message":"boom"}"#;
    for era in ["legacy", "modern"] {
        for fault in [error, r#"prompts/list={"prompts":7}"#, "prompts/list=hang"] {
            let args = ["--era", era, "--prompts", "p", "--fault", fault];
            let yaml = child_upstream("ann", &args) + "    timeouts: { list: 3s }\n";
            let weir = Weir::with(&yaml).start().await;
            let told = weir.wait_told("ann", "failed_lists", "prompts/list").await;
            assert_eq!(told["state"], "up", "{told:#}");
            let tools = weir.modern().list_all("tools/list").await;
            assert_eq!(names(&tools, "name"), ["ann__echo"], "{era} {fault}");
        }
    }
}

#[tokio::test]
async fn check_says_which_list_fails() {
    let up = full(true).await;
    up.fault(
        On::Method("prompts/list".into()),
        Times::Forever,
        Fault::Status(500),
    );
    let home = tempfile::tempdir().unwrap();
    let yaml = Weir::over([&up]).yaml(1, 2);
    std::fs::write(home.path().join("weir.yaml"), yaml).unwrap();
    let config = home.path().join("weir.yaml");
    let args = ["check", "--online", "-c", config.to_str().unwrap()];
    let (status, out, _) = crate::support::weir::Process::start(args).wait_exit().await;
    assert_eq!(status.code(), Some(1), "{out}");
    let line = "ann: prompts/list fails: HTTP status 500 Internal Server Error";
    assert!(out.contains(line), "{out}");
}

#[tokio::test]
async fn a_plan_takes_a_kind_that_was_not_listed_for_no_removal() {
    let up = full(true).await;
    let weir = Weir::over([&up]).start().await;
    up.fault(
        On::Method("prompts/list".into()),
        Times::Forever,
        Fault::Status(500),
    );
    let config = weir.home.path().join("weir.yaml");
    let changed = std::fs::read_to_string(&config).unwrap();
    let changed = changed.replace("    url:", "    timeouts: { idle: 59s }\n    url:");
    let next = weir.home.path().join("next.yaml");
    std::fs::write(&next, changed).unwrap();
    let against = weir.admin_url("");
    let args = ["plan", "-c", next.to_str().unwrap(), "--against", &against];
    let (status, out, err) = crate::support::weir::Process::start(args).wait_exit().await;
    assert!(!out.contains("ann__p"), "{out}{err}");
    assert!(
        format!("{out}{err}").contains("prompts/list fails"),
        "{out}{err}"
    );
    assert_ne!(status.code(), Some(2), "{out}{err}");
}

#[tokio::test]
async fn an_upstream_without_tools_is_said_to_have_none() {
    let up = Upstream::named("ann").modern().prompts(["p"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let told = weir.wait_told("ann", "state", "up").await;
    let expected = "lists no tools, though it announces the capability `tools`";
    assert_eq!(told["warnings"], json!([expected]));
    weir.resync("ann").await;
    assert_eq!(weir.stderr().matches(expected).count(), 1);
    up.add_tool("t");
    weir.resync("ann").await;
    assert_eq!(weir.told("ann").await["warnings"], json!([]));

    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let welcome = r#"initialize={"protocolVersion":"2025-11-25","capabilities":{"tools":null,"prompts":{}},"serverInfo":{"name":"bob","version":"1"}}"#;
    let args = [
        "--prompts",
        "p",
        "--fault",
        welcome,
        "--log",
        log.to_str().unwrap(),
    ];
    let weir = Weir::with(&child_upstream("bob", &args)).start().await;
    let told = weir
        .wait_told("bob", "warnings", "does not announce the capability")
        .await;
    assert_eq!(
        (&told["state"], &told["prompts"]),
        (&json!("up"), &json!(1)),
        "{told:#}"
    );
    assert!(!std::fs::read_to_string(log).unwrap().contains("tools/list"));
}
