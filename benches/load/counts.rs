//! Instructions and allocations of a call, counted by valgrind's callgrind. They do not depend on how fast or
//! how busy the machine is, so a change of some percent is a change of the code.
//!
//! The counts that the last accepted build had are in `benches/counts.json`.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::caller::{Caller, Era};
use crate::measure::{self, TEXT_BYTES};
use crate::parts::{Plan, Results};
use crate::report::{self, number, say};
use crate::setup::{Kind, RunFiles, Setup, Subject};

/// Calls before anything is counted.
const WARM: usize = 100;
/// Calls that are counted at a time, and how often. What counts is the time with the fewest instructions: work
/// that comes by the clock adds some percent now and then.
const CALLS: usize = 1_000;
const TIMES: usize = 4;
/// A count may grow by so much.
const GROWTH: f64 = 1.03;
/// The functions that allocate. Each call of one is one allocation.
const ALLOCATE: [&str; 3] = [
    "mi_malloc_aligned",
    "mi_zalloc_aligned",
    "mi_realloc_aligned",
];

/// Crates that are named in a function for their types only.
const GENERIC: [&str; 8] = [
    "core",
    "alloc",
    "std",
    "futures_core",
    "futures_util",
    "tokio_util",
    "tower",
    "tower_service",
];
/// Rows of the table of owners.
const OWNERS: usize = 24;

/// The counts of one call.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) instructions: u64,
    pub(crate) allocations: u64,
}

/// The points that are counted: the name, the subject, and the era of its caller.
const POINTS: [(&str, Kind, Era); 7] = [
    ("a legacy call", Kind::Weir, Era::Legacy),
    ("a modern call", Kind::Weir, Era::Modern),
    (
        "a call with tokens and policies",
        Kind::Classes,
        Era::Legacy,
    ),
    ("a call under data rules", Kind::Redacted, Era::Legacy),
    ("a call with spans of a tenth", Kind::Sampled, Era::Legacy),
    ("a call with spans", Kind::Traced, Era::Legacy),
    (
        "a call with all but the hook",
        Kind::Everything,
        Era::Legacy,
    ),
];

/// Counts, and compares with the accepted counts; or accepts what it counts.
///
/// # Errors
/// valgrind is missing, or a count has grown by more than 3 %.
pub(crate) async fn run(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    crate::governed::write_files(&run_files.folder)?;
    let mut counted = BTreeMap::new();
    for (name, kind, era) in POINTS {
        report::progress(&format!("counting {name}"));
        let profile = profile(run_files, plan, kind, era).await?;
        let counts = parse(&profile).ok_or("a profile without totals")?;
        counted.insert(name.to_owned(), counts);
        if name == POINTS[0].0 {
            print_owners(name, &profile);
        }
    }
    let file = accepted_file();
    let accepted = read(&file)?;
    let grown = print(&counted, &accepted);
    results.counts.clone_from(&counted);
    if plan.accepts_counts {
        let text = serde_json::to_string_pretty(&counted).map_err(|error| error.to_string())?;
        return std::fs::write(&file, text + "\n")
            .map_err(|error| format!("{}: {error}", file.display()));
    }
    match grown.as_slice() {
        [] => Ok(()),
        grown => Err(format!(
            "more than 3 % above the accepted counts: {} (if that is meant: --accept-counts)",
            grown.join(", ")
        )),
    }
}

fn accepted_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts.json")
}

fn read(file: &Path) -> Result<BTreeMap<String, Counts>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| failed(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(failed(&error)),
    }
}

/// Returns the profile of the counted calls.
async fn profile(
    run_files: &RunFiles,
    plan: &Plan,
    kind: Kind,
    era: Era,
) -> Result<String, String> {
    let out = run_files.folder.join(format!("callgrind-{kind:?}-{era:?}"));
    // With two threads, how often one wakes the other is different in each process.
    let under = [
        "env".to_owned(),
        "TOKIO_WORKER_THREADS=1".to_owned(),
        "valgrind".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", out.display()),
    ];
    let run_files = RunFiles {
        under: under.to_vec(),
        ..run_files.clone()
    };
    let setup = Setup::start(&run_files, plan.shape.clone(), &[kind]).await?;
    let subject = &setup.subjects[0];
    let mut caller = open(subject, era).await?;
    call(subject, &mut caller, WARM).await?;
    // The counts so far are written to the first file, and counting begins anew.
    dump(subject).await?;
    let mut least: Option<(u64, String)> = None;
    for time in 0..TIMES {
        call(subject, &mut caller, CALLS).await?;
        dump(subject).await?;
        let text = read_dump(&out, time + 2).await?;
        let instructions = totals(&text).ok_or("a profile without totals")?;
        if least
            .as_ref()
            .is_none_or(|(fewest, _)| instructions < *fewest)
        {
            least = Some((instructions, text));
        }
    }
    setup.stop().await;
    let (_, text) = least.ok_or("no profile")?;
    Ok(text)
}

async fn open(subject: &Subject, era: Era) -> Result<Caller, String> {
    let target = &subject.targets[0];
    let mut caller = Caller::new(target.address, era).with_credential(target.credential(0));
    caller.open().await?;
    Ok(caller)
}

async fn call(subject: &Subject, caller: &mut Caller, calls: usize) -> Result<(), String> {
    let tools = &subject.targets[0].tools;
    for number in 0..calls {
        let tool = &tools[number % tools.len()];
        let text = measure::text(0, number, TEXT_BYTES);
        caller.call(tool, &text).await?;
    }
    Ok(())
}

async fn dump(subject: &Subject) -> Result<(), String> {
    let pid = subject.pid().unwrap_or_default().to_string();
    let mut command = Command::new("callgrind_control");
    let dumped = command.args(["--dump", &pid]).output().await;
    let dumped = dumped.map_err(|error| format!("callgrind_control, of valgrind: {error}"))?;
    match dumped.status.success() {
        true => Ok(()),
        false => Err("callgrind_control failed".to_owned()),
    }
}

/// Returns a dump, once it is whole. The first has number 1.
async fn read_dump(out: &Path, number: usize) -> Result<String, String> {
    let file = PathBuf::from(format!("{}.{number}", out.display()));
    for _ in 0..200 {
        if let Ok(text) = std::fs::read_to_string(&file)
            && text.lines().any(|line| line.starts_with("totals:"))
        {
            return Ok(text);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("{} does not come", file.display()))
}

/// Returns all instructions of a profile.
fn totals(profile: &str) -> Option<u64> {
    let mut lines = profile.lines();
    let totals = lines.find_map(|line| line.strip_prefix("totals: "));
    totals?.trim().parse().ok()
}

/// Reads a profile in the format of callgrind: the instructions, and the calls of what allocates, of each
/// call of a tool.
fn parse(profile: &str) -> Option<Counts> {
    let calls = CALLS as u64;
    let mut allocations = 0;
    // A name is written once, and is a number from then on.
    let mut allocating = HashSet::new();
    let mut called = "";
    for line in profile.lines() {
        if let Some(function) = line
            .strip_prefix("cfn=")
            .or_else(|| line.strip_prefix("fn="))
        {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if ALLOCATE.contains(&name) {
                allocating.insert(number);
            }
            called = number;
        } else if let Some(count) = line.strip_prefix("calls=")
            && allocating.contains(called)
        {
            let count = count.split(' ').next().unwrap_or_default();
            allocations += count.parse::<u64>().ok()?;
        }
    }
    Some(Counts {
        instructions: totals(profile)? / calls,
        allocations: (allocations + calls / 2) / calls,
    })
}

/// Prints the instructions of a call by the part of the program that they are in: a room of weir, or a
/// crate. What the kernel does is not counted.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn print_owners(name: &str, profile: &str) {
    let owners = by_owner(profile);
    let all: u64 = owners.values().sum();
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by_key(|(_, instructions)| std::cmp::Reverse(*instructions));
    let rest: u64 = owners
        .iter()
        .skip(OWNERS)
        .map(|(_, instructions)| instructions)
        .sum();
    owners.truncate(OWNERS);
    owners.push(("the rest".to_owned(), rest));
    let mut table = report::table(&["where", "instructions", "%"]);
    for (owner, instructions) in owners {
        let share = 100.0 * instructions as f64 / all as f64;
        let instructions = instructions / CALLS as u64;
        report::row(
            &mut table,
            vec![owner, instructions.to_string(), number(share, 1)],
        );
    }
    say(&format!("\n{name}, outside the kernel\n{table}"));
}

/// Returns the instructions of each owner of functions, without those of the functions that they call.
fn by_owner(profile: &str) -> BTreeMap<String, u64> {
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    let mut owners = BTreeMap::new();
    let mut function = "";
    let mut is_of_callee = false;
    for line in profile.lines() {
        let defined = line
            .strip_prefix("cfn=")
            .or_else(|| line.strip_prefix("fn="));
        if let Some(defined) = defined {
            let (number, name) = defined.split_once(' ').unwrap_or((defined, ""));
            if !name.is_empty() {
                names.insert(number, owner(name));
            }
            if line.starts_with("fn=") {
                function = number;
            }
        } else if line.starts_with("calls=") {
            is_of_callee = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            let cost = line
                .split(' ')
                .nth(1)
                .and_then(|cost| cost.parse::<u64>().ok());
            if !std::mem::take(&mut is_of_callee)
                && let (Some(cost), Some(owner)) = (cost, names.get(function))
            {
                *owners.entry(owner.clone()).or_default() += cost;
            }
        }
    }
    owners
}

/// Returns the owner of a function: the first crate in its name that is not there for its types, and of
/// weir the room.
fn owner(name: &str) -> String {
    if !name.contains("::") {
        let of = if name.contains("mi_") {
            "mimalloc"
        } else {
            "libc"
        };
        return of.to_owned();
    }
    let is_sign = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let segments: Vec<_> = name.split("::").collect();
    for (at, pair) in segments.windows(2).enumerate() {
        // A path begins at the name's start, or after a sign.
        let begin = pair[0].rfind(is_sign).map_or(0, |sign| sign + 1);
        let first = &pair[0][begin..];
        let is_path = at == 0 || begin > 0;
        if !is_path || first.is_empty() || GENERIC.contains(&first) {
            continue;
        }
        return match (first, pair[1].split(is_sign).next()) {
            ("weir", Some(room)) => format!("weir::{room}"),
            (other, _) => other.to_owned(),
        };
    }
    "std".to_owned()
}

/// Prints the counts, and returns the names of those that have grown too much.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn print(counted: &BTreeMap<String, Counts>, accepted: &BTreeMap<String, Counts>) -> Vec<String> {
    let mut table = report::table(&["", "instructions", "× accepted", "allocations", "accepted"]);
    let mut grown = Vec::new();
    for (name, counts) in counted {
        let before = accepted.get(name).unwrap_or(counts);
        let ratio = counts.instructions as f64 / before.instructions as f64;
        if ratio > GROWTH || counts.allocations as f64 > before.allocations as f64 * GROWTH {
            grown.push(name.clone());
        }
        let cells = vec![
            name.clone(),
            counts.instructions.to_string(),
            number(ratio, 3),
            counts.allocations.to_string(),
            before.allocations.to_string(),
        ];
        report::row(&mut table, cells);
    }
    say(&format!("\ncounted by callgrind, {CALLS} calls\n{table}"));
    grown
}
