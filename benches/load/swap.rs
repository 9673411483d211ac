//! `--swap`: upstreams change their tools ten times a second while callers of both eras call and list.
//!
//! Every swap adds or removes the first and the last tool of one upstream at once, and the lists are read in
//! small pages, so a list put together from two catalogs shows half a pair, a tool twice, or a gap. Half of
//! the calls take [`SLOW_MILLIS`](crate::tools::SLOW_MILLIS), so at every swap calls are in flight.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::caller::{Caller, Era};
use crate::catalog::Catalog;
use crate::http1::Connection;
use crate::measure::{TEXT_BYTES, text};
use crate::report;
use crate::setup::{Kind, RunFiles, Setup, Shape, Subject, Target, local};
use crate::sse::EventStream;
use crate::tools::{ECHO, SLOW_ECHO};

const SWAPS_PER_SECOND: u64 = 10;
const CALLERS: usize = 32;
/// Small enough that every list takes several pages.
const PAGE_SIZE: usize = 20;
/// One list after this many calls.
const LIST_EVERY: usize = 6;
/// When the swaps are over, a list has to show the last of them after this long at the latest. An upstream whose
/// listings find the same again, as they do when it has swapped twice, is listed once a minute in the end.
const SETTLE_LIMIT: Duration = Duration::from_secs(65);

/// The result of the swaps for one subject.
#[derive(Serialize)]
pub(crate) struct SwapFigure {
    pub(crate) subject: Kind,
    pub(crate) swaps: u64,
    pub(crate) calls: u64,
    pub(crate) lists: u64,
    pub(crate) pages: u64,
    /// Times that a caller's list showed other tools than its list before.
    pub(crate) changes_seen: u64,
    /// `list_changed` per caller, fewest and most.
    pub(crate) told_legacy: (u64, u64),
    pub(crate) told_modern: (u64, u64),
    /// From the last swap to a list that shows it.
    pub(crate) settled_ms: Option<f64>,
    pub(crate) failed_calls: u64,
    pub(crate) inconsistent_lists: u64,
    /// Every failure, those of streams and sessions too.
    pub(crate) errors: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Tally {
    over: Cell<bool>,
    calls: Cell<u64>,
    lists: Cell<u64>,
    pages: Cell<u64>,
    changes: Cell<u64>,
    failed_calls: Cell<u64>,
    failed_lists: Cell<u64>,
    errors: RefCell<BTreeMap<String, u64>>,
}

impl Tally {
    fn fail(&self, what: &str, error: &str) {
        let mut errors = self.errors.borrow_mut();
        *errors.entry(format!("{what}: {error}")).or_default() += 1;
    }
}

fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

pub(crate) async fn run(
    run_files: &RunFiles,
    shape: &Shape,
    kinds: &[Kind],
    time: Duration,
    figures: &mut Vec<SwapFigure>,
) -> Result<(), String> {
    for kind in kinds {
        // The upstreams keep to one page: what they list is consistent by itself.
        let shape = Shape {
            page_size: 0,
            weir_page_size: PAGE_SIZE,
            ..shape.clone()
        };
        let setup = Setup::start(run_files, shape, &[*kind]).await?;
        for subject in &setup.subjects {
            figures.push(under_swaps(&setup, subject, time).await);
        }
        setup.stop().await;
    }
    report::swaps(figures);
    Ok(())
}

async fn under_swaps(setup: &Setup, subject: &Subject, time: Duration) -> SwapFigure {
    let tally = Rc::new(Tally::default());
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (targets, catalog) = (subject.targets.clone(), subject.catalog.clone());
            tokio::task::spawn_local(work(number, targets, catalog, tally.clone()))
        })
        .collect();
    sleep(Duration::from_millis(300)).await;
    let swaps = swap(setup, time, &tally).await;
    let settled = settle(subject, swaps, setup.shape.servers).await;
    tally.over.set(true);
    let mut told = [Vec::new(), Vec::new()];
    for (number, caller) in callers.into_iter().enumerate() {
        match caller.await {
            Ok(count) => told[number % 2].push(count),
            Err(error) => tally.fail("caller", &error.to_string()),
        }
    }
    if let Err(error) = &settled {
        tally.fail("settling", error);
    }
    if tally.changes.get() == 0 {
        tally.fail("swaps", "no list ever showed one");
    }
    let range = |counts: &[u64]| {
        let least = counts.iter().min().copied().unwrap_or(0);
        (least, counts.iter().max().copied().unwrap_or(0))
    };
    let [legacy, modern] = &told;
    SwapFigure {
        subject: subject.kind,
        swaps,
        calls: tally.calls.get(),
        lists: tally.lists.get(),
        pages: tally.pages.get(),
        changes_seen: tally.changes.get(),
        told_legacy: range(legacy),
        told_modern: range(modern),
        settled_ms: settled.ok(),
        failed_calls: tally.failed_calls.get(),
        inconsistent_lists: tally.failed_lists.get(),
        errors: tally.errors.take(),
    }
}

/// Swaps the upstreams in turn for the given time; says how often.
async fn swap(setup: &Setup, time: Duration, tally: &Tally) -> u64 {
    let mut controls: Vec<_> = setup
        .ports
        .iter()
        .map(|port| (Connection::new(local(*port)), *port))
        .collect();
    let mut ticks = interval(Duration::from_millis(1000 / SWAPS_PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = Instant::now() + time;
    let mut swaps = 0;
    while Instant::now() < until {
        ticks.tick().await;
        if let Some((connection, port)) = controls.first_mut() {
            let request = format!(
                "POST /admin/toggle HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: 0\r\n\r\n"
            );
            if let Err(error) = connection.exchange(request.as_bytes(), None).await {
                tally.fail("toggle", &error);
            }
        }
        controls.rotate_left(1);
        swaps += 1;
        if swaps % SWAPS_PER_SECOND == 0 {
            report::progress(&format!(
                "{swaps} swaps, {} calls, {} lists, {} failures",
                tally.calls.get(),
                tally.lists.get(),
                tally.errors.borrow().values().sum::<u64>()
            ));
        }
    }
    swaps
}

/// Lists until the last swap shows; gives milliseconds.
async fn settle(subject: &Subject, swaps: u64, servers: usize) -> Result<f64, String> {
    let since = Instant::now();
    let servers = servers as u64;
    // Swap number `n`, from 0, was upstream `n % servers`'s; an odd number of its swaps leaves the pair there.
    let pair = |server: u64| (swaps + servers - 1 - server) / servers % 2 == 1;
    let mut caller = Caller::new(subject.targets[0].address, Era::Legacy);
    caller.open().await?;
    loop {
        let pairs = caller.list(&subject.catalog).await?.pairs;
        if (0..)
            .zip(&pairs)
            .all(|(server, found)| *found == pair(server))
        {
            let _ = caller.close().await;
            return Ok(since.elapsed().as_secs_f64() * 1e3);
        }
        if since.elapsed() > SETTLE_LIMIT {
            return Err("the last swap does not show".into());
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// One caller, of the legacy era if its number is even; gives the `list_changed` it got.
async fn work(number: usize, targets: Rc<[Target]>, catalog: Rc<Catalog>, tally: Rc<Tally>) -> u64 {
    let era = if number.is_multiple_of(2) {
        Era::Legacy
    } else {
        Era::Modern
    };
    let target = &targets[number % targets.len()];
    let mut caller = Caller::new(target.address, era);
    if let Err(error) = caller.open().await {
        tally.fail("opening", &error);
        return 0;
    }
    let told = Rc::new(Cell::new(0));
    let listening = match caller.notifications().await {
        Ok(stream) => tokio::task::spawn_local(listen(stream, told.clone(), tally.clone())),
        Err(error) => {
            tally.fail("stream", &error);
            return 0;
        }
    };
    let mut count = number;
    let mut last = None;
    while !tally.over.get() {
        count += 1;
        if count.is_multiple_of(LIST_EVERY) {
            list(&mut caller, &catalog, &mut last, &tally).await;
            continue;
        }
        let tool = &target.tools[count / 2 % target.tools.len()];
        let slow = tool.replace(ECHO, SLOW_ECHO);
        let tool = if count.is_multiple_of(2) { tool } else { &slow };
        match caller.call(tool, &text(number, count, TEXT_BYTES)).await {
            Ok(_) => add(&tally.calls, 1),
            Err(error) => {
                add(&tally.failed_calls, 1);
                tally.fail("call", &error);
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
    listening.abort();
    if let Err(error) = caller.close().await {
        tally.fail("closing", &error);
    }
    told.get()
}

async fn list(caller: &mut Caller, catalog: &Catalog, last: &mut Option<Vec<bool>>, tally: &Tally) {
    match caller.list(catalog).await {
        Ok(listed) => {
            add(&tally.lists, 1);
            add(&tally.pages, listed.pages as u64);
            let changed = last.as_ref().is_some_and(|last| *last != listed.pairs);
            add(&tally.changes, u64::from(changed));
            *last = Some(listed.pairs);
        }
        Err(error) => {
            add(&tally.failed_lists, 1);
            tally.fail("list", &error);
        }
    }
}

/// Counts `list_changed`; a stream that ends before its time is a failure.
async fn listen(mut stream: EventStream, told: Rc<Cell<u64>>, tally: Rc<Tally>) {
    loop {
        match stream.next().await {
            Ok(data) => {
                let message: Value = serde_json::from_slice(&data).unwrap_or_default();
                let changed = message["method"] == "notifications/tools/list_changed";
                add(&told, u64::from(changed));
            }
            Err(error) if !tally.over.get() => return tally.fail("stream", &error),
            Err(_) => return,
        }
    }
}
