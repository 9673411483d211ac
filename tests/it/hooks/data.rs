//! The data that hooks see: redacted where the config says so, and the headers that it lists.

use serde_json::{Value, json};

use super::{erp, with_url};
use crate::support::client::{Client, call_params};
use crate::support::hook::{Function, HookServer};

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
