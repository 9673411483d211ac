//! Which keys of a request's `_meta` an upstream gets: all of them if it is trusted, else those of the
//! specification.

use serde_json::Value;

use crate::support::client::{Client, call_params};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OWN: [&str; 4] = ["weir/path", "weir/deadlineMs", "baggage", "acme/customer"];

/// Calls a tool with everything in `_meta` and in headers that there is.
async fn call(client: &Client, tool: &str) {
    let ask = client.ask("tools/call", &call_params(tool, "{}"));
    let ask = ask
        .meta("acme/customer", r#"{"name":"Ann"}"#)
        .meta("baggage", r#""user=ann""#)
        .meta("weir/path", r#"["before"]"#)
        .meta("traceparent", &format!("\"{PARENT}\""))
        .meta("progressToken", "\"mine\"")
        .header("baggage", "user=ann")
        .header("x-request-id", "r-1");
    let reply = ask.send().await;
    assert!(reply.succeeded(), "{reply:?}");
}

#[tokio::test]
async fn a_service_of_somebody_else_gets_the_keys_of_the_specification_only() {
    for (setting, is_trusted) in [
        ("connector: saas", false),
        ("connector: saas\nforward_meta: true", true),
        ("connector: on_prem", true),
        ("connector: on_prem\nforward_meta: false", false),
    ] {
        for era in ["modern", "2025-11-25"] {
            let up = Upstream::named("up").tools(["t"]).resources(["file:///a"]);
            let up = match era {
                "modern" => up.modern(),
                version => up.legacy(version),
            };
            let up = up.start().await;
            let weir = Weir::over([&up]).upstream("up", setting).start().await;
            for client in Client::both(&weir).await {
                call(&client, "up__t").await;
                let sent = up.last("tools/call");
                let meta = &sent.value["params"]["_meta"];
                let said = format!("{setting}, {era}, {}: {meta}", client.era());
                for key in OWN {
                    assert_eq!(meta.get(key).is_some(), is_trusted, "{key}: {said}");
                }
                let baggage = sent.header("baggage");
                assert_eq!(baggage.is_some(), is_trusted, "{said}");
                assert_eq!(meta["traceparent"], PARENT, "{said}");
                assert_eq!(sent.header("traceparent"), Some(PARENT), "{said}");
                assert_eq!(sent.header("x-request-id"), Some("r-1"), "{said}");
                assert!(meta["progressToken"].is_u64(), "{said}");
                let version = meta.get("io.modelcontextprotocol/protocolVersion");
                assert_eq!(version.is_some(), era == "modern", "{said}");
            }
            // A request that weir sends for a caller with params of its own.
            let legacy = weir.legacy("2025-11-25").await;
            legacy
                .request("resources/subscribe", r#"{"uri":"file:///a"}"#)
                .await;
            for sent in up.requests("resources/subscribe") {
                let meta = &sent.value["params"]["_meta"];
                let has_path = meta.get("weir/path").is_some();
                assert_eq!(has_path, is_trusted, "{setting}: {meta}");
            }
        }
    }
}

#[tokio::test]
async fn a_call_without_meta_has_none_for_a_service_of_somebody_else() {
    let up = Upstream::named("up").tools(["t"]).legacy("2025-11-25");
    let up = up.start().await;
    let weir = Weir::over([&up])
        .upstream("up", "connector: saas")
        .start()
        .await;
    let caller = weir.legacy("2025-11-25").await;
    assert!(caller.call("up__t", "{}").await.succeeded());
    let sent = up.last("tools/call");
    assert_eq!(sent.value["params"].get("_meta"), None::<&Value>);
}
