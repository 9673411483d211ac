//! The resources that this process uses.

use std::fs;

/// The usage that `/proc` reports; all `None` on systems without it.
#[derive(Debug, Default)]
pub(super) struct ProcessUsage {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<usize>,
    pub(super) max_fds: Option<u64>,
}

impl ProcessUsage {
    pub(super) fn read() -> Self {
        let read = |file| fs::read_to_string(file).ok();
        // The open folder itself is one of the entries.
        let fds = fs::read_dir("/proc/self/fd").ok();
        Self {
            cpu_seconds: read("/proc/self/stat").and_then(|text| parse_cpu_seconds(&text)),
            resident_bytes: ProcessMemory::read().map(|memory| memory.resident),
            open_fds: fds.map(|entries| entries.count().saturating_sub(1)),
            max_fds: read("/proc/self/limits").and_then(|text| parse_max_fds(&text)),
        }
    }
}

/// Parses `utime` and `stime`, in hundredths of a second on every Linux. They follow the last `)`: the
/// name before it may contain anything.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok().map(f64::from);
    Some((ticks()? + ticks()?) / 100.0)
}

/// The memory that the process has, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    /// All of it.
    pub resident: u64,
    /// The part of it that no file has: not the program itself.
    pub anonymous: u64,
}

impl ProcessMemory {
    /// Asks the system; `None` where it does not say.
    #[must_use]
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let find = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kib * 1024)
        };
        let resident = find("VmRSS:")?;
        Some(Self {
            resident,
            anonymous: find("RssAnon:").unwrap_or(resident),
        })
    }
}

fn parse_max_fds(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_it_is_written() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 900 0 0 0 1234 66 0 0 20 0 5 0 100 1000 200";
        assert_eq!(parse_cpu_seconds(stat), Some(13.0));
        let status = "VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\n";
        let memory = ProcessMemory::parse(status).unwrap();
        assert_eq!((memory.resident, memory.anonymous), (2 << 20, 1 << 20));
        let older = ProcessMemory::parse("VmRSS:\t    2048 kB\n").unwrap();
        assert_eq!(older.anonymous, 2 << 20);
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(parse_max_fds(limits), Some(1024));
        assert_eq!(
            (
                parse_cpu_seconds(""),
                ProcessMemory::parse("x"),
                parse_max_fds("")
            ),
            (None, None, None)
        );
    }
}
