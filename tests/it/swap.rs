//! The catalog is swapped ten times a second under load: nothing fails, and no list is half of one and half of another.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{Client, Stream, names};
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;
use crate::support::{at, bounded};

/// For how long. The acceptance run takes 30 s.
const DURATION: Duration = Duration::from_secs(5);
/// Ten swaps a second.
const BEAT: Duration = Duration::from_millis(100);
/// Half of them legacy, half modern.
const CALLERS: usize = 32;
/// Tools that are there all the time, of each upstream.
const STABLE: usize = 13;
const UPSTREAMS: [&str; 3] = ["old", "flick", "new"];
const FLICKERING: &str = "flick__flicker";

/// The tools that every list has, in the order of the config.
fn stable() -> Vec<String> {
    let of = |upstream: &&str| {
        let upstream = (*upstream).to_owned();
        (0..STABLE).map(move |tool| format!("{upstream}__t{tool}"))
    };
    UPSTREAMS.iter().flat_map(of).collect()
}

/// Three upstreams; the one in the middle is the one that changes, so that all that comes after it moves.
async fn upstreams() -> [Upstream; 3] {
    let own: Vec<String> = (0..STABLE).map(|tool| format!("t{tool}")).collect();
    let own = || own.iter().map(String::as_str);
    [
        Upstream::named("old")
            .tools(own())
            .legacy("2025-11-25")
            .pages([5, 1])
            .start()
            .await,
        Upstream::named("flick").tools(own()).dual().start().await,
        Upstream::named("new").tools(own()).modern().start().await,
    ]
}

/// The two lists that there are: with and without the tool that comes and goes.
struct Lists {
    with: Vec<String>,
    without: Vec<String>,
    /// The number that was read of each.
    read: [AtomicUsize; 2],
}

impl Lists {
    fn new() -> Self {
        let without = stable();
        let mut with = without.clone();
        with.insert(2 * STABLE, FLICKERING.to_owned());
        Self {
            with,
            without,
            read: Default::default(),
        }
    }

    /// A whole list is one of the two, in order, without gap or double.
    fn check(&self, names: &[String]) {
        if names == self.with {
            self.read[0].fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(names, self.without);
            self.read[1].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self) -> [usize; 2] {
        [&self.read[0], &self.read[1]].map(|read| read.load(Ordering::Relaxed))
    }
}

/// Adds and removes the tool on every beat; gives how often. It is gone at the end.
async fn flicker(flick: &Upstream, over: &AtomicBool) -> usize {
    let mut beat = tokio::time::interval(BEAT);
    let (begun, mut swaps) = (Instant::now(), 0);
    while begun.elapsed() < DURATION || swaps % 2 == 1 {
        beat.tick().await;
        if swaps % 2 == 0 {
            flick.add_tool("flicker");
        } else {
            flick.remove_tool("flicker");
        }
        flick.notify_list_changed(Kind::Tools);
        swaps += 1;
    }
    over.store(true, Ordering::Relaxed);
    swaps
}

/// Calls one stable tool after the other and lists in between; gives how many calls were answered.
async fn work(client: Client, seed: usize, lists: &Lists, over: &AtomicBool) -> usize {
    let mut calls = 0;
    while !over.load(Ordering::Relaxed) {
        let name = &lists.without[(seed + calls) % lists.without.len()];
        let reply = client.call(name, r#"{"n":1e400}"#).await;
        assert_eq!(
            reply.text(),
            format!(r#"{} {{"n":1e400}}"#, name.replace("__", "."))
        );
        calls += 1;
        if calls % 4 == 0 {
            lists.check(&client.tool_names().await);
        }
    }
    calls
}

/// Reads page by page and lets the catalog be swapped between any two; gives how many lists were read so.
async fn linger(client: Client, weir: &Weir, lists: &Lists, over: &AtomicBool) -> usize {
    let mut walks = 0;
    while !over.load(Ordering::Relaxed) {
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        let (first, mut generation) = (weir.generation().await, 0);
        loop {
            let params = cursor.map_or("{}".to_owned(), |cursor| {
                format!(r#"{{"cursor":{cursor}}}"#)
            });
            let result = client.request("tools/list", &params).await.result();
            found.extend(page(&result));
            cursor = at(&result, &["nextCursor"]);
            if cursor.is_none() {
                break;
            }
            generation = newer(weir, generation.max(first), over).await;
        }
        lists.check(&found);
        walks += usize::from(generation > first);
    }
    walks
}

/// The names on one page.
fn page(result: &str) -> Vec<String> {
    let items = at(result, &["tools"]).unwrap();
    let items: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&items).unwrap();
    let items: Vec<String> = items.iter().map(|raw| raw.get().to_owned()).collect();
    names(&items, "name")
}

/// Waits until there is a newer snapshot, or until no more come.
async fn newer(weir: &Weir, than: u64, over: &AtomicBool) -> u64 {
    bounded("a swap", async {
        loop {
            let generation = weir.generation().await;
            if generation > than || over.load(Ordering::Relaxed) {
                return generation;
            }
            tokio::time::sleep(BEAT / 10).await;
        }
    })
    .await
}

/// Counts what a stream of changes says until `stop` is listed.
async fn listen(mut stream: Stream, weir: &Weir, stop: &str) -> usize {
    let mut told = 0;
    loop {
        let event: Value = stream.next_value().await;
        if event["method"] == "notifications/subscriptions/acknowledged" {
            continue;
        }
        assert_eq!(event["method"], "notifications/tools/list_changed");
        told += 1;
        if weir.tool_names().await.iter().any(|name| name == stop) {
            return told;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_swaps_a_second_lose_no_call_and_tear_no_list() {
    let [old, flick, new] = upstreams().await;
    let weir = Weir::over([&old, &flick, &new])
        .listen("page_size: 7")
        .start()
        .await;
    let (lists, over) = (Lists::new(), AtomicBool::new(false));
    assert_eq!(weir.tool_names().await, lists.without);
    flick.wait_listening().await;
    let before = weir.generation().await;

    let mut callers = Vec::new();
    for _ in 0..CALLERS / 2 {
        callers.extend(Client::both(&weir).await);
    }
    let callers = callers.into_iter().enumerate();
    let callers = callers.map(|(seed, client)| work(client, seed, &lists, &over));
    let lingering = Client::both(&weir).await;
    let lingering = lingering.map(|client| linger(client, &weir, &lists, &over));
    let (modern, legacy) = (weir.modern(), weir.legacy("2025-06-18").await);
    let listeners = [
        legacy.listen().await,
        modern.listen("77", r#"{"toolsListChanged":true}"#).await,
    ];
    let listeners = listeners.map(|stream| listen(stream, &weir, "flick__last"));
    let load = async {
        let load = tokio::join!(
            flicker(&flick, &over),
            futures::future::join_all(callers),
            futures::future::join_all(lingering),
        );
        // Ends the listeners, if they hear of it.
        flick.add_tool("last");
        flick.notify_list_changed(Kind::Tools);
        load
    };
    let ((swaps, calls, walks), told) = tokio::join!(load, futures::future::join_all(listeners));

    let published = weir.generation().await - before;
    let read = lists.read();
    eprintln!(
        "{swaps} swaps, {published} published, {calls:?} calls, {read:?} lists, {walks:?} walks, {told:?} told"
    );
    // Changes that come together are published together, so the figures are no more than orders of magnitude.
    assert!(published as usize > swaps / 10, "{published} of {swaps}");
    assert!(calls.iter().all(|calls| *calls > 0), "{calls:?}");
    assert!(
        read.iter().all(|lists| *lists > 0),
        "both lists were read: {read:?}"
    );
    assert!(walks.iter().all(|walks| *walks > 0), "{walks:?}");
    assert!(
        told.iter().all(|told| *told > 1),
        "of the last change and of others: {told:?}"
    );
}
