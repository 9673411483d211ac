//! Numbers of weir's own that come back spelled in another way: as text, or as a fraction. Peers
//! that keep ids as keys of an object, or read numbers as floating point, send them so.

use serde_json::{Value, json};

use super::{V, able, begun, calls, over};
use crate::support::asking::Asking;
use crate::support::at;
use crate::support::client::{Client, Legacy};
use crate::support::upstream::{Cancelled, Upstream};
use crate::support::weir::{Weir, child_upstream};

fn spellings(number: &str) -> [String; 4] {
    [
        number.to_owned(),
        format!("\"{number}\""),
        format!("{number}.0"),
        format!("\"{number}.0\""),
    ]
}

#[tokio::test]
async fn progress_is_relayed_however_its_token_is_spelled() {
    let old = Asking::named("old").tools(["ask"]).start().await;
    let new = Asking::named("new").modern().tools(["ask"]).start().await;
    let weir = over([&old, &new]).await;
    for caller in Client::both(&weir).await {
        for up in [&old, &new] {
            let params = format!(r#"{{"name":"{}__ask"}}"#, up.name());
            let ask = caller.ask("tools/call", &params);
            let ask = ask.meta("progressToken", "\"mine\"");
            let upstream = async {
                let call = up.call().await;
                let token = call.request.raw(&["params", "_meta", "progressToken"]);
                for (step, token) in spellings(&token.unwrap()).iter().enumerate() {
                    let params = format!(r#"{{"progressToken":{token},"progress":{step}}}"#);
                    let progress = "notifications/progress";
                    let message =
                        format!(r#"{{"jsonrpc":"2.0","method":"{progress}","params":{params}}}"#);
                    call.say(&message).await;
                }
                call.answer(r#"{"resultType":"complete","content":[]}"#)
                    .await;
            };
            let (reply, ()) = tokio::join!(ask.send(), upstream);
            let told = reply.notifications("notifications/progress");
            let steps: Vec<&Value> = told
                .iter()
                .map(|note| &note["params"]["progress"])
                .collect();
            assert_eq!(steps, [0, 1, 2, 3], "{reply:?}");
            assert!(
                told.iter()
                    .all(|note| note["params"]["progressToken"] == "mine")
            );
        }
    }
}

#[tokio::test]
async fn a_callers_answer_is_known_however_its_id_is_spelled() {
    let up = Asking::named("up").tools(["ask"]).start().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    for at_spelling in 0..4 {
        let theirs = format!("\"q{at_spelling}\"");
        let question = format!(
            r#"{{"jsonrpc":"2.0","id":{theirs},"method":"roots/list","params":{{"_meta":{{"progressToken":"p"}}}}}}"#
        );
        let (mut stream, call) = begun(calls(&caller, "up__ask"), &up, &question).await;
        let asked = stream.next().await.unwrap();
        let id = spellings(&at(&asked, &["id"]).unwrap())[at_spelling].clone();
        let progress = format!(r#"{{"progressToken":{id},"progress":{at_spelling}}}"#);
        caller.notify("notifications/progress", &progress).await;
        let heard = up
            .wait_count("notifications/progress", at_spelling + 1)
            .await;
        let expected = json!({"progressToken": "p", "progress": at_spelling});
        assert_eq!(heard.value["params"], expected);
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#);
        assert_eq!(caller.post(&body).await.status, 202);
        up.answered(&theirs).await;
        call.answer(r#"{"content":[]}"#).await;
        assert!(stream.finish().await.succeeded());
    }
}

#[tokio::test]
async fn a_child_may_send_numbers_back_as_text() {
    for era in ["legacy", "modern"] {
        let args = [
            "--era",
            era,
            "--tools",
            "echo,progress,add_tool",
            "--string-numbers",
        ];
        let weir = Weir::with(&child_upstream("kid", &args)).start().await;
        weir.wait_tools(["kid__add_tool", "kid__echo", "kid__progress"])
            .await;
        let legacy = weir.legacy(V).await;
        let ask = calls(&legacy, "kid__progress").meta("progressToken", "7");
        let reply = ask.send().await;
        let told = reply.notifications("notifications/progress");
        assert_eq!(told.len(), 3, "{reply:?}");
        assert!(told.iter().all(|note| note["params"]["progressToken"] == 7));
        assert!(legacy.call("kid__add_tool", "{}").await.succeeded());
        // Modern children tell of it on the stream of a subscription, by its number.
        weir.wait_tools(["kid__add_tool", "kid__added", "kid__echo", "kid__progress"])
            .await;
    }
}

#[tokio::test]
async fn a_cancellation_finds_its_request_however_the_id_is_spelled() {
    let up = Upstream::named("up").gate("work").start().await;
    let weir = Weir::over([&up]).start().await;
    let legacy = Legacy::open(weir.url(), V).await;
    for (at, (id, named)) in [("7", "\"7\""), ("\"8\"", "8"), (r#""\u0061""#, "\"a\"")]
        .into_iter()
        .enumerate()
    {
        let call = async {
            let _ = calls(&legacy, "up__work").id(id).send().await;
            std::future::pending::<()>().await;
        };
        let cancel = async {
            up.wait_running("work", 1).await;
            let params = format!(r#"{{"requestId":{named}}}"#);
            legacy.notify("notifications/cancelled", &params).await;
            up.wait_running("work", 0).await;
        };
        tokio::select! {
            () = call => {}
            () = cancel => {}
        }
        let seen = up.log().seen().cancelled.clone();
        assert_eq!(seen.len(), at + 1, "{id}: {seen:?}");
        assert_ne!(seen[at], Cancelled::Stray);
    }
}
