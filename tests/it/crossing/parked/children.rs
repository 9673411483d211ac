//! Upstreams that are processes.

use super::{able, all, going_on, questions, state};
use crate::support::weir::{Weir, child_upstream};

const CALL: &str = r#"{"name":"kid__ask","arguments":{}}"#;

#[tokio::test]
async fn a_process_of_the_callers_own_asks_it() {
    let kid = child_upstream("kid", &["--tools", "ask"]) + "    sessions: per_caller\n";
    let weir = Weir::with(&kid).start().await;
    let caller = able(&weir);
    let (one, other) = tokio::join!(
        caller.request("tools/call", CALL),
        caller.request("tools/call", CALL)
    );
    for (asked, action) in [(&one, "accept"), (&other, "decline")] {
        let [(_, question)] = questions(asked).try_into().unwrap();
        assert_eq!(
            question,
            r#"{"method":"elicitation/create","params":{"message":"\u0041","x":1e400}}"#
        );
        let answer = all(asked, &format!(r#"{{"action":"{action}","n":1e400}}"#));
        let params = going_on(CALL, &state(asked), &answer);
        let reply = caller.request("tools/call", &params).await;
        let expected = format!(r#"{{"action":"{action}","n":1e400}}"#);
        assert!(reply.text().contains(&expected), "{reply:?}");
    }
}

#[tokio::test]
async fn a_process_that_all_callers_share_cannot_ask() {
    let weir = Weir::with(&child_upstream("kid", &["--tools", "ask"]));
    let weir = weir.start().await;
    let reply = able(&weir).request("tools/call", CALL).await;
    assert!(reply.text().contains("-32601"), "{reply:?}");
}
