//! The load bench: what weir costs, measured against real sockets beside its floor.
//!
//! ```text
//! cargo bench --bench load                       # everything: four minutes, thrice that on a busy machine
//! cargo bench --bench load -- --quick            # a smoke run
//! cargo bench --bench load -- --only call,list --json figures.json
//! cargo bench --bench load -- --only login       # 1 KiB calls, unsigned and signed with SigV4
//! cargo bench --bench load -- --only governed    # API keys, tokens, policies: calls and lists beside a weir without
//! cargo bench --bench load -- --only traced      # spans of none, a tenth, all calls; nobody who takes them
//! cargo bench --bench load -- --only counts      # instructions and allocations of a call (valgrind)
//! cargo bench --bench load -- --only prices      # each rule, and all of them: what each adds to a call
//! cargo bench --bench load -- --only streams     # 4,000 idle streams: memory, descriptors, a change told to all
//! cargo bench --bench load -- --only leaks       # 100,000 calls that end in every way, two minutes
//! cargo bench --bench load -- --only merge       # 1,000 upstreams with 100 tools each, a minute
//! cargo bench --bench load -- --only page        # the page over 1,000 upstreams with 100 tools each, a minute
//! cargo bench --bench load -- --only crossing    # calls between the eras, and 4,096 that wait for callers: 4 minutes
//! cargo bench --bench load -- --swap             # ten swaps a second under 32 callers, 30 s
//! cargo bench --bench load -- --reload           # 200 reloads under 40 callers, 60 s
//! ```
//!
//! Four subjects, all on 127.0.0.1, each its own process, all up together and measured in turn, round after
//! round: `direct` (no proxy), `forward` (hyper handing bytes on), `route` (the least that an MCP router must
//! do) and `weir`. The upstreams are one process, the callers are this one; every answer is checked.
//!
//! Reading the figures: callers and upstreams share the machine with the subject, so rates and
//! latencies also measure them, and on a busy machine its other work. Compare them within one run,
//! as ratios. CPU per piece of work (from /proc, in steps of 10 ms over the window) is the figure
//! that holds best between runs.
#![allow(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench that is wrong about its own numbers should stop; its tasks end with their process"
)]

mod body;
mod caller;
mod catalog;
mod counts;
mod crossing;
mod forward;
mod goals;
mod governed;
mod http1;
mod leaks;
mod measure;
mod page;
mod parts;
mod prices;
mod processes;
mod procfs;
mod reload;
mod report;
mod scale;
mod setup;
#[path = "../../src/authentication/jwt/tests/signing.rs"]
mod signing;
mod sse;
mod streams;
mod summary;
mod swap;
mod tools;
mod transport;
mod upstream;
mod weirs;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use caller::Era;
use measure::Pace;
use parts::{Part, Plan, Results};
use processes::Role;
use reload::ReloadFigure;
use report::say;
use setup::{Kind, RunFiles, Shape};
use swap::SwapFigure;
use upstream::UpstreamEras;

/// Measures the cost of weir beside its floor: callers and upstreams here, weir in between.
#[derive(Parser)]
#[command(name = "load", bin_name = "cargo bench --bench load --")]
struct Options {
    /// The weir to measure [default: the release build beside this bench]
    #[arg(long)]
    weir: Option<PathBuf>,
    /// A file whose text goes into weir's configuration
    #[arg(long)]
    config: Option<PathBuf>,
    /// Only these parts
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "call,list,session,start,streams"
    )]
    only: Vec<Part>,
    /// Only these subjects [default: all; weir for --swap]
    #[arg(long, value_enum, value_delimiter = ',')]
    subjects: Option<Vec<Kind>>,
    /// A short smoke run: one round of half a second, 1 and 32 callers
    #[arg(long)]
    quick: bool,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of one window
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Unmeasured time before each window
    #[arg(long, default_value_t = 0.4)]
    warmup: f64,
    /// How often a window is repeated in which other processes took more than a tenth of the machine
    #[arg(long, default_value_t = 2)]
    patience: usize,
    /// Callers at the same time, in the part `call` [default: 1,32,128; 1,32 if quick]
    #[arg(long, value_delimiter = ',')]
    callers: Option<Vec<usize>>,
    /// The eras of the callers; of both, the modern era is measured with 32 callers only
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "legacy,modern"
    )]
    era: Vec<Era>,
    /// The eras of the upstreams
    #[arg(long, value_enum, default_value = "both")]
    upstream_era: UpstreamEras,
    /// The upstreams answer as text/event-stream
    #[arg(long)]
    sse: bool,
    /// Tools per page in the part `list`, of weir and of the one server beside it
    #[arg(long, default_value_t = 1000)]
    page_size: usize,
    /// Also write everything measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Instead: swap tools ten times a second under 32 callers, for this many seconds
    #[arg(long, num_args = 0..=1, default_missing_value = "30", value_name = "SECONDS")]
    swap: Option<u64>,
    /// Instead: write the config again and reload it, 200 times in 60 s, under callers, for this many seconds
    #[arg(long, num_args = 0..=1, default_missing_value = "60", value_name = "SECONDS")]
    reload: Option<u64>,
    /// The part `counts` writes what it counts to `benches/counts.json`
    #[arg(long)]
    accept_counts: bool,
    /// Ignored: cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// This program started by itself.
#[derive(Parser)]
struct Helper {
    #[command(subcommand)]
    role: Role,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "role") {
        let played = processes::play(Helper::parse_from(arguments.iter().skip(1)).role);
        // Not by returning: a thread waits for the parent's next line.
        std::process::exit(i32::from(played.is_err()));
    }
    // `cargo test --all-targets` runs benches too, without `--bench`; there is nothing to test here.
    let by_cargo_bench = arguments.iter().any(|word| word == "--bench");
    if !by_cargo_bench && (cfg!(debug_assertions) || arguments.len() == 1) {
        say("load: measures nothing here; run it by `cargo bench --bench load`");
        return ExitCode::SUCCESS;
    }
    match run(Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            say(&format!("\n{failures} failures"));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("load: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs everything, or until a signal; gives the number of failures.
fn run(options: Options) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let folder = Folder::new()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        tokio::select! {
            failures = measure_all(&options, &folder.0) => failures,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            _ = terminate.recv() => Err("terminated".into()),
        }
    })
}

/// Everything that was measured, as it goes to the JSON file.
#[derive(Serialize)]
struct Figures {
    cpu: String,
    cores: usize,
    load_average_before: String,
    results: Results,
    swaps: Vec<SwapFigure>,
    reloads: Vec<ReloadFigure>,
}

impl Figures {
    fn failures(&self) -> u64 {
        let samples = self.results.samples.iter().map(measure::Sample::failures);
        let sessions = self.results.sessions.iter().map(|figure| figure.errors);
        let starts = self.results.starts.iter();
        let starts = starts.map(|figure| u64::from(figure.error.is_some()));
        let swaps = self.swaps.iter().map(|figure| figure.errors.values().sum());
        let reloads = self.reloads.iter().map(ReloadFigure::failures);
        let streams = self.results.streams.iter().map(|figure| figure.failures());
        let leaks = self.results.leaks.iter().map(|figure| figure.failures());
        let scales = self.results.scales.iter();
        let scales = scales.map(|figure| figure.errors.len() as u64);
        let pages = self.results.pages.iter();
        let pages = pages.map(|figure| figure.errors.len() as u64);
        let idle = streams.chain(leaks).chain(scales).chain(pages);
        let crossed = self.results.crossed.iter();
        let crossed = crossed.map(|crossed| crossed.sample.failures());
        let parked = self.results.parked.iter().map(|figure| figure.failures());
        samples
            .chain(crossed)
            .chain(parked)
            .chain(sessions)
            .chain(starts)
            .chain(swaps)
            .chain(reloads)
            .chain(idle)
            .sum()
    }
}

async fn measure_all(options: &Options, folder: &Path) -> Result<u64, String> {
    let kinds = options.kinds();
    let weir = options.weir.clone().unwrap_or_else(default_weir);
    if kinds.contains(&Kind::Weir) && !weir.is_file() {
        return Err(format!(
            "there is no weir at {}: run `cargo build --release` first, or say which by --weir PATH",
            weir.display()
        ));
    }
    let more_config = match &options.config {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        None => String::new(),
    };
    let run_files = RunFiles {
        weir,
        under: Vec::new(),
        more_config,
        folder: folder.to_owned(),
    };
    let mut figures = Figures {
        cpu: procfs::cpu_model(),
        cores: procfs::cores(),
        load_average_before: procfs::load_average(),
        results: Results::default(),
        swaps: Vec::new(),
        reloads: Vec::new(),
    };
    say(&format!(
        "{}, {} cores, load average {} before the run",
        figures.cpu, figures.cores, figures.load_average_before
    ));
    let plan = options.plan(kinds);
    let outcome = match (options.swap, options.reload) {
        (None, Some(seconds)) => {
            let time = Duration::from_secs(seconds);
            reload::run(&run_files, &plan.shape, time, &mut figures.reloads).await
        }
        (Some(seconds), _) => {
            let time = Duration::from_secs(seconds);
            swap::run(
                &run_files,
                &plan.shape,
                &plan.kinds,
                time,
                &mut figures.swaps,
            )
            .await
        }
        (None, None) => measure_parts(&run_files, &plan, &options.only, &mut figures.results).await,
    };
    goals::print(&figures.results);
    if let Some(file) = &options.json {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = serde_json::to_string_pretty(&figures).map_err(|error| failed(&error))?;
        std::fs::write(file, text + "\n").map_err(|error| failed(&error))?;
    }
    outcome.map(|()| figures.failures())
}

async fn measure_parts(
    run_files: &RunFiles,
    plan: &Plan,
    only: &[Part],
    results: &mut Results,
) -> Result<(), String> {
    for part in only {
        match part {
            Part::Call => parts::call(run_files, plan, results).await?,
            Part::List => parts::list(run_files, plan, results).await?,
            Part::Session => parts::session(run_files, plan, results).await?,
            Part::Start => parts::start(run_files, plan, results).await?,
            Part::Streams => streams::run(run_files, plan, results).await?,
            Part::Login => parts::login(run_files, plan, results).await?,
            Part::Governed => governed::run(run_files, plan, results).await?,
            Part::Traced => parts::traced(run_files, plan, results).await?,
            Part::Counts => counts::run(run_files, plan, results).await?,
            Part::Prices => prices::run(run_files, plan, results).await?,
            Part::Leaks => leaks::run(run_files, plan, results).await?,
            Part::Merge => scale::run(run_files, plan, results).await?,
            Part::Page => page::run(run_files, plan, results).await?,
            Part::Crossing => crossing::run(run_files, plan, results).await?,
        }
    }
    if !results.memory.is_empty() {
        report::memory(&results.memory);
    }
    Ok(())
}

impl Options {
    /// The subjects; under swaps and reloads only weir, unless said otherwise.
    fn kinds(&self) -> Vec<Kind> {
        match (&self.subjects, self.swap.or(self.reload)) {
            (Some(kinds), _) => kinds.clone(),
            (None, Some(_)) => vec![Kind::Weir],
            (None, None) => Kind::USUAL.to_vec(),
        }
    }

    fn plan(&self, kinds: Vec<Kind>) -> Plan {
        let (rounds, seconds, warmup, patience) = if self.quick {
            (1, 0.5, 0.2, 0)
        } else {
            (self.rounds, self.seconds, self.warmup, self.patience)
        };
        let callers = if self.quick {
            &[1, 32][..]
        } else {
            &[1, 32, 128]
        };
        Plan {
            pace: Pace {
                rounds,
                warmup: Duration::from_secs_f64(warmup),
                window: Duration::from_secs_f64(seconds),
                patience,
            },
            quick: self.quick,
            accepts_counts: self.accept_counts,
            kinds,
            eras: self.era.clone(),
            callers: self.callers.clone().unwrap_or_else(|| callers.to_vec()),
            shape: Shape {
                servers: 2,
                tools: 50,
                one_with_all: false,
                page_size: 0,
                weir_page_size: 0,
                speaks: self.upstream_era,
                sse: self.sse,
                watched: false,
                stores: false,
                parks: false,
            },
            list_page_size: self.page_size,
        }
    }
}

/// The weir that cargo built for this bench, or the one beside it.
fn default_weir() -> PathBuf {
    let beside = || {
        let bench = std::env::current_exe().unwrap_or_default();
        let folder = bench.parent().and_then(Path::parent);
        folder.map_or_else(PathBuf::new, |folder| folder.join("weir"))
    };
    option_env!("CARGO_BIN_EXE_weir").map_or_else(beside, PathBuf::from)
}

/// A folder for configurations and logs, gone when the run is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("weir-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
