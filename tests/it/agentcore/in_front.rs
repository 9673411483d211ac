//! An AgentCore Gateway in front of weir: it is told of another catalog, and reads schemas without references.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::aws::{Keyring, Services, Target};
use crate::support::client::{Client, pool};
use crate::support::ran;
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{Builder, Weir};

const SYNCHRONIZE: &str = "PUT /gateways/gw-ab12cdef34/synchronizeTargets";

/// `on_publish`, and the control plane of a gateway that has weir and another server for targets.
async fn gateway(weir: Builder, keys: &Arc<Keyring>) -> (Services, Builder) {
    gateway_after(weir, keys, "300ms").await
}

/// The same, where the catalog has to stay as it is for this long.
async fn gateway_after(weir: Builder, keys: &Arc<Keyring>, debounce: &str) -> (Services, Builder) {
    let services = Services::start(keys).await;
    for name in ["other", "weir"] {
        let mut targets = services.inner.targets.lock().unwrap();
        targets.insert(name.to_owned(), Target::ready());
    }
    let front = "gateway: gw-ab12cdef34, target: weir, region: eu-west-1";
    let front = format!("{front}, debounce: {debounce}");
    let weir = weir.top(&format!("on_publish: {{ synchronize: {{ {front} }} }}"));
    let weir = weir.env([
        ("AWS_ENDPOINT_URL", services.url().to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        (
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        ),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]);
    (services, weir)
}

/// Waits for a state of the synchronization.
async fn wait_told(weir: &Weir, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut told = Value::Null;
    for _ in 0..600 {
        told = weir.admin("/on_publish").await["synchronize"].clone();
        if holds(&told) {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never came to {what}: {told}");
}

/// Waits for so many events of a kind, of which the last is good.
async fn wait_events(weir: &Weir, kind: &str, least: usize) -> Vec<Value> {
    let mut found = Vec::new();
    for _ in 0..600 {
        let all = weir.admin("/events").await;
        let all = all["events"].as_array().unwrap().iter();
        found = all.filter(|one| one["kind"] == kind).cloned().collect();
        if found.len() >= least && found[found.len() - 1]["is_bad"] == false {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no such events: {found:?}");
}

/// The first view of the page for operators.
async fn first_view(weir: &Weir) -> String {
    let asked = pool().get(weir.admin_url("/")).send().await.unwrap();
    asked.text().await.unwrap()
}

async fn wait_done(weir: &Weir, times: u64) -> Value {
    let what = format!("{times} synchronizations");
    wait_told(weir, &what, |told| {
        told["synchronized"].as_u64() >= Some(times) && told["state"] == "done"
    })
    .await
}

#[tokio::test]
async fn a_gateway_in_front_is_told_of_another_catalog_once_it_stays_as_it_is() {
    let jira = Upstream::named("jira").tools(["a"]).start().await;
    // Longer than three resyncs take on a busy machine.
    let (services, weir) = gateway_after(Weir::over([&jira]), &Arc::default(), "3s").await;
    let weir = weir.start().await;
    // It may have listed anything before this weir was started.
    let told = wait_done(&weir, 1).await;
    assert_eq!(
        (&told["gateway"], &told["target"]),
        (&json!("gw-ab12cdef34"), &json!("weir"))
    );
    let synchronized = || {
        let called = services.called().into_iter();
        let called = called.filter(|called| called.what == SYNCHRONIZE);
        called.map(|called| called.body).collect::<Vec<_>>()
    };
    // Only the target that is weir.
    assert_eq!(synchronized(), [json!({"targetIdList": ["weir"]})]);
    // Several changes in a row are one.
    for tool in ["b", "c", "d"] {
        jira.add_tool(tool);
        weir.resync("jira").await;
    }
    let told = wait_done(&weir, 2).await;
    assert_eq!(synchronized().len(), 2);
    assert_eq!(told["last"]["generation"], weir.generation().await);
    // A listing that brings nothing new is no news.
    weir.resync("jira").await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(synchronized().len(), 2);
    assert_eq!(told["failed"], 0);
}

#[tokio::test]
async fn a_gateway_that_cannot_be_told_is_told_again_and_operators_know() {
    let jira = Upstream::named("jira").tools(["a"]).start().await;
    let (services, weir) = gateway(Weir::over([&jira]), &Arc::default()).await;
    services.fail(Some((403, "AccessDeniedException")));
    let weir = weir.start().await;
    let told = wait_told(&weir, "failures", |told| told["failed"].as_u64() >= Some(2)).await;
    assert_eq!(told["state"], "failing", "{told}");
    assert!(told["reason"].as_str().unwrap().contains("403"), "{told}");
    weir.wait_stderr("on_publish.synchronize").await;
    let page = first_view(&weir).await;
    assert!(page.contains("gw-ab12cdef34"), "{page}");
    assert!(
        page.contains("it was not told</span>: ") && page.contains("403"),
        "{page}"
    );
    services.fail(None);
    let told = wait_done(&weir, 1).await;
    assert_eq!(told["reason"], Value::Null);
    let page = first_view(&weir).await;
    assert!(page.contains("it has the catalog"), "{page}");
    let events = wait_events(&weir, "on_publish", 2).await;
    let (first, last) = (&events[0], &events[events.len() - 1]);
    let text = first["text"].as_str().unwrap();
    assert!(
        first["is_bad"] == true && text.contains("could not be told"),
        "{first}"
    );
    assert_eq!(last["text"], "the gateway in front has the catalog");
    // A target that cannot be listed is a failure too, and so is one that is gone.
    let set = |name: &str, then: &[&str]| {
        let mut targets = services.inner.targets.lock().unwrap();
        let target = targets.entry(name.to_owned()).or_insert_with(Target::ready);
        target.then = then.iter().map(|&status| status.to_owned()).collect();
    };
    set("weir", &["SYNCHRONIZING", "SYNCHRONIZE_UNSUCCESSFUL"]);
    jira.add_tool("b");
    weir.resync("jira").await;
    let told = wait_told(&weir, "failing", |told| told["state"] == "failing").await;
    assert!(
        told["reason"].as_str().unwrap().contains("could not list"),
        "{told}"
    );
    services.inner.targets.lock().unwrap().remove("weir");
    let told = wait_told(&weir, "no target", |told| {
        told["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("no target")
    })
    .await;
    assert_eq!(told["state"], "failing");
    set("weir", &["READY"]);
    wait_done(&weir, 2).await;
    assert!(!weir.stderr().contains("planted-in-a-message"));
    // Calls knew nothing of all this.
    for client in Client::both(&weir).await {
        assert!(client.call("jira__a", "{}").await.succeeded());
    }
}

#[tokio::test]
async fn on_a_platform_a_start_is_no_reason_to_be_called() {
    let jira = Upstream::named("jira").tools(["a"]).start().await;
    let weir = Weir::over([&jira]).listen("sessions: platform");
    let (services, weir) = gateway(weir, &Arc::default()).await;
    let weir = weir.start().await;
    weir.wait_told("jira", "state", "up").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(services.count(SYNCHRONIZE), 0);
    let told = weir.admin("/on_publish").await;
    assert_eq!(told["synchronize"]["state"], "idle", "{told}");
    jira.add_tool("b");
    weir.resync("jira").await;
    wait_done(&weir, 1).await;
    assert_eq!(services.count(SYNCHRONIZE), 1);
}

#[tokio::test]
async fn a_reload_brings_and_takes_the_gateway() {
    let jira = Upstream::named("jira").tools(["a"]).start().await;
    let (services, weir) = gateway(Weir::over([&jira]), &Arc::default()).await;
    let weir = weir.start().await;
    wait_done(&weir, 1).await;
    let file = weir.home.path().join("weir.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    let without: Vec<_> = yaml
        .lines()
        .filter(|line| !line.starts_with("on_publish"))
        .collect();
    std::fs::write(&file, without.join("\n")).unwrap();
    wait_told(&weir, "none", Value::is_null).await;
    jira.add_tool("b");
    weir.resync("jira").await;
    std::fs::write(&file, yaml).unwrap();
    wait_done(&weir, 2).await;
    assert_eq!(services.count(SYNCHRONIZE), 2);
}

const NODE: &str = r##"{"name":"walk","title":"Walk","inputSchema":{"type":"object","properties":{"root":{"$ref":"#/$defs/Node"},"n":{"maximum":1.50}},"$defs":{"Node":{"type":"object","properties":{"next":{"$ref":"#/$defs/Node"}}}}},"outputSchema":{"type":"object","properties":{"at":{"$ref":"#/$defs/At"}},"$defs":{"At":{"type":"integer"}}},"x":1e400}"##;

#[tokio::test]
async fn lists_have_schemas_without_references_and_calls_are_checked_by_those_of_the_upstream() {
    for era in ["modern", "2025-11-25"] {
        let up = Upstream::named("up").raw_tool(NODE).tools(["plain"]);
        let up = match era {
            "modern" => up.modern().start().await,
            version => up.legacy(version).start().await,
        };
        let checked = "guard: { validate: { arguments: refuse } }";
        let weir = Weir::over([&up]).listen("schemas: inline").top(checked);
        let weir = weir.start().await;
        let warning = "listen.schemas: `inputSchema` of the tool `walk`";
        let told = weir.wait_told("up", "warnings", warning).await;
        assert!(
            told.to_string().contains("`#/$defs/Node` contains itself"),
            "{told}"
        );
        for client in Client::both(&weir).await {
            let listed = client.list_all("tools/list").await;
            let walk = listed.iter().find(|tool| tool.contains("walk")).unwrap();
            assert!(!walk.contains("$ref") && !walk.contains("$defs"), "{walk}");
            let schema = r#""inputSchema":{"type":"object","properties":{"root":{"type":"object","properties":{"next":{"type":"object"}}},"n":{"maximum":1.50}}}"#;
            assert!(walk.contains(schema), "{walk}");
            let output =
                r#""outputSchema":{"type":"object","properties":{"at":{"type":"integer"}}}"#;
            assert!(
                walk.contains(output) && walk.contains(r#""x":1e400"#),
                "{walk}"
            );
            // The original says more, and it is what counts.
            let wrong = client
                .call("up__walk", r#"{"root":{"next":{"next":7}}}"#)
                .await;
            assert!(wrong.message().contains(r#""isError":true"#), "{wrong:?}");
            let right = client
                .call("up__walk", r#"{"root":{"next":{"next":{}}}}"#)
                .await;
            assert!(!right.message().contains(r#""isError":true"#), "{right:?}");
        }
        // Pins, drift and plans are about what the upstream said.
        up.add_raw(
            Kind::Tools,
            r#"{"name":"more","inputSchema":{"type":"object"}}"#,
        );
        weir.resync("up").await;
        assert_eq!(weir.tool_names().await.len(), 3);
    }
}

#[tokio::test]
async fn check_and_plan_say_which_names_are_too_long_behind_the_gateway() {
    let long = "a-tool-with-a-name-of-some-fifty-characters-in-all";
    let jira = Upstream::named("jira").tools([long, "short"]).start().await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("weir.yaml");
    let yaml = |length: u32| {
        format!(
            "version: 1\nnaming: {{ max_length: {length} }}\non_publish: {{ synchronize: {{ gateway: gw-ab12cdef34, target: orders }} }}\nupstreams: {{ jira: {{ url: \"{}\" }} }}\n",
            jira.url()
        )
    };
    std::fs::write(&file, yaml(64)).unwrap();
    let path = file.to_str().unwrap();
    let checked = ran::weir(["check", "-c", path]).await;
    assert_eq!(checked.code, Some(0));
    assert!(
        checked.err.contains("naming.max_length: 55 or less"),
        "{checked:?}"
    );
    let warning = format!("1 names are too long for models that take 64 characters (jira__{long})");
    let online = ran::weir(["check", "--online", "-c", path]).await;
    assert!(online.out.contains(&warning), "{online:?}");
    let old = home.path().join("old.yaml");
    std::fs::write(&old, yaml(64).replace("orders", "o")).unwrap();
    let planned = ran::weir(["plan", "-c", path, "--against", old.to_str().unwrap()]).await;
    assert!(planned.err.contains(&warning), "{planned:?}");
    std::fs::write(&file, yaml(55)).unwrap();
    let checked = ran::weir(["check", "--online", "-c", path]).await;
    assert!(!checked.out.contains("too long"), "{checked:?}");
}
