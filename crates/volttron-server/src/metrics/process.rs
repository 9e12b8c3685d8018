//! What the kernel tells about a process: memory, processor time, open files.

use std::fs;

/// One process now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Memory it holds, in bytes (resident set).
    pub(super) memory_bytes: u64,
    /// Processor time it used, in seconds.
    pub(super) cpu_s: f64,
    /// Its open files, sockets and pipes.
    pub(super) open_files: u64,
}

/// `None` when there is no such process (any more).
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let memory = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let open_files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64);
    parse(&stat, &memory, rustix::param::page_size() as u64, rustix::param::clock_ticks_per_second())
        .map(|usage| Usage { open_files, ..usage })
}

fn parse(stat: &str, memory: &str, page_bytes: u64, ticks_per_s: u64) -> Option<Usage> {
    // The name in parentheses may hold anything, spaces and parentheses included.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let cpu_ticks = ticks()? + ticks()?;
    let pages: u64 = memory.split_whitespace().nth(1)?.parse().ok()?;
    Some(Usage {
        memory_bytes: pages * page_bytes,
        cpu_s: cpu_ticks as f64 / ticks_per_s.max(1) as f64,
        open_files: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 100 1 2";
        let want = Usage { memory_bytes: 8192, cpu_s: 3.0, open_files: 0 };
        assert_eq!(parse(stat, "10 2 1 0 0 0 0", 4096, 100), Some(want));
        assert_eq!((parse("", "", 1, 1), parse("7 (x) S", "1 2", 1, 1)), (None, None));
        let own = usage(std::process::id()).expect("this process");
        assert!(own.memory_bytes > 100_000 && own.open_files > 2);
        assert_eq!(usage(u32::MAX), None);
    }
}
