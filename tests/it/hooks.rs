//! Hooks: interceptors written for AgentCore Gateway see requests and answers over each carrier, and
//! what fails is refused or passes, as the config says.

mod data;
mod failures;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::aws::{KEY, Keyring, SECRET};
use crate::support::bounded;
use crate::support::client::{Client, Modern, Reply};
use crate::support::hook::{Function, HookServer, file};
use crate::support::ran::weir;
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{Builder, Weir};

const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:interceptor:live";

/// A weir whose hook `h` is a Lambda function at this server.
fn with_lambda(erp: &Upstream, server: &HookServer, settings: &str) -> Builder {
    let timeout = match settings.contains("timeout") {
        true => "",
        false => ", timeout: 20s",
    };
    let hook = format!("hooks: {{ h: {{ lambda: {{ arn: '{ARN}' }}{timeout}{settings} }} }}");
    Weir::over([erp]).top(&hook).env([
        ("AWS_ENDPOINT_URL_LAMBDA", server.url().to_owned()),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ])
}

/// A weir whose hook `h` is at a URL.
fn with_url(erp: &Upstream, server: &HookServer, settings: &str) -> Builder {
    let url = server.url();
    Weir::over([erp]).top(&format!(
        "hooks: {{ h: {{ url: '{url}/hook', headers: {{ x-key: k }}{settings} }} }}"
    ))
}

/// The text of the metrics.
async fn metrics(weir: &Weir) -> String {
    let answer = reqwest::get(weir.admin_url("/metrics")).await.unwrap();
    answer.text().await.unwrap()
}

async fn erp() -> Upstream {
    Upstream::named("erp")
        .tools(["search", "drop"])
        .start()
        .await
}

/// Calls until the hook lets a call through.
async fn wait_success(client: &Modern) {
    let wait = async {
        while !client.call("erp__search", "{}").await.succeeded() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    bounded("the hook to come back", wait).await;
}

#[tokio::test]
async fn a_lambda_function_that_passes_everything_changes_no_byte() {
    let (erp, keys) = (erp().await, Arc::new(Keyring::default()));
    let server = HookServer::lambda(&keys, Function::File("pass_through.py")).await;
    erp.set_answer(
        "drop",
        r#"{ "content" : [ ], "x":1.5, "\u0061":12345678901234567890123 }"#,
    );
    let weir = with_lambda(&erp, &server, "").start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let said = client
            .call("erp__search", r#"{ "q" : "\u00e9é", "n":1.5 }"#)
            .await;
        assert_eq!(said.text(), r#"erp.search { "q" : "\u00e9é", "n":1.5 }"#);
        let result = client.call("erp__drop", "{}").await.result();
        assert!(
            result.contains(r#""x":1.5, "\u0061":12345678901234567890123"#),
            "{result}"
        );
    }
    let inputs = server.inputs();
    assert_eq!(inputs.len(), 8);
    let first = &inputs[0];
    assert_eq!(first["interceptorInputVersion"], "1.0");
    let request = &first["mcp"]["gatewayRequest"];
    assert_eq!(request["path"], "/mcp");
    assert_eq!(request["body"]["method"], "tools/call");
    assert_eq!(request["body"]["params"]["name"], "erp__search");
    assert!(first["mcp"]["gatewayResponse"].is_null());
    let raw = first["mcp"]["rawGatewayRequest"]["body"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(raw).unwrap(), request["body"]);
    let second = &inputs[1]["mcp"];
    assert_eq!(second["gatewayResponse"]["statusCode"], 200);
    assert_eq!(
        second["gatewayResponse"]["body"]["id"],
        request["body"]["id"]
    );
    assert_eq!(second["gatewayRequest"]["body"], request["body"]);
}

#[tokio::test]
async fn a_lambda_function_changes_arguments_and_results() {
    let (erp, keys) = (erp().await, Arc::new(Keyring::default()));
    let server = HookServer::lambda(&keys, Function::File("mask_arguments.py")).await;
    let weir = with_lambda(&erp, &server, "").start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let sent = r#"{"q":"ann@example.com","password":"p"}"#;
        let said = client.call("erp__search", sent).await.text();
        assert_eq!(said, r#"erp.search {"q": "[email]"}"#);
        let arrived = erp.last("tools/call").value;
        assert_eq!(
            arrived["params"]["arguments"],
            json!({ "q": "ann@example.com" })
        );
    }
}

#[tokio::test]
async fn a_lambda_function_refuses_with_an_error_of_its_own_and_nothing_is_sent() {
    let (erp, keys) = (erp().await, Arc::new(Keyring::default()));
    let server = HookServer::lambda(&keys, Function::File("allow_list.py")).await;
    let weir = with_lambda(&erp, &server, "").start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let refused = client.call("erp__drop", "{}").await;
        assert_eq!(refused.code(), -32000);
        assert_eq!(refused.error()["message"], "erp__drop is not on the list");
        assert!(client.call("erp__search", "{}").await.succeeded());
    }
    assert_eq!(erp.count("tools/call"), 2);
}

#[tokio::test]
async fn an_endpoint_gets_the_payload_with_its_headers() {
    let erp = erp().await;
    let server = HookServer::http(Function::File("mask_arguments.py")).await;
    let settings = ", timeout: 20s, on: [request], auth: { type: bearer, token: { value: t } }";
    let weir = with_url(&erp, &server, settings).start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let said = client
            .call("erp__search", r#"{"q":"a@b.example","password":"p"}"#)
            .await;
        assert_eq!(said.text(), r#"erp.search {"q": "a@b.example"}"#);
    }
    let headers = server.last_headers();
    assert_eq!(headers["authorization"], "Bearer t");
    assert_eq!(headers["x-key"], "k");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(server.inputs().len(), 2);
}

#[tokio::test]
async fn a_child_process_is_a_hook_and_is_started_again_after_it_died() {
    let erp = erp().await;
    let (program, function) = (file("child.py"), file("mask_arguments.py"));
    let hook = format!(
        "hooks: {{ h: {{ command: python3, args: ['{}', '{}'], timeout: 20s }} }}",
        program.display(),
        function.display()
    );
    let weir = Weir::over([&erp]).top(&hook).start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let said = client
            .call("erp__search", r#"{"q":"a@b.example","password":"p"}"#)
            .await;
        assert_eq!(said.text(), r#"erp.search {"q": "[email]"}"#);
    }
    let client = weir.modern();
    let kill = format!("kill -9 $(pgrep -P {} -f child.py)", weir.pid());
    let _ = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status();
    wait_success(&client).await;
}

#[tokio::test]
async fn a_unix_socket_is_a_hook() {
    let erp = erp().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hook.sock");
    let mut server = tokio::process::Command::new("python3")
        .args([file("child.py"), file("mask_arguments.py"), socket.clone()])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let hook = format!(
        "hooks: {{ h: {{ socket: '{}', timeout: 20s }} }}",
        socket.display()
    );
    let weir = Weir::over([&erp]).top(&hook).start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        for _ in 0..3 {
            let said = client
                .call("erp__search", r#"{"q":"a@b.example","password":"p"}"#)
                .await;
            assert_eq!(said.text(), r#"erp.search {"q": "[email]"}"#);
        }
    }
    server.kill().await.unwrap();
    let error = weir.modern().call("erp__search", "{}").await.error();
    assert_eq!(error["data"]["reason"], "hook");
}

#[tokio::test]
async fn what_a_hook_changes_is_routed_checked_and_authorised_again() {
    let erp = Upstream::named("erp").tools(["search"]).start().await;
    let pay = r#"{"name":"pay","inputSchema":{"type":"object","required":["amount"]}}"#;
    erp.add_raw(Kind::Tools, pay);
    let server = HookServer::http(Function::Raises).await;
    let settings = ", on: [request]";
    let weir = with_url(&erp, &server, settings).top("guard: { validate: { arguments: refuse } }");
    let weir = weir.start().await;
    weir.wait_tools(["erp__pay", "erp__search"]).await;
    let says = |id: &str, name: &str, arguments: &str| {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#
        );
        let output = format!(
            r#"{{"interceptorOutputVersion":"1.0","mcp":{{"transformedGatewayRequest":{{"body":{body}}}}}}}"#
        );
        Function::Says(output.into())
    };
    for client in Client::both(&weir).await {
        let ask = || client.call("erp__search", "{}");
        // The ids of the clients differ; a first call tells them.
        server.set(Function::Status(500));
        let _ = ask().await;
        let last = server.inputs().pop().unwrap();
        let id = last["mcp"]["gatewayRequest"]["body"]["id"]
            .as_u64()
            .unwrap()
            + 1;
        server.set(says(&id.to_string(), "erp__pay", r#"{"amount":1}"#));
        assert_eq!(ask().await.text(), r#"erp.pay {"amount":1}"#);
        server.set(says(&(id + 1).to_string(), "erp__pay", "{}"));
        assert_eq!(ask().await.value()["isError"], true);
        server.set(says(&(id + 2).to_string(), "erp__gone", "{}"));
        assert_eq!(ask().await.code(), -32602);
    }
}

#[tokio::test]
async fn what_hooks_say_is_in_the_record() {
    let (erp, keys) = (erp().await, Arc::new(Keyring::default()));
    let server = HookServer::lambda(&keys, Function::File("mask_arguments.py")).await;
    let weir = with_lambda(&erp, &server, ", timeout: 20s, on_failure: pass")
        .top("audit: { file: weir.jsonl }")
        .start()
        .await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    let client = weir.modern();
    let sent = r#"{"q":"a@b.example","password":"p"}"#;
    assert!(client.call("erp__search", sent).await.succeeded());
    server.set(Function::File("allow_list.py"));
    assert_eq!(client.call("erp__drop", "{}").await.code(), -32000);
    server.set(Function::Status(500));
    assert!(client.call("erp__drop", "{}").await.succeeded());
    let said = |said: &str| json!({ "name": "h", "said": said });
    let expected = [
        json!([
            said("changed"),
            said("rule=mask-1"),
            said("response: changed")
        ]),
        json!([said("denied"), said("response: pass")]),
        json!([said("failed: status"), said("response: failed: status")]),
    ];
    let file = weir.home.path().join("weir.jsonl");
    let found = async {
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines = whole
                .lines()
                .map(|line| serde_json::from_str(line).unwrap());
            let calls = lines.filter(|line: &Value| line["method"] == "tools/call");
            let calls: Vec<Value> = calls.collect();
            if calls.len() == expected.len() {
                return calls;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), found)
        .await
        .unwrap();
    for (line, expected) in found.iter().zip(&expected) {
        assert_eq!(line["hooks"], *expected, "{line}");
    }
    assert_eq!(found[0]["upstream_status"], "result");
    assert!(found[1]["upstream_status"].is_null(), "{}", found[1]);
}

#[tokio::test]
async fn a_call_is_charged_where_a_hook_sends_it() {
    let erp = erp().await;
    let server = HookServer::http(Function::Renames("erp__drop")).await;
    let rates = "limits: { rates: [{ name: searches, per: tool, tools: ['erp__search'], requests: 1/1h }, { name: drops, per: tool, tools: ['erp__drop'], requests: 2/1h, burst: 2 }, { name: slots, per: caller, in_flight: 1 }, { name: all, per: all, requests: 3/1h, burst: 3 }] }";
    let settings = ", timeout: 20s, on: [request]";
    let weir = with_url(&erp, &server, settings).top(rates).start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        // Each goes to the other tool: the rule of this one has its request back, and those about both
        // are charged once.
        let said = client.call("erp__search", "{}").await;
        assert_eq!(said.text(), "erp.drop {}", "{said:?}");
    }
    let client = weir.modern();
    let limit = |reply: Reply| reply.error()["data"]["limit"].clone();
    assert_eq!(limit(client.call("erp__search", "{}").await), "drops");
    // That one was charged: the hook was asked.
    server.set(Function::Passes);
    assert_eq!(limit(client.call("erp__search", "{}").await), "searches");
    assert_eq!(erp.count("tools/call"), 2);
}

#[tokio::test]
async fn hooks_are_asked_in_their_order_and_only_about_what_they_are_for() {
    let (erp, hr) = (
        erp().await,
        Upstream::named("hr").tools(["a"]).start().await,
    );
    let one = HookServer::http(Function::File("pass_through.py")).await;
    let two = HookServer::http(Function::File("allow_list.py")).await;
    let (first, second) = (one.url(), two.url());
    let weir = Weir::over([&erp, &hr]).top(&format!(
        "hooks: {{ z: {{ url: '{first}', on: [response], timeout: 20s }}, a: {{ url: '{second}', upstreams: [erp], on: [request], timeout: 20s }} }}"
    ));
    let weir = weir.start().await;
    weir.wait_tools(["erp__drop", "erp__search", "hr__a"]).await;
    let client = weir.modern();
    assert_eq!(client.call("erp__drop", "{}").await.code(), -32000);
    assert!(client.call("hr__a", "{}").await.succeeded());
    assert_eq!(two.inputs().len(), 1);
    // The answer of a hook is an answer too.
    let seen = one.inputs();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        seen[0]["mcp"]["gatewayResponse"]["body"]["error"]["code"],
        -32000
    );
    assert_eq!(hr.count("tools/call"), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_hook_is_said_where_it_stands() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("weir.yaml");
    let yaml = "hooks:\n  a: { tools: ['x'] }\n  b: { lambda: { arn: 'arn:aws:s3:::x' } }\n  c: { url: 'https://a.example', command: x }\n  d: { socket: s, methods: [tools/list] }\n  e: { lambda: { arn: 'arn:aws:lambda:eu-west-1:123456789012:function:f', auth: { type: bearer, token: { value: t } } } }\n  f: { socket: s, pass_request_headers: [x-tenant, Authorization] }\n  g: { socket: s, pass_request_headers: [X-Amz-Security-Token] }\n  h: { socket: s, pass_request_headers: [x, X] }\n  i: { socket: s, pass_request_headers: ['a b'] }\n  j: { socket: s, pass_request_headers: [X-Amz-Bedrock-AgentCore-Identity-WAT] }\n  k: { socket: s, pass_request_headers: [WorkloadAccessToken] }\nupstreams: {}\n";
    std::fs::write(&path, yaml).unwrap();
    let checked = weir(["check", "-c", path.to_str().unwrap()]).await;
    assert_eq!(checked.code, Some(2));
    for (line, part) in [
        (2, "nothing says how to reach it"),
        (3, "not the ARN of a Lambda function"),
        (4, "one endpoint"),
        (5, "hooks do not see this method"),
        (6, "write `type: sigv4`"),
        (7, "a credential or a session"),
        (8, "a credential or a session"),
        (9, "set twice"),
        (10, "not a header name"),
        (11, "a credential or a session"),
        (12, "a credential or a session"),
    ] {
        let has = |text: &str| text.contains(&format!("weir.yaml:{line}")) && text.contains(part);
        let all = format!("{}{}", checked.out, checked.err);
        assert!(all.lines().any(has), "{line}: {all}");
    }
}
