//! The processes below this one: the child processes of upstreams, and theirs.

use std::fs;

use rustix::process::{Pid, getpid};

/// How many parents of a process are looked at: deeper trees are cut, and count as below.
const GENERATIONS: usize = 256;

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
