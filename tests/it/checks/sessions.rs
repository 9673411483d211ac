//! Legacy sessions, and the one error code that differs between the eras.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::{ID, Rig, is_json, refused};
use crate::support::client::Legacy;
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;

#[tokio::test]
async fn an_unknown_resource_has_the_code_of_its_era() {
    for era in ["modern", "legacy"] {
        let up = Upstream::named("up").resources(["file:///a"]);
        let up = up.templates(["note://{id}"]);
        let up = match era {
            "modern" => up.modern(),
            _ => up.legacy("2025-11-25"),
        };
        let up = up.start().await;
        let weir = Weir::over([&up]).start().await;
        let (modern, legacy) = (weir.modern(), weir.legacy("2025-11-25").await);
        let unknown = r#"{"uri":"file:///nope"}"#;
        refused(modern.ask("resources/read", unknown), 200, -32602).await;
        refused(legacy.ask("resources/read", unknown), 200, -32002).await;
        // The resource has gone since it was listed: only the upstream knows that.
        up.remove(Kind::Resources, "file:///a");
        let gone = r#"{"uri":"file:///a"}"#;
        refused(modern.ask("resources/read", gone), 200, -32602).await;
        refused(legacy.ask("resources/read", gone), 200, -32002).await;
        // The only upstream with resources is asked even for a URI that it does not list.
        assert_eq!(up.count("resources/read"), 4, "{era}");
    }
}

#[tokio::test]
async fn every_legacy_version_opens_a_session_and_no_other_is_offered() {
    let rig = Rig::start().await;
    let versions = ["2025-03-26", "2025-06-18", "2025-11-25"];
    let mut sessions = BTreeSet::new();
    for (asked, offered) in versions
        .map(|version| (version, vec![version]))
        .into_iter()
        .chain(["1999-01-01", "2026-07-28", "2099-01-01"].map(|other| (other, versions.to_vec())))
    {
        // `open` sends `initialized` and expects 202.
        let legacy = rig.weir.legacy(asked).await;
        assert!(
            offered.contains(&legacy.version.as_str()),
            "{asked}: {}",
            legacy.version
        );
        let session = legacy.session.clone().unwrap();
        assert!(
            session.bytes().all(|byte| (0x21..=0x7e).contains(&byte)),
            "{session}"
        );
        assert!(session.len() >= 22, "{session}");
        sessions.insert(session);
        refused(legacy.ask("server/discover", "{}"), 200, -32601).await;
        let ping = legacy.ask("ping", "{}").id(ID).send().await;
        assert_eq!(
            ping.message(),
            format!(r#"{{"jsonrpc":"2.0","id":{ID},"result":{{}}}}"#)
        );
    }
    assert_eq!(sessions.len(), 6);
}

/// A request, a notification, a request.
const BATCH: &str = r#"[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","method":"notifications/progress","params":{}},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"jira__get"}}]"#;

#[tokio::test]
async fn a_request_needs_a_session_and_a_batch_one_of_its_own_version() {
    let rig = Rig::start().await;
    let legacy = rig.legacy().await;
    let list = || legacy.ask("tools/list", "{}");
    refused(list().without("mcp-session-id"), 400, -32600).await;
    for version in ["1999-01-01", "v1", "2025-11-26", ""] {
        refused(list().header("mcp-protocol-version", version), 400, -32600).await;
    }
    assert_eq!(
        list().without("mcp-protocol-version").send().await.status,
        200
    );
    for unknown in ["unknown", "", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let stranger = Legacy::resume(rig.weir.url(), unknown, "2025-11-25");
        refused(stranger.ask("tools/list", "{}"), 404, -32600).await;
        assert_eq!(stranger.listen().await.status, 404);
        assert_eq!(stranger.delete().await.status, 404);
        assert_eq!(stranger.post(BATCH).await.status, 404);
    }

    let old = rig.weir.legacy("2025-03-26").await;
    let reply = old.post(BATCH).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    is_json(&reply);
    let answers: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
    let ids: Vec<_> = answers
        .iter()
        .map(|answer| answer["id"].to_string())
        .collect();
    assert_eq!(
        BTreeSet::from_iter(ids),
        ["\"a\"".to_owned(), "2".to_owned()].into()
    );
    assert!(
        answers.iter().all(|answer| answer["result"].is_object()),
        "{answers:?}"
    );
    for newer in ["2025-06-18", "2025-11-25"] {
        let reply = rig.weir.legacy(newer).await.post(BATCH).await;
        assert_eq!((reply.status, reply.code()), (400, -32600), "{newer}");
        is_json(&reply);
    }
    assert_eq!(rig.jira.count("tools/call"), 1);
}

#[tokio::test]
async fn a_session_has_one_stream_and_ends_when_deleted() {
    let rig = Rig::start().await;
    let legacy = rig.weir.legacy("2025-06-18").await;
    for method in [Method::GET, Method::DELETE] {
        let accept = [("accept", "text/event-stream")];
        let reply = rig.modern.raw(method.clone(), accept, "").await;
        assert_eq!(reply.status, 400, "{method}: {reply:?}");
    }
    let mut stream = legacy.listen().await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    // A second stream takes the place of the first.
    let mut second = legacy.listen().await;
    assert_eq!((second.status, stream.next().await), (200, None));
    rig.jira.add_tool("added");
    rig.weir.resync("jira").await;
    let told = second.next_value().await;
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert!(
        legacy
            .tool_names()
            .await
            .contains(&"jira__added".to_owned())
    );
    let deleted = legacy.delete().await.status;
    assert!((200..300).contains(&deleted), "{deleted}");
    assert_eq!(
        second.next().await,
        None,
        "told once, and over with the session"
    );
    refused(legacy.ask("tools/list", "{}"), 404, -32600).await;
    assert_eq!(legacy.listen().await.status, 404);
    assert_eq!(legacy.delete().await.status, 404);
    assert_eq!(json!(rig.jira.count("tools/call")), 0);
}
