//! Hosted by Amazon Bedrock AgentCore Runtime: weir is healthy from the start, answers whoever comes first, and three
//! hours of it leave nothing behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::agentcore::{Agentcore, Door, SIGNED};
use crate::support::aws::{KEY, SECRET, Services};
use crate::support::bounded;
use crate::support::client::{Legacy, Modern, call_params};
use crate::support::principals::Issuer;
use crate::support::runtime::{CUSTOM, Machine, Runtime, Settings, USER};
use crate::support::upstream::{Fault, On, Times, Upstream};

/// Nothing is listed unless weir starts.
const QUIET: &str = "resync: 1h";

fn over(upstreams: &[&Upstream]) -> Settings {
    let lines = upstreams.iter().map(|upstream| {
        let (name, url) = (upstream.name(), upstream.url());
        format!("  {name}: {{ url: \"{url}\", {QUIET} }}\n")
    });
    Settings::over(&lines.collect::<String>())
}

/// Posts a body with curl, which knows nothing of MCP, and returns the last message.
async fn curl(url: &str, body: &Value) -> Value {
    let mut command = Command::new("curl");
    command.args(["-s", "-S", "-N", "--max-time", "20", "-X", "POST", url]);
    for header in [
        "content-type: application/json",
        "accept: application/json, text/event-stream",
    ] {
        command.args(["-H", header]);
    }
    command.args(["-d", &body.to_string()]);
    let output = bounded("curl", command.output()).await;
    let output = output.expect("this test needs curl");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let message = events.next_back().unwrap_or(&text);
    serde_json::from_str(message).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

fn request(id: u32, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn names(answer: &Value) -> BTreeSet<String> {
    let tools = answer["result"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("no list: {answer}")).iter();
    tools
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn curl_gets_four_answers_and_each_is_the_first_of_a_machine() {
    let search = "x_amz_bedrock_agentcore_search";
    let gateway = Agentcore::gateway(|script| {
        script.door = Door::signed();
        script.tools = [search, "crm___find", "crm___refund"]
            .map(str::to_owned)
            .to_vec();
    })
    .await;
    let place = format!(
        "gateway: {{ id: tools-ab12cdef34, region: eu-west-1, endpoint: \"{}\", search: keep }}",
        gateway.endpoint()
    );
    let yaml = gateway.yaml_at("corp", &place, SIGNED, QUIET);
    let runtime = Runtime::start(Settings::over(&yaml)).await;
    let url = runtime.url();
    let client = json!({ "name": "curl", "version": "8" });
    let opened =
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    let opened = curl(&url, &request(1, "initialize", opened)).await;
    assert_eq!(opened["result"]["protocolVersion"], "2025-06-18");
    let listed = curl(&url, &request(2, "tools/list", json!({}))).await;
    let expected = [search, "corp__crm___find", "corp__crm___refund"].map(str::to_owned);
    assert_eq!(names(&listed), BTreeSet::from(expected));
    let asked = json!({ "name": "corp__crm___find", "arguments": { "orderId": 7 } });
    let called = curl(&url, &request(3, "tools/call", asked)).await;
    let text = called["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("crm___find") && text.contains("orderId"),
        "{called}"
    );
    let asked = json!({ "name": search, "arguments": { "query": "orders" } });
    let found = curl(&url, &request(4, "tools/call", asked)).await;
    assert!(found["result"]["content"].is_array(), "{found}");
    assert_eq!((runtime.started(), found["id"].as_u64()), (4, Some(4)));
    runtime.assert_content();
}

#[tokio::test]
async fn whoever_comes_first_gets_the_whole_list_and_meanwhile_weir_is_healthy() {
    // Another runtime, which takes a while to start.
    let slow = Agentcore::runtime(|script| {
        script.door = Door::signed();
        script.cold = Duration::from_millis(700);
    })
    .await;
    let settings = Settings {
        ping: Duration::from_millis(10),
        ..Settings::over(&slow.yaml("slow", SIGNED, QUIET))
    };
    let runtime = Runtime::start(settings).await;
    let expected = ["slow__find_order", "slow__refund"].map(str::to_owned);
    let listed = curl(&runtime.url(), &request(1, "tools/list", json!({}))).await;
    assert_eq!(names(&listed), BTreeSet::from(expected.clone()));
    let pings = runtime.pings();
    assert!(pings > 10, "{pings} pings were answered meanwhile");
    let mut modern = Modern::new(runtime.url()).tool_names().await;
    modern.sort();
    assert_eq!(modern, expected);
    let asked = json!({ "name": "slow__refund", "arguments": {} });
    let called = curl(&runtime.url(), &request(2, "tools/call", asked)).await;
    assert!(called["result"]["content"].is_array(), "{called}");
    runtime.assert_content();
}

#[tokio::test]
async fn an_upstream_that_never_answers_keeps_nobody_waiting_for_longer_than_its_list_may_take() {
    let well = Upstream::named("well").tools(["search"]).start().await;
    let ill = Upstream::named("ill").tools(["x"]).silent().start().await;
    let yaml = format!(
        "  well: {{ url: \"{}\", {QUIET} }}\n  ill: {{ url: \"{}\", {QUIET}, timeouts: {{ list: 1s }} }}\n",
        well.url(),
        ill.url()
    );
    ill.fault(On::Anything, Times::Forever, Fault::StallHeaders);
    let runtime = Runtime::start(Settings::over(&yaml)).await;
    let listed = curl(&runtime.url(), &request(1, "tools/list", json!({}))).await;
    assert!(names(&listed).contains("well__search"), "{listed}");
    runtime.assert_content();
}

#[tokio::test]
async fn clients_of_both_eras_work_whatever_the_platform_makes_of_ids() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    for restless in [false, true] {
        let runtime = Runtime::start(Settings {
            restless,
            ..over(&[&jira])
        })
        .await;
        for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let client = Legacy::open(runtime.url(), version).await;
            assert_eq!(client.version, version);
            assert_eq!(client.tool_names().await, ["jira__search"]);
            for _ in 0..3 {
                let reply = client.call("jira__search", "{}").await;
                assert!(reply.succeeded(), "{version} {restless}: {reply:?}");
            }
        }
        // Each client has a machine, which it stays with.
        assert_eq!(runtime.started(), 3);
        let modern = Modern::new(runtime.url());
        assert_eq!(modern.tool_names().await, ["jira__search"]);
        assert!(modern.call("jira__search", "{}").await.succeeded());
        runtime.assert_content();
    }
}

#[tokio::test]
async fn a_session_goes_on_in_a_new_machine_when_its_own_was_idle() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let runtime = Runtime::start(Settings {
        idle: Duration::from_millis(300),
        ping: Duration::from_millis(20),
        ..over(&[&jira])
    })
    .await;
    let client = Legacy::open(runtime.url(), "2025-11-25").await;
    for lives in 1..4 {
        let reply = client.call("jira__search", "{}").await;
        assert!(reply.succeeded(), "{reply:?}");
        assert_eq!(runtime.started(), lives);
        runtime.wait_ended(lives).await;
    }
    assert_eq!(runtime.machines().len(), 0);
    runtime.assert_content();
}

/// Tasks, descriptors and sessions of a machine when nothing is under way.
async fn at_rest(machine: &Machine) -> [f64; 3] {
    let mut before = [f64::MAX; 3];
    for _ in 0..200 {
        let gauges = machine.gauges().await;
        let now =
            ["weir_tasks", "process_open_fds", "weir_legacy_sessions"].map(|name| gauges[name]);
        if gauges["weir_calls_in_flight"] == 0.0 && now == before {
            return now;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never rests: {before:?}");
}

#[tokio::test]
async fn three_hours_of_pings_and_calls_leave_nothing_behind() {
    /// A ping each 2 s for an hour.
    const PINGS: usize = 1_800;
    /// A call each 10 s for an hour, of each of the two eras.
    const CALLS: usize = 180;
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let settings = Settings {
        ping: Duration::from_millis(1),
        ..over(&[&jira])
    };
    let runtime = Runtime::start(settings).await;
    let client = Legacy::open(runtime.url(), "2025-11-25").await;
    let session = client.session.clone().unwrap();
    let modern = Modern::new(runtime.url());
    let machine = runtime.machines().remove(0);
    let mut hours = Vec::new();
    for _ in 0..3 {
        for _ in 0..CALLS {
            assert!(client.call("jira__search", "{}").await.succeeded());
            let ask = modern.ask("tools/list", "{}");
            let reply = ask.header("mcp-session-id", &session).send().await;
            assert!(reply.succeeded(), "{reply:?}");
        }
        runtime.wait_pings(PINGS).await;
        hours.push((at_rest(&machine).await, machine.process().peak_memory()));
    }
    let [(first, _), (_, second), (last, third)] = *hours else {
        panic!("three hours")
    };
    // The scrapes have a connection of their own, and so have pings.
    for (first, last) in first.iter().zip(last) {
        assert!(last <= first + 2.0, "{hours:?}");
    }
    assert!(third < second + 4 * 1024 * 1024, "{hours:?}");
    assert_eq!(runtime.started(), 1);
    runtime.assert_content();
}

/// An upstream that weir calls with what AgentCore Identity gives for the workload token of the request.
fn on_behalf(up: &Upstream, services: &Services) -> Settings {
    let identity = "{ type: agentcore_identity, provider: up, region: eu-west-1, scopes: [a], subject: workload_token }";
    let listing = "{ type: bearer, token: { value: opaque } }";
    let yaml = format!(
        "  up: {{ url: \"{}\", {QUIET}, auth: {identity}, listing_auth: {listing} }}\n",
        up.url()
    );
    Settings {
        env: vec![
            (
                "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE",
                services.url().to_owned(),
            ),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ],
        ..Settings::over(&yaml)
    }
}

/// The workload tokens that were exchanged. Weir gets none for itself.
fn exchanged(services: &Services) -> Vec<String> {
    let called = services.called().into_iter();
    called
        .map(|called| {
            assert_eq!(called.what, "POST /identities/oauth2/token");
            assert_eq!(called.body["oauth2Flow"], "ON_BEHALF_OF_TOKEN_EXCHANGE");
            let token = called.body["workloadIdentityToken"].as_str();
            token.unwrap().to_owned()
        })
        .collect()
}

/// A workload token goes to AgentCore Identity and nowhere else.
async fn assert_kept(runtime: &Runtime, up: &Upstream) {
    for request in &up.log().seen().requests {
        let whole = format!("{:?} {:?}", request.headers, request.body);
        assert!(!whole.contains("planted-wat"), "{whole}");
    }
    for machine in runtime.machines() {
        let told = machine.admin("/upstreams").await + &machine.process().stderr();
        assert!(!told.contains("planted-wat"), "{told}");
    }
}

#[tokio::test]
async fn each_user_of_a_signed_runtime_is_itself_at_an_upstream_of_agentcore_identity() {
    let services = Services::start(&Arc::default()).await;
    let up = Upstream::named("up")
        .tools(["search", "pay"])
        .bearer("opaque");
    let up = up.modern().start().await;
    let policy = "@id(\"all\") permit(principal, action, resource)\n  when { principal.hasTag(\"department\") && principal.getTag(\"department\") == \"payments\" };\n";
    let platform = format!(
        "subject_header: {USER}, workload_token: true, claims: {{ department: {CUSTOM}department }}, from: [127.0.0.0/8]"
    );
    let mut settings = on_behalf(&up, &services);
    settings.listen = format!("auth: {{ platform: {{ {platform} }} }}");
    settings.config += "policy: { files: [all.cedar] }\n";
    settings.files = vec![("all.cedar", policy.to_owned())];
    let runtime = Runtime::start(settings).await;
    let department = format!("{CUSTOM}department");
    for (user, is_cleared) in [("ada", true), ("bob", true), ("eve", false)] {
        let modern = Modern::new(runtime.url());
        for _ in 0..2 {
            let ask = modern.ask("tools/call", &call_params("up__search", "{}"));
            let ask = ask.header(USER, user).header("mcp-session-id", "one");
            // A client's own says nothing.
            let ask = ask.header("workloadaccesstoken", "planted-wat.forged");
            let value = if is_cleared { "payments" } else { "sales" };
            let reply = ask.header(&department, value).send().await;
            assert_eq!(reply.succeeded(), is_cleared, "{user}: {reply:?}");
        }
    }
    let exchanged = exchanged(&services);
    let users: Vec<_> = exchanged
        .iter()
        .map(|token| token.split('.').nth(1).unwrap())
        .collect();
    assert_eq!(users, ["ada", "bob"]);
    // Without a user, nobody is let in.
    let reply = Modern::new(runtime.url()).call("up__search", "{}").await;
    assert_eq!(reply.status, 401);
    assert_kept(&runtime, &up).await;
    runtime.assert_content();
}

#[tokio::test]
async fn the_token_of_a_caller_says_who_it_is_and_the_workload_token_goes_with_it() {
    let (services, issuer) = (Services::start(&Arc::default()).await, Issuer::new());
    let up = Upstream::named("up").tools(["search"]).bearer("opaque");
    let up = up.legacy("2025-11-25").start().await;
    let mut settings = on_behalf(&up, &services);
    let platform = "platform: { workload_token: true, from: [127.0.0.0/8] }";
    let auth = Issuer::auth("weir");
    let auth = auth.strip_prefix("auth: {").unwrap();
    settings.listen = format!("auth: {{ public_url: 'https://w.example/mcp', {platform}, {auth}");
    settings.files = vec![("jwks.json", issuer.jwks())];
    settings.allowed = vec!["Authorization"];
    let runtime = Runtime::start(settings).await;
    let token = issuer.token("ada");
    let client = Legacy::open_token(runtime.url(), "2025-11-25", &token).await;
    for _ in 0..3 {
        let reply = client.call("up__search", "{}").await;
        assert!(reply.succeeded(), "{reply:?}");
    }
    assert_eq!(exchanged(&services).len(), 1);
    // The upstream revokes what weir got: the workload token of the next request gets another.
    services.inner.access_token.lock().unwrap().push_str("-2");
    up.bearer("opaque-2");
    let reply = client.call("up__search", "{}").await;
    assert!(reply.succeeded(), "{reply:?}");
    let all = exchanged(&services);
    assert!(all.len() == 2 && all[0] != all[1], "{all:?}");
    let reply = Modern::new(runtime.url()).call("up__search", "{}").await;
    assert_eq!(reply.status, 401);
    assert!(!runtime.machines().is_empty());
    assert_kept(&runtime, &up).await;
    runtime.assert_content();
}
