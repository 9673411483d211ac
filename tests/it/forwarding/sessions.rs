//! Sessions of a caller's own at upstreams.

use std::sync::Arc;

use super::{ABLE, V, able, begun, calls, over};
use crate::support::asking::{Asking, Call};
use crate::support::client::{Legacy, Reply};
use crate::support::weir::Weir;

/// Makes a call that is answered at once. Returns the reply, and the session that it reached the
/// upstream in.
async fn called(caller: &Legacy, tool: &str, up: &Asking) -> (Reply, String) {
    let answer = async {
        let call = up.call().await;
        let session = call.session.clone();
        call.answer(&format!(
            r#"{{"content":[{{"type":"text","text":"{session}"}}]}}"#
        ))
        .await;
        session
    };
    tokio::join!(calls(caller, tool).send(), answer)
}

async fn up() -> Asking {
    Asking::named("up").tools(["ask"]).start().await
}

#[tokio::test]
async fn an_upstream_gets_the_capabilities_and_the_version_of_the_caller() {
    let up = up().await;
    let weir = over([&up]).await;
    let own = up.wait_count("initialize", 1).await;
    assert_eq!(own.raw(&["params", "capabilities"]).as_deref(), Some("{}"));
    let with_tasks = ABLE.replacen('{', r#"{"tasks":{"list":{}},"#, 1);
    for (round, (version, says, expected)) in [
        (V, ABLE, ABLE),
        ("2025-06-18", with_tasks.as_str(), ABLE),
        ("2025-03-26", "{}", "{}"),
    ]
    .into_iter()
    .enumerate()
    {
        let caller = Legacy::open_with(weir.url(), version, says).await;
        let (reply, session) = called(&caller, "up__ask", &up).await;
        assert_eq!(reply.text(), session);
        let told = up.wait_count("initialize", round + 2).await;
        assert_eq!(
            told.raw(&["params", "capabilities"]).as_deref(),
            Some(expected)
        );
        assert_eq!(
            told.raw(&["params", "protocolVersion"]),
            Some(format!("\"{version}\""))
        );
        let call = up.requests("tools/call").pop().unwrap();
        assert_eq!(call.header("mcp-protocol-version"), Some(version));
    }
}

#[tokio::test]
async fn every_caller_has_its_own_session_and_modern_callers_share_one() {
    let up = up().await;
    let weir = over([&up]).await;
    let shared = up.sessions().remove(0);
    let (one, two) = (able(&weir).await, able(&weir).await);
    let (_, first) = called(&one, "up__ask", &up).await;
    let (_, second) = called(&two, "up__ask", &up).await;
    let (_, again) = called(&one, "up__ask", &up).await;
    assert!(first != second && first != shared && second != shared);
    assert_eq!(again, first);
    for _ in 0..2 {
        let modern = weir.modern();
        let answer = async {
            let call = up.call().await;
            let session = call.session.clone();
            call.answer("{}").await;
            session
        };
        let (reply, session) = tokio::join!(modern.call("up__ask", "{}"), answer);
        assert!(reply.succeeded());
        assert_eq!(session, shared);
    }
    weir.resync("up").await;
    let lists = up.requests("tools/list");
    assert!(
        lists
            .iter()
            .all(|list| list.header("mcp-session-id") == Some(&shared))
    );
    assert_eq!(up.count("initialize"), 3);
}

#[tokio::test]
async fn calls_at_once_open_one_session() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = Arc::new(able(&weir).await);
    let sent = futures::future::join_all((0..8).map(|_| calls(&caller, "up__ask").send()));
    let answered = async {
        let mut sessions = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let call = up.call().await;
            sessions.insert(call.session.clone());
            call.answer("{}").await;
        }
        sessions
    };
    let (replies, sessions) = tokio::join!(sent, answered);
    assert!(replies.iter().all(Reply::succeeded));
    assert_eq!((sessions.len(), up.count("initialize")), (1, 2));
}

#[tokio::test]
async fn a_session_ends_upstream_with_the_caller_and_all_of_them_with_weir() {
    let up = up().await;
    let weir = over([&up]).await;
    let shared = up.sessions().remove(0);
    let callers = [able(&weir).await, able(&weir).await, able(&weir).await];
    let mut sessions = Vec::new();
    for caller in &callers {
        sessions.push(called(caller, "up__ask", &up).await.1);
    }
    assert!(callers[0].delete().await.status < 300);
    up.left(&sessions[0]).await;
    assert_eq!(called(&callers[1], "up__ask", &up).await.1, sessions[1]);
    assert_eq!(callers[0].call("up__ask", "{}").await.status, 404);
    let (status, _, stderr) = weir.interrupt().await;
    assert!(status.success(), "{stderr}");
    for session in [&shared, &sessions[1], &sessions[2]] {
        up.left(session).await;
    }
    assert!(up.sessions().is_empty());
}

#[tokio::test]
async fn a_forgotten_session_is_opened_again_with_its_settings_and_the_call_works() {
    let up = Asking::named("up")
        .tools(["ask"])
        .resources(["file:///a"])
        .start()
        .await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    called(&caller, "up__ask", &up).await;
    let set = caller
        .request("logging/setLevel", r#"{"level":"error"}"#)
        .await;
    assert_eq!(set.result(), "{}");
    let subscribed = caller
        .request("resources/subscribe", r#"{"uri":"file:///a"}"#)
        .await;
    assert_eq!(subscribed.result(), "{}");
    up.forget();
    let (reply, session) = called(&caller, "up__ask", &up).await;
    assert_eq!(reply.text(), session);
    let said = |method: &str| {
        let requests = up.requests(method).into_iter();
        let here = requests.filter(|got| got.header("mcp-session-id") == Some(&session));
        here.map(|got| got.value["params"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        said("logging/setLevel"),
        [serde_json::json!({"level":"error"})]
    );
    assert_eq!(said("resources/subscribe")[0]["uri"], "file:///a");
    assert_eq!(said("resources/subscribe").len(), 1);
    let opened = up.requests("initialize").into_iter();
    let opened = opened.filter(|got| got.raw(&["params", "capabilities"]).as_deref() == Some(ABLE));
    assert_eq!(opened.count(), 2);
}

#[tokio::test]
async fn a_subscription_at_an_upstream_that_forgot_everything_works() {
    let up = Asking::named("up")
        .tools(["ask"])
        .resources(["file:///a"])
        .start()
        .await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    called(&caller, "up__ask", &up).await;
    up.forget();
    let reply = caller
        .request("resources/subscribe", r#"{"uri":"file:///a"}"#)
        .await;
    assert!(reply.succeeded(), "{reply:?}");
    let told = up.requests("resources/subscribe").pop().unwrap();
    let open = up.sessions();
    assert!(
        open.iter()
            .any(|id| told.header("mcp-session-id") == Some(id))
    );
}

#[tokio::test]
async fn changed_roots_reach_the_upstream_sessions_of_that_caller_only() {
    let (a, b) = (
        Asking::named("a").tools(["ask"]).start().await,
        Asking::named("b").tools(["ask"]).start().await,
    );
    let weir = over([&a, &b]).await;
    let (one, two) = (able(&weir).await, able(&weir).await);
    let (_, mine) = called(&one, "a__ask", &a).await;
    called(&two, "a__ask", &a).await;
    called(&two, "b__ask", &b).await;
    let changed = "notifications/roots/list_changed";
    assert_eq!(one.notify(changed, "{}").await.status, 202);
    let got = a.wait_count(changed, 1).await;
    assert_eq!(got.header("mcp-session-id"), Some(mine.as_str()));
    // Later messages have arrived, and it has not arrived twice.
    called(&one, "a__ask", &a).await;
    called(&two, "b__ask", &b).await;
    assert_eq!((a.count(changed), b.count(changed)), (1, 0));
}

#[tokio::test]
async fn an_upstream_without_session_ids_is_shared_and_its_questions_are_refused() {
    // An upstream without session ids keeps nothing for a caller, so there are no sessions of the
    // callers' own, and none that it could send requests in.
    let up = crate::support::upstream::Upstream::named("up")
        .tools(["go"])
        .old_sdk(crate::support::upstream::Sdk::TsStateless)
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let caller = able(&weir).await;
    assert_eq!(caller.call("up__go", "{}").await.text(), "up.go {}");
    assert_eq!(up.count("initialize"), 1);
}

#[tokio::test]
async fn an_upstream_that_takes_one_session_only_is_shared() {
    use crate::support::upstream::{Fault, On, Times, Upstream};
    let up = Upstream::named("up")
        .tools(["go"])
        .legacy("2025-06-18")
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    // The TypeScript SDK answers so if one transport serves all.
    let again = r#"{"code":-32600,"message":"Invalid Request: Server already initialized"}"#;
    let open = On::Method("initialize".into());
    up.fault(open, Times::Forever, Fault::Error(400, again.into()));
    let caller = able(&weir).await;
    for _ in 0..2 {
        let reply = caller.call("up__go", "{}").await;
        assert!(reply.succeeded(), "{reply:?}");
    }
    // An error of another kind says nothing about sessions.
    up.heal();
    let open = On::Method("initialize".into());
    up.fault(open, Times::Next(1), Fault::Status(503));
    assert_eq!(caller.call("up__go", "{}").await.code(), -32603);
    assert!(caller.call("up__go", "{}").await.succeeded());
    assert_eq!(up.sessions(), 2);
}

#[tokio::test]
async fn a_call_of_a_modern_caller_cannot_ask() {
    let up = up().await;
    let weir = over([&up]).await;
    let modern = weir.modern();
    let upstream = async {
        let call: Call = up.call().await;
        call.say(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#)
            .await;
        let refused = up.answered("\"q\"").await;
        call.answer(r#"{"content":[]}"#).await;
        refused
    };
    let (reply, refused) = tokio::join!(modern.call("up__ask", "{}"), upstream);
    assert!(refused.contains("-32601"));
    assert!(reply.succeeded());
}

#[tokio::test]
async fn a_log_level_is_set_in_open_upstream_sessions_and_in_later_ones() {
    let (a, b) = (
        Asking::named("a").tools(["ask"]).start().await,
        Asking::named("b").tools(["ask"]).start().await,
    );
    let quiet = Asking::named("quiet")
        .tools(["ask"])
        .capabilities(r#"{"tools":{}}"#)
        .start()
        .await;
    let weir = over([&a, &b, &quiet]).await;
    let caller = able(&weir).await;
    let (_, open) = called(&caller, "a__ask", &a).await;
    for bad in [r#"{"level":"loud"}"#, r#"{"level":1}"#, "{}"] {
        let reply = caller.request("logging/setLevel", bad).await;
        assert_eq!((reply.status, reply.code()), (200, -32602), "{bad}");
    }
    let reply = caller
        .request("logging/setLevel", r#"{"level":"warning"}"#)
        .await;
    assert_eq!(reply.result(), "{}");
    let set = a.wait_count("logging/setLevel", 1).await;
    assert_eq!(
        set.raw(&["params"]).as_deref(),
        Some(r#"{"level":"warning"}"#)
    );
    assert_eq!(set.header("mcp-session-id"), Some(open.as_str()));
    let (_, later) = called(&caller, "b__ask", &b).await;
    let set = b.wait_count("logging/setLevel", 1).await;
    assert_eq!(set.header("mcp-session-id"), Some(later.as_str()));
    called(&caller, "quiet__ask", &quiet).await;
    assert_eq!(quiet.count("logging/setLevel"), 0);
    let modern = weir
        .modern()
        .request("logging/setLevel", r#"{"level":"info"}"#)
        .await;
    assert_eq!((modern.status, modern.code()), (404, -32601));
}

#[tokio::test]
async fn log_messages_arrive_on_the_stream_they_were_sent_on() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let mut own = caller.listen().await;
    let log = |data: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":{data},"x":1e400}}}}"#
        )
    };
    let (mut stream, call) = begun(calls(&caller, "up__ask"), &up, &log("1")).await;
    assert_eq!(stream.next().await.unwrap(), log("1"));
    up.tell(&call.session, &log("2")).await;
    assert_eq!(own.next().await.unwrap(), log("2"));
    call.answer("{}").await;
    assert_eq!(stream.finish().await.events.len(), 1);
}
