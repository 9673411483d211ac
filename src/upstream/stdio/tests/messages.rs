//! Messages to and from a child.

use super::*;

#[tokio::test]
async fn a_request_is_answered_with_the_bytes_that_were_sent() {
    let running = start(&python(
        r#"
for m in messages():
    out('{"jsonrpc":"2.0", "id": %d,"result":{"z":1e400,"a":"\\u00e9", "n":12345678901234567890123}}\r' % m["id"])
"#,
    ));
    let mut replies = running.request(7, "tools/list").await;
    let expected = r#"{"jsonrpc":"2.0", "id": 7,"result":{"z":1e400,"a":"\u00e9", "n":12345678901234567890123}}"#;
    assert_eq!(
        next(&mut replies).await,
        Some(ChildReply::Response(expected.into()))
    );
    assert_eq!(next(&mut replies).await, None);
    running.stop().await;
}

#[tokio::test]
async fn a_message_with_raw_line_ends_is_one_line() {
    let running = start(&python(
        r#"
for m in messages():
    say(id=m["id"], result=m["params"])
"#,
    ));
    let pretty = "{\r\n \"jsonrpc\":\"2.0\",\n \"id\":1,\n \"method\":\"x\",\n \"params\":{\"a\":\"b\\nc\"}\n}";
    let mut replies = running
        .child
        .request(1, pretty.into(), MemoryShare::unlimited())
        .await
        .unwrap();
    let Some(ChildReply::Response(response)) = next(&mut replies).await else {
        panic!("no response");
    };
    assert_eq!(result(&response), r#"{"a": "b\nc"}"#);
    running.stop().await;
}

#[tokio::test]
async fn two_hundred_requests_answered_out_of_order_all_find_their_caller() {
    let running = start(&python(
        r#"
import random
held = []
for m in messages():
    held.append(m["id"])
    if len(held) == 200:
        random.shuffle(held)
        for id in held:
            say(id=id, result={"for": id})
"#,
    ));
    let results = futures::future::join_all((0..200).map(|id| running.result(id, "x"))).await;
    for (id, result) in results.iter().enumerate() {
        assert_eq!(result, &format!("{{\"for\": {id}}}"));
    }
    running.stop().await;
}

#[tokio::test]
async fn progress_comes_in_order_before_the_response_and_to_its_own_request() {
    let running = start(&python(
        r#"
ids = messages()
a = next(ids)["id"]; b = next(ids)["id"]
for n in range(30):
    progress(a, n); progress(b, 100 + n)
say(id=b, result={}); say(id=a, result={})
sys.stdin.read()
"#,
    ));
    let mut first = running.request(1, "x").await;
    let mut second = running.request(2, "x").await;
    for (replies, offset) in [(&mut first, 0), (&mut second, 100)] {
        for n in 0..30 {
            let Some(ChildReply::Notification(bytes)) = next(replies).await else {
                panic!("no notification");
            };
            let text = std::str::from_utf8(&bytes).unwrap();
            assert!(
                text.contains(&format!("\"progress\": {}}}", offset + n)),
                "{text}"
            );
        }
        assert!(matches!(next(replies).await, Some(ChildReply::Response(_))));
        assert_eq!(next(replies).await, None);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_slow_caller_loses_progress_but_not_its_response_and_holds_nobody_up() {
    let running = start(&python(
        r#"
ids = messages()
slow = next(ids)["id"]
for n in range(1000):
    progress(slow, n)
say(id=slow, result={})
for m in ids:
    say(id=m["id"], result={})
"#,
    ));
    let mut slow = running.request(1, "slow").await;
    running.result(2, "fast").await;
    let mut notifications = 0;
    while let Some(ChildReply::Notification(_)) = next(&mut slow).await {
        notifications += 1;
    }
    // The loop ended with the response, not with the queue: nothing comes after it.
    assert_eq!(notifications, 64);
    assert_eq!(next(&mut slow).await, None);
    running.stop().await;
}

#[tokio::test]
async fn a_subscription_gets_the_messages_that_name_it() {
    let mut running = start(&python(
        r#"
id = next(messages())["id"]
meta = {"io.modelcontextprotocol/subscriptionId": id}
say(method="notifications/subscriptions/acknowledged", params={"_meta": meta})
say(method="notifications/tools/list_changed", params={"_meta": {"io.modelcontextprotocol/subscriptionId": 99}})
say(method="notifications/tools/list_changed", params={"_meta": meta})
sys.stdin.read()
"#,
    ));
    let mut replies = running.request(5, "subscriptions/listen").await;
    for _ in 0..2 {
        assert!(matches!(
            next(&mut replies).await,
            Some(ChildReply::Notification(_))
        ));
    }
    let other = running.events.recv().await.unwrap();
    assert!(std::str::from_utf8(&other).unwrap().contains("99"));
    running.stop().await;
}

#[tokio::test]
async fn requests_and_notifications_of_the_child_are_events() {
    let mut running = start(&python(
        r#"
say(id=1, method="roots/list")
out('[{"jsonrpc":"2.0","method":"notifications/message","params":{}}, {"jsonrpc":"2.0","id":"s","method":"ping"}]')
for m in messages():
    say(method="notifications/message", params={"got": m})
"#,
    ));
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(running.events.recv().await.unwrap());
    }
    assert_eq!(
        events[0],
        r#"{"jsonrpc": "2.0", "id": 1, "method": "roots/list"}"#
    );
    assert_eq!(
        events[1],
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#
    );
    assert_eq!(events[2], r#"{"jsonrpc":"2.0","id":"s","method":"ping"}"#);
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}"#;
    running.child.send(answer.into()).await.unwrap();
    let echo = running.events.recv().await.unwrap();
    assert!(std::str::from_utf8(&echo).unwrap().contains("roots"));
    running.stop().await;
}

#[tokio::test]
async fn events_nobody_reads_do_not_hold_up_answers() {
    let running = start(&python(
        r#"
for n in range(2000):
    say(method="notifications/message", params={"n": n})
for m in messages():
    say(id=m["id"], result={})
"#,
    ));
    running.result(1, "x").await;
    running.stop().await;
}

#[tokio::test]
async fn lines_that_are_no_messages_are_skipped_and_logged_now_and_then() {
    let log = Log::default();
    let _guard = log.install();
    let running = start(&python(
        r#"
out("Welcome to \x1b[1mfiles\x1b[0m!"); out(""); out("  "); out("3"); out("[1, 2"); out("{}"); out('{"id":9}')
sys.stdout.buffer.write(b"\xff\xfe\n"); out('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":""}}')
for n in range(20):
    out("noise %d" % n)
for m in messages():
    say(id="foreign", result={}); say(id=m["id"] + 1, result={}); say(id=m["id"], result={})
"#,
    ));
    running.result(1, "x").await;
    running.stop().await;
    let log = log.text();
    let skipped: Vec<_> = log.lines().filter(|l| l.contains("is skipped")).collect();
    assert_eq!(skipped.len(), 2, "{log}");
    assert!(skipped[0].contains("WARN upstream"), "{log}");
    assert!(skipped[0].contains("Welcome to \\u{1b}[1mfiles"), "{log}");
    assert!(skipped[0].contains("upstream=files"), "{log}");
    assert!(skipped[1].contains("lines=10"), "{log}");
}

#[tokio::test]
async fn a_malformed_response_fails_its_request_at_once() {
    let running = start(&python(
        r#"
for m in messages():
    out('{"id": %d, "result": {}}' % m["id"])
"#,
    ));
    let mut replies = running.request(4, "x").await;
    let expected = ChildReply::Response(r#"{"id": 4, "result": {}}"#.into());
    assert_eq!(last(&mut replies).await, expected);
    running.stop().await;
}

#[tokio::test]
async fn a_line_as_long_as_the_limit_passes_and_a_longer_one_closes_the_child() {
    let mut spec = python(
        r#"
for m in messages():
    head = '{"jsonrpc":"2.0","id":%d,"result":"' % m["id"]
    out(head + "x" * (100000 - len(head) - 2 + (m["method"] == "long")) + '"}')
"#,
    );
    spec.max_message = 100_000;
    let running = start(&spec);
    let ChildReply::Response(longest) = last(&mut running.request(1, "short").await).await else {
        panic!("no response");
    };
    assert_eq!(longest.len(), 100_000);
    let reason = ClosedReason::Oversized { limit: 100_000 };
    let mut waiting = running.request(2, "long").await;
    assert_eq!(last(&mut waiting).await, ChildReply::Closed(reason.clone()));
    assert_eq!(running.child.closed().await, reason);
    running.stop().await;
}

#[tokio::test]
async fn an_endless_line_closes_the_child_before_it_fills_memory() {
    let running = start(&python(
        r#"
while True:
    sys.stdout.write("x" * 65536)
"#,
    ));
    let reason = timeout(PATIENCE, running.child.closed()).await.unwrap();
    assert_eq!(reason, ClosedReason::Oversized { limit: 1 << 20 });
    running.stop().await;
}

#[tokio::test]
async fn a_flood_of_stderr_holds_nobody_up_and_is_counted() {
    let log = Log::default();
    let _guard = log.install();
    let running = start(&python(
        r#"
for n in range(20000):
    sys.stderr.write("line %d\x07\n" % n)
sys.stderr.write("y" * 100000 + "\nno end")
sys.stderr.flush()
for m in messages():
    say(id=m["id"], result={})
"#,
    ));
    running.result(1, "x").await;
    running.stop().await;
    let log = log.text();
    let lines = log.lines().filter(|line| line.contains(": line ")).count();
    assert!((100..=1000).contains(&lines), "{lines}");
    assert!(log.contains("line 0\\u{7}"), "{log}");
    assert!(log.contains("lines of stderr were left out"), "{log}");
    assert!(log.lines().all(|line| line.len() < 5000));
}

#[tokio::test]
async fn the_last_words_of_a_crash_are_logged() {
    let log = Log::default();
    let _guard = log.install();
    let running = start(&spec("sh", &["-c", "echo why >&2; exit 3"]));
    let exited = ClosedReason::Exited(Exit::Status(3));
    assert_eq!(running.child.closed().await, exited);
    assert_eq!(exited.to_string(), "the process exited with status 3");
    running.stop().await;
    assert!(
        log.text().contains("upstream=files") && log.text().contains(" why"),
        "{}",
        log.text()
    );
}
