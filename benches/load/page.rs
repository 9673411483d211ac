//! The page for operators over 1,000 upstreams with 100 tools each (weir only): how long its views, the search and
//! the pages of the catalog take, and what calls notice of ten open pages.
//!
//! Calls are timed with and without pages in turn. A page holds its stream, and gets its view again whenever the stream
//! says that something has changed, as in a browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::caller::{Caller, Era};
use crate::http1::Connection;
use crate::measure;
use crate::parts::{self, Plan, Results};
use crate::processes::single_threaded;
use crate::report;
use crate::setup::{Kind, RunFiles, Setup, Shape, Subject};
use crate::sse::EventStream;

const UPSTREAMS: usize = 1_000;
const TOOLS: usize = 100;
/// The number of times that each view is read.
const TIMES: usize = 20;
const CALLERS: usize = 8;
/// Pages that are open.
pub(crate) const PAGES: usize = 10;
/// The views that open pages show, in turn.
const OPEN: [&str; 3] = ["/", "/page/catalog", "/page/calls"];
/// The views that are timed. The last page of the catalog is added.
const VIEWS: [(&str, &str); 6] = [
    ("first view", "/"),
    ("catalog", "/page/catalog"),
    ("text that all have", "/page/catalog?q=tool"),
    ("text of one upstream", "/page/catalog?q=u07"),
    (
        "text that nothing has",
        "/page/catalog?q=neither%20here%20nor%20there",
    ),
    ("the same as JSON", "/catalog/search?q=tool&page=7"),
];

/// The cost of the page.
#[derive(Serialize)]
pub(crate) struct PageFigure {
    pub(crate) upstreams: usize,
    pub(crate) tools: usize,
    /// The first text that is looked for: what is searched is made then.
    pub(crate) first_search_ms: f64,
    /// Each view: its name, and its times in milliseconds.
    pub(crate) views: Vec<(String, Vec<f64>)>,
    /// Times of calls in microseconds: without pages, and with them.
    pub(crate) calm: Vec<f64>,
    pub(crate) watched: Vec<f64>,
    /// The number of times that open pages got their views again.
    pub(crate) drawn: u64,
    pub(crate) errors: Vec<String>,
}

impl PageFigure {
    /// The slowest of all answers, in milliseconds.
    pub(crate) fn worst(&self) -> f64 {
        let times = self.views.iter().flat_map(|(_, times)| times);
        times.copied().fold(self.first_search_ms, f64::max)
    }

    /// Returns the ratio of the times of calls with pages and without, at this percentile.
    pub(crate) fn ratio(&self, percent: usize) -> f64 {
        at(&self.watched, percent) / at(&self.calm, percent)
    }
}

/// The value at a percentile.
pub(crate) fn at(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) * percent / 100;
    values.get(at).copied().unwrap_or(f64::NAN)
}

pub(crate) async fn run(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    if !plan.kinds.contains(&Kind::Weir) {
        return Ok(());
    }
    let shape = Shape {
        servers: if plan.quick {
            UPSTREAMS / 10
        } else {
            UPSTREAMS
        },
        tools: TOOLS,
        watched: true,
        weir_page_size: 1_000,
        ..plan.shape.clone()
    };
    let setup = Setup::start(run_files, shape, &[]).await?;
    let mut subject = setup.subject(run_files, Kind::Weir).await?;
    let figure = measure(&setup, &mut subject, plan).await;
    subject.stop().await;
    setup.stop().await;
    results.pages.push(figure?);
    report::pages(&results.pages);
    Ok(())
}

async fn measure(setup: &Setup, subject: &mut Subject, plan: &Plan) -> Result<PageFigure, String> {
    parts::time_start(subject).await?;
    let (upstreams, tools) = (setup.shape.servers, setup.shape.servers * setup.shape.tools);
    let admin = subject.admin.ok_or("weir is not watched")?;
    let mut connection = Connection::new(admin);
    report::progress("views");
    let first_search_ms = read(&mut connection, "/page/catalog?q=echo").await?;
    let last = format!("/page/catalog?page={}", tools / 100 - 1);
    let mut views = Vec::new();
    for (name, path) in VIEWS.into_iter().chain([("last page", &*last)]) {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            times.push(read(&mut connection, path).await?);
        }
        views.push((name.to_owned(), times));
    }
    let mut figure = PageFigure {
        upstreams,
        tools,
        first_search_ms,
        views,
        calm: Vec::new(),
        watched: Vec::new(),
        drawn: 0,
        errors: Vec::new(),
    };
    for round in 0..plan.pace.rounds {
        report::progress(&format!("calls, round {}", round + 1));
        figure.calm.extend(calls(subject, plan).await?);
        let (over, drawn) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let pages = pages(admin, Arc::clone(&over), Arc::clone(&drawn));
        // On a thread of its own: the callers' would read their answers later for it.
        let runtime = single_threaded().map_err(|error| error.to_string())?;
        let pages = tokio::task::spawn_blocking(move || runtime.block_on(pages));
        tokio::time::sleep(plan.pace.warmup).await;
        let watched = calls(subject, plan).await;
        over.store(true, Ordering::Relaxed);
        figure
            .errors
            .extend(pages.await.map_err(|error| error.to_string())?);
        figure.watched.extend(watched?);
        figure.drawn += drawn.load(Ordering::Relaxed);
    }
    Ok(figure)
}

/// Reads a view; gives milliseconds.
async fn read(connection: &mut Connection, path: &str) -> Result<f64, String> {
    let answer = connection
        .exchange(get(connection.address(), path).as_bytes(), None)
        .await?;
    match answer.status {
        200 => Ok(answer.took.as_secs_f64() * 1e3),
        status => Err(format!("GET {path}: HTTP {status}")),
    }
}

fn get(address: std::net::SocketAddr, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer bench\r\n\r\n")
}

/// Calls for a while, from several callers; gives microseconds.
pub(crate) async fn calls(subject: &Subject, plan: &Plan) -> Result<Vec<f64>, String> {
    let until = Instant::now() + plan.pace.window;
    let callers = (0..CALLERS).map(|number| async move {
        let target = &subject.targets[0];
        let tool = &target.tools[number % target.tools.len()];
        let mut caller = Caller::new(target.address, Era::Legacy);
        caller.open().await?;
        let mut times = Vec::new();
        while Instant::now() < until {
            let text = measure::text(number, times.len(), measure::TEXT_BYTES);
            times.push(caller.call(tool, &text).await?.as_secs_f64() * 1e6);
        }
        Ok::<_, String>(times)
    });
    let times = futures::future::try_join_all(callers).await?;
    Ok(times.concat())
}

/// Keeps pages open until it is over; gives what went wrong.
async fn pages(
    admin: std::net::SocketAddr,
    over: Arc<AtomicBool>,
    drawn: Arc<AtomicU64>,
) -> Vec<String> {
    let pages = (0..PAGES).map(|number| {
        let (over, drawn) = (&over, &drawn);
        async move {
            let path = OPEN[number % OPEN.len()];
            let mut connection = Connection::new(admin);
            read(&mut connection, path).await?;
            let request = get(admin, "/page/stream");
            let mut stream = EventStream::open(admin, request.as_bytes()).await?;
            while !over.load(Ordering::Relaxed) {
                let next = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
                if let Ok(event) = next {
                    event?;
                    read(&mut connection, path).await?;
                    drawn.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok::<_, String>(())
        }
    });
    let outcomes = futures::future::join_all(pages).await;
    outcomes.into_iter().filter_map(Result::err).collect()
}
