//! The ends of a child, and the processes that end with it.

use super::*;

#[tokio::test]
async fn a_child_that_dies_ends_all_its_requests_at_once_with_the_reason() {
    let running = start(&python(
        r#"
ids = messages()
progress(next(ids)["id"], 1); next(ids)
os.kill(os.getpid(), signal.SIGSEGV)
"#,
    ));
    let mut first = running.request(1, "x").await;
    assert!(matches!(
        next(&mut first).await,
        Some(ChildReply::Notification(_))
    ));
    let mut second = running.request(2, "x").await;
    let asked = Instant::now();
    let reason = ClosedReason::Exited(Exit::Signal(11));
    assert_eq!(last(&mut first).await, ChildReply::Closed(reason.clone()));
    assert_eq!(last(&mut second).await, ChildReply::Closed(reason.clone()));
    // A core may be written, but nobody waited for a grace period.
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    let refused = running
        .child
        .request(3, request(3, "x"), MemoryShare::unlimited())
        .await
        .map(|_| ());
    assert_eq!(refused, Err(ChildClosed(reason)));
    running.stop().await;
}

#[tokio::test]
async fn a_child_that_only_closes_its_stdout_is_closed_and_ended() {
    let running = start(&spec("sh", &["-c", "exec >&-; exec sleep 1000"]));
    let mut replies = running.request(1, "x").await;
    let reason = ClosedReason::OutputClosed;
    assert_eq!(last(&mut replies).await, ChildReply::Closed(reason));
    running.stop().await;
}

#[tokio::test]
async fn a_child_that_only_closes_its_stdin_is_closed_and_ended() {
    let running = start(&spec("sh", &["-c", "exec <&-; echo '{}'; exec sleep 1000"]));
    let closed = async {
        while running.child.send(request(1, "x")).await.is_ok() {
            tokio::task::yield_now().await;
        }
        running.child.closed().await
    };
    let reason = timeout(PATIENCE, closed).await.unwrap();
    assert_eq!(reason, ClosedReason::InputClosed);
    running.stop().await;
}

#[tokio::test]
async fn an_answer_just_before_the_exit_arrives() {
    let running = start(&python("say(id=next(messages())['id'], result={})\n"));
    assert_eq!(running.result(1, "x").await, "{}");
    assert_eq!(
        running.child.closed().await,
        ClosedReason::Exited(Exit::Status(0))
    );
    running.stop().await;
}

#[tokio::test]
async fn a_child_that_reads_nothing_makes_senders_wait_and_no_more() {
    let running = start(&spec("sleep", &["1000"]));
    let big: Bytes = vec![b' '; 100_000].into();
    let mut sent = 0;
    while let Ok(replies) = timeout(
        Duration::from_millis(300),
        running
            .child
            .request(sent, big.clone(), MemoryShare::unlimited()),
    )
    .await
    {
        drop(replies.unwrap());
        sent += 1;
    }
    // The queue, and what the writer has taken out of it.
    assert!((64..=160).contains(&sent), "{sent}");
    assert_eq!(waiting(&running.child), 0);
    // Those who wait while it is stopped are let go.
    let child = Arc::clone(&running.child);
    let sender = async move { child.send(big).await };
    let (sent, ()) = tokio::join!(sender, running.stop());
    assert_eq!(sent, Err(ChildClosed(ClosedReason::Stopped)));
}

/// How many requests wait for a response.
fn waiting(child: &Child) -> usize {
    child.pending.waiting()
}

#[tokio::test]
async fn dropped_replies_forget_their_request() {
    let running = start(&python(
        r#"
first = next(messages())
second = next(messages())
progress(first["id"], 1); say(id=first["id"], result={}); say(id=second["id"], result={})
sys.stdin.read()
"#,
    ));
    let first = running.request(1, "x").await;
    assert_eq!(waiting(&running.child), 1);
    drop(first);
    assert_eq!(waiting(&running.child), 0);
    running.result(2, "x").await;
    assert_eq!(waiting(&running.child), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_child_that_leaves_when_stdin_closes_is_not_signalled() {
    let log = Log::default();
    let _guard = log.install();
    let running = start(&python(
        r#"
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
for m in messages():
    say(id=m["id"], result={})
sys.stderr.write("bye\n")
"#,
    ));
    running.result(1, "x").await;
    running
        .child
        .send(Bytes::from_static(b"{\"id\":2}"))
        .await
        .unwrap();
    running.stop().await;
    let log = log.text();
    assert!(
        log.contains("bye") && log.contains("exited with status 0"),
        "{log}"
    );
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed() {
    let running = start(&python(
        r#"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(id=next(messages())["id"], result={})
while True:
    time.sleep(1)
"#,
    ));
    running.result(1, "x").await;
    let asked = Instant::now();
    let (child, other) = (Arc::clone(&running.child), Arc::clone(&running.child));
    tokio::join!(child.stop(), other.stop(), running.stop());
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(6),
        "{took:?}"
    );
    assert_eq!(child.closed().await, ClosedReason::Stopped);
}

#[tokio::test]
async fn a_stopped_process_is_ended_too() {
    let running = start(&python(
        r#"
say(id=next(messages())["id"], result={})
os.kill(os.getpid(), signal.SIGSTOP)
"#,
    ));
    running.result(1, "x").await;
    running.stop().await;
}

#[tokio::test]
async fn a_grandchild_ends_with_the_child_it_was_left_by() {
    let marker = marker();
    let script = format!("sleep {marker} & sleep {marker} & read line; exit 0");
    let running = start(&spec("sh", &["-c", &script]));
    until_alive(&marker, 2).await;
    running.child.send(request(1, "x")).await.unwrap();
    let exited = ClosedReason::Exited(Exit::Status(0));
    assert_eq!(running.child.closed().await, exited);
    until_alive(&marker, 0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_grandchild_ends_when_the_child_is_stopped() {
    let marker = marker();
    let script = format!("trap '' TERM; sleep {marker} & sleep {marker}");
    let running = start(&spec("sh", &["-c", &script]));
    until_alive(&marker, 2).await;
    running.stop().await;
    until_alive(&marker, 0).await;
}

/// Only a reaper can end such a process. Without one, weir at least does not wait for it.
#[tokio::test]
async fn a_grandchild_that_escaped_with_the_pipes_holds_no_task() {
    let marker = marker();
    let script = format!("setsid sleep {marker} & read line; sleep 0.1; exit 0");
    let running = start(&spec("sh", &["-c", &script]));
    until_alive(&marker, 1).await;
    // More than a pipe holds: the writer is stuck with what nobody will ever read.
    let big: Bytes = [request(1, "x").as_ref(), &[b' '; 200_000]].concat().into();
    let mut replies = running
        .child
        .request(1, big, MemoryShare::unlimited())
        .await
        .unwrap();
    let exited = ClosedReason::Exited(Exit::Status(0));
    assert_eq!(last(&mut replies).await, ChildReply::Closed(exited));
    running.stop().await;
    let [escaped] = having(&marker)[..] else {
        panic!("it did not escape");
    };
    kill_process(escaped, Signal::KILL).unwrap();
}

#[tokio::test]
async fn the_last_reference_stops_the_process() {
    let marker = marker();
    let Running {
        child,
        events,
        tasks,
    } = start(&spec("sleep", &[&marker]));
    until_alive(&marker, 1).await;
    drop((child, events));
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.unwrap();
    assert_eq!(alive(&marker), 0);
}

#[test]
fn a_runtime_that_is_dropped_leaves_no_process() {
    let marker = marker();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let running = runtime.block_on(async {
        start(&spec(
            "sh",
            &["-c", &format!("sleep {marker} & sleep {marker}")],
        ))
    });
    runtime.block_on(until_alive(&marker, 2));
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    other.block_on(until_alive(&marker, 0));
    drop(running);
}
