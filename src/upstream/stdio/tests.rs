//! Against real processes.

use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::auth::secrets::SecretCell;
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::*;

/// A server in a few lines: `answer(message)` is called for each message.
const SERVER: &str = r#"
import sys, json, time, os, signal, subprocess
def out(text):
    sys.stdout.write(text + "\n"); sys.stdout.flush()
def say(**message):
    out(json.dumps({"jsonrpc": "2.0", **message}))
def progress(token, n):
    say(method="notifications/progress", params={"progressToken": token, "progress": n})
def messages():
    for line in sys.stdin:
        yield json.loads(line)
"#;

const PATIENCE: Duration = Duration::from_secs(20);

fn spec(program: &str, args: &[&str]) -> ChildSpec {
    ChildSpec {
        name: UpstreamId::parse("files").unwrap(),
        program: program.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        inherited: inherited_env(),
        env: Vec::new(),
        cwd: None,
        guard: None,
        max_message: 1 << 20,
    }
}

fn python(script: &str) -> ChildSpec {
    spec("python3", &["-c", &format!("{SERVER}{script}")])
}

/// A child and the tasks that serve it.
struct Running {
    child: Arc<Child>,
    events: mpsc::Receiver<Bytes>,
    tasks: TaskTracker,
}

fn start(spec: &ChildSpec) -> Running {
    let tasks = TaskTracker::new();
    let (child, events) = Child::start(spec, &tasks).unwrap();
    Running {
        child,
        events,
        tasks,
    }
}

impl Running {
    async fn request(&self, id: u64, method: &str) -> Replies {
        self.child.request(id, request(id, method)).await.unwrap()
    }

    async fn result(&self, id: u64, method: &str) -> String {
        match last(&mut self.request(id, method).await).await {
            Reply::Response(bytes) => result(&bytes),
            other @ (Reply::Notification(_) | Reply::Closed(_)) => panic!("{other:?}"),
        }
    }

    /// Stops the child; then no task and no process may be left.
    async fn stop(self) {
        let pid = self.child.pid().unwrap();
        timeout(PATIENCE, self.child.stop()).await.unwrap();
        assert!(self.child.is_closed());
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        self.tasks.close();
        timeout(PATIENCE, self.tasks.wait()).await.unwrap();
    }
}

fn request(id: u64, method: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{}}}}"#).into()
}

fn result(response: &[u8]) -> String {
    let text = std::str::from_utf8(response).unwrap();
    let object = crate::json::Object::parse(text).unwrap();
    object.get("result").unwrap().to_owned()
}

async fn next(replies: &mut Replies) -> Option<Reply> {
    timeout(PATIENCE, replies.next()).await.unwrap()
}

/// The last reply, and nothing after it.
async fn last(replies: &mut Replies) -> Reply {
    let mut last = None;
    while let Some(reply) = next(replies).await {
        last = Some(reply);
    }
    last.unwrap()
}

/// An argument no other process has.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{next:04}", 100_000_000 + std::process::id())
}

/// The processes that have the marker among their arguments.
fn having(marker: &str) -> Vec<Pid> {
    let has = |line: Vec<u8>| line.split(|b| *b == 0).any(|arg| arg == marker.as_bytes());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| std::fs::read(process.path().join("cmdline")).is_ok_and(has))
        .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn alive(marker: &str) -> usize {
    having(marker).len()
}

async fn until_alive(marker: &str, count: usize) {
    let reached = async {
        while alive(marker) != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}

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
        Some(Reply::Response(expected.into()))
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
    let mut replies = running.child.request(1, pretty.into()).await.unwrap();
    let Some(Reply::Response(response)) = next(&mut replies).await else {
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
            let Some(Reply::Notification(bytes)) = next(replies).await else {
                panic!("no notification");
            };
            let text = std::str::from_utf8(&bytes).unwrap();
            assert!(
                text.contains(&format!("\"progress\": {}}}", offset + n)),
                "{text}"
            );
        }
        assert!(matches!(next(replies).await, Some(Reply::Response(_))));
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
    while let Some(Reply::Notification(_)) = next(&mut slow).await {
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
            Some(Reply::Notification(_))
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
    let expected = Reply::Response(r#"{"id": 4, "result": {}}"#.into());
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
    let Reply::Response(longest) = last(&mut running.request(1, "short").await).await else {
        panic!("no response");
    };
    assert_eq!(longest.len(), 100_000);
    let reason = ClosedReason::Oversized { limit: 100_000 };
    let mut waiting = running.request(2, "long").await;
    assert_eq!(last(&mut waiting).await, Reply::Closed(reason.clone()));
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
        Some(Reply::Notification(_))
    ));
    let mut second = running.request(2, "x").await;
    let asked = Instant::now();
    let reason = ClosedReason::Exited(Exit::Signal(11));
    assert_eq!(last(&mut first).await, Reply::Closed(reason.clone()));
    assert_eq!(last(&mut second).await, Reply::Closed(reason.clone()));
    // A core may be written, but nobody waited for a grace period.
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    let refused = running.child.request(3, request(3, "x")).await.map(|_| ());
    assert_eq!(refused, Err(ChildClosed(reason)));
    running.stop().await;
}

#[tokio::test]
async fn a_child_that_only_closes_its_stdout_is_closed_and_ended() {
    let running = start(&spec("sh", &["-c", "exec >&-; exec sleep 1000"]));
    let mut replies = running.request(1, "x").await;
    let reason = ClosedReason::OutputClosed;
    assert_eq!(last(&mut replies).await, Reply::Closed(reason));
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
        running.child.request(sent, big.clone()),
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

/// Only a guard can end such a process. Without one, weir at least does not wait for it.
#[tokio::test]
async fn a_grandchild_that_escaped_with_the_pipes_holds_no_task() {
    let marker = marker();
    let script = format!("setsid sleep {marker} & read line; sleep 0.1; exit 0");
    let running = start(&spec("sh", &["-c", &script]));
    until_alive(&marker, 1).await;
    // More than a pipe holds: the writer is stuck with what nobody will ever read.
    let big: Bytes = [request(1, "x").as_ref(), &[b' '; 200_000]].concat().into();
    let mut replies = running.child.request(1, big).await.unwrap();
    let exited = ClosedReason::Exited(Exit::Status(0));
    assert_eq!(last(&mut replies).await, Reply::Closed(exited));
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

#[tokio::test]
async fn the_environment_is_clean_but_for_what_is_given() {
    let mut spec = python("say(id=next(messages())['id'], result=dict(os.environ))\n");
    spec.inherited.push(("WEIR_A".into(), "inherited".into()));
    spec.env
        .push(("WEIR_A".to_owned(), SecretCell::fixed("given")));
    assert!(!format!("{spec:?}").contains("given"));
    let running = start(&spec);
    let environment = running.result(1, "x").await;
    let object = crate::json::Object::parse(&environment).unwrap();
    assert_eq!(object.get("WEIR_A"), Some("\"given\""));
    let names: HashSet<_> = object.iter().map(|(name, _)| name.to_owned()).collect();
    // Cargo sets this for tests.
    assert!(std::env::vars_os().any(|(name, _)| name == "CARGO_MANIFEST_DIR"));
    assert!(
        names.contains("PATH") && !names.contains("CARGO_MANIFEST_DIR"),
        "{names:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let tasks = TaskTracker::new();
    let error = |spec: &ChildSpec| {
        Child::start(spec, &tasks)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&spec("weir-no-such", &[])),
        "there is no program `weir-no-such`"
    );
    assert_eq!(
        error(&spec("/no/such", &[])),
        "there is no program `/no/such`"
    );
    assert_eq!(
        error(&spec("/etc/passwd", &[])),
        "`/etc/passwd` is not executable"
    );
    let mut nowhere = spec("sh", &[]);
    nowhere.cwd = Some("/no/such".into());
    assert_eq!(error(&nowhere), "there is no folder `/no/such`");
    let mut empty = spec("sh", &[]);
    empty
        .env
        .push(("PATH".to_owned(), SecretCell::fixed("/no/such")));
    assert_eq!(error(&empty), "there is no program `sh`");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-a-program");
    std::fs::write(&path, "\x7fnothing").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut odd = spec("./not-a-program", &[]);
    odd.cwd = Some(folder.path().to_owned());
    assert_eq!(error(&odd), "`./not-a-program` could not be started");
    assert!(tasks.is_empty());
}

/// What is logged by the tasks of a test: they run on its thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn install(&self) -> tracing::subscriber::DefaultGuard {
        // As long as there is only one subscriber, tracing asks that of the thread which comes by a line
        // first whether anybody wants it, and remembers a no of a test without a log for all threads.
        static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
