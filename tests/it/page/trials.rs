//! Tools that operators try.

use serde_json::{Value, json};

use super::*;
use crate::support::upstream::Upstream;
use crate::support::weir::ADMIN_TOKEN;

const GO: &str = r#"{"name":"go","description":"Goes.","inputSchema":{"type":"object","required":["to"],"properties":{"to":{"type":"string","description":"Where <b>to</b>"},"times":{"type":"integer","default":2},"fast":{"type":"boolean"},"deep":{"type":"object"}}}}"#;

async fn try_tool(weir: &Weir, body: &str) -> (u16, Value) {
    let answer = weir.operate("/try").body(body.to_owned()).send().await;
    let answer = answer.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

#[tokio::test]
async fn a_tool_is_tried_as_the_operator_and_leaves_a_record() {
    for era in ["modern", "2025-11-25"] {
        let up = Upstream::named("up").raw_tool(GO);
        let up = match era {
            "modern" => up.modern(),
            version => up.legacy(version),
        };
        let up = up.start().await;
        let weir = Weir::over([&up]).top("audit: { file: audit/weir.jsonl }");
        let weir = started(weir.state(), "try_tools: true").await;
        weir.wait_tools(["up__go"]).await;
        let body = r#"{"name":"up__go","arguments":{"to":"Rome","n":1.0}}"#;
        let (status, answer) = try_tool(&weir, body).await;
        assert_eq!(status, 200, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert_eq!(text, r#"up.go {"to":"Rome","n":1.0}"#);
        assert_eq!(answer["request"]["params"]["name"], "up__go");
        let sent = up.last("tools/call");
        let id = answer["request_id"].as_str().unwrap();
        assert_eq!(sent.header("x-request-id"), Some(id));
        let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
        let page = wait_for(&weir, &cookie, "/page/calls?caller=operator", "up__go").await;
        page.has("tools/call");
        let (_, answer) = try_tool(&weir, r#"{"name":"no__such"}"#).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
}

#[tokio::test]
async fn nobody_tries_tools_unless_the_config_says_so() {
    let up = Upstream::named("up").raw_tool(GO).start().await;
    let weir = started(Weir::over([&up]), "page: write").await;
    weir.wait_tools(["up__go"]).await;
    let (status, answer) = try_tool(&weir, r#"{"name":"up__go"}"#).await;
    assert_eq!(status, 403, "{answer}");
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("admin.try_tools")
    );
    let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
    let page = get_as(&weir, &cookie, "/page/try?name=up__go").await;
    page.has("try_tools");
    page.has_not("Call it");
    let page = post(&weir, &cookie, "/page/try", "name=up__go").await;
    page.has_not("Answer");
    assert_eq!(up.count("tools/call"), 0);
    // With it, those who have not logged in cannot.
    let weir = started(Weir::over([&up]), "page: write, try_tools: true").await;
    weir.wait_tools(["up__go"]).await;
    let page = post(&weir, "", "/page/try", "name=up__go&p%3Ato=x").await;
    assert_eq!(page.status, 401);
    let request = pool().post(weir.admin_url("/try")).body("{}");
    assert_eq!(send(request).await.status, 401);
    for wrong in [
        "",
        "[]",
        r#"{"name":1}"#,
        r#"{"name":"a","more":1}"#,
        r#"{"name":"a","arguments":[]}"#,
    ] {
        assert_eq!(try_tool(&weir, wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(up.count("tools/call"), 0);
}

#[tokio::test]
async fn a_form_is_made_of_the_schema_and_the_answer_stays_text() {
    let up = Upstream::named("up").raw_tool(GO).start().await;
    let weir = started(Weir::over([&up]), "page: write, try_tools: true").await;
    weir.wait_tools(["up__go"]).await;
    let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
    let page = get_as(&weir, &cookie, "/page/explain?name=up__go").await;
    page.has("../page/try?name=up__go");
    let page = get_as(&weir, &cookie, "/page/try?name=up__go").await;
    page.has("name=\"p:to\"");
    page.has("name=\"p:times\" value=\"2\"");
    page.has("<option value=\"false\">");
    page.has_not("name=\"p:deep\"");
    page.has("Where &lt;b&gt;to&lt;/b&gt;");
    let form = "name=up__go&p%3Ato=%3Cimg%20src%3Dx%3E%E2%80%AE&p%3Atimes=3&p%3Afast=&arguments=%7B%22deep%22%3A%7B%7D%7D";
    let page = post(&weir, &cookie, "/page/try", form).await;
    assert_eq!(page.status, 200);
    page.has("&lt;img src=x&gt;<span class=\"mark\">⟦U+202E⟧</span>");
    page.has_not("<img");
    let sent: Value = serde_json::from_str(
        up.last("tools/call")
            .raw(&["params", "arguments"])
            .unwrap()
            .as_ref(),
    )
    .unwrap();
    assert_eq!(
        sent,
        json!({ "to": "<img src=x>\u{202e}", "times": 3, "deep": {} })
    );
    let page = post(
        &weir,
        &cookie,
        "/page/try",
        "name=up__go&p%3Ato=x&p%3Atimes=often",
    )
    .await;
    page.has("`times` is no number");
    assert_eq!(up.count("tools/call"), 1);
}

#[tokio::test]
async fn numbers_of_a_form_keep_their_digits() {
    let up = Upstream::named("up").raw_tool(GO).start().await;
    let weir = started(Weir::over([&up]), "page: write, try_tools: true").await;
    weir.wait_tools(["up__go"]).await;
    let cookie = log_in(&weir, ADMIN_TOKEN).await.cookie();
    let form = "name=up__go&p%3Ato=x&p%3Atimes=12345678901234567890123&arguments=%7B%22n%22%3A1e400%2C%22m%22%3A1.0%7D";
    assert_eq!(post(&weir, &cookie, "/page/try", form).await.status, 200);
    let sent = up.last("tools/call").raw(&["params", "arguments"]);
    let expected = r#"{"n":1e400,"m":1.0,"to":"x","times":12345678901234567890123}"#;
    assert_eq!(sent.as_deref(), Some(expected));
    let page = post(&weir, &cookie, "/page/try", "name=up__go&arguments=%5B%5D").await;
    page.has("the arguments are no JSON object");
    assert_eq!(up.count("tools/call"), 1);
}

#[tokio::test]
async fn an_operator_may_call_what_policies_permit() {
    let up = Upstream::named("up").tools(["read", "write"]).start().await;
    let policy = "permit(principal == Weir::Local::\"operator\", action == AgentCore::Action::\"up___read\", resource);\n";
    let weir = Weir::over([&up])
        .top("policy: { files: [a.cedar] }")
        .unwatched();
    let weir = weir
        .start_in(|home, yaml| {
            fs::write(home.join("a.cedar"), policy).unwrap();
            let yaml = yaml.replace("reading: open }", "reading: open, try_tools: true }");
            fs::write(home.join("weir.yaml"), yaml).unwrap();
        })
        .await;
    weir.wait_told("up", "state", "up").await;
    let (_, answer) = try_tool(&weir, r#"{"name":"up__read"}"#).await;
    assert!(answer["result"].is_object(), "{answer}");
    let (_, answer) = try_tool(&weir, r#"{"name":"up__write"}"#).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(up.count("tools/call"), 1);
}
