//! States: good once, for one principal and request.

use super::{CALL, FORM, ROOTS, able, all, asked, back, going_on, over, reason, server, state};
use crate::support::asking::Asking;
use crate::support::client::{Modern, Reply, call_params};
use crate::support::principals::Issuer;
use crate::support::weir::Weir;

const YES: &str = r#"{"action":"accept"}"#;

/// Comes back with this state, as this request.
async fn with(caller: &Modern, asked: &Reply, state: &str, params: &str) -> Reply {
    let params = going_on(params, state, &all(asked, YES));
    caller.request("tools/call", &params).await
}

fn is_refused(reply: &Reply, expected: &str) {
    assert_eq!((reply.status, reply.code()), (200, -32602), "{reply:?}");
    assert_eq!(reply.error()["message"], "Invalid or expired requestState");
    assert_eq!(*reason(&reply.error()), *expected);
}

#[tokio::test]
async fn every_bad_state_gets_the_same_answer_and_the_upstream_hears_nothing() {
    let up = Asking::named("up").tools(["ask", "other"]).start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    let good = state(&first);
    let heard = up.arrived().len();
    let mut forged = good.clone().into_bytes();
    let last = forged.len() - 3;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for bad in ["", "made up", &forged, &good[1..]] {
        is_refused(
            &with(&caller, &first, bad, CALL).await,
            "invalid_request_state",
        );
    }
    for params in [
        call_params("up__ask", r#"{"n":1}"#),
        call_params("up__ask", "{}"),
        call_params("up__other", r#"{"n":1e400}"#),
    ] {
        let other = with(&caller, &first, &good, &params).await;
        is_refused(&other, "invalid_request_state");
    }
    assert_eq!(up.arrived().len(), heard);
    let upstream = async {
        up.answered("1").await;
        call.say(&super::ask("2", ROOTS)).await;
    };
    let (second, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    // That of the first round is used, whether the call waits again or is over.
    is_refused(
        &with(&caller, &first, &good, CALL).await,
        "invalid_request_state",
    );
    let upstream = async {
        up.answered("2").await;
        call.answer(super::DONE).await;
    };
    let (done, ()) = tokio::join!(back(&caller, &second, r#"{"roots":[]}"#), upstream);
    assert_eq!(done.text(), "done");
    for used in [&good, &state(&second)] {
        is_refused(
            &with(&caller, &first, used, CALL).await,
            "invalid_request_state",
        );
    }
    assert_eq!((up.answers("1").len(), up.answers("2").len()), (1, 1));
}

#[tokio::test]
async fn a_state_is_of_one_principal() {
    let up = Asking::named("up").tools(["ask"]).start().await;
    let issuer = Issuer::new();
    let weir = issuer.start(Weir::with(&up.yaml()), "page_size: 100").await;
    let client = |subject: &str| {
        let mut client = Modern::with(weir.url(), &issuer.token(subject));
        client.capabilities = super::ABLE.to_owned();
        client
    };
    let (owner, other) = (client("mine"), client("other"));
    let (first, call) = asked(&owner, &up, &[("1", FORM)]).await;
    let good = state(&first);
    is_refused(
        &with(&other, &first, &good, CALL).await,
        "invalid_request_state",
    );
    is_refused(
        &with(&other, &first, "x", CALL).await,
        "invalid_request_state",
    );
    assert!(up.answers("1").is_empty());
    let upstream = async {
        up.answered("1").await;
        call.answer(super::DONE).await;
    };
    let renewed = client("mine");
    let (done, ()) = tokio::join!(back(&renewed, &first, YES), upstream);
    assert_eq!(done.text(), "done");
}

#[tokio::test]
async fn answers_that_are_none_are_refused_and_the_state_stays_good() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    for answer in ["7", "null", "[]", "\"accept\""] {
        let reply = back(&caller, &first, answer).await;
        assert_eq!((reply.status, reply.code()), (200, -32602), "{answer}");
        assert_ne!(reply.error()["message"], "Invalid or expired requestState");
    }
    let upstream = async {
        up.answered("1").await;
        call.answer(super::DONE).await;
    };
    let (done, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    assert_eq!(done.text(), "done");
}

#[tokio::test]
async fn a_state_of_an_earlier_process_says_that_the_call_is_over() {
    let up = server().start().await;
    let weir = Weir::with(&up.yaml()).state().start().await;
    let (first, _call) = asked(&able(&weir), &up, &[("1", FORM)]).await;
    let weir = weir.restart().await;
    is_refused(&back(&able(&weir), &first, YES).await, "exchange_over");
}

#[tokio::test]
async fn of_two_that_come_back_at_once_one_goes_on() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    let upstream = async {
        up.answered("1").await;
        call.answer(super::DONE).await;
    };
    let (one, other, ()) = tokio::join!(
        back(&caller, &first, YES),
        back(&caller, &first, YES),
        upstream
    );
    let (good, bad) = match one.succeeded() {
        true => (one, other),
        false => (other, one),
    };
    assert_eq!(good.text(), "done");
    is_refused(&bad, "invalid_request_state");
    assert_eq!(up.answers("1").len(), 1);
}
