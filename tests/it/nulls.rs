//! Text that says nothing: `null` and PHP's `[]` where an optional member belongs, a byte order mark.

use http::Method;
use serde_json::{Value, json};

use crate::support::client::{Client, names};
use crate::support::upstream::{Fault, Kind, On, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};

const NOTHING: [&str; 2] = ["null", "[]"];

#[tokio::test]
async fn null_params_and_meta_of_a_caller_are_absent() {
    let up = Upstream::named("ann").tools(["t"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-11-25").await;
    for nothing in NOTHING {
        for (method, params) in [
            ("ping", nothing.to_owned()),
            ("tools/list", nothing.to_owned()),
            (
                "tools/list",
                format!(r#"{{"_meta":{nothing},"cursor":null}}"#),
            ),
            (
                "tools/call",
                format!(r#"{{"name":"ann__t","_meta":{nothing}}}"#),
            ),
            (
                "tools/call",
                format!(r#"{{"name":"ann__t","arguments":{nothing}}}"#),
            ),
            (
                "tools/call",
                r#"{"name":"ann__t","_meta":{"progressToken":null}}"#.to_owned(),
            ),
        ] {
            let reply = legacy.request(method, &params).await;
            assert!(reply.succeeded(), "{method} {params}: {reply:?}");
        }
        assert_eq!(
            legacy
                .notify("notifications/initialized", nothing)
                .await
                .status,
            202
        );
        // Without rules for it, an upstream gets what the caller wrote.
        let sent = weir.modern();
        let params = format!(r#"{{"name":"ann__t","arguments":{nothing},"cursor":null}}"#);
        assert!(sent.request("tools/call", &params).await.succeeded());
        let got = up.last("tools/call").value["params"]["arguments"].clone();
        assert_eq!(got, serde_json::from_str::<Value>(nothing).unwrap());
    }
    let meta = up.last("tools/call").value["params"]["_meta"].clone();
    assert_eq!(meta.get("progressToken"), None);
}

#[tokio::test]
async fn null_arguments_get_the_values_that_the_operator_presets() {
    let up = Upstream::named("ann").tools(["t"]).start().await;
    let rules = "tools: { override: { t: { set_args: { q: preset } } } }";
    let weir = Weir::over([&up]).upstream("ann", rules).start().await;
    for caller in Client::both(&weir).await {
        for arguments in ["null", "[]", "{}"] {
            let reply = caller.call("ann__t", arguments).await;
            assert_eq!(reply.text(), r#"ann.t {"q":"preset"}"#, "{arguments}");
        }
    }
}

#[tokio::test]
async fn null_capabilities_are_none() {
    let up = Upstream::named("ann")
        .legacy("2025-11-25")
        .tools(["t"])
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let clients = [
        r#"{"sampling":null,"elicitation":null,"roots":[]}"#,
        "null",
        "[]",
    ];
    for (capabilities, told) in clients
        .into_iter()
        .zip([json!({"roots":{}}), json!({}), json!({})])
    {
        let client =
            crate::support::client::Legacy::open_with(weir.url(), "2025-11-25", capabilities).await;
        assert!(client.call("ann__t", "{}").await.succeeded());
        let sent = up.last("initialize").value["params"]["capabilities"].clone();
        assert_eq!(sent, told, "{capabilities}");
    }
    let mut modern = weir.modern();
    modern.capabilities = "[]".to_owned();
    assert!(modern.call("ann__t", "{}").await.succeeded());
}

#[tokio::test]
async fn an_upstream_may_write_null_for_what_it_leaves_out() {
    let welcome = r#"initialize={"protocolVersion":"2025-11-25","capabilities":{"tools":[],"prompts":{},"resources":null,"completions":null},"serverInfo":null,"instructions":null,"_meta":null}"#;
    let tools = r#"tools/list={"tools":[{"name":"t","title":null,"annotations":null,"_meta":null,"outputSchema":null,"execution":null,"inputSchema":{"type":"object","properties":[]}}],"nextCursor":null,"_meta":null}"#;
    let args = [
        "--tools",
        "t",
        "--prompts",
        "p",
        "--fault",
        welcome,
        "--fault",
        tools,
    ];
    let weir = Weir::with(&child_upstream("ann", &args)).start().await;
    let told = weir.wait_told("ann", "state", "up").await;
    assert_eq!(told["quarantined"], json!([]), "{told:#}");
    for caller in Client::both(&weir).await {
        let listed = caller.list_all("tools/list").await;
        assert!(
            listed[0].contains(r#""inputSchema":{"type":"object","properties":[]}"#),
            "{listed:?}"
        );
        assert!(caller.call("ann__t", "{}").await.succeeded());
    }
}

#[tokio::test]
async fn a_server_that_sends_null_params_is_heard() {
    let yaml = child_upstream("ann", &["--sloppy", "--tools", "add_tool,ask"]);
    let weir = Weir::with(&yaml).start().await;
    weir.wait_tools(["ann__add_tool", "ann__ask"]).await;
    assert!(weir.modern().call("ann__add_tool", "{}").await.succeeded());
    weir.wait_tools(["ann__add_tool", "ann__ask", "ann__added"])
        .await;
    // An error beside a null result is an error, without a byte order mark.
    let reply = weir.modern().call("ann__add_tool", r#"{"name":"x"}"#).await;
    assert!(reply.succeeded(), "{reply:?}");
    assert!(!weir.stderr().contains("is skipped"), "{}", weir.stderr());
}

#[tokio::test]
async fn a_byte_order_mark_is_cut_in_both_directions() {
    for shape in ["json", "sse"] {
        for modern in [false, true] {
            let up = Upstream::named("ann").tools(["t"]).prompts(["p"]);
            let up = if shape == "sse" { up.sse() } else { up.json() };
            let up = if modern {
                up.modern()
            } else {
                up.legacy("2025-11-25")
            };
            let up = up
                .fault(On::Anything, Times::Forever, Fault::Bom)
                .start()
                .await;
            let weir = Weir::over([&up]).start().await;
            assert_eq!(
                weir.tool_names().await,
                ["ann__t"],
                "{shape}, modern: {modern}"
            );
            for caller in Client::both(&weir).await {
                let reply = caller.call("ann__t", "{}").await;
                assert!(
                    reply.succeeded() && !reply.message().contains('\u{feff}'),
                    "{reply:?}"
                );
                assert_eq!(
                    names(&caller.list_all(Kind::Prompts.method()).await, "name"),
                    ["ann__p"]
                );
            }
            let legacy = weir.legacy("2025-11-25").await;
            let ping = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
            assert!(legacy.post(ping).await.succeeded());
            let oldest = weir.legacy("2025-03-26").await;
            let batch = "\u{feff}[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]";
            assert_eq!(oldest.post(batch).await.status, 200);
            let headers = [
                ("content-type", "application/json"),
                ("accept", "application/json, text/event-stream"),
            ];
            let reply = weir.modern().raw(Method::POST, headers, batch).await;
            assert_eq!(reply.code(), -32600, "{reply:?}");
        }
    }
}

#[tokio::test]
async fn a_byte_order_mark_before_config_and_secrets_is_cut() {
    let up = Upstream::named("ann")
        .tools(["t"])
        .bearer("s3cret")
        .start()
        .await;
    let auth = "auth: { type: bearer, token: { file: token } }";
    let weir = Weir::over([&up]).upstream("ann", auth);
    let weir = weir
        .start_in(|home, yaml| {
            std::fs::write(home.join("weir.yaml"), format!("\u{feff}{yaml}")).unwrap();
            std::fs::write(home.join("token"), "\u{feff}s3cret\r\n").unwrap();
        })
        .await;
    weir.wait_tools(["ann__t"]).await;
}
