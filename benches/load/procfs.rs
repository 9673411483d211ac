//! CPU and memory as Linux tells them.

use std::fs::read_to_string;
use std::time::Duration;

use serde::Serialize;

/// `USER_HZ`, the unit of times in /proc: 100 on every architecture that weir is built for.
const TICKS_PER_SECOND: u64 = 100;

/// Memory of one process, in KiB.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / TICKS_PER_SECOND)
}

/// User and system time of a process so far, all its threads, in steps of 10 ms.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the program's name in brackets and may hold anything.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let times = fields.split(' ').skip(11).take(2);
    ticks(times.filter_map(|field| field.parse::<u64>().ok()).sum())
}

pub(crate) fn memory(pid: u32) -> Memory {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(0)
    };
    Memory {
        rss_kib: kib("VmRSS"),
        peak_kib: kib("VmHWM"),
    }
}

/// File descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Asks for as many file descriptors as this process and those that it starts may need.
pub(crate) fn raise_descriptors(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}

/// Time that all cores together were busy since the machine started.
pub(crate) fn machine_busy() -> Duration {
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or("");
    let mut fields = line
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0));
    // user nice system | idle iowait | irq softirq steal
    let first: u64 = fields.by_ref().take(3).sum();
    ticks(first + fields.skip(2).take(3).sum::<u64>())
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn load_average() -> String {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

pub(crate) fn cpu_model() -> String {
    let text = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": "))
        .map_or("unknown", |(_, model)| model)
        .to_owned()
}
