//! Streams that pause and streams that break (2025-11-25 `basic/transports.mdx`).

use super::{ABLE, able, begun, calls, over};
use crate::support::asking::Asking;
use crate::support::client::{Legacy, Stream};
use crate::support::weir::Weir;

fn note(n: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":{n}}}}}"#
    )
}

async fn rig() -> (Asking, Weir) {
    let up = Asking::named("up").tools(["ask"]).start().await;
    let weir = over([&up]).await;
    (up, weir)
}

fn result(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"x":1e400}}}}"#)
}

/// Makes the upstream close the stream of a call after an event, and answer when it is resumed.
async fn pauses(up: &Asking) {
    let call = up.call().await;
    let (id, session) = (call.id.clone(), call.session.clone());
    call.write("id: e\u{fc}1\nretry: 20\ndata: \n\n").await;
    drop(call);
    let resumed = up.resumed().await;
    let last = resumed.request.headers["last-event-id"].as_bytes();
    assert_eq!(last, "e\u{fc}1".as_bytes());
    assert_eq!(resumed.session, session);
    resumed.say(&note(1)).await;
    resumed.say(&result(&id)).await;
}

#[tokio::test]
async fn a_caller_that_knows_pauses_is_disconnected_and_resumes_later() {
    let (up, weir) = rig().await;
    let caller = able(&weir).await;
    let (reply, ()) = tokio::join!(calls(&caller, "up__ask").id("\"m\"").send(), pauses(&up));
    assert!(reply.events.is_empty(), "{reply:?}");
    let body = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(body.contains("id: ") && body.contains("retry: "), "{body}");
    let rest = caller
        .read_on(&reply.last_id().unwrap())
        .await
        .finish()
        .await;
    assert_eq!(rest.events, [note(1), result("\"m\"")]);
}

#[tokio::test]
async fn a_caller_that_does_not_know_pauses_gets_its_answer_on_the_stream_it_has() {
    let (up, weir) = rig().await;
    for version in ["2025-06-18", "2025-03-26"] {
        let caller = Legacy::open_with(weir.url(), version, ABLE).await;
        let (reply, ()) = tokio::join!(calls(&caller, "up__ask").id("3").send(), pauses(&up));
        assert_eq!(reply.events, [note(1), result("3")], "{version}");
        let json = calls(&caller, "up__ask")
            .id("3")
            .header("accept", "application/json");
        let (reply, ()) = tokio::join!(json.send(), pauses(&up));
        assert_eq!(reply.message(), result("3"));
    }
    let modern = weir.modern();
    let (reply, ()) = tokio::join!(modern.call("up__ask", "{}"), pauses(&up));
    assert!(reply.succeeded());
}

#[tokio::test]
async fn a_paused_stream_that_has_nothing_new_is_resumed_again_from_the_same_event() {
    let (up, weir) = rig().await;
    let caller = Legacy::open_with(weir.url(), "2025-06-18", ABLE).await;
    let upstream = async {
        let call = up.call().await;
        let id = call.id.clone();
        call.write("id: e1\nretry: 20\ndata: \n\n").await;
        drop(call);
        for _ in 0..2 {
            let resumed = up.resumed().await;
            assert_eq!(resumed.request.header("last-event-id"), Some("e1"));
        }
        let resumed = up.resumed().await;
        assert_eq!(resumed.request.header("last-event-id"), Some("e1"));
        resumed.say(&result(&id)).await;
    };
    let (reply, ()) = tokio::join!(calls(&caller, "up__ask").id("3").send(), upstream);
    assert_eq!(reply.message(), result("3"));
}

#[tokio::test]
async fn the_stream_of_an_upstream_session_is_resumed_where_it_ended() {
    let (up, weir) = rig().await;
    let caller = able(&weir).await;
    let mut own = caller.listen().await;
    let (_, session) = tokio::join!(calls(&caller, "up__ask").send(), async {
        let call = up.call().await;
        let session = call.session.clone();
        call.answer("{}").await;
        session
    });
    let first = format!("{}\nid: g1\nretry: 20", note(1));
    up.tell(&session, &first).await;
    assert_eq!(own.next().await.unwrap(), note(1));
    up.hang_up(&session);
    // Nothing new the first time.
    for _ in 0..2 {
        let resumed = up.resumed().await;
        assert_eq!(resumed.request.header("last-event-id"), Some("g1"));
    }
    let resumed = up.resumed().await;
    assert_eq!(resumed.request.header("last-event-id"), Some("g1"));
    resumed.say(&note(2)).await;
    assert_eq!(own.next().await.unwrap(), note(2));
}

/// Begins a call, reads two of three notes, and breaks the connection.
async fn broken(caller: &Legacy, up: &Asking) -> (String, crate::support::asking::Call) {
    let (mut stream, call): (Stream, _) =
        begun(calls(caller, "up__ask").id("8"), up, &note(1)).await;
    assert_eq!(stream.next().await.unwrap(), note(1));
    call.say(&note(2)).await;
    assert_eq!(stream.next().await.unwrap(), note(2));
    (stream.last_id().unwrap(), call)
}

#[tokio::test]
async fn a_caller_that_lost_its_connection_resumes_and_misses_nothing() {
    let (up, weir) = rig().await;
    for version in ["2025-11-25", "2025-06-18"] {
        let caller = Legacy::open_with(weir.url(), version, ABLE).await;
        let (last, call) = broken(&caller, &up).await;
        call.say(&note(3)).await;
        let mut again = caller.read_on(&last).await;
        assert_eq!(again.next().await.unwrap(), note(3));
        let last = again.last_id().unwrap();
        drop(again);
        call.answer(r#"{"content":[],"x":1e400}"#).await;
        let rest = caller.read_on(&last).await.finish().await;
        assert_eq!(rest.events, [result("8")], "{version}");
    }
    assert_eq!(up.count("notifications/cancelled"), 0);
}

#[tokio::test]
async fn a_request_sent_while_disconnected_is_read_later_and_can_be_answered() {
    let (up, weir) = rig().await;
    let caller = able(&weir).await;
    let (last, call) = broken(&caller, &up).await;
    call.say(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#)
        .await;
    let mut again = caller.read_on(&last).await;
    let asked = again.next_value().await;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"roots":[]}}}}"#,
        asked["id"]
    );
    caller.post(&body).await;
    up.answered("\"q\"").await;
    call.answer("{}").await;
    assert!(again.finish().await.succeeded());
}

#[tokio::test]
async fn an_event_id_of_another_session_resumes_nothing() {
    let (up, weir) = rig().await;
    let (caller, thief) = (able(&weir).await, able(&weir).await);
    let (last, call) = broken(&caller, &up).await;
    let number = last.split('-').next().unwrap();
    let mut stolen = Vec::new();
    for id in [
        last.as_str(),
        &format!("{number}-0"),
        "x",
        "0-",
        "-1",
        &"9".repeat(60),
    ] {
        stolen.push(thief.read_on(id).await);
    }
    call.say(&note(3)).await;
    let (_, ()) = tokio::join!(calls(&thief, "up__ask").send(), async {
        let call = up.call().await;
        up.tell(&call.session, &note(77)).await;
        call.answer("{}").await;
    });
    // The thief got its own session stream each time. Only the last is open.
    let mut own = stolen.pop().unwrap();
    assert_eq!(own.next().await.unwrap(), note(77));
    for stream in stolen {
        assert!(stream.finish().await.events.is_empty());
    }
    call.answer(r#"{"content":[],"x":1e400}"#).await;
    let rest = caller.read_on(&last).await.finish().await;
    assert_eq!(rest.events, [note(3), result("8")]);
}

#[tokio::test]
async fn a_caller_that_resumes_at_once_does_not_wait_out_the_upstreams_pause() {
    let (up, weir) = rig().await;
    let caller = able(&weir).await;
    // In the beginning of a stream, and after a message: with the upstream's own time each time.
    for first in [String::new(), format!("data: {}\n\n", note(7))] {
        let pauses = async {
            let call = up.call().await;
            let prime = format!("id: e1\nretry: 3600000\ndata: \n\n{first}");
            call.write(&prime).await;
            call.id.clone()
        };
        let (reply, id) = tokio::join!(calls(&caller, "up__ask").id("5").send(), pauses);
        let body = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(body.contains("retry: 3600000\n"), "{body}");
        assert!(!body.ends_with("retry: 500\ndata: \n\n"), "{body}");
        let expected: Vec<String> = (!first.is_empty()).then(|| note(7)).into_iter().collect();
        assert_eq!(reply.events, expected);
        let last = reply.last_id().unwrap();
        let upstream = async {
            // Nothing new the first time: the caller is told to come back again.
            drop(up.resumed().await);
            let resumed = up.resumed().await;
            assert_eq!(resumed.request.header("last-event-id"), Some("e1"));
            resumed.say(&result(&id)).await;
        };
        let read = async {
            let again = caller.read_on(&last).await.finish().await;
            assert!(again.events.is_empty(), "{again:?}");
            caller.read_on(&last).await.finish().await
        };
        let (rest, ()) = tokio::join!(read, upstream);
        assert_eq!(rest.events, [result("5")]);
    }
}
