//! An AgentCore Gateway as upstream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{all_let_in, headers, over, told};
use crate::support::agentcore::{
    Agentcore, Door, GATEWAY, Instead, MCP_SESSION, REGION, Refuses, SIGNED, Script,
};
use crate::support::aws::{Services, Target};
use crate::support::weir::Weir;

const THROTTLED: &str = r#"{"code":-32003,"message":"Rate limit exceeded","data":{"limitKey":"k","metric":"REQUESTS","retryAfter":RETRY}}"#;
/// Settings with which nothing is listed unless a test asks for it.
const QUIET: &str = "resync: 1h";

fn throttled(seconds: u32) -> String {
    THROTTLED.replace("RETRY", &seconds.to_string())
}

async fn signed(setup: impl FnOnce(&mut Script)) -> Agentcore {
    Agentcore::gateway(|script| {
        script.door = Door::signed();
        setup(script);
    })
    .await
}

/// The versions that a gateway was created with.
fn subset(bits: usize) -> Vec<String> {
    let all = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
    let chosen = all
        .iter()
        .enumerate()
        .filter(|(at, _)| bits & (1 << at) != 0);
    chosen.map(|(_, version)| (*version).to_owned()).collect()
}

#[tokio::test]
async fn every_choice_of_versions_is_spoken_whatever_refuses_the_others() {
    let (mut yaml, mut doubles) = (String::new(), Vec::new());
    for refuses in [Refuses::Named, Refuses::Invalid, Refuses::Plain] {
        for bits in 1..16 {
            let double = signed(|script| {
                script.versions = subset(bits);
                script.refuses = refuses;
            })
            .await;
            let name = format!("g{}", doubles.len());
            yaml += &double.yaml(&name, SIGNED, QUIET);
            doubles.push((name, bits, refuses, double));
        }
    }
    let weir = over(&yaml).await;
    let clients = [weir.legacy("2025-06-18").await];
    for (name, bits, refuses, double) in &doubles {
        let newest = subset(*bits).pop().unwrap();
        weir.wait_told(name, "state", "up").await;
        let told = weir.told(name).await;
        assert_eq!(told["version"], newest.as_str(), "{refuses:?} {told}");
        let tool = format!("{name}__refund");
        let modern = weir.modern().call(&tool, "{}").await;
        assert!(modern.succeeded(), "{refuses:?} {bits:b} {modern:?}");
        for legacy in &clients {
            let reply = legacy.call(&tool, "{}").await;
            assert!(reply.succeeded(), "{refuses:?} {bits:b} {reply:?}");
        }
        all_let_in(double);
    }
}

#[tokio::test]
async fn a_gateway_without_sessions_is_sent_none() {
    let corp = signed(|script| script.versions = subset(0b111)).await;
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    let legacy = weir.legacy("2025-11-25").await;
    assert!(legacy.call("corp__refund", "{}").await.succeeded());
    let sent = headers(&corp.arrived(), MCP_SESSION);
    assert!(sent.iter().all(Option::is_none), "{sent:?}");
    // Only POST: the gateway has no other stream.
    assert!(corp.arrived().iter().all(|one| one.http == "POST"));
    all_let_in(&corp);
}

#[tokio::test]
async fn a_session_that_is_forgotten_or_comes_to_be_required_is_opened_again() {
    let corp = signed(|script| script.versions = subset(0b111)).await;
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    let modern = weir.modern();
    assert!(modern.call("corp__refund", "{}").await.succeeded());
    // Sessions are switched on: from now on, requests without one get 400.
    corp.script().sessions = true;
    let before = corp.of("initialize").len();
    assert!(modern.call("corp__refund", "{}").await.succeeded());
    assert_eq!(corp.of("initialize").len(), before + 1);
    let last = corp.of("tools/call").pop().unwrap();
    assert_eq!(last.header(MCP_SESSION), Some("s-1"));
    // Sessions expire: 404.
    corp.forget();
    assert!(modern.call("corp__refund", "{}").await.succeeded());
    assert_eq!(corp.of("initialize").len(), before + 2);
    weir.resync("corp").await;
    assert_eq!(told(&weir, "state").await, "up");
    // A legacy caller has a session of its own.
    let legacy = weir.legacy("2025-11-25").await;
    assert!(legacy.call("corp__refund", "{}").await.succeeded());
    corp.forget();
    assert!(legacy.call("corp__refund", "{}").await.succeeded());
    all_let_in(&corp);
}

#[tokio::test]
async fn pages_of_any_size_make_one_listing() {
    let names: Vec<String> = (0..57)
        .map(|n| format!("target{}___tool_{n}", n % 3))
        .collect();
    for versions in [0b1000, 0b0001] {
        let corp = signed(|script| {
            script.versions = subset(versions);
            script.tools = names.clone();
            script.pages = vec![1, 7, 2, 30];
        })
        .await;
        let more = format!("{QUIET}\nnames: {{ strip: \"^[^_]+___\" }}");
        let weir = over(&corp.yaml("corp", SIGNED, &more)).await;
        let expected: Vec<_> = (0..57).map(|n| format!("corp__tool_{n}")).collect();
        assert_eq!(weir.tool_names().await, expected);
        let reply = weir.modern().call("corp__tool_41", "{}").await;
        assert!(super::text(&reply).starts_with("target2___tool_41 "));
    }
}

#[tokio::test]
async fn the_search_tool_is_where_the_config_wants_it() {
    let search = "x_amz_bedrock_agentcore_search";
    let corp = signed(|script| {
        script.tools = vec![search.to_owned(), "crm___find".to_owned()];
        script.pages = vec![1];
    })
    .await;
    let endpoint = corp.endpoint();
    let yaml: String = ["namespaced", "keep", "hide"]
        .map(|how| {
            let place = format!(
                "gateway: {{ id: {GATEWAY}, region: {REGION}, endpoint: \"{endpoint}\", search: {how} }}"
            );
            corp.yaml_at(how, &place, SIGNED, "names: { strip: \"^[^_]+___\" }")
        })
        .concat();
    let weir = over(&yaml).await;
    let spaced = format!("namespaced__{search}");
    let expected = [
        &spaced,
        "namespaced__find",
        search,
        "keep__find",
        "hide__find",
    ];
    assert_eq!(weir.tool_names().await, expected);
    for name in [&*spaced, search] {
        let reply = weir.modern().call(name, r#"{"query":"orders"}"#).await;
        assert_eq!(
            super::text(&reply),
            format!(r#"{search} {{"query":"orders"}}"#)
        );
    }
}

#[tokio::test]
async fn a_throttled_listing_waits_as_long_as_it_is_told_and_keeps_the_last_one() {
    for status in [200, 429] {
        let corp = signed(|_| ()).await;
        let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
        let generation = weir.generation().await;
        corp.instead("tools/list", 1, Instead::ErrorWithId(status, throttled(2)));
        weir.resync("corp").await;
        let told = weir.told("corp").await;
        assert_eq!(told["state"], "failing", "{told}");
        let reason = told["reason"].as_str().unwrap();
        assert!(
            reason.contains("throttled, to be asked again in 2 s"),
            "{told}"
        );
        assert_eq!(told["circuit"]["state"], "closed");
        let next = told["next_try_in_seconds"].as_f64().unwrap();
        assert!(next > 1.0, "{told}");
        // Weir waits as long by itself; an operator would not have to.
        let (asked, before) = (Instant::now(), corp.of("tools/list").len());
        weir.wait_told("corp", "state", "up").await;
        assert!(asked.elapsed() > Duration::from_secs(1), "{status}");
        assert_eq!(corp.of("tools/list").len(), before + 1);
        assert_eq!(weir.told("corp").await["state"], "up");
        // No caller has seen any of it.
        assert_eq!(weir.generation().await, generation);
    }
}

#[tokio::test]
async fn a_throttled_call_is_the_callers_to_see_and_opens_no_circuit() {
    for (status, versions) in [(200, 0b1000), (429, 0b1000), (200, 0b0100), (429, 0b0100)] {
        let corp = signed(|script| script.versions = subset(versions)).await;
        let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
        let error = throttled(7);
        corp.instead(
            "tools/call",
            20,
            Instead::ErrorWithId(status, error.clone()),
        );
        let legacy = weir.legacy("2025-06-18").await;
        for _ in 0..20 {
            let reply = match versions {
                0b1000 => weir.modern().call("corp__refund", "{}").await,
                _ => legacy.call("corp__refund", "{}").await,
            };
            // Unchanged, byte for byte.
            assert_eq!(reply.raw_error(), error, "{reply:?}");
        }
        let told = weir.told("corp").await;
        assert_eq!(told["circuit"]["state"], "closed", "{told}");
        assert_eq!(told["state"], "up");
        let last = told["last_failed_call"]["reason"].as_str().unwrap();
        assert_eq!(last, "turned away: too many requests (-32003)");
        // Once, not for each call.
        let log = weir.stderr();
        assert_eq!(log.matches("call turned away").count(), 1, "{log}");
        assert!(weir.modern().call("corp__refund", "{}").await.succeeded());
    }
}

#[tokio::test]
async fn empty_lists_under_throttling_are_not_believed_at_once() {
    let corp = signed(|_| ()).await;
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    let generation = weir.generation().await;
    let listed = corp.of("tools/list").len();
    corp.instead("tools/list", 1, Instead::Empty);
    weir.resync("corp").await;
    corp.wait("the second look", |all| {
        all.iter().filter(|one| one.method == "tools/list").count() >= listed + 2
    })
    .await;
    weir.resync("corp").await;
    assert_eq!(weir.tool_names().await.len(), 2);
    assert_eq!(weir.generation().await, generation);
    // An empty answer first, then throttling.
    corp.instead("tools/list", 1, Instead::Empty);
    corp.instead("tools/list", 1, Instead::ErrorWithId(200, throttled(1)));
    weir.resync("corp").await;
    weir.wait_told("corp", "state", "failing").await;
    weir.wait_told("corp", "state", "up").await;
    assert_eq!(weir.generation().await, generation);
}

#[tokio::test]
async fn a_gateway_that_throttles_the_handshake_is_not_taken_for_a_legacy_one() {
    let corp = signed(|_| ()).await;
    corp.instead("server/discover", 1, Instead::Error(200, throttled(1)));
    let weir = over(&corp.yaml("corp", SIGNED, QUIET)).await;
    weir.wait_told("corp", "state", "up").await;
    assert_eq!(told(&weir, "era").await, "modern");
    assert!(corp.of("initialize").is_empty());
}

#[tokio::test]
async fn a_bearer_token_opens_a_gateway_with_a_jwt_door() {
    let corp = Agentcore::gateway(|script| script.door = Door::Bearer("tok".to_owned())).await;
    let auth = "{ type: bearer, token: { value: tok } }";
    let yaml = corp.yaml("corp", auth, QUIET) + &corp.yaml("wrong", SIGNED, QUIET);
    let weir = over(&yaml).await;
    assert!(weir.modern().call("corp__refund", "{}").await.succeeded());
    let wrong = weir.wait_told("wrong", "state", "failing").await;
    let reason = wrong["reason"].as_str().unwrap();
    assert!(reason.contains("takes tokens"), "{reason}");
}

/// The control plane, and the YAML of a gateway whose targets are to be synchronized.
async fn synchronized(corp: &Agentcore) -> (Services, String) {
    let services = Services::start(&Arc::default()).await;
    for name in ["billing", "crm"] {
        let mut targets = services.inner.targets.lock().unwrap();
        targets.insert(name.to_owned(), Target::ready());
    }
    let place = format!(
        "gateway: {{ id: gw-ab12cdef34, region: {REGION}, endpoint: \"{}\", synchronize: true }}",
        corp.endpoint()
    );
    let yaml = corp.yaml_at("corp", &place, SIGNED, QUIET);
    (services, yaml)
}

const SYNCHRONIZE: &str = "PUT /gateways/gw-ab12cdef34/synchronizeTargets";

#[tokio::test]
async fn targets_are_synchronized_and_what_that_brought_is_listed() {
    let corp = signed(|_| ()).await;
    let (services, yaml) = synchronized(&corp).await;
    let url = services.url().to_owned();
    let builder = Weir::with(&yaml).env([("AWS_ENDPOINT_URL", url)]);
    let weir = builder.start().await;
    // The first listing does not wait for the targets.
    assert_eq!(weir.tool_names().await.len(), 2);
    corp.script().tools.push("brand_new".to_owned());
    corp.wait("another listing", |all| {
        all.iter().filter(|one| one.method == "tools/list").count() >= 2
    })
    .await;
    assert_eq!(services.count(SYNCHRONIZE), 2);
    weir.wait_tools(["corp__find_order", "corp__refund", "corp__brand_new"])
        .await;
    // Not at every resync: each synchronization makes the targets list their servers.
    weir.resync("corp").await;
    assert_eq!(services.count(SYNCHRONIZE), 2);
    assert_eq!(told(&weir, "warnings").await.as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_control_plane_that_fails_is_a_warning_and_no_more() {
    let corp = signed(|_| ()).await;
    let (services, yaml) = synchronized(&corp).await;
    services.fail(Some((403, "AccessDeniedException")));
    let url = services.url().to_owned();
    let builder = Weir::with(&yaml).env([("AWS_ENDPOINT_URL", url)]);
    let weir = builder.start().await;
    let told = weir
        .wait_told("corp", "warnings", "gateway.synchronize")
        .await;
    assert_eq!(told["state"], "up", "{told}");
    assert!(weir.modern().call("corp__refund", "{}").await.succeeded());
    weir.resync("corp").await;
    assert_eq!(weir.told("corp").await["state"], "up");
    assert!(!weir.stderr().contains("planted-in-a-message"));
}
