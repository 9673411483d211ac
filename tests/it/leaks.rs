//! Weir keeps nothing when nothing is going on any more. Idle streams by the hundred, calls by the
//! thousand, each ending in another way; the load bench does the same with more of both.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::bounded;
use crate::support::client::{Legacy, Modern, Reply, Stream, call_params, pool};
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;

/// Streams of each era.
const STREAMS: usize = 300;
/// Calls are made in rounds, by so many clients of each era at once.
const ROUNDS: usize = 3;
const CLIENTS: usize = 10;
/// Of one client in one round: 3 × 2 × 10 × 56 is 3,360.
const CALLS: usize = 56;
/// The most by which memory may grow between the second and the third round. The calls of one take
/// some 30 MB in all.
const GROWTH: f64 = 4.0 * 1024.0 * 1024.0;

/// Returns weir's own gauges; of one with labels the sum.
async fn gauges(weir: &Weir) -> BTreeMap<String, f64> {
    let got = bounded("the metrics", pool().get(weir.admin_url("/metrics")).send()).await;
    let text = got.unwrap().text().await.unwrap();
    let mut gauges = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        *gauges.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap();
    }
    gauges
}

/// Waits until the gauges say this; gives all of them.
pub async fn until(
    weir: &Weir,
    what: &str,
    holds: impl Fn(&BTreeMap<String, f64>) -> bool,
) -> BTreeMap<String, f64> {
    let mut last = BTreeMap::new();
    let wait = async {
        while last.is_empty() || !holds(&last) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            last = gauges(weir).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .is_err()
    {
        last.retain(|name, _| !name.starts_with("weir_call_"));
        panic!("never came to {what}: {last:#?}");
    }
    last
}

/// Waits until nothing is under way, and tasks and descriptors are no more than these.
async fn at_rest(weir: &Weir, tasks: f64, descriptors: f64) -> BTreeMap<String, f64> {
    let what = format!("rest, with {tasks} tasks and {descriptors} descriptors");
    until(weir, &what, |gauges| {
        let nothing = [
            "weir_calls_in_flight",
            "weir_calls_queued",
            "weir_legacy_sessions",
            "weir_get_streams",
            "weir_listen_streams",
        ];
        nothing.iter().all(|name| gauges[*name] == 0.0)
            && gauges["weir_tasks"] <= tasks
            && gauges["process_open_fds"] <= descriptors
    })
    .await
}

#[tokio::test]
async fn hundreds_of_idle_streams_are_all_told_and_leave_nothing_behind() {
    let up = Upstream::named("up").tools(["first"]).start().await;
    let weir = Weir::over([&up]).start().await;
    up.wait_listening().await;
    let before = gauges(&weir).await;
    let mut listening: Vec<(Stream, Option<Legacy>, Option<Modern>)> = Vec::new();
    for _ in 0..STREAMS {
        let legacy = weir.legacy("2025-11-25").await;
        listening.push((legacy.listen().await, Some(legacy), None));
        let modern = weir.modern();
        let mut stream = modern.listen("1", r#"{"toolsListChanged":true}"#).await;
        let first = stream.next_value().await;
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        listening.push((stream, None, Some(modern)));
    }
    let streams = STREAMS as f64;
    let open = gauges(&weir).await;
    assert_eq!(open["weir_get_streams"], streams);
    assert_eq!(open["weir_listen_streams"], streams);
    assert_eq!(open["weir_legacy_sessions"], streams);
    let (few, many) = (before["process_open_fds"], open["process_open_fds"]);
    assert!(many >= 2.0 * streams, "{few} descriptors, then {many}");
    up.add_tool("second");
    up.notify_list_changed(Kind::Tools);
    for (stream, _, _) in &mut listening {
        let told = stream.next_value().await;
        assert_eq!(told["method"], "notifications/tools/list_changed");
    }
    for (stream, legacy, _) in listening {
        drop(stream);
        if let Some(legacy) = legacy {
            legacy.delete().await;
        }
    }
    // The scrapes of this test have connections of their own, one at a time.
    at_rest(&weir, before["weir_tasks"] + 4.0, few + 4.0).await;
}

/// The ways in which a call ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Done,
    /// No such tool.
    Unknown,
    /// An error of the upstream's own.
    Refused,
    /// A response behind progress.
    Streamed,
    /// The caller goes before anything was said.
    Left,
    /// The caller goes in the middle of a stream.
    LeftStream,
    /// Taken back by a notification (legacy; in modern closing does it), while nothing was said, or in a stream.
    Cancelled,
    CancelledStream,
    /// The upstream takes too long.
    TimedOut,
}

/// All but the one that takes long, which is the last of some clients: after five in a row, weir would try that
/// upstream no more for a while.
const ENDINGS: [Ending; 8] = [
    Ending::Done,
    Ending::Unknown,
    Ending::Refused,
    Ending::Streamed,
    Ending::Left,
    Ending::LeftStream,
    Ending::Cancelled,
    Ending::CancelledStream,
];

/// Returns the way in which the call with this number ends.
fn ending(client: usize, call: usize) -> Ending {
    match call + 1 {
        CALLS if client < 2 => Ending::TimedOut,
        _ => ENDINGS[(client + call) % ENDINGS.len()],
    }
}

#[tokio::test]
async fn thousands_of_calls_that_end_in_every_way_leave_nothing_behind() {
    let up = |name: &str| {
        Upstream::named(name)
            .tools(["echo"])
            .errors("refuses", r#"{"code":-32602,"message":"no"}"#)
            .progress("steps", 2)
            .progress("waits_in_steps", 1)
            .gate("waits_in_steps")
            .gate("waits")
    };
    let (old, new) = (up("old").legacy("2025-11-25"), up("new").modern());
    let (old, new) = (old.start().await, new.start().await);
    // A call that nobody ends ends soon.
    let soon = "timeouts: { call: 2s }";
    let weir = Weir::over([&old, &new]).upstream("old", soon);
    let weir = weir.upstream("new", soon).start().await;
    let mut rests = Vec::new();
    for _ in 0..ROUNDS {
        round(&weir).await;
        // A connection per client to each upstream may wait for the next call, with its task.
        let pooled = 60.0 + 4.0 * CLIENTS as f64;
        rests.push(at_rest(&weir, pooled, pooled).await);
    }
    new.wait_running("waits", 0).await;
    new.wait_running("waits_in_steps", 0).await;
    // In legacy, what cancels may overtake what it cancels, so it is looked for rather than its effect.
    old.wait_for("a cancellation of every call that was given up", |seen| {
        let told = seen.of("notifications/cancelled");
        let told: HashSet<_> = told
            .map(|told| told.value["params"]["requestId"].as_u64())
            .collect();
        seen.of("tools/call").all(|call| {
            let waits = call.value["params"]["name"].as_str().unwrap();
            !waits.starts_with("waits") || told.contains(&call.value["id"].as_u64())
        })
    })
    .await;
    let memory = |at: usize| rests[at]["process_resident_memory_bytes"];
    assert!(
        memory(2) - memory(1) < GROWTH,
        "{} MB, {} MB, {} MB",
        memory(0) / 1e6,
        memory(1) / 1e6,
        memory(2) / 1e6
    );
}

/// Every client makes its calls, one after the other, to both upstreams.
async fn round(weir: &Weir) {
    let mut clients = JoinSet::new();
    let up = |number: usize, call: usize| match (number + call / 8) % 2 {
        0 => "old",
        _ => "new",
    };
    for number in 0..CLIENTS {
        let (legacy, modern) = (weir.legacy("2025-11-25").await, weir.modern());
        clients.spawn(async move {
            for call in 0..CALLS {
                legacy_call(&legacy, up(number, call), ending(number, call)).await;
            }
            legacy.delete().await;
        });
        clients.spawn(async move {
            for call in 0..CALLS {
                modern_call(&modern, up(number, call), ending(number, call)).await;
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

/// The tool that such a call is made to.
fn tool(up: &str, ending: Ending) -> String {
    let tool = match ending {
        Ending::Done => "echo",
        Ending::Unknown => "no_such",
        Ending::Refused => "refuses",
        Ending::Streamed => "steps",
        Ending::Left | Ending::Cancelled | Ending::TimedOut => "waits",
        Ending::LeftStream | Ending::CancelledStream => "waits_in_steps",
    };
    format!("{up}__{tool}")
}

async fn legacy_call(client: &Legacy, up: &str, ending: Ending) {
    let tool = tool(up, ending);
    let ask = || client.ask("tools/call", &call_params(&tool, "{}"));
    match ending {
        Ending::Done => succeeded(&client.call(&tool, "{}").await),
        Ending::Unknown => coded(&client.call(&tool, "{}").await, -32602),
        Ending::Refused => coded(&client.call(&tool, "{}").await, -32602),
        Ending::TimedOut => coded(&client.call(&tool, "{}").await, -32603),
        Ending::Streamed => {
            let reply = ask().meta("progressToken", "1").send().await;
            assert_eq!(reply.notifications("notifications/progress").len(), 2);
            succeeded(&reply);
        }
        Ending::Left => {
            leave(ask().id("\"mine\"").send()).await;
            cancel(client).await;
        }
        Ending::LeftStream => {
            let ask = ask().id("\"mine\"").meta("progressToken", "1");
            let mut stream = ask.stream().await;
            let first = stream.next_value().await;
            assert_eq!(first["method"], "notifications/progress");
            drop(stream);
            cancel(client).await;
        }
        Ending::Cancelled => {
            let soon = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                cancel(client).await;
            };
            // Its answer is left open.
            let ((), _) = tokio::join!(soon, ask().id("\"mine\"").send());
        }
        Ending::CancelledStream => {
            let ask = ask().id("\"mine\"").meta("progressToken", "1");
            let mut stream = ask.stream().await;
            let first = stream.next_value().await;
            assert_eq!(first["method"], "notifications/progress");
            cancel(client).await;
            assert_eq!(stream.next().await, None);
        }
    }
}

/// Takes a call back. In legacy one whose caller went goes on without it.
async fn cancel(client: &Legacy) {
    let id = r#"{"requestId":"mine"}"#;
    let noted = client.notify("notifications/cancelled", id).await;
    assert_eq!(noted.status, 202);
}

async fn modern_call(client: &Modern, up: &str, ending: Ending) {
    let tool = tool(up, ending);
    let ask = || client.ask("tools/call", &call_params(&tool, "{}"));
    match ending {
        Ending::Done => succeeded(&client.call(&tool, "{}").await),
        Ending::Unknown => coded(&client.call(&tool, "{}").await, -32602),
        Ending::Refused => coded(&client.call(&tool, "{}").await, -32602),
        Ending::TimedOut => coded(&client.call(&tool, "{}").await, -32603),
        Ending::Streamed => {
            let reply = ask().meta("progressToken", "1").send().await;
            assert_eq!(reply.notifications("notifications/progress").len(), 2);
            succeeded(&reply);
        }
        Ending::Left | Ending::Cancelled => leave(ask().send()).await,
        Ending::LeftStream | Ending::CancelledStream => {
            let mut stream = ask().meta("progressToken", "1").stream().await;
            assert_eq!(
                stream.next_value().await["method"],
                "notifications/progress"
            );
        }
    }
}

fn succeeded(reply: &Reply) {
    assert!(reply.succeeded(), "{reply:?}");
}

fn coded(reply: &Reply, code: i64) {
    assert!(!reply.succeeded() && reply.code() == code, "{reply:?}");
}

/// Gives a call up that was not answered yet.
async fn leave<T: std::fmt::Debug>(call: impl Future<Output = T>) {
    let left = tokio::time::timeout(Duration::from_millis(20), call).await;
    assert!(left.is_err(), "answered: {left:?}");
}
