//! What the kernel tells about processes (`/proc/PID/stat`): their families, memory, processor time and age.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// A process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: u32,
    /// `Z` for one that has ended and was not waited for.
    pub state: char,
    /// Process id of the parent.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Processor time it used, in clock ticks.
    pub cpu_ticks: u64,
    /// Processor time of its children that ended, in clock ticks.
    pub children_ticks: u64,
    /// When it started, in clock ticks after the machine did: with the id, this names a process for good.
    pub start_ticks: u64,
    /// Memory it holds, in pages (resident set).
    pub resident_pages: u64,
}

impl Stat {
    /// Of a process; none if there is no such (any more).
    pub fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// From the text of `/proc/PID/stat`.
    pub fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything, spaces and parentheses included.
        let (head, rest) = (text.split_once(' ')?.0, &text[text.rfind(')')? + 1..]);
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let id = |at: usize| fields.get(at)?.parse::<u32>().ok();
        Some(Self {
            pid: head.parse().ok()?,
            state: fields.first()?.chars().next()?,
            parent: id(1)?,
            group: id(2)?,
            cpu_ticks: number(11)? + number(12)?,
            children_ticks: number(13)? + number(14)?,
            start_ticks: number(19)?,
            resident_pages: number(21)?,
        })
    }

    /// Memory it holds, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.resident_pages * rustix::param::page_size() as u64
    }
}

/// The user whose rights a process has.
pub fn user(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

/// The ids of all processes; none where `/proc` cannot be read.
pub fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What a process has open: files, sockets and pipes. Nothing of one that is gone or may not be looked into.
pub fn open_files(pid: u32) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Clock ticks in seconds.
pub fn ticks_s(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64
}

/// Seconds since a process started.
pub fn age_s(start_ticks: u64) -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (now.tv_sec as f64 + now.tv_nsec as f64 / 1e9 - ticks_s(start_ticks)).max(0.0)
}

/// A process together with everything it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Family {
    /// How many live.
    pub processes: u32,
    /// Memory they hold, in bytes; what they share counts for each.
    pub memory_bytes: u64,
    /// Processor time used, that of children that ended included, in seconds.
    pub cpu_s: f64,
    /// When the first one started, in clock ticks after the machine did.
    pub start_ticks: u64,
}

/// The families of these processes: their process groups, and whatever descends from them. One pass over `/proc`.
pub fn families(leaders: &BTreeSet<u32>) -> BTreeMap<u32, Family> {
    if leaders.is_empty() {
        return BTreeMap::new();
    }
    gather(leaders, all_pids().filter_map(Stat::read))
}

fn gather(leaders: &BTreeSet<u32>, all: impl Iterator<Item = Stat>) -> BTreeMap<u32, Family> {
    let all: BTreeMap<u32, Stat> = all.map(|stat| (stat.pid, stat)).collect();
    let mut families: BTreeMap<u32, Family> = BTreeMap::new();
    for stat in all.values().filter(|stat| stat.state != 'Z') {
        let Some(leader) = leader(leaders, &all, stat) else { continue };
        let family = families.entry(leader).or_default();
        family.processes += 1;
        family.memory_bytes += stat.memory_bytes();
        family.cpu_s += ticks_s(stat.cpu_ticks + stat.children_ticks);
        if stat.pid == leader {
            family.start_ticks = stat.start_ticks;
        }
    }
    families
}

fn leader(leaders: &BTreeSet<u32>, all: &BTreeMap<u32, Stat>, stat: &Stat) -> Option<u32> {
    let mut at = *stat;
    // Read at slightly different moments, so parents might form a circle.
    for _ in 0..64 {
        if let Some(leader) = leaders.get(&at.pid).or_else(|| leaders.get(&at.group)) {
            return Some(*leader);
        }
        at = *all.get(&at.parent)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let text = "7 (a) b (c) S 1 6 7 0 -1 4194304 100 0 0 0 250 50 20 5 20 0 5 0 100 1 2";
        let want = Stat {
            pid: 7,
            state: 'S',
            parent: 1,
            group: 6,
            cpu_ticks: 300,
            children_ticks: 25,
            start_ticks: 100,
            resident_pages: 2,
        };
        assert_eq!(Stat::parse(text), Some(want));
        assert_eq!((Stat::parse(""), Stat::parse("7 (x) S")), (None, None));
        let own = Stat::read(std::process::id()).expect("this process");
        assert!(own.memory_bytes() > 100_000 && age_s(own.start_ticks) < 1e6);
        assert_eq!(Stat::read(u32::MAX), None);
    }

    #[test]
    fn a_family_is_the_group_and_all_descendants() {
        let stat = |pid, parent, group, state| Stat {
            pid,
            state,
            parent,
            group,
            cpu_ticks: 1,
            children_ticks: 0,
            start_ticks: u64::from(pid),
            resident_pages: 1,
        };
        let all = [
            stat(1, 0, 1, 'S'),
            stat(10, 1, 10, 'S'),
            // In the group though its parent is gone; a descendant in a group of its own; one that is dead already.
            stat(11, 1, 10, 'S'),
            stat(12, 11, 12, 'S'),
            stat(13, 10, 10, 'Z'),
            stat(20, 1, 20, 'S'),
            stat(30, 1, 30, 'S'),
        ];
        let families = gather(&BTreeSet::from([10, 20, 99]), all.into_iter());
        let sizes: Vec<_> = families.iter().map(|(pid, f)| (*pid, f.processes, f.start_ticks)).collect();
        assert_eq!(sizes, [(10, 3, 10), (20, 1, 20)]);
    }
}
