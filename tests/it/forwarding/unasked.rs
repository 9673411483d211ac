//! Requests of upstreams where messages have no streams of their own: child processes, and weir on
//! stdio. And calls whose headers are out of date.

use std::path::Path;

use serde_json::json;

use super::{ABLE, V, able, over};
use crate::face_stdio::Piped;
use crate::support::asking::Asking;
use crate::support::upstream::{Fault, Kind, On, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};
use crate::support::{at, bounded};

const PARAMS: &str = r#"{"message":"\u0041","x":1e400}"#;

/// Starts a weir over a command with a child process for each caller. Returns the file that the
/// children write to, too.
async fn per_caller(home: &Path) -> (Weir, std::path::PathBuf) {
    let log = home.join("log");
    let args = ["--tools", "ask,count,nap", "--log", log.to_str().unwrap()];
    let kid = child_upstream("kid", &args) + "    sessions: per_caller\n";
    let weir = Weir::with(&kid).start().await;
    weir.wait_tools(["kid__ask", "kid__count", "kid__nap"])
        .await;
    (weir, log)
}

#[tokio::test]
async fn a_child_of_a_callers_own_keeps_what_is_the_callers_and_ends_with_it() {
    let home = tempfile::tempdir().unwrap();
    let (weir, log) = per_caller(home.path()).await;
    let (one, two) = (able(&weir).await, able(&weir).await);
    for expected in ["1", "2"] {
        for caller in [&one, &two] {
            assert_eq!(caller.call("kid__count", "{}").await.text(), expected);
        }
    }
    for expected in ["1", "2"] {
        assert_eq!(
            weir.modern().call("kid__count", "{}").await.text(),
            expected
        );
    }
    let said = |what: &str| {
        let lines = std::fs::read_to_string(&log).unwrap();
        lines.lines().filter(|line| line.contains(what)).count()
    };
    assert_eq!(
        said("\"sampling\""),
        2,
        "each is told what its caller can do"
    );
    one.delete().await;
    bounded("the end of one child", async {
        while said("EOF") < 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(two.call("kid__count", "{}").await.text(), "3");
    let (status, ..) = weir.interrupt().await;
    assert!(status.success());
    assert_eq!(said("EOF"), 3);
}

#[tokio::test]
async fn a_child_of_a_callers_own_asks_on_the_callers_own_stream() {
    let home = tempfile::tempdir().unwrap();
    let (weir, _) = per_caller(home.path()).await;
    let caller = able(&weir).await;
    let mut own = caller.listen().await;
    let answers = async {
        let asked = own.next().await.unwrap();
        assert_eq!(at(&asked, &["params"]).as_deref(), Some(PARAMS));
        let id = at(&asked, &["id"]).unwrap();
        caller
            .post(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"n":1e400}}}}"#
            ))
            .await;
    };
    let (reply, ()) = tokio::join!(caller.call("kid__ask", "{}"), answers);
    assert_eq!(
        reply.text(),
        r#"{"jsonrpc":"2.0","id":"q","result":{"n":1e400}}"#
    );
}

#[tokio::test]
async fn a_request_of_a_child_that_no_caller_can_answer_is_refused_at_once() {
    let home = tempfile::tempdir().unwrap();
    let (weir, _) = per_caller(home.path()).await;
    let shared = Weir::with(&child_upstream("kid", &["--tools", "ask"]))
        .start()
        .await;
    shared.wait_tools(["kid__ask"]).await;
    // A caller without a stream, and a process that all callers share.
    let (one, two) = (able(&weir).await, able(&shared).await);
    let _listens = two.listen().await;
    let replies = [
        one.call("kid__ask", "{}").await,
        two.call("kid__ask", "{}").await,
        shared.modern().call("kid__ask", "{}").await,
    ];
    for reply in replies {
        let said = reply.text();
        assert_eq!(
            at(&said, &["error", "code"]).as_deref(),
            Some("-32601"),
            "{said}"
        );
    }
}

/// Weir on pipes over this, with a caller that can be asked.
async fn piped(home: &Path, upstreams: &str) -> Piped {
    let file = home.join("weir.yaml");
    std::fs::write(&file, format!("version: 1\nupstreams:\n{upstreams}")).unwrap();
    let mut weir = Piped::start(&file, false);
    let params = format!(
        r#"{{"protocolVersion":"{V}","capabilities":{ABLE},"clientInfo":{{"name":"t","version":"1"}}}}"#
    );
    weir.result("0", "initialize", &params).await;
    weir.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
        .await;
    weir
}

#[tokio::test]
async fn the_caller_on_pipes_is_asked_and_its_answer_goes_back() {
    let home = tempfile::tempdir().unwrap();
    let up = Asking::named("up").tools(["ask"]).start().await;
    let mut weir = piped(home.path(), &up.yaml()).await;
    weir.request("1", "tools/call", r#"{"name":"up__ask"}"#)
        .await;
    let call = up.call().await;
    let told = up.requests("initialize").pop().unwrap();
    assert_eq!(told.raw(&["params", "capabilities"]).as_deref(), Some(ABLE));
    for (id, on_its_own) in [("\"a\"", false), ("\"b\"", true)] {
        let question = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"roots/list","params":{{"n":{id},"_meta":{{"progressToken":{id}}}}}}}"#
        );
        if on_its_own {
            up.tell(&call.session, &question).await;
        } else {
            call.say(&question).await;
        }
        let n: serde_json::Value = serde_json::from_str(id).unwrap();
        let asked = weir
            .find("a question", |said| said["params"]["n"] == n)
            .await;
        let token = at(&asked, &["params", "_meta", "progressToken"]).unwrap();
        weir.send(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#)).await;
        up.wait_for("progress", |seen| {
            seen.of("notifications/progress")
                .any(|got| got.value["params"]["progressToken"] == n)
        })
        .await;
        let (theirs, result) = (at(&asked, &["id"]).unwrap(), r#"{"roots":[],"x":1e400}"#);
        weir.send(&format!(
            r#"{{"jsonrpc":"2.0","id":{theirs},"result":{result}}}"#
        ))
        .await;
        assert_eq!(
            at(&up.answered(id).await, &["result"]).as_deref(),
            Some(result)
        );
    }
    weir.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
        .await;
    up.wait_count("notifications/roots/list_changed", 1).await;
    let session = call.session.clone();
    call.answer(r#"{"content":[]}"#).await;
    weir.find("the answer", |said| said["id"] == 1).await;
    let (status, _) = weir.end().await;
    assert!(status.success());
    up.left(&session).await;
}

#[tokio::test]
async fn a_child_may_ask_the_caller_on_pipes() {
    let home = tempfile::tempdir().unwrap();
    let kid = child_upstream("kid", &["--tools", "ask"]) + "    sessions: per_caller\n";
    let mut weir = piped(home.path(), &kid).await;
    weir.request("1", "tools/call", r#"{"name":"kid__ask"}"#)
        .await;
    // The request has a number that JSON libraries would change.
    let asked = weir.find("a question", |said| said.is_null()).await;
    assert_eq!(at(&asked, &["params"]).as_deref(), Some(PARAMS));
    let id = at(&asked, &["id"]).unwrap();
    weir.send(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-1,"message":"no"}}}}"#
    ))
    .await;
    let answer = weir.find("the answer", |said| said["id"] == 1).await;
    assert!(answer.contains(r#"\"code\":-1"#), "{answer}");
    weir.end().await;
}

#[tokio::test]
async fn a_call_that_is_under_way_when_stdin_ends_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let kid = child_upstream("kid", &["--tools", "count,nap"]) + "    sessions: per_caller\n";
    let mut weir = piped(home.path(), &kid).await;
    weir.result("1", "tools/call", r#"{"name":"kid__count"}"#)
        .await;
    weir.request("2", "tools/call", r#"{"name":"kid__nap"}"#)
        .await;
    let (status, said) = weir.end().await;
    assert!(status.success());
    let answer = said.iter().find(|said| said["id"] == 2).unwrap();
    assert_eq!(
        answer["result"]["content"][0]["text"],
        json!("kid.nap {}"),
        "{answer}"
    );
}

/// A tool that mirrors one argument into this header.
fn mirrors(header: &str) -> String {
    format!(
        r#"{{"name":"go","inputSchema":{{"type":"object","properties":{{"to":{{"type":"string","x-mcp-header":"{header}"}}}}}}}}"#
    )
}

#[tokio::test]
async fn a_definition_that_changed_unnoticed_is_listed_again_and_the_call_works() {
    let up = Upstream::named("up")
        .raw_tool(&mirrors("To"))
        .modern()
        .silent()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let (modern, legacy) = (weir.modern(), weir.legacy(V).await);
    let arguments = r#"{"name":"up__go","arguments":{"to":"x\u0041"}}"#;
    for header in ["Dest", "Aim"] {
        up.remove_tool("go");
        up.add_raw(Kind::Tools, &mirrors(header));
        let before = up.count("tools/call");
        let reply = match header {
            "Dest" => {
                modern
                    .ask("tools/call", arguments)
                    .header("mcp-param-to", "xA")
                    .send()
                    .await
            }
            _ => legacy.request("tools/call", arguments).await,
        };
        assert_eq!(reply.text(), r#"up.go {"to":"x\u0041"}"#, "{reply:?}");
        assert_eq!(up.count("tools/call"), before + 2);
        let sent = up.last("tools/call");
        let mirrored = sent.header(&format!("mcp-param-{}", header.to_lowercase()));
        assert_eq!(mirrored, Some("xA"));
    }
}

#[tokio::test]
async fn a_call_refused_for_its_headers_is_sent_twice_at_most() {
    let up = Upstream::named("up")
        .raw_tool(&mirrors("To"))
        .modern()
        .silent()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let mismatch = r#"{"code":-32020,"message":"Header mismatch"}"#;
    let call = On::Method("tools/call".into());
    up.fault(call, Times::Forever, Fault::Error(400, mismatch.into()));
    let call = || async {
        let arguments = r#"{"name":"up__go","arguments":{"to":"x"}}"#;
        let modern = weir.modern();
        let ask = modern.ask("tools/call", arguments);
        let reply = ask
            .header("mcp-param-to", "x")
            .header("mcp-param-aim", "x")
            .send()
            .await;
        assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
        assert_eq!(reply.error()["data"]["upstream"], "up");
    };
    // The definition is the same as before, so the call is not sent again.
    call().await;
    assert_eq!(up.count("tools/call"), 1);
    up.remove_tool("go");
    up.add_raw(Kind::Tools, &mirrors("Aim"));
    call().await;
    assert_eq!(up.count("tools/call"), 3);
}

#[tokio::test]
async fn cancelling_a_call_ends_the_request_that_its_upstream_sent_to_the_caller() {
    let up = Asking::named("up").tools(["ask"]).start().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#;
    let ask = super::calls(&caller, "up__ask").id("\"mine\"");
    let (mut stream, call) = super::begun(ask, &up, question).await;
    let asked = stream.next_value().await;
    caller
        .notify("notifications/cancelled", r#"{"requestId":"mine"}"#)
        .await;
    let told = up.wait_count("notifications/cancelled", 1).await;
    assert_eq!(told.raw(&["params", "requestId"]), Some(call.id.clone()));
    assert!(stream.next().await.is_none());
    let late = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, asked["id"]);
    assert_eq!(caller.post(&late).await.status, 202);
    call.closed().await;
    assert!(up.answers("\"q\"").is_empty());
}
