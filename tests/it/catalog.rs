//! The catalog: what is listed, under which names, and when it changes.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::bounded;
use crate::support::client::{Client, names};
use crate::support::upstream::{Fault, Kind, On, Paging, Times, Upstream};
use crate::support::weir::Weir;

/// The definition of one exposed tool.
async fn definition(weir: &Weir, name: &str) -> Value {
    let tools = weir.modern().list_all("tools/list").await;
    let tools = tools
        .iter()
        .map(|raw| serde_json::from_str::<Value>(raw).unwrap());
    let found = tools.into_iter().find(|tool| tool["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn every_page_is_followed_however_uneven() {
    let tools: Vec<String> = (0..9).map(|n| format!("t{n}")).collect();
    for sizes in [[3, 1, 4], [0, 0, 5], [8, 1, 0]] {
        let up = Upstream::named("up")
            .tools(tools.iter().map(String::as_str))
            .pages(sizes)
            .start()
            .await;
        let weir = Weir::over([&up]).start().await;
        let expected: Vec<String> = tools.iter().map(|tool| format!("up__{tool}")).collect();
        assert_eq!(weir.tool_names().await, expected, "{sizes:?}");
    }
}

#[tokio::test]
async fn a_list_without_end_is_an_error_and_the_last_good_one_stays() {
    let up = Upstream::named("up").tools(["a"]).start().await;
    let other = Upstream::named("other").tools(["b"]).start().await;
    let weir = Weir::over([&up, &other])
        .upstream("up", "limits: { tools: 50 }\ntimeouts: { list: 3s }")
        .start()
        .await;
    for paging in [Paging::Repeated, Paging::Endless] {
        up.set_paging(paging.clone());
        let before = up.count("tools/list");
        weir.resync("up").await;
        assert_eq!(weir.tool_names().await, ["up__a", "other__b"], "{paging:?}");
        assert!(up.count("tools/list") - before <= 60, "{paging:?}");
    }
}

#[tokio::test]
async fn a_bad_definition_is_left_out_alone() {
    let up = Upstream::named("up")
        .tools(["good"])
        .raw_tool(r#"{"description":"no name","inputSchema":{"type":"object"}}"#)
        .raw_tool(r#"{"name":7,"inputSchema":{"type":"object"}}"#)
        .raw_tool(r#"{"name":"","inputSchema":{"type":"object"}}"#)
        .raw_tool(r#"{"name":"odd","inputSchema":"none"}"#)
        .raw_tool(r#"{"name":"twice","name":"twice2","inputSchema":{"type":"object"}}"#)
        .raw_tool("17")
        .raw_tool("null")
        .tools(["last"])
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    assert_eq!(weir.tool_names().await, ["up__good", "up__last"]);
}

#[tokio::test]
async fn names_are_legal_within_budget_and_lead_home() {
    let long = "l".repeat(90);
    let odd = [
        "weird name/é",
        "weird name é",
        "dots-and-dashes_1",
        long.as_str(),
    ];
    let up = Upstream::named("up").tools(odd).start().await;
    let weir = Weir::over([&up]).start().await;
    let modern = weir.modern();
    let exposed = weir.tool_names().await;
    assert_eq!(exposed.len(), 4);
    assert!(exposed.contains(&"up__dots-and-dashes_1".to_owned()));
    for (name, original) in exposed.iter().zip(odd) {
        assert!(name.len() <= 64 && name.starts_with("up__"), "{name}");
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
            "{name}"
        );
        assert_eq!(
            modern.call(name, "{}").await.text(),
            format!("up.{original} {{}}")
        );
    }
    let again = Weir::over([&up]).start().await;
    assert_eq!(
        again.tool_names().await,
        exposed,
        "the same names every time"
    );
    let short = Weir::over([&up])
        .top("naming: { max_length: 24 }")
        .start()
        .await;
    assert!(short.tool_names().await.iter().all(|name| name.len() <= 24));
}

#[tokio::test]
async fn of_two_routes_with_one_name_the_earlier_upstream_keeps_it() {
    let one = Upstream::named("one").tools(["a", "b"]).start().await;
    let two = Upstream::named("two").tools(["a", "c"]).start().await;
    let weir = Weir::over([&one, &two])
        .upstream("one", "namespace: x")
        .upstream("two", "namespace: x")
        .start()
        .await;
    let exposed = weir.tool_names().await;
    assert_eq!(exposed.len(), 4, "{exposed:?}");
    assert!(exposed.contains(&"x__b".to_owned()) && exposed.contains(&"x__c".to_owned()));
    let modern = weir.modern();
    assert_eq!(modern.call("x__a", "{}").await.text(), "one.a {}");
    let other = exposed
        .iter()
        .find(|name| name.starts_with("x__a_"))
        .unwrap();
    assert_eq!(modern.call(other, "{}").await.text(), "two.a {}");
    let catalog = weir.admin("/catalog").await.to_string();
    assert!(catalog.contains("conflict"), "{catalog}");
}

#[tokio::test]
async fn a_namespace_may_be_empty_or_another_and_prefixes_can_be_stripped() {
    let bare = Upstream::named("bare").tools(["a"]).start().await;
    let gateway = Upstream::named("gateway")
        .tools(["target___go"])
        .start()
        .await;
    let weir = Weir::over([&bare, &gateway])
        .upstream("bare", "namespace: \"\"")
        .upstream("gateway", "namespace: gw\nnames: { strip: \"^[^_]+___\" }")
        .start()
        .await;
    assert_eq!(weir.tool_names().await, ["a", "gw__go"]);
    assert_eq!(
        weir.modern().call("gw__go", "{}").await.text(),
        "gateway.target___go {}"
    );
    assert_eq!(
        gateway.last("tools/call").header("mcp-name"),
        Some("target___go")
    );
}

#[tokio::test]
async fn a_denied_tool_looks_unknown() {
    let up = Upstream::named("up")
        .tools(["issue_get", "issue_delete", "search_x", "other"])
        .start()
        .await;
    let rules = r#"tools: { allow: ["issue_*", "search_*"], deny: ["*delete*"] }"#;
    let weir = Weir::over([&up]).upstream("up", rules).start().await;
    assert_eq!(weir.tool_names().await, ["up__issue_get", "up__search_x"]);
    let modern = weir.modern();
    let denied = modern.call("up__issue_delete", "{}").await;
    let unknown = modern.call("up__issue_delota", "{}").await;
    assert_eq!(
        denied.raw_error(),
        unknown.raw_error().replace("delota", "delete")
    );
    assert_eq!((denied.code(), up.count("tools/call")), (-32602, 0));
}

#[tokio::test]
async fn a_tool_can_be_renamed_described_and_given_arguments() {
    let schema = r#"{"type":"object","properties":{"q":{"type":"string"},"tenant":{"type":"string"},"debug":{"type":"boolean"}},"required":["q","tenant"]}"#;
    let up = Upstream::named("up")
        .raw_tool(&format!(
            r#"{{"name":"qry","description":"old","inputSchema":{schema}}}"#
        ))
        .start()
        .await;
    let rules = r#"tools: { override: { qry: { name: query_orders, description: "Finds orders.", hide_args: [debug], set_args: { tenant: eu } } } }"#;
    let weir = Weir::over([&up]).upstream("up", rules).start().await;
    let tool = definition(&weir, "up__query_orders").await;
    assert_eq!(tool["description"], "Finds orders.");
    let properties = tool["inputSchema"]["properties"].as_object().unwrap();
    assert_eq!(properties.keys().collect::<Vec<_>>(), ["q"]);
    assert_eq!(tool["inputSchema"]["required"], json!(["q"]));
    let modern = weir.modern();
    assert!(
        modern
            .call("up__query_orders", r#"{"q":1e400}"#)
            .await
            .succeeded()
    );
    let call = up.last("tools/call");
    assert_eq!(call.raw(&["params", "name"]).as_deref(), Some("\"qry\""));
    assert_eq!(
        call.raw(&["params", "arguments", "q"]).as_deref(),
        Some("1e400")
    );
    assert_eq!(
        call.raw(&["params", "arguments", "tenant"]).as_deref(),
        Some("\"eu\"")
    );
    for hidden in [r#"{"q":"x","tenant":"us"}"#, r#"{"q":"x","debug":true}"#] {
        assert_eq!(modern.call("up__query_orders", hidden).await.code(), -32602);
    }
    assert_eq!(up.count("tools/call"), 1);
    assert_eq!(modern.call("up__qry", "{}").await.code(), -32602);
}

#[tokio::test]
async fn a_list_is_answered_without_asking_an_upstream() {
    let up = Upstream::named("up").tools(["a"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let before = up.count("tools/list");
    for _ in 0..5 {
        assert_eq!(weir.tool_names().await, ["up__a"]);
    }
    assert_eq!(up.count("tools/list"), before);
    up.stop().await;
    assert_eq!(weir.tool_names().await, ["up__a"]);
}

#[tokio::test]
async fn a_resync_by_hand_publishes_only_a_change() {
    let up = Upstream::named("up").tools(["a"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let before = weir.generation().await;
    weir.resync("up").await;
    assert_eq!(weir.generation().await, before);
    up.add_tool("b");
    up.remove_tool("a");
    weir.resync("up").await;
    assert_eq!(weir.tool_names().await, ["up__b"]);
    weir.wait_generation(before + 1).await;
    assert_eq!(weir.generation().await, before + 1);
    let gone = weir.modern().call("up__a", "{}").await;
    assert_eq!((gone.code(), up.count("tools/call")), (-32602, 0));
}

#[tokio::test]
async fn a_change_that_is_announced_is_listed_at_once() {
    let old = Upstream::named("old")
        .tools(["a"])
        .legacy("2025-06-18")
        .start()
        .await;
    let new = Upstream::named("new").tools(["a"]).modern().start().await;
    let weir = Weir::over([&old, &new]).start().await;
    for up in [&old, &new] {
        up.wait_listening().await;
        up.add_tool("b");
        up.notify_list_changed(Kind::Tools);
    }
    weir.wait_tools(["old__a", "old__b", "new__a", "new__b"])
        .await;
}

#[tokio::test]
async fn announcements_are_heard_again_after_an_upstream_came_back() {
    let old = Upstream::named("old")
        .tools(["a"])
        .legacy("2025-06-18")
        .start()
        .await;
    let new = Upstream::named("new").tools(["a"]).modern().start().await;
    let weir = Weir::over([&old, &new]).start().await;
    for up in [&old, &new] {
        up.wait_listening().await;
        up.restart().await;
        up.wait_listening().await;
        up.add_tool("b");
        up.notify_list_changed(Kind::Tools);
    }
    weir.wait_tools(["old__a", "old__b", "new__a", "new__b"])
        .await;
}

#[tokio::test]
async fn a_silent_change_is_found_by_the_schedule() {
    let often = Upstream::named("often").tools(["a"]).silent().start().await;
    let cron = Upstream::named("cron").tools(["a"]).silent().start().await;
    let weir = Weir::over([&often, &cron])
        .upstream("often", "resync: 1s")
        .upstream("cron", "resync: { cron: \"* * * * * *\" }")
        .start()
        .await;
    often.add_tool("b");
    cron.add_tool("b");
    weir.wait_tools(["often__a", "often__b", "cron__a", "cron__b"])
        .await;
}

/// A laptop sleeps, a machine is moved: ticks that are late are made up for once, and then it goes on.
#[tokio::test]
async fn a_weir_that_stood_still_for_a_while_goes_on_listing() {
    let often = Upstream::named("often").tools(["a"]).start().await;
    let cron = Upstream::named("cron").tools(["a"]).start().await;
    let weir = Weir::over([&often, &cron])
        .upstream("often", "resync: 1s")
        .upstream("cron", "resync: { cron: \"* * * * * *\" }")
        .start()
        .await;
    weir.wait_tools(["often__a", "cron__a"]).await;
    weir.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let listed = [&often, &cron].map(|up| up.count("tools/list"));
    weir.signal(Signal::CONT);
    for (up, before) in [&often, &cron].into_iter().zip(listed) {
        bounded("more listings", async {
            while up.count("tools/list") < before + 4 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_listing_is_asked_for_again_when_its_ttl_is_over() {
    let up = Upstream::named("up")
        .tools(["a"])
        .silent()
        .modern()
        .ttl_ms(1000)
        .start()
        .await;
    let weir = Weir::over([&up]).upstream("up", "resync: 1h").start().await;
    up.add_tool("b");
    weir.wait_tools(["up__a", "up__b"]).await;
}

#[tokio::test]
async fn a_failed_resync_keeps_the_last_good_tools() {
    let up = Upstream::named("up")
        .tools(["a", "b", "c"])
        .pages([2])
        .start()
        .await;
    let weir = Weir::over([&up])
        .upstream("up", "timeouts: { list: 1s }")
        .start()
        .await;
    let good = weir.tool_names().await;
    up.add_tool("d");
    let faults = [
        Fault::Status(500),
        Fault::Status(401),
        Fault::Html,
        Fault::Json("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}".into()),
        Fault::Json("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":{}}}".into()),
        Fault::Error(200, r#"{"code":-32603,"message":"no"}"#.into()),
        Fault::Close,
        Fault::CloseBody,
        Fault::StallBody,
    ];
    for fault in faults {
        up.fault(On::Lists, Times::Forever, fault.clone());
        weir.resync("up").await;
        assert_eq!(weir.tool_names().await, good, "{fault:?}");
        up.heal();
    }
    weir.resync("up").await;
    assert_eq!(weir.tool_names().await.len(), 4);
}

#[tokio::test]
async fn an_empty_list_after_a_full_one_is_believed_when_it_is_confirmed() {
    let up = Upstream::named("up").tools(["a"]).start().await;
    let weir = Weir::over([&up]).start().await;
    up.list_empty(Times::Next(1));
    weir.resync("up").await;
    assert_eq!(weir.tool_names().await, ["up__a"]);
    up.list_empty(Times::Forever);
    weir.resync("up").await;
    weir.wait_tools([]).await;
    up.heal();
    weir.resync("up").await;
    assert_eq!(weir.tool_names().await, ["up__a"]);
}

#[tokio::test]
async fn a_resource_keeps_its_uri_while_one_upstream_owns_it() {
    let one = Upstream::named("one")
        .resources(["file:///a", "ui://app/x"])
        .start()
        .await;
    let two = Upstream::named("two")
        .resources(["file:///a", "file:///b"])
        .start()
        .await;
    let weir = Weir::over([&one, &two]).start().await;
    let modern = weir.modern();
    let uris = names(&modern.list_all("resources/list").await, "uri");
    assert_eq!(uris.len(), 4, "{uris:?}");
    assert!(uris.contains(&"ui://app/x".to_owned()) && uris.contains(&"file:///b".to_owned()));
    let mut served = Vec::new();
    for uri in &uris {
        let read = modern
            .request("resources/read", &json!({ "uri": uri }).to_string())
            .await
            .value();
        served.push(read["contents"][0]["text"].as_str().unwrap().to_owned());
    }
    served.sort();
    assert_eq!(
        served,
        [
            "one.file:///a {}",
            "one.ui://app/x {}",
            "two.file:///a {}",
            "two.file:///b {}"
        ]
    );
}

#[tokio::test]
async fn names_have_the_characters_that_models_accept_unless_the_config_says_mcp() {
    let dotted = ["get.user", "get_user"];
    let up = Upstream::named("up").tools(dotted).prompts(dotted);
    let up = up.start().await;
    let strict = Weir::over([&up]).start().await;
    let names = strict.tool_names().await;
    assert_eq!(names, ["up__get_user_84092056", "up__get_user"]);
    for client in Client::both(&strict).await {
        for (name, original) in names.iter().zip(dotted) {
            let said = client.call(name, "{}").await.text();
            assert_eq!(said, format!("up.{original} {{}}"));
            let params = format!(r#"{{"name":"{name}"}}"#);
            let reply = client.request("prompts/get", &params).await;
            assert!(reply.result().contains(&format!("up.{original} ")));
        }
    }
    let naming = "naming: { charset: mcp, separator: \".\" }";
    let mcp = Weir::over([&up]).top(naming).start().await;
    assert_eq!(mcp.tool_names().await, ["up.get.user", "up.get_user"]);
}
