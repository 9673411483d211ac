//! The faults of the doubles do what they are named after.

use serde_json::json;

use crate::support::client::{Legacy, Modern};
use crate::support::upstream::{Cancelled, Fault, On, Sdk, Times, Upstream};

#[tokio::test]
async fn faults_hit_what_they_name_and_so_often() {
    let jira = Upstream::named("jira").tools(["a", "b"]).start().await;
    let modern = Modern::new(jira.url());
    jira.fail_lists(Times::Next(2), 503);
    for status in [503, 503, 200] {
        assert_eq!(modern.request("tools/list", "{}").await.status, status);
    }
    jira.fault(On::Tool("b".into()), Times::Forever, Fault::Html);
    assert_eq!(
        modern.call("b", "{}").await.header("content-type"),
        Some("text/html")
    );
    assert_eq!(modern.call("a", "{}").await.text(), "jira.a {}");
    jira.heal();
    assert_eq!(modern.call("b", "{}").await.text(), "jira.b {}");
    jira.list_empty(Times::Next(1));
    assert_eq!(modern.tool_names().await.len(), 0);
    assert_eq!(modern.tool_names().await.len(), 2);
}

#[tokio::test]
async fn damaged_answers_are_damaged_as_named() {
    let jira = Upstream::named("jira").tools(["a"]).start().await;
    let modern = Modern::new(jira.url());
    let next = async |fault| {
        jira.fault(On::Method("tools/list".into()), Times::Next(1), fault);
        modern.request("tools/list", "{}").await
    };
    let foreign = next(Fault::ForeignId("\"server-error\"".into())).await;
    assert_eq!(foreign.id().as_deref(), Some("\"server-error\""));
    assert!(foreign.succeeded());
    let half = next(Fault::CloseBody).await;
    assert!(half.broken && !half.body.is_empty(), "{half:?}");
    assert_eq!(next(Fault::Text(400, "nope".into())).await.body, "nope");
    assert_eq!(
        next(Fault::Error(
            200,
            r#"{"code":-1,"message":"x","data":[1]}"#.into()
        ))
        .await
        .error()["data"],
        json!([1])
    );
    jira.fault(On::Anything, Times::Next(1), Fault::StallBody);
    let mut stalled = modern.ask("tools/list", "{}").stream().await;
    assert_eq!(stalled.status, 200);
    let more = tokio::time::timeout(std::time::Duration::from_millis(50), stalled.next()).await;
    assert!(
        more.is_err(),
        "half a body is no event, and the end does not come"
    );
}

#[tokio::test]
async fn a_stopped_upstream_is_gone_and_returns_without_sessions() {
    let jira = Upstream::named("jira")
        .tools(["a"])
        .gate("slow")
        .legacy("2025-06-18")
        .start()
        .await;
    let legacy = Legacy::open(jira.url(), "2025-06-18").await;
    let mut stream = legacy.listen().await;
    jira.wait_listening().await;
    jira.stop().await;
    assert_eq!(stream.next().await, None);
    assert!(
        tokio::net::TcpStream::connect(jira.address())
            .await
            .is_err()
    );
    jira.restart().await;
    assert_eq!(legacy.request("tools/list", "{}").await.status, 404);
    assert_eq!(
        Legacy::open(jira.url(), "2025-06-18")
            .await
            .tool_names()
            .await,
        ["a", "slow"]
    );
}

#[tokio::test]
async fn doors_open_to_the_right_key_only() {
    let jira = Upstream::named("jira")
        .tools(["a"])
        .bearer("good")
        .start()
        .await;
    let modern = Modern::new(jira.url());
    let list = || modern.ask("tools/list", "{}");
    assert_eq!(list().send().await.status, 401);
    assert_eq!(
        list()
            .header("authorization", "Bearer bad")
            .send()
            .await
            .status,
        401
    );
    assert_eq!(
        list()
            .header("authorization", "Bearer good")
            .send()
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn old_sdks_refuse_the_probe_as_measured() {
    let table = [
        (
            Sdk::PyStateful,
            Some("\"server-error\""),
            -32600,
            "Missing session ID",
        ),
        (
            Sdk::PyStateless,
            Some("1"),
            -32600,
            "Unsupported protocol version: 2026-07-28",
        ),
        (
            Sdk::TsStateful,
            Some("null"),
            -32000,
            "Server not initialized",
        ),
        (
            Sdk::TsStateless,
            Some("null"),
            -32000,
            "Unsupported protocol version",
        ),
    ];
    for (sdk, id, code, text) in table {
        let old = Upstream::named("old")
            .tools(["a"])
            .old_sdk(sdk)
            .start()
            .await;
        let reply = Modern::new(old.url())
            .request("server/discover", "{}")
            .await;
        assert_eq!(
            (reply.status, reply.id().as_deref(), reply.code()),
            (400, id, code),
            "{sdk:?}"
        );
        assert!(
            reply.error()["message"].as_str().unwrap().contains(text),
            "{reply:?}"
        );
        let legacy = Legacy::open(old.url(), "2025-06-18").await;
        assert_eq!(legacy.session.is_none(), sdk.stateless());
        assert_eq!(legacy.tool_names().await, ["a"]);
    }
}

#[tokio::test]
async fn a_closed_connection_is_seen_as_a_cancellation() {
    for sse in [false, true] {
        let slow = Upstream::named("slow").gate("work");
        let slow = if sse { slow.sse() } else { slow.json() }.start().await;
        let modern = Modern::new(slow.url());
        {
            let call = modern.call("work", "{}");
            tokio::select! {
                _ = call => panic!("nobody released it"),
                () = slow.wait_running("work", 1) => {}
            }
        }
        drop(modern);
        slow.wait_cancelled(Cancelled::Closed {
            tool: "work".into(),
        })
        .await;
        slow.wait_running("work", 0).await;
    }
}

#[tokio::test]
async fn a_closed_connection_means_nothing_to_a_legacy_call() {
    for sse in [false, true] {
        let slow = Upstream::named("slow").tools(["quick"]).gate("work");
        let slow = if sse { slow.sse() } else { slow.json() }.start().await;
        let legacy = Legacy::open(slow.url(), "2025-11-25").await;
        tokio::select! {
            _ = legacy.call("work", "{}") => panic!("nobody released it"),
            () = slow.wait_running("work", 1) => {}
        }
        assert!(legacy.call("quick", "{}").await.succeeded());
        slow.wait_running("work", 1).await;
        slow.release("work");
        slow.wait_running("work", 0).await;
        assert_eq!(slow.log().seen().cancelled, []);
    }
}

#[tokio::test]
async fn a_cancel_notification_ends_a_legacy_call() {
    let slow = Upstream::named("slow").gate("work").start().await;
    let legacy = Legacy::open(slow.url(), "2025-11-25").await;
    let call = legacy
        .ask("tools/call", r#"{"name":"work"}"#)
        .id("77")
        .send();
    let cancel = async {
        slow.wait_running("work", 1).await;
        legacy
            .notify("notifications/cancelled", r#"{"requestId":77}"#)
            .await
    };
    let (reply, accepted) = tokio::join!(call, cancel);
    assert_eq!((reply.code(), accepted.status), (0, 202));
    slow.wait_cancelled(Cancelled::Notified {
        tool: "work".into(),
    })
    .await;
    legacy
        .notify("notifications/cancelled", r#"{"requestId":78}"#)
        .await;
    slow.wait_cancelled(Cancelled::Stray).await;
}
