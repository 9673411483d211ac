//! Hooks: interceptors written for AgentCore Gateway see requests and answers over each carrier, and
//! what fails is refused or passes, as the config says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::aws::{KEY, Keyring, SECRET};
use crate::support::bounded;
use crate::support::client::{Client, Modern, Reply, call_params};
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

/// Every way in which a function gives no usable answer.
fn failures() -> Vec<(&'static str, Function)> {
    let says = |text: &'static str| Function::Says(Bytes::from_static(text.as_bytes()));
    vec![
        ("status", Function::Status(500)),
        ("function", Function::Raises),
        ("answer", says("no JSON")),
        ("answer", says("")),
        ("answer", says("null")),
        (
            "answer",
            says(r#"{"interceptorOutputVersion":"1.0","mcp":{}}"#),
        ),
        (
            "answer",
            says(
                r#"{"interceptorOutputVersion":"1.0","mcp":{"transformedGatewayResponse":{"statusCode":200,"body":{"jsonrpc":"2.0","id":"another","result":{}}}}}"#,
            ),
        ),
        ("too_long", Function::Huge(100 << 20)),
        ("timeout", Function::Hangs),
        ("timeout", Function::Drips),
    ]
}

#[tokio::test]
async fn what_fails_is_refused_or_passes_as_the_config_says() {
    for policy in ["deny", "pass"] {
        let (erp, keys) = (erp().await, Arc::new(Keyring::default()));
        let server = HookServer::lambda(&keys, Function::Raises).await;
        let settings = format!(", timeout: 3s, on_failure: {policy}");
        let weir = with_lambda(&erp, &server, &settings).start().await;
        weir.wait_tools(["erp__drop", "erp__search"]).await;
        let client = weir.modern();
        for (word, function) in failures() {
            server.set(Function::Passes);
            // Each failure is one in a row, so that the circuit stays closed.
            assert!(client.call("erp__search", "{}").await.succeeded(), "{word}");
            server.set(function);
            let before = erp.count("tools/call");
            let reply = client.call("erp__search", "{}").await;
            if policy == "deny" {
                let error = reply.error();
                assert_eq!(error["code"], -32603, "{word}: {error}");
                assert_eq!(error["data"], json!({ "reason": "hook", "hook": "h" }));
                assert_eq!(erp.count("tools/call"), before, "{word}");
            } else {
                assert!(reply.succeeded(), "{word}");
                assert_eq!(erp.count("tools/call"), before + 1, "{word}");
            }
            let name =
                format!(r#"weir_hook_calls_total{{hook="h",phase="request",outcome="{word}"}}"#);
            assert!(weir.metric(&name).await >= 1, "{word}");
        }
        let told = weir.admin("/hooks").await;
        let hook = &told["hooks"][0];
        assert_eq!(
            (&hook["name"], &hook["kind"]),
            (&json!("h"), &json!("lambda"))
        );
        assert!(hook["last_failure"]["reason"].is_string(), "{hook}");
        assert!(!weir.stderr().contains("planted-in-a-message"));
    }
}

#[tokio::test]
async fn a_dead_hook_opens_its_circuit_and_takes_no_other_route_down() {
    let (erp, other) = (
        erp().await,
        Upstream::named("hr").tools(["a"]).start().await,
    );
    let server = HookServer::http(Function::Hangs).await;
    let url = server.url();
    let weir = Weir::over([&erp, &other]).top(&format!(
        "hooks: {{ h: {{ url: '{url}', tools: ['erp__*'], timeout: 200ms, concurrency: 2 }} }}"
    ));
    let weir = weir.start().await;
    weir.wait_tools(["erp__drop", "erp__search", "hr__a"]).await;
    let client = weir.modern();
    for _ in 0..6 {
        assert_eq!(client.call("erp__search", "{}").await.code(), -32603);
        assert!(client.call("hr__a", "{}").await.succeeded());
    }
    let told = weir.admin("/hooks").await;
    let circuit = &told["hooks"][0]["circuit"]["state"];
    assert!(circuit == "open" || circuit == "half-open", "{told}");
    // It is not asked any more, until it may be tried again.
    let outcome = r#"weir_hook_calls_total{hook="h",phase="request",outcome="circuit"}"#;
    let wait = async {
        loop {
            assert_eq!(client.call("erp__drop", "{}").await.code(), -32603);
            if metrics(&weir).await.contains(outcome) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap();
    assert_eq!(erp.count("tools/call"), 0);
    // It comes back by itself.
    server.set(Function::Passes);
    wait_success(&client).await;
}

#[tokio::test]
async fn a_message_at_which_a_hook_fails_closes_it_to_no_other() {
    let (erp, keys) = (erp().await, Arc::new(Keyring::default()));
    let http = HookServer::http(Function::Status(500)).await;
    let lambda = HookServer::lambda(&keys, Function::Raises).await;
    let settings = ", timeout: 20s";
    for (weir, server) in [
        (with_url(&erp, &http, settings), &http),
        (with_lambda(&erp, &lambda, settings), &lambda),
    ] {
        let weir = weir.start().await;
        weir.wait_tools(["erp__drop", "erp__search"]).await;
        let client = weir.modern();
        for _ in 0..7 {
            assert_eq!(client.call("erp__search", "{}").await.code(), -32603);
        }
        server.set(Function::Passes);
        assert!(client.call("erp__drop", "{}").await.succeeded());
    }
}

#[tokio::test]
async fn a_caller_who_gives_no_time_passes_no_hook_and_opens_no_circuit() {
    let erp = erp().await;
    let server = HookServer::http(Function::Hangs).await;
    let weir = with_url(&erp, &server, ", timeout: 20s, on_failure: pass");
    let weir = weir.start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    let (client, params) = (weir.modern(), call_params("erp__search", "{}"));
    for _ in 0..6 {
        let hasty = client.ask("tools/call", &params);
        assert_eq!(
            hasty.meta("weir/deadlineMs", "60").send().await.code(),
            -32603
        );
    }
    assert_eq!(erp.count("tools/call"), 0);
    assert_eq!(
        weir.admin("/hooks").await["hooks"][0]["circuit"]["state"],
        "closed"
    );
    server.set(Function::Passes);
    let asked = server.inputs().len();
    assert!(client.call("erp__search", "{}").await.succeeded());
    assert_eq!(server.inputs().len(), asked + 2, "request and response");
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
async fn what_hooks_leave_is_redacted_on_both_ways() {
    let erp = erp().await;
    let server = HookServer::http(Function::Passes).await;
    let rules =
        "guard: { redact: { towards_upstream: { EMAIL: mask }, towards_caller: { EMAIL: mask } } }";
    let weir = with_url(&erp, &server, ", timeout: 20s").top(rules);
    let weir = weir.start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        server.set(Function::Passes);
        let arguments = r#"{"q":"ann@mail.example"}"#;
        let said = client.call("erp__search", arguments).await.text();
        assert_eq!(said, r#"erp.search {"q":"[EMAIL]"}"#);
        // A hook sees what the caller sent.
        let seen = server.inputs();
        let seen = &seen[seen.len() - 2]["mcp"]["gatewayRequest"]["body"];
        assert_eq!(seen["params"]["arguments"]["q"], "ann@mail.example");
        // An answer of its own, in place of the upstream's, is like any other.
        let body = json!({ "jsonrpc": "2.0", "id": seen["id"].as_u64().unwrap() + 1,
            "result": { "content": [{ "type": "text", "text": "bob@mail.example" }] } });
        let output = json!({ "interceptorOutputVersion": "1.0",
            "mcp": { "transformedGatewayResponse": { "statusCode": 200, "body": body } } });
        server.set(Function::Says(output.to_string().into()));
        let said = client.call("erp__search", "{}").await;
        assert_eq!(said.text(), "[EMAIL]");
        let kind = client.is_modern().then(|| json!("complete"));
        assert_eq!(said.value().get("resultType").cloned(), kind);
    }
    assert_eq!(erp.count("tools/call"), 2);
}

#[tokio::test]
async fn a_hook_that_sees_redacted_data_sees_no_planted_value_and_changes_none() {
    let erp = erp().await;
    let server = HookServer::http(Function::Passes).await;
    let rules = "guard: { redact: { towards_upstream: { EMAIL: tokenise, PHONE: mask }, towards_caller: { EMAIL: restore }, key: { value: 0123456789-0123456789-0123456789 } } }";
    let weir = with_url(&erp, &server, ", timeout: 20s, sees: redacted").top(rules);
    let weir = weir.state().start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let arguments = r#"{"q": "ann@mail.example", "t":"call +49 30 901820"}"#;
        let said = client.call("erp__search", arguments).await.text();
        assert!(
            said.starts_with(r#"erp.search {"q": "ann@mail.example", "t":"call ["#),
            "{said}"
        );
    }
    let seen = server.inputs();
    assert_eq!(seen.len(), 4);
    for input in seen {
        let text = input.to_string();
        assert!(text.contains("email_"), "{text}");
        assert!(!text.contains("ann@") && !text.contains("901820"), "{text}");
    }
}

/// The headers in each input that a hook got.
fn headers_in(server: &HookServer) -> Vec<Value> {
    let inputs = server.inputs().into_iter();
    inputs
        .map(|input| input["mcp"]["gatewayRequest"]["headers"].clone())
        .collect()
}

#[tokio::test]
async fn a_hook_sees_the_headers_of_the_caller_that_the_config_lists_and_no_other() {
    let erp = erp().await;
    let server = HookServer::http(Function::Passes).await;
    let settings = ", timeout: 20s, pass_request_headers: [X-Tenant, user-agent, mcp-protocol-version, x-none]";
    let weir = with_url(&erp, &server, settings).start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    let params = call_params("erp__search", "{}");
    for client in Client::both(&weir).await {
        let ask = client.ask("tools/call", &params);
        let ask = ask
            .header("x-tenant", "acme, \"1\"")
            .header("x-secret", "s");
        let ask = ask.header("user-agent", "cli/1");
        assert!(ask.send().await.succeeded());
        let version = match client.is_modern() {
            true => "2026-07-28",
            false => "2025-11-25",
        };
        let expected = json!({ "X-Tenant": "acme, \"1\"", "user-agent": "cli/1", "mcp-protocol-version": version });
        let seen = headers_in(&server);
        // Of the request and of its answer.
        assert_eq!(seen[seen.len() - 2..], [expected.clone(), expected]);
    }
    // A message of a batch is a request with the headers of the batch.
    let legacy = weir.legacy("2025-03-26").await;
    let batch =
        format!(r#"[{{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{params}}}]"#);
    let ask = legacy.ask("tools/call", "{}").header("x-tenant", "b");
    assert_eq!(ask.send_body(&batch).await.status, 200);
    assert_eq!(headers_in(&server).pop().unwrap()["X-Tenant"], "b");
    // Nothing of it goes to the upstream.
    for request in erp.requests("tools/call") {
        assert_eq!(request.header("x-tenant"), None);
    }
}

#[tokio::test]
async fn a_header_is_redacted_for_a_hook_that_sees_redacted_data() {
    let erp = erp().await;
    let server = HookServer::http(Function::Passes).await;
    let rules = "guard: { redact: { towards_upstream: { EMAIL: mask } } }";
    let settings = ", timeout: 20s, sees: redacted, pass_request_headers: [x-user]";
    let weir = with_url(&erp, &server, settings).top(rules).start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let ask = client.ask("tools/call", &call_params("erp__search", "{}"));
        let reply = ask.header("x-user", "ann@mail.example").send().await;
        assert!(reply.succeeded());
    }
    let seen = headers_in(&server);
    assert_eq!(seen, vec![json!({ "x-user": "[EMAIL]" }); 4]);
}

/// How many milliseconds an upstream was given for the last call.
fn given(up: &Upstream) -> u64 {
    let left = up
        .last("tools/call")
        .raw(&["params", "_meta", "weir/deadlineMs"]);
    left.unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_time_of_a_hook_is_taken_from_the_time_of_the_call() {
    let erp = erp().await;
    let server = HookServer::http(Function::PassesAfter(Duration::from_millis(600))).await;
    let settings = ", timeout: 20s, on: [request], on_failure: pass";
    let weir = with_url(&erp, &server, settings)
        .upstream("erp", "timeouts: { call: 10s }")
        .start()
        .await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let ask = || client.ask("tools/call", &call_params("erp__search", "{}"));
        // Less a margin for the way back.
        assert!(ask().send().await.succeeded());
        assert!(given(&erp) <= 10_000 - 600 - 500, "{}", given(&erp));
        let least = ask().meta("weir/deadlineMs", "5000");
        assert!(least.send().await.succeeded());
        assert!(given(&erp) <= (5_000 - 600) * 9 / 10, "{}", given(&erp));
        // The hook gets no more than is left, and then there is nothing for the upstream.
        let before = erp.count("tools/call");
        let begun = std::time::Instant::now();
        let reply = ask().meta("weir/deadlineMs", "100").send().await;
        assert_eq!(reply.code(), -32603, "{reply:?}");
        assert!(begun.elapsed() < Duration::from_millis(550));
        assert_eq!(erp.count("tools/call"), before);
    }
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
