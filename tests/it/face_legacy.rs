//! Weir as a server of the legacy era: 2025-03-26, 2025-06-18 and 2025-11-25.

use std::collections::HashSet;

use serde_json::Value;

use crate::support::client::Legacy;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

async fn jira() -> (Upstream, Weir) {
    let jira = Upstream::named("jira")
        .tools(["search", "get"])
        .start()
        .await;
    let weir = Weir::over([&jira]).start().await;
    (jira, weir)
}

#[tokio::test]
async fn every_legacy_version_is_spoken_and_others_are_offered_one() {
    let (_jira, weir) = jira().await;
    let mut sessions = HashSet::new();
    for version in VERSIONS {
        let legacy = weir.legacy(version).await;
        assert_eq!(legacy.version, version);
        assert_eq!(legacy.welcome["capabilities"]["tools"]["listChanged"], true);
        assert!(legacy.welcome["serverInfo"]["name"].is_string());
        let session = legacy.session.clone().unwrap();
        assert!(
            session.bytes().all(|byte| (0x21..=0x7e).contains(&byte)),
            "{session}"
        );
        assert!(session.len() >= 22, "{session}");
        sessions.insert(session);
        assert_eq!(legacy.tool_names().await, ["jira__search", "jira__get"]);
        assert_eq!(
            legacy.call("jira__get", r#"{"n":1}"#).await.text(),
            r#"jira.get {"n":1}"#
        );
        assert_eq!(legacy.request("ping", "{}").await.result(), "{}");
        let reply = legacy.request("server/discover", "{}").await;
        assert_eq!((reply.status, reply.code()), (200, -32601));
    }
    for other in ["1999-01-01", "2026-07-28", "2099-01-01"] {
        let chosen = weir.legacy(other).await;
        assert!(
            VERSIONS.contains(&chosen.version.as_str()),
            "{}",
            chosen.version
        );
        sessions.insert(chosen.session.unwrap());
    }
    assert_eq!(sessions.len(), 6);
}

#[tokio::test]
async fn a_request_needs_a_session_that_exists() {
    let (jira, weir) = jira().await;
    let legacy = weir.legacy("2025-11-25").await;
    let list = || legacy.ask("tools/list", "{}");
    assert_eq!(list().without("mcp-session-id").send().await.status, 400);
    assert_eq!(
        list()
            .header("mcp-protocol-version", "1999-01-01")
            .send()
            .await
            .status,
        400
    );
    assert_eq!(
        list().without("mcp-protocol-version").send().await.status,
        200
    );
    let session = legacy.session.clone().unwrap();
    let mut forged = session.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    for unknown in ["unknown", &String::from_utf8(forged).unwrap()] {
        let stranger = Legacy::resume(weir.url(), unknown, "2025-11-25");
        assert_eq!(
            stranger.request("tools/list", "{}").await.status,
            404,
            "{unknown}"
        );
        assert_eq!(stranger.listen().await.status, 404, "{unknown}");
        assert_eq!(stranger.delete().await.status, 404, "{unknown}");
    }
    assert_eq!(jira.count("tools/call"), 0);
}

#[tokio::test]
async fn a_batch_is_answered_in_the_one_version_that_has_them() {
    let (_jira, weir) = jira().await;
    let batch = r#"[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","method":"notifications/progress","params":{}},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"jira__get"}}]"#;
    let old = weir.legacy("2025-03-26").await;
    let reply = old.post(batch).await;
    assert_eq!(reply.status, 200);
    let answers: Vec<Value> = match reply.events.is_empty() {
        true => serde_json::from_slice(&reply.body).unwrap(),
        false => reply
            .events
            .iter()
            .flat_map(|event| {
                let event: Value = serde_json::from_str(event).unwrap();
                event.as_array().cloned().unwrap_or_else(|| vec![event])
            })
            .collect(),
    };
    assert_eq!(answers.len(), 2, "{answers:?}");
    let by = |id: Value| answers.iter().find(|answer| answer["id"] == id).unwrap();
    assert_eq!(by("a".into())["result"], serde_json::json!({}));
    assert_eq!(by(2.into())["result"]["content"][0]["text"], "jira.get {}");
    let notes = r#"[{"jsonrpc":"2.0","method":"notifications/progress","params":{}}]"#;
    assert_eq!(old.post(notes).await.status, 202);
    for bad in [
        "[]",
        r#"[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}]"#,
    ] {
        assert_eq!(old.post(bad).await.status, 400, "{bad}");
    }
    for version in ["2025-06-18", "2025-11-25"] {
        let reply = weir.legacy(version).await.post(batch).await;
        assert_eq!((reply.status, reply.code()), (400, -32600), "{version}");
    }
}

#[tokio::test]
async fn a_stream_needs_a_session_and_a_deleted_session_is_gone() {
    let (_jira, weir) = jira().await;
    let legacy = weir.legacy("2025-06-18").await;
    let nobody = Legacy::resume(weir.url(), "", "2025-06-18");
    assert!([400, 404, 405].contains(&nobody.listen().await.status));
    let stream = legacy.listen().await;
    assert_eq!(stream.status, 200);
    assert!(
        stream
            .header("content-type")
            .unwrap()
            .starts_with("text/event-stream")
    );
    let deleted = legacy.delete().await.status;
    assert!((200..300).contains(&deleted), "{deleted}");
    assert_eq!(legacy.request("tools/list", "{}").await.status, 404);
    assert_eq!(legacy.listen().await.status, 404);
    assert!(
        stream.finish().await.events.is_empty(),
        "the stream ends with its session"
    );
}

#[tokio::test]
async fn errors_of_well_formed_requests_come_with_200() {
    let (jira, weir) = jira().await;
    let legacy = weir.legacy("2025-11-25").await;
    let reply = legacy
        .ask("tools/call", r#"{"name":"nope"}"#)
        .id("\"x\"")
        .send()
        .await;
    assert_eq!(
        (reply.status, reply.code(), reply.id().as_deref()),
        (200, -32602, Some("\"x\""))
    );
    let reply = legacy.request("unknown/method", "{}").await;
    assert_eq!((reply.status, reply.code()), (200, -32601));
    assert_eq!(jira.count("tools/call"), 0);
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let (_jira, weir) = jira().await;
    let legacy = weir.legacy("2025-11-25").await;
    let cases = [
        ("{", -32700),
        ("", -32700),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"jira__get","name":"jira__search"}}"#,
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
    ];
    for (body, code) in cases {
        let reply = legacy.post(body).await;
        assert_eq!((reply.status, reply.code()), (400, code), "{body}");
    }
}

#[tokio::test]
async fn the_guard_stands_before_the_session() {
    let (_jira, weir) = jira().await;
    let legacy = weir.legacy("2025-11-25").await;
    let list = || legacy.ask("tools/list", "{}");
    assert_eq!(
        list()
            .header("content-type", "text/plain")
            .send()
            .await
            .status,
        415
    );
    assert_eq!(
        list().header("accept", "text/html").send().await.status,
        406
    );
    assert_eq!(
        list()
            .header("origin", "http://evil.example")
            .send()
            .await
            .status,
        403
    );
    let stranger = list()
        .without("mcp-session-id")
        .header("origin", "http://evil.example");
    assert_eq!(stranger.send().await.status, 403);
    let host = list().header("host", "evil.example").send().await.status;
    assert!([403, 421].contains(&host), "{host}");
}

#[tokio::test]
async fn notifications_and_responses_are_accepted_in_silence() {
    let (_jira, weir) = jira().await;
    let legacy = weir.legacy("2025-06-18").await;
    let reply = legacy
        .notify("notifications/roots/list_changed", "{}")
        .await;
    assert_eq!((reply.status, reply.body.len()), (202, 0));
    let reply = legacy
        .post(r#"{"jsonrpc":"2.0","id":99,"result":{}}"#)
        .await;
    assert_eq!((reply.status, reply.body.len()), (202, 0));
}

#[tokio::test]
async fn an_unknown_resource_has_the_code_of_its_time() {
    let up = Upstream::named("up").resources(["file:///a"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let reply = legacy
        .request("resources/read", r#"{"uri":"file:///nope"}"#)
        .await;
    assert_eq!((reply.status, reply.code()), (200, -32002));
}

#[tokio::test]
async fn a_session_outlives_weir() {
    let (_jira, weir) = {
        let jira = Upstream::named("jira").tools(["search"]).start().await;
        let weir = Weir::over([&jira]).state().start().await;
        (jira, weir)
    };
    let legacy = weir.legacy("2025-06-18").await;
    let session = legacy.session.clone().unwrap();
    let weir = weir.restart().await;
    let same = Legacy::resume(weir.url(), &session, "2025-06-18");
    assert_eq!(same.tool_names().await, ["jira__search"]);
    assert_eq!(
        same.call("jira__search", "{}").await.text(),
        "jira.search {}"
    );
}

#[tokio::test]
async fn an_answer_at_once_begins_with_an_id_for_a_client_that_prefers_streams() {
    let (_jira, weir) = jira().await;
    for version in VERSIONS {
        let legacy = weir.legacy(version).await;
        let params = r#"{"name":"jira__search","arguments":{"n":1e400}}"#;
        let ask = || legacy.ask("tools/call", params);
        // JSON first is JSON.
        for accepted in [None, Some("application/json, text/event-stream")] {
            let ask = ask();
            let ask = match accepted {
                Some(accepted) => ask.header("accept", accepted),
                None => ask,
            };
            let reply = ask.send().await;
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
        let ask = ask().header("accept", "text/event-stream, application/json");
        let reply = ask.send().await;
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        assert_eq!(reply.events.len(), 1, "{reply:?}");
        let body = String::from_utf8(reply.body.to_vec()).unwrap();
        if version != "2025-11-25" {
            assert!(!body.contains("id: "), "{body}");
            continue;
        }
        // An event without data, but with an id and the time after which to come back (SEP-1699).
        let first = body.split("\n\n").next().unwrap();
        let lines: Vec<_> = first.lines().collect();
        let [id, retry, "data: "] = lines[..] else {
            panic!("no such beginning: {body}");
        };
        assert_eq!(retry, "retry: 500");
        assert!(id.starts_with("id: "), "{id}");
    }
}
