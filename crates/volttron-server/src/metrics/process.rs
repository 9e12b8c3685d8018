//! What the kernel tells about a process: memory, processor time, open files.

use crate::processes::{Stat, open_files, ticks_s};

/// One process now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Memory it holds, in bytes (resident set).
    pub(crate) memory_bytes: u64,
    /// Processor time it used, in seconds.
    pub(crate) cpu_s: f64,
    /// Its open files, sockets and pipes.
    pub(crate) open_files: u64,
}

/// `None` when there is no such process (any more).
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let stat = Stat::read(pid)?;
    Some(Usage {
        memory_bytes: stat.memory_bytes(),
        cpu_s: ticks_s(stat.cpu_ticks),
        open_files: open_files(pid).count() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let own = usage(std::process::id()).expect("this process");
        assert!(own.memory_bytes > 100_000 && own.open_files > 2);
        assert_eq!(usage(u32::MAX), None);
    }
}
