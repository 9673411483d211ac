//! The processes below this one: the child processes of upstreams, and theirs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{self, Pid, Signal, WaitOptions, getpid};

/// Whether this process adopts the orphans of its children.
static ADOPTS: AtomicBool = AtomicBool::new(false);
/// The processes that this one started itself, and waits for one by one. Held while one starts, so
/// that it is never taken for an orphan.
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// The time between two rounds of killing orphans: the children of one that was killed are adopted,
/// and are for the next round.
const ROUND: Duration = Duration::from_millis(20);
/// The number of rounds before weir gives up. A process that is stuck in the kernel cannot be killed.
const ROUNDS: u32 = 50;

/// How many parents of a process are looked at: deeper trees are cut, and count as below.
const GENERATIONS: usize = 256;

/// Makes this process one that other processes of its user cannot look into: neither its memory nor
/// its environment (`/proc/PID/mem`, `environ`), nor by tracing it; and it writes no core dumps
/// (`PR_SET_DUMPABLE`, prctl(2)). Only root can, and what has CAP_SYS_PTRACE.
pub fn forbid_dumps() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // It can only fail for a value that the kernel does not know.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Returns whether a process runs below this one. One that cannot be looked at does: it may have
/// ended since it asked for something. Id 0 is a process of another namespace, and does not.
///
/// Orphans do not escape: weir and its reapers adopt them (`PR_SET_CHILD_SUBREAPER`).
#[must_use]
pub fn runs_below_this(id: i32) -> bool {
    let own = getpid();
    let mut at = Pid::from_raw(id);
    for _ in 0..GENERATIONS {
        match at {
            None => return false,
            Some(pid) if pid == own => return true,
            Some(pid) => match parent(pid) {
                Some(parent) => at = Pid::from_raw(parent),
                None => return true,
            },
        }
    }
    true
}

/// Returns the id of a process's parent, 0 if it has none here; `None` if the process is gone.
fn parent(pid: Pid) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field is the name of the program in parentheses, which may contain any character.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the children of this process, adopted ones too. Their ids are safe to signal as long as
/// only this process reaps them: no id can be given to another process meanwhile.
#[must_use]
pub fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Makes this process adopt orphans (`PR_SET_CHILD_SUBREAPER`): what a child of its own left behind
/// becomes its child, and [`end_orphans`] finds it.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    if process::set_child_subreaper(Some(getpid())).is_ok() {
        ADOPTS.store(true, Ordering::Relaxed);
    }
}

/// Starts a process of this one's own, which is no orphan until [`forget`].
///
/// # Errors
/// Those of `start`.
pub fn start<T>(
    start: impl FnOnce() -> io::Result<T>,
    id: impl FnOnce(&T) -> Option<u32>,
) -> io::Result<T> {
    let mut started = STARTED.lock();
    let process = start()?;
    started.extend(id(&process).and_then(|id| i32::try_from(id).ok()));
    Ok(process)
}

/// Forgets a process that has been waited for.
pub fn forget(pid: Pid) {
    STARTED.lock().remove(&pid.as_raw_nonzero().get());
}

/// Kills the orphans that this process has adopted, and theirs, until none is left. A reaper leaves
/// none; one that its program killed does. Processes of this one's own group are not touched: what
/// libraries start, such as helpers for credentials, is in it.
pub async fn end_orphans() {
    if !ADOPTS.load(Ordering::Relaxed) {
        return;
    }
    for _ in 0..ROUNDS {
        if !kill_orphans() {
            return;
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// Kills and reaps orphans. Returns whether there were any.
fn kill_orphans() -> bool {
    let started = STARTED.lock();
    let own_group = process::getpgrp();
    let mut found = false;
    for child in children() {
        let is_own = started.contains(&child.as_raw_nonzero().get());
        if is_own || process::getpgid(Some(child)) == Ok(own_group) {
            continue;
        }
        found = true;
        let _ = process::kill_process(child, Signal::KILL);
        let _ = process::waitpid(Some(child), WaitOptions::NOHANG);
    }
    found
}
