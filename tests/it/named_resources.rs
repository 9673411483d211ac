//! Resources that no list has: a result names them, and they are read where that came from.

use crate::support::client::Client;
use crate::support::upstream::{Builder, Fault, On, Times, Upstream};
use crate::support::weir::Weir;

const LISTED: &str = r#"{"resources":[{"uri":"file:///listed","name":"l"}],"ttlMs":600000,"cacheScope":"public","resultType":"complete"}"#;
const LINK: &str = r#"{"resultType":"complete","content":[{"type":"resource_link","uri":"file:///made","name":"m"},{"type":"resource","resource":{"uri":"file:///kept","text":"t"}}]}"#;

/// A server whose tool names two resources that its list does not have.
async fn naming(builder: Builder) -> Upstream {
    let up = builder
        .resources(["file:///made", "file:///kept"])
        .answers("make", LINK);
    let list = On::Method("resources/list".into());
    up.fault(list, Times::Forever, Fault::Result(LISTED.into()))
        .start()
        .await
}

fn eras(name: &str) -> [Builder; 2] {
    [
        Upstream::named(name).modern(),
        Upstream::named(name).legacy("2025-11-25"),
    ]
}

#[tokio::test]
async fn a_resource_that_a_result_named_is_read_where_the_result_came_from() {
    for builder in eras("bob") {
        let ann = Upstream::named("ann")
            .resources(["file:///of-ann"])
            .start()
            .await;
        let bob = naming(builder).await;
        let weir = Weir::over([&ann, &bob]).start().await;
        let read = r#"{"uri":"file:///made"}"#;
        let complete = r#"{"ref":{"type":"ref/resource","uri":"file:///kept"},"argument":{"name":"a","value":"v"}}"#;
        for caller in Client::both(&weir).await {
            assert!(!caller.request("resources/read", read).await.succeeded());
            assert!(caller.call("bob__make", "{}").await.succeeded());
            for uri in ["file:///made", "file:///kept"] {
                let reply = caller
                    .request("resources/read", &format!(r#"{{"uri":"{uri}"}}"#))
                    .await;
                assert!(reply.result().contains(&format!("bob.{uri} ")), "{reply:?}");
            }
            let reply = caller.request("completion/complete", complete).await;
            assert!(reply.result().contains("bob completes v"), "{reply:?}");
        }
        // It is known in the session whose call it was, and in no other.
        let other = weir.legacy("2025-11-25").await;
        assert!(!other.request("resources/read", read).await.succeeded());
        assert_eq!(ann.count("resources/read"), 0);
    }
}

#[tokio::test]
async fn a_result_takes_no_resource_from_the_upstream_that_lists_it() {
    let ann = Upstream::named("ann")
        .resources(["file:///made"])
        .start()
        .await;
    let bob = naming(Upstream::named("bob").modern()).await;
    let weir = Weir::over([&ann, &bob]).start().await;
    let caller = weir.modern();
    assert!(caller.call("bob__make", "{}").await.succeeded());
    let reply = caller
        .request("resources/read", r#"{"uri":"file:///made"}"#)
        .await;
    assert!(reply.result().contains("ann.file:///made "), "{reply:?}");
}

#[tokio::test]
async fn the_flat_resource_uri_of_a_tool_moves_with_the_nested_one() {
    let tool = r#"{"name":"t","inputSchema":{"type":"object"},"_meta":{"ui/resourceUri":"ui://x","ui":{"resourceUri":"ui://x"}}}"#;
    let flat =
        r#"{"name":"u","inputSchema":{"type":"object"},"_meta":{"ui/resourceUri":"ui://x"}}"#;
    let up = |name| {
        Upstream::named(name)
            .raw_tool(tool)
            .raw_tool(flat)
            .resources(["ui://x"])
    };
    let (ann, bob) = (up("ann").start().await, up("bob").start().await);
    let weir = Weir::over([&ann, &bob]).start().await;
    for caller in Client::both(&weir).await {
        let tools = caller.list_all("tools/list").await;
        assert_eq!(tools[0].matches(r#""ui://x""#).count(), 2, "{tools:?}");
        assert_eq!(tools[2].matches(r#""ui://bob+x""#).count(), 2, "{tools:?}");
        assert_eq!(tools[3].matches(r#""ui://bob+x""#).count(), 1, "{tools:?}");
        let reply = caller
            .request("resources/read", r#"{"uri":"ui://bob+x"}"#)
            .await;
        assert!(reply.result().contains("bob.ui://x "), "{reply:?}");
    }
}

#[tokio::test]
async fn an_unknown_tool_of_an_upstream_that_is_down_says_so() {
    let up = Upstream::named("ann").tools(["t"]).start().await;
    up.fault(On::Anything, Times::Forever, Fault::Status(500));
    let bob = Upstream::named("bob").tools(["t"]).start().await;
    let weir = Weir::over([&up, &bob]).start().await;
    weir.wait_told("ann", "state", "failing").await;
    for caller in Client::both(&weir).await {
        let error = caller.call("ann__t", "{}").await.error();
        let expected = "Unknown tool: ann__t; its upstream `ann` has not been listed: answered with an HTTP error";
        assert_eq!(
            (&error["code"], &error["message"]),
            (&(-32602).into(), &expected.into())
        );
        for unknown in ["bob__x", "ann", "x"] {
            let error = caller.call(unknown, "{}").await.error();
            assert_eq!(error["message"], format!("Unknown tool: {unknown}"));
        }
    }
}
