//! `weir policy-document`: the rights in AWS that a config needs.

use serde_json::{Value, json};

use crate::support::weir::Process;

/// Runs the command over a config, and returns its exit code, the document and what it says besides.
async fn print(yaml: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("weir.yaml");
    std::fs::write(&file, yaml).unwrap();
    let file = file.to_string_lossy().into_owned();
    let args = ["policy-document", "-c", &file].into_iter();
    let args = args.chain(more.iter().copied());
    let (status, out, err) = Process::start(args).wait_exit().await;
    let document = serde_json::from_str(&out).unwrap_or_default();
    (status.code(), document, err)
}

const PLACE: [&str; 4] = ["--account", "123456789012", "--region", "eu-west-1"];

/// The statement of a name: actions and resources.
fn statement(document: &Value, name: &str) -> (Value, Value) {
    let statements = document["Statement"].as_array().unwrap();
    let found = statements.iter().find(|one| one["Sid"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name}: {document}"));
    (found["Action"].clone(), found["Resource"].clone())
}

#[tokio::test]
async fn a_config_needs_what_it_uses_and_no_more() {
    let yaml = r#"
version: 1
hooks:
  compliance:
    lambda: { arn: "arn:aws:lambda:eu-west-1:123456789012:function:compliance" }
upstreams:
  corp:
    gateway: { id: gw-ab12cdef34, region: eu-central-1, synchronize: true }
  billing:
    runtime: { arn: "arn:aws:bedrock-agentcore:us-east-1:210987654321:runtime/billing-x1" }
  stock:
    runtime: { agent_id: stock-y2, account_id: "210987654321", region: us-west-2 }
  far:
    gateway: { id: gw-far0000000, region: us-east-1 }
    auth: { type: sigv4, assume_role: "arn:aws:iam::111111111111:role/mcp" }
  crm:
    url: https://crm.example.com/mcp
    auth: { type: agentcore_identity, workload: weir, provider: crm, region: eu-west-1, scopes: [read] }
  github:
    url: https://api.example.com/mcp
    auth: { type: bearer, token: { aws_secret: github-token } }
"#;
    let (code, document, err) = print(yaml, &PLACE).await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(document["Version"], "2012-10-17");
    let gateway = "arn:aws:bedrock-agentcore:eu-central-1:123456789012:gateway/gw-ab12cdef34";
    let (actions, resources) = statement(&document, "InvokeGateways");
    assert_eq!(actions, json!(["bedrock-agentcore:InvokeGateway"]));
    assert_eq!(
        resources,
        json!([gateway]),
        "what a role calls is that role's"
    );
    assert_eq!(
        statement(&document, "SynchronizeGateways").1,
        json!([gateway])
    );
    let (_, runtimes) = statement(&document, "InvokeRuntimes");
    let billing = "arn:aws:bedrock-agentcore:us-east-1:210987654321:runtime/billing-x1";
    let stock = "arn:aws:bedrock-agentcore:us-west-2:210987654321:runtime/stock-y2";
    let both = [billing, stock].map(|arn| [arn.to_owned(), format!("{arn}/runtime-endpoint/*")]);
    assert_eq!(runtimes, json!(both.concat()));
    let role = json!(["arn:aws:iam::111111111111:role/mcp"]);
    assert_eq!(statement(&document, "AssumeRoles").1, role);
    let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:github-token-??????";
    assert_eq!(statement(&document, "Secrets").1, json!([secret]));
    let function = "arn:aws:lambda:eu-west-1:123456789012:function:compliance";
    let invoke = (json!(["lambda:InvokeFunction"]), json!([function]));
    assert_eq!(statement(&document, "InvokeFunctions"), invoke);
    let (actions, _) = statement(&document, "OAuthTokens");
    assert_eq!(actions, json!(["bedrock-agentcore:GetResourceOauth2Token"]));
    let names: Vec<_> = document["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["Sid"])
        .collect();
    assert_eq!(names.len(), 9, "{names:?}");
}

#[tokio::test]
async fn what_is_sent_to_cloudwatch_needs_rights() {
    let yaml = r#"
version: 1
telemetry:
  traces_endpoint: https://xray.eu-west-1.amazonaws.com/v1/traces
  logs_endpoint: https://logs.eu-central-1.amazonaws.com/v1/logs
  metrics_endpoint: https://monitoring.eu-west-1.amazonaws.com/v1/metrics
  auth: { type: sigv4 }
  headers: { x-aws-log-group: /weir/edge, x-aws-log-stream: main }
upstreams: { a: { url: "http://127.0.0.1:9/mcp" } }
"#;
    let (code, document, err) = print(yaml, &PLACE).await;
    assert_eq!(code, Some(0), "{err}");
    let all = json!(["*"]);
    let traces = (json!(["xray:PutTraceSegments"]), all.clone());
    assert_eq!(statement(&document, "SendTraces"), traces);
    let metrics = (json!(["cloudwatch:PutMetricData"]), all);
    assert_eq!(statement(&document, "SendMetrics"), metrics);
    let stream = "arn:aws:logs:eu-central-1:123456789012:log-group:/weir/edge:log-stream:main";
    let logs = (json!(["logs:PutLogEvents"]), json!([stream]));
    assert_eq!(statement(&document, "SendLogs"), logs);
    assert_eq!(document["Statement"].as_array().unwrap().len(), 3);
    // With a role, its rights are at the role. Names that are secrets are not repeated.
    let role = yaml.replace(
        "sigv4 }",
        "sigv4, assume_role: \"arn:aws:iam::111111111111:role/otlp\" }",
    );
    let (_, document, _) = print(&role, &PLACE).await;
    assert_eq!(
        statement(&document, "AssumeRoles").1,
        json!(["arn:aws:iam::111111111111:role/otlp"])
    );
    assert_eq!(document["Statement"].as_array().unwrap().len(), 1);
    let secret = yaml.replace("/weir/edge", "{ aws_secret: group }");
    let (_, document, _) = print(&secret, &PLACE).await;
    let any = "arn:aws:logs:eu-central-1:123456789012:log-group:*:log-stream:main";
    assert_eq!(statement(&document, "SendLogs").1, json!([any]));
    let elsewhere = yaml.replace(
        "https://xray.eu-west-1.amazonaws.com",
        "https://otlp.example.com",
    );
    let elsewhere = elsewhere.replace(
        "sigv4 }",
        "sigv4, service: execute-api, region: eu-west-1 }",
    );
    let (code, _, err) = print(&elsewhere, &PLACE).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(
        err.contains("`telemetry` signs requests to otlp.example.com"),
        "{err}"
    );
}

#[tokio::test]
async fn a_gateway_that_takes_tokens_is_synchronized_with_the_credentials_of_the_machine() {
    let yaml = r#"
version: 1
upstreams:
  corp:
    gateway: { id: gw-ab12cdef34, region: eu-central-1, synchronize: true }
    auth: { type: bearer, token: { env: CORP_TOKEN } }
"#;
    let (code, document, err) = print(yaml, &PLACE).await;
    assert_eq!(code, Some(0), "{err}");
    let gateway = "arn:aws:bedrock-agentcore:eu-central-1:123456789012:gateway/gw-ab12cdef34";
    assert_eq!(
        statement(&document, "SynchronizeGateways").1,
        json!([gateway])
    );
    assert_eq!(document["Statement"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_config_without_aws_needs_nothing() {
    let (code, document, err) = print(
        "version: 1\nupstreams: { a: { url: 'http://127.0.0.1:9/mcp' } }\n",
        &PLACE,
    )
    .await;
    assert_eq!(
        (code, &document["Statement"]),
        (Some(0), &json!([])),
        "{err}"
    );
}

#[tokio::test]
async fn variables_need_not_be_set_and_a_wrong_config_is_an_error() {
    let yaml = "version: 1\nupstreams: { a: { url: 'https://a.example.com/mcp', auth: { type: bearer, token: { env: NO_SUCH_TOKEN } } } }\n";
    let (code, _, err) = print(yaml, &[]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("`NO_SUCH_TOKEN` is not set here"), "{err}");
    let (code, _, err) = print("version: 1\nupstream: {}\n", &[]).await;
    assert_eq!(code, Some(2), "{err}");
}
