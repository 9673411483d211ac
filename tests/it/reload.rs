//! The config is read again while weir runs: all of it or nothing, and who is not concerned notices nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// The config of a running weir, to be written again.
struct File {
    yaml: String,
    path: std::path::PathBuf,
}

impl File {
    fn of(weir: &Weir) -> Self {
        let path = weir.home.path().join("weir.yaml");
        let yaml = std::fs::read_to_string(&path).unwrap();
        Self { yaml, path }
    }

    /// Writes what it was at first, changed.
    fn write(&self, change: impl FnOnce(&str) -> String) {
        std::fs::write(&self.path, change(&self.yaml)).unwrap();
    }

    /// One upstream more, at the end.
    fn with(&self, name: &str, url: &str) {
        self.write(|yaml| format!("{yaml}  {name}:\n    url: \"{url}\"\n"));
    }
}

/// `POST /reload`: status and answer.
async fn reload(weir: &Weir) -> (u16, Value) {
    let answer = weir.operate("/reload").send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

async fn over(upstreams: &[&Upstream]) -> (Weir, File) {
    // Only the one who asks for a reload is told its outcome.
    let weir = Weir::over(upstreams.iter().copied());
    let weir = weir.unwatched().start().await;
    let file = File::of(&weir);
    (weir, file)
}

/// Many at once, some of them quick: none is listed before the publisher knows of it.
#[tokio::test]
async fn what_is_quick_among_many_new_ones_is_there() {
    let (weir, file) = over(&[]).await;
    let quick = Upstream::named("quick").tools(["a"]).start().await;
    let port = crate::support::free_port();
    let many: String = (0..1500)
        .map(|n| format!("  d{n}: {{ url: \"http://127.0.0.1:{port}/mcp\", resync: 1h }}\n"))
        .collect();
    let quick = format!("  quick: {{ url: \"{}\", resync: 1h }}\n", quick.url());
    file.write(|yaml| {
        let (before, _) = yaml.split_once("upstreams:").unwrap();
        format!("{before}upstreams:\n{quick}{many}")
    });
    assert_eq!(reload(&weir).await.0, 200);
    weir.wait_told("quick", "state", "up").await;
    assert_eq!(weir.tool_names().await, ["quick__a"]);
}

/// They share one tick, and each of them has it.
#[tokio::test]
async fn upstreams_of_one_cron_expression_come_and_go() {
    let ann = Upstream::named("ann").tools(["a"]).silent().start().await;
    let bob = Upstream::named("bob").tools(["b"]).silent().start().await;
    let (weir, file) = over(&[]).await;
    let entry = |up: &Upstream| {
        let (name, url) = (up.name(), up.url());
        format!("  {name}: {{ url: \"{url}\", resync: {{ cron: \"* * * * * *\" }} }}\n")
    };
    let write = async |entries: String| {
        file.write(|yaml| {
            let (before, _) = yaml.split_once("upstreams:").unwrap();
            format!("{before}upstreams:\n{entries}")
        });
        assert_eq!(reload(&weir).await.0, 200);
    };
    write(entry(&ann) + &entry(&bob)).await;
    weir.wait_tools(["ann__a", "bob__b"]).await;
    write(entry(&bob)).await;
    bob.add_tool("c");
    weir.wait_tools(["bob__b", "bob__c"]).await;
    write(entry(&bob) + &entry(&ann)).await;
    weir.wait_tools(["bob__b", "bob__c", "ann__a"]).await;
    ann.add_tool("d");
    weir.wait_tools(["bob__b", "bob__c", "ann__a", "ann__d"])
        .await;
}

#[tokio::test]
async fn an_upstream_is_added_and_removed_while_the_others_stay() {
    let ann = Upstream::named("ann")
        .tools(["a"])
        .legacy("2025-06-18")
        .start()
        .await;
    let bob = Upstream::named("bob").tools(["b"]).start().await;
    let (weir, file) = over(&[&ann]).await;
    weir.wait_tools(["ann__a"]).await;
    let caller = weir.legacy("2025-11-25").await;
    assert_eq!(caller.call("ann__a", "{}").await.text(), "ann.a {}");
    let (sessions, opened) = (ann.sessions(), ann.count("initialize"));
    file.with("bob", &bob.url());
    let (status, told) = reload(&weir).await;
    assert_eq!(
        (status, &told["outcome"]),
        (200, &"applied".into()),
        "{told}"
    );
    assert_eq!(told["added"], serde_json::json!(["bob"]));
    assert_eq!(
        (&told["changed"], &told["removed"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    weir.wait_tools(["ann__a", "bob__b"]).await;
    assert_eq!(caller.call("bob__b", "{}").await.text(), "bob.b {}");
    file.write(str::to_owned);
    let (_, told) = reload(&weir).await;
    assert_eq!(told["removed"], serde_json::json!(["bob"]));
    assert_eq!(told["tools_removed"], serde_json::json!(["bob__b"]));
    assert_eq!(weir.tool_names().await, ["ann__a"]);
    assert_eq!(caller.call("bob__b", "{}").await.code(), -32602);
    assert_eq!(caller.call("ann__a", "{}").await.text(), "ann.a {}");
    assert_eq!(
        (ann.sessions(), ann.count("initialize")),
        (sessions, opened),
        "nobody came anew"
    );
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let (weir, file) = over(&[&ann]).await;
    let before = weir.generation().await;
    let at = async || {
        let told = weir.admin("/explain?name=ann__a").await;
        let at = told["exposed"][0]["upstream"]["at"].as_str().unwrap();
        let (_, line) = at.rsplit_once(':').unwrap();
        line.parse::<usize>().unwrap()
    };
    let line = at().await;
    // Lines move, words do not.
    file.write(|yaml| yaml.replace("upstreams:\n", "# a comment\n\nupstreams:\n"));
    let (status, told) = reload(&weir).await;
    assert_eq!(
        (status, told),
        (200, serde_json::json!({ "outcome": "unchanged" }))
    );
    assert_eq!(weir.generation().await, before);
    assert_eq!(at().await, line + 2, "it says where things stand now");
}

#[tokio::test]
async fn a_wrong_config_is_refused_whole_and_said_everywhere() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let (weir, file) = over(&[&ann]).await;
    weir.wait_tools(["ann__a"]).await;
    file.write(|yaml| format!("{yaml}  bob: {{ url: nowhere }}\n  coy: {{ comand: x }}\n"));
    let (status, told) = reload(&weir).await;
    assert_eq!((status, &told["outcome"]), (422, &"refused".into()));
    let errors = told["errors"].as_array().unwrap();
    assert!(errors.len() >= 2, "{errors:?}");
    assert!(
        errors[0].as_str().unwrap().contains("weir.yaml:"),
        "{errors:?}"
    );
    assert_eq!(weir.tool_names().await, ["ann__a"]);
    let page = weir.admin("/upstreams").await;
    assert_eq!(page["reloads"]["refused"], 1);
    assert_eq!(page["reloads"]["last"]["outcome"]["outcome"], "refused");
    weir.wait_stderr("the config is refused").await;
}

#[tokio::test]
async fn what_is_fixed_is_refused_by_name() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let (weir, file) = over(&[&ann]).await;
    file.write(|yaml| format!("instance: other\nstate: {{ dir: there }}\n{yaml}"));
    let (status, told) = reload(&weir).await;
    assert_eq!(status, 422);
    let errors = told["errors"].to_string();
    assert!(
        errors.contains("`instance` cannot change") && errors.contains("`state` cannot change"),
        "{errors}"
    );
}

#[tokio::test]
async fn a_hangup_reads_the_config_again() {
    let ann = Upstream::named("ann").tools(["a", "b"]).start().await;
    let (weir, file) = over(&[&ann]).await;
    weir.wait_tools(["ann__a", "ann__b"]).await;
    file.write(|yaml| format!("{yaml}    tools: {{ deny: [b] }}\n    namespace: x\n"));
    weir.signal(Signal::HUP);
    weir.wait_tools(["x__a"]).await;
    assert_eq!(weir.modern().call("x__a", "{}").await.text(), "ann.a {}");
}

#[tokio::test]
async fn a_call_under_way_ends_over_the_link_it_began_on() {
    let ann = Upstream::named("ann")
        .tools(["slow"])
        .gate("slow")
        .start()
        .await;
    let (weir, file) = over(&[&ann]).await;
    weir.wait_tools(["ann__slow"]).await;
    let modern = weir.modern();
    let call = TaskTracker::new().spawn(async move { modern.call("ann__slow", "{}").await });
    ann.wait_running("slow", 1).await;
    file.write(|yaml| yaml.replace("ann:", "bob:"));
    let (status, _) = reload(&weir).await;
    assert_eq!(status, 200);
    assert_eq!(weir.modern().call("ann__slow", "{}").await.code(), -32602);
    ann.release("slow");
    assert_eq!(call.await.unwrap().text(), "ann.slow {}");
}

#[tokio::test]
async fn an_upstream_whose_rules_change_lists_what_it_had_while_it_is_connected_anew() {
    let ann = Upstream::named("ann").tools(["a", "b"]).start().await;
    let (weir, file) = over(&[&ann]).await;
    weir.wait_tools(["ann__a", "ann__b"]).await;
    ann.stop().await;
    file.write(|yaml| format!("{yaml}    tools: {{ deny: [b] }}\n"));
    let (_, told) = reload(&weir).await;
    assert_eq!(told["changed"], serde_json::json!(["ann"]));
    assert_eq!(weir.tool_names().await, ["ann__a"]);
    ann.restart().await;
    weir.wait_told("ann", "state", "up").await;
    assert_eq!(weir.modern().call("ann__a", "{}").await.text(), "ann.a {}");
}

/// A few seconds of what `two_hundred_reloads` of the load bench does for a minute.
#[tokio::test]
async fn reloads_under_load_fail_no_call_that_they_do_not_concern() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let bob = Upstream::named("bob").tools(["b"]).start().await;
    let (weir, file) = over(&[&ann, &bob]).await;
    weir.wait_tools(["ann__a", "bob__b"]).await;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut callers = Vec::new();
    for _ in 0..8 {
        let (modern, stop, done) = (weir.modern(), Arc::clone(&stop), Arc::clone(&done));
        callers.push(TaskTracker::new().spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(modern.call("ann__a", "{}").await.text(), "ann.a {}");
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let (changing, ended) = (weir.modern(), Arc::clone(&stop));
    let other = TaskTracker::new().spawn(async move {
        while !ended.load(Ordering::Relaxed) {
            let reply = changing.call("bob__b", "{}").await;
            assert!(reply.succeeded() || reply.code() == -32602, "{reply:?}");
        }
    });
    let connected = ann.count("server/discover");
    for round in 0..20 {
        match round % 5 {
            4 => file.write(|yaml| format!("{yaml}nonsense: true\n")),
            3 => file.write(|yaml| yaml.split("  bob:").next().unwrap().to_owned()),
            _ => file.write(|yaml| format!("{yaml}    resync: {}s\n", 30 + round)),
        }
        let (status, told) = reload(&weir).await;
        assert_eq!(status, if round % 5 == 4 { 422 } else { 200 }, "{told}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    other.await.unwrap();
    assert!(done.load(Ordering::Relaxed) > 100);
    assert_eq!(
        ann.count("server/discover"),
        connected,
        "its connection stays"
    );
}
