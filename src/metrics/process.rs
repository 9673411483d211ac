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
            resident_bytes: resident_bytes(),
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

/// Returns the memory that the process has, in bytes; `None` where the system does not say.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    parse_resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
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
        assert_eq!(
            parse_resident("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n"),
            Some(2 << 20)
        );
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(parse_max_fds(limits), Some(1024));
        assert_eq!(
            (
                parse_cpu_seconds(""),
                parse_resident("x"),
                parse_max_fds("")
            ),
            (None, None, None)
        );
    }
}
